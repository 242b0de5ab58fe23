//! The simulated state that is reported to the loop: many services, all replicas running, counters that grow as declared.

use std::sync::Arc;
use std::time::Duration;

use control::{ControlLoop, Outbox};
use model::action::{ActionKind, Outcome};
use model::identity::{Epoch, Generation, Incarnation, Ordinal, ReplicaId};
use model::input::{
    Declared, Exit, ExitStatus, Input, Intent, Observed, ReplicaState, Report, Start, Traffic, Usage,
};
use model::memory::Memory;
use model::name::{NodeName, ServiceName};
use model::quantity::Bytes;
use model::resource::Service;
use model::settings::{GuardSettings, Settings};
use model::time::{Now, Time, Wall};

use crate::spans::{Cost, Costs, Stopwatch};

pub(super) const SERVICES: usize = 10_000;
pub(super) const REPLICAS: usize = SERVICES * EACH as usize;
/// Replicas of each service.
const EACH: u32 = 10;
/// One service in this many rises with each wave.
pub(super) const RISING_ONE_IN: usize = 20;
/// How many services lose a replica.
const ENDING: usize = 1000;
/// The start of the world on the loop's clock: a recent calendar time, as in production.
const BEGIN: Time = Time::from_millis(1_790_000_000_000);

/// A loop and the world that is reported to it.
pub(super) struct World {
    control: ControlLoop,
    out: Outbox,
    now: Time,
    services: Vec<SimulatedService>,
}

/// The true state of one service.
struct SimulatedService {
    name: ServiceName,
    /// Processor time that each of its replicas has spent.
    cpu_time: Duration,
    /// Requests that each of its replicas has answered.
    requests: u64,
}

impl World {
    /// A loop that knows the declaration and the stored memory of every service, before any observation.
    pub(super) fn declared() -> Self {
        let (control, out) = (ControlLoop::new(Settings::default()), Outbox::default());
        let services = Vec::with_capacity(SERVICES);
        let mut world = Self { control, out, now: BEGIN, services };
        // With the default limits, most of a thousand restarts in one second would wait, which costs less than a start.
        let guard = GuardSettings {
            node_restarts_per_minute: u32::MAX,
            cluster_restarts_per_minute: u32::MAX,
            ..GuardSettings::default()
        };
        let settings = Arc::new(Settings { guard, ..Settings::default() });
        world.step(&Input::Started(Start { epoch: Epoch(2), node: node(), seed: 1, settings }));
        for number in 0..SERVICES {
            let name = ServiceName::parse(&format!("service-{number:05}")).expect("it is a DNS label");
            world.step(&Input::Intent(Intent::Declare(Arc::new(declaration(&name)))));
            let memory = Memory { desired: Some(EACH), ..Memory::blank(name.clone()) };
            world.step(&Input::Remembered(Arc::new(memory)));
            world.services.push(SimulatedService { name, cpu_time: Duration::ZERO, requests: 0 });
        }
        world
    }

    /// Sends the inventory: every replica runs and is ready. Returns the cost of that step.
    pub(super) fn take_inventory(&mut self) -> Cost {
        let replicas = self
            .services
            .iter()
            .flat_map(|service| (0..EACH).map(|number| observed(service, number, Incarnation(1), READY)))
            .collect();
        let inventory = Report::Inventory { node: node(), up_to: Default::default(), replicas };
        let cost = self.step(&Input::Report(inventory));
        self.answer();
        cost
    }

    /// Lets time pass.
    pub(super) fn wait(&mut self, span: Duration) {
        self.now = self.now + span;
    }

    /// Wakes the loop at its deadline, and answers its actions. Returns the cost of the step.
    pub(super) fn wake(&mut self) -> Cost {
        let cost = self.step(&Input::Woke);
        self.answer();
        cost
    }

    /// Reports the proxy's counters, one service at a time: 25 requests a second to each replica.
    pub(super) fn traffic(&mut self, costs: &mut Costs) {
        for index in 0..SERVICES {
            self.services[index].requests += 6;
            let service = &self.services[index];
            let sample_of = |number| Traffic {
                service: service.name.clone(),
                ordinal: Ordinal(number),
                incarnation: Incarnation(1),
                requests: service.requests,
                errors: 0,
                in_flight: 1,
                latency_p99: Duration::from_millis(12),
            };
            let report = Input::Report(Report::Traffic((0..EACH).map(sample_of).collect()));
            costs.add(self.step(&report));
        }
    }

    /// Reports processor time and memory, one service at a time: half of what is declared, or all of it if its load rises.
    pub(super) fn usage(&mut self, wave: usize, costs: &mut Costs) {
        for index in 0..SERVICES {
            let rises = wave > 0 && index % RISING_ONE_IN == wave;
            self.services[index].cpu_time += Duration::from_micros(if rises { 250_000 } else { 62_500 });
            let service = &self.services[index];
            let sample_of = |number| Usage {
                replica: ReplicaId { service: service.name.clone(), ordinal: Ordinal(number) },
                incarnation: Incarnation(1),
                cpu_time: service.cpu_time,
                memory: Bytes(50_000_000),
                throttling: None,
            };
            let report = Input::Report(Report::Usage((0..EACH).map(sample_of).collect()));
            costs.add(self.step(&report));
        }
    }

    /// Reports for one replica of each service that it is ready, or is not.
    pub(super) fn turn_readiness(&mut self, ready: bool, costs: &mut Costs) {
        for index in 0..SERVICES {
            let state = ReplicaState::Running { ready, live: true };
            let seen = observed(&self.services[index], 3, Incarnation(1), state);
            costs.add(self.step(&Input::Report(Report::Replica(seen))));
        }
        self.answer();
    }

    /// Reports for one replica of each of [`ENDING`] services that it was killed; its successor is started and becomes ready.
    pub(super) fn end_replicas(&mut self, costs: &mut Costs) {
        let ran_for = Duration::from_mins(10);
        let exit = Exit { status: ExitStatus::Signal(9), out_of_memory: false, ran_for };
        for index in 0..ENDING {
            let seen = observed(&self.services[index], EACH - 1, Incarnation(1), ReplicaState::Exited(exit));
            costs.add(self.step(&Input::Report(Report::Replica(seen))));
            let is_start = |action: &model::action::Action| matches!(action.kind, ActionKind::Start { .. });
            assert!(self.out.actions.iter().any(is_start), "the end of a replica causes a start");
            self.answer();
            let seen = observed(&self.services[index], EACH - 1, Incarnation(2), READY);
            self.step(&Input::Report(Report::Replica(seen)));
        }
        self.answer();
    }

    /// Reports success of each of the loop's actions, until it sends no more.
    pub(super) fn answer(&mut self) {
        while !self.out.actions.is_empty() {
            for action in std::mem::take(&mut self.out.actions) {
                self.step(&Input::Ended { action: action.id, outcome: Outcome::Applied });
            }
        }
        self.out.clear();
    }

    /// Asserts that the loop knows as many replicas as were reported: otherwise the figures would be those of a smaller world.
    pub(super) fn expect_size(&self, replicas: usize) {
        let services = || self.control.knowledge().services();
        let running = services().flat_map(|service| service.places.values()).filter(|place| place.is_ready());
        assert_eq!(
            (services().count(), running.count()),
            (SERVICES, replicas),
            "the loop does not know all reported replicas"
        );
        assert_eq!(self.control.actions_in_flight(), 0, "every action was answered");
    }

    /// Asserts that this many services were scaled out: otherwise the plans that should be expensive were not.
    pub(super) fn expect_scaled_out(&self, services: usize) {
        let all = self.control.knowledge().services();
        let scaled_out = all.filter(|service| service.desired.is_some_and(|desired| desired > EACH)).count();
        assert_eq!(scaled_out, services, "the loop scaled out other services than had load");
    }

    /// Steps the loop, and times only that.
    fn step(&mut self, input: &Input) -> Cost {
        let now = Now { time: self.now, wall: Wall::from_millis(self.now.as_millis()) };
        let watch = Stopwatch::start();
        self.control.step(now, input, &mut self.out);
        watch.stop()
    }
}

const READY: ReplicaState = ReplicaState::Running { ready: true, live: true };

fn node() -> NodeName {
    NodeName::parse("bench").expect("it is a DNS label")
}

fn observed(
    service: &SimulatedService,
    number: u32,
    incarnation: Incarnation,
    state: ReplicaState,
) -> Observed {
    let replica = ReplicaId { service: service.name.clone(), ordinal: Ordinal(number) };
    Observed { replica, incarnation, generation: Generation(1), state }
}

/// A typical web service, with an autoscaler on CPU utilization.
fn declaration(name: &ServiceName) -> Declared {
    let service: Service = serde_json::from_value(serde_json::json!({
        "metadata": {"name": name.as_str(), "labels": {"tier": "web"}},
        "spec": {
            "run": {
                "command": ["./shop", "--port", "$(PORT_HTTP)", "--work", "2ms"],
                "env": {"LOG": "info"},
                "workingDirectory": "/srv/shop",
            },
            "resources": {"cpu": "250m", "memory": "128Mi"},
            "ports": [{"name": "http", "protocol": "http"}],
            "probes": {
                "readiness": {"http": {"path": "/healthz"}, "every": "500ms", "timeout": "1s", "failures": 2},
                "liveness": {"http": {"path": "/livez"}, "every": "2s"},
            },
            "scale": {"min": 2, "max": 20, "metrics": [{
                "type": "Resource",
                "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}},
            }]},
        },
    }))
    .expect("the declaration is valid");
    let autoscaler = service.autoscaler().expect("its metric is known");
    let (revision, generation) = (Generation(1), Generation(1));
    Declared { name: name.clone(), revision, generation, spec: service.spec, autoscaler }
}
