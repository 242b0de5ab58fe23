//! A loop in an environment that carries out every action.

use std::sync::Arc;
use std::time::Duration;

use control::{ControlLoop, Outbox};
use model::action::{Action, ActionKind, Admission, Outcome};
use model::identity::{ActionId, Epoch, Generation, Incarnation, Ordinal, ReplicaId};
use model::input::{
    Declared, Exit, ExitStatus, Input, Intent, Observed, ReplicaState, Report, Start, Traffic,
};
use model::name::{NodeName, ServiceName};
use model::resource::{
    AutoscalerSpec, MeteredResource, MetricSpec, Percent, Probes, Recover, ResourceTarget, Resources, Run,
    Scale, ScalePolicy, ServiceSpec, Stop,
};
use model::settings::Settings;
use model::time::{Now, Time, Wall};

/// A loop, a clock, and the loop's output.
pub(crate) struct Bench {
    pub(crate) control: ControlLoop,
    pub(crate) now: Time,
    pub(crate) sent: Vec<Action>,
    out: Outbox,
}

impl Bench {
    /// A started loop without an inventory.
    pub(crate) fn new() -> Self {
        let settings = Settings::default();
        let mut bench = Self {
            control: ControlLoop::new(settings.clone()),
            now: Time::from_millis(1_000_000),
            sent: Vec::new(),
            out: Outbox::default(),
        };
        let node = NodeName::parse("here").unwrap();
        let start = Start { epoch: Epoch(1), node, seed: 7, settings: Arc::new(settings) };
        bench.put(&Input::Started(start));
        bench
    }

    /// Puts one input in, and keeps the actions.
    pub(crate) fn put(&mut self, input: &Input) {
        self.out.clear();
        let now = Now { time: self.now, wall: Wall::from_millis(self.now.as_millis()) };
        self.control.step(now, input, &mut self.out);
        self.sent.append(&mut self.out.actions);
    }

    /// Declares a service.
    pub(crate) fn declare(&mut self, declared: Declared) {
        self.put(&Input::Intent(Intent::Declare(Arc::new(declared))));
    }

    /// The node sends its inventory.
    pub(crate) fn inventory(&mut self, replicas: Vec<Observed>) {
        let node = NodeName::parse("here").unwrap();
        let up_to = self.sent.last().map_or(ActionId::default(), |action| action.id);
        self.put(&Input::Report(Report::Inventory { node, up_to, replicas }));
    }

    /// Carries out every action without faults until `span` has passed.
    pub(crate) fn run_for(&mut self, span: Duration) {
        let end = self.now + span;
        while self.now < end {
            self.put(&Input::Woke);
            for action in std::mem::take(&mut self.sent) {
                self.carry_out(action);
            }
            self.now = self.now + Duration::from_millis(100);
        }
    }

    fn carry_out(&mut self, action: Action) {
        match action.kind {
            ActionKind::Start { replica, incarnation, declared, .. } => {
                self.end(action.id);
                self.see(&replica, incarnation, declared.generation, READY);
            }
            ActionKind::Stop { replica, incarnation, .. } => {
                self.see(&replica, incarnation, Generation(0), ReplicaState::Exited(finished()));
                self.end(action.id);
            }
            ActionKind::Admit { replica, incarnation, admission, .. } => {
                self.end(action.id);
                if admission == Admission::Draining {
                    self.now = self.now + Duration::from_millis(1);
                    self.put(&Input::Report(Report::Traffic(vec![idle(&replica, incarnation)])));
                }
            }
            ActionKind::Allot { .. }
            | ActionKind::Expose(_)
            | ActionKind::Conceal(_)
            | ActionKind::Remember(_) => self.end(action.id),
        }
    }

    fn end(&mut self, action: ActionId) {
        self.end_as(action, Outcome::Applied);
    }

    /// Ends an action with this outcome.
    pub(crate) fn end_as(&mut self, action: ActionId, outcome: Outcome) {
        self.put(&Input::Ended { action, outcome });
    }

    /// The agent reports the health of one replica.
    pub(crate) fn see(
        &mut self,
        replica: &ReplicaId,
        incarnation: Incarnation,
        generation: Generation,
        state: ReplicaState,
    ) {
        let observed = Observed { replica: replica.clone(), incarnation, generation, state };
        self.put(&Input::Report(Report::Replica(observed)));
    }

    /// How many replicas of a service are wanted.
    pub(crate) fn desired(&self, service: &str) -> Option<u32> {
        self.control.knowledge().service(&name(service))?.desired
    }

    /// The known lives of the replicas of a service, as (place, incarnation).
    pub(crate) fn lives(&self, service: &str) -> Vec<(u32, u32)> {
        let service = self.control.knowledge().service(&name(service));
        let places = service.into_iter().flat_map(|service| &service.places);
        places.map(|(ordinal, place)| (ordinal.0, place.incarnation.0)).collect()
    }
}

/// Running, ready and live.
pub(crate) const READY: ReplicaState = ReplicaState::Running { ready: true, live: true };

pub(crate) fn name(text: &str) -> ServiceName {
    ServiceName::parse(text).unwrap()
}

pub(crate) fn replica(service: &str, ordinal: u32) -> ReplicaId {
    ReplicaId { service: name(service), ordinal: Ordinal(ordinal) }
}

pub(crate) fn finished() -> Exit {
    Exit { status: ExitStatus::Code(0), out_of_memory: false, ran_for: Duration::from_secs(1) }
}

fn idle(replica: &ReplicaId, incarnation: Incarnation) -> Traffic {
    Traffic {
        service: replica.service.clone(),
        ordinal: replica.ordinal,
        incarnation,
        requests: 0,
        errors: 0,
        in_flight: 0,
        latency_p99: Duration::ZERO,
    }
}

/// A service of a fixed size.
pub(crate) fn fixed(service: &str, revision: u64, replicas: u32) -> Declared {
    let run = Run {
        command: vec!["./true".to_owned()],
        env: Default::default(),
        working_directory: None,
        user: None,
    };
    let spec = ServiceSpec {
        run,
        resources: Resources::default(),
        ports: Vec::new(),
        probes: Probes::default(),
        scale: Scale::fixed(replicas),
        recover: Recover::Reschedule,
        depends_on: Vec::new(),
        expose: None,
        update: Default::default(),
        stop: Stop::default(),
    };
    Declared {
        name: name(service),
        revision: Generation(revision),
        generation: Generation(1),
        spec,
        autoscaler: None,
    }
}

/// A service that is scaled by its processor utilization, between two bounds.
pub(crate) fn autoscaled(service: &str, min: u32, max: u32) -> Declared {
    let target = ResourceTarget::Utilization(Percent(50));
    let metrics = vec![MetricSpec::Resource { resource: MeteredResource::Cpu, target }];
    let autoscaler = AutoscalerSpec {
        service: name(service),
        min,
        max,
        metrics,
        policy: ScalePolicy::Hpa,
        behavior: None,
    };
    Declared { autoscaler: Some(autoscaler), ..fixed(service, 1, min) }
}
