//! Whole rehearsals: declared services under the control loop of production, on a simulated machine.

use std::time::Duration;

use model::identity::{Generation, Ordinal, ReplicaId};
use model::input::Declared;
use model::name::ServiceName;
use model::quantity::MilliRps;
use model::settings::Settings;
use model::time::Wall;
use rehearsal::{
    FaultKind, Rehearsal, RehearsedService, ScheduledFault, Script, ScriptError, ServiceLoad, rehearse,
};
use sim::{Fault, Faults, Program};

/// A service whose replicas answer 100 requests a second each.
fn service(name: &str, spec: &serde_json::Value, rate: u64) -> RehearsedService {
    let mut whole = serde_json::json!({
        "run": {"command": ["unused"]},
        "ports": [{"name": "http", "protocol": "http"}],
        "expose": {"listen": "127.0.0.1:8080", "port": "http"},
    });
    let more = spec.as_object().expect("a map").clone();
    whole.as_object_mut().expect("a map").extend(more);
    let spec: model::resource::ServiceSpec = serde_json::from_value(whole).expect("it is well formed");
    let name = ServiceName::parse(name).expect("a constant name");
    let declared =
        Declared { name, revision: Generation(1), generation: Generation(1), autoscaler: None, spec };
    let program = Program { cpu_limit_milli: 1000, ..Program::default() };
    RehearsedService { declared, program, load: ServiceLoad::Rate(MilliRps(rate * 1000)) }
}

fn script(services: Vec<RehearsedService>) -> Script {
    Script {
        services,
        gauges: Vec::new(),
        span: Duration::from_mins(5),
        begin: Wall::from_millis(1_700_000_000_000),
        scheduled_faults: Vec::new(),
        faults: Faults::default(),
        settings: Settings::default(),
        seed: 7,
    }
}

fn replica(service: &str, ordinal: u32) -> ReplicaId {
    ReplicaId { service: ServiceName::parse(service).expect("a constant name"), ordinal: Ordinal(ordinal) }
}

fn rehearsed(script: &Script) -> Rehearsal {
    rehearse(script, &mut |_| {}).expect("it can be rehearsed")
}

#[test]
fn a_service_within_its_capacity_answers_everything_at_the_declared_cost() {
    let found =
        rehearsed(&script(vec![service("shop", &serde_json::json!({"scale": {"replicas": 3}}), 100)]));
    let shop = &found.services[0];

    assert_eq!((shop.requests.asked, shop.requests.failed()), (30_000, 0));
    assert_eq!((shop.ready_min, shop.ready_max, shop.starts, shop.failures), (3, 3, 3, 0));
    assert!((shop.replica_seconds - 900.0).abs() < 1e-6, "{}", shop.replica_seconds);
    assert!(
        found.events.first().is_some_and(|event| event.at.starts_with('-')),
        "events before the first request have negative times"
    );
}

#[test]
fn no_more_requests_are_in_flight_than_were_sent() {
    // Each of seven replicas gets a seventh of every request, and answers hardly any.
    let mut stuck = service("shop", &serde_json::json!({"scale": {"replicas": 7}}), 3);
    stuck.program.cost = Duration::from_secs(3600);
    let script = Script { span: Duration::from_secs(10), ..script(vec![stuck]) };
    let shop = &rehearsed(&script).services[0];

    assert_eq!(shop.requests.asked, 30);
    assert!((28..=30).contains(&shop.in_flight_max), "{}", shop.in_flight_max);
}

#[test]
fn the_same_seed_gives_the_same_result_and_another_does_not() {
    let mut stormy = script(vec![service("shop", &serde_json::json!({"scale": {"replicas": 4}}), 300)]);
    stormy.faults = Faults::default().with(Fault::Crash, 2_000).with(Fault::Lost, 20);
    let first = rehearsed(&stormy);
    let again = rehearsed(&stormy);
    stormy.seed += 1;

    assert!(first.services[0].failures > 0, "there were faults: {first:?}");
    assert_eq!(first, again);
    assert_ne!(first.events, rehearsed(&stormy).events);
}

#[test]
fn killed_and_hanging_replicas_are_restarted() {
    let mut script = script(vec![service("shop", &serde_json::json!({"scale": {"replicas": 4}}), 100)]);
    script.scheduled_faults = vec![
        ScheduledFault { after: Duration::from_mins(1), kind: FaultKind::Kill(replica("shop", 0)) },
        ScheduledFault { after: Duration::from_mins(2), kind: FaultKind::Hang(replica("shop", 1)) },
    ];
    let found = rehearsed(&script);
    let shop = &found.services[0];

    assert_eq!((shop.failures, shop.starts), (1, 6), "{:?}", found.events);
    assert_eq!((shop.ready_min, shop.samples.last().map(|sample| sample.ready)), (3, Some(4)));
    let exit = found.events.iter().find(|event| event.kind == "Exited").expect("its exit is an event");
    assert!(exit.at.starts_with("00:01:00.") && exit.replica.as_deref() == Some("shop-0"), "{exit:?}");
}

#[test]
fn replicas_keep_serving_while_homeostat_is_down() {
    let mut script = script(vec![service("shop", &serde_json::json!({"scale": {"replicas": 2}}), 100)]);
    script.scheduled_faults =
        vec![ScheduledFault { after: Duration::from_mins(1), kind: FaultKind::KillHomeostat }];
    let shop = &rehearsed(&script).services[0];

    assert_eq!((shop.starts, shop.failures), (2, 0), "they were taken over");
    assert_eq!(shop.requests.asked, 30_000);
    assert!(shop.requests.unanswered > 0, "nobody listens while it is down");
    assert!(shop.samples.iter().all(|sample| (sample.running, sample.desired) == (2, 2)));
}

#[test]
fn a_service_waits_for_what_it_depends_on() {
    let needs = serde_json::json!({"dependsOn": [{"service": "store", "when": "ready"}]});
    let found =
        rehearsed(&script(vec![service("shop", &needs, 10), service("store", &serde_json::json!({}), 10)]));
    let first = |service: &str, kind: &str| {
        let at = found.events.iter().position(|event| event.service == service && event.kind == kind);
        at.unwrap_or_else(|| panic!("no {kind} of {service}: {:?}", found.events))
    };

    assert!(first("store", "Ready") < first("shop", "Starting"));
}

#[test]
fn a_recording_shorter_than_the_rehearsal_is_repeated() {
    let mut shop = service("shop", &serde_json::json!({}), 0);
    let points = [10_000, 20_000].map(MilliRps).into();
    shop.load = ServiceLoad::Recorded { every: Duration::from_secs(1), points };
    let found = rehearsed(&script(vec![shop]));

    let loads: Vec<f64> = found.services[0].samples.iter().step_by(4).take(4).map(|it| it.load).collect();
    assert_eq!(loads, [10.0, 20.0, 10.0, 20.0]);
}

#[test]
fn invalid_scripts_are_refused() {
    let good = script(vec![service("shop", &serde_json::json!({}), 1)]);
    let refused = |change: fn(&mut Script)| {
        let mut script = good.clone();
        change(&mut script);
        rehearse(&script, &mut |_| {}).expect_err("it cannot be rehearsed")
    };

    assert_eq!(refused(|script| script.services.clear()), ScriptError::NoService);
    assert_eq!(refused(|script| script.span = Duration::ZERO), ScriptError::Span(Duration::ZERO));
    let unknown = refused(|script| {
        script.scheduled_faults =
            vec![ScheduledFault { after: Duration::ZERO, kind: FaultKind::Kill(replica("cart", 0)) }];
    });
    assert!(unknown.to_string().contains("service cart, which the manifests do not declare"), "{unknown}");
    let too_late = refused(|script| {
        script.scheduled_faults = vec![ScheduledFault { after: script.span, kind: FaultKind::KillHomeostat }];
    });
    assert_eq!(too_late, ScriptError::TooLate { after: good.span, span: good.span });
}
