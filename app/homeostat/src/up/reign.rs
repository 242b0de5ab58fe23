//! All that runs while this process is the one: the one place that names the drivers.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use agent::{Agent, Whom};
use anyhow::{Context as _, anyhow};
use manifest::Manifests;
use model::action::{Outcome, Refusal};
use model::name::NodeName;
use model::resource::Resource;
use orchestrator::{Handle, HistoryConfig};
use platform_process::ProcessPlatform;
use proxy::{Proxy, ProxyConfig};
use store_embedded::{EmbeddedStore, OpenError};
use succession::{Door, Estate, Successor};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::before::{self, Front};
use super::{House, PROXY_GRACE, Up};

/// How long the replicas that got requests from the predecessor may take to answer our probes. It serves meanwhile; those that have not
/// answered by then would not answer requests.
const SETTLE_MAX: Duration = Duration::from_secs(60);

/// From one look at them to the next.
const SETTLE_LOOK: Duration = Duration::from_millis(10);

/// How long the last users of the store or the platform may take to release it: threads that write a last row, and programs that reload a
/// balancer.
const RELEASE_MAX: Duration = Duration::from_secs(15);

/// From one look at them to the next.
const RELEASE_LOOK: Duration = Duration::from_millis(2);

/// Store, platform, loop, agent and API, and the proxy that they have.
pub(super) struct Reign {
    /// Where the API is.
    pub(super) address: SocketAddr,
    pub(super) platform: Arc<ProcessPlatform>,
    store: Arc<EmbeddedStore>,
    front: Front,
    handle: Handle,
    agent: Agent,
    /// Where another one may ask to take our place; `None` where that cannot be.
    door: Option<Door>,
    server: JoinHandle<()>,
    stop: CancellationToken,
    /// How many replicas of each service got requests from the predecessor.
    served: BTreeMap<String, usize>,
}

impl Reign {
    /// Begins with what is kept and what runs, and with the sockets of an estate. Nobody is accepted yet but by the API.
    pub(super) async fn begin(house: &House, estate: Estate) -> anyhow::Result<Self> {
        let (up, here) = (&house.up, &house.here);
        let (api, inherited) = before::sockets_of(estate.sockets, up.listen);
        let store = Arc::new(open_store(&up.data)?);
        let api = match api {
            Some(api) => api,
            None => listen(up.listen)?,
        };
        let platform = Arc::new(open_platform(up, here)?);
        let seed = os::seed()?;
        let config = ProxyConfig { seed, connections_max: house.connections_max, ..ProxyConfig::default() };
        let proxy = Proxy::succeed(&config, inherited)?;
        let node = node_name();
        let (orders, inbox) = channel();
        let handle = orchestrator::start(orchestrator::Config {
            store: Arc::clone(&store) as _,
            journal: up.data.join("journal"),
            history: HistoryConfig { folder: up.data.join("history"), retention: up.history },
            node: node.clone(),
            seed,
            settings: up.settings.clone(),
            orders,
        })?;
        let issued = up.data.join("acme");
        let (zone, runs) = (up.zone.clone(), Arc::clone(&platform) as _);
        let agent = Agent::start(node, zone, issued, runs, proxy.table(), handle.clone(), inbox)
            .context("could not start the agent: the system gave no thread")?;
        let stop = CancellationToken::new();
        let address = api.local_addr().context("could not tell where the API listens")?;
        let listener = api.try_clone().and_then(tokio::net::TcpListener::from_std);
        let listener = listener.context("could not serve the API: the system gave no descriptor")?;
        let state = api::State::new(handle.clone(), agent.clone(), address, here.clone(), stop.clone());
        let server = house.tasks.spawn(api::serve(listener, state));
        let door = Door::open(&up.data)
            .inspect_err(|error| tracing::warn!(error = %format_args!("{error}: {}", error.source), "nobody_can_take_over"));
        let front = Front { proxy, api, api_requested: up.listen };
        let served = estate.serving;
        Ok(Self { address, platform, store, front, handle, agent, door: door.ok(), server, stop, served })
    }

    /// Waits until this process can serve as its predecessor does, and checks that these manifests can be applied then.
    pub(super) async fn prepare(&self, manifests: &Manifests) -> anyhow::Result<()> {
        self.check(manifests).await?;
        self.settle().await;
        Ok(())
    }

    /// Accepts clients.
    pub(super) fn open(&self) {
        self.front.proxy.open();
    }

    /// Waits until as many replicas of each service get requests as did from the predecessor.
    pub(super) async fn settle(&self) {
        let table = self.front.proxy.table();
        let is_settled = || {
            let serving = before::serving(&table);
            let has_as_many =
                |(service, count): (&String, &usize)| serving.get(service).is_some_and(|now| now >= count);
            self.handle.is_ready() && table.unclaimed() == 0 && self.served.iter().all(has_as_many)
        };
        let settling = async {
            while !is_settled() {
                tokio::time::sleep(SETTLE_LOOK).await;
            }
        };
        if tokio::time::timeout(SETTLE_MAX, settling).await.is_err() {
            tracing::warn!(
                "fewer replicas answer than the one before had in its traffic; serving with those that do"
            );
        }
    }

    /// Whether these manifests could be applied; keeps nothing.
    async fn check(&self, manifests: &Manifests) -> anyhow::Result<()> {
        let resources = applicable(manifests)?;
        let handle = self.handle.clone();
        let planned = tokio::task::spawn_blocking(move || handle.plan(&resources)).await;
        planned.context("checking the manifests ended by a fault of ours")??;
        Ok(())
    }

    /// Applies these manifests, all or nothing.
    pub(super) async fn apply(&self, manifests: &Manifests) -> anyhow::Result<()> {
        let resources = applicable(manifests)?;
        if resources.is_empty() {
            return Ok(());
        }
        let handle = self.handle.clone();
        let applied = tokio::task::spawn_blocking(move || handle.apply(&resources)).await;
        applied.context("applying the manifests ended by a fault of ours")??;
        Ok(())
    }

    /// Waits for one that wants to take our place. Cancel safe.
    pub(super) async fn successor(&self) -> Successor {
        match &self.door {
            Some(door) => door.successor().await,
            None => std::future::pending().await,
        }
    }

    /// Ends everything, and these replicas: the loop first, so that it starts nothing again; then the traffic; then the replicas.
    pub(super) async fn end(self, whom: Whom) -> anyhow::Result<()> {
        drop(self.door);
        self.stop.cancel();
        self.server.await.context("the API ended by a fault of ours")?;
        let epoch = self.handle.stop();
        self.front.proxy.shutdown(PROXY_GRACE).await;
        let stopped = self.agent.stop_replicas(epoch, whom).await;
        let stopped = stopped.map_err(|error| anyhow!("could not stop the replicas: {error}"))?;
        tracing::info!(replicas = stopped.replicas, "stopped");
        self.agent.close().await;
        for (replica, outcome) in &stopped.left {
            tracing::error!(replica = %replica, why = why_left(outcome), "replica_left");
        }
        match stopped.left.len() {
            0 => Ok(()),
            left => Err(anyhow!(
                "could not stop {left} of the replicas, which the lines above name; the next `homeostat up` with the same --data \
                 takes over those that go on running"
            )),
        }
    }

    /// Lets go of what only one may have. Replicas go on, and so does the traffic.
    pub(super) async fn release(self) -> Front {
        drop(self.door);
        self.stop.cancel();
        if let Err(error) = self.server.await {
            tracing::error!(error = %error, "the API ended by a fault of ours");
        }
        self.handle.stop();
        self.agent.close().await;
        drop((self.handle, self.agent));
        match sole(self.platform).await {
            Some(platform) => platform.close().await,
            None => tracing::warn!("something of ours still keeps the replicas"),
        }
        if sole(self.store).await.is_none() {
            tracing::warn!("something of ours still uses the store");
        }
        self.front
    }
}

fn why_left(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Failed(failure) => &failure.message,
        Outcome::Refused(Refusal::StaleEpoch) => "another homeostat has taken over this data folder",
        Outcome::Refused(Refusal::OtherIncarnation) => "it ended by itself and was started anew",
        Outcome::Unknown => "the kernel has not let its process go yet",
        Outcome::Applied => "it is gone",
    }
}

/// What is shared, once nothing else holds it any more; `None` if something does not release it.
async fn sole<T>(mut shared: Arc<T>) -> Option<T> {
    let waiting = async {
        loop {
            match Arc::try_unwrap(shared) {
                Ok(sole) => return sole,
                Err(again) => shared = again,
            }
            tokio::time::sleep(RELEASE_LOOK).await;
        }
    };
    tokio::time::timeout(RELEASE_MAX, waiting).await.ok()
}

fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listen = || -> std::io::Result<TcpListener> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    listen().with_context(|| {
        format!("could not listen on {address} for the API; is another homeostat running? choose another with --listen")
    })
}

fn open_store(data: &Path) -> anyhow::Result<EmbeddedStore> {
    EmbeddedStore::open(data).map_err(|error| match error {
        OpenError::InUse { .. } => anyhow!("{error}, or take its place with --take-over"),
        error => error.into(),
    })
}

fn open_platform(up: &Up, here: &Path) -> anyhow::Result<ProcessPlatform> {
    let mut settings = platform_process::Settings::new(&up.data, here);
    settings.cpu = up.cpu;
    if let Some(path) = &up.path {
        settings.path.clone_from(path);
    }
    Ok(ProcessPlatform::open(settings)?)
}

/// The resources of the manifests, of which the certificates can be shown.
fn applicable(manifests: &Manifests) -> anyhow::Result<Vec<Resource>> {
    let resources: Vec<Resource> = manifests.resources().cloned().collect();
    agent::check_certificates(&resources)?;
    Ok(resources)
}

/// The machine's name as far as it is one for a node.
fn node_name() -> NodeName {
    let hostname =
        std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().to_ascii_lowercase();
    let label = hostname.trim().split('.').next().unwrap_or_default();
    NodeName::parse(label).or_else(|_| NodeName::parse("local")).expect("`local` is a name")
}
