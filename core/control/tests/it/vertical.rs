//! Learning the size of a replica, through the whole loop.

use std::sync::Arc;
use std::time::Duration;

use model::action::{Action, ActionKind};
use model::identity::{Incarnation, Ordinal, ReplicaId};
use model::input::{Declared, Exit, ExitStatus, Input, ReplicaState, Report, Throttling, Usage};
use model::memory::{Memory, UsageProfile};
use model::name::ServiceName;
use model::quantity::{Bytes, MilliCpu};
use model::resource::{AmountRange, Quantity, Resources, Vertical, VerticalMode};

use crate::bench::{Bench, READY, autoscaled, fixed};
use crate::world::observed;

const MIB: u64 = 1 << 20;

/// A service whose replicas are declared with 250m and 512Mi.
fn declared(revision: u64, replicas: u32, vertical: Option<Vertical>) -> Declared {
    let mut declared = fixed("shop", revision, replicas);
    declared.spec.resources = Resources {
        cpu: Some(Quantity::parse("250m").unwrap()),
        memory: Some(Quantity::parse("512Mi").unwrap()),
    };
    declared.spec.scale.vertical = vertical;
    declared
}

fn initial() -> Option<Vertical> {
    Some(Vertical { mode: VerticalMode::Initial, ..Vertical::default() })
}

/// The loop with one replica, which uses 100m and 40 MiB for this long.
fn used_for(vertical: Option<Vertical>, minutes: u64) -> Bench {
    let mut bench = Bench::new();
    bench.declare(declared(1, 1, vertical));
    bench.inventory(vec![observed("shop-0", 1, READY)]);
    let mut cpu_time = Duration::ZERO;
    for _ in 0..=minutes * 6 {
        bench.now = bench.now + Duration::from_secs(10);
        cpu_time += Duration::from_secs(1);
        bench.put(&Input::Report(Report::Usage(vec![usage(0, cpu_time)])));
    }
    bench.sent.clear();
    bench
}

fn usage(ordinal: u32, cpu_time: Duration) -> Usage {
    let replica = ReplicaId { service: ServiceName::parse("shop").unwrap(), ordinal: Ordinal(ordinal) };
    Usage { replica, incarnation: Incarnation(1), cpu_time, memory: Bytes(40 * MIB), throttling: None }
}

/// The resources of the replicas that were started, in thousandths.
fn started_with(sent: &[Action]) -> Vec<(i64, i64)> {
    let resources = sent.iter().filter_map(|action| match &action.kind {
        ActionKind::Start { declared, .. } => Some(declared.spec.resources),
        _ => None,
    });
    let milli = |amount: Option<Quantity>| amount.map_or(0, Quantity::milli);
    resources.map(|resources| (milli(resources.cpu), milli(resources.memory) / 1000)).collect()
}

const AS_DECLARED: (i64, i64) = (250, 512 * MIB as i64);

#[test]
fn a_replica_is_started_with_the_learned_size() {
    let mut bench = used_for(initial(), 61);
    bench.declare(declared(2, 2, initial()));
    let started = started_with(&bench.sent);
    let [(cpu, memory)] = started[..] else { panic!("{started:?}") };
    assert!((115..=130).contains(&cpu), "100m and a margin: {cpu}");
    assert!((46 * MIB as i64..=56 * MIB as i64).contains(&memory), "40Mi and a margin: {memory}");
}

#[test]
fn an_hour_must_have_been_measured_before_a_size_is_applied() {
    let mut bench = used_for(initial(), 50);
    bench.declare(declared(2, 2, initial()));
    assert_eq!(started_with(&bench.sent), [AS_DECLARED]);
}

#[test]
fn recommendations_alone_change_nothing() {
    let recommend = Some(Vertical::default());
    let mut bench = used_for(recommend.clone(), 61);
    bench.declare(declared(2, 2, recommend));
    assert_eq!(started_with(&bench.sent), [AS_DECLARED]);
    let service = bench.control.knowledge().service(&ServiceName::parse("shop").unwrap()).unwrap();
    let found = plan::vertical::recommendation(bench.now, service, None).expect("it was learned");
    assert!(found.cpu.is_some() && found.memory.is_some(), "{found:?}");
}

#[test]
fn the_learned_size_stays_within_the_declared_bounds() {
    let quantity = |text: &str| Some(Quantity::parse(text).unwrap());
    let bounded = Some(Vertical {
        mode: VerticalMode::Initial,
        cpu: AmountRange { min: quantity("200m"), max: None },
        memory: AmountRange { min: None, max: quantity("32Mi") },
    });
    let mut bench = used_for(bounded.clone(), 61);
    bench.declare(declared(2, 2, bounded));
    assert_eq!(started_with(&bench.sent), [(200, 32 * MIB as i64)]);
}

#[test]
fn a_resource_that_the_number_of_replicas_follows_stays_as_declared() {
    let mut bench = used_for(initial(), 61);
    let autoscaler = autoscaled("shop", 2, 10).autoscaler;
    bench.declare(Declared { autoscaler, ..declared(2, 2, initial()) });
    let started = started_with(&bench.sent);
    let [(cpu, memory)] = started[..] else { panic!("{started:?}") };
    assert_eq!(cpu, 250, "the autoscaler holds cpu at a share of what is declared");
    assert!(memory < 64 * MIB as i64, "{memory}");
}

#[test]
fn after_running_out_of_memory_the_next_life_gets_more() {
    let mut bench = used_for(initial(), 61);
    bench.now = bench.now + Duration::from_secs(1);
    let exit = Exit { status: ExitStatus::Signal(9), out_of_memory: true, ran_for: Duration::from_hours(1) };
    let seen = observed("shop-0", 1, ReplicaState::Exited(exit));
    bench.put(&Input::Report(Report::Replica(seen)));
    let started = started_with(&bench.sent);
    let [(_, memory)] = started[..] else { panic!("{started:?}") };
    assert!(memory > 612 * MIB as i64, "it had 512Mi: {memory}");
}

#[test]
fn the_learned_size_survives_a_restart_and_is_forgotten_when_no_longer_declared() {
    let bench = used_for(initial(), 61);
    let service = bench.control.knowledge().service(&ServiceName::parse("shop").unwrap()).unwrap();
    let memory: Memory = service.memory();
    assert!(memory.usage.samples >= 60);

    let mut again = Bench::new();
    again.declare(declared(1, 1, initial()));
    again.put(&Input::Remembered(Arc::new(memory)));
    again.inventory(vec![observed("shop-0", 1, READY)]);
    again.sent.clear();
    again.declare(declared(2, 2, initial()));
    let started = started_with(&again.sent);
    assert!(started.iter().all(|(cpu, _)| *cpu < 130), "{started:?}");

    again.declare(declared(3, 2, None));
    let service = again.control.knowledge().service(&ServiceName::parse("shop").unwrap()).unwrap();
    assert_eq!(service.usage, UsageProfile::default());
}

#[test]
fn throttling_and_losses_survive_a_restart_without_vertical_scaling() {
    let mut bench = Bench::new();
    bench.declare(declared(1, 1, None));
    bench.inventory(vec![observed("shop-0", 1, READY)]);
    for windows in 0..=61 {
        bench.now = bench.now + Duration::from_secs(10);
        let counted = Throttling { windows: windows * 100, throttled: windows * 40, waited: Duration::ZERO };
        let held = Usage { throttling: Some(counted), ..usage(0, Duration::ZERO) };
        bench.put(&Input::Report(Report::Usage(vec![held])));
    }
    let exit = Exit { status: ExitStatus::Signal(9), out_of_memory: false, ran_for: Duration::from_mins(10) };
    bench.put(&Input::Report(Report::Replica(observed("shop-0", 1, ReplicaState::Exited(exit)))));
    let shop = ServiceName::parse("shop").unwrap();
    let memory: Memory = bench.control.knowledge().service(&shop).unwrap().memory();
    assert_eq!((memory.throttling.minutes, memory.throttling.limit), (10, MilliCpu(250)));
    assert_eq!(memory.losses.at, [bench.now]);

    let mut again = Bench::new();
    again.declare(declared(1, 1, None));
    again.put(&Input::Remembered(Arc::new(memory.clone())));
    let service = again.control.knowledge().service(&shop).unwrap();
    assert_eq!((&service.throttling, &service.losses), (&memory.throttling, &memory.losses));
    let share = knowledge::throttled_share(&service.throttling, Quantity::from_milli(250));
    assert!(share.is_some_and(|share| (0.4..0.43).contains(&share)), "{share:?}");
}
