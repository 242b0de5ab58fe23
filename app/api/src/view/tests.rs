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
    let snapshot = Snapshot { now: NOW, settings: &Settings::default(), knowledge: &Knowledge::default() };
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
fn a_hold_is_shown_until_it_ends() {
    let mut service = service_of_two([]);
    for (until, is_shown) in
        [(None, true), (Some(59_999), false), (Some(60_000), false), (Some(60_001), true)]
    {
        service.hold = Some(Hold { replicas: 2, until: until.map(Time::from_millis) });
        let snapshot =
            Snapshot { now: NOW, settings: &Settings::default(), knowledge: &Knowledge::default() };
        assert_eq!(snapshot.service(&service, &[]).hold.is_some(), is_shown, "until {until:?}");
    }
}

#[test]
fn a_service_is_exposed_since_the_proxy_confirmed_it() {
    let snapshot = Snapshot { now: NOW, settings: &Settings::default(), knowledge: &Knowledge::default() };
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
