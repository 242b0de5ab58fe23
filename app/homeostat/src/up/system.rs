//! The whole system in one process; the only module that names the drivers.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use agent::{Agent, StopScope};
use anyhow::{Context as _, anyhow};
use manifest::Manifests;
use model::action::{Outcome, Refusal};
use model::name::NodeName;
use model::resource::Resource;
use orchestrator::{Handle, HistoryConfig};
use os::Signals;
use platform_process::{ProcessPlatform, UnrecordedReplica};
use proxy::{Proxy, ProxyConfig};
use store_embedded::{EmbeddedStore, OpenError};
use succession::{Handover, Successor, SuccessorListener};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::start_error::{self, Code};
use super::takeover::{self, Frontend};
use super::{Options, PROXY_GRACE, Setup, name_of, reserve};

/// How long the replicas to which the predecessor routes may take to pass the probes of this process. The predecessor serves meanwhile;
/// replicas that do not pass by then would not answer requests either.
const SETTLE_MAX: Duration = Duration::from_secs(60);

/// How long they may still take when the predecessor has ended: clients wait in the queues of the sockets then. A probe takes milliseconds.
const SETTLE_UNSERVED_MAX: Duration = Duration::from_secs(2);

/// Interval between checks of that.
const SETTLE_POLL: Duration = Duration::from_millis(10);

/// How long the last users of the store or the platform may take to release it: threads that write a last record, programs that reload
/// a balancer.
const RELEASE_MAX: Duration = Duration::from_secs(15);

/// Why another process may not take over while this one stops.
const STOPS: &str = "it is stopping; start the other once it has ended";

/// Why another process may not take over while one does.
const HANDS_OVER: &str = "it hands over to another process already; try again once that one serves";

/// Interval between checks of that.
const RELEASE_POLL: Duration = Duration::from_millis(2);

/// Store, platform, loop, agent, API and proxy.
pub(super) struct System {
    /// Address of the API.
    pub(super) address: SocketAddr,
    pub(super) platform: Arc<ProcessPlatform>,
    store: Arc<EmbeddedStore>,
    frontend: Frontend,
    handle: Handle,
    agent: Agent,
    /// Accepts a successor; `None` if the socket could not be opened.
    successor_listener: Option<SuccessorListener>,
    server: JoinHandle<()>,
    stop: CancellationToken,
    /// Replicas of each service to which the predecessor routes.
    served_before: BTreeMap<String, usize>,
}

impl System {
    /// Starts from the store and the running replicas, with the sockets of a handover. Until [`Self::open`] only the API accepts clients.
    pub(super) async fn begin(setup: &Setup, handover: Handover) -> anyhow::Result<Self> {
        let (options, working_folder) = (&setup.options, &setup.working_folder);
        let (api, inherited) = takeover::sockets_of(handover.sockets, options.listen);
        let store = Arc::new(open_store(options)?);
        // Only now: a start that is refused must leave the reserve to the process that runs.
        reserve::release_if_full(&options.data);
        let api = match api {
            Some(api) => api,
            None => listen(options.listen)?,
        };
        let platform = Arc::new(open_platform(options, working_folder)?);
        for UnrecordedReplica { replica, pid } in platform.unrecorded() {
            tracing::warn!(replica, pid, "unrecorded_replica_runs");
        }
        let seed = os::seed()?;
        let config = ProxyConfig { seed, connections_max: setup.connections_max, ..ProxyConfig::default() };
        let proxy = Proxy::take_over(&config, inherited)?;
        let node = node_name();
        let (orders, inbox) = channel();
        let handle = orchestrator::start(orchestrator::Config {
            store: Arc::clone(&store) as _,
            journal: options.data.join("journal"),
            history: HistoryConfig { folder: options.data.join("history"), retention: options.history },
            node: node.clone(),
            epoch_of_node: platform.epoch(),
            seed,
            settings: options.settings.clone(),
            orders,
        })
        .map_err(start_error::of_loop)?;
        let issued = options.data.join("acme");
        let (zone, runs) = (options.zone.clone(), Arc::clone(&platform) as _);
        let agent = Agent::start(node, zone, issued, runs, proxy.table(), handle.clone(), inbox)
            .context("could not create the thread of the agent")?;
        let stop = CancellationToken::new();
        let address = api.local_addr().context("could not read the address of the API's socket")?;
        let listener = {
            let _within = setup.api_runtime.enter();
            api.try_clone().and_then(tokio::net::TcpListener::from_std)
        };
        let listener = listener.context("could not duplicate the socket of the API")?;
        let state =
            api::State::new(handle.clone(), agent.clone(), address, working_folder.clone(), stop.clone());
        let server = setup.tasks.spawn_on(api::serve(listener, state), &setup.api_runtime);
        let successor_listener = SuccessorListener::bind(&options.data)
            .inspect_err(|error| tracing::warn!(error = %format_args!("{error}: {}", error.source), "takeover_unavailable"));
        let frontend = Frontend { proxy, api, api_requested: options.listen };
        let served_before = handover.serving;
        Ok(Self {
            address,
            platform,
            store,
            frontend,
            handle,
            agent,
            successor_listener: successor_listener.ok(),
            server,
            stop,
            served_before,
        })
    }

    /// Checks that these manifests can be applied, and waits until this process can serve as much as its predecessor.
    pub(super) async fn prepare(
        &self,
        manifests: &Manifests,
        predecessor_ended: impl Future<Output = ()>,
    ) -> anyhow::Result<()> {
        self.check(manifests).await?;
        self.settle(predecessor_ended).await;
        Ok(())
    }

    /// Begins to accept clients.
    pub(super) fn open(&self) {
        self.frontend.proxy.open();
    }

    /// Waits until the proxy routes to as many replicas of each service as the predecessor does, at most [`SETTLE_MAX`], and at most
    /// [`SETTLE_UNSERVED_MAX`] once the predecessor has ended.
    pub(super) async fn settle(&self, predecessor_ended: impl Future<Output = ()>) {
        let table = self.frontend.proxy.table();
        let is_settled = || {
            let serving = takeover::serving(&table);
            let has_as_many =
                |(service, count): (&String, &usize)| serving.get(service).is_some_and(|now| now >= count);
            self.handle.is_ready() && table.unclaimed() == 0 && self.served_before.iter().all(has_as_many)
        };
        let settling = async {
            while !is_settled() {
                tokio::time::sleep(SETTLE_POLL).await;
            }
        };
        let too_long = async {
            if tokio::time::timeout(SETTLE_MAX, predecessor_ended).await.is_ok() {
                tracing::warn!("predecessor_ended");
                tokio::time::sleep(SETTLE_UNSERVED_MAX).await;
            }
        };
        tokio::select! {
            () = settling => {}
            () = too_long => tracing::warn!("fewer_replicas_than_before"),
        }
    }

    /// The resources of the manifests, with the certificates of those checked that would change.
    ///
    /// A certificate that has become unusable since it was declared keeps nothing from running, as without manifests.
    fn checked_resources(&self, manifests: &Manifests) -> anyhow::Result<Vec<Resource>> {
        let mut resources: Vec<Resource> = manifests.resources().cloned().collect();
        // These are what is to run, also on another data folder than the one in which they were printed.
        for resource in &mut resources {
            resource.take_version();
        }
        agent::check_certificates(&self.handle.changed(&resources))?;
        Ok(resources)
    }

    /// Checks whether these manifests could be applied; stores nothing.
    async fn check(&self, manifests: &Manifests) -> anyhow::Result<()> {
        let resources = self.checked_resources(manifests)?;
        let handle = self.handle.clone();
        let planned = tokio::task::spawn_blocking(move || handle.plan(&resources)).await;
        planned.context("checking the manifests panicked; please report this bug")??;
        Ok(())
    }

    /// Applies these manifests, all or nothing.
    pub(super) async fn apply(&self, manifests: &Manifests) -> anyhow::Result<()> {
        let resources = self.checked_resources(manifests)?;
        if resources.is_empty() {
            return Ok(());
        }
        let handle = self.handle.clone();
        let applied = tokio::task::spawn_blocking(move || handle.apply(&resources)).await;
        applied.context("applying the manifests panicked; please report this bug")??;
        Ok(())
    }

    /// Waits for a process that takes over. Cancel safe.
    pub(super) async fn successor(&self) -> Successor {
        match &self.successor_listener {
            Some(listener) => listener.accept().await,
            None => std::future::pending().await,
        }
    }

    /// Ends everything, and kills what is left at the next signal.
    pub(super) async fn end(
        self,
        setup: &Setup,
        scope: StopScope,
        signals: &mut Signals,
    ) -> anyhow::Result<()> {
        let hurry = CancellationToken::new();
        let mut ending = pin!(self.end_in_order(setup, scope, &hurry));
        tokio::select! {
            ended = &mut ending => return ended,
            signal = signals.next() => {
                tracing::warn!(signal = name_of(signal), "stopping_at_once");
                hurry.cancel();
            }
        }
        ending.await
    }

    /// Ends everything: the loop first, so that it does not restart replicas; then the traffic; then the replicas in scope. The API answers
    /// until then, and refuses changes.
    async fn end_in_order(
        self,
        setup: &Setup,
        scope: StopScope,
        hurry: &CancellationToken,
    ) -> anyhow::Result<()> {
        if let Some(listener) = self.successor_listener {
            setup.tasks.spawn(listener.close(STOPS));
        }
        let epoch = self.handle.stop();
        // Dropping the proxy closes its connections.
        hurry.run_until_cancelled(self.frontend.proxy.shutdown(PROXY_GRACE)).await;
        let stopped = self.agent.stop_replicas(epoch, scope, hurry).await;
        let stopped = stopped.map_err(|error| anyhow!("could not stop the replicas: {error}"))?;
        tracing::info!(replicas = stopped.replicas, "stopped");
        self.stop.cancel();
        self.server.await.context("the API server panicked; please report this bug")?;
        self.agent.close().await;
        for (replica, outcome) in &stopped.left {
            tracing::error!(replica = %replica, reason = reason_of(outcome), "replica_not_stopped");
        }
        match stopped.left.len() {
            0 => Ok(()),
            left => Err(anyhow!(
                "could not stop {left} of the replicas, which the lines above name; the next `homeostat up` with the same --data \
                 adopts those that still run"
            )),
        }
    }

    /// Releases what only one process may hold. Replicas keep running, and the traffic continues. Other processes that wait to take
    /// over are refused in a task.
    pub(super) async fn release(self, tasks: &TaskTracker) -> Frontend {
        if let Some(listener) = self.successor_listener {
            tasks.spawn(listener.close(HANDS_OVER));
        }
        self.stop.cancel();
        if let Err(error) = self.server.await {
            tracing::error!(error = %error, "api_panicked");
        }
        self.handle.stop();
        self.agent.close().await;
        drop((self.handle, self.agent));
        match exclusive(self.platform).await {
            Some(platform) => platform.close().await,
            None => tracing::warn!("platform_not_released"),
        }
        if exclusive(self.store).await.is_none() {
            tracing::warn!("store_not_released");
        }
        self.frontend
    }
}

fn reason_of(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Failed(failure) => &failure.message,
        Outcome::Refused(Refusal::StaleEpoch) => "another homeostat has taken over this data folder",
        Outcome::Refused(Refusal::OtherIncarnation) => "it exited by itself and was restarted",
        Outcome::Unknown => "its process has not exited yet",
        Outcome::Applied => "it has exited",
    }
}

/// The value once nothing else uses it; `None` if something does not release it within [`RELEASE_MAX`].
async fn exclusive<T>(mut shared: Arc<T>) -> Option<T> {
    let waiting = async {
        loop {
            match Arc::try_unwrap(shared) {
                Ok(value) => return value,
                Err(again) => shared = again,
            }
            tokio::time::sleep(RELEASE_POLL).await;
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
    let listening = listen().with_context(|| {
        format!("could not listen on {address} for the API; is another homeostat running? choose another with --listen")
    });
    listening.map_err(|error| Code::Address.explain(error))
}

fn open_store(options: &Options) -> anyhow::Result<EmbeddedStore> {
    let open = || EmbeddedStore::open(&options.data);
    let opened = open().or_else(|error| {
        let may_lack_space = !matches!(error, OpenError::InUse { .. });
        if may_lack_space && reserve::release_if_full(&options.data) { open() } else { Err(error) }
    });
    opened.map_err(|error| start_error::of_store(error, options.take_over.is_some()))
}

fn open_platform(options: &Options, working_folder: &Path) -> anyhow::Result<ProcessPlatform> {
    let mut settings = platform_process::Settings::new(&options.data, working_folder);
    settings.cpu = options.cpu;
    if let Some(path) = &options.path {
        settings.path.clone_from(path);
    }
    ProcessPlatform::open(settings).map_err(start_error::of_platform)
}

/// The first label of the machine's host name, or `local` if that is not a valid name of a node.
fn node_name() -> NodeName {
    let hostname =
        std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().to_ascii_lowercase();
    let label = hostname.trim().split('.').next().unwrap_or_default();
    NodeName::parse(label).or_else(|_| NodeName::parse("local")).expect("`local` is a name")
}
