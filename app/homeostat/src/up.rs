//! `homeostat up`: everything in one process.
//!
//! The one place that names the drivers. It opens what can fail first and starts what acts last, so that an error leaves nothing
//! behind; and it ends in the opposite order.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use agent::{Agent, Whom};
use anyhow::{Context, anyhow};
use manifest::Manifests;
use model::action::{Outcome, Refusal};
use model::name::NodeName;
use model::resource::Resource;
use model::settings::Settings;
use orchestrator::{Doors, Handle, HistoryKept};
use os::{Signals, StopSignal};
use platform::Platform;
use platform_process::{CpuPolicy, ProcessPlatform};
use proxy::{Proxy, ProxyConfig};
use store_embedded::EmbeddedStore;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Requests under way when we are asked to stop may take so long to finish.
const PROXY_GRACE: Duration = Duration::from_secs(5);

/// What `homeostat up` was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Up {
    /// What to apply at the start, read and checked.
    pub(crate) manifests: Manifests,
    /// Where everything is kept.
    pub(crate) data: PathBuf,
    /// `$PATH` of replicas that declare none; `None` for the platform's own.
    pub(crate) path: Option<String>,
    /// Where the API listens.
    pub(crate) listen: SocketAddr,
    /// Whether `resources.cpu` is a share or a quota.
    pub(crate) cpu: CpuPolicy,
    /// For how long decisions are kept.
    pub(crate) history: Duration,
    /// The numbers of the loop.
    pub(crate) settings: Settings,
}

/// Runs until a signal asks to stop; then stops the replicas too.
pub(crate) fn up(up: Up) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("could not start: the system gave no thread")?;
    runtime.block_on(run(up))
}

async fn run(mut up: Up) -> anyhow::Result<ExitCode> {
    let files = os::raise_open_files();
    let mut signals = Signals::listen()?;
    let here = std::env::current_dir().context("could not start: the current folder cannot be told")?;
    up.manifests.resolve_paths(&here)?;
    let store = Arc::new(EmbeddedStore::open(&up.data)?);
    let listener = TcpListener::bind(up.listen).await.with_context(|| {
        format!(
            "could not listen on {} for the API; is another homeostat running? choose another with --listen",
            up.listen
        )
    })?;
    let platform: Arc<dyn Platform> = Arc::new(open_platform(&up, &here)?);
    let seed = os::seed()?;
    let proxy = Proxy::start(&ProxyConfig {
        seed,
        connections_max: connections_for(files),
        ..ProxyConfig::default()
    })?;
    let node = node_name();
    let (orders, inbox) = channel();
    let handle = orchestrator::start(Doors {
        store,
        journal: up.data.join("journal"),
        history: HistoryKept { folder: up.data.join("history"), keep: up.history },
        node: node.clone(),
        seed,
        settings: up.settings.clone(),
        orders,
    })?;
    let agent = Agent::start(node, Arc::clone(&platform), proxy.table(), handle.clone(), inbox)
        .context("could not start the agent: the system gave no thread")?;
    let stop = CancellationToken::new();
    let address = listener.local_addr().context("could not tell where the API listens")?;
    let state = api::State::new(handle.clone(), agent.clone(), address, here, stop.clone());
    let tasks = TaskTracker::new();
    let server = tasks.spawn(api::serve(listener, state));

    let applied = apply(&handle, &up.manifests).await;
    if applied.is_ok() {
        announce(&up, address, platform.as_ref());
        wait(&mut signals).await;
    }
    stop.cancel();
    server.await.context("the API ended by a fault of ours")?;
    // A declaration that was refused changes nothing: what had outlived the last run goes on, and only what this one started ends.
    let whom = if applied.is_ok() { Whom::Everyone } else { Whom::NotAdopted };
    end(&handle, &agent, proxy, whom).await?;
    applied.map(|()| ExitCode::SUCCESS)
}

fn open_platform(up: &Up, here: &Path) -> anyhow::Result<ProcessPlatform> {
    let mut settings = platform_process::Settings::new(&up.data, here);
    settings.cpu = up.cpu;
    if let Some(path) = &up.path {
        settings.path.clone_from(path);
    }
    Ok(ProcessPlatform::open(settings)?)
}

/// Client connections for which the open files suffice: each takes two, and some are left for everything else.
fn connections_for(files: u64) -> usize {
    const OTHERS: u64 = 1024;
    let afforded = usize::try_from(files.saturating_sub(OTHERS) / 2).unwrap_or(usize::MAX);
    afforded.clamp(64, ProxyConfig::CONNECTIONS_MAX_DEFAULT)
}

async fn apply(handle: &Handle, manifests: &Manifests) -> anyhow::Result<()> {
    let resources: Vec<Resource> = manifests.resources().cloned().collect();
    if resources.is_empty() {
        return Ok(());
    }
    for resource in &resources {
        if let Resource::Service(service) = resource {
            agent::check_certificates(&service.spec)
                .with_context(|| format!("could not apply service/{}", service.name()))?;
        }
    }
    let handle = handle.clone();
    let applied = tokio::task::spawn_blocking(move || handle.apply(&resources)).await;
    applied.context("applying the manifests ended by a fault of ours")??;
    Ok(())
}

fn announce(up: &Up, address: SocketAddr, platform: &dyn Platform) {
    for sentence in platform.capabilities().degraded() {
        tracing::warn!("{sentence}");
    }
    for resource in up.manifests.resources() {
        match resource {
            Resource::Service(service) => {
                if let Some(listen) = service.spec.expose.as_ref().and_then(|expose| expose.listen) {
                    tracing::info!(service = %service.name(), address = %listen, "exposed");
                }
            }
            Resource::Route(route) => {
                tracing::info!(route = %route.name(), address = %route.spec.listen, "routed");
            }
            Resource::HorizontalPodAutoscaler(_) | Resource::MetricSource(_) => {}
        }
    }
    tracing::info!(api = %format_args!("http://{address}"), data = %up.data.display(), "homeostat is up; Ctrl-C stops it and what it started");
}

async fn wait(signals: &mut Signals) {
    let name = match signals.next().await {
        StopSignal::Interrupt => "SIGINT",
        StopSignal::Terminate => "SIGTERM",
    };
    tracing::info!(signal = name, "stopping");
}

/// The loop first, so that it starts nothing again; then the traffic; then the replicas.
async fn end(handle: &Handle, agent: &Agent, proxy: Proxy, whom: Whom) -> anyhow::Result<()> {
    let epoch = handle.stop();
    proxy.shutdown(PROXY_GRACE).await;
    let stopped = agent
        .stop_replicas(epoch, whom)
        .await
        .map_err(|error| anyhow!("could not stop the replicas: {error}"))?;
    tracing::info!(replicas = stopped.replicas, "stopped");
    agent.close().await;
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

fn why_left(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Failed(failure) => &failure.message,
        Outcome::Refused(Refusal::StaleEpoch) => "another homeostat has taken over this data folder",
        Outcome::Refused(Refusal::OtherIncarnation) => "it ended by itself and was started anew",
        Outcome::Unknown => "the kernel has not let its process go yet",
        Outcome::Applied => "it is gone",
    }
}

/// The machine's name as far as it is one for a node.
fn node_name() -> NodeName {
    let hostname =
        std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().to_ascii_lowercase();
    let label = hostname.trim().split('.').next().unwrap_or_default();
    NodeName::parse(label).or_else(|_| NodeName::parse("local")).expect("`local` is a name")
}
