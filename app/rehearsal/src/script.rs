//! The input of a rehearsal.

use std::sync::Arc;
use std::time::Duration;

use model::identity::ReplicaId;
use model::input::Declared;
use model::quantity::MilliRps;
use model::settings::Settings;
use model::time::{Time, Wall};
use sim::{Faults, Gauge, Load, Program};
use thiserror::Error;

/// The input of a rehearsal.
#[derive(Clone, Debug)]
pub struct Script {
    /// The services, each with its program and its load.
    pub services: Vec<RehearsedService>,
    /// Values of external metrics; their time begins with the simulation, before the first request.
    pub gauges: Vec<Gauge>,
    /// Length of the rehearsal, counted from the first request; at most [`SPAN_MAX`].
    pub span: Duration,
    /// Wall-clock time at the first request; schedules follow it.
    pub begin: Wall,
    /// Faults at given times.
    pub scheduled_faults: Vec<ScheduledFault>,
    /// Random faults and their rates.
    pub faults: Faults,
    /// Settings of the control loop.
    pub settings: Settings,
    /// Seed of the random numbers.
    pub seed: u64,
}

/// A service in a rehearsal.
#[derive(Clone, Debug)]
pub struct RehearsedService {
    /// Its declaration.
    pub declared: Declared,
    /// Behaviour of its replicas.
    pub program: Program,
    /// Its load.
    pub load: ServiceLoad,
}

/// The load of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceLoad {
    /// Constant.
    Rate(MilliRps),
    /// A recording, played from its first point; repeated when it is shorter than the rehearsal.
    Recorded {
        /// Time from one point to the next; not zero.
        every: Duration,
        /// The points.
        points: Arc<[MilliRps]>,
    },
}

impl ServiceLoad {
    /// The load of the simulation that begins at `begin`.
    pub(crate) fn starting_at(&self, begin: Time) -> Load {
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
    /// Time since the first request.
    pub after: Duration,
    /// The kind of fault.
    pub kind: FaultKind,
}

/// The kind of a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// `kill -9` of a replica; no effect while it does not run.
    Kill(ReplicaId),
    /// A replica stops answering until it is restarted.
    Hang(ReplicaId),
    /// `kill -9` of Homeostat itself, which restarts within two minutes.
    KillHomeostat,
}

/// The longest rehearsal.
///
/// A year. A service of ten replicas takes about one second of computing for each simulated day.
pub const SPAN_MAX: Duration = Duration::from_hours(365 * 24);

/// Why a script cannot be rehearsed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ScriptError {
    /// It has no service.
    #[error("the manifests declare no service to rehearse; name a file that declares one")]
    NoService,
    /// The length is zero or longer than [`SPAN_MAX`].
    #[error("cannot rehearse for {0:?}; give more than zero and at most a year")]
    Span(Duration),
    /// A fault names a replica of an unknown service.
    #[error(
        "a fault names a replica of service {service}, which the manifests do not declare; they declare: {known}"
    )]
    NoSuchService {
        /// The unknown name.
        service: String,
        /// The declared services.
        known: String,
    },
    /// A fault comes after the end.
    #[error(
        "a fault at {after:?} comes after the end of a rehearsal of {span:?}; give an earlier time or a longer --for"
    )]
    TooLate {
        /// Time of the fault.
        after: Duration,
        /// Length of the rehearsal.
        span: Duration,
    },
}

impl Script {
    /// Checks that it can be rehearsed.
    ///
    /// # Errors
    ///
    /// When there is no service, the length is out of range, or a fault names an unknown service or comes after the end.
    pub fn check(&self) -> Result<(), ScriptError> {
        if self.services.is_empty() {
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
            let mut names = self.services.iter().map(|service| &service.declared.name);
            if !names.any(|name| *name == replica.service) {
                let known: Vec<&str> =
                    self.services.iter().map(|service| service.declared.name.as_str()).collect();
                return Err(ScriptError::NoSuchService {
                    service: replica.service.to_string(),
                    known: known.join(", "),
                });
            }
        }
        Ok(())
    }
}
