//! A replica as its platform knows it.

use std::collections::BTreeMap;

use model::identity::{ActionId, Generation, Incarnation, ReplicaId};
use model::input::{Exit, Observed, ReplicaState};
use model::resource::{PortName, Resources};
use model::time::Wall;

/// One life of a replica, with what people and probes want to know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    /// Which place it fills.
    pub replica: ReplicaId,
    /// Which life of that place.
    pub incarnation: Incarnation,
    /// The generation of the service that it runs.
    pub generation: Generation,
    /// The action that began it.
    pub action: ActionId,
    /// How it is.
    pub state: LifeState,
    /// The number of its main process; of an ended life, what it was.
    pub pid: Option<u32>,
    /// The number of each of its ports, on 127.0.0.1.
    pub ports: BTreeMap<PortName, u16>,
    /// What it may use; `None` when that was not written down, which earlier versions did not.
    pub resources: Option<Resources>,
    /// When its program began to execute.
    pub started_at: Wall,
    /// Whether it was running already when this driver was opened.
    pub adopted: bool,
}

/// How a life is, as far as a platform can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LifeState {
    /// Its main process runs.
    Running,
    /// It was told to stop and has not ended yet.
    Stopping,
    /// Its main process has ended.
    Exited(Exit),
}

impl Life {
    /// This life as the loop wants it, where `while_running` is what the probes say of it.
    pub fn observed(&self, while_running: ReplicaState) -> Observed {
        let state = match self.state {
            LifeState::Running => while_running,
            LifeState::Stopping => ReplicaState::Stopping,
            LifeState::Exited(exit) => ReplicaState::Exited(exit),
        };
        Observed {
            replica: self.replica.clone(),
            incarnation: self.incarnation,
            generation: self.generation,
            state,
        }
    }
}
