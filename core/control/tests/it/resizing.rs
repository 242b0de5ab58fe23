//! Running replicas are resized to the learned size, through the whole loop.

use std::time::Duration;

use model::action::{Action, ActionKind, Admission, Failure, FailureKind, Outcome};
use model::identity::{ActionId, Incarnation};
use model::input::{Allotted, Declared, Input, Intent, Report, Usage};
use model::quantity::Bytes;
use model::reason::Reason;
use model::resource::{Quantity, Resources, Vertical, VerticalMode};
use model::time::Time;

use crate::bench::{Bench, READY, autoscaled, fixed, name, replica};
use crate::world::observed;

const MIB: u64 = 1 << 20;

/// A service whose replicas are declared with 250m and 512Mi, and resized in place.
fn declared(replicas: u32) -> Declared {
    let mut declared = fixed("shop", 1, replicas);
    declared.spec.resources = amounts("250m", "512Mi");
    declared.spec.scale.vertical = Some(Vertical { mode: VerticalMode::Auto, ..Vertical::default() });
    declared
}

fn amounts(cpu: &str, memory: &str) -> Resources {
    Resources { cpu: Quantity::parse(cpu).ok(), memory: Quantity::parse(memory).ok() }
}

/// A loop and replicas, each of which uses 100m and 40 MiB.
struct Running {
    bench: Bench,
    cpu_time: Duration,
    /// The running lives as (place, incarnation), with their memory usage.
    lives: Vec<(u32, u32, Bytes)>,
}

impl Running {
    fn with(declared: Declared) -> Self {
        let count = declared.bounds(model::time::Wall::from_millis(0)).min;
        let mut bench = Bench::new();
        bench.declare(declared);
        bench.inventory((0..count).map(|place| observed(&format!("shop-{place}"), 1, READY)).collect());
        let mut running = Self {
            bench,
            cpu_time: Duration::ZERO,
            lives: (0..count).map(|place| (place, 1, Bytes(40 * MIB))).collect(),
        };
        let all: Vec<_> = running.lives.iter().map(|(place, ..)| *place).collect();
        running.report_resources(&all, amounts("250m", "512Mi"));
        running.bench.sent.clear();
        running
    }

    /// The platform reports the resources of each life.
    fn report_resources(&mut self, places: &[u32], resources: Resources) {
        let allotted = |place: &u32| Allotted {
            replica: replica("shop", *place),
            incarnation: Incarnation(1),
            resources,
        };
        self.bench.put(&Input::Report(Report::Allotted(places.iter().map(allotted).collect())));
    }

    /// Lets time pass, without carrying out any action.
    fn run_for(&mut self, span: Duration) {
        let end = self.bench.now + span;
        while self.bench.now < end {
            self.bench.now = self.bench.now + Duration::from_secs(10);
            self.cpu_time += Duration::from_secs(1);
            let usage = |(place, life, memory): &(u32, u32, Bytes)| Usage {
                replica: replica("shop", *place),
                incarnation: Incarnation(*life),
                cpu_time: self.cpu_time,
                memory: *memory,
                throttling: None,
            };
            let usages = self.lives.iter().map(usage).collect();
            self.bench.put(&Input::Report(Report::Usage(usages)));
            self.bench.put(&Input::Woke);
        }
    }

    /// The resize actions since the last call, each once: its id, the place, the cpu in thousandths, and the memory in bytes.
    fn allotted(&mut self) -> Vec<(ActionId, u32, i64, i64)> {
        let sent = std::mem::take(&mut self.bench.sent);
        let of = |action: &Action| match &action.kind {
            ActionKind::Allot { replica, resources: Resources { cpu, memory }, .. } => {
                let milli = |amount: &Option<Quantity>| amount.map_or(0, Quantity::milli);
                Some((action.id, replica.ordinal.0, milli(cpu), milli(memory) / 1000))
            }
            _ => None,
        };
        let mut all: Vec<_> = sent.iter().filter_map(of).collect();
        all.dedup();
        all
    }

    fn resources_of(&self, place: u32) -> Option<Resources> {
        let service = self.bench.control.knowledge().service(&name("shop"))?;
        service.places.get(&model::identity::Ordinal(place))?.resources
    }
}

const fn minutes(minutes: u64) -> Duration {
    Duration::from_mins(minutes)
}

fn unsupported() -> Outcome {
    let message = "this platform changes nothing that runs".into();
    Outcome::Failed(Failure { kind: FailureKind::Unsupported, message })
}

#[test]
fn running_replicas_are_resized_one_at_a_time_once_an_hour_was_measured() {
    let mut running = Running::with(declared(2));
    // Two replicas together measure an hour in half an hour.
    running.run_for(minutes(29));
    assert_eq!(running.allotted(), []);
    running.run_for(minutes(3));
    for place in [0, 1] {
        let allotted = running.allotted();
        let [(action, resized, cpu, memory)] = allotted[..] else { panic!("{allotted:?}") };
        assert_eq!(resized, place);
        assert!((115..=130).contains(&cpu), "100m and a margin: {cpu}");
        assert!((46 * MIB as i64..=56 * MIB as i64).contains(&memory), "40Mi and a margin: {memory}");
        running.bench.end_as(action, Outcome::Applied);
        running.run_for(Duration::from_secs(10));
    }
    assert_eq!(running.resources_of(0), running.resources_of(1));
    running.run_for(minutes(60));
    assert_eq!(running.allotted(), [], "a size that fits is not changed");
}

#[test]
fn an_unknown_size_is_not_changed() {
    let mut bench = Running::with(declared(1)).bench;
    bench.inventory(vec![observed("shop-0", 2, READY)]);
    bench.sent.clear();
    let mut running = Running { bench, cpu_time: Duration::ZERO, lives: vec![(0, 2, Bytes(40 * MIB))] };
    running.run_for(minutes(90));
    assert_eq!(running.allotted(), []);
}

#[test]
fn a_resize_with_an_unknown_outcome_is_sent_again_with_the_same_id() {
    let mut running = Running::with(declared(1));
    running.run_for(minutes(71));
    let allotted = running.allotted();
    let [(action, ..)] = allotted[..] else { panic!("{allotted:?}") };
    running.bench.end_as(action, Outcome::Unknown);
    running.run_for(minutes(2));
    let again = running.allotted();
    assert!(!again.is_empty() && again.iter().all(|(id, ..)| *id == action), "{again:?}");
    running.bench.end_as(action, Outcome::Applied);
    assert_ne!(running.resources_of(0), Some(amounts("250m", "512Mi")));
}

#[test]
fn a_failed_resize_is_tried_again_with_another_id() {
    let mut running = Running::with(declared(1));
    running.run_for(minutes(71));
    let allotted = running.allotted();
    let Some((action, ..)) = allotted.first().copied() else { panic!("{allotted:?}") };
    let failure = Failure { kind: FailureKind::Other, message: "the kernel refused".into() };
    running.bench.end_as(action, Outcome::Failed(failure));
    running.run_for(minutes(15));
    let again = running.allotted();
    assert!(again.first().is_some_and(|(id, ..)| *id != action), "{again:?}");
}

#[test]
fn memory_in_use_is_never_taken_away() {
    let mut running = Running::with(declared(1));
    running.run_for(minutes(59));
    assert_eq!(running.allotted(), []);
    running.lives[0].2 = Bytes(400 * MIB);
    running.run_for(minutes(12));
    for (_, _, _, memory) in running.allotted() {
        assert!(memory >= 460 * MIB as i64, "{memory}");
    }
}

#[test]
fn nothing_is_resized_while_scaling_is_paused_or_a_replica_fails() {
    for is_paused in [true, false] {
        let mut running = Running::with(declared(2));
        if is_paused {
            running.bench.put(&Input::Intent(Intent::Pause { service: name("shop"), until: None }));
        } else {
            let sick = model::input::ReplicaState::Running { ready: true, live: false };
            running.bench.put(&Input::Report(Report::Replica(observed("shop-1", 1, sick))));
            running.lives.truncate(1);
            running.run_for(Duration::from_secs(20));
        }
        running.run_for(minutes(120));
        assert_eq!(running.allotted(), []);
    }
}

/// Replicas on a platform that cannot resize them, after it has reported so for replicas that have far too little.
fn without_resizing(replicas: u32) -> Running {
    refuse_resizing(Running::with(declared(replicas)), replicas)
}

fn refuse_resizing(mut running: Running, replicas: u32) -> Running {
    let all: Vec<u32> = (0..replicas).collect();
    running.report_resources(&all, amounts("50m", "512Mi"));
    running.run_for(minutes(71));
    loop {
        let allotted = running.allotted();
        let Some((action, ..)) = allotted.first().copied() else { break };
        running.bench.end_as(action, unsupported());
    }
    running
}

/// Runs until the loop has settled: the smallest number of serving replicas and the largest number of places.
fn settle(running: &mut Running) -> (usize, usize) {
    let (mut least, mut most) = (usize::MAX, 0);
    for _ in 0..600 {
        running.bench.run_for(Duration::from_secs(1));
        let service = running.bench.control.knowledge().service(&name("shop")).unwrap();
        let serving = service.places.values().filter(|place| place.is_serving()).count();
        (least, most) = (least.min(serving), most.max(service.places.len()));
    }
    (least, most)
}

#[test]
fn replicas_that_cannot_be_resized_are_replaced_one_at_a_time() {
    let mut running = without_resizing(2);
    let (least, most) = settle(&mut running);
    assert_eq!((least, most), (2, 3), "the wanted number serves all the time, with one more at most");
    let service = running.bench.control.knowledge().service(&name("shop")).unwrap();
    let cpus: Vec<_> = service.places.values().map(|place| place.resources.unwrap().cpu.unwrap()).collect();
    assert_eq!(cpus.len(), 2);
    assert!(cpus.iter().all(|cpu| (115..=130).contains(&cpu.milli())), "{cpus:?}");
}

#[test]
fn a_protected_replica_is_not_replaced() {
    let mut running = Running::with(declared(2));
    for place in [0, 1] {
        running.bench.put(&Input::Intent(Intent::Protect {
            replica: replica("shop", place),
            incarnation: Incarnation(1),
            until: Time::from_millis(u64::MAX / 2),
        }));
    }
    running = refuse_resizing(running, 2);
    assert_eq!(settle(&mut running), (2, 2));
    let service = running.bench.control.knowledge().service(&name("shop")).unwrap();
    assert!(service.waits.iter().any(|wait| matches!(wait.reason, Reason::Protected { .. })));
}

/// A service that scales by cpu, at its maximum of two replicas.
fn at_the_maximum() -> Running {
    let autoscaler = autoscaled("shop", 2, 2).autoscaler;
    Running::with(Declared { autoscaler, ..declared(2) })
}

#[test]
fn a_service_at_its_maximum_grows_in_size_and_shrinks_again() {
    let mut running = at_the_maximum();
    // 100m of 250m are 40 %, with a target of 50 %.
    running.run_for(minutes(1));
    assert_eq!(running.allotted(), []);
    // 200m are 80 %: 4 replicas are wanted, and 2 may run.
    let uses = |running: &mut Running, milli: u64, span: Duration| {
        let end = running.bench.now + span;
        let mut grown = Vec::new();
        while running.bench.now < end {
            running.bench.now = running.bench.now + Duration::from_secs(1);
            running.cpu_time += Duration::from_millis(milli);
            let usage = |place| Usage {
                replica: replica("shop", place),
                incarnation: Incarnation(1),
                cpu_time: running.cpu_time,
                memory: Bytes(40 * MIB),
                throttling: None,
            };
            running.bench.put(&Input::Report(Report::Usage(vec![usage(0), usage(1)])));
            running.bench.put(&Input::Woke);
            for (action, _, cpu, memory) in running.allotted() {
                assert_eq!(memory, 512 * MIB as i64, "the number does not follow memory");
                running.bench.end_as(action, Outcome::Applied);
                grown.push(cpu);
            }
        }
        grown
    };
    assert_eq!(uses(&mut running, 200, Duration::from_secs(30)), [500, 500]);
    assert!(
        uses(&mut running, 100, minutes(4)).is_empty(),
        "the size for a peak is held as long as replicas would be"
    );
    let back = uses(&mut running, 100, minutes(20));
    assert_eq!(back, [250, 250], "the declared size follows");
}

#[test]
fn growth_stays_within_the_declared_bounds() {
    let mut declared = declared(2);
    declared.autoscaler = autoscaled("shop", 2, 2).autoscaler;
    if let Some(vertical) = &mut declared.spec.scale.vertical {
        vertical.cpu.max = Quantity::parse("300m").ok();
    }
    let mut running = Running::with(declared);
    for _ in 0..3 {
        running.bench.now = running.bench.now + Duration::from_secs(1);
        running.cpu_time += Duration::from_millis(200);
        let usage = |place| Usage {
            replica: replica("shop", place),
            incarnation: Incarnation(1),
            cpu_time: running.cpu_time,
            memory: Bytes(40 * MIB),
            throttling: None,
        };
        running.bench.put(&Input::Report(Report::Usage(vec![usage(0), usage(1)])));
        running.bench.put(&Input::Woke);
    }
    let allotted = running.allotted();
    assert!(allotted.first().is_some_and(|(_, _, cpu, _)| *cpu == 300), "{allotted:?}");
}

#[test]
fn a_draining_replica_is_not_resized() {
    let mut running = Running::with(declared(2));
    running.run_for(minutes(25));
    let mut fewer = declared(1);
    fewer.revision.0 = 2;
    running.bench.declare(fewer);
    let drains = |action: &Action| {
        matches!(
            &action.kind,
            ActionKind::Admit { admission: Admission::Draining, .. } | ActionKind::Stop { .. }
        )
    };
    assert!(running.bench.sent.iter().any(drains));
    running.run_for(minutes(40));
    assert!(running.allotted().iter().all(|(_, place, ..)| *place == 0));
}
