//! Bugs of the loop that the simulator has found, each as the smallest test that shows it.

use std::time::Duration;

use model::identity::{Generation, Incarnation};
use model::input::{Declared, Input, Intent, Observed, ReplicaState};
use model::resource::Recover;

use crate::bench::{Bench, READY, autoscaled, finished, fixed, name, replica};

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn a_place_that_is_opened_again_continues_its_incarnations() {
    let mut bench = Bench::new();
    bench.declare(fixed("shop", 1, 2));
    bench.inventory(vec![]);
    bench.run_for(MINUTE);
    bench.declare(fixed("shop", 2, 1));
    bench.run_for(MINUTE);
    assert_eq!(bench.lives("shop"), [(0, 1)]);
    bench.declare(fixed("shop", 3, 2));
    bench.run_for(MINUTE);
    assert_eq!(bench.lives("shop"), [(0, 1), (1, 2)]);
}

#[test]
fn a_service_that_is_declared_again_continues_its_incarnations() {
    let mut bench = Bench::new();
    bench.declare(fixed("shop", 1, 1));
    bench.inventory(vec![]);
    bench.run_for(MINUTE);
    bench.put(&Input::Intent(Intent::Withdraw(name("shop"))));
    bench.run_for(MINUTE);
    assert!(bench.control.knowledge().service(&name("shop")).is_none(), "it is gone");
    bench.declare(fixed("shop", 2, 1));
    bench.run_for(MINUTE);
    assert_eq!(bench.lives("shop"), [(0, 2)]);
}

#[test]
fn an_incarnation_that_the_node_knows_is_not_started_again() {
    let mut bench = Bench::new();
    bench.declare(fixed("shop", 1, 1));
    let ended = Observed {
        replica: replica("shop", 0),
        incarnation: Incarnation(5),
        generation: Generation(1),
        state: ReplicaState::Exited(finished()),
    };
    bench.inventory(vec![ended]);
    bench.run_for(MINUTE);
    assert_eq!(bench.lives("shop"), [(0, 6)]);
}

#[test]
fn a_hold_that_has_ended_has_no_effect() {
    let mut bench = Bench::new();
    bench.declare(fixed("shop", 1, 1));
    bench.inventory(vec![]);
    let until = Some(bench.now + MINUTE);
    bench.put(&Input::Intent(Intent::Hold { service: name("shop"), replicas: 3, until }));
    bench.run_for(MINUTE / 2);
    assert_eq!(bench.desired("shop"), Some(3));
    bench.run_for(MINUTE);
    assert_eq!((bench.desired("shop"), bench.lives("shop").len()), (Some(1), 1));
}

#[test]
fn an_autoscaler_resumes_after_a_hold_at_zero() {
    let mut bench = Bench::new();
    bench.declare(autoscaled("shop", 2, 5));
    bench.inventory(vec![]);
    bench.put(&Input::Intent(Intent::Hold { service: name("shop"), replicas: 0, until: None }));
    bench.run_for(MINUTE);
    assert_eq!(bench.desired("shop"), Some(0));
    bench.put(&Input::Intent(Intent::Release(name("shop"))));
    bench.run_for(MINUTE);
    assert_eq!(bench.desired("shop"), Some(2));
}

#[test]
fn a_new_version_replaces_one_that_never_became_ready() {
    let mut bench = Bench::new();
    bench.declare(fixed("shop", 1, 2));
    bench.inventory(vec![]);
    bench.run_for(MINUTE);
    bench.declare(Declared { generation: Generation(2), ..fixed("shop", 2, 2) });
    // It starts, and never becomes ready.
    bench.put(&Input::Woke);
    bench.sent.clear();
    bench.see(&replica("shop", 2), Incarnation(1), Generation(2), ReplicaState::Starting);
    bench.declare(Declared { generation: Generation(3), ..fixed("shop", 3, 2) });
    bench.run_for(2 * MINUTE);
    let generations: Vec<_> = bench
        .control
        .knowledge()
        .service(&name("shop"))
        .unwrap()
        .places
        .values()
        .map(|p| p.generation.0)
        .collect();
    assert_eq!(generations, [3, 3]);
}

#[test]
fn a_new_declaration_ends_the_wait_in_a_crash_loop() {
    let mut bench = Bench::new();
    bench.declare(fixed("shop", 1, 1));
    bench.inventory(vec![]);
    for life in 1..=5 {
        bench.run_for(MINUTE);
        bench.see(&replica("shop", 0), Incarnation(life), Generation(1), ReplicaState::Exited(finished()));
    }
    bench.run_for(Duration::from_secs(9));
    assert_eq!(bench.lives("shop"), [(0, 5)], "it waits");
    bench.declare(Declared { generation: Generation(2), ..fixed("shop", 2, 1) });
    bench.run_for(Duration::from_millis(500));
    assert_eq!(bench.lives("shop"), [(1, 1)], "it runs, and the earlier version needs no other try");
}

#[test]
fn replicas_that_all_hang_are_restarted_after_a_while() {
    let mut bench = Bench::new();
    bench.declare(fixed("shop", 1, 3));
    bench.inventory(vec![]);
    bench.run_for(MINUTE);
    for ordinal in 0..3 {
        let hung = ReplicaState::Running { ready: false, live: false };
        bench.see(&replica("shop", ordinal), Incarnation(1), Generation(1), hung);
    }
    bench.run_for(5 * MINUTE);
    assert_eq!(bench.lives("shop"), [(0, 1), (1, 1), (2, 1)], "a failure of all is an overload");
    bench.run_for(10 * MINUTE);
    assert_eq!(bench.lives("shop"), [(0, 2), (1, 2), (2, 2)]);
}

#[test]
fn a_listener_of_an_earlier_run_without_a_declaration_is_closed() {
    let mut bench = Bench::new();
    bench.put(&Input::Remembered(std::sync::Arc::new(remembered("shop", 1))));
    bench.inventory(vec![]);
    bench.put(&Input::Woke);
    let verbs: Vec<_> = bench.sent.iter().map(|action| action.kind.verb()).collect();
    assert!(verbs.contains(&"conceal"), "{verbs:?}");
}

fn remembered(service: &str, desired: u32) -> model::memory::Memory {
    model::memory::Memory { desired: Some(desired), ..model::memory::Memory::blank(name(service)) }
}

#[test]
fn a_restart_of_the_loop_stops_no_spare() {
    let mut bench = Bench::new();
    let mut declared = fixed("shop", 1, 2);
    declared.spec.recover = Recover::Standby { spares: 1 };
    bench.declare(declared);
    bench.put(&Input::Remembered(std::sync::Arc::new(remembered("shop", 2))));
    let running = |ordinal| Observed {
        replica: replica("shop", ordinal),
        incarnation: Incarnation(1),
        generation: Generation(1),
        state: READY,
    };
    bench.inventory((0..3).map(running).collect());
    bench.run_for(MINUTE);
    assert_eq!(bench.lives("shop"), [(0, 1), (1, 1), (2, 1)]);
}
