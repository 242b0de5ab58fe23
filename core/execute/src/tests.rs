//! Actions in flight, and digests of outboxes.

use std::sync::Arc;
use std::time::Duration;

use model::action::ActionKind;
use model::event::EventKind;
use model::identity::{ActionId, Epoch};
use model::memory::Memory;
use model::name::ServiceName;
use model::reason::Reason;
use model::time::{Now, Time};

use crate::{InFlight, Outbox};

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

fn send(in_flight: &mut InFlight, now: Time, out: &mut Outbox) -> ActionId {
    in_flight.send(now, TIMEOUT, conceal(), Reason::Withdrawn, out)
}

fn ids(out: &mut Outbox) -> Vec<ActionId> {
    out.actions.drain(..).map(|action| action.id).collect()
}

#[test]
fn ids_increase_within_an_epoch() {
    let (mut in_flight, mut out) = (InFlight::of_epoch(Epoch(3)), Outbox::default());
    let first = send(&mut in_flight, at(0), &mut out);
    let second = send(&mut in_flight, at(0), &mut out);
    assert_eq!((first.epoch, first.sequence, second.sequence), (Epoch(3), 1, 2));
    assert!(first < second && second < ActionId { epoch: Epoch(4), sequence: 1 });
    assert_eq!(ids(&mut out), [first, second]);
}

#[test]
fn an_action_is_sent_again_when_it_is_overdue() {
    let (mut in_flight, mut out) = (InFlight::of_epoch(Epoch(1)), Outbox::default());
    let id = send(&mut in_flight, at(5), &mut out);
    out.clear();
    assert_eq!(in_flight.next_due(), Some(at(10_005)));
    in_flight.repeat_overdue(at(10_004), TIMEOUT, &mut out);
    assert!(out.is_empty());

    in_flight.repeat_overdue(at(10_005), TIMEOUT, &mut out);
    assert_eq!(ids(&mut out), [id]);
    assert_eq!((in_flight.next_due(), in_flight.len()), (Some(at(20_005)), 1));
}

#[test]
fn an_action_that_is_long_overdue_is_sent_once() {
    let (mut in_flight, mut out) = (InFlight::of_epoch(Epoch(1)), Outbox::default());
    let id = send(&mut in_flight, at(0), &mut out);
    out.clear();
    in_flight.repeat_overdue(at(1_000_000), TIMEOUT, &mut out);
    assert_eq!(ids(&mut out), [id]);
}

#[test]
fn a_finished_action_is_not_sent_again_and_finishes_once() {
    let (mut in_flight, mut out) = (InFlight::of_epoch(Epoch(1)), Outbox::default());
    let id = send(&mut in_flight, at(0), &mut out);
    let action = in_flight.finish(id).expect("it is in flight");
    assert_eq!((action.id, action.kind), (id, conceal()));
    assert_eq!(in_flight.finish(id), None);
    out.clear();
    in_flight.repeat_overdue(at(1_000_000), TIMEOUT, &mut out);
    assert!(out.is_empty() && in_flight.is_empty());
    assert_eq!(in_flight.next_due(), None);
}

#[test]
fn an_action_of_another_epoch_is_unknown() {
    let mut in_flight = InFlight::of_epoch(Epoch(2));
    send(&mut in_flight, at(0), &mut Outbox::default());
    assert_eq!(in_flight.finish(ActionId { epoch: Epoch(1), sequence: 1 }), None);
    assert_eq!(in_flight.len(), 1);
}

#[test]
fn an_action_to_resend_is_sent_at_its_time_with_the_same_id() {
    let (mut in_flight, mut out) = (InFlight::of_epoch(Epoch(1)), Outbox::default());
    let id = send(&mut in_flight, at(0), &mut out);
    let action = in_flight.finish(id).expect("it is in flight");
    out.clear();
    in_flight.resend_at(action, at(3_000));
    in_flight.repeat_overdue(at(2_999), TIMEOUT, &mut out);
    assert!(out.is_empty());
    in_flight.repeat_overdue(at(3_000), TIMEOUT, &mut out);
    assert_eq!(ids(&mut out), [id]);
}

#[test]
fn overdue_actions_are_sent_in_the_order_of_their_times() {
    let (mut in_flight, mut out) = (InFlight::of_epoch(Epoch(1)), Outbox::default());
    let late = send(&mut in_flight, at(50), &mut out);
    let early = send(&mut in_flight, at(0), &mut out);
    out.clear();
    in_flight.repeat_overdue(at(60_000), TIMEOUT, &mut out);
    assert_eq!(ids(&mut out), [early, late]);
}

#[test]
fn once_fenced_nothing_is_sent() {
    let (mut in_flight, mut out) = (InFlight::of_epoch(Epoch(1)), Outbox::default());
    send(&mut in_flight, at(0), &mut out);
    out.clear();
    in_flight.fence();
    send(&mut in_flight, at(1), &mut out);
    in_flight.repeat_overdue(at(1_000_000), TIMEOUT, &mut out);
    assert!(out.is_empty() && in_flight.is_fenced());
}

#[test]
fn different_outboxes_have_different_digests() {
    let memory = |desired| ActionKind::Remember(Arc::new(Memory { desired, ..Memory::blank(shop()) }));
    let digest = |kind: ActionKind, reason: Reason, epoch: u64| {
        let mut out = Outbox::default();
        InFlight::of_epoch(Epoch(epoch)).send(at(0), TIMEOUT, kind, reason, &mut out);
        out.digest()
    };
    let mut with_event = Outbox::default();
    with_event.record_event(Now::default(), &shop(), None, EventKind::Withdrawn, Reason::Withdrawn);
    let all = [
        Outbox::default().digest(),
        with_event.digest(),
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
