//! A plan: an immutable set of steps for one service, each with its reason.

use std::sync::Arc;

use crate::decision::Account;
use crate::identity::Ordinal;
use crate::memory::{ScalingMemory, ShadowMemory};
use crate::name::ServiceName;
use crate::quantity::{Bytes, MilliCpu};
use crate::reason::Reason;
use crate::resource::{Quantity, Resources};
use crate::time::{Now, Time};

/// What shall be done for one service now, complete and fixed: carrying it out leaves nothing to choose.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The service.
    pub service: ServiceName,
    /// When it was made.
    pub at: Now,
    /// In the order in which they are to be done.
    pub steps: Vec<Step>,
    /// The scaling decision behind it, when one was due.
    pub decision: Option<Arc<dyn Account>>,
    /// What the autoscaler remembers from now on, when that has changed.
    pub scaling: Option<ScalingMemory>,
    /// What the shadow autoscalers remember from now on, when they were asked.
    pub shadows: Option<Vec<ShadowMemory>>,
    /// What replicas that are started from now on get instead of what is declared.
    pub allotment: Allotment,
    /// What is not done, and why: the answer to "why not?".
    pub waits: Vec<Wait>,
    /// When the next plan may differ, if nothing happens before.
    pub look_again: Time,
}

/// What a replica gets instead of what is declared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Allotment {
    /// Processor; `None` leaves it as declared.
    pub cpu: Option<MilliCpu>,
    /// Memory; `None` leaves it as declared.
    pub memory: Option<Bytes>,
}

impl Allotment {
    /// The resources of a replica with this allotment; what is not allotted stays as `given`.
    pub fn instead_of(self, given: Resources) -> Resources {
        let amount = |amount: u64| Quantity::from_milli(i64::try_from(amount).unwrap_or(i64::MAX));
        Resources {
            cpu: self.cpu.map(|cpu| amount(cpu.0)).or(given.cpu),
            memory: self.memory.map(|memory| amount(memory.0.saturating_mul(1000))).or(given.memory),
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
    /// Who wants it, for when two want different things of one replica.
    pub writer: Writer,
}

/// Something that is not done yet.
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
    /// Want another number of replicas from now on.
    Resize {
        /// Before.
        from: u32,
        /// From now on.
        to: u32,
    },
    /// Make a place; nothing runs in it yet.
    Open {
        /// Its number.
        ordinal: Ordinal,
        /// What it is for.
        role: Role,
    },
    /// Run a replica in an empty place.
    Start {
        /// Which place.
        ordinal: Ordinal,
    },
    /// Let two places swap roles: a ready spare serves, and the other becomes the spare.
    Promote {
        /// The spare.
        spare: Ordinal,
        /// Whose place in the traffic it takes.
        instead_of: Ordinal,
    },
    /// Let a serving replica carry the share of one that does not serve, until that one serves again.
    StandIn {
        /// Who carries it.
        ordinal: Ordinal,
        /// Whose.
        instead_of: Ordinal,
    },
    /// Let a replica carry its own share only.
    StandDown {
        /// Who carried more.
        ordinal: Ordinal,
    },
    /// Send a replica of an earlier run the traffic that it gets.
    Welcome {
        /// Which place.
        ordinal: Ordinal,
    },
    /// Give a running replica no new requests, and stop it once it has answered those it has.
    Drain {
        /// Which place.
        ordinal: Ordinal,
        /// What becomes of the place.
        then: Afterwards,
    },
    /// Stop a replica now.
    Stop {
        /// Which place.
        ordinal: Ordinal,
        /// What becomes of the place.
        then: Afterwards,
    },
    /// Let a running replica use more or less than it may now.
    Allot {
        /// Which place.
        ordinal: Ordinal,
        /// What its replica may use from now on.
        resources: Resources,
    },
    /// Take away a place in which nothing runs.
    Close {
        /// Which place.
        ordinal: Ordinal,
    },
    /// Listen for the service, as its declaration says.
    Expose,
    /// Stop listening for the service.
    Conceal,
    /// Suspend restarts for failed liveness probes.
    SuspendHealing,
    /// Resume them.
    ResumeHealing,
}

/// What a place is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// It serves.
    Active,
    /// It is kept warm and gets no traffic, to take over at once.
    Spare,
}

/// What becomes of a place once its replica is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Afterwards {
    /// It is closed.
    Close,
    /// It is filled anew.
    Refill,
}

/// Who wants a step, most important first: when two want different things of one replica, the first has its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Writer {
    /// A person, by a declaration, a withdrawal or a hold.
    Human,
    /// The healing of what is broken.
    Heal,
    /// The change to a newer declaration.
    Rollout,
    /// More replicas.
    ScaleOut,
    /// Fewer replicas.
    ScaleIn,
    /// Replicas of another size.
    Fit,
}

impl Change {
    /// The place concerned; `None` when the service as a whole is.
    pub fn ordinal(&self) -> Option<Ordinal> {
        match self {
            Self::Resize { .. }
            | Self::Expose
            | Self::Conceal
            | Self::SuspendHealing
            | Self::ResumeHealing => None,
            Self::Open { ordinal, .. }
            | Self::Start { ordinal }
            | Self::StandIn { ordinal, .. }
            | Self::StandDown { ordinal }
            | Self::Welcome { ordinal }
            | Self::Promote { spare: ordinal, .. }
            | Self::Drain { ordinal, .. }
            | Self::Stop { ordinal, .. }
            | Self::Allot { ordinal, .. }
            | Self::Close { ordinal } => Some(*ordinal),
        }
    }

    /// Whether it takes away a replica that may be serving.
    pub fn is_disruptive(&self) -> bool {
        match self {
            Self::Drain { .. } | Self::Stop { .. } => true,
            Self::Resize { .. }
            | Self::Open { .. }
            | Self::Start { .. }
            | Self::Promote { .. }
            | Self::StandIn { .. }
            | Self::StandDown { .. }
            | Self::Welcome { .. }
            | Self::Allot { .. }
            | Self::Close { .. }
            | Self::Expose
            | Self::Conceal
            | Self::SuspendHealing
            | Self::ResumeHealing => false,
        }
    }
}
