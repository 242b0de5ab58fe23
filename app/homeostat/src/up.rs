//! `homeostat up`: everything in one process.
//!
//! The start opens everything that can fail before anything acts, so that an error leaves nothing behind; the end runs in the opposite
//! order. With `--take-over` this process replaces the one that runs on the same data folder, and any process can be replaced in turn:
//! see [`takeover`].

mod reserve;
mod slow_successor;
pub(crate) mod start_error;
mod system;
mod takeover;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::{Pin, pin};
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
use succession::{Notification, ServeError, ServiceManager, Successor, SuccessorProcess};
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

/// How long such attempts are made when that is only needed to stop the replicas.
const TAKE_BACK_TO_STOP_MAX: Duration = Duration::from_secs(10);

/// How long a successor may take to end on SIGTERM before it serves: it closes what it has opened, which waits for a slow disk.
const GIVE_WAY_MAX: Duration = Duration::from_secs(15);

/// How long the kernel may take to end a killed process.
const KILL_MAX: Duration = Duration::from_secs(10);

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
    /// The API server, earlier proxies of this process that still drain, refusals of processes that want to take over, and the keeper of the
    /// reserve, which ends with the process.
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
    let Some(mut system) = begin(&setup, &mut signals).await? else {
        return Ok(ExitCode::SUCCESS);
    };
    announce(&setup.options, &system);
    notify(&setup, Notification::Ready);
    setup.tasks.spawn(reserve::keep(setup.options.data.clone()));
    loop {
        // Both are cancel safe: after the signal that stops the process no other is waited for.
        let mut successor = tokio::select! {
            signal = signals.next() => {
                stopping(&setup, signal);
                system.end(&setup, StopScope::All, &mut signals).await?;
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
        let interrupted_by = match outcome {
            HandoverOutcome::Completed { linger } => {
                // Before this process exits: the service manager would take its exit for that of the service.
                successor.pid().inspect(|pid| notify(&setup, Notification::Successor(*pid)));
                // A successor that does not serve yet stops waiting when it sees that.
                drop(successor);
                return drain(frontend, linger, &mut signals).await;
            }
            HandoverOutcome::Interrupted(signal) => Some(signal),
            HandoverOutcome::Failed(error) => {
                tracing::warn!(pid = successor.pid(), error = %format_args!("{error:#}"), "successor_failed");
                None
            }
        };
        drop(successor);
        if let Some(signal) = interrupted_by {
            return stop_without_system(&setup, frontend, signal, &mut signals).await;
        }
        system = match take_back(&setup, frontend, &mut signals).await? {
            Some(system) => system,
            None => return Ok(ExitCode::SUCCESS),
        };
    }
}

/// Starts the system and applies the manifests; with `--take-over` it replaces a running predecessor. `None` when a signal has cancelled
/// that: the predecessor stays.
async fn begin(setup: &Setup, signals: &mut Signals) -> anyhow::Result<Option<System>> {
    let mut previous = Previous::find(&setup.options).await?;
    let has_predecessor = !matches!(previous, Previous::None);
    // A predecessor whose handover is not awaited to its end resumes service.
    let handover = tokio::select! {
        handover = previous.handover() => handover?,
        signal = signals.next(), if has_predecessor => return Ok(takeover_cancelled(signal)),
    };
    let is_first = matches!(previous, Previous::None);
    let system = System::begin(setup, handover).await?;
    if !is_first {
        let prepared = tokio::select! {
            prepared = system.prepare(&setup.options.manifests, previous.ended()) => prepared.map(|()| None),
            signal = signals.next() => Ok(Some(signal)),
        };
        if !matches!(prepared, Ok(None)) {
            // The replicas keep running: the predecessor resumes them when it sees that this process has exited.
            drop(system.release(&setup.tasks).await);
            return prepared.map(|signal| signal.and_then(takeover_cancelled));
        }
    }
    system.open();
    previous.retire(setup).await;
    match system.apply(&setup.options.manifests).await {
        Ok(()) => Ok(Some(system)),
        // The manifests were checked by `prepare`, and the predecessor is gone: continue with what is declared already.
        Err(error) if !is_first => {
            tracing::error!(error = %format_args!("{error:#}"), "manifests_not_applied");
            Ok(Some(system))
        }
        // A refused declaration changes nothing: adopted replicas keep running, only those started by this run are stopped.
        Err(error) => {
            system.end(setup, StopScope::NotAdopted, signals).await?;
            Err(error)
        }
    }
}

fn takeover_cancelled(signal: StopSignal) -> Option<System> {
    tracing::info!(signal = name_of(signal), hint = "the previous process goes on", "takeover_cancelled");
    None
}

/// How a handover to a successor ended.
enum HandoverOutcome {
    /// The successor serves, or it alone is left to do so.
    Completed {
        /// How long the clients of this process may take to finish.
        linger: Duration,
    },
    /// The successor does not serve, and why.
    Failed(anyhow::Error),
    /// A signal arrived before either was known, and the successor has ended without serving.
    Interrupted(StopSignal),
}

async fn hand_over(successor: &mut Successor, frontend: &Frontend, signals: &mut Signals) -> HandoverOutcome {
    tracing::info!(pid = successor.pid(), "handing_over");
    let sending =
        async { successor.send(&frontend.handover()?).await.context("could not send the handover") };
    tokio::select! {
        // Sending is first: a successor that has received nothing starts by itself when this process has ended.
        biased;
        sent = sending => {
            if let Err(error) = sent {
                return HandoverOutcome::Failed(error);
            }
        }
        // A successor that has received only a part starts nothing.
        signal = signals.next() => return HandoverOutcome::Interrupted(signal),
    }
    let (linger, process) = (successor.linger(), successor.process());
    let mut serving = pin!(successor.wait_until_serving());
    let signal = tokio::select! {
        served = &mut serving => return match served {
            Ok(()) => HandoverOutcome::Completed { linger },
            Err(error) => HandoverOutcome::Failed(error.into()),
        },
        signal = signals.next() => signal,
    };
    // This process is still the one that serves, so that the signal is for the service.
    tracing::warn!(signal = name_of(signal), hint = "the successor stops too", "stopping_during_handover");
    match call_off(process, serving, signals).await {
        Some(Err(_)) => HandoverOutcome::Interrupted(signal),
        // It came to serve first. It has the signal as well, and stops the replicas.
        Some(Ok(())) => HandoverOutcome::Completed { linger: PROXY_GRACE },
        None => {
            tracing::warn!(replicas = "left to the successor", "successor_not_stopped");
            HandoverOutcome::Completed { linger: PROXY_GRACE }
        }
    }
}

/// Stops a successor that has received the handover: with SIGTERM, on which it ends, and then with SIGKILL; another signal to this process
/// shortens the wait. Returns what came of it; `None` when it can neither be stopped nor serves.
async fn call_off(
    process: Option<SuccessorProcess>,
    mut serving: Pin<&mut impl Future<Output = Result<(), ServeError>>>,
    signals: &mut Signals,
) -> Option<Result<(), ServeError>> {
    type Stop = fn(&SuccessorProcess) -> io::Result<()>;
    let process = process?;
    let steps: [(Stop, Duration); 2] =
        [(SuccessorProcess::terminate, GIVE_WAY_MAX), (SuccessorProcess::kill, KILL_MAX)];
    for (stop, within) in steps {
        if let Err(error) = stop(&process) {
            tracing::warn!(pid = process.pid(), %error, "successor_not_signalled");
        }
        tokio::select! {
            served = &mut serving => return Some(served),
            () = tokio::time::sleep(within) => {}
            _ = signals.next() => {}
        }
    }
    None
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
/// a signal has stopped everything instead.
async fn take_back(
    setup: &Setup,
    frontend: Frontend,
    signals: &mut Signals,
) -> anyhow::Result<Option<System>> {
    // Both are cancel safe: a system is begun without a pause in between.
    let system = tokio::select! {
        system = begin_again(setup, &frontend) => system,
        signal = signals.next() => {
            stop_without_system(setup, frontend, signal, signals).await?;
            return Ok(None);
        }
    };
    tokio::select! {
        () = system.settle(std::future::pending()) => {}
        signal = signals.next() => {
            stopping(setup, signal);
            frontend.proxy.shutdown(PROXY_GRACE).await;
            system.end(setup, StopScope::All, signals).await?;
            return Ok(None);
        }
    }
    system.open();
    Previous::Own(frontend).retire(setup).await;
    Ok(Some(system))
}

/// Begins again with the sockets of this process, as often as it takes.
async fn begin_again(setup: &Setup, frontend: &Frontend) -> System {
    loop {
        let begun = match frontend.handover() {
            Ok(handover) => System::begin(setup, handover).await,
            Err(error) => Err(error),
        };
        match begun {
            Ok(system) => return system,
            Err(error) => tracing::error!(error = %format_args!("{error:#}"), "not_taken_back"),
        }
        tokio::time::sleep(TAKE_BACK_PAUSE).await;
    }
}

/// Stops everything while nothing but the proxy runs: that needs a system, which knows the replicas.
async fn stop_without_system(
    setup: &Setup,
    frontend: Frontend,
    signal: StopSignal,
    signals: &mut Signals,
) -> anyhow::Result<ExitCode> {
    stopping(setup, signal);
    let begun = tokio::time::timeout(TAKE_BACK_TO_STOP_MAX, begin_again(setup, &frontend)).await;
    frontend.proxy.shutdown(PROXY_GRACE).await;
    match begun {
        Ok(system) => system.end(setup, StopScope::All, signals).await?,
        Err(_) => {
            tracing::warn!(replicas = "left running: the next start adopts them", "replicas_not_stopped");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn stopping(setup: &Setup, signal: StopSignal) {
    let hint = "a second signal kills at once what still runs";
    tracing::info!(signal = name_of(signal), hint, "stopping");
    notify(setup, Notification::Stopping);
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
