//! Ends of lives, by themselves or by a stop.

use std::time::Duration;

use ::platform::{Event, LifeState, StopRequest};
use model::action::{Outcome, Refusal};
use model::identity::{Incarnation, Ordinal};
use model::input::ExitStatus;
use serde_json::json;

use super::cases;
use super::world::{World, is_alive, reported_exit, wait_until};

cases![
    an_end_is_reported_with_its_code,
    an_end_is_reported_with_its_signal,
    the_end_of_the_main_process_ends_all_that_it_started,
    a_stop_lets_the_program_end_by_itself,
    a_stop_sends_the_declared_signal,
    a_process_group_that_ignores_the_signal_is_killed_after_the_grace,
    a_second_stop_can_shorten_the_grace,
    an_end_is_reported_before_the_stop_is_applied,
    a_repeated_stop_is_applied,
    a_stop_of_another_life_is_refused,
];

/// Long enough that no case reaches it.
const LONG: Duration = Duration::from_secs(3600);

async fn an_end_is_reported_with_its_code(world: &mut World) {
    let mut events = world.platform().events();
    let life = world.start("exit 7").await;
    let (reported, exit) = reported_exit(&mut events).await;
    assert_eq!(exit.status, ExitStatus::Code(7));
    assert!(!exit.out_of_memory);
    assert_eq!(
        (&reported.replica, reported.incarnation, reported.pid),
        (&life.replica, life.incarnation, life.pid)
    );
    assert_eq!(world.only_life().await.state, LifeState::Exited(exit));
}

async fn an_end_is_reported_with_its_signal(world: &mut World) {
    let mut events = world.platform().events();
    world.start("kill -SEGV $$").await;
    assert_eq!(reported_exit(&mut events).await.1.status, ExitStatus::Signal(11));
}

async fn the_end_of_the_main_process_ends_all_that_it_started(world: &mut World) {
    let mut events = world.platform().events();
    let pids = world.file("pids").display().to_string();
    world
        .start(&format!("sleep 50 & echo $! >> {pids}; (trap '' TERM; sleep 50 & echo $! >> {pids}); exit 3"))
        .await;
    assert_eq!(reported_exit(&mut events).await.1.status, ExitStatus::Code(3));
    for pid in world.lines_of("pids", 2).await {
        wait_until("the end of a child", || (!is_alive(&pid)).then_some(())).await;
    }
}

async fn a_stop_lets_the_program_end_by_itself(world: &mut World) {
    let ready = world.file("ready").display().to_string();
    let life = world
        .start(&format!("trap 'exit 5' TERM; echo ready > {ready}; while :; do sleep 50 & wait $!; done"))
        .await;
    world.lines_of("ready", 1).await;
    assert_eq!(world.stop(&life, LONG).await, Outcome::Applied);
    assert_eq!(world.exit_in_inventory().await.status, ExitStatus::Code(5));
}

async fn a_stop_sends_the_declared_signal(world: &mut World) {
    let ready = world.file("ready").display().to_string();
    let script = format!(
        "trap '' TERM; trap 'exit 6' INT; echo ready > {ready}; while :; do sleep 50 & wait $!; done"
    );
    let request = world.request_of(&json!({
        "run": {"command": ["/bin/sh", "-c", script]},
        "stop": {"signal": "SIGINT"},
    }));
    let life = world.start_as(request).await;
    world.lines_of("ready", 1).await;
    assert_eq!(world.stop(&life, LONG).await, Outcome::Applied);
    assert_eq!(world.exit_in_inventory().await.status, ExitStatus::Code(6));
}

async fn a_process_group_that_ignores_the_signal_is_killed_after_the_grace(world: &mut World) {
    let pids = world.file("pids").display().to_string();
    let life = world
        .start(&format!(
            "trap '' TERM; echo $$ >> {pids}; (sleep 50 & echo $! >> {pids}; sleep 50 & echo $! >> {pids}; wait) & \
             while :; do sleep 50; done"
        ))
        .await;
    let ignoring = world.lines_of("pids", 3).await;
    assert_eq!(world.stop(&life, Duration::from_millis(200)).await, Outcome::Applied);
    assert_eq!(world.exit_in_inventory().await.status, ExitStatus::Signal(9));
    for pid in ignoring {
        wait_until("the end of a process that ignores the signal", || (!is_alive(&pid)).then_some(())).await;
    }
}

async fn a_second_stop_can_shorten_the_grace(world: &mut World) {
    let ready = world.file("ready").display().to_string();
    let life = world.start(&format!("trap '' TERM; echo ready > {ready}; while :; do sleep 50; done")).await;
    world.lines_of("ready", 1).await;
    let patient = StopRequest {
        action: world.next_action(),
        replica: life.replica.clone(),
        incarnation: life.incarnation,
        grace: LONG,
    };
    let hasty =
        StopRequest { action: world.next_action(), grace: Duration::from_millis(50), ..patient.clone() };
    let (first, second) = tokio::join!(world.platform().stop(patient), world.platform().stop(hasty));
    assert_eq!((first, second), (Outcome::Applied, Outcome::Applied));
}

async fn an_end_is_reported_before_the_stop_is_applied(world: &mut World) {
    let mut events = world.platform().events();
    // Both happen within microseconds, so a wrong order would show only in some of many tries.
    for incarnation in 1..=100 {
        let mut request = world.request("exec sleep 50");
        request.incarnation = Incarnation(incarnation);
        let life = world.start_as(request).await;
        assert_eq!(world.stop(&life, LONG).await, Outcome::Applied);
        let event = events.try_recv().expect("the end is reported already");
        assert!(matches!(event, Event::Ended(reported) if reported.incarnation == life.incarnation));
    }
}

async fn a_repeated_stop_is_applied(world: &mut World) {
    let life = world.start("exec sleep 60").await;
    for _ in 0..2 {
        assert_eq!(world.stop(&life, LONG).await, Outcome::Applied);
    }
    let mut never_started = life;
    never_started.replica.ordinal = Ordinal(9);
    assert_eq!(world.stop(&never_started, LONG).await, Outcome::Applied);
}

async fn a_stop_of_another_life_is_refused(world: &mut World) {
    let life = world.start("exec sleep 60").await;
    let mut other = life.clone();
    other.incarnation = Incarnation(2);
    let outcome = world.stop(&other, Duration::ZERO).await;
    assert_eq!(outcome, Outcome::Refused(Refusal::OtherIncarnation));
    assert_eq!(world.only_life().await.state, LifeState::Running);
}
