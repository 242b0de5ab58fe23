//! Validated observations, and what analysis concludes from them.

use crate::identity::{Incarnation, Ordinal, ReplicaId};
use crate::input::{Allotted, Demand, Exit, Observed, Traffic, Usage};
use crate::latency::Latencies;
use crate::measure::Measured;
use crate::name::ServiceName;
use crate::time::Time;

/// An observation that was validated against the incarnation of the replica that it is about.
///
/// Measurements are borrowed from the report: there are many, and they are only read.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact<'a> {
    /// An unknown replica is running: an earlier run started it.
    Appeared(&'a Observed),
    /// A replica is running, with the results of its probes.
    Running {
        /// Which.
        replica: ReplicaId,
        /// Whether its startup probe has passed.
        started: bool,
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
    /// A replica that should be running does not exist, and its exit was not observed.
    Vanished(ReplicaId),
    /// CPU time and memory of a replica.
    Usage(&'a Usage),
    /// The proxy's counters of a replica.
    Traffic(&'a Traffic),
    /// The latencies of a replica.
    Latencies(&'a Latencies),
    /// The proxy's counters of a service.
    Demand(&'a Demand),
    /// The report of a metric source.
    Measured(&'a Measured),
    /// The resources that a replica may use.
    Allotted(&'a Allotted),
    /// The proxy has ejected a replica.
    Ejected(&'a ReplicaId),
    /// An observation of an incarnation that has ended or was never known. Only its number matters: no later incarnation may use it.
    Ignored {
        /// The replica.
        replica: ReplicaId,
        /// The observed incarnation.
        incarnation: Incarnation,
    },
}

/// A conclusion of the analysis of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// A replica has failed its liveness probe for longer than the grace period.
    Unhealthy {
        /// Which.
        ordinal: Ordinal,
        /// Since when.
        since: Time,
    },
    /// A replica fails its liveness probe, and its grace period is not over.
    UnhealthyInGrace {
        /// Which.
        ordinal: Ordinal,
        /// When the grace period ends.
        until: Time,
    },
    /// So many replicas fail at once that the cause is shared, such as overload.
    Overload {
        /// How many fail.
        failing: u32,
        /// Of how many.
        of: u32,
    },
    /// A replica exits repeatedly without being healthy in between.
    CrashLoop {
        /// Which.
        ordinal: Ordinal,
        /// Exits within the window.
        exits: u32,
    },
    /// A dependency of the service is not available.
    DependencyDown {
        /// The dependency.
        needs: ServiceName,
    },
}
