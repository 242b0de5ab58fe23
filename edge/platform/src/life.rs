//! A replica as seen by its platform.

use std::collections::BTreeMap;

use model::identity::{ActionId, Generation, Incarnation, ReplicaId};
use model::input::{Exit, Observed, ReplicaState};
use model::resource::{PortName, Resources};
use model::time::Wall;

/// One life of a replica.
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
    /// Its state.
    pub state: LifeState,
    /// The pid of its main process, which a life keeps after its end.
    pub pid: Option<u32>,
    /// The number of each of its ports, on 127.0.0.1.
    pub ports: BTreeMap<PortName, u16>,
    /// What it may use; `None` for a life that was begun by a version that did not record it.
    pub resources: Option<Resources>,
    /// When its program began to execute.
    pub started_at: Wall,
    /// Whether it was running already when this driver was opened.
    pub adopted: bool,
}

/// The state of a life, as far as a platform can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LifeState {
    /// Its main process runs.
    Running,
    /// It has its stop signal and has not ended yet.
    Stopping,
    /// Its main process has ended.
    Exited(Exit),
}

impl Life {
    /// This life for the loop; `while_running` is its state according to the probes.
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
