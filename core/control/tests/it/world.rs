//! A small world around a loop: a test makes things happen in it, and reads the output of the loop as text.

use std::sync::Arc;
use std::time::Duration;

use control::{ControlLoop, Outbox};
use knowledge::{Place, ServiceState};
use model::action::{Action, ActionKind, Admission, Failure, FailureKind, Outcome};
use model::event::EventKind;
use model::identity::{ActionId, Epoch, Generation, Incarnation, Ordinal, ReplicaId};
use model::input::{
    Declared, Exit, ExitStatus, Input, Intent, Observed, ReplicaState, Report, Start, Traffic, Usage,
};
use model::memory::Memory;
use model::name::NodeName;
use model::quantity::Bytes;
use model::reason::Reason;
use model::settings::Settings;
use model::time::{Now, Time, Wall};

use crate::bench::{READY, name};

/// A loop, its clock, and its output so far.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) control: ControlLoop,
    /// The settings of each run.
    settings: Settings,
    pub(crate) now: Time,
    /// The calendar time, which a test sets. It does not advance with `now`, as no wait depends on it.
    pub(crate) wall: Wall,
    /// Actions that have no outcome yet, in the order in which they were first sent.
    pub(crate) pending: Vec<Action>,
    /// The actions that were sent since the last call of [`Self::take_sent`], without memories.
    sent: Vec<Action>,
    events: Vec<(EventKind, Reason)>,
    /// The digest of the output of each input so far.
    pub(crate) digests: Vec<u64>,
    latest: ActionId,
    epoch: u64,
}

impl World {
    /// A loop that was created and has had no input.
    pub(crate) fn new() -> Self {
        Self::of(Settings::default())
    }

    fn of(settings: Settings) -> Self {
        Self {
            control: ControlLoop::new(settings.clone()),
            settings,
            now: Time::from_millis(1_000_000),
            wall: Wall::from_millis(7),
            pending: Vec::new(),
            sent: Vec::new(),
            events: Vec::new(),
            digests: Vec::new(),
            latest: ActionId::default(),
            epoch: 0,
        }
    }

    /// A run has started, without an inventory yet.
    pub(crate) fn started() -> Self {
        let mut world = Self::new();
        world.start_run();
        world
    }

    /// Like [`Self::started`], where the guard allows at most this many replicas of a service.
    pub(crate) fn started_with_max(replicas: u32) -> Self {
        let mut settings = Settings::default();
        settings.guard.replicas_max = replicas;
        let mut world = Self::of(settings);
        world.start_run();
        world
    }

    /// These services are declared, and all their replicas run and are ready.
    pub(crate) fn with(services: impl IntoIterator<Item = Declared>) -> Self {
        let mut world = Self::started();
        for declared in services {
            world.declare(declared);
        }
        world.report_inventory([]);
        world.carry_out();
        world.take_sent();
        world
    }

    /// Puts one input in, and keeps the output. Returns its digest.
    pub(crate) fn put(&mut self, input: &Input) -> u64 {
        let mut out = Outbox::default();
        self.control.step(Now { time: self.now, wall: self.wall }, input, &mut out);
        let digest = out.digest();
        self.digests.push(digest);
        for action in out.actions {
            self.latest = self.latest.max(action.id);
            if self.pending.iter().all(|known| known.id != action.id) {
                self.pending.push(action.clone());
            }
            if !matches!(action.kind, ActionKind::Remember(_)) {
                self.sent.push(action);
            }
        }
        self.events.extend(out.events.into_iter().map(|event| (event.kind, event.reason)));
        digest
    }

    /// Starts a run, with a later epoch than the one before.
    pub(crate) fn start_run(&mut self) {
        self.epoch += 1;
        self.pending.clear();
        let node = NodeName::parse("here").unwrap();
        let settings = Arc::new(self.settings.clone());
        self.put(&Input::Started(Start { epoch: Epoch(self.epoch), node, seed: 7, settings }));
    }

    pub(crate) fn declare(&mut self, declared: Declared) {
        self.put(&Input::Intent(Intent::Declare(Arc::new(declared))));
    }

    pub(crate) fn withdraw(&mut self, service: &str) {
        self.put(&Input::Intent(Intent::Withdraw(name(service))));
    }

    pub(crate) fn hold(&mut self, service: &str, replicas: u32, span: Option<Duration>) {
        let until = span.map(|span| self.now + span);
        self.put(&Input::Intent(Intent::Hold { service: name(service), replicas, until }));
    }

    pub(crate) fn release(&mut self, service: &str) {
        self.put(&Input::Intent(Intent::Release(name(service))));
    }

    pub(crate) fn restore(&mut self, memory: Memory) {
        self.put(&Input::Remembered(Arc::new(memory)));
    }

    /// The node sends an inventory, made after every action so far had reached it.
    pub(crate) fn report_inventory(&mut self, replicas: impl IntoIterator<Item = Observed>) {
        self.report_inventory_as_of(self.latest, replicas);
    }

    /// The node sends an inventory, made when `up_to` was the latest action to have reached it.
    pub(crate) fn report_inventory_as_of(
        &mut self,
        up_to: ActionId,
        replicas: impl IntoIterator<Item = Observed>,
    ) {
        let node = NodeName::parse("here").unwrap();
        let replicas = replicas.into_iter().collect();
        self.put(&Input::Report(Report::Inventory { node, up_to, replicas }));
    }

    /// The agent reports the health of the current life of a replica.
    pub(crate) fn report_state(&mut self, replica: &str, state: ReplicaState) {
        let life = self.life(replica);
        self.report_life(replica, life, state);
    }

    /// The agent reports the health of a given life of a replica.
    pub(crate) fn report_life(&mut self, replica: &str, life: u32, state: ReplicaState) {
        let generation = self.place(replica).map_or(Generation(1), |place| place.generation);
        let observed = Observed { generation, ..observed(replica, life, state) };
        self.put(&Input::Report(Report::Replica(observed)));
    }

    /// The liveness probe of a replica fails from now on; it stays ready.
    pub(crate) fn fail_liveness(&mut self, replica: &str) {
        self.report_state(replica, ReplicaState::Running { ready: true, live: false });
    }

    pub(crate) fn kill(&mut self, replica: &str) {
        self.report_state(replica, ReplicaState::Exited(killed()));
    }

    /// The proxy reports on a replica: requests so far, and those being answered.
    pub(crate) fn report_traffic(&mut self, replica: &str, requests: u64, in_flight: u32) {
        let (id, incarnation) = (id(replica), Incarnation(self.life(replica)));
        self.put(&Input::Report(Report::Traffic(vec![Traffic {
            service: id.service,
            ordinal: id.ordinal,
            incarnation,
            requests,
            errors: 0,
            in_flight,
            latency_p99: Duration::from_millis(3),
        }])));
    }

    /// The agent reports the processor time that each of these replicas has used since its start.
    pub(crate) fn report_usage<'a>(&mut self, samples: impl IntoIterator<Item = (&'a str, Duration)>) {
        let usage = |(replica, cpu_time): (&str, Duration)| Usage {
            replica: id(replica),
            incarnation: Incarnation(self.life(replica)),
            cpu_time,
            memory: Bytes(1 << 20),
            throttling: None,
        };
        let usages = samples.into_iter().map(usage).collect();
        self.put(&Input::Report(Report::Usage(usages)));
    }

    /// Lets time pass and wakes the loop at its deadlines; its actions are not carried out.
    pub(crate) fn advance(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(due) = self.control.next_deadline().filter(|due| *due <= end) {
            self.now = due.max(self.now);
            self.put(&Input::Woke);
            assert!(self.control.next_deadline() > Some(self.now), "the next deadline is not in the future");
        }
        self.now = end;
    }

    /// Lets time pass; every action of the loop is carried out at once.
    pub(crate) fn run_for(&mut self, span: Duration) {
        let end = self.now + span;
        self.carry_out();
        while let Some(due) = self.control.next_deadline().filter(|due| *due <= end) {
            self.now = due.max(self.now);
            self.put(&Input::Woke);
            self.carry_out();
        }
        self.now = end.max(self.now);
    }

    /// Carries out all actions: started replicas become ready, drained ones have no requests left, stopped ones end.
    pub(crate) fn carry_out(&mut self) {
        while let Some(action) = self.carry_out_next() {
            match &action.kind {
                ActionKind::Start { replica, incarnation, .. } => {
                    self.report_life(&replica.to_string(), incarnation.0, READY);
                }
                ActionKind::Admit { replica, admission: Admission::Draining, .. } => {
                    self.now = self.now + Duration::from_millis(1);
                    self.report_traffic(&replica.to_string(), 0, 0);
                }
                ActionKind::Admit { .. }
                | ActionKind::Allot { .. }
                | ActionKind::Stop { .. }
                | ActionKind::Expose(_)
                | ActionKind::Conceal(_)
                | ActionKind::Remember(_) => {}
            }
        }
    }

    /// Carries out all actions, but started replicas do not become ready.
    pub(crate) fn carry_out_unready(&mut self) {
        while self.carry_out_next().is_some() {}
    }

    fn carry_out_next(&mut self) -> Option<Action> {
        let action = (!self.pending.is_empty()).then(|| self.pending.remove(0))?;
        if let ActionKind::Stop { replica, incarnation, .. } = &action.kind {
            self.report_life(&replica.to_string(), incarnation.0, ReplicaState::Exited(killed()));
        }
        self.put(&Input::Ended { action: action.id, outcome: Outcome::Applied });
        Some(action)
    }

    /// Ends the first pending action with this verb with this outcome.
    pub(crate) fn end_action(&mut self, verb: &str, outcome: Outcome) -> ActionId {
        let at = self.pending.iter().position(|action| action.kind.verb() == verb);
        let action = self.pending.remove(at.unwrap_or_else(|| panic!("no {verb} is pending")));
        self.put(&Input::Ended { action: action.id, outcome });
        action.id
    }

    /// Takes the actions that were sent since the last call, as text; memories are left out.
    pub(crate) fn take_sent(&mut self) -> Vec<String> {
        self.sent.drain(..).map(|action| text_of(&action)).collect()
    }

    /// Takes the ids of the actions that were sent since the last call.
    pub(crate) fn take_sent_ids(&mut self) -> Vec<ActionId> {
        self.sent.drain(..).map(|action| action.id).collect()
    }

    /// The number of events of this kind so far.
    pub(crate) fn count_events(&self, kind: EventKind) -> usize {
        self.events.iter().filter(|(known, _)| *known == kind).count()
    }

    /// Whether there was an event of this kind with a matching reason.
    pub(crate) fn has_event(&self, kind: EventKind, is_match: impl Fn(&Reason) -> bool) -> bool {
        self.events.iter().any(|(known, why)| *known == kind && is_match(why))
    }

    /// Why the service, or a replica of it, waits.
    pub(crate) fn waits(&self, service: &str) -> Vec<Reason> {
        self.service(service).waits.iter().map(|wait| wait.reason.clone()).collect()
    }

    pub(crate) fn service(&self, service: &str) -> &ServiceState {
        self.control.knowledge().service(&name(service)).expect("the loop knows the service")
    }

    pub(crate) fn has_service(&self, service: &str) -> bool {
        self.control.knowledge().service(&name(service)).is_some()
    }

    /// The numbers of the places that a service has.
    pub(crate) fn places(&self, service: &str) -> Vec<u32> {
        self.service(service).places.keys().map(|ordinal| ordinal.0).collect()
    }

    pub(crate) fn place(&self, replica: &str) -> Option<&Place> {
        let id = id(replica);
        self.control.knowledge().place(&id.service, id.ordinal)
    }

    /// The latest life of a replica; 0 when it has no place.
    pub(crate) fn life(&self, replica: &str) -> u32 {
        self.place(replica).map_or(0, |place| place.incarnation.0)
    }

    /// The time until the next deadline of the loop.
    pub(crate) fn wakes_in(&self) -> Option<Duration> {
        self.control.next_deadline().map(|due| due.since(self.now))
    }
}

/// An action as text, such as `start shop-0/1 serving`.
fn text_of(action: &Action) -> String {
    let traffic = |admission: &Admission| match admission {
        Admission::Serving { weight: 1 } => "serving".to_owned(),
        Admission::Serving { weight } => format!("serving x{weight}"),
        Admission::Draining => "draining".to_owned(),
        Admission::Spare => "spare".to_owned(),
    };
    let verb = action.kind.verb();
    match &action.kind {
        ActionKind::Start { replica, incarnation, admission, .. }
        | ActionKind::Admit { replica, incarnation, admission, .. } => {
            format!("{verb} {replica}/{incarnation} {}", traffic(admission))
        }
        ActionKind::Stop { replica, incarnation, .. } | ActionKind::Allot { replica, incarnation, .. } => {
            format!("{verb} {replica}/{incarnation}")
        }
        ActionKind::Expose(_) | ActionKind::Conceal(_) | ActionKind::Remember(_) => {
            format!("{verb} {}", action.kind.service())
        }
    }
}

pub(crate) fn id(replica: &str) -> ReplicaId {
    ReplicaId::parse(replica).expect("a service, a dash and a number")
}

pub(crate) fn observed(replica: &str, life: u32, state: ReplicaState) -> Observed {
    Observed { replica: id(replica), incarnation: Incarnation(life), generation: Generation(1), state }
}

pub(crate) const UNREADY: ReplicaState = ReplicaState::Running { ready: false, live: true };

pub(crate) fn killed() -> Exit {
    Exit { status: ExitStatus::Signal(9), out_of_memory: false, ran_for: Duration::from_secs(60) }
}

pub(crate) fn code(code: i32) -> ReplicaState {
    let status = ExitStatus::Code(code);
    ReplicaState::Exited(Exit { status, out_of_memory: false, ran_for: Duration::from_secs(60) })
}

pub(crate) fn failed(kind: FailureKind) -> Outcome {
    Outcome::Failed(Failure { kind, message: "it could not be done".into() })
}

pub(crate) const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(crate) fn ordinal(ordinal: u32) -> Ordinal {
    Ordinal(ordinal)
}
