//! Recommendations from a day of history.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use control::{ControlLoop, Outbox};
use hyper::{Method, StatusCode};
use journal::History;
use model::identity::{ActionId, Epoch, Generation};
use model::input::{Declared, Input, Intent, Report, Start};
use model::measure::{Measured, MeasurementResult, MetricKey, MetricSubject, Series};
use model::name::{NodeName, ServiceName};
use model::quantity::Milli;
use model::resource::Resource;
use model::settings::Settings;
use model::time::{Now, Time, Wall};
use serde_json::{Value, json};

use crate::world::World;

const DAY: Duration = Duration::from_hours(24);

/// A service with one worker for every ten waiting jobs, at most four.
fn worker() -> Value {
    json!({
        "apiVersion": "homeostat/v1", "kind": "Service", "metadata": {"name": "worker"},
        "spec": {
            "run": {"command": ["sh", "-c", "exec sleep 600"]},
            "scale": {"min": 1, "max": 4, "metrics": [{
                "type": "External",
                "external": {"metric": {"name": "queue"}, "target": {"type": "AverageValue", "averageValue": 10}},
            }]},
            "stop": {"signal": "SIGKILL", "drain": "0s"},
        },
    })
}

/// Writes a history to `folder`: a loop decides on `worker` for more than a day until now. For half an hour `peak` jobs wait, otherwise five.
fn write_history(folder: &Path, worker: &Value, peak: i64) {
    let mut history = History::new(folder.to_owned(), 30 * DAY);
    history.begin_run(Epoch(1)).unwrap();
    let mut control = ControlLoop::new(Settings::default());
    let begin = os::wall().as_millis() - u64::try_from((DAY + Duration::from_hours(1)).as_millis()).unwrap();
    let mut put = |elapsed: Duration, input: &Input| {
        let ms = u64::try_from(elapsed.as_millis()).unwrap();
        let now = Now { time: Time::from_millis(1_000_000 + ms), wall: Wall::from_millis(begin + ms) };
        let mut out = Outbox::default();
        control.step(now, input, &mut out);
        out.decisions.iter().for_each(|decided| history.append(decided).unwrap());
    };
    let node = NodeName::parse("there").unwrap();
    let settings = Arc::new(Settings::default());
    let started = Start { epoch: Epoch(1), node: node.clone(), seed: 7, settings };
    put(Duration::ZERO, &Input::Started(started));
    put(Duration::ZERO, &Input::Intent(Intent::Declare(Arc::new(declared(worker)))));
    let (up_to, replicas) = (ActionId::default(), Vec::new());
    put(Duration::ZERO, &Input::Report(Report::Inventory { node, up_to, replicas }));
    let mut second = 0;
    while second < DAY.as_secs() + 1800 {
        let is_busy = (3600..5400).contains(&second);
        // Time passes in seconds during the peak, else in minutes.
        second += if is_busy { 1 } else { 60 };
        let waiting = if is_busy { 1000 * peak } else { 5_000 };
        put(Duration::from_secs(second), &Input::Report(Report::Measured(vec![measured(waiting)])));
        put(Duration::from_secs(second), &Input::Woke);
    }
    history.flush().unwrap();
}

fn measured(milli: i64) -> Measured {
    Measured {
        source: ServiceName::parse("queues").unwrap(),
        key: MetricKey { metric: "queue".into(), subject: MetricSubject::External },
        stale_after: Duration::from_mins(2),
        result: MeasurementResult::Series(vec![Series { labels: [].into(), value: Milli(milli) }]),
    }
}

fn declared(worker: &Value) -> Declared {
    let Ok(Resource::Service(service)) = serde_json::from_value(worker.clone()) else {
        panic!("it is a service")
    };
    let (name, autoscaler) = (service.name().clone(), service.autoscaler().unwrap());
    Declared { name, revision: Generation(1), generation: Generation(1), spec: service.spec, autoscaler }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn raising_a_maximum_that_was_too_low_is_recommended_with_its_benefit() {
    let world = World::start_with(|data| write_history(&data.join("history"), &worker(), 90)).await;
    let applied = world.send(Method::POST, "/v1/apply", &worker()).await;
    assert_eq!(applied.status, StatusCode::OK, "{applied:?}");

    let found = world.get("/v1/services/worker/recommendations").await.json();
    let [advice] = &found["items"].as_array().unwrap()[..] else { panic!("{found}") };
    assert_eq!(
        (&advice["target"], &advice["kind"]),
        (&json!("service/worker"), &json!("MaxReached")),
        "{found}"
    );
    let lacked = advice["worth"]["lackedReplicaHours"].as_f64().unwrap();
    assert!((2.3..=2.7).contains(&lacked), "five more, for half an hour: {found}");
    assert_eq!(advice["changes"], json!([{"path": "spec.scale.max", "old": 4, "new": 9}]));

    let all = world.get("/v1/recommendations").await.json();
    assert_eq!(all["items"], found["items"]);
    let begun = found["until"].as_str().unwrap();
    let since_now = world.get(&format!("/v1/services/worker/recommendations?since={begun}")).await.json();
    assert_eq!(since_now["items"], json!([]), "earlier decisions are not analyzed");
    let unknown = world.get("/v1/services/nobody/recommendations").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND, "{unknown:?}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn removing_a_scheduled_minimum_that_was_not_needed_is_recommended_with_its_benefit() {
    // A minimum of three for ten of every twenty minutes, where one is enough.
    let mut scheduled = worker();
    scheduled["spec"]["scale"]["schedule"] = json!([{"cron": "*/20 * * * *", "duration": "10m", "min": 3}]);
    let kept = scheduled.clone();
    let world = World::start_with(move |data| write_history(&data.join("history"), &kept, 5)).await;
    let applied = world.send(Method::POST, "/v1/apply", &scheduled).await;
    assert_eq!(applied.status, StatusCode::OK, "{applied:?}");

    let found = world.get("/v1/services/worker/recommendations").await.json();
    let of_kind = |kind: &str| found["items"].as_array().unwrap().iter().find(|it| it["kind"] == kind);
    let advice = of_kind("ScheduleOverAsked").unwrap_or_else(|| panic!("{found}"));
    let spared = advice["worth"]["sparedReplicaHours"].as_f64().unwrap();
    assert!((23.9..=25.4).contains(&spared), "two for half of a day: {found}");
    let [change] = &advice["changes"].as_array().unwrap()[..] else { panic!("{found}") };
    assert_eq!((&change["path"], &change["new"]), (&json!("spec.scale.schedule"), &json!(null)), "{found}");
    world.end().await;
}
