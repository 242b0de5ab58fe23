//! Healing of replicas that exit or fail their liveness probe.

use model::action::FailureKind;
use model::event::EventKind;
use model::identity::Generation;
use model::input::{Declared, Exit, ExitStatus, ReplicaState};
use model::reason::{Reason, StormScope};

use crate::bench::{READY, fixed};
use crate::world::{UNREADY, World, code, failed, ms, seconds};

#[test]
fn a_ready_replica_that_is_killed_is_restarted_in_the_same_step() {
    let mut world = World::with([fixed("shop", 1, 2)]);
    world.kill("shop-1");
    assert_eq!(world.take_sent(), ["start shop-1/2 serving"]);
    assert_eq!(world.count_events(EventKind::Exited), 1);
}

#[test]
fn the_second_restart_in_a_row_waits_a_second() {
    let mut world = World::with([fixed("shop", 1, 1)]);
    world.kill("shop-0");
    world.carry_out();
    world.take_sent();

    world.kill("shop-0");
    world.advance(ms(999));
    assert!(world.take_sent().is_empty());
    assert!(matches!(world.waits("shop")[..], [Reason::Backoff { restarts: 1, .. }]));
    world.advance(ms(1));
    assert_eq!(world.take_sent(), ["start shop-0/3 serving"]);
}

#[test]
fn after_five_healthy_minutes_a_restart_is_immediate_again() {
    let mut world = World::with([fixed("shop", 1, 1)]);
    world.kill("shop-0");
    world.run_for(seconds(301));
    world.take_sent();
    world.kill("shop-0");
    assert_eq!(world.take_sent(), ["start shop-0/3 serving"]);
}

#[test]
fn a_replica_that_was_healthy_is_restarted_at_once_even_if_its_readiness_failed_before() {
    let mut world = World::with([fixed("shop", 1, 1)]);
    world.kill("shop-0");
    world.run_for(seconds(301));
    world.take_sent();
    world.report_state("shop-0", UNREADY);
    world.advance(seconds(2));
    world.kill("shop-0");
    assert_eq!(world.take_sent(), ["start shop-0/3 serving"]);
}

#[test]
fn the_waits_in_a_crash_loop_grow_up_to_ten_minutes() {
    let mut world = World::with([fixed("shop", 1, 1)]);
    let mut tries = Vec::new();
    let mut ended = world.now;
    for _ in 0..20 {
        world.report_state(
            "shop-0",
            ReplicaState::Exited(Exit { ran_for: seconds(3), ..crate::world::killed() }),
        );
        while world.take_sent().is_empty() {
            world.advance(ms(100));
        }
        tries.push(world.now.since(ended));
        world.carry_out_unready();
        world.take_sent();
        world.advance(seconds(3));
        ended = world.now;
    }
    assert_eq!(tries[0], seconds(0));
    assert!(tries[1..4].iter().all(|wait| (seconds(1)..=seconds(60)).contains(wait)), "{tries:?}");
    assert!((seconds(10)..=seconds(180)).contains(&tries[4]) && tries[4..].is_sorted(), "{tries:?}");
    assert_eq!(tries.last(), Some(&seconds(600)));
}

#[test]
fn a_crash_loop_is_reported_once_while_it_waits() {
    let mut world = World::with([fixed("shop", 1, 1)]);
    for _ in 0..4 {
        world.kill("shop-0");
        world.carry_out_unready();
        world.advance(seconds(61));
        world.carry_out_unready();
    }
    world.kill("shop-0");
    let waiting = world.count_events(EventKind::Waiting);
    assert!(matches!(world.waits("shop")[..], [Reason::CrashLoop { exits: 5, .. }]));
    world.advance(seconds(9));
    assert_eq!(world.count_events(EventKind::Waiting), waiting);
}

#[test]
fn two_healthy_minutes_end_a_crash_loop() {
    let mut world = World::with([fixed("shop", 1, 1)]);
    for _ in 0..5 {
        world.kill("shop-0");
        world.carry_out_unready();
        world.advance(seconds(61));
        world.carry_out_unready();
    }
    world.advance(seconds(600));
    world.carry_out_unready();
    world.report_state("shop-0", READY);
    world.advance(seconds(120));
    world.take_sent();
    world.kill("shop-0");
    world.advance(seconds(60));
    let sent = world.take_sent();
    assert!(sent.first().is_some_and(|action| action == "start shop-0/7 serving"), "{sent:?}");
}

#[test]
fn a_replica_that_finishes_is_started_again_after_a_second() {
    let mut world = World::with([fixed("shop", 1, 1)]);
    world.report_state("shop-0", code(0));
    world.advance(ms(999));
    assert!(world.take_sent().is_empty());
    world.advance(ms(1));
    assert_eq!(world.take_sent(), ["start shop-0/2 serving"]);
}

#[test]
fn a_replica_that_refuses_its_configuration_waits_a_minute() {
    let mut world = World::with([fixed("shop", 1, 1)]);
    let exit = Exit { status: ExitStatus::Code(78), out_of_memory: false, ran_for: ms(20) };
    world.report_state("shop-0", ReplicaState::Exited(exit));
    world.advance(ms(59_999));
    assert!(world.take_sent().is_empty());
    world.advance(ms(1));
    assert_eq!(world.take_sent(), ["start shop-0/2 serving"]);
}

#[test]
fn a_declaration_that_cannot_be_run_is_tried_once_a_minute() {
    let mut world = World::started();
    world.declare(fixed("shop", 1, 1));
    world.report_inventory([]);
    world.take_sent();
    world.end_action("start", failed(FailureKind::Declaration));
    assert_eq!(world.count_events(EventKind::ActionFailed), 1);
    let until = world.now + seconds(60);
    let why = Reason::StartFailed { cause: "it could not be done".into(), until };
    assert_eq!(world.waits("shop"), [why], "the wait names the cause");
    world.advance(ms(59_999));
    assert!(world.take_sent().is_empty());
    world.advance(ms(1));
    assert_eq!(world.take_sent(), ["start shop-0/2 serving"]);
    world.carry_out_unready();
    world.kill("shop-0");
    assert!(!matches!(world.waits("shop")[..], [Reason::StartFailed { .. }]), "the program ran");
}

#[test]
fn a_port_in_use_is_tried_again_after_a_growing_wait() {
    let mut world = World::started();
    world.declare(fixed("shop", 1, 1));
    world.report_inventory([]);
    world.take_sent();
    world.end_action("start", failed(FailureKind::AddressInUse));
    world.advance(ms(999));
    assert!(world.take_sent().is_empty());
    world.advance(ms(1));
    assert_eq!(world.take_sent(), ["start shop-0/2 serving"]);

    world.end_action("start", failed(FailureKind::AddressInUse));
    world.advance(ms(999));
    assert!(world.take_sent().is_empty());
    world.advance(ms(2001));
    assert_eq!(world.take_sent(), ["start shop-0/3 serving"]);
}

#[test]
fn a_failed_liveness_probe_restarts_only_after_its_grace() {
    let mut world = World::with([fixed("shop", 1, 4)]);
    world.fail_liveness("shop-2");
    world.advance(ms(29_999));
    assert!(world.take_sent().is_empty());
    world.advance(ms(1));
    assert_eq!(world.take_sent(), ["stop shop-2/1"]);
    world.carry_out_unready();
    assert_eq!(world.take_sent(), ["start shop-2/2 serving"]);
}

#[test]
fn a_liveness_probe_that_passes_again_in_time_restarts_nothing() {
    let mut world = World::with([fixed("shop", 1, 4)]);
    world.fail_liveness("shop-2");
    world.advance(seconds(29));
    world.report_state("shop-2", READY);
    world.run_for(seconds(120));
    assert!(world.take_sent().is_empty());
}

#[test]
fn one_replica_at_a_time_is_restarted_for_its_liveness_probe() {
    let mut world = World::with([fixed("shop", 1, 8)]);
    world.fail_liveness("shop-2");
    world.fail_liveness("shop-5");
    world.run_for(seconds(30));
    assert_eq!(world.take_sent(), ["stop shop-2/1", "start shop-2/2 serving"]);
    world.run_for(ms(29_900));
    assert!(world.take_sent().is_empty());
    world.run_for(ms(100));
    assert_eq!(world.take_sent(), ["stop shop-5/1", "start shop-5/2 serving"]);
}

#[test]
fn when_three_of_eight_fail_together_none_is_restarted_during_the_overload() {
    let mut world = World::with([fixed("shop", 1, 8)]);
    for replica in ["shop-1", "shop-2", "shop-3"] {
        world.fail_liveness(replica);
    }
    world.run_for(seconds(599));
    assert!(world.take_sent().is_empty());
    assert_eq!(world.count_events(EventKind::HealingSuspended), 1);
    assert!(world.waits("shop").contains(&Reason::Overload { failing: 3, of: 8 }));

    world.report_state("shop-1", READY);
    assert_eq!(world.count_events(EventKind::HealingResumed), 1);
    assert_eq!(world.take_sent(), ["stop shop-2/1"], "two of eight are not an overload");
}

#[test]
fn replicas_that_hang_for_ten_minutes_are_restarted_one_at_a_time() {
    let mut world = World::with([fixed("shop", 1, 4)]);
    for place in 0..4 {
        world.fail_liveness(&format!("shop-{place}"));
    }
    world.run_for(seconds(600));
    assert_eq!(world.take_sent(), ["stop shop-0/1", "start shop-0/2 serving"]);
    world.run_for(seconds(29));
    assert!(world.take_sent().is_empty());
    world.run_for(seconds(2));
    assert_eq!(world.take_sent(), ["stop shop-1/1", "start shop-1/2 serving"]);
}

#[test]
fn two_of_six_failing_replicas_are_an_overload_and_one_of_two_is_not() {
    let mut world = World::with([fixed("six", 1, 6), fixed("two", 1, 2)]);
    for replica in ["six-0", "six-1", "two-0"] {
        world.fail_liveness(replica);
    }
    world.run_for(seconds(31));
    assert_eq!(world.take_sent(), ["stop two-0/1", "start two-0/2 serving"]);
}

#[test]
fn at_most_ten_restarts_a_minute_are_made_on_a_node() {
    let mut world = World::with([fixed("shop", 1, 12)]);
    for place in 0..12 {
        world.kill(&format!("shop-{place}"));
    }
    let begun = world.now;
    assert_eq!(world.take_sent().len(), 10);
    let until = begun + seconds(60);
    let limited = Reason::StormLimit { scope: StormScope::Node, until };
    assert_eq!(world.waits("shop"), [limited.clone(), limited]);
    world.run_for(ms(59_999));
    assert!(world.take_sent().is_empty());
    world.run_for(seconds(2));
    assert_eq!(world.take_sent(), ["start shop-10/2 serving", "start shop-11/2 serving"]);
}

#[test]
fn a_limit_on_restarts_is_reported_once_for_each_replica_that_waits_for_it() {
    let mut world = World::with([fixed("shop", 1, 40)]);
    for place in 0..40 {
        world.kill(&format!("shop-{place}"));
        world.run_for(seconds(1));
    }
    world.run_for(seconds(180));
    assert_eq!(world.service("shop").serving(), 40);
    let waiting = world.count_events(EventKind::Waiting);
    assert!((1..=40).contains(&waiting), "{waiting} events");
}

/// Lets the three replicas of a service end at once again and again, until the limit on restarts holds them back.
fn use_up_restarts(world: &mut World, service: &str) {
    let failed =
        ReplicaState::Exited(Exit { status: ExitStatus::Code(3), out_of_memory: false, ran_for: ms(3) });
    for _ in 0..18 {
        for place in 0..3 {
            world.report_state(&format!("{service}-{place}"), failed);
        }
        world.carry_out_unready();
        world.advance(seconds(1));
    }
    assert!(world.waits(service).iter().any(|wait| matches!(wait, Reason::StormLimit { .. })));
    world.take_sent();
}

#[test]
fn a_healthy_replica_is_restarted_at_once_while_another_service_is_in_a_crash_loop() {
    let mut world = World::with([fixed("bad", 1, 3), fixed("shop", 1, 1)]);
    world.run_for(seconds(125));
    world.take_sent();
    use_up_restarts(&mut world, "bad");
    world.kill("shop-0");
    assert_eq!(world.take_sent(), ["start shop-0/2 serving"]);
}

#[test]
fn a_corrected_version_is_started_at_once_whatever_the_broken_one_used_up() {
    let mut world = World::with([fixed("shop", 1, 3)]);
    world.take_sent();
    use_up_restarts(&mut world, "shop");
    world.declare(Declared { generation: Generation(2), ..fixed("shop", 2, 3) });
    world.run_for(seconds(2));
    let sent = world.take_sent();
    assert_eq!(sent.iter().filter(|action| action.starts_with("start shop-")).count(), 3, "{sent:?}");
    assert_eq!(world.waits("shop"), []);
}

#[test]
fn first_starts_do_not_count_as_a_restart_storm() {
    let mut world = World::started();
    world.declare(fixed("shop", 1, 40));
    world.report_inventory([]);
    assert_eq!(world.take_sent().len(), 40);
}
