//! How services start: around replicas that run already, and in the order of their dependencies.

use model::identity::Generation;
use model::input::Declared;
use model::reason::Reason;
use model::resource::{Dependency, DependencyStage};

use crate::bench::{READY, fixed, name};
use crate::world::{UNREADY, World, ms, observed, seconds};

fn needing(service: &str, needs: &str, when: DependencyStage) -> Declared {
    let mut declared = fixed(service, 1, 1);
    declared.spec.depends_on = vec![Dependency { service: name(needs), when }];
    declared
}

#[test]
fn nothing_is_started_before_the_first_inventory() {
    let mut world = World::started();
    world.declare(fixed("shop", 1, 2));
    world.advance(seconds(600));
    assert!(world.take_sent().is_empty());
    assert_eq!(world.wakes_in(), None, "only an inventory is waited for");

    world.report_inventory([]);
    assert_eq!(world.take_sent(), ["start shop-0/1 serving", "start shop-1/1 serving"]);
}

#[test]
fn a_replica_found_running_is_not_started() {
    let mut world = World::started();
    world.declare(fixed("shop", 1, 2));
    world.report_inventory([observed("shop-1", 3, READY)]);
    assert_eq!(world.take_sent(), ["admit shop-1/3 serving", "start shop-0/1 serving"]);
}

#[test]
fn an_undeclared_service_is_stopped() {
    let mut world = World::started();
    world.report_inventory([observed("left-0", 1, READY)]);
    world.run_for(seconds(2));
    assert_eq!(world.take_sent(), ["conceal left", "stop left-0/1"]);
    assert!(!world.has_service("left"));
}

#[test]
fn a_service_of_no_replicas_starts_nothing() {
    let mut world = World::with([fixed("shop", 1, 0)]);
    world.run_for(seconds(60));
    assert!(world.take_sent().is_empty());
}

#[test]
fn a_replica_is_not_started_before_its_dependency_is_ready() {
    let mut world = World::started();
    world.declare(needing("shop", "db", DependencyStage::Ready));
    world.declare(fixed("db", 1, 1));
    world.report_inventory([]);
    assert_eq!(world.take_sent(), ["start db-0/1 serving"]);
    assert_eq!(world.waits("shop"), [Reason::DependencyDown { needs: name("db") }]);
    world.carry_out_unready();
    world.report_state("db-0", UNREADY);
    world.advance(seconds(60));
    assert!(world.take_sent().is_empty(), "it runs, but is not ready");

    world.report_state("db-0", READY);
    assert_eq!(world.take_sent(), ["start shop-0/1 serving"]);
}

#[test]
fn a_dependency_on_a_start_does_not_wait_for_readiness() {
    let mut world = World::started();
    world.declare(needing("shop", "db", DependencyStage::Started));
    world.declare(fixed("db", 1, 1));
    world.report_inventory([]);
    world.carry_out_unready();
    assert_eq!(world.take_sent(), ["start db-0/1 serving"]);

    world.report_state("db-0", UNREADY);
    assert_eq!(world.take_sent(), ["start shop-0/1 serving"]);
}

#[test]
fn a_restart_waits_while_a_dependency_is_down() {
    let mut world = World::with([fixed("db", 1, 1), needing("shop", "db", DependencyStage::Ready)]);
    world.report_state("db-0", UNREADY);
    world.kill("shop-0");
    world.advance(seconds(60));
    assert!(world.take_sent().is_empty());

    world.report_state("db-0", READY);
    assert_eq!(world.take_sent(), ["start shop-0/2 serving"]);
}

#[test]
fn a_dependency_that_is_down_removes_no_dependent_replica() {
    let mut world = World::with([fixed("db", 1, 1), needing("shop", "db", DependencyStage::Ready)]);
    world.report_state("db-0", UNREADY);
    world.run_for(seconds(600));
    assert!(world.take_sent().is_empty());
}

#[test]
fn a_new_declaration_of_more_replicas_starts_them_at_once() {
    let mut world = World::with([fixed("shop", 1, 1)]);
    world.advance(ms(300));
    world.declare(fixed("shop", 2, 3));
    assert_eq!(world.take_sent(), ["start shop-1/1 serving", "start shop-2/1 serving"]);
}

#[test]
fn the_place_of_a_replica_has_the_generation_that_it_runs() {
    let world = World::with([Declared { generation: Generation(4), ..fixed("shop", 9, 1) }]);
    assert_eq!(world.place("shop-0").map(|place| place.generation), Some(Generation(4)));
}

#[test]
fn a_withdrawn_service_is_no_longer_a_dependent() {
    let mut world = World::with([fixed("db", 1, 1)]);
    for number in 0..3 {
        world.declare(needing(&format!("app-{number}"), "db", DependencyStage::Ready));
        world.run_for(seconds(1));
        world.withdraw(&format!("app-{number}"));
        world.run_for(seconds(60));
        assert!(!world.has_service(&format!("app-{number}")));
    }
    assert_eq!(world.control.knowledge().dependents(&name("db")).count(), 0);
}
