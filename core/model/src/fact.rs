//! Validated observations, and what analysis concludes from them.

use crate::identity::{Incarnation, Ordinal, ReplicaId};
use crate::input::{Allotted, Demand, Exit, Observed, Traffic, Usage};
use crate::latency::Latencies;
use crate::measure::Measured;
use crate::name::ServiceName;
use crate::time::Time;

/// An observation that was checked against the life that it speaks of.
///
/// Measurements stay where the report has them: there are many, and they are only read.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact<'a> {
    /// A replica that was not known is running: an earlier run started it.
    Appeared(&'a Observed),
    /// A replica is running, and how.
    Runs {
        /// Which.
        replica: ReplicaId,
        /// Whether its startup probe has passed.
        begun: bool,
        /// Whether it may get traffic.
        ready: bool,
        /// Whether its liveness probe passes.
        live: bool,
    },
    /// A replica has ended.
    Ended {
        /// Which.
        replica: ReplicaId,
        /// How.
        exit: Exit,
    },
    /// A replica that was thought to run is not there, and nobody saw it end.
    Vanished(ReplicaId),
    /// Processor time and memory of a replica.
    Used(&'a Usage),
    /// The proxy's counters of a replica.
    Served(&'a Traffic),
    /// How fast a replica answers.
    Timed(&'a Latencies),
    /// The proxy's counters of a service.
    Asked(&'a Demand),
    /// What a source of a metric has measured.
    Measured(&'a Measured),
    /// What a replica may use.
    Allotted(&'a Allotted),
    /// The proxy goes around a replica.
    Ejected(&'a ReplicaId),
    /// An observation of a life that is over or was never known. Only its number counts: no later life may have it.
    Ignored {
        /// The replica.
        replica: ReplicaId,
        /// The life that was observed.
        incarnation: Incarnation,
    },
}

/// What analysis concludes for a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// A replica has failed its liveness probe long enough to be restarted for it.
    Sick {
        /// Which.
        ordinal: Ordinal,
        /// Since when.
        since: Time,
    },
    /// A replica fails its liveness probe, but its time of grace is not over.
    Ailing {
        /// Which.
        ordinal: Ordinal,
        /// When its grace ends.
        until: Time,
    },
    /// So many replicas fail at once that no single one is at fault.
    Overload {
        /// How many fail.
        failing: u32,
        /// Of how many.
        of: u32,
    },
    /// A replica ends again and again without being well in between.
    CrashLoop {
        /// Which.
        ordinal: Ordinal,
        /// Ends within the window.
        exits: u32,
    },
    /// Something that the service depends on is not there.
    DependencyDown {
        /// What.
        needs: ServiceName,
    },
}
