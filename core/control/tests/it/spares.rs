//! Which replica takes over from a lost one, by strategy.

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
    let mut world = World::started();
    world.declare(recovering(2, Recover::Standby { spares: 1 }));
    world.report_inventory([]);
    assert_eq!(
        world.take_sent(),
        ["start shop-2/1 spare", "start shop-0/1 serving", "start shop-1/1 serving"]
    );
}

#[test]
fn a_service_held_at_zero_has_no_spares() {
    let mut world = World::with([recovering(2, Recover::Standby { spares: 1 })]);
    world.hold("shop", 0, None);
    world.run_for(seconds(60));
    assert_eq!(world.places("shop"), Vec::<u32>::new());
    world.release("shop");
    world.run_for(seconds(60));
    assert_eq!(world.places("shop"), [0, 1, 2]);
}

#[test]
fn a_ready_spare_is_promoted_in_the_step_in_which_a_replica_is_lost() {
    let mut world = World::with([recovering(2, Recover::Standby { spares: 1 })]);
    world.kill("shop-0");
    assert_eq!(world.take_sent(), ["admit shop-2/1 serving", "start shop-0/2 spare"]);

    world.carry_out();
    world.kill("shop-1");
    assert_eq!(world.take_sent(), ["admit shop-0/2 serving", "start shop-1/2 spare"]);
}

#[test]
fn a_spare_that_is_not_ready_is_not_promoted() {
    let mut world = World::with([recovering(2, Recover::Standby { spares: 1 })]);
    world.kill("shop-2");
    world.carry_out_unready();
    world.take_sent();
    world.kill("shop-0");
    assert_eq!(world.take_sent(), ["start shop-0/2 serving"]);
}

#[test]
fn a_sick_replica_gives_its_traffic_to_the_spare_at_once() {
    let mut world = World::with([recovering(2, Recover::Standby { spares: 1 })]);
    world.fail_liveness("shop-1");
    assert_eq!(world.take_sent(), ["admit shop-2/1 serving", "admit shop-1/1 spare"]);
}

#[test]
fn the_most_active_replica_carries_two_shares_until_the_lost_one_serves_again() {
    let mut world = World::with([recovering(3, Recover::MostActive)]);
    for (replica, requests) in [("shop-0", 50), ("shop-1", 10), ("shop-2", 70)] {
        world.report_traffic(replica, requests, 1);
    }
    world.kill("shop-1");
    assert_eq!(world.take_sent(), ["admit shop-2/1 serving x2", "start shop-1/2 serving"]);
    world.carry_out_unready();
    assert!(world.take_sent().is_empty(), "it runs, but does not serve yet");

    world.report_state("shop-1", READY);
    assert_eq!(world.take_sent(), ["admit shop-2/1 serving"]);
    assert_eq!((world.count_events(EventKind::TookOver), world.count_events(EventKind::StoodDown)), (1, 1));
}

#[test]
fn a_survivor_chosen_by_chance_carries_two_shares() {
    let mut world = World::with([recovering(3, Recover::Random)]);
    world.kill("shop-0");
    let sent = world.take_sent();
    let is_survivor = ["admit shop-1/1 serving x2", "admit shop-2/1 serving x2"].contains(&sent[0].as_str());
    assert!(is_survivor && sent[1..] == ["start shop-0/2 serving"], "{sent:?}");

    world.carry_out();
    assert_eq!(world.take_sent().len(), 1, "it stands down");
}

#[test]
fn a_lost_stand_in_is_replaced() {
    let mut world = World::with([recovering(3, Recover::MostActive)]);
    world.report_traffic("shop-1", 10, 1);
    world.kill("shop-0");
    assert_eq!(world.take_sent(), ["admit shop-1/1 serving x2", "start shop-0/2 serving"]);
    world.carry_out_unready();
    // The second restart in a row waits, so the place stays empty for a while.
    world.kill("shop-0");
    world.take_sent();

    world.kill("shop-1");
    assert_eq!(world.take_sent(), ["admit shop-2/1 serving x2", "start shop-1/2 serving"]);
}

#[test]
fn a_loss_without_a_survivor_is_only_restarted() {
    for recover in [Recover::MostActive, Recover::Random, Recover::Standby { spares: 1 }] {
        let mut world = World::with([recovering(1, recover)]);
        if recover == (Recover::Standby { spares: 1 }) {
            world.kill("shop-1");
            world.carry_out_unready();
            world.take_sent();
        }
        world.kill("shop-0");
        assert_eq!(world.take_sent(), ["start shop-0/2 serving"], "{recover:?}");
    }
}

#[test]
fn superfluous_spares_are_stopped() {
    let mut world = World::with([recovering(2, Recover::Standby { spares: 2 })]);
    let mut fewer = recovering(2, Recover::Standby { spares: 1 });
    fewer.revision.0 = 2;
    world.declare(fewer);
    world.run_for(seconds(20));
    assert_eq!(world.take_sent(), ["stop shop-3/1"]);
    assert_eq!(world.places("shop"), [0, 1, 2]);
}
