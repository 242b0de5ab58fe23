//! What has truly happened in the world, for those who watch it.

use model::action::{Admission, Refusal};
use model::identity::{ActionId, Epoch, Incarnation, ReplicaId};
use model::input::Exit;
use model::name::ServiceName;
use model::resource::Resources;

/// One thing that has truly happened, whether or not the loop hears of it.
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
    /// A second life was asked for in a place where one runs; it was refused.
    SecondLife {
        /// By which action.
        by: ActionId,
        /// In which place.
        replica: ReplicaId,
        /// The life that runs.
        running: Incarnation,
        /// The life asked for.
        asked: Incarnation,
    },
    /// A life was asked for whose number the place has had before; it was refused.
    UsedLife {
        /// By which action.
        by: ActionId,
        /// In which place.
        replica: ReplicaId,
        /// The life asked for.
        asked: Incarnation,
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
        /// What it was told to be able to use; what is not named stayed as it was.
        resources: Resources,
    },
    /// Requests came while no replica could be asked.
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
    /// The agent has heard of a new epoch, and obeys no older one from now on.
    Fenced {
        /// Which.
        epoch: Epoch,
    },
    /// The orchestrator was killed.
    OrchestratorDied {
        /// Its epoch.
        epoch: Epoch,
    },
    /// The orchestrator has begun anew.
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
    /// By its stop signal, or by the kill after it.
    Asked,
}
