//! Actions, which the loop sends to agents, and their outcomes.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::identity::{ActionId, Incarnation, ReplicaId};
use crate::input::Declared;
use crate::memory::Memory;
use crate::name::ServiceName;
use crate::reason::Reason;
use crate::resource::Resources;

/// One request to an agent or the store. Idempotent by its id; refused when its epoch is stale.
#[derive(Clone, Debug, PartialEq)]
pub struct Action {
    /// The idempotency key, which contains the epoch.
    pub id: ActionId,
    /// What is to be done.
    pub kind: ActionKind,
    /// Why.
    pub reason: Reason,
}

/// What an action does.
#[derive(Clone, Debug, PartialEq)]
pub enum ActionKind {
    /// Start a replica. `Applied` once its program is executing.
    Start {
        /// The place that it fills.
        replica: ReplicaId,
        /// The incarnation that begins.
        incarnation: Incarnation,
        /// What to run.
        declared: Arc<Declared>,
        /// The traffic that it gets once it is ready.
        admission: Admission,
    },
    /// Stop a replica: the stop signal, then after `grace` SIGKILL to its process group. `Applied` once it is gone.
    Stop {
        /// The place.
        replica: ReplicaId,
        /// The incarnation; the action has no effect on any other.
        incarnation: Incarnation,
        /// The time from the stop signal to SIGKILL; zero kills immediately.
        grace: Duration,
    },
    /// Change the traffic and the probes of a running replica. Takes effect before the next request is routed. Has no effect if a later
    /// one was applied to this incarnation.
    Admit {
        /// The place.
        replica: ReplicaId,
        /// The incarnation; the action has no effect on any other.
        incarnation: Incarnation,
        /// Contains its probes and the port of its traffic.
        declared: Arc<Declared>,
        /// Its traffic.
        admission: Admission,
    },
    /// Change the resources of a running replica without a restart. Has no effect if a later one was applied to this incarnation.
    Allot {
        /// The place.
        replica: ReplicaId,
        /// The incarnation; the action has no effect on any other.
        incarnation: Incarnation,
        /// Its new resources; those that are `None` do not change.
        resources: Resources,
    },
    /// Listen for a service and balance its requests, as its `expose` says; replaces an earlier one. Has no effect if a later `Expose` or
    /// `Conceal` was applied to the service.
    Expose(Arc<Declared>),
    /// Stop listening for a service.
    Conceal(ServiceName),
    /// Persist what must survive a restart.
    Remember(Arc<Memory>),
}

/// The traffic that a replica gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Admission {
    /// Requests while it is ready, in proportion to its weight; the default weight is 1.
    Serving {
        /// At least 1.
        weight: u32,
    },
    /// No new requests; open ones may finish.
    Draining,
    /// None: a warm spare.
    Spare,
}

/// How an action ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Done, now or by an earlier delivery of the same action.
    Applied,
    /// Failed, and nothing has changed.
    Failed(Failure),
    /// Refused: the sender is not entitled to it.
    Refused(Refusal),
    /// It is not known whether it was done.
    Unknown,
}

/// Why an action failed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Failure {
    /// The kind, which determines how the loop reacts.
    pub kind: FailureKind,
    /// One sentence for users: what was attempted, on what, why it failed, what to try.
    pub message: Arc<str>,
}

/// Kinds of failure, by how the loop reacts to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FailureKind {
    /// The program, the user or the folder does not exist or is not accessible: a retry soon will not help.
    Declaration,
    /// An address is in use by another program.
    AddressInUse,
    /// The disk is full.
    DiskFull,
    /// The change is not possible for a running replica; a new one can be started with it.
    Unsupported,
    /// Anything else; a retry may succeed.
    Other,
}

/// Why an action was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// A later epoch is known.
    StaleEpoch,
    /// The replica has another incarnation than the action names.
    OtherIncarnation,
}

impl ActionKind {
    /// The service of the action.
    pub fn service(&self) -> &ServiceName {
        match self {
            Self::Start { replica, .. }
            | Self::Stop { replica, .. }
            | Self::Admit { replica, .. }
            | Self::Allot { replica, .. } => &replica.service,
            Self::Expose(declared) => &declared.name,
            Self::Conceal(service) => service,
            Self::Remember(memory) => &memory.service,
        }
    }

    /// The verb, in lower case.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Start { .. } => "start",
            Self::Stop { .. } => "stop",
            Self::Admit { .. } => "admit",
            Self::Allot { .. } => "allot",
            Self::Expose(_) => "expose",
            Self::Conceal(_) => "conceal",
            Self::Remember(_) => "remember",
        }
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Declaration => "the declaration cannot be run here",
            Self::AddressInUse => "the address is in use",
            Self::DiskFull => "the disk is full",
            Self::Unsupported => "a running replica cannot be changed like that",
            Self::Other => "it failed",
        })
    }
}
