//! What is rehearsed.

use std::sync::Arc;
use std::time::Duration;

use model::identity::ReplicaId;
use model::input::Declared;
use model::quantity::MilliRps;
use model::settings::Settings;
use model::time::{Time, Wall};
use sim::{Faults, Gauge, Load, Program};
use thiserror::Error;

/// What is rehearsed.
#[derive(Clone, Debug)]
pub struct Script {
    /// The services, each with its program and its load.
    pub parts: Vec<Part>,
    /// What sources of metrics tell of the world outside; each begins when the world does, before any request comes.
    pub gauges: Vec<Gauge>,
    /// How long; at most [`SPAN_MAX`].
    pub span: Duration,
    /// What the wall clock shows at the beginning: schedules hold by it.
    pub begin: Wall,
    /// Faults at given times.
    pub scheduled_faults: Vec<ScheduledFault>,
    /// Random faults, and how often they happen.
    pub faults: Faults,
    /// The loop's own numbers.
    pub settings: Settings,
    /// What chance grows from.
    pub seed: u64,
}

/// One service.
#[derive(Clone, Debug)]
pub struct Part {
    /// As declared.
    pub declared: Declared,
    /// How its replicas behave.
    pub program: Program,
    /// Its load.
    pub asked: ServiceLoad,
}

/// The load of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceLoad {
    /// Always the same.
    Rate(MilliRps),
    /// What was recorded, from its first point on and, when it is shorter than the rehearsal, over and over.
    Recorded {
        /// How long each point holds; not zero.
        every: Duration,
        /// The points.
        points: Arc<[MilliRps]>,
    },
}

impl ServiceLoad {
    /// It, from `begin` on.
    pub(crate) fn from(&self, begin: Time) -> Load {
        match self {
            Self::Rate(rate) => Load::Constant(*rate),
            Self::Recorded { every, points } => {
                Load::Trace { from: begin, every: *every, points: Arc::clone(points) }
            }
        }
    }
}

/// A fault at a given time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduledFault {
    /// How long after the beginning.
    pub after: Duration,
    /// What.
    pub kind: FaultKind,
}

/// The kind of a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// `kill -9` of a replica; without effect where none runs.
    Kill(ReplicaId),
    /// A replica answers nothing any more, until it is restarted.
    Hang(ReplicaId),
    /// `kill -9` of Homeostat itself, which begins anew within two minutes.
    KillHomeostat,
}

/// The longest rehearsal.
///
/// A year; a service of ten replicas takes about a second a day.
pub const SPAN_MAX: Duration = Duration::from_hours(365 * 24);

/// Why there is nothing to rehearse.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ScriptError {
    /// No service.
    #[error("the manifests declare no service, so there is nothing to rehearse; name a file that does")]
    NoService,
    /// No time, or too much.
    #[error("{0:?} cannot be rehearsed; give more than nothing, and at most a year")]
    Span(Duration),
    /// A fault names a replica of no service.
    #[error("no service is called {service}, so that nothing can happen to its replicas; there are: {known}")]
    NoSuchService {
        /// The name.
        service: String,
        /// Those there are.
        known: String,
    },
    /// Something is to happen when all is over.
    #[error(
        "nothing happens {after:?} after the beginning of a rehearsal of {span:?}; give an earlier time, or a longer --for"
    )]
    TooLate {
        /// When.
        after: Duration,
        /// When it ends.
        span: Duration,
    },
}

impl Script {
    /// Checks that it can be rehearsed.
    ///
    /// # Errors
    ///
    /// When it has no service, no time or too much, or a fault that names none of its services or comes after its end.
    pub fn check(&self) -> Result<(), ScriptError> {
        if self.parts.is_empty() {
            return Err(ScriptError::NoService);
        }
        if self.span.is_zero() || self.span > SPAN_MAX {
            return Err(ScriptError::Span(self.span));
        }
        for fault in &self.scheduled_faults {
            if fault.after >= self.span {
                return Err(ScriptError::TooLate { after: fault.after, span: self.span });
            }
            let (FaultKind::Kill(replica) | FaultKind::Hang(replica)) = &fault.kind else { continue };
            if !self.parts.iter().any(|part| part.declared.name == replica.service) {
                let known: Vec<&str> = self.parts.iter().map(|part| part.declared.name.as_str()).collect();
                return Err(ScriptError::NoSuchService {
                    service: replica.service.to_string(),
                    known: known.join(", "),
                });
            }
        }
        Ok(())
    }
}
