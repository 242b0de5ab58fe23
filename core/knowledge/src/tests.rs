//! Folding facts: which of them change the state, and their events.

use std::time::Duration;

use model::event::{Event, EventKind};
use model::fact::Fact;
use model::identity::{ActionId, Generation, Incarnation, Ordinal, ReplicaId};
use model::input::{Exit, ExitStatus, Observed, ReplicaState, Traffic, Usage};
use model::name::ServiceName;
use model::plan::{AfterStop, Role};
use model::quantity::Bytes;
use model::reason::Reason;
use model::time::{Now, Time, Wall};

use crate::{FoldEffect, Health, Knowledge, Place, Stage};

const SINCE: Time = Time::from_millis(100_000);

fn shop() -> ServiceName {
    ServiceName::parse("shop").unwrap()
}

fn replica() -> ReplicaId {
    ReplicaId { service: shop(), ordinal: Ordinal(0) }
}

fn killed() -> Exit {
    Exit { status: ExitStatus::Signal(9), out_of_memory: false, ran_for: Duration::from_secs(5) }
}

/// A state with one place, in this stage of its second life.
fn knowledge_with(stage: Stage) -> Knowledge {
    let mut knowledge = Knowledge::default();
    let mut place = Place::empty(Role::Active, Time::ZERO);
    place.begin(Time::ZERO, Incarnation(2), Generation(1), (ActionId::default(), stage));
    knowledge.service_or_new(&shop()).places.insert(Ordinal(0), place);
    knowledge
}

fn fold(knowledge: &mut Knowledge, ms: u64, fact: &Fact<'_>) -> (FoldEffect, Vec<EventKind>) {
    let mut events: Vec<Event> = Vec::new();
    let now = Now { time: Time::from_millis(ms), wall: Wall::from_millis(0) };
    let folded = knowledge.fold(now, fact, &mut events);
    (folded, events.into_iter().map(|event| event.kind).collect())
}

fn stage(knowledge: &Knowledge) -> Option<&Stage> {
    knowledge.place(&shop(), Ordinal(0)).map(|place| &place.stage)
}

fn running(ready: bool) -> Stage {
    Stage::Running(Health { since: SINCE, started: true, ready, ready_changed: SINCE, unhealthy_since: None })
}

fn starting() -> Stage {
    Stage::Starting { action: ActionId::default(), since: SINCE, previous: Incarnation(0) }
}

fn draining(then: AfterStop) -> Stage {
    Stage::Draining { admit: None, since: SINCE, deadline: SINCE, then }
}

fn runs(ready: bool, live: bool) -> Fact<'static> {
    Fact::Running { replica: replica(), started: true, ready, live }
}

fn ended() -> Fact<'static> {
    Fact::Ended { replica: replica(), exit: killed() }
}

#[test]
fn a_replica_becomes_ready_once() {
    let mut knowledge = knowledge_with(starting());
    assert_eq!(
        fold(&mut knowledge, 101_000, &runs(true, true)),
        (FoldEffect::Changed, vec![EventKind::Ready])
    );
    assert_eq!(fold(&mut knowledge, 102_000, &runs(true, true)), (FoldEffect::Same, vec![]));
    assert_eq!(knowledge.service(&shop()).map(crate::ServiceState::serving), Some(1));
}

#[test]
fn ready_changed_moves_only_when_readiness_changes() {
    let mut knowledge = knowledge_with(running(true));
    fold(&mut knowledge, 150_000, &runs(true, true));
    let health = |knowledge: &Knowledge| *knowledge.place(&shop(), Ordinal(0)).unwrap().health().unwrap();
    assert_eq!(health(&knowledge).ready_changed, SINCE);

    let (folded, events) = fold(&mut knowledge, 160_000, &runs(false, true));
    assert_eq!(
        (folded, events),
        (FoldEffect::BecameUnready { ready_since: SINCE }, vec![EventKind::NotReady])
    );
    assert_eq!(health(&knowledge).ready_changed, Time::from_millis(160_000));
}

#[test]
fn a_replica_is_unhealthy_from_the_first_failure_until_its_probe_passes() {
    let mut knowledge = knowledge_with(running(true));
    let unhealthy = |knowledge: &Knowledge| {
        knowledge.place(&shop(), Ordinal(0)).and_then(Place::health).and_then(|health| health.unhealthy_since)
    };
    assert_eq!(fold(&mut knowledge, 101_000, &runs(true, false)).1, [EventKind::Unhealthy]);
    assert_eq!(fold(&mut knowledge, 102_000, &runs(true, false)).1, []);
    assert_eq!(unhealthy(&knowledge), Some(Time::from_millis(101_000)));
    assert_eq!(knowledge.service(&shop()).map(crate::ServiceState::serving), Some(0));

    fold(&mut knowledge, 103_000, &runs(true, true));
    assert_eq!(unhealthy(&knowledge), None);
}

#[test]
fn a_late_report_does_not_revive_a_replica() {
    let over = Stage::Empty { since: SINCE, exit: None };
    let stopping = Stage::Stopping { action: ActionId::default(), since: SINCE, then: AfterStop::Refill };
    for before in [over, stopping, draining(AfterStop::Close)] {
        let mut knowledge = knowledge_with(before.clone());
        assert_eq!(fold(&mut knowledge, 101_000, &runs(true, true)), (FoldEffect::Same, vec![]));
        assert_eq!(stage(&knowledge), Some(&before));
    }
}

#[test]
fn an_unrequested_end_is_a_loss() {
    let lost = |ready_since| FoldEffect::Lost { exit: killed(), ready_since };
    for (before, expected) in
        [(starting(), lost(None)), (running(false), lost(None)), (running(true), lost(Some(SINCE)))]
    {
        let mut knowledge = knowledge_with(before);
        assert_eq!(fold(&mut knowledge, 101_000, &ended()), (expected, vec![EventKind::Exited]));
        assert_eq!(fold(&mut knowledge, 102_000, &ended()), (FoldEffect::Same, vec![]), "reported twice");
    }
}

#[test]
fn only_the_end_of_a_serving_replica_is_a_loss() {
    let losses = |knowledge: &Knowledge| -> Vec<u64> {
        let losses = &knowledge.service(&shop()).unwrap().losses.at;
        losses.iter().map(|at| at.as_millis()).collect()
    };
    for (before, expected) in [
        (starting(), &[][..]),
        (running(false), &[]),
        (draining(AfterStop::Refill), &[]),
        (running(true), &[101_000]),
    ] {
        let mut knowledge = knowledge_with(before);
        fold(&mut knowledge, 101_000, &ended());
        assert_eq!(losses(&knowledge), expected);
    }
    let mut spare = knowledge_with(running(true));
    spare.place_mut(&replica()).unwrap().role = Role::Spare;
    fold(&mut spare, 101_000, &ended());
    assert_eq!(losses(&spare), [0_u64; 0]);

    let mut unhealthy = knowledge_with(running(true));
    fold(&mut unhealthy, 101_000, &runs(false, false));
    fold(&mut unhealthy, 102_000, &runs(false, false));
    fold(&mut unhealthy, 103_000, &ended());
    assert_eq!(losses(&unhealthy), [101_000], "it was counted when it became unhealthy");
}

#[test]
fn a_requested_end_closes_or_empties_the_place() {
    let mut knowledge = knowledge_with(draining(AfterStop::Close));
    assert_eq!(fold(&mut knowledge, 101_000, &ended()), (FoldEffect::Changed, vec![EventKind::Stopped]));
    assert_eq!(stage(&knowledge), None);
    let again = Place::empty(Role::Active, SINCE);
    let service = knowledge.service(&shop()).unwrap();
    assert_eq!(service.next_life(&again), Incarnation(3), "its lives are counted on");

    let mut knowledge = knowledge_with(draining(AfterStop::Refill));
    fold(&mut knowledge, 101_000, &ended());
    let since = Time::from_millis(101_000);
    assert_eq!(stage(&knowledge), Some(&Stage::Empty { since, exit: None }));
}

#[test]
fn only_a_stopping_replica_that_ends_by_its_signal_stopped_as_asked() {
    let then = AfterStop::Close;
    let stopping = || Stage::Stopping { action: ActionId::default(), since: SINCE, then };
    let reason_for = |before, status| {
        let mut events = Vec::new();
        let exit = Exit { status, ..killed() };
        let now = Now { time: Time::from_millis(101_000), wall: Wall::from_millis(0) };
        knowledge_with(before).fold(now, &Fact::Ended { replica: replica(), exit }, &mut events);
        events.first().map(|event| event.reason.to_string()).unwrap()
    };
    for (status, expected) in [
        (ExitStatus::Signal(15), "it stopped as asked after 5.0s (signal 15)"),
        (ExitStatus::Code(143), "it stopped as asked after 5.0s (code 143)"),
        (ExitStatus::Code(0), "it finished after 5.0s (code 0)"),
        (ExitStatus::Signal(9), "it was killed after 5.0s (signal 9)"),
        (ExitStatus::Signal(11), "it crashed after 5.0s (signal 11)"),
    ] {
        assert_eq!(reason_for(stopping(), status), expected);
    }
    // Stopped from outside.
    for before in [starting(), running(true), draining(then)] {
        assert_eq!(reason_for(before, ExitStatus::Signal(15)), "it was killed after 5.0s (signal 15)");
    }
}

#[test]
fn an_ended_replica_stands_in_for_no_other() {
    let mut knowledge = knowledge_with(running(true));
    knowledge.place_mut(&replica()).unwrap().stands_in_for = Some(Ordinal(4));
    fold(&mut knowledge, 101_000, &ended());
    assert_eq!(knowledge.place(&shop(), Ordinal(0)).unwrap().stands_in_for, None);
}

#[test]
fn a_vanished_replica_has_ended_with_an_unknown_status() {
    let mut knowledge = knowledge_with(running(true));
    let (folded, _) = fold(&mut knowledge, 107_000, &Fact::Vanished(replica()));
    let ran_for = Duration::from_secs(7);
    let exit = Exit { status: ExitStatus::Unknown, out_of_memory: false, ran_for };
    assert_eq!(folded, FoldEffect::Lost { exit, ready_since: Some(SINCE) });
}

#[test]
fn a_replica_that_appears_is_adopted_without_admission() {
    for state in [
        ReplicaState::Starting,
        ReplicaState::Stopping,
        ReplicaState::Running { ready: true, live: true },
        ReplicaState::Running { ready: false, live: false },
    ] {
        let (incarnation, generation) = (Incarnation(7), Generation(3));
        let observed = Observed { replica: replica(), incarnation, generation, state };
        let mut knowledge = Knowledge::default();
        let adopted = fold(&mut knowledge, 101_000, &Fact::Appeared(&observed));
        assert_eq!(adopted, (FoldEffect::Changed, vec![EventKind::Adopted]));
        let place = knowledge.place(&shop(), Ordinal(0)).unwrap();
        assert_eq!((place.incarnation, place.generation, place.admission), (incarnation, generation, None));
        assert_eq!(place.is_serving(), state == ReplicaState::Running { ready: true, live: true });
    }
}

#[test]
fn the_life_of_an_ignored_replica_is_not_reused() {
    let mut knowledge = knowledge_with(running(true));
    let (replica, incarnation) = (replica(), Incarnation(9));
    let fact = Fact::Ignored { replica, incarnation };
    assert_eq!(fold(&mut knowledge, 101_000, &fact), (FoldEffect::Same, vec![]));
    let service = knowledge.service(&shop()).unwrap();
    assert_eq!(service.next_life(&service.places[&Ordinal(0)]), Incarnation(10));
}

#[test]
fn a_new_life_resets_the_measurements() {
    let mut knowledge = knowledge_with(running(true));
    let usage = |ms| Usage {
        replica: replica(),
        incarnation: Incarnation(2),
        cpu_time: Duration::from_millis(ms),
        memory: Bytes(1),
        throttling: None,
    };
    let window = Duration::from_secs(2);
    assert_eq!(fold(&mut knowledge, 101_000, &Fact::Usage(&usage(0))).0, FoldEffect::Measured);
    fold(&mut knowledge, 102_000, &Fact::Usage(&usage(500)));
    let share = |knowledge: &Knowledge| knowledge.place(&shop(), Ordinal(0)).unwrap().cpu_share(window);
    assert_eq!(share(&knowledge).map(|cpu| cpu.0), Some(500));

    let place = knowledge.place_mut(&replica()).unwrap();
    place.begin(Time::ZERO, Incarnation(3), Generation(1), (ActionId::default(), starting()));
    assert_eq!(share(&knowledge), None);
    assert_eq!(knowledge.place(&shop(), Ordinal(0)).unwrap().in_flight.0, Time::ZERO);
}

#[test]
fn traffic_changes_the_state_only_while_draining() {
    let fold_traffic = |knowledge: &mut Knowledge, ms, in_flight| {
        let traffic = Traffic {
            service: shop(),
            ordinal: Ordinal(0),
            incarnation: Incarnation(2),
            requests: 5,
            errors: 0,
            in_flight,
            latency_p99: Duration::ZERO,
        };
        fold(knowledge, ms, &Fact::Traffic(&traffic)).0
    };
    assert_eq!(fold_traffic(&mut knowledge_with(running(true)), 101_000, 1), FoldEffect::Measured);
    let mut knowledge = knowledge_with(draining(AfterStop::Close));
    assert_eq!(fold_traffic(&mut knowledge, 101_000, 1), FoldEffect::Changed);
    assert_eq!(fold_traffic(&mut knowledge, 101_000, 1), FoldEffect::Measured, "reported twice");
    assert_eq!(fold_traffic(&mut knowledge, 101_001, 0), FoldEffect::Changed);
}

#[test]
fn restarts_are_counted_within_their_window() {
    let mut knowledge = Knowledge::default();
    for second in [1, 2, 50, 61] {
        let at = Time::from_millis(second * 1000);
        knowledge.note_restart(&shop(), crate::PastRestart { at, was_healthy: true });
    }
    let within = |second: u64| {
        let restarts = knowledge.restarts_within(Time::from_millis(second * 1000), Duration::from_secs(60));
        restarts.map(|restart| restart.at.as_millis() / 1000).collect::<Vec<_>>()
    };
    assert_eq!(within(61), [61, 50, 2], "one a minute ago is over");
    assert_eq!(within(121), [0; 0]);
}

#[test]
fn dependents_follow_the_latest_declaration() {
    let [web, db, cache] = ["web", "db", "cache"].map(|name| ServiceName::parse(name).unwrap());
    let mut knowledge = Knowledge::default();
    knowledge.set_dependencies(&web, &[], std::slice::from_ref(&db));
    knowledge.set_dependencies(&web, std::slice::from_ref(&db), std::slice::from_ref(&cache));
    assert_eq!(knowledge.dependents(&db).count(), 0);
    assert_eq!(knowledge.dependents(&cache).collect::<Vec<_>>(), [&web]);
}

#[test]
fn an_adoption_has_its_reason() {
    let mut events = Vec::new();
    let (incarnation, generation, state) = (Incarnation(1), Generation(1), ReplicaState::Starting);
    let observed = Observed { replica: replica(), incarnation, generation, state };
    Knowledge::default().fold(Now::default(), &Fact::Appeared(&observed), &mut events);
    assert_eq!(events.into_iter().map(|event| event.reason).collect::<Vec<_>>(), [Reason::Adopted]);
}
