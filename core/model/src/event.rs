//! Events: what happened to services and replicas, for users.

use crate::identity::{Incarnation, Ordinal};
use crate::name::ServiceName;
use crate::reason::Reason;
use crate::time::Now;

/// Something that happened or has to wait, and why.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Event {
    /// When.
    pub at: Now,
    /// The service.
    pub service: ServiceName,
    /// The replica; `None` when the event is about the service as a whole.
    pub replica: Option<(Ordinal, Incarnation)>,
    /// What.
    pub kind: EventKind,
    /// Why.
    pub reason: Reason,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventKind {
    /// The service was declared, or its declaration changed.
    Declared,
    /// The service was withdrawn.
    Withdrawn,
    /// A withdrawn service is completely removed.
    Gone,
    /// The wanted number of replicas was decided for the first time.
    Sized,
    /// The wanted number of replicas has changed.
    Scaled,
    /// A replica is being started.
    Starting,
    /// A replica of an earlier run was found and adopted.
    Adopted,
    /// A replica passed its readiness probe.
    Ready,
    /// A replica is no longer ready.
    NotReady,
    /// A replica ended by itself.
    Exited,
    /// A replica fails its liveness probe.
    Unhealthy,
    /// An endpoint gets no requests for a while, because it failed or was slow.
    Ejected,
    /// An endpoint that was ejected gets requests again.
    Returned,
    /// A replica gets no new requests.
    Draining,
    /// A replica is being stopped.
    Stopping,
    /// A replica that was being stopped has ended.
    Stopped,
    /// A spare, or another replica, takes over.
    TookOver,
    /// A replica no longer carries the traffic share of another one.
    StoodDown,
    /// Something has to wait.
    Waiting,
    /// An action failed.
    ActionFailed,
    /// Restarts for failed liveness probes are suspended.
    HealingSuspended,
    /// Restarts for failed liveness probes are resumed.
    HealingResumed,
    /// The autoscaler is paused.
    Paused,
    /// The autoscaler is resumed.
    Resumed,
    /// A replica is protected from being removed.
    Protected,
    /// A replica may be removed again.
    Unprotected,
    /// The resources of a running replica were changed.
    Allotted,
    /// An external balancer was reloaded with the current replicas.
    BalancerReloaded,
    /// An external balancer could not be updated.
    BalancerFailed,
}

impl EventKind {
    /// The name that users see.
    pub fn name(self) -> &'static str {
        match self {
            Self::Declared => "Declared",
            Self::Withdrawn => "Withdrawn",
            Self::Gone => "Gone",
            Self::Sized => "Sized",
            Self::Scaled => "Scaled",
            Self::Starting => "Starting",
            Self::Adopted => "Adopted",
            Self::Ready => "Ready",
            Self::NotReady => "NotReady",
            Self::Exited => "Exited",
            Self::Unhealthy => "Unhealthy",
            Self::Ejected => "Ejected",
            Self::Returned => "Returned",
            Self::Draining => "Draining",
            Self::Stopping => "Stopping",
            Self::Stopped => "Stopped",
            Self::TookOver => "TookOver",
            Self::StoodDown => "StoodDown",
            Self::Waiting => "Waiting",
            Self::ActionFailed => "ActionFailed",
            Self::HealingSuspended => "HealingSuspended",
            Self::HealingResumed => "HealingResumed",
            Self::Paused => "Paused",
            Self::Resumed => "Resumed",
            Self::Protected => "Protected",
            Self::Unprotected => "Unprotected",
            Self::Allotted => "Allotted",
            Self::BalancerReloaded => "BalancerReloaded",
            Self::BalancerFailed => "BalancerFailed",
        }
    }

    /// Whether it indicates a problem.
    pub fn is_warning(self) -> bool {
        match self {
            Self::NotReady
            | Self::Exited
            | Self::Unhealthy
            | Self::Ejected
            | Self::Waiting
            | Self::ActionFailed
            | Self::HealingSuspended
            | Self::BalancerFailed => true,
            Self::Declared
            | Self::Withdrawn
            | Self::Gone
            | Self::Sized
            | Self::Scaled
            | Self::Starting
            | Self::Adopted
            | Self::Ready
            | Self::Returned
            | Self::Draining
            | Self::Stopping
            | Self::Stopped
            | Self::TookOver
            | Self::StoodDown
            | Self::HealingResumed
            | Self::Paused
            | Self::Resumed
            | Self::Protected
            | Self::Unprotected
            | Self::Allotted
            | Self::BalancerReloaded => false,
        }
    }
}
