//! What has truly happened in the world, for observers such as checkers.

use model::action::{Admission, Refusal};
use model::identity::{ActionId, Epoch, Incarnation, ReplicaId};
use model::input::Exit;
use model::name::ServiceName;
use model::resource::Resources;

/// One thing that has truly happened, whether or not the loop learns of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A life has begun.
    Began {
        /// By which action.
        by: ActionId,
        /// In which place.
        replica: ReplicaId,
        /// Which life.
        incarnation: Incarnation,
    },
    /// A second life was requested in a place where one runs; it was refused.
    SecondLife {
        /// By which action.
        by: ActionId,
        /// In which place.
        replica: ReplicaId,
        /// The life that runs.
        running: Incarnation,
        /// The requested life.
        requested: Incarnation,
    },
    /// A life was requested whose number the place has had before; it was refused.
    UsedLife {
        /// By which action.
        by: ActionId,
        /// In which place.
        replica: ReplicaId,
        /// The requested life.
        requested: Incarnation,
        /// The latest life of the place.
        latest: Incarnation,
    },
    /// A replica got its stop signal.
    Signalled {
        /// By which action.
        by: ActionId,
        /// Which.
        replica: ReplicaId,
        /// Which life.
        incarnation: Incarnation,
        /// Requests that it was answering, or that waited for it.
        in_flight: u32,
        /// Whether it could answer them.
        was_well: bool,
    },
    /// A life has ended.
    Ended {
        /// Which.
        replica: ReplicaId,
        /// Which life.
        incarnation: Incarnation,
        /// How.
        exit: Exit,
        /// Why.
        cause: Cause,
        /// Requests that will never be answered for it.
        cut_off: u32,
    },
    /// A replica gets other traffic from now on.
    Admitted {
        /// By which action.
        by: ActionId,
        /// Which.
        replica: ReplicaId,
        /// What it gets.
        admission: Admission,
    },
    /// A replica may use other amounts from now on.
    Allotted {
        /// By which action.
        by: ActionId,
        /// Which.
        replica: ReplicaId,
        /// The new limits; a resource that is not named keeps its limit.
        resources: Resources,
    },
    /// Requests arrived while no replica was available.
    Unanswered {
        /// Of which service.
        service: ServiceName,
        /// How many.
        requests: u32,
    },
    /// An action was refused.
    Refused {
        /// Which.
        action: ActionId,
        /// Why.
        refusal: Refusal,
    },
    /// The agent has learned of a new epoch, and refuses older ones from now on.
    Fenced {
        /// Which.
        epoch: Epoch,
    },
    /// The orchestrator was killed.
    OrchestratorDied {
        /// Its epoch.
        epoch: Epoch,
    },
    /// The orchestrator has restarted.
    OrchestratorBegan {
        /// Its epoch.
        epoch: Epoch,
    },
}

/// Why a life has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// By itself, or by a fault.
    Itself,
    /// By its stop signal, or by the kill that follows when its grace is over.
    Stopped,
}
