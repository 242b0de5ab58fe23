//! Who takes over from a replica that is lost, by strategy.

use model::event::EventKind;
use model::input::Declared;
use model::resource::Recover;

use crate::bench::{READY, fixed};
use crate::world::{World, seconds};

fn recovering(replicas: u32, recover: Recover) -> Declared {
    let mut declared = fixed("shop", 1, replicas);
    declared.spec.recover = recover;
    declared
}

#[test]
fn a_spare_is_started_beside_the_replicas_wanted_and_gets_no_traffic() {
    let mut world = World::begun();
    world.declares(recovering(2, Recover::Standby { spares: 1 }));
    world.finds([]);
    assert_eq!(
        world.take_sent(),
        ["start shop-2/1 spare", "start shop-0/1 serving", "start shop-1/1 serving"]
    );
}

#[test]
fn a_ready_spare_is_promoted_in_the_step_in_which_a_replica_dies() {
    let mut world = World::with([recovering(2, Recover::Standby { spares: 1 })]);
    world.kills("shop-0");
    assert_eq!(world.take_sent(), ["admit shop-2/1 serving", "start shop-0/2 spare"]);

    world.obeys();
    world.kills("shop-1");
    assert_eq!(world.take_sent(), ["admit shop-0/2 serving", "start shop-1/2 spare"]);
}

#[test]
fn a_spare_that_is_not_ready_is_not_promoted() {
    let mut world = World::with([recovering(2, Recover::Standby { spares: 1 })]);
    world.kills("shop-2");
    world.applies();
    world.take_sent();
    world.kills("shop-0");
    assert_eq!(world.take_sent(), ["start shop-0/2 serving"]);
}

#[test]
fn a_sick_replica_gives_its_traffic_to_the_spare_at_once() {
    let mut world = World::with([recovering(2, Recover::Standby { spares: 1 })]);
    world.sickens("shop-1");
    assert_eq!(world.take_sent(), ["admit shop-2/1 serving", "admit shop-1/1 spare"]);
}

#[test]
fn the_most_active_replica_carries_two_shares_until_the_lost_one_serves_again() {
    let mut world = World::with([recovering(3, Recover::MostActive)]);
    for (replica, requests) in [("shop-0", 50), ("shop-1", 10), ("shop-2", 70)] {
        world.serves(replica, requests, 1);
    }
    world.kills("shop-1");
    assert_eq!(world.take_sent(), ["admit shop-2/1 serving x2", "start shop-1/2 serving"]);
    world.applies();
    assert!(world.take_sent().is_empty(), "it runs, and does not serve yet");

    world.sees("shop-1", READY);
    assert_eq!(world.take_sent(), ["admit shop-2/1 serving"]);
    assert_eq!((world.heard(EventKind::TookOver), world.heard(EventKind::StoodDown)), (1, 1));
}

#[test]
fn a_survivor_chosen_by_chance_carries_two_shares() {
    let mut world = World::with([recovering(3, Recover::Random)]);
    world.kills("shop-0");
    let sent = world.take_sent();
    let is_survivor = ["admit shop-1/1 serving x2", "admit shop-2/1 serving x2"].contains(&sent[0].as_str());
    assert!(is_survivor && sent[1..] == ["start shop-0/2 serving"], "{sent:?}");

    world.obeys();
    assert_eq!(world.take_sent().len(), 1, "it stands down");
}

#[test]
fn a_stand_in_that_dies_is_replaced() {
    let mut world = World::with([recovering(3, Recover::MostActive)]);
    world.serves("shop-1", 10, 1);
    world.kills("shop-0");
    assert_eq!(world.take_sent(), ["admit shop-1/1 serving x2", "start shop-0/2 serving"]);
    world.applies();
    // The second end of the place waits, so it stays lost for a while.
    world.kills("shop-0");
    world.take_sent();

    world.kills("shop-1");
    assert_eq!(world.take_sent(), ["admit shop-2/1 serving x2", "start shop-1/2 serving"]);
}

#[test]
fn a_loss_without_a_survivor_is_only_restarted() {
    for recover in [Recover::MostActive, Recover::Random, Recover::Standby { spares: 1 }] {
        let mut world = World::with([recovering(1, recover)]);
        if recover == (Recover::Standby { spares: 1 }) {
            world.kills("shop-1");
            world.applies();
            world.take_sent();
        }
        world.kills("shop-0");
        assert_eq!(world.take_sent(), ["start shop-0/2 serving"], "{recover:?}");
    }
}

#[test]
fn spares_that_are_wanted_no_more_are_stopped() {
    let mut world = World::with([recovering(2, Recover::Standby { spares: 2 })]);
    let mut fewer = recovering(2, Recover::Standby { spares: 1 });
    fewer.revision.0 = 2;
    world.declares(fewer);
    world.lives_for(seconds(20));
    assert_eq!(world.take_sent(), ["stop shop-3/1"]);
    assert_eq!(world.places("shop"), [0, 1, 2]);
}
