use std::sync::Arc;

use knowledge::Hold;
use model::identity::{Generation, Incarnation};
use model::resource::ServiceSpec;
use model::time::Wall;

use super::*;

const NOW: Now = Now { time: Time::from_millis(60_000), wall: Wall::from_millis(1_700_000_060_000) };

/// A service of which two replicas are desired, with these places.
fn service_of_two(stages: impl IntoIterator<Item = Stage>) -> ServiceState {
    let name = ServiceName::parse("shop").unwrap();
    let spec: ServiceSpec =
        serde_json::from_value(serde_json::json!({"run": {"command": ["./shop"]}})).unwrap();
    let (revision, generation) = (Generation(1), Generation(1));
    let declared = Declared { name: name.clone(), revision, generation, spec, autoscaler: None };
    let mut service = ServiceState::named(name);
    service.declared = Some(Arc::new(declared));
    service.desired = Some(2);
    for (ordinal, stage) in (0..).map(Ordinal).zip(stages) {
        let mut place = Place::empty(Role::Active, Time::ZERO);
        place.begin(Time::ZERO, Incarnation(1), generation, (Default::default(), stage));
        service.places.insert(ordinal, place);
    }
    service
}

fn running(ready: bool) -> Stage {
    let since = Time::from_millis(1000);
    Stage::Running(Health { since, started: true, ready, ready_changed: since, unhealthy_since: None })
}

fn leaving() -> Stage {
    let then = model::plan::AfterStop::Close;
    Stage::Draining { admit: None, since: Time::ZERO, deadline: NOW.time, then }
}

#[test]
fn a_service_is_complete_with_exactly_the_desired_replicas() {
    let (settings, knowledge, notes) = Default::default();
    let snapshot = Snapshot { now: NOW, settings: &settings, knowledge: &knowledge, notes: &notes };
    for (stages, status, reason) in [
        (vec![running(true), running(false)], "False", "Growing"),
        (vec![running(true), running(true)], "True", "Settled"),
        (vec![running(true), running(true), running(true)], "False", "Shrinking"),
        (vec![running(true), running(true), running(false)], "False", "Settling"),
        (vec![running(true), running(true), leaving()], "False", "Settling"),
    ] {
        let found = snapshot.complete(&service_of_two(stages), "");
        assert_eq!((&*found.status, &*found.reason), (status, reason), "{found:?}");
    }
}

#[test]
fn a_rollout_names_the_replica_that_it_waits_for() {
    let replica = |ordinal| {
        let service = ServiceName::parse("shop").unwrap();
        (ReplicaId { service, ordinal: Ordinal(ordinal) }, Incarnation(1))
    };
    let notes = [(replica(2), "GET /healthz answered 503".into()), (replica(0), "connection refused".into())];
    let (settings, knowledge, notes) = (Settings::default(), Knowledge::default(), notes.into());
    let snapshot = Snapshot { now: NOW, settings: &settings, knowledge: &knowledge, notes: &notes };
    let mut service = service_of_two([running(true), running(true), running(false)]);
    for ordinal in [0, 1] {
        service.places.get_mut(&Ordinal(ordinal)).unwrap().generation = Generation(0);
    }
    let waiting = "it has not been ready since 00:00:01.000: GET /healthz answered 503";
    let waits = snapshot.waits(&service);
    assert_eq!(waits, [v1::Wait { replica: Some("shop-2".into()), message: waiting.into() }]);
    let conditions = snapshot.conditions(&service, &waits);
    let complete = conditions.iter().find(|found| found.kind == "Complete").unwrap();
    let older = "2 of 2 replicas run an older version than the declared one";
    assert_eq!(complete.message, format!("{older}: shop-2: {waiting}"));

    let since = Time::from_millis(1000);
    service.waits = vec![Wait { ordinal: Some(Ordinal(2)), reason: Reason::NotReady { since } }];
    assert_eq!(snapshot.waits(&service), waits, "the plan notes it as well after a while");
}

#[test]
fn whatever_a_replica_waits_for_it_is_said_why_it_was_not_started() {
    let why = "could not start shop-0: port 8602 (http) is in use by another replica";
    let mut service = service_of_two([Stage::Empty { since: NOW.time, exit: None }]);
    let place = service.places.get_mut(&Ordinal(0)).unwrap();
    place.start_failure = Some(why.into());
    let place = place.clone();
    let (settings, knowledge, notes) = Default::default();
    let snapshot = Snapshot { now: NOW, settings: &settings, knowledge: &knowledge, notes: &notes };
    let storm = Reason::StormLimit { scope: model::reason::StormScope::Node, until: NOW.time };
    let failed = Reason::StartFailed { cause: why.into(), until: NOW.time };
    for (reason, message) in
        [(storm.clone(), format!("{storm}; {why}")), (failed.clone(), failed.to_string())]
    {
        service.waits = vec![Wait { ordinal: Some(Ordinal(0)), reason }];
        let waits = snapshot.waits(&service);
        assert_eq!(waits, [v1::Wait { replica: Some("shop-0".into()), message: message.clone() }]);
        assert_eq!(snapshot.place(&service, Ordinal(0), &place).status.message, Some(message.clone()));
        let conditions = snapshot.conditions(&service, &waits);
        let complete = conditions.iter().find(|found| found.kind == "Complete").unwrap();
        assert_eq!(complete.message, format!("0 of 2 desired replicas are ready: shop-0: {message}"));
    }
}

#[test]
fn the_cause_of_a_failed_start_is_not_repeated() {
    let why = "port 6379 is in use";
    let with_why = |wait: &str| with_end(wait.to_owned(), Some(why.to_owned()));
    let named = format!("{why}; the next try is at 10:00");
    assert_eq!(with_why(&named), named);
    assert_eq!(with_why("waits until 10:00"), format!("waits until 10:00; {why}"));
}

#[test]
fn a_hold_is_shown_until_it_ends() {
    let mut service = service_of_two([]);
    for (until, is_shown) in
        [(None, true), (Some(59_999), false), (Some(60_000), false), (Some(60_001), true)]
    {
        service.hold = Some(Hold { replicas: 2, until: until.map(Time::from_millis) });
        let (settings, knowledge, notes) = Default::default();
        let snapshot = Snapshot { now: NOW, settings: &settings, knowledge: &knowledge, notes: &notes };
        assert_eq!(snapshot.service(&service, &[], &[]).hold.is_some(), is_shown, "until {until:?}");
    }
}

#[test]
fn a_service_is_exposed_since_the_proxy_confirmed_it() {
    let (settings, knowledge, notes) = Default::default();
    let snapshot = Snapshot { now: NOW, settings: &settings, knowledge: &knowledge, notes: &notes };
    let mut service = service_of_two([]);
    let mut declared = Declared::clone(service.declared.as_ref().unwrap());
    let expose = serde_json::json!({"listen": "127.0.0.1:80", "port": "http"});
    declared.spec.expose = Some(serde_json::from_value(expose).unwrap());
    service.last_declared = Some(Arc::new(declared));
    let since = Time::from_millis(50_000);
    for (exposure, status) in [
        (Exposure::Open { revision: Generation(1), since }, "True"),
        (Exposure::Opening { action: Default::default(), revision: Generation(1), since }, "Unknown"),
    ] {
        service.exposure = exposure;
        let found = snapshot.exposed(&service).unwrap();
        assert_eq!((&*found.status, found.since.as_deref()), (status, Some("2023-11-14T22:14:10.000Z")));
    }
}
