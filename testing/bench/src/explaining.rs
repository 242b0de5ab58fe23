//! `explaining`: the cost of explaining a decision, compared with that of the decision itself.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use control::{ControlLoop, Outbox};
use knowledge::{Place, Stage};
use model::action::Outcome;
use model::decision::{AlternativeSize, Explanation};
use model::identity::{Epoch, Generation, Incarnation, Ordinal, ReplicaId};
use model::input::{
    Declared, Exit, ExitStatus, Input, Intent, Observed, ReplicaState, Report, Start, Traffic, Usage,
};
use model::memory::Memory;
use model::name::{NodeName, ServiceName};
use model::quantity::Bytes;
use model::resource::Service;
use model::settings::Settings;
use model::time::{Now, Time, Wall};
use serde_json::{Value, json};

use crate::figure::{Findings, Target, Unit};
use crate::spans::{Cost, Costs, Stopwatch};

/// The longest time that a person should wait: a tenth of a second feels instantaneous (Nielsen 1993).
const ASKED: Target = Target::AtMost(0.1);
/// Seconds, each with a decision, for each policy: the load rises and falls twice.
const SECONDS: u64 = 480;
/// Of these, one in this many is explained.
const EXPLAINED_ONE_IN: u64 = 8;
/// Replicas at the beginning.
const BEGIN_WITH: u32 = 10;
const REPLICAS_MAX: u32 = 40;
/// When it begins, on the loop's clock.
const BEGIN: Time = Time::from_millis(1_790_000_000_000);
/// The end of a replica that was stopped.
const ENDED: Exit =
    Exit { status: ExitStatus::Signal(15), out_of_memory: false, ran_for: Duration::from_mins(1) };
const QUARTER: Duration = Duration::from_millis(250);

/// Lets each policy decide on one service, and requests every kind of explanation.
pub(crate) fn run() -> anyhow::Result<Findings> {
    let mut findings = Findings::of("explaining");
    findings.describe(format!(
        "one service with three metrics (cpu, memory, requests), 2 to {REPLICAS_MAX} replicas, {BEGIN_WITH} at first; for each policy {SECONDS} seconds \
         of a load that rises and falls, one decision in {EXPLAINED_ONE_IN} explained; one thread"
    ));
    let metric = "http_requests_per_second";
    let policies = [
        ("hpa", json!("hpa")),
        (
            "step",
            json!({"step": {
                "metric": metric, "above": [{"from": 40, "percent": 50}], "below": [{"to": 15, "replicas": 1}],
                "evaluation": {"every": "5s", "breaches": 2}, "cooldown": {"out": "10s", "in": "10s"},
            }}),
        ),
        (
            "watermarks",
            json!({"watermarks": {"metric": metric, "high": 40, "low": 20, "outAfter": "2s", "inAfter": "10s"}}),
        ),
        ("targetTracking", json!({"targetTracking": {"warmup": "10s", "outAfter": "3s", "inAfter": "10s"}})),
        (
            "burst",
            json!({"burst": {"metric": metric, "stableWindow": "30s", "panicWindow": "5s", "panicThresholdPercent": 200}}),
        ),
    ];
    for (name, policy) in policies {
        let costs = costs_of(&policy).with_context(|| format!("with the policy {name}"))?;
        let mut note = |what: &str, costs: &Costs| {
            let name = format!("{name}: {what}, p50 by processor time");
            findings.note(name, costs.median_cpu(), Unit::Seconds);
        };
        note("a step of the loop with a decision", &costs.decided);
        note("its record in words", &costs.explained);
        note("what would change it", &costs.prospects);
        note("why not fewer", &costs.why_not);
        for (what, costs) in [("what would change it", &costs.prospects), ("why not fewer", &costs.why_not)] {
            let name = format!("{name}: {what}, dearest by processor time");
            findings.compare(name, costs.highest_cpu(), Unit::Seconds, ASKED);
        }
    }
    Ok(findings)
}

/// The results of one policy.
struct ExplanationCosts {
    decided: Costs,
    explained: Costs,
    prospects: Costs,
    why_not: Costs,
}

fn costs_of(policy: &Value) -> anyhow::Result<ExplanationCosts> {
    let mut world = World::new(policy)?;
    let mut spent = ExplanationCosts {
        decided: Costs::new(),
        explained: Costs::new(),
        prospects: Costs::new(),
        why_not: Costs::new(),
    };
    for second in 0..SECONDS {
        for _ in 0..4 {
            world.report(second);
        }
        world.step(&Input::Woke);
        let (explanation, cost) = world.decided.take().context("there was no decision within a second")?;
        spent.decided.add(cost);
        world.carry_out();
        if second % EXPLAINED_ONE_IN == 0 {
            spent.explain(explanation.as_ref());
        }
    }
    Ok(spent)
}

impl ExplanationCosts {
    fn explain(&mut self, explanation: &dyn Explanation) {
        let timed = |costs: &mut Costs, work: &dyn Fn() -> usize| {
            let watch = Stopwatch::start();
            std::hint::black_box(work());
            costs.add(watch.stop());
        };
        timed(&mut self.explained, &|| explanation.decision().metrics.len());
        timed(&mut self.prospects, &|| explanation.prospects().len());
        timed(&mut self.why_not, &|| explanation.why_not(AlternativeSize::Smaller).prospects.len());
    }
}

/// A loop with one service, whose replicas follow its actions.
struct World {
    control: ControlLoop,
    out: Outbox,
    now: Time,
    name: ServiceName,
    decided: Option<(Arc<dyn Explanation>, Cost)>,
    /// Processor time and requests of each replica since it was started.
    used: Vec<(Duration, u64)>,
}

impl World {
    fn new(policy: &Value) -> anyhow::Result<Self> {
        let name = ServiceName::parse("shop")?;
        let control = ControlLoop::new(Settings::default());
        let used = vec![(Duration::ZERO, 0); BEGIN_WITH as usize];
        let mut world = Self { control, out: Outbox::default(), now: BEGIN, name, decided: None, used };
        let settings = Arc::new(Settings::default());
        let declared = declared(&world.name, policy)?;
        let memory = Memory { desired: Some(BEGIN_WITH), ..Memory::blank(world.name.clone()) };
        world.step(&Input::Started(Start { epoch: Epoch(2), node: node(), seed: 1, settings }));
        world.step(&Input::Intent(Intent::Declare(Arc::new(declared))));
        world.step(&Input::Remembered(Arc::new(memory)));
        let replicas = (0..BEGIN_WITH).map(|number| world.running(number, Incarnation(1))).collect();
        world.step(&Input::Report(Report::Inventory { node: node(), up_to: Default::default(), replicas }));
        world.carry_out();
        Ok(world)
    }

    /// Steps the loop, and keeps the latest decision with the cost of the step that made it.
    fn step(&mut self, input: &Input) {
        let now = Now { time: self.now, wall: Wall::from_millis(self.now.as_millis()) };
        let before = self.out.decisions.len();
        let watch = Stopwatch::start();
        self.control.step(now, input, &mut self.out);
        let cost = watch.stop();
        if let Some(decided) = self.out.decisions[before..].last() {
            self.decided = Some((Arc::clone(&decided.explanation), cost));
        }
    }

    /// A quarter of a second of load, spread evenly: from 100 to 1,000 requests a second and back in four minutes.
    fn report(&mut self, second: u64) {
        self.now = self.now + QUARTER;
        let at = second % 240;
        let load = 100 + at.min(240 - at) * 900 / 120;
        let lives = self.lives();
        let each = load / u64::from(u32::try_from(lives.len()).unwrap_or(1).max(1)) / 4;
        let (mut traffic, mut usage) = (Vec::new(), Vec::new());
        for (ordinal, incarnation, _) in lives {
            let number = ordinal.0 as usize;
            self.used.resize(self.used.len().max(number + 1), (Duration::ZERO, 0));
            let (cpu_time, requests) = &mut self.used[number];
            *requests += each;
            *cpu_time += Duration::from_millis(4 * each);
            traffic.push(Traffic {
                service: self.name.clone(),
                ordinal,
                incarnation,
                requests: *requests,
                errors: 0,
                in_flight: 1,
                latency_p99: Duration::from_millis(12),
            });
            let replica = ReplicaId { service: self.name.clone(), ordinal };
            usage.push(Usage {
                replica,
                incarnation,
                cpu_time: *cpu_time,
                memory: Bytes(50_000_000),
                throttling: None,
            });
        }
        self.step(&Input::Report(Report::Traffic(traffic)));
        self.step(&Input::Report(Report::Usage(usage)));
    }

    /// The replicas that run, and whether each is being stopped.
    fn lives(&self) -> Vec<(Ordinal, Incarnation, bool)> {
        let service = self.control.knowledge().service(&self.name);
        let places = service.into_iter().flat_map(|service| &service.places);
        let running = places.filter(|(_, place)| place.is_occupied());
        let is_stopping = |place: &Place| matches!(place.stage, Stage::Stopping { .. });
        running.map(|(number, place)| (*number, place.incarnation, is_stopping(place))).collect()
    }

    /// Executes every action; started replicas are ready at once.
    fn carry_out(&mut self) {
        loop {
            let actions = std::mem::take(&mut self.out.actions);
            self.out.clear();
            if actions.is_empty() {
                return;
            }
            for action in actions {
                self.step(&Input::Ended { action: action.id, outcome: Outcome::Applied });
            }
            for (ordinal, incarnation, is_stopping) in self.lives() {
                let mut seen = self.running(ordinal.0, incarnation);
                if is_stopping {
                    seen.state = ReplicaState::Exited(ENDED);
                }
                self.step(&Input::Report(Report::Replica(seen)));
            }
        }
    }

    fn running(&self, number: u32, incarnation: Incarnation) -> Observed {
        let replica = ReplicaId { service: self.name.clone(), ordinal: Ordinal(number) };
        let state = ReplicaState::Running { ready: true, live: true };
        Observed { replica, incarnation, generation: Generation(1), state }
    }
}

fn node() -> NodeName {
    NodeName::parse("bench").expect("it is a DNS label")
}

fn declared(name: &ServiceName, policy: &Value) -> anyhow::Result<Declared> {
    let half = |name: &str| json!({"type": "Resource", "resource": {"name": name, "target": {"type": "Utilization", "averageUtilization": 50}}});
    let service: Service = serde_json::from_value(json!({
        "metadata": {"name": name.as_str()},
        "spec": {
            "run": {"command": ["./shop"]},
            "resources": {"cpu": "250m", "memory": "128Mi"},
            "ports": [{"name": "http", "protocol": "http"}],
            "scale": {"min": 2, "max": REPLICAS_MAX, "policy": policy, "metrics": [
                half("cpu"), half("memory"),
                {"type": "Pods", "pods": {
                    "metric": {"name": "http_requests_per_second"},
                    "target": {"type": "AverageValue", "averageValue": 30},
                }},
            ]},
        },
    }))?;
    let autoscaler = service.autoscaler().context("the service cannot be autoscaled")?;
    let (revision, generation) = (Generation(1), Generation(1));
    Ok(Declared { name: name.clone(), revision, generation, spec: service.spec, autoscaler })
}
