//! Validated observations, and what analysis concludes from them.

use crate::identity::{Incarnation, Ordinal, ReplicaId};
use crate::input::{Allotted, Demand, Exit, Observed, Traffic, Usage};
use crate::latency::Latencies;
use crate::measure::Measured;
use crate::name::ServiceName;
use crate::time::Time;

/// An observation that belongs to the life it speaks of and tells something new.
///
/// Measurements stay where the report has them: there are many, and they are only read.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact<'a> {
    /// A replica runs of which nothing was known: one of an earlier run.
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
    /// An observation that is left out, and why: it changes nothing.
    Ignored {
        /// Of which replica.
        replica: ReplicaId,
        /// Of which of its lives.
        incarnation: Incarnation,
        /// Why.
        because: Irrelevance,
    },
}

/// Why an observation is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Irrelevance {
    /// It speaks of a life that is over.
    EarlierLife,
    /// Nothing is known of the replica, and what ended needs no care.
    Unknown,
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
