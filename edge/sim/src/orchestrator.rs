//! The orchestrator, which owns the loop: it is killed and restarted, and an old one may wake after its successor has begun.

use std::sync::Arc;
use std::time::Duration;

use control::ControlLoop;
use model::identity::Epoch;
use model::input::{Input, Intent, Start};
use model::settings::Settings;
use model::time::{Now, Time, Wall};

use crate::effect::Effect;
use crate::environment::{Environment, SimEvent};
use crate::fault::Fault;
use crate::simulation::{Simulation, Turn};

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
    /// The run that lives; `None` while the orchestrator is down.
    pub(crate) run: Option<Run>,
    /// A run of an earlier epoch that does not know that it is over.
    pub(crate) zombie: Option<Run>,
    /// Orchestrator, agent and proxy are one process.
    pub(crate) is_whole: bool,
    /// It is killed in the middle of the next step that sends actions.
    pub(crate) dies_mid_step: bool,
    /// When the run that lives wants to be woken.
    pub(crate) wakes_at: Option<Time>,
}

impl Orchestrator {
    pub(crate) fn new(settings: Settings, seed: u64) -> Self {
        Self {
            settings: Arc::new(settings),
            seed,
            run: None,
            zombie: None,
            is_whole: false,
            dies_mid_step: false,
            wakes_at: None,
        }
    }
}

impl Simulation {
    /// Begins a new run from the epoch, the intents and the memories in the store; the agent then reports its inventory.
    pub(crate) fn begin_orchestrator(&mut self) {
        if self.orchestrator.run.is_some() {
            return;
        }
        self.disk.epoch.0 += 1;
        let epoch = self.disk.epoch;
        let control = ControlLoop::new(Settings::clone(&self.orchestrator.settings));
        self.orchestrator.run = Some(Run { epoch, control });
        self.orchestrator.wakes_at = None;
        let node = self.node.name().clone();
        let seed = self.orchestrator.seed ^ epoch.0;
        let mut inputs = vec![Input::Started(Start {
            epoch,
            node,
            seed,
            settings: Arc::clone(&self.orchestrator.settings),
        })];
        let declared = self.disk.declared.values();
        inputs.extend(declared.map(|declared| Input::Intent(Intent::Declare(Arc::clone(declared)))));
        inputs.extend(self.disk.orders().map(|order| Input::Intent(order.clone())));
        inputs.extend(self.disk.memories.values().map(|memory| Input::Remembered(Arc::clone(memory))));
        for input in inputs {
            self.environment.queue.put(self.environment.now, SimEvent::ToLoop { epoch, input });
        }
        self.environment.effects.push(Effect::OrchestratorBegan { epoch });
        self.node.greet(&mut self.environment, epoch);
    }

    /// Kills the orchestrator; it begins anew by itself after a while.
    pub fn kill_orchestrator(&mut self) {
        let Some(run) = self.orchestrator.run.take() else { return };
        self.orchestrator.dies_mid_step = false;
        self.orchestrator.wakes_at = None;
        self.environment.session = None;
        if self.orchestrator.is_whole {
            self.node.forget_what_was_told();
        }
        self.environment.effects.push(Effect::OrchestratorDied { epoch: run.epoch });
        let environment = &mut self.environment;
        let down = environment.random.orchestrator.span(DOWN.0, DOWN.1);
        environment.after(down, SimEvent::OrchestratorBegins);
        let rate = u64::from(environment.faults.rate(Fault::Zombie));
        // A process that is gone with its agent does not wake.
        if rate > 0 && !self.orchestrator.is_whole && environment.random.orchestrator.happens(rate) {
            self.orchestrator.zombie = Some(run);
            let asleep = down + environment.random.orchestrator.span(DOWN.0, DOWN.1);
            environment.after(asleep, SimEvent::ZombieWakes);
        }
    }

    /// A run of an earlier epoch goes on where it was, until it hears that it is over.
    pub(crate) fn step_zombie(&mut self, input: Input) -> Turn {
        let Some(zombie) = &mut self.orchestrator.zombie else { return Turn::World };
        self.out.clear();
        let now = self.environment.clock(self.wall_ahead_ms);
        zombie.control.step(now, &input, &mut self.out);
        self.input = input;
        let epoch = zombie.epoch;
        if zombie.control.is_fenced() {
            self.orchestrator.zombie = None;
        } else if let Some(due) = zombie.control.next_deadline() {
            let at = due.max(self.environment.now + Duration::from_millis(1));
            self.environment.queue.put(at, SimEvent::ZombieWakes);
        }
        for action in self.out.actions.clone() {
            self.dispatch(action);
        }
        Turn::Zombie { epoch }
    }
}

/// How long the orchestrator is down: from a restart by its supervisor to a person who is called in.
const DOWN: (Duration, Duration) = (Duration::from_millis(200), Duration::from_mins(2));

impl Environment {
    /// Both clocks as the orchestrator reads them.
    pub(crate) fn clock(&self, wall_ahead_ms: i64) -> Now {
        let wall = self.now.as_millis().saturating_add_signed(wall_ahead_ms);
        Now { time: self.now, wall: Wall::from_millis(wall) }
    }
}
