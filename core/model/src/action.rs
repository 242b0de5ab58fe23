//! What comes out of the loop, and how it ended.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::identity::{ActionId, Incarnation, ReplicaId};
use crate::input::Declared;
use crate::memory::Memory;
use crate::name::ServiceName;
use crate::reason::Reason;
use crate::resource::Resources;

/// One request to the world. Repeating it by its id does nothing; one with an older epoch is refused.
#[derive(Clone, Debug, PartialEq)]
pub struct Action {
    /// Its idempotency key, which holds its epoch.
    pub id: ActionId,
    /// What shall be done.
    pub kind: ActionKind,
    /// Why.
    pub reason: Reason,
}

/// What an action asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum ActionKind {
    /// Run a replica. Ends `Applied` as soon as its program is executing.
    Start {
        /// The place that it fills.
        replica: ReplicaId,
        /// The life that begins.
        incarnation: Incarnation,
        /// What to run.
        declared: Arc<Declared>,
        /// What traffic it gets once it is ready.
        admission: Admission,
    },
    /// End a replica: its stop signal, then after `grace` the whole process group at once. Ends `Applied` when it is gone.
    Stop {
        /// The place meant.
        replica: ReplicaId,
        /// The life meant; another one is left alone.
        incarnation: Incarnation,
        /// From the signal to the kill; zero kills at once.
        grace: Duration,
    },
    /// Change what traffic a running replica gets, and probe it as declared. Takes effect before the next request is routed. One that
    /// is older than the last for this life has no effect.
    Admit {
        /// The place meant.
        replica: ReplicaId,
        /// The life meant; another one is left alone.
        incarnation: Incarnation,
        /// Has its probes and the port of its traffic.
        declared: Arc<Declared>,
        /// What traffic it gets.
        admission: Admission,
    },
    /// Change the resources that a running replica may use, without a restart. One that is older than the last for this life has no
    /// effect.
    Allot {
        /// The place meant.
        replica: ReplicaId,
        /// The life meant; another one is left alone.
        incarnation: Incarnation,
        /// What it may use from now on; what is not named stays as it is.
        resources: Resources,
    },
    /// Listen for a service and balance its requests, as its `expose` says, in place of an earlier one. One that is older than the
    /// last for the service, or than its `Conceal`, has no effect.
    Expose(Arc<Declared>),
    /// Stop listening for a service.
    Conceal(ServiceName),
    /// Write down what must survive a restart.
    Remember(Arc<Memory>),
}

/// What traffic a replica gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Admission {
    /// Requests while it is ready, in proportion to its weight; 1 is the ordinary weight.
    Serving {
        /// At least 1.
        weight: u32,
    },
    /// No new requests; those it has may finish.
    Draining,
    /// None: a warm spare.
    Spare,
}

/// How an action ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Done, now or when the same action was sent before.
    Applied,
    /// Not done, and nothing has changed.
    Failed(Failure),
    /// Not done, because the sender may not ask for it.
    Refused(Refusal),
    /// It may have been done or not.
    Unknown,
}

/// Why an action was not done.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Failure {
    /// The kind, which decides the reaction.
    pub kind: FailureKind,
    /// One sentence for people: what was attempted, on what, why it failed, what to try.
    pub message: Arc<str>,
}

/// Kinds of failure that call for different reactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FailureKind {
    /// The program, the user or the folder does not exist, or may not be used: trying again soon will not help.
    Declaration,
    /// An address is taken by another program.
    AddressInUse,
    /// The disk is full.
    DiskFull,
    /// A running replica cannot be changed like that, however often it is tried; a new one can have it.
    Unsupported,
    /// Anything else; it may pass.
    Other,
}

/// Why an action was not obeyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// A later epoch has spoken.
    StaleEpoch,
    /// The life meant is not the one that is there.
    OtherIncarnation,
}

impl ActionKind {
    /// The service concerned.
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
