//! `homeostat up`: everything in one process.
//!
//! It opens what can fail first and starts what acts last, so that an error leaves nothing behind; and it ends in the opposite order. With
//! `--take-over` it takes the place of the one that runs on the same data folder, and every one lets another take its own: see [`before`].

mod before;
mod reign;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use agent::Whom;
use anyhow::Context;
use manifest::Manifests;
use model::name::ZoneName;
use model::resource::Resource;
use model::settings::Settings;
use os::{Signals, StopSignal};
use platform::Platform;
use platform_process::CpuPolicy;
use proxy::ProxyConfig;
use succession::{ServiceManager, Successor, Word};
use tokio_util::task::TaskTracker;

use self::before::{Before, Front};
use self::reign::Reign;

/// Requests under way when we are asked to stop may take so long to finish.
const PROXY_GRACE: Duration = Duration::from_secs(5);

/// From one attempt to take our own place again to the next, after a successor has failed.
const RETURN_PAUSE: Duration = Duration::from_secs(1);

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
    /// The zone of this machine.
    pub(crate) zone: Option<ZoneName>,
    /// Whether `resources.cpu` is a share or a quota.
    pub(crate) cpu: CpuPolicy,
    /// For how long decisions are kept.
    pub(crate) history: Duration,
    /// The numbers of the loop.
    pub(crate) settings: Settings,
    /// How long clients of the predecessor may take to leave; `None` if no place is to be taken.
    pub(crate) take_over: Option<Duration>,
    /// Who is told that we serve, and that another one does.
    pub(crate) manager: ServiceManager,
}

/// What was asked for, and where.
#[derive(Debug)]
struct House {
    up: Up,
    /// The folder that we were started in.
    here: PathBuf,
    /// Client connections at once.
    connections_max: usize,
    /// The API, and proxies of ours that see off their clients.
    tasks: TaskTracker,
}

/// Runs until a signal asks to stop, and then stops the replicas too; or until another process has taken this one's place.
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
    let house = House { up, here, connections_max: connections_for(files), tasks: TaskTracker::new() };
    let mut reign = begin(&house).await?;
    announce(&house.up, &reign);
    tell(&house, Word::Ready);
    loop {
        // Both are cancel safe: the signal that ends us is the last one that is waited for.
        let mut successor = tokio::select! {
            signal = signals.next() => {
                tracing::info!(signal = name_of(signal), "stopping");
                tell(&house, Word::Stopping);
                reign.end(Whom::Everyone).await?;
                return Ok(ExitCode::SUCCESS);
            }
            successor = reign.successor() => successor,
        };
        let front = reign.release().await;
        match hand_over(&mut successor, &front, &mut signals).await {
            After::Succeeded => {
                // Before we end: it would take our end for that of the service.
                successor.pid().inspect(|pid| tell(&house, Word::Successor(*pid)));
                return see_off(front, successor.linger(), &mut signals).await;
            }
            After::Asked => {
                tell(&house, Word::Stopping);
                front.proxy.shutdown(PROXY_GRACE).await;
                return Ok(ExitCode::SUCCESS);
            }
            After::Failed => {}
        }
        drop(successor);
        reign = match resume(&house, front, &mut signals).await? {
            Some(reign) => reign,
            None => return Ok(ExitCode::SUCCESS),
        };
    }
}

/// Begins, in the place of a predecessor if that is asked for and there is one, and applies what is to be applied.
async fn begin(house: &House) -> anyhow::Result<Reign> {
    let mut before = Before::find(&house.up).await?;
    let reign = Reign::begin(house, before.estate().await?).await?;
    let is_first = matches!(before, Before::Nobody);
    if !is_first && let Err(error) = reign.prepare(&house.up.manifests).await {
        // The replicas are not ours to stop: the predecessor takes them back once it hears that we are gone.
        drop(reign.release().await);
        return Err(error);
    }
    reign.open();
    before.retire(house).await;
    match reign.apply(&house.up.manifests).await {
        Ok(()) => Ok(reign),
        // It could have been applied a moment ago, and the predecessor is gone: so better go on with what is kept.
        Err(error) if !is_first => {
            tracing::error!(error = %format_args!("{error:#}"), "not applied; going on with what is kept");
            Ok(reign)
        }
        // A declaration that was refused changes nothing: what had outlived the last run goes on, and only what this one started ends.
        Err(error) => {
            reign.end(Whom::NotAdopted).await?;
            Err(error)
        }
    }
}

/// What became of a successor.
enum After {
    /// It serves.
    Succeeded,
    /// It is gone, and does not.
    Failed,
    /// A signal asked us to stop before either was known.
    Asked,
}

async fn hand_over(successor: &mut Successor, front: &Front, signals: &mut Signals) -> After {
    tracing::info!("handing over to another one");
    let given = match front.estate() {
        Ok(estate) => successor.give(&estate).await.map_err(anyhow::Error::from),
        Err(error) => Err(error),
    };
    if let Err(error) = given {
        tracing::warn!(error = %format_args!("{error:#}"), "not_handed_over");
        return After::Failed;
    }
    // Both are cancel safe: nothing else is heard of it after a signal.
    tokio::select! {
        serves = successor.serves() => if serves { After::Succeeded } else { After::Failed },
        signal = signals.next() => {
            tracing::warn!(signal = name_of(signal), "stopping while another takes over; replicas are left to it");
            After::Asked
        }
    }
}

/// Lets the clients that are still ours finish, while the successor has everything else.
async fn see_off(front: Front, linger: Duration, signals: &mut Signals) -> anyhow::Result<ExitCode> {
    tracing::info!(linger = ?linger, "another one serves; waiting for the last clients of this one");
    // A signal cuts them off: dropping the proxy does.
    tokio::select! {
        ended = front.proxy.leave(linger) => {
            tracing::info!(connections_cut = ended.connections_cut, "left");
        }
        signal = signals.next() => tracing::info!(signal = name_of(signal), "stopping"),
    }
    Ok(ExitCode::SUCCESS)
}

/// Takes our own place again, after a successor has failed: as that one would have done, from a proxy that goes on serving meanwhile. `None`
/// when a signal asks us to stop before that is done.
async fn resume(house: &House, front: Front, signals: &mut Signals) -> anyhow::Result<Option<Reign>> {
    tracing::warn!("the successor did not come to serve; going on");
    loop {
        let begun = match front.estate() {
            Ok(estate) => Reign::begin(house, estate).await,
            Err(error) => Err(error),
        };
        match begun {
            Ok(reign) => {
                reign.settle().await;
                reign.open();
                Before::Ourselves(front).retire(house).await;
                return Ok(Some(reign));
            }
            Err(error) => {
                tracing::error!(error = %format_args!("{error:#}"), "not back yet; traffic goes on");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(RETURN_PAUSE) => {}
            signal = signals.next() => {
                tracing::warn!(signal = name_of(signal), "stopping; replicas are left running, and the next start adopts them");
                tell(house, Word::Stopping);
                front.proxy.shutdown(PROXY_GRACE).await;
                return Ok(None);
            }
        }
    }
}

/// Client connections for which the open files suffice: each takes two, and some are left for everything else.
fn connections_for(files: u64) -> usize {
    const OTHERS: u64 = 1024;
    let afforded = usize::try_from(files.saturating_sub(OTHERS) / 2).unwrap_or(usize::MAX);
    afforded.clamp(64, ProxyConfig::CONNECTIONS_MAX_DEFAULT)
}

/// Tells the service manager, if one has started us.
fn tell(house: &House, word: Word) {
    if let Err(error) = house.up.manager.tell(word) {
        tracing::warn!(?word, %error, "service_manager_not_told");
    }
}

fn announce(up: &Up, reign: &Reign) {
    for sentence in reign.platform.capabilities().degraded() {
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
    let address = reign.address;
    tracing::info!(api = %format_args!("http://{address}"), data = %up.data.display(), "homeostat is up; Ctrl-C stops it and what it started");
}

fn name_of(signal: StopSignal) -> &'static str {
    match signal {
        StopSignal::Interrupt => "SIGINT",
        StopSignal::Terminate => "SIGTERM",
    }
}
