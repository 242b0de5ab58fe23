//! The orchestrator, which owns the loop: it is killed and restarted, and an old one may wake after its successor has begun.

use std::sync::Arc;

use control::ControlLoop;
use model::identity::Epoch;
use model::settings::Settings;
use model::time::Time;

/// One run of the loop.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) epoch: Epoch,
    pub(crate) control: ControlLoop,
}

/// The orchestrator.
#[derive(Debug)]
pub(crate) struct Orchestrator {
    pub(crate) settings: Arc<Settings>,
    pub(crate) seed: u64,
    /// The current run; `None` while the orchestrator is down.
    pub(crate) run: Option<Run>,
    /// A run of an earlier epoch that does not know that it has been replaced.
    pub(crate) zombie: Option<Run>,
    /// Whether orchestrator, agent and proxy are one process.
    pub(crate) is_single_process: bool,
    /// Whether it is killed in the middle of the next step that sends actions.
    pub(crate) dies_mid_step: bool,
    /// When the current run is to be woken.
    pub(crate) wakes_at: Option<Time>,
}

impl Orchestrator {
    pub(crate) fn new(settings: Settings, seed: u64) -> Self {
        Self {
            settings: Arc::new(settings),
            seed,
            run: None,
            zombie: None,
            is_single_process: false,
            dies_mid_step: false,
            wakes_at: None,
        }
    }
}
