//! `homeostat up`: everything in one process.
//!
//! The start opens everything that can fail before anything acts, so that an error leaves nothing behind; the end runs in the opposite
//! order. With `--take-over` this process replaces the one that runs on the same data folder, and any process can be replaced in turn:
//! see [`takeover`].

mod reserve;
mod slow_successor;
mod system;
mod takeover;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use agent::StopScope;
use anyhow::Context;
use manifest::Manifests;
use model::name::ZoneName;
use model::settings::Settings;
use os::{Signals, StopSignal};
use platform::Platform;
use platform_process::CpuPolicy;
use proxy::ProxyConfig;
use succession::{Notification, ServiceManager, Successor};
use tokio::runtime;
use tokio_util::task::TaskTracker;

use self::slow_successor::ApiFallback;
use self::system::System;
use self::takeover::{Frontend, Previous};

/// The threads that serve the API.
const API_THREADS: usize = 2;

/// How long requests in flight may take to finish when this process stops.
const PROXY_GRACE: Duration = Duration::from_secs(5);

/// Pause between attempts to resume service after a successor has failed.
const TAKE_BACK_PAUSE: Duration = Duration::from_secs(1);

/// The options of `homeostat up`.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The manifests to apply at the start, parsed and checked.
    pub(crate) manifests: Manifests,
    /// The data folder.
    pub(crate) data: PathBuf,
    /// `$PATH` of replicas that declare none; `None` for the platform's default.
    pub(crate) path: Option<String>,
    /// Address on which the API listens.
    pub(crate) listen: SocketAddr,
    /// The zone of this machine.
    pub(crate) zone: Option<ZoneName>,
    /// Whether `resources.cpu` is a share or a quota.
    pub(crate) cpu: CpuPolicy,
    /// How long decisions are kept in the history.
    pub(crate) history: Duration,
    /// The settings of the loop.
    pub(crate) settings: Settings,
    /// How long the predecessor may drain its clients; `None` without `--take-over`.
    pub(crate) take_over: Option<Duration>,
    /// Notified when this process or its successor begins to serve.
    pub(crate) manager: ServiceManager,
}

/// What stays the same from start to end, including after a failed handover.
#[derive(Debug)]
struct Setup {
    options: Options,
    /// The folder in which the process was started.
    working_folder: PathBuf,
    /// Most concurrent client connections.
    connections_max: usize,
    /// The API server, earlier proxies of this process that still drain, and refusals of processes that want to take over.
    tasks: TaskTracker,
    /// Runs the API server: however many requests clients send, they delay no probe and no start of a replica.
    api_runtime: runtime::Handle,
}

/// Runs until a signal, and then stops the replicas too; or until another process has taken over.
pub(crate) fn run(options: Options) -> anyhow::Result<ExitCode> {
    let api_runtime = runtime::Builder::new_multi_thread()
        .worker_threads(API_THREADS)
        .thread_name("api")
        .enable_all()
        .build()
        .context("could not create the threads of the API")?;
    // All else waits for timers, sockets and ends of processes and takes little time. On one thread it wakes no other one, which would
    // cost more than a probe.
    let main_runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("could not create the runtime of the agent")?;
    main_runtime.block_on(serve(options, api_runtime.handle()))
}

async fn serve(mut options: Options, api_runtime: &runtime::Handle) -> anyhow::Result<ExitCode> {
    let files = os::raise_open_files();
    let mut signals = Signals::listen()?;
    let working_folder = std::env::current_dir().context("could not read the current folder")?;
    options.manifests.resolve_paths(&working_folder)?;
    let setup = Setup {
        options,
        working_folder,
        connections_max: connections_for(files),
        tasks: TaskTracker::new(),
        api_runtime: api_runtime.clone(),
    };
    let mut system = begin(&setup).await?;
    announce(&setup.options, &system);
    notify(&setup, Notification::Ready);
    setup.tasks.spawn(reserve::keep(setup.options.data.clone()));
    loop {
        // Both are cancel safe: after the signal that stops the process no other is waited for.
        let mut successor = tokio::select! {
            signal = signals.next() => {
                tracing::info!(signal = name_of(signal), "stopping");
                notify(&setup, Notification::Stopping);
                system.end(StopScope::All).await?;
                return Ok(ExitCode::SUCCESS);
            }
            successor = system.successor() => successor,
        };
        let frontend = system.release(&setup.tasks).await;
        let process = successor.process();
        let api = ApiFallback { listener: &frontend.api, runtime: &setup.api_runtime, tasks: &setup.tasks };
        let outcome = tokio::select! {
            outcome = hand_over(&mut successor, &frontend, &mut signals) => outcome,
            never = slow_successor::watch(process, slow_successor::SLOW_AFTER, api) => match never {},
        };
        match outcome {
            HandoverOutcome::Completed => {
                // Before this process exits: the service manager would take its exit for that of the service.
                successor.pid().inspect(|pid| notify(&setup, Notification::Successor(*pid)));
                return drain(frontend, successor.linger(), &mut signals).await;
            }
            HandoverOutcome::Interrupted => {
                notify(&setup, Notification::Stopping);
                frontend.proxy.shutdown(PROXY_GRACE).await;
                return Ok(ExitCode::SUCCESS);
            }
            HandoverOutcome::Failed(error) => {
                tracing::warn!(pid = successor.pid(), error = %format_args!("{error:#}"), "successor_failed");
            }
        }
        drop(successor);
        system = match take_back(&setup, frontend, &mut signals).await? {
            Some(system) => system,
            None => return Ok(ExitCode::SUCCESS),
        };
    }
}

/// Starts the system and applies the manifests; with `--take-over` it replaces a running predecessor.
async fn begin(setup: &Setup) -> anyhow::Result<System> {
    let mut previous = Previous::find(&setup.options).await?;
    let system = System::begin(setup, previous.handover().await?).await?;
    let is_first = matches!(previous, Previous::None);
    if !is_first && let Err(error) = system.prepare(&setup.options.manifests).await {
        // The replicas keep running: the predecessor resumes them when it sees that this process has exited.
        drop(system.release(&setup.tasks).await);
        return Err(error);
    }
    system.open();
    previous.retire(setup).await;
    match system.apply(&setup.options.manifests).await {
        Ok(()) => Ok(system),
        // The manifests were checked by `prepare`, and the predecessor is gone: continue with what is declared already.
        Err(error) if !is_first => {
            tracing::error!(error = %format_args!("{error:#}"), "manifests_not_applied");
            Ok(system)
        }
        // A refused declaration changes nothing: adopted replicas keep running, only those started by this run are stopped.
        Err(error) => {
            system.end(StopScope::NotAdopted).await?;
            Err(error)
        }
    }
}

/// How a handover to a successor ended.
enum HandoverOutcome {
    /// The successor serves.
    Completed,
    /// The successor does not serve, and why.
    Failed(anyhow::Error),
    /// A signal arrived before either was known.
    Interrupted,
}

async fn hand_over(successor: &mut Successor, frontend: &Frontend, signals: &mut Signals) -> HandoverOutcome {
    tracing::info!(pid = successor.pid(), "handing_over");
    let serving = async {
        successor.send(&frontend.handover()?).await.context("could not send the handover")?;
        anyhow::Ok(successor.wait_until_serving().await?)
    };
    // Both are cancel safe: after a signal the successor is not waited for any more, even one that does not read what it is sent.
    tokio::select! {
        result = serving => result.map_or_else(HandoverOutcome::Failed, |()| HandoverOutcome::Completed),
        signal = signals.next() => {
            let replicas = "left to the successor";
            tracing::warn!(signal = name_of(signal), replicas, "stopping_during_handover");
            HandoverOutcome::Interrupted
        }
    }
}

/// Lets the remaining clients of this process finish, while the successor serves all others.
async fn drain(frontend: Frontend, linger: Duration, signals: &mut Signals) -> anyhow::Result<ExitCode> {
    tracing::info!(?linger, "draining");
    // A signal cuts them off: dropping the proxy closes their connections.
    tokio::select! {
        ended = frontend.proxy.hand_over(linger) => {
            tracing::info!(connections_cut = ended.connections_cut, "drained");
        }
        signal = signals.next() => tracing::info!(signal = name_of(signal), "stopping"),
    }
    Ok(ExitCode::SUCCESS)
}

/// Resumes service after a successor has failed, the way a successor takes over: from a proxy that keeps serving meanwhile. `None` when
/// a signal stops the process before that is done.
async fn take_back(
    setup: &Setup,
    frontend: Frontend,
    signals: &mut Signals,
) -> anyhow::Result<Option<System>> {
    loop {
        let begun = match frontend.handover() {
            Ok(handover) => System::begin(setup, handover).await,
            Err(error) => Err(error),
        };
        match begun {
            Ok(system) => {
                system.settle().await;
                system.open();
                Previous::Own(frontend).retire(setup).await;
                return Ok(Some(system));
            }
            Err(error) => {
                tracing::error!(error = %format_args!("{error:#}"), "not_taken_back");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(TAKE_BACK_PAUSE) => {}
            signal = signals.next() => {
                let replicas = "left running: the next start adopts them";
                tracing::warn!(signal = name_of(signal), replicas, "stopping");
                notify(setup, Notification::Stopping);
                frontend.proxy.shutdown(PROXY_GRACE).await;
                return Ok(None);
            }
        }
    }
}

/// Client connections for which `files` open files suffice: each takes two, and the process itself needs some.
fn connections_for(files: u64) -> usize {
    const OTHERS: u64 = 1024;
    let possible = usize::try_from(files.saturating_sub(OTHERS) / 2).unwrap_or(usize::MAX);
    possible.clamp(64, ProxyConfig::CONNECTIONS_MAX_DEFAULT)
}

/// Notifies the service manager, if one started this process.
fn notify(setup: &Setup, notification: Notification) {
    if let Err(error) = setup.options.manager.notify(notification) {
        tracing::warn!(?notification, %error, "service_manager_not_notified");
    }
}

fn announce(options: &Options, system: &System) {
    for reason in system.platform.capabilities().degraded() {
        tracing::warn!(%reason, "platform_degraded");
    }
    let address = system.address;
    let hint = "Ctrl-C stops it and its replicas";
    tracing::info!(api = %format_args!("http://{address}"), data = %options.data.display(), hint, "started");
}

fn name_of(signal: StopSignal) -> &'static str {
    match signal {
        StopSignal::Interrupt => "SIGINT",
        StopSignal::Terminate => "SIGTERM",
    }
}
