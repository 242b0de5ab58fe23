//! Actions on their way, and outboxes that differ.

use std::sync::Arc;
use std::time::Duration;

use model::action::ActionKind;
use model::event::EventKind;
use model::identity::{ActionId, Epoch};
use model::memory::Memory;
use model::name::ServiceName;
use model::reason::Reason;
use model::time::{Now, Time};

use crate::{Flight, Outbox};

const TIMEOUT: Duration = Duration::from_secs(10);

fn at(ms: u64) -> Time {
    Time::from_millis(ms)
}

fn shop() -> ServiceName {
    ServiceName::parse("shop").unwrap()
}

fn conceal() -> ActionKind {
    ActionKind::Conceal(shop())
}

fn tell(flight: &mut Flight, now: Time, out: &mut Outbox) -> ActionId {
    flight.tell(now, TIMEOUT, conceal(), Reason::Withdrawn, out)
}

fn ids(out: &mut Outbox) -> Vec<ActionId> {
    out.actions.drain(..).map(|action| action.id).collect()
}

#[test]
fn ids_count_up_within_their_epoch() {
    let (mut flight, mut out) = (Flight::of_epoch(Epoch(3)), Outbox::default());
    let first = tell(&mut flight, at(0), &mut out);
    let second = tell(&mut flight, at(0), &mut out);
    assert_eq!((first.epoch, first.sequence, second.sequence), (Epoch(3), 1, 2));
    assert!(first < second && second < ActionId { epoch: Epoch(4), sequence: 1 });
    assert_eq!(ids(&mut out), [first, second]);
}

#[test]
fn an_action_is_told_again_only_when_its_time_has_come() {
    let (mut flight, mut out) = (Flight::of_epoch(Epoch(1)), Outbox::default());
    let id = tell(&mut flight, at(5), &mut out);
    out.clear();
    assert_eq!(flight.next_due(), Some(at(10_005)));
    flight.repeat_overdue(at(10_004), TIMEOUT, &mut out);
    assert!(out.is_empty());

    flight.repeat_overdue(at(10_005), TIMEOUT, &mut out);
    assert_eq!(ids(&mut out), [id]);
    assert_eq!((flight.next_due(), flight.len()), (Some(at(20_005)), 1));
}

#[test]
fn an_action_that_is_long_overdue_is_told_once() {
    let (mut flight, mut out) = (Flight::of_epoch(Epoch(1)), Outbox::default());
    let id = tell(&mut flight, at(0), &mut out);
    out.clear();
    flight.repeat_overdue(at(1_000_000), TIMEOUT, &mut out);
    assert_eq!(ids(&mut out), [id]);
}

#[test]
fn a_landed_action_is_told_no_more_and_lands_once() {
    let (mut flight, mut out) = (Flight::of_epoch(Epoch(1)), Outbox::default());
    let id = tell(&mut flight, at(0), &mut out);
    let action = flight.land(id).expect("it is on its way");
    assert_eq!((action.id, action.kind), (id, conceal()));
    assert_eq!(flight.land(id), None);
    out.clear();
    flight.repeat_overdue(at(1_000_000), TIMEOUT, &mut out);
    assert!(out.is_empty() && flight.is_empty());
    assert_eq!(flight.next_due(), None);
}

#[test]
fn an_action_of_another_epoch_is_unknown() {
    let mut flight = Flight::of_epoch(Epoch(2));
    tell(&mut flight, at(0), &mut Outbox::default());
    assert_eq!(flight.land(ActionId { epoch: Epoch(1), sequence: 1 }), None);
    assert_eq!(flight.len(), 1);
}

#[test]
fn a_postponed_action_is_told_at_its_time_by_the_same_id() {
    let (mut flight, mut out) = (Flight::of_epoch(Epoch(1)), Outbox::default());
    let id = tell(&mut flight, at(0), &mut out);
    let action = flight.land(id).expect("it is on its way");
    out.clear();
    flight.postpone(action, at(3_000));
    flight.repeat_overdue(at(2_999), TIMEOUT, &mut out);
    assert!(out.is_empty());
    flight.repeat_overdue(at(3_000), TIMEOUT, &mut out);
    assert_eq!(ids(&mut out), [id]);
}

#[test]
fn overdue_actions_are_told_in_the_order_of_their_times() {
    let (mut flight, mut out) = (Flight::of_epoch(Epoch(1)), Outbox::default());
    let late = tell(&mut flight, at(50), &mut out);
    let early = tell(&mut flight, at(0), &mut out);
    out.clear();
    flight.repeat_overdue(at(60_000), TIMEOUT, &mut out);
    assert_eq!(ids(&mut out), [early, late]);
}

#[test]
fn a_deposed_flight_tells_nothing_old_or_new() {
    let (mut flight, mut out) = (Flight::of_epoch(Epoch(1)), Outbox::default());
    tell(&mut flight, at(0), &mut out);
    out.clear();
    flight.depose();
    tell(&mut flight, at(1), &mut out);
    flight.repeat_overdue(at(1_000_000), TIMEOUT, &mut out);
    assert!(out.is_empty() && flight.is_deposed());
}

#[test]
fn outboxes_that_differ_in_anything_have_different_digests() {
    let memory = |desired| ActionKind::Remember(Arc::new(Memory { desired, ..Memory::blank(shop()) }));
    let digest = |kind: ActionKind, reason: Reason, epoch: u64| {
        let mut out = Outbox::default();
        Flight::of_epoch(Epoch(epoch)).tell(at(0), TIMEOUT, kind, reason, &mut out);
        out.digest()
    };
    let mut told = Outbox::default();
    told.tell(Now::default(), &shop(), None, EventKind::Withdrawn, Reason::Withdrawn);
    let all = [
        Outbox::default().digest(),
        told.digest(),
        digest(conceal(), Reason::Withdrawn, 1),
        digest(conceal(), Reason::Withdrawn, 2),
        digest(conceal(), Reason::Declared, 1),
        digest(memory(None), Reason::Observed, 1),
        digest(memory(Some(1)), Reason::Observed, 1),
    ];
    let distinct: std::collections::BTreeSet<_> = all.iter().collect();
    assert_eq!(distinct.len(), all.len(), "{all:?}");
    assert_eq!(digest(memory(Some(1)), Reason::Observed, 1), all[6]);
}
