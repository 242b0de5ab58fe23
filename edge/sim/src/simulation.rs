//! The simulation: the world and the loop, one event at a time.

mod runs;

use std::time::Duration;

use control::{ControlLoop, Outbox};
use model::action::{Action, ActionKind, Failure, FailureKind, Outcome, Refusal};
use model::event::EventKind;
use model::identity::{ActionId, Epoch, Generation, ReplicaId};
use model::input::{Exit, ExitStatus, Input, Intent};
use model::memory::Memory;
use model::name::{NodeName, ServiceName};
use model::settings::Settings;
use model::time::{Now, Time, Wall};

use crate::disk::Disk;
use crate::effect::Effect;
use crate::environment::{Environment, LifeEvent, LifeKey, SimEvent, occurs};
use crate::fault::{Fault, Faults};
use crate::gauge::Gauge;
use crate::load::Load;
use crate::node::Node;
use crate::orchestrator::Orchestrator;
use crate::program::Program;
use crate::traffic::TICK;

/// When the world begins: a midnight, so that days of loads begin with it.
const START: Time = Time::from_millis(20_000 * 86_400_000);

/// A write of the store, with its sync.
const SYNC: Duration = Duration::from_millis(2);

/// How far the wall clock may step at once.
const CLOCK_STEP_MAX: Duration = Duration::from_hours(24);

/// The world and the loop in it.
#[derive(Debug)]
pub struct Simulation {
    pub(crate) environment: Environment,
    pub(crate) node: Node,
    pub(crate) disk: Disk,
    pub(crate) orchestrator: Orchestrator,
    pub(crate) out: Outbox,
    pub(crate) input: Input,
    pub(crate) wall_ahead_ms: i64,
    steps: u64,
}

/// What [`Simulation::turn`] has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The loop has taken a step: see [`Simulation::input`] and [`Simulation::out`].
    Stepped,
    /// The loop of an earlier epoch, which does not know that it has been replaced, has taken a step.
    Zombie {
        /// Its epoch.
        epoch: Epoch,
    },
    /// Something happened in the world.
    World,
    /// Nothing more happens up to the given end.
    Over,
}

impl Simulation {
    /// A world in which nothing is wrong and nothing is declared yet.
    pub fn new(seed: u64, settings: Settings) -> Self {
        let name = NodeName::parse("sim").expect("a constant name is a name");
        let mut world = Self {
            environment: Environment::new(seed, START),
            node: Node::new(name),
            disk: Disk::default(),
            orchestrator: Orchestrator::new(settings, seed),
            out: Outbox::default(),
            input: Input::Woke,
            wall_ahead_ms: 0,
            steps: 0,
        };
        world.environment.after(Duration::ZERO, SimEvent::OrchestratorBegins);
        world.environment.after(TICK, SimEvent::Tick);
        world
    }

    /// Makes orchestrator, agent and proxy one process, so that they die together.
    #[must_use]
    pub fn in_one_process(mut self) -> Self {
        self.orchestrator.is_single_process = true;
        self
    }

    /// When the world began.
    pub const fn begin() -> Time {
        START
    }

    /// The time in the world.
    pub fn now(&self) -> Time {
        self.environment.now
    }

    /// Both clocks, as the orchestrator reads them.
    pub fn clock(&self) -> Now {
        self.environment.clock(self.wall_ahead_ms)
    }

    /// Steps that the loop has taken, over all its runs.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The loop; `None` while the orchestrator is down.
    pub fn control(&self) -> Option<&ControlLoop> {
        self.orchestrator.run.as_ref().map(|run| &run.control)
    }

    /// The epoch of the current run.
    pub fn epoch(&self) -> Option<Epoch> {
        self.orchestrator.run.as_ref().map(|run| run.epoch)
    }

    /// The node and everything on it, as it truly is.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// What the store holds.
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// The input of the loop's latest step.
    pub fn input(&self) -> &Input {
        &self.input
    }

    /// The output of the loop's latest step.
    pub fn out(&self) -> &Outbox {
        &self.out
    }

    /// What truly happened in the latest turn.
    pub fn effects(&self) -> &[Effect] {
        &self.environment.effects
    }

    /// Sets the wall clock, which schedules follow.
    pub fn set_wall(&mut self, shows: Wall) {
        self.wall_ahead_ms = shows.as_millis().cast_signed() - self.environment.now.as_millis().cast_signed();
    }

    /// Sets how often each fault happens from now on.
    pub fn set_faults(&mut self, faults: Faults) {
        self.environment.faults = faults;
        self.environment.faults_revision += 1;
        for fault in Fault::STRIKING {
            self.schedule_strike(fault);
        }
    }

    /// Sets how a generation of a service behaves; to be called before that generation is declared.
    pub fn set_program(&mut self, service: &ServiceName, generation: Generation, program: Program) {
        self.node.site_mut(service).set_program(generation, program);
    }

    /// Sets the load offered to a service from now on.
    pub fn set_load(&mut self, service: &ServiceName, load: Load) {
        self.node.site_mut(service).load = load;
    }

    /// Lets a source measure the load offered to a service: the metric [`OFFERED_LOAD_METRIC`](crate::OFFERED_LOAD_METRIC) of the
    /// object of kind Service with its name. It measures once a second, and fails or is silent while the node is blind.
    pub fn set_source(&mut self, service: &ServiceName) {
        self.node.site_mut(service).set_source();
    }

    /// Adds a source of an external number, measured once a second as that of [`set_source`](Self::set_source) is.
    pub fn add_gauge(&mut self, gauge: Gauge) {
        self.node.add_gauge(gauge);
    }

    /// Stores what an operator orders, and sends it to the loop when there is one.
    pub fn order(&mut self, intent: Intent) {
        self.disk.keep(&intent);
        if let Some(run) = &self.orchestrator.run {
            let input = Input::Intent(intent);
            self.environment.queue.put(self.environment.now, SimEvent::ToLoop { epoch: run.epoch, input });
        }
    }

    /// `kill -9` of a replica; nothing when it does not run.
    pub fn kill(&mut self, replica: &ReplicaId) {
        let exit = Exit { status: ExitStatus::Signal(9), out_of_memory: false, ran_for: Duration::ZERO };
        if let Some(key) = self.key_of(replica) {
            self.node.apply_life_event(&mut self.environment, key, LifeEvent::Ends(exit));
        }
    }

    /// Lets a replica hang until `recovery` has passed; for ever without one.
    pub fn hang(&mut self, replica: &ReplicaId, recovery: Option<Duration>) {
        if let Some(key) = self.key_of(replica) {
            self.node.hang(&mut self.environment, key, recovery);
        }
    }

    fn key_of(&self, replica: &ReplicaId) -> Option<LifeKey> {
        let site = self.node.sites().iter().position(|site| site.name == replica.service)?;
        let life = self.node.life(replica)?;
        Some(LifeKey { site, place: replica.ordinal.0 as usize, serial: life.serial })
    }

    /// Applies the next event if it happens at `end` or before; otherwise advances the time to `end`.
    pub fn turn(&mut self, end: Time) -> Turn {
        self.environment.effects.clear();
        let wake = self.orchestrator.wakes_at.map(|at| at.max(self.environment.now));
        let next = self.environment.queue.next_at();
        if let Some(at) = wake.filter(|at| *at <= end && next.is_none_or(|next| *at < next)) {
            self.environment.now = at;
            return self.step(Input::Woke);
        }
        if next.is_none_or(|at| at > end) {
            self.environment.now = self.environment.now.max(end);
            return Turn::Over;
        }
        let Some((at, event)) = self.environment.queue.take() else { return Turn::Over };
        self.environment.now = at;
        self.happen(event)
    }

    fn happen(&mut self, event: SimEvent) -> Turn {
        match event {
            SimEvent::Tick => {
                self.node.tick(&mut self.environment);
                self.environment.after(TICK, SimEvent::Tick);
            }
            SimEvent::ToAgent(action) => self.node.receive(&mut self.environment, &action),
            SimEvent::ToLoop { epoch, input } => {
                if self.epoch() == Some(epoch) {
                    return self.step(input);
                }
                if self.orchestrator.zombie.as_ref().is_some_and(|zombie| zombie.epoch == epoch) {
                    return self.step_zombie(input);
                }
            }
            SimEvent::InLife { key, event } => {
                self.node.apply_life_event(&mut self.environment, key, event);
            }
            SimEvent::Written { action, memory } => self.written(action, memory),
            SimEvent::Strike { fault, faults_revision } => {
                if faults_revision == self.environment.faults_revision {
                    self.strike(fault);
                    self.schedule_strike(fault);
                }
            }
            SimEvent::OrchestratorBegins => self.begin_orchestrator(),
            SimEvent::ZombieWakes => return self.step_zombie(Input::Woke),
        }
        Turn::World
    }

    fn step(&mut self, input: Input) -> Turn {
        let now = self.clock();
        let Some(run) = &mut self.orchestrator.run else { return Turn::World };
        self.out.clear();
        run.control.step(now, &input, &mut self.out);
        self.orchestrator.wakes_at = run.control.next_deadline();
        self.steps += 1;
        self.input = input;
        if self.out.is_empty() {
            return Turn::Stepped;
        }
        let sent = if self.orchestrator.dies_mid_step && !self.out.actions.is_empty() {
            let all = self.out.actions.len() as u64;
            usize::try_from(self.environment.random.orchestrator.below(all + 1)).unwrap_or(0)
        } else {
            self.out.actions.len()
        };
        for index in 0..sent {
            let action = self.out.actions[index].clone();
            self.dispatch(action);
        }
        for event in self.out.events.iter().filter(|event| event.kind == EventKind::Gone) {
            self.disk.forget(&event.service);
        }
        if self.orchestrator.dies_mid_step && !self.out.actions.is_empty() {
            self.kill_orchestrator();
        }
        Turn::Stepped
    }

    /// Sends an action to the part that carries it out: the store for memories, the agent for everything else.
    pub(crate) fn dispatch(&mut self, action: Action) {
        match action.kind {
            ActionKind::Remember(memory) => {
                self.environment.after(SYNC, SimEvent::Written { action: action.id, memory });
            }
            ActionKind::Start { .. }
            | ActionKind::Stop { .. }
            | ActionKind::Admit { .. }
            | ActionKind::Allot { .. }
            | ActionKind::Expose(_)
            | ActionKind::Conceal(_) => self.environment.send(action),
        }
    }

    fn written(&mut self, action: ActionId, memory: std::sync::Arc<Memory>) {
        let outcome = if action.epoch < self.disk.epoch {
            self.environment.effects.push(Effect::Refused { action, refusal: Refusal::StaleEpoch });
            Outcome::Refused(Refusal::StaleEpoch)
        } else if self.orchestrator.run.is_none() {
            // It died while the write was in flight: the disk may have it or not.
            if self.environment.random.disk.happens(500) {
                self.disk.memories.insert(memory.service.clone(), memory);
            }
            return;
        } else if occurs(&self.environment.faults, Fault::WriteFails, &mut self.environment.random.disk) {
            match self.environment.random.disk.below(3) {
                0 => Outcome::Failed(Failure {
                    kind: FailureKind::DiskFull,
                    message: "could not write to the store: the disk is full; free some space".into(),
                }),
                1 => Outcome::Unknown,
                _ => {
                    self.disk.memories.insert(memory.service.clone(), memory);
                    Outcome::Unknown
                }
            }
        } else {
            self.disk.memories.insert(memory.service.clone(), memory);
            Outcome::Applied
        };
        let input = Input::Ended { action, outcome };
        self.environment.queue.put(self.environment.now, SimEvent::ToLoop { epoch: action.epoch, input });
    }

    fn schedule_strike(&mut self, fault: Fault) {
        let Some(interval) = self.environment.faults.interval(fault) else { return };
        let wait = self.environment.random.strikes.span(Duration::from_millis(1), interval * 2);
        let faults_revision = self.environment.faults_revision;
        self.environment.after(wait, SimEvent::Strike { fault, faults_revision });
    }

    fn strike(&mut self, fault: Fault) {
        let seconds = Duration::from_secs;
        match fault {
            Fault::Crash | Fault::OutOfMemory => {
                let out_of_memory = fault == Fault::OutOfMemory;
                let statuses =
                    [ExitStatus::Signal(9), ExitStatus::Signal(11), ExitStatus::Code(1), ExitStatus::Code(0)];
                let drawn = usize::try_from(self.environment.random.strikes.below(4)).unwrap_or(0);
                let status = if out_of_memory { ExitStatus::Signal(9) } else { statuses[drawn] };
                let exit = Exit { status, out_of_memory, ran_for: Duration::ZERO };
                if let Some(key) = self.any_life() {
                    self.node.apply_life_event(&mut self.environment, key, LifeEvent::Ends(exit));
                }
            }
            Fault::Hang => {
                let Some(key) = self.any_life() else { return };
                let strikes = &mut self.environment.random.strikes;
                let recovery = strikes.happens(300).then(|| strikes.span(seconds(5), seconds(60)));
                self.node.hang(&mut self.environment, key, recovery);
            }
            Fault::Flap => {
                let Some(key) = self.any_life() else { return };
                let span = self.environment.random.strikes.span(seconds(2), seconds(30));
                self.node.flap(&mut self.environment, key, span);
            }
            Fault::Eject => {
                let Some(key) = self.any_life() else { return };
                let span = self.environment.random.strikes.span(seconds(30), seconds(120));
                self.node.eject(self.environment.now, key, span);
            }
            Fault::SharedStall => {
                let Some(struck) = self.any_life() else { return };
                let span = self.environment.random.strikes.span(seconds(10), seconds(120));
                for key in self.node.keys().into_iter().filter(|key| key.site == struck.site) {
                    self.node.hang(&mut self.environment, key, Some(span));
                }
            }
            Fault::Blind => {
                let strikes = &mut self.environment.random.strikes;
                let until = self.environment.now + strikes.span(seconds(2), seconds(120));
                let is_partial = strikes.happens(500);
                self.node.blind(until, is_partial);
            }
            Fault::OrchestratorDies => {
                if self.environment.random.strikes.happens(500) {
                    self.kill_orchestrator();
                } else {
                    self.orchestrator.dies_mid_step = true;
                }
            }
            Fault::ClockStep => {
                let step = self.environment.random.strikes.span(Duration::ZERO, CLOCK_STEP_MAX * 2);
                let step = i64::try_from(step.as_millis()).unwrap_or(0);
                let most = i64::try_from(CLOCK_STEP_MAX.as_millis()).unwrap_or(0);
                self.wall_ahead_ms = step - most;
            }
            Fault::Lost
            | Fault::Late
            | Fault::Doubled
            | Fault::Unknown
            | Fault::Fails
            | Fault::WriteFails
            | Fault::Deaf
            | Fault::Slow
            | Fault::Zombie => {}
        }
    }

    fn any_life(&mut self) -> Option<LifeKey> {
        let keys = self.node.keys();
        let drawn = self.environment.random.strikes.below(keys.len() as u64);
        keys.get(usize::try_from(drawn).ok()?).copied()
    }
}
