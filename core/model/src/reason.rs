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
    /// A declaration asks for it.
    Declared,
    /// The declaration was taken back.
    Withdrawn,
    /// Fewer replicas than wanted.
    BelowDesired {
        /// Replicas there are.
        have: u32,
        /// Replicas there shall be.
        desired: u32,
    },
    /// More replicas than wanted.
    AboveDesired {
        /// Replicas there are.
        have: u32,
        /// Replicas there shall be.
        desired: u32,
        /// Who goes first of those that serve.
        first: Remove,
    },
    /// A person protects it from being removed.
    Protected {
        /// When that ends by itself.
        until: Time,
    },
    /// The replica says for itself that it must stay.
    Needed {
        /// The metric by which it says so.
        metric: Arc<str>,
        /// Whether its metric is known; a replica whose metric is not known stays as well.
        is_known: bool,
    },
    /// A person has paused its autoscaler.
    Paused {
        /// When that ends by itself.
        until: Option<Time>,
    },
    /// A person has resumed its autoscaler, or taken a protection back.
    Resumed,
    /// The autoscaler decided so; its decision record has the arithmetic.
    Autoscaled {
        /// Replicas before.
        from: u32,
        /// Replicas from now on.
        to: u32,
        /// The arithmetic in one sentence.
        summary: Arc<str>,
    },
    /// A person asked for this many replicas.
    Held {
        /// How many.
        replicas: u32,
        /// When the hold ends by itself.
        until: Option<Time>,
    },
    /// Its autoscaler is turned off.
    ScalingOff,
    /// A schedule says how many.
    Scheduled {
        /// Which, and until when, in a sentence.
        note: Arc<str>,
    },
    /// There was no request for as long as the declaration says.
    Idle {
        /// Since when; `None` when it was already resting when this run began.
        since: Option<Time>,
    },
    /// Requests wait for a replica of a service that rests.
    Awaited {
        /// How many.
        waiting: u32,
    },
    /// The replica ended by itself.
    Exited(Exit),
    /// The replica was told to stop, and its stop signal ended it: it does not handle the signal.
    Obeyed(Exit),
    /// The replica failed its liveness probe for longer than the grace period.
    Unhealthy {
        /// Since when.
        since: Time,
    },
    /// The replica runs an older declaration.
    Outdated {
        /// What it runs.
        runs: Generation,
        /// What it shall run.
        wanted: Generation,
    },
    /// A warm spare is wanted.
    SpareWanted,
    /// It takes the place of another replica in the traffic.
    TakesOver {
        /// Whose.
        from: Ordinal,
    },
    /// The replica it stood in for serves again.
    StandsDown {
        /// Whose.
        from: Ordinal,
    },
    /// It has no request left, or its time to finish them is over.
    Drained {
        /// Requests cut off.
        in_flight: u32,
    },
    /// The proxy has not confirmed in time that the replica gets no new requests; its open requests are cut off.
    DrainUnanswered {
        /// Since when it is waited for.
        since: Time,
    },
    /// A start must wait: the last ones ended too soon.
    Backoff {
        /// Until when.
        until: Time,
        /// Restarts so far.
        restarts: u32,
    },
    /// The last start failed before the program ran.
    StartFailed {
        /// One sentence for people.
        cause: Arc<str>,
        /// The next try.
        until: Time,
    },
    /// Too many ends in too short a time.
    CrashLoop {
        /// Ends within the window.
        exits: u32,
        /// The next try.
        until: Time,
    },
    /// Something that it depends on is not there.
    DependencyDown {
        /// What.
        needs: ServiceName,
    },
    /// So many replicas fail their liveness probe at once that the cause is overload or something that they share.
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
        /// When the next is allowed, at the earliest.
        until: Time,
    },
    /// The bounds do not allow it.
    Bounds {
        /// Least replicas.
        min: u32,
        /// Most replicas.
        max: u32,
    },
    /// Too few replicas would be left.
    DisruptionBudget {
        /// Ready after it.
        ready: u32,
        /// Needed.
        needed: u32,
    },
    /// A plan must not take away all replicas of a service that was not withdrawn.
    BlastRadius {
        /// Replicas it would take away.
        takes: u32,
        /// Of how many.
        of: u32,
    },
    /// The action ended without effect; its message says why.
    ActionFailed(Arc<str>),
    /// It was already running when this run began.
    Adopted,
    /// What the observation says.
    Observed,
    /// A replica shall have other resources.
    Fitted {
        /// From what to what, and why, in a sentence.
        note: Arc<str>,
    },
    /// It would have less memory than it uses.
    Squeezed {
        /// What it uses.
        uses: Bytes,
        /// What it would have.
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

/// What an end means, which decides the reaction to it (ARCHITECTURE.md, restarts).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ExitClass {
    /// Code 0: its work was done.
    Finished,
    /// Any other code without a better class.
    Failed,
    /// A signal from outside.
    Killed,
    /// A signal that is raised by a fault of the program: SIGSEGV, SIGABRT, SIGBUS, SIGILL, SIGFPE.
    Crashed,
    /// The kernel wanted its memory back.
    OutOfMemory,
    /// It ended within two seconds with a code for wrong arguments or configuration (sysexits.h 64, 78; shells' 126, 127).
    Configuration,
    /// The address or port was taken (sysexits.h 71, 75 within two seconds).
    Resource,
    /// Nobody saw how.
    Unknown,
}

impl Exit {
    /// Whether `signal` ended it: directly, or told by its exit code (128 and the number of the signal, as shells and Java's runtime
    /// do).
    pub fn is_by(&self, signal: Signal) -> bool {
        match self.status {
            ExitStatus::Signal(number) => number == signal.number(),
            ExitStatus::Code(code) => code == 128 + signal.number(),
            ExitStatus::Unknown => false,
        }
    }

    /// What the end means.
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

/// An end this soon after the start is caused by how it was started.
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
            Self::Needed { metric, is_known } => f.write_str(&needed(metric, *is_known)),
            Self::Paused { until } => f.write_str(&paused(*until)),
            Self::Resumed => f.write_str("a person has said so"),
            Self::Autoscaled { summary, .. } => f.write_str(summary),
            Self::Held { replicas, until } => f.write_str(&held(*replicas, *until)),
            Self::ScalingOff => f.write_str(
                "its autoscaler is off (spec.scale.mode), so the number of replicas does not change",
            ),
            Self::Scheduled { note } | Self::Fitted { note } => f.write_str(note),
            Self::Idle { since: None } => f.write_str("the service has no requests and is scaled to zero"),
            Self::Idle { since: Some(since) } => {
                write!(f, "the service has had no requests since {since} and is scaled to zero")
            }
            Self::Awaited { waiting } => f.write_str(&awaited(*waiting)),
            // Of an end that nobody saw, the time is not known either.
            Self::Exited(exit) if exit.class() == ExitClass::Unknown => {
                f.write_str("it exited, and its exit status is unknown")
            }
            Self::Exited(exit) => {
                write!(f, "it {} after {:.1?} ({})", exit.class(), exit.ran_for, exit.status)
            }
            Self::Obeyed(exit) => {
                write!(f, "it stopped as asked after {:.1?} ({})", exit.ran_for, exit.status)
            }
            Self::Unhealthy { since } => write!(f, "its liveness probe has failed since {since}"),
            Self::Outdated { runs, wanted } => {
                write!(f, "it runs generation {runs}, but generation {wanted} is declared")
            }
            Self::Squeezed { uses, allotted } => f.write_str(&squeezed(*uses, *allotted)),
            Self::SpareWanted => f.write_str("a warm spare is missing"),
            Self::TakesOver { from } => write!(f, "it takes over the traffic of replica {from}"),
            Self::StandsDown { from } => write!(f, "replica {from} serves again"),
            Self::Drained { in_flight } => f.write_str(&drained(*in_flight)),
            Self::DrainUnanswered { since } => f.write_str(&unanswered(*since)),
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

fn awaited(waiting: u32) -> String {
    let again = "requests arrive again";
    match waiting {
        0 => again.to_owned(),
        1 => format!("{again}, 1 waits for a replica"),
        _ => format!("{again}, {waiting} wait for a replica"),
    }
}

fn unanswered(since: Time) -> String {
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

fn squeezed(uses: Bytes, allotted: Bytes) -> String {
    format!("it uses {uses} of memory, more than the {allotted} that it would get")
}

fn held(replicas: u32, until: Option<Time>) -> String {
    format!("held at {} by hand until {}", Replicas(replicas), or_until(until, "released"))
}

fn paused(until: Option<Time>) -> String {
    let until = or_until(until, "resumed");
    format!("its autoscaler is paused by hand until {until}, so the number of replicas does not change")
}

/// The end of what a person ordered, or the deed that ends it.
fn or_until(until: Option<Time>, deed: &str) -> String {
    until.map_or_else(|| deed.to_owned(), |until| until.to_string())
}

fn needed(metric: &str, is_known: bool) -> String {
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
