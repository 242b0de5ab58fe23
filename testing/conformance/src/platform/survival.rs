//! Guarantees across restarts of the driver.

use std::time::Duration;

use ::platform::{Life, LifeState, StartRequest};
use model::action::{Outcome, Refusal};
use model::identity::{ActionId, Epoch, Incarnation};
use model::input::ExitStatus;

use super::cases;
use super::world::{World, in_time, is_alive, reported_exit, wait_until};

cases![
    replicas_outlive_the_driver_and_are_adopted_by_the_next,
    the_end_of_an_adopted_replica_is_reported,
    an_adopted_replica_can_be_stopped,
    an_end_without_a_driver_is_in_the_next_inventory,
    the_next_inventory_says_which_lives_are_used,
    an_action_that_was_applied_is_applied_once_over_a_restart,
    an_older_epoch_is_refused_also_after_a_restart,
    a_log_outlives_replicas_and_drivers,
    a_log_can_be_followed,
];

/// The same life, adopted by the next driver.
fn adopted(life: &Life) -> Life {
    Life { adopted: true, ..life.clone() }
}

async fn replicas_outlive_the_driver_and_are_adopted_by_the_next(world: &mut World) {
    let life = world.start("exec sleep 60").await;
    world.reopen().await;
    assert_eq!(world.only_life().await, adopted(&life));
    assert!(is_alive(&pid_of(&life)));
}

async fn the_end_of_an_adopted_replica_is_reported(world: &mut World) {
    let trigger = world.file("trigger");
    let life = world.start(&format!("until [ -e {} ]; do sleep 0.01; done; exit 4", trigger.display())).await;
    world.reopen().await;
    let mut events = world.platform().events();
    std::fs::write(&trigger, "").expect("the folder can be written to");
    let (reported, exit) = reported_exit(&mut events).await;
    assert_eq!(reported.replica, life.replica);
    // The code is known only if the new driver is in the parent process of the replica.
    assert!(matches!(exit.status, ExitStatus::Code(4) | ExitStatus::Unknown), "{exit:?}");
}

async fn an_adopted_replica_can_be_stopped(world: &mut World) {
    let life = world.start("trap '' TERM; while :; do sleep 50; done").await;
    world.reopen().await;
    assert_eq!(world.stop(&life, Duration::from_millis(50)).await, Outcome::Applied);
    assert!(!is_alive(&pid_of(&life)));
}

async fn an_end_without_a_driver_is_in_the_next_inventory(world: &mut World) {
    let trigger = world.file("trigger");
    let life = world.start(&format!("until [ -e {} ]; do sleep 0.01; done; exit 4", trigger.display())).await;
    let pid = pid_of(&life);
    world
        .close_then(async {
            std::fs::write(&trigger, "").expect("the folder can be written to");
            wait_until("the end of the replica", || (!is_alive(&pid)).then_some(())).await;
        })
        .await;
    let exit = world.exit_in_inventory().await;
    assert!(matches!(exit.status, ExitStatus::Code(4) | ExitStatus::Unknown), "{exit:?}");
}

async fn the_next_inventory_says_which_lives_are_used(world: &mut World) {
    let mut first = world.request("exec sleep 60");
    first.incarnation = Incarnation(5);
    let life = world.start_as(first.clone()).await;
    assert_eq!(world.stop(&life, Duration::ZERO).await, Outcome::Applied);
    world.reopen().await;
    let known = world.only_life().await.incarnation;
    let used = StartRequest { action: world.next_action(), ..first.clone() };
    let refused = Outcome::Refused(Refusal::OtherIncarnation);
    assert_eq!(world.platform().start(used).await.outcome, refused);
    let (action, incarnation) = (world.next_action(), Incarnation(known.0 + 1));
    let next = StartRequest { action, incarnation, ..first };
    assert_eq!(world.start_as(next).await.incarnation, incarnation);
}

async fn an_action_that_was_applied_is_applied_once_over_a_restart(world: &mut World) {
    let script = format!("echo begun >> {}; exec sleep 60", world.file("begun").display());
    let request = world.request(&script);
    let life = world.start_as(request.clone()).await;
    world.lines_of("begun", 1).await;
    world.reopen().await;
    assert_eq!(world.start_as(request).await, adopted(&life));
    assert_eq!(world.lines_of("begun", 1).await.len(), 1, "the program was started once");
}

async fn an_older_epoch_is_refused_also_after_a_restart(world: &mut World) {
    world.epoch = Epoch(7);
    let request = world.request("exec sleep 60");
    let life = world.start_as(request.clone()).await;
    for restarted in [false, true] {
        if restarted {
            world.reopen().await;
        }
        world.epoch = Epoch(6);
        let mut stale = request.clone();
        stale.action = ActionId { epoch: Epoch(6), sequence: 99 };
        stale.replica.ordinal.0 = 1;
        assert_eq!(world.platform().start(stale).await.outcome, Outcome::Refused(Refusal::StaleEpoch));
        assert_eq!(world.stop(&life, Duration::ZERO).await, Outcome::Refused(Refusal::StaleEpoch));
        assert_eq!(world.only_life().await.state, LifeState::Running);
    }
    world.epoch = Epoch(8);
}

async fn a_log_outlives_replicas_and_drivers(world: &mut World) {
    let trigger = world.file("trigger");
    let script = format!(
        "echo to stdout; echo to stderr >&2; until [ -e {} ]; do sleep 0.01; done; echo after",
        trigger.display()
    );
    let life = world.start(&script).await;
    world.reopen().await;
    std::fs::write(&trigger, "").expect("the folder can be written to");
    world.exit_in_inventory().await;
    world.reopen().await;
    let mut log = world.platform().logs(&life.replica, 10).await.expect("there is a log");
    let mut texts = Vec::new();
    while let Some(line) = log.next_present().await.expect("it can be read") {
        texts.push(line.text);
    }
    assert_eq!(texts, ["to stdout", "to stderr", "after"]);
}

async fn a_log_can_be_followed(world: &mut World) {
    let trigger = world.file("trigger");
    let script =
        format!("echo one; until [ -e {} ]; do sleep 0.01; done; echo two; exec sleep 60", trigger.display());
    let life = world.start(&script).await;
    let mut log = world.platform().logs(&life.replica, 10).await.expect("there is a log");
    assert_eq!(in_time("the first line", log.next()).await.expect("it can be read").text, "one");
    std::fs::write(&trigger, "").expect("the folder can be written to");
    assert_eq!(in_time("the second line", log.next()).await.expect("it can be read").text, "two");
}

fn pid_of(life: &Life) -> String {
    life.pid.expect("a running replica has a process").to_string()
}
