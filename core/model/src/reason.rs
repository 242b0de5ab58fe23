//! Why something was done, or was not.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::identity::{Generation, Ordinal};
use crate::input::{Exit, ExitStatus};
use crate::name::ServiceName;
use crate::quantity::{Bytes, Replicas};
use crate::resource::{Remove, Signal};
use crate::time::Time;

/// Why something was done or not done. A closed set, so that each use has to consider each reason.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The declaration asks for it.
    Declared,
    /// The declaration was withdrawn.
    Withdrawn,
    /// Fewer replicas than wanted.
    BelowDesired {
        /// Existing replicas.
        have: u32,
        /// Wanted replicas.
        desired: u32,
    },
    /// More replicas than wanted.
    AboveDesired {
        /// Existing replicas.
        have: u32,
        /// Wanted replicas.
        desired: u32,
        /// Which of the serving replicas is removed first.
        first: Remove,
    },
    /// An operator protects it from removal.
    Protected {
        /// When that ends automatically.
        until: Time,
    },
    /// The replica reports that it must not be removed (`scale.protect`).
    MustStay {
        /// The metric by which it reports that.
        metric: Arc<str>,
        /// Whether the metric is known; a replica whose metric is unknown stays as well.
        is_known: bool,
    },
    /// An operator has paused the autoscaler.
    Paused {
        /// When that ends automatically.
        until: Option<Time>,
    },
    /// An operator has resumed the autoscaler, or ended a protection.
    Resumed,
    /// The autoscaler decided it; its decision record has the arithmetic.
    Autoscaled {
        /// Replicas before.
        from: u32,
        /// Replicas from now on.
        to: u32,
        /// The arithmetic in one sentence.
        summary: Arc<str>,
    },
    /// An operator holds the service at this many replicas.
    Held {
        /// How many.
        replicas: u32,
        /// When the hold ends automatically.
        until: Option<Time>,
    },
    /// The autoscaler is turned off.
    ScalingOff,
    /// A schedule determines the number of replicas.
    Scheduled {
        /// Which, and until when, in a sentence.
        note: Arc<str>,
    },
    /// There was no request for the declared time.
    Idle {
        /// Since when; `None` when it was already scaled to zero when this run began.
        since: Option<Time>,
    },
    /// Requests wait for a replica of a service that is scaled to zero.
    RequestsWaiting {
        /// How many.
        waiting: u32,
    },
    /// The replica ended by itself.
    Exited(Exit),
    /// The replica was stopped, and its stop signal ended it: it does not handle the signal.
    StoppedAsRequested(Exit),
    /// The replica failed its liveness probe for longer than the grace period.
    Unhealthy {
        /// Since when.
        since: Time,
    },
    /// The replica runs, and has not passed its readiness probe for some time, or not yet.
    NotReady {
        /// Since when.
        since: Time,
    },
    /// The replica runs an older declaration.
    Outdated {
        /// The generation that it runs.
        runs: Generation,
        /// The declared generation.
        wanted: Generation,
    },
    /// The declared version has not proven itself, so another one is started that has.
    Unproven {
        /// The declared generation.
        declared: Generation,
        /// The generation that is started.
        proven: Generation,
    },
    /// A warm spare is wanted.
    SpareWanted,
    /// It takes over the traffic of another replica.
    TakesOver {
        /// The other replica.
        from: Ordinal,
    },
    /// The replica that it stood in for serves again.
    StandsDown {
        /// The other replica.
        from: Ordinal,
    },
    /// It has no open request left, or its drain timed out.
    Drained {
        /// Requests that were still open.
        in_flight: u32,
    },
    /// The proxy did not confirm in time that the replica gets no new requests; it is stopped with its open requests.
    DrainUnanswered {
        /// Since when the confirmation is pending.
        since: Time,
    },
    /// A start has to wait: the previous ones ended too soon.
    Backoff {
        /// Until when.
        until: Time,
        /// Restarts so far.
        restarts: u32,
    },
    /// The last start failed before the program was executed.
    StartFailed {
        /// One sentence for users.
        cause: Arc<str>,
        /// The next try.
        until: Time,
    },
    /// Too many exits in a short time.
    CrashLoop {
        /// Exits within the window.
        exits: u32,
        /// The next try.
        until: Time,
    },
    /// A dependency is not available.
    DependencyDown {
        /// The dependency.
        needs: ServiceName,
    },
    /// So many replicas fail their liveness probe at once that the cause is shared, such as overload.
    Overload {
        /// How many fail.
        failing: u32,
        /// Of how many.
        of: u32,
    },
    /// Too many restarts at once.
    StormLimit {
        /// What the limit counts.
        scope: StormScope,
        /// The earliest time of the next restart.
        until: Time,
    },
    /// The bounds do not allow the size.
    Bounds {
        /// Least replicas.
        min: u32,
        /// Most replicas.
        max: u32,
    },
    /// Too few replicas would be left.
    DisruptionBudget {
        /// Replicas that would stay ready.
        ready: u32,
        /// Replicas that are needed.
        needed: u32,
    },
    /// A plan must not stop all replicas of a service that was not withdrawn.
    BlastRadius {
        /// Replicas that it would stop.
        takes: u32,
        /// Of how many.
        of: u32,
    },
    /// The action failed; the message says why.
    ActionFailed(Arc<str>),
    /// It was already running when this run began.
    Adopted,
    /// As observed.
    Observed,
    /// The resources of a replica change.
    VerticallyScaled {
        /// The change and its cause in a sentence.
        note: Arc<str>,
    },
    /// The replica would get less memory than it uses.
    BelowMemoryUsage {
        /// The memory that it uses.
        uses: Bytes,
        /// The memory that it would get.
        allotted: Bytes,
    },
}

/// What a limit on restarts counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StormScope {
    /// Restarts on one node.
    Node,
    /// All restarts.
    Cluster,
}

/// The class of an exit, which determines the reaction to it (ARCHITECTURE.md, "Restarts").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ExitClass {
    /// Code 0: it finished its work.
    Finished,
    /// Any other exit code.
    Failed,
    /// A signal from outside.
    Killed,
    /// A signal raised by a fault of the program: SIGSEGV, SIGABRT, SIGBUS, SIGILL, SIGFPE.
    Crashed,
    /// Killed by the kernel because memory ran out.
    OutOfMemory,
    /// It exited within two seconds with a code for wrong arguments or configuration (sysexits.h 64, 78; shells' 126, 127).
    Configuration,
    /// An address or port was in use (sysexits.h 71, 75 within two seconds).
    Resource,
    /// The exit status is not known.
    Unknown,
}

impl Exit {
    /// Whether `signal` ended it: directly, or by an exit code of 128 + the number of the signal, as shells and Java's runtime report
    /// it.
    pub fn is_by(&self, signal: Signal) -> bool {
        match self.status {
            ExitStatus::Signal(number) => number == signal.number(),
            ExitStatus::Code(code) => code == 128 + signal.number(),
            ExitStatus::Unknown => false,
        }
    }

    /// The class of the exit.
    ///
    /// Codes: FreeBSD's sysexits(3) and POSIX shells' 126 and 127. A program that refuses its configuration does so at once,
    /// so those codes count only within [`EARLY`] of the start; later they are the program's own.
    pub fn class(&self) -> ExitClass {
        if self.out_of_memory {
            return ExitClass::OutOfMemory;
        }
        match self.status {
            ExitStatus::Code(0) => ExitClass::Finished,
            ExitStatus::Code(64 | 78 | 126 | 127) if self.ran_for < EARLY => ExitClass::Configuration,
            ExitStatus::Code(71 | 75) if self.ran_for < EARLY => ExitClass::Resource,
            ExitStatus::Code(_) => ExitClass::Failed,
            // ILL, TRAP, ABRT, BUS, FPE, SEGV, SYS on Linux.
            ExitStatus::Signal(4 | 5 | 6 | 7 | 8 | 11 | 31) => ExitClass::Crashed,
            ExitStatus::Signal(_) => ExitClass::Killed,
            ExitStatus::Unknown => ExitClass::Unknown,
        }
    }
}

/// An exit this soon after the start is attributed to how the program was started.
const EARLY: Duration = Duration::from_secs(2);

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Declared => f.write_str("its declaration asks for it"),
            Self::Withdrawn => f.write_str("its declaration was deleted"),
            Self::BelowDesired { have, desired } => {
                write!(f, "the service has {have} of {desired} desired replicas")
            }
            Self::AboveDesired { have, desired, first } => {
                write!(f, "the service has {} and wants {desired}{}", Replicas(*have), first_to_go(first))
            }
            Self::Protected { until } => write!(f, "it is protected from removal until {until}"),
            Self::MustStay { metric, is_known } => f.write_str(&must_stay(metric, *is_known)),
            Self::Paused { until } => f.write_str(&paused(*until)),
            Self::Resumed => f.write_str("an operator has requested it"),
            Self::Autoscaled { summary, .. } => f.write_str(summary),
            Self::Held { replicas, until } => f.write_str(&held(*replicas, *until)),
            Self::ScalingOff => f.write_str(
                "its autoscaler is off (spec.scale.mode), so the number of replicas does not change",
            ),
            Self::Scheduled { note } | Self::VerticallyScaled { note } => f.write_str(note),
            Self::Idle { since: None } => f.write_str("the service has no requests and is scaled to zero"),
            Self::Idle { since: Some(since) } => {
                write!(f, "the service has had no requests since {since} and is scaled to zero")
            }
            Self::RequestsWaiting { waiting } => f.write_str(&requests_waiting(*waiting)),
            // The run time of an unobserved exit is not known either.
            Self::Exited(exit) if exit.class() == ExitClass::Unknown => {
                f.write_str("it exited, and its exit status is unknown")
            }
            Self::Exited(exit) => {
                write!(f, "it {} after {:.1?} ({})", exit.class(), exit.ran_for, exit.status)
            }
            Self::StoppedAsRequested(exit) => {
                write!(f, "it stopped as asked after {:.1?} ({})", exit.ran_for, exit.status)
            }
            Self::Unhealthy { since } => write!(f, "its liveness probe has failed since {since}"),
            Self::NotReady { since } => write!(f, "it has not been ready since {since}"),
            Self::Outdated { runs, wanted } => {
                write!(f, "it runs generation {runs}, but generation {wanted} is declared")
            }
            Self::Unproven { declared, proven } => f.write_str(&unproven(*declared, *proven)),
            Self::BelowMemoryUsage { uses, allotted } => f.write_str(&below_memory_usage(*uses, *allotted)),
            Self::SpareWanted => f.write_str("a warm spare is missing"),
            Self::TakesOver { from } => write!(f, "it takes over the traffic of replica {from}"),
            Self::StandsDown { from } => write!(f, "replica {from} serves again"),
            Self::Drained { in_flight } => f.write_str(&drained(*in_flight)),
            Self::DrainUnanswered { since } => f.write_str(&drain_unanswered(*since)),
            Self::Backoff { until, restarts } => f.write_str(&backoff(*until, *restarts)),
            Self::StartFailed { cause, until } => write!(f, "{cause}; the next try is at {until}"),
            Self::CrashLoop { exits, until } => {
                write!(
                    f,
                    "it exited at least {exits} times in a row without becoming healthy; the next try is at {until}"
                )
            }
            Self::DependencyDown { needs } => write!(f, "its dependency, service {needs}, is not ready"),
            Self::Overload { failing, of } => f.write_str(&overload(*failing, *of)),
            Self::StormLimit { scope, until } => {
                write!(f, "too many replicas restart {scope}; the next restart is allowed at {until}")
            }
            Self::Bounds { min, max } => write!(f, "the bounds are {min} to {max} replicas"),
            Self::DisruptionBudget { ready, needed } => {
                write!(f, "only {ready} of {needed} needed replicas would stay ready")
            }
            Self::BlastRadius { takes, of } => write!(f, "it would remove {takes} of {of} replicas at once"),
            Self::ActionFailed(message) => f.write_str(message),
            Self::Adopted => f.write_str("it was already running when Homeostat started"),
            Self::Observed => f.write_str("as observed"),
        }
    }
}

fn unproven(declared: Generation, proven: Generation) -> String {
    let kept = format!("generation {proven} goes on serving and is started until it has");
    format!("generation {declared} has not become ready; {kept}")
}

fn requests_waiting(waiting: u32) -> String {
    let again = "requests arrive again";
    match waiting {
        0 => again.to_owned(),
        1 => format!("{again}, 1 waits for a replica"),
        _ => format!("{again}, {waiting} wait for a replica"),
    }
}

fn drain_unanswered(since: Time) -> String {
    format!("the proxy has not confirmed since {since} that it gets no new requests; it is stopped now")
}

fn drained(in_flight: u32) -> String {
    match in_flight {
        0 => "it has answered its last request".to_owned(),
        1 => "its drain timed out with 1 request open".to_owned(),
        _ => format!("its drain timed out with {in_flight} requests open"),
    }
}

fn backoff(until: Time, restarts: u32) -> String {
    let restarts = if restarts == 1 { "1 restart".to_owned() } else { format!("{restarts} restarts") };
    format!("the next start is at {until}, after {restarts}")
}

fn overload(failing: u32, of: u32) -> String {
    let cause = "the cause is overload or something shared, not each replica";
    format!("{failing} of {of} replicas fail their liveness probe at once: {cause}")
}

fn below_memory_usage(uses: Bytes, allotted: Bytes) -> String {
    format!("it uses {uses} of memory, more than the {allotted} that it would get")
}

fn held(replicas: u32, until: Option<Time>) -> String {
    format!("held at {} by hand until {}", Replicas(replicas), end_of_order(until, "released"))
}

fn paused(until: Option<Time>) -> String {
    let until = end_of_order(until, "resumed");
    format!("its autoscaler is paused by hand until {until}, so the number of replicas does not change")
}

/// When an operator's order ends automatically, or the operation that ends it.
fn end_of_order(until: Option<Time>, operation: &str) -> String {
    until.map_or_else(|| operation.to_owned(), |until| until.to_string())
}

fn must_stay(metric: &str, is_known: bool) -> String {
    let value = if is_known { "above 0" } else { "unknown" };
    format!("it is not removed while its metric {metric} is {value}")
}

fn first_to_go(remove: &Remove) -> String {
    match remove {
        Remove::HighestNumber => String::new(),
        Remove::LeastBusy => "; the least busy are removed first".to_owned(),
        Remove::Oldest => "; the oldest are removed first".to_owned(),
        Remove::Newest => "; the newest are removed first".to_owned(),
        Remove::Cheapest(metric) => format!("; those with the least {metric} are removed first"),
    }
}

impl fmt::Display for StormScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Node => "on the node",
            Self::Cluster => "in the cluster",
        })
    }
}

impl fmt::Display for ExitClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Killed => "was killed",
            Self::Crashed => "crashed",
            Self::OutOfMemory => "ran out of memory",
            Self::Configuration => "refused its configuration",
            Self::Resource => "did not get a resource that it needs",
            Self::Unknown => "exited unseen",
        })
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
            Self::Unknown => f.write_str("status unknown"),
        }
    }
}
