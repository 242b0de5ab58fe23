//! The runs of the orchestrator: beginning, being killed, and continuing as a zombie.

use std::sync::Arc;
use std::time::Duration;

use control::ControlLoop;
use model::input::{Input, Intent, Start};
use model::settings::Settings;

use super::{Simulation, Turn};
use crate::effect::Effect;
use crate::environment::SimEvent;
use crate::fault::Fault;
use crate::orchestrator::Run;

/// How long the orchestrator is down: from a restart by its supervisor to a person who is called in.
const DOWNTIME: (Duration, Duration) = (Duration::from_millis(200), Duration::from_mins(2));

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
        self.node.connect_run(&mut self.environment, epoch);
    }

    /// Kills the orchestrator; it restarts by itself after a while.
    pub fn kill_orchestrator(&mut self) {
        let Some(run) = self.orchestrator.run.take() else { return };
        self.orchestrator.dies_mid_step = false;
        self.orchestrator.wakes_at = None;
        self.environment.session = None;
        if self.orchestrator.is_single_process {
            self.node.lose_agent_state();
        }
        self.environment.effects.push(Effect::OrchestratorDied { epoch: run.epoch });
        let environment = &mut self.environment;
        let down = environment.random.orchestrator.span(DOWNTIME.0, DOWNTIME.1);
        environment.after(down, SimEvent::OrchestratorBegins);
        let rate = u64::from(environment.faults.rate(Fault::Zombie));
        // A process that died together with its agent does not continue.
        if rate > 0 && !self.orchestrator.is_single_process && environment.random.orchestrator.happens(rate) {
            self.orchestrator.zombie = Some(run);
            let asleep = down + environment.random.orchestrator.span(DOWNTIME.0, DOWNTIME.1);
            environment.after(asleep, SimEvent::ZombieWakes);
        }
    }

    /// A run of an earlier epoch continues, until it learns that it has been replaced.
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
