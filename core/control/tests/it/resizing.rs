//! Running replicas get the size that was learned, through the whole loop.

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

/// A service whose replicas are declared with 250m and 512Mi, and resized as they run.
fn declared(replicas: u32) -> Declared {
    let mut declared = fixed("shop", 1, replicas);
    declared.spec.resources = amounts("250m", "512Mi");
    declared.spec.scale.vertical = Some(Vertical { mode: VerticalMode::Auto, ..Vertical::default() });
    declared
}

fn amounts(cpu: &str, memory: &str) -> Resources {
    Resources { cpu: Quantity::parse(cpu).ok(), memory: Quantity::parse(memory).ok() }
}

/// Replicas on a bench, each of which uses 100m and 40 MiB.
struct Floor {
    bench: Bench,
    cpu_time: Duration,
    /// The lives that run, and the memory that they use.
    lives: Vec<(u32, u32, Bytes)>,
}

impl Floor {
    fn with(declared: Declared) -> Self {
        let many = declared.bounds(model::time::Wall::from_millis(0)).min;
        let mut bench = Bench::new();
        bench.declare(declared);
        bench.inventory((0..many).map(|place| observed(&format!("shop-{place}"), 1, READY)).collect());
        let mut floor = Self {
            bench,
            cpu_time: Duration::ZERO,
            lives: (0..many).map(|place| (place, 1, Bytes(40 * MIB))).collect(),
        };
        let all: Vec<_> = floor.lives.iter().map(|(place, ..)| *place).collect();
        floor.is_held_to(&all, amounts("250m", "512Mi"));
        floor.bench.sent.clear();
        floor
    }

    /// The platform reports the resources of each life.
    fn is_held_to(&mut self, places: &[u32], resources: Resources) {
        let allotted = |place: &u32| Allotted {
            replica: replica("shop", *place),
            incarnation: Incarnation(1),
            resources,
        };
        self.bench.put(&Input::Report(Report::Allotted(places.iter().map(allotted).collect())));
    }

    /// Lets time pass, without carrying out any action.
    fn runs_for(&mut self, span: Duration) {
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

    /// The resize actions since the last look, each once: the place, the processor in thousandths, the memory in bytes.
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

    fn is_at(&self, place: u32) -> Option<Resources> {
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
fn replicas_that_run_are_changed_one_at_a_time_once_an_hour_was_measured() {
    let mut floor = Floor::with(declared(2));
    // Two replicas together measure an hour in half an hour.
    floor.runs_for(minutes(29));
    assert_eq!(floor.allotted(), []);
    floor.runs_for(minutes(3));
    for place in [0, 1] {
        let allotted = floor.allotted();
        let [(action, whose, cpu, memory)] = allotted[..] else { panic!("{allotted:?}") };
        assert_eq!(whose, place);
        assert!((115..=130).contains(&cpu), "100m and a margin: {cpu}");
        assert!((46 * MIB as i64..=56 * MIB as i64).contains(&memory), "40Mi and a margin: {memory}");
        floor.bench.end_as(action, Outcome::Applied);
        floor.runs_for(Duration::from_secs(10));
    }
    assert_eq!(floor.is_at(0), floor.is_at(1));
    floor.runs_for(minutes(60));
    assert_eq!(floor.allotted(), [], "what fits is left alone");
}

#[test]
fn a_size_that_is_not_known_is_not_changed() {
    let mut bench = Floor::with(declared(1)).bench;
    bench.inventory(vec![observed("shop-0", 2, READY)]);
    bench.sent.clear();
    let mut floor = Floor { bench, cpu_time: Duration::ZERO, lives: vec![(0, 2, Bytes(40 * MIB))] };
    floor.runs_for(minutes(90));
    assert_eq!(floor.allotted(), []);
}

#[test]
fn an_outcome_that_is_not_known_is_asked_for_again_by_the_same_name() {
    let mut floor = Floor::with(declared(1));
    floor.runs_for(minutes(71));
    let allotted = floor.allotted();
    let [(action, ..)] = allotted[..] else { panic!("{allotted:?}") };
    floor.bench.end_as(action, Outcome::Unknown);
    floor.runs_for(minutes(2));
    let again = floor.allotted();
    assert!(!again.is_empty() && again.iter().all(|(id, ..)| *id == action), "{again:?}");
    floor.bench.end_as(action, Outcome::Applied);
    assert_ne!(floor.is_at(0), Some(amounts("250m", "512Mi")));
}

#[test]
fn a_change_that_failed_is_tried_again_by_another_name() {
    let mut floor = Floor::with(declared(1));
    floor.runs_for(minutes(71));
    let allotted = floor.allotted();
    let Some((action, ..)) = allotted.first().copied() else { panic!("{allotted:?}") };
    let failure = Failure { kind: FailureKind::Other, message: "the kernel says no".into() };
    floor.bench.end_as(action, Outcome::Failed(failure));
    floor.runs_for(minutes(15));
    let again = floor.allotted();
    assert!(again.first().is_some_and(|(id, ..)| *id != action), "{again:?}");
}

#[test]
fn what_is_in_use_now_is_never_taken_away() {
    let mut floor = Floor::with(declared(1));
    floor.runs_for(minutes(59));
    assert_eq!(floor.allotted(), []);
    floor.lives[0].2 = Bytes(400 * MIB);
    floor.runs_for(minutes(12));
    for (_, _, _, memory) in floor.allotted() {
        assert!(memory >= 460 * MIB as i64, "{memory}");
    }
}

#[test]
fn nothing_is_taken_away_while_a_person_pauses_or_a_replica_fails() {
    for is_paused in [true, false] {
        let mut floor = Floor::with(declared(2));
        if is_paused {
            floor.bench.put(&Input::Intent(Intent::Pause { service: name("shop"), until: None }));
        } else {
            let sick = model::input::ReplicaState::Running { ready: true, live: false };
            floor.bench.put(&Input::Report(Report::Replica(observed("shop-1", 1, sick))));
            floor.lives.truncate(1);
            floor.runs_for(Duration::from_secs(20));
        }
        floor.runs_for(minutes(120));
        assert_eq!(floor.allotted(), []);
    }
}

/// A floor whose platform cannot resize running replicas, after it has said so for replicas that have far too little.
fn rigid(replicas: u32) -> Floor {
    stiffen(Floor::with(declared(replicas)), replicas)
}

fn stiffen(mut floor: Floor, replicas: u32) -> Floor {
    let all: Vec<u32> = (0..replicas).collect();
    floor.is_held_to(&all, amounts("50m", "512Mi"));
    floor.runs_for(minutes(71));
    loop {
        let allotted = floor.allotted();
        let Some((action, ..)) = allotted.first().copied() else { break };
        floor.bench.end_as(action, unsupported());
    }
    floor
}

/// Lets the world go on until nothing happens any more: the least and the greatest number of replicas that ran.
fn settle(floor: &mut Floor) -> (usize, usize) {
    let (mut least, mut most) = (usize::MAX, 0);
    for _ in 0..600 {
        floor.bench.obey_for(Duration::from_secs(1));
        let service = floor.bench.control.knowledge().service(&name("shop")).unwrap();
        let serving = service.places.values().filter(|place| place.is_serving()).count();
        (least, most) = (least.min(serving), most.max(service.places.len()));
    }
    (least, most)
}

#[test]
fn where_what_runs_cannot_be_changed_one_after_the_other_is_replaced() {
    let mut floor = rigid(2);
    let (least, most) = settle(&mut floor);
    assert_eq!((least, most), (2, 3), "as many as wanted serve at any time, and one more at most");
    let service = floor.bench.control.knowledge().service(&name("shop")).unwrap();
    let cpus: Vec<_> = service.places.values().map(|place| place.resources.unwrap().cpu.unwrap()).collect();
    assert_eq!(cpus.len(), 2);
    assert!(cpus.iter().all(|cpu| (115..=130).contains(&cpu.milli())), "{cpus:?}");
}

#[test]
fn one_that_a_person_protects_is_not_replaced() {
    let mut floor = Floor::with(declared(2));
    for place in [0, 1] {
        floor.bench.put(&Input::Intent(Intent::Protect {
            replica: replica("shop", place),
            incarnation: Incarnation(1),
            until: Time::from_millis(u64::MAX / 2),
        }));
    }
    floor = stiffen(floor, 2);
    assert_eq!(settle(&mut floor), (2, 2));
    let service = floor.bench.control.knowledge().service(&name("shop")).unwrap();
    assert!(service.waits.iter().any(|wait| matches!(wait.reason, Reason::Protected { .. })));
}

/// A service at its maximum of two replicas by processor, with all that is declared in use.
fn at_its_most() -> Floor {
    let autoscaler = autoscaled("shop", 2, 2).autoscaler;
    Floor::with(Declared { autoscaler, ..declared(2) })
}

#[test]
fn a_service_at_its_most_replicas_grows_in_size_and_comes_back() {
    let mut floor = at_its_most();
    // 100m of 250m are 40 %, with a target of 50 %.
    floor.runs_for(minutes(1));
    assert_eq!(floor.allotted(), []);
    // 200m are 80 %: 4 replicas are asked for, and 2 may run.
    let uses = |floor: &mut Floor, milli: u64, span: Duration| {
        let end = floor.bench.now + span;
        let mut grown = Vec::new();
        while floor.bench.now < end {
            floor.bench.now = floor.bench.now + Duration::from_secs(1);
            floor.cpu_time += Duration::from_millis(milli);
            let usage = |place| Usage {
                replica: replica("shop", place),
                incarnation: Incarnation(1),
                cpu_time: floor.cpu_time,
                memory: Bytes(40 * MIB),
                throttling: None,
            };
            floor.bench.put(&Input::Report(Report::Usage(vec![usage(0), usage(1)])));
            floor.bench.put(&Input::Woke);
            for (action, _, cpu, memory) in floor.allotted() {
                assert_eq!(memory, 512 * MIB as i64, "memory is not what the number follows");
                floor.bench.end_as(action, Outcome::Applied);
                grown.push(cpu);
            }
        }
        grown
    };
    assert_eq!(uses(&mut floor, 200, Duration::from_secs(30)), [500, 500]);
    assert!(uses(&mut floor, 100, minutes(4)).is_empty(), "a peak is kept as long as its replicas would be");
    let back = uses(&mut floor, 100, minutes(20));
    assert_eq!(back, [250, 250], "and then it is as declared");
}

#[test]
fn growth_stays_within_the_bounds_declared() {
    let mut declared = declared(2);
    declared.autoscaler = autoscaled("shop", 2, 2).autoscaler;
    if let Some(vertical) = &mut declared.spec.scale.vertical {
        vertical.cpu.max = Quantity::parse("300m").ok();
    }
    let mut floor = Floor::with(declared);
    for _ in 0..3 {
        floor.bench.now = floor.bench.now + Duration::from_secs(1);
        floor.cpu_time += Duration::from_millis(200);
        let usage = |place| Usage {
            replica: replica("shop", place),
            incarnation: Incarnation(1),
            cpu_time: floor.cpu_time,
            memory: Bytes(40 * MIB),
            throttling: None,
        };
        floor.bench.put(&Input::Report(Report::Usage(vec![usage(0), usage(1)])));
        floor.bench.put(&Input::Woke);
    }
    let allotted = floor.allotted();
    assert!(allotted.first().is_some_and(|(_, _, cpu, _)| *cpu == 300), "{allotted:?}");
}

#[test]
fn a_drained_replica_is_left_as_it_is() {
    let mut floor = Floor::with(declared(2));
    floor.runs_for(minutes(25));
    let mut fewer = declared(1);
    fewer.revision.0 = 2;
    floor.bench.declare(fewer);
    let drains = |action: &Action| {
        matches!(
            &action.kind,
            ActionKind::Admit { admission: Admission::Draining, .. } | ActionKind::Stop { .. }
        )
    };
    assert!(floor.bench.sent.iter().any(drains));
    floor.runs_for(minutes(40));
    assert!(floor.allotted().iter().all(|(_, place, ..)| *place == 0));
}
