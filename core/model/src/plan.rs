//! A plan: an immutable set of steps for one service, each with its reason.

use std::sync::Arc;

use crate::decision::Explanation;
use crate::identity::{Generation, Ordinal};
use crate::memory::{ScalingMemory, ShadowMemory};
use crate::name::ServiceName;
use crate::quantity::{Bytes, MilliCpu};
use crate::reason::Reason;
use crate::resource::{Quantity, Resources};
use crate::time::{Now, Time};

/// What is to be done for one service now. It is complete: carrying it out leaves nothing to decide.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The service.
    pub service: ServiceName,
    /// When it was made.
    pub at: Now,
    /// The steps, in the order in which they are carried out.
    pub steps: Vec<Step>,
    /// The scaling decision; `None` when none was due.
    pub decision: Option<Arc<dyn Explanation>>,
    /// The new state of the autoscaler; `None` when it has not changed.
    pub scaling: Option<ScalingMemory>,
    /// The new state of the shadow autoscalers; `None` when they were not evaluated.
    pub shadows: Option<Vec<ShadowMemory>>,
    /// Resources of replicas that are started from now on, where they differ from the declaration.
    pub allotment: Allotment,
    /// What is not done yet, and why.
    pub waits: Vec<Wait>,
    /// When the next plan may differ if no input arrives before.
    pub next_check: Time,
}

/// Resources of a replica where they differ from the declaration (vertical scaling).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Allotment {
    /// CPU; `None` means as declared.
    pub cpu: Option<MilliCpu>,
    /// Memory; `None` means as declared.
    pub memory: Option<Bytes>,
}

impl Allotment {
    /// The declared resources with this allotment in place of what it covers.
    pub fn applied_to(self, declared: Resources) -> Resources {
        let amount = |amount: u64| Quantity::from_milli(i64::try_from(amount).unwrap_or(i64::MAX));
        Resources {
            cpu: self.cpu.map(|cpu| amount(cpu.0)).or(declared.cpu),
            memory: self.memory.map(|memory| amount(memory.0.saturating_mul(1000))).or(declared.memory),
        }
    }
}

/// One ordered part of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What to do.
    pub change: Change,
    /// Why.
    pub reason: Reason,
    /// Who initiated it, which resolves conflicts between steps for the same replica.
    pub initiator: Initiator,
}

/// Something that is not done yet, and why.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Wait {
    /// Which replica waits; `None` when the service as a whole does.
    pub ordinal: Option<Ordinal>,
    /// Why.
    pub reason: Reason,
}

/// One change to a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// Change the wanted number of replicas.
    Resize {
        /// Before.
        from: u32,
        /// From now on.
        to: u32,
    },
    /// Create an empty place.
    Open {
        /// Its number.
        ordinal: Ordinal,
        /// What it is for.
        role: Role,
    },
    /// Start a replica in an empty place.
    Start {
        /// Which place.
        ordinal: Ordinal,
        /// The version that it runs: the declared one, or the one that is proven while the declared one is not.
        generation: Generation,
    },
    /// Swap the roles of two places: a ready spare becomes active, and the other one becomes the spare.
    Promote {
        /// The spare.
        spare: Ordinal,
        /// The place that becomes the spare.
        instead_of: Ordinal,
    },
    /// Give a serving replica the traffic share of one that does not serve, in addition to its own, until that one serves again.
    StandIn {
        /// The serving replica.
        ordinal: Ordinal,
        /// The replica whose share it gets.
        instead_of: Ordinal,
    },
    /// Reduce a replica to its own traffic share.
    StandDown {
        /// The replica that stood in.
        ordinal: Ordinal,
    },
    /// Set the traffic of a replica that an earlier run started.
    Readmit {
        /// Which place.
        ordinal: Ordinal,
    },
    /// Stop sending new requests to a replica, and stop it once its open requests are answered.
    Drain {
        /// Which place.
        ordinal: Ordinal,
        /// What happens to the place afterwards.
        then: AfterStop,
    },
    /// Stop a replica immediately.
    Stop {
        /// Which place.
        ordinal: Ordinal,
        /// What happens to the place afterwards.
        then: AfterStop,
    },
    /// Change the resources of a running replica.
    Allot {
        /// Which place.
        ordinal: Ordinal,
        /// Its new resources.
        resources: Resources,
    },
    /// Remove an empty place.
    Close {
        /// Which place.
        ordinal: Ordinal,
    },
    /// Listen for the service, as declared.
    Expose,
    /// Stop listening for the service.
    Conceal,
    /// Suspend restarts for failed liveness probes.
    SuspendHealing,
    /// Resume restarts for failed liveness probes.
    ResumeHealing,
}

/// What a place is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Its replica serves traffic.
    Active,
    /// Its replica runs without traffic, ready to take over.
    Spare,
}

/// What happens to a place once its replica has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AfterStop {
    /// It is closed.
    Close,
    /// A new replica is started in it.
    Refill,
}

/// Who initiated a step, by priority: of conflicting steps for one replica, the first initiator's is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Initiator {
    /// An operator, by a declaration, a withdrawal or a hold.
    Operator,
    /// Healing.
    Heal,
    /// A rollout of a newer declaration.
    Rollout,
    /// Scaling out.
    ScaleOut,
    /// Scaling in.
    ScaleIn,
    /// Vertical scaling.
    Vertical,
}

impl Change {
    /// The place that it changes; `None` when it changes the service as a whole.
    pub fn ordinal(&self) -> Option<Ordinal> {
        match self {
            Self::Resize { .. }
            | Self::Expose
            | Self::Conceal
            | Self::SuspendHealing
            | Self::ResumeHealing => None,
            Self::Open { ordinal, .. }
            | Self::Start { ordinal, .. }
            | Self::StandIn { ordinal, .. }
            | Self::StandDown { ordinal }
            | Self::Readmit { ordinal }
            | Self::Promote { spare: ordinal, .. }
            | Self::Drain { ordinal, .. }
            | Self::Stop { ordinal, .. }
            | Self::Allot { ordinal, .. }
            | Self::Close { ordinal } => Some(*ordinal),
        }
    }

    /// Whether it stops a replica that may be serving.
    pub fn is_disruptive(&self) -> bool {
        match self {
            Self::Drain { .. } | Self::Stop { .. } => true,
            Self::Resize { .. }
            | Self::Open { .. }
            | Self::Start { .. }
            | Self::Promote { .. }
            | Self::StandIn { .. }
            | Self::StandDown { .. }
            | Self::Readmit { .. }
            | Self::Allot { .. }
            | Self::Close { .. }
            | Self::Expose
            | Self::Conceal
            | Self::SuspendHealing
            | Self::ResumeHealing => false,
        }
    }
}
