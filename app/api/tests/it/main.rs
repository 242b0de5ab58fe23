//! The public interface of `api`: real sockets, a real loop, real processes.

mod recommendations;
mod world;

use http_body_util::BodyExt as _;
use hyper::{Method, StatusCode};
use model::event::EventKind;
use model::name::ServiceName;
use serde_json::{Value, json};
use world::{Events, World, service};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_is_declared_shown_held_released_and_deleted() {
    let world = World::start().await;
    let answer = world.send(Method::POST, "/v1/apply?dryRun=true", &service("shop", 2)).await;
    assert_eq!(
        answer.json(),
        json!({"dryRun": true, "items": [{"kind": "service", "name": "shop", "change": "created"}]})
    );
    assert_eq!(world.get("/v1/services/shop").await.status, StatusCode::NOT_FOUND, "a dry run keeps nothing");

    world.declare("shop", 2).await;
    let shop = world.get("/v1/services/shop").await.json();
    assert_eq!(shop["apiVersion"], "homeostat/v1");
    assert_eq!(shop["spec"]["scale"]["replicas"], 2);
    assert_eq!(shop["status"]["desiredReplicas"], 2);
    for condition in shop["status"]["conditions"].as_array().unwrap() {
        for field in ["type", "status", "reason", "message", "since"] {
            assert!(condition.get(field).is_some(), "{field} of {condition}");
        }
    }
    let again = world.send(Method::POST, "/v1/apply", &json!({"items": [service("shop", 2)]})).await.json();
    assert_eq!(again["items"][0]["change"], "unchanged");

    let many = world.send(Method::PUT, "/v1/services/shop/scale", &json!({"replicas": 1001})).await;
    assert_eq!(many.status, StatusCode::BAD_REQUEST);
    let sentence = many.json().to_string();
    assert!(sentence.contains("the guard lets at most 1000 of one service run"), "{sentence}");
    let held =
        world.send(Method::PUT, "/v1/services/shop/scale", &json!({"replicas": 1, "for": "10m"})).await;
    assert_eq!(held.json()["hold"]["replicas"], 1, "{held:?}");
    let wanted =
        |replicas: u32| move |answer: &world::Answer| answer.json()["status"]["readyReplicas"] == replicas;
    let shop = world.until("/v1/services/shop", wanted(1)).await.json();
    let until = |value: &Value| {
        value["hold"]["until"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_second()
    };
    assert!(until(&shop["status"]).abs_diff(until(&held.json())) <= 5, "{shop}");
    let released = world.send(Method::DELETE, "/v1/services/shop/scale", &json!(null)).await.json();
    assert_eq!(released, json!({"target": "service/shop", "hold": null}));
    world.until("/v1/services/shop", wanted(2)).await;

    let deleted = world.send(Method::DELETE, "/v1/services/shop", &json!(null)).await.json();
    assert_eq!(deleted["items"][0]["change"], "deleted");
    world.until("/v1/services/shop", |answer| answer.status == StatusCode::NOT_FOUND).await;
    world.until("/v1/replicas", |answer| answer.json() == json!({"items": []})).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_from_an_outdated_version_is_refused() {
    let world = World::start().await;
    world.declare("shop", 1).await;
    let read = world.get("/v1/services/shop").await.json();
    let version =
        read["metadata"]["resourceVersion"].as_str().expect("a declared resource has one").to_owned();
    let edited = |replicas: u32| {
        let mut edited = read.clone();
        edited["spec"]["scale"]["replicas"] = replicas.into();
        edited
    };
    let change = async |answer: world::Answer| answer.json()["items"][0]["change"].clone();
    let first = world.send(Method::POST, "/v1/apply", &edited(2)).await;
    assert_eq!(change(first).await, "configured", "it has not been changed since it was read");
    let again = world.send(Method::POST, "/v1/apply", &edited(2)).await;
    assert_eq!(change(again).await, "unchanged", "an apply can be repeated");

    let both = json!({"items": [service("other", 1), edited(3)]});
    for path in ["/v1/apply", "/v1/apply?dryRun=true"] {
        let refused = world.send(Method::POST, path, &both).await;
        assert_eq!((refused.status, &refused.json()["code"]), (StatusCode::CONFLICT, &json!("HS0026")));
        let sentence = refused.json()["error"].to_string();
        assert!(
            sentence.contains("get it again") && sentence.contains("leave out the version"),
            "{sentence}"
        );
    }
    assert_eq!(world.get("/v1/services/other").await.status, StatusCode::NOT_FOUND, "all or nothing");

    let at = async |method: Method, path: &str, body: &Value, tag: &str| {
        let mut request = world.request(method, path, &body.to_string());
        request.headers_mut().insert("content-type", "application/json".parse().unwrap());
        request.headers_mut().insert("if-match", tag.parse().unwrap());
        world.execute(request).await.status
    };
    let latest = world.get("/v1/services/shop").await.json()["metadata"]["resourceVersion"].clone();
    let latest = latest.as_str().unwrap();
    let (outdated, latest) = (format!("\"{version}\""), format!("\"{latest}\""));
    let (scale, replicas) = ("/v1/services/shop/scale", json!({"replicas": 1}));
    for (tag, expected) in [
        ("r1", StatusCode::BAD_REQUEST),
        ("*", StatusCode::BAD_REQUEST),
        (outdated.as_str(), StatusCode::PRECONDITION_FAILED),
        (latest.as_str(), StatusCode::OK),
    ] {
        assert_eq!(at(Method::POST, "/v1/apply", &service("shop", 3), tag).await, expected, "apply {tag}");
        // The version is outdated from here on: what follows happens at the version after this apply.
        let tag = if expected == StatusCode::OK {
            let shop = world.get("/v1/services/shop").await.json();
            format!("\"{}\"", shop["metadata"]["resourceVersion"].as_str().unwrap())
        } else {
            tag.to_owned()
        };
        assert_eq!(at(Method::PUT, scale, &replicas, &tag).await, expected, "scale {tag}");
        assert_eq!(at(Method::DELETE, scale, &Value::Null, &tag).await, expected, "release {tag}");
        assert_eq!(at(Method::DELETE, "/v1/svc/shop", &Value::Null, &tag).await, expected, "delete {tag}");
    }
    let deleted = world.send(Method::POST, "/v1/apply", &edited(1)).await;
    assert_eq!(deleted.status, StatusCode::CONFLICT, "a change does not restore what was deleted");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleting_a_resource_that_others_refer_to_warns_and_shows_in_their_status() {
    let world = World::start().await;
    let mut shop = service("shop", 1);
    shop["spec"]["scale"]["protect"] = "sessions".into();
    shop["spec"]["ports"] = json!([{"name": "http"}]);
    shop["spec"]["expose"] = json!({"listen": "127.0.0.1:0", "port": "http"});
    let mut sessions = metric_source();
    sessions["spec"] = json!({"metric": "sessions", "from": {"replicas": {"service": "shop"}}});
    let both = json!({"items": [shop, sessions]});
    let applied = world.send(Method::POST, "/v1/apply", &both).await.json();
    assert_eq!(applied["items"][0]["warnings"], Value::Null, "{applied}");
    let condition = |answer: &world::Answer, kind: &str| {
        let shop = answer.json();
        let found =
            shop["status"]["conditions"].as_array().and_then(|all| all.iter().find(|it| it["type"] == kind));
        found.cloned().unwrap_or_default()
    };
    let removable = |reason: &'static str| {
        move |answer: &world::Answer| condition(answer, "Removable")["reason"] == reason
    };
    let answer = world.until("/v1/services/shop", removable("NotMeasured")).await;
    let message = "sessions is unknown for 1 of 1 serving replicas, so these are not removed";
    assert_eq!(condition(&answer, "Removable")["message"], message);
    let answer =
        world.until("/v1/services/shop", |answer| condition(answer, "Exposed")["status"] == "True").await;
    assert!(condition(&answer, "Exposed")["since"].is_string(), "{answer:?}");

    let deleted = world.send(Method::DELETE, "/v1/metricsources/shop", &json!(null)).await.json();
    let warning = "Service/shop spec.scale.protect: nothing measures sessions of each replica of shop yet: declare a MetricSource for it";
    assert_eq!(deleted["items"][0]["warnings"], json!([warning]));
    let answer = world.until("/v1/services/shop", removable("NoSource")).await;
    assert_eq!(condition(&answer, "Removable")["status"], "False");
    let deleted = world.send(Method::DELETE, "/v1/services/shop", &json!(null)).await.json();
    assert_eq!(deleted["items"][0]["warnings"], Value::Null, "no other resource refers to it: {deleted}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_is_shown_with_its_process_and_its_log() {
    let world = World::start().await;
    world.declare("shop", 1).await;
    let list = world.get("/v1/replicas?service=shop").await.json();
    let replica = &list["items"][0];
    assert_eq!(replica["metadata"]["name"], "shop-0");
    let status = &replica["status"];
    assert_eq!(
        (&status["service"], &status["node"], &status["ready"]),
        (&json!("shop"), &json!("here"), &json!(true))
    );
    assert_eq!((&status["phase"], &status["restarts"]), (&json!("Running"), &json!(0)));
    let pid = status["pid"].as_u64().expect("it runs");
    assert!(std::path::Path::new(&format!("/proc/{pid}")).exists());
    let started: jiff::Timestamp = status["startedAt"].as_str().unwrap().parse().expect("RFC 3339");
    assert!(started > "2020-01-01T00:00:00Z".parse().unwrap());
    assert_eq!(world.get("/v1/replicas/shop-0").await.json()["status"]["pid"], pid);

    let log = world.until("/v1/replicas/shop-0/logs?tail=5", |answer| !answer.body.is_empty()).await;
    assert_eq!((log.text(), log.media.as_str()), ("hello\n", "text/plain; charset=utf-8"));
    let unknown = world.get("/v1/replicas/shop-7").await;
    assert_eq!((unknown.status, &unknown.json()["code"]), (StatusCode::NOT_FOUND, &json!("HS0003")));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_is_explained_now_and_as_of_a_time() {
    let world = World::start().await;
    world.declare("shop", 1).await;
    let then = world.handle.now().wall;
    // A decision in the same millisecond would count as before it.
    while world.handle.now().wall == then {
        tokio::task::yield_now().await;
    }
    let then = api::rfc3339(then);
    let now = world.get("/v1/services/shop/explain").await.json();
    for field in
        ["target", "at", "desired", "previous", "policy", "metrics", "limits", "guard", "reasons", "summary"]
    {
        assert!(now.get(field).is_some(), "{field} of {now}");
    }
    assert_eq!(
        (&now["target"], &now["desired"], &now["policy"]),
        (&json!("service/shop"), &json!(1), &json!("fixed"))
    );

    world.send(Method::PUT, "/v1/services/shop/scale", &json!({"replicas": 2})).await;
    world.until("/v1/services/shop/explain", |answer| answer.json()["desired"] == 2).await;
    let past = world.get(&format!("/v1/services/shop/explain?at={then}")).await;
    assert_eq!((&past.json()["desired"], &past.json()["policy"]), (&json!(1), &json!("fixed")), "{past:?}");
    let before = world.get("/v1/services/shop/explain?at=2020-01-01T00:00:00Z").await;
    assert_eq!((before.status, &before.json()["code"]), (StatusCode::NOT_FOUND, &json!("HS0010")));
    let page = world.get("/v1/services/shop/describe").await.json();
    assert_eq!(page["service"]["metadata"]["name"], "shop");
    assert_eq!(page["explanation"]["desired"], 2);
    assert!(page["events"].as_array().unwrap().iter().any(|event| event["reason"] == "Scaled"));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watches_send_existing_objects_changes_and_deletions() {
    let world = World::start().await;
    let mut events = Events::of(world.open(world.request(Method::GET, "/v1/events?watch=true", "")).await);
    world.declare("shop", 1).await;
    events.until(|event| event["reason"] == "Ready" && event["replica"] == "shop-0").await;

    let mut services =
        Events::of(world.open(world.request(Method::GET, "/v1/services?watch=true", "")).await);
    let first = services.next().await.unwrap();
    assert_eq!((&first["type"], &first["object"]["metadata"]["name"]), (&json!("added"), &json!("shop")));
    world.send(Method::PUT, "/v1/services/shop/scale", &json!({"replicas": 2})).await;
    services
        .until(|change| change["type"] == "modified" && change["object"]["status"]["readyReplicas"] == 2)
        .await;
    world.send(Method::DELETE, "/v1/services/shop", &Value::Null).await;
    services.until(|change| change["type"] == "deleted").await;

    let follow = world.open(world.request(Method::GET, "/v1/nodes?watch=true", "")).await;
    world.end().await;
    // An open watch does not prevent the server from stopping.
    drop(follow);
    while services.next().await.is_some() {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_of_events_continues_after_the_last_event_that_was_received() {
    let world = World::start().await;
    let watch = |last: &str| {
        let mut request = world.request(Method::GET, "/v1/events?watch=true&limit=1", "");
        request.headers_mut().insert("last-event-id", last.parse().unwrap());
        world.open(request)
    };
    world.declare("shop", 2).await;
    let listed = world.get("/v1/events").await.json();
    let listed = listed["items"].as_array().unwrap();
    let mut events = Events::of(watch(listed[0]["id"].as_str().unwrap()).await);
    for missed in &listed[1..] {
        assert_eq!(events.next().await.as_ref(), Some(missed));
    }
    world.declare("web", 1).await;
    events.until(|event| event["service"] == "web" && event["reason"] == "Declared").await;

    let mut other = Events::of(watch("").await);
    assert_ne!(other.next().await.as_ref(), Some(&listed[1]), "without an id the limit applies");
    for (last, status, code) in [("0-1", 410, "HS0019"), ("9-1", 410, "HS0019"), ("first", 400, "HS0008")] {
        let response = watch(last).await;
        assert_eq!(response.status().as_u16(), status, "{last}");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let failure: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(failure["code"], code, "{failure}");
    }
    let described = api::description();
    let parameters = described["paths"]["/v1/events"]["get"]["parameters"].as_array().unwrap();
    assert!(parameters.iter().any(|it| it["name"] == "Last-Event-ID" && it["in"] == "header"));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_of_events_that_is_read_slowly_misses_none() {
    let world = World::start().await;
    let watch = world.request(Method::GET, "/v1/events?watch=true&service=shop", "");
    let mut events = Events::of(world.open(watch).await);
    let shop = ServiceName::parse("shop").unwrap();
    // 48 MB: three times what the connection and the server hold for a client that does not read.
    for n in 0..3000 {
        let message = format!("{n} {}", "x".repeat(16 * 1024));
        world.handle.record_event(&shop, None, EventKind::Declared, message);
    }
    for n in 0..3000 {
        let event = events.next().await.expect("the watch goes on");
        let message = event["message"].as_str().unwrap();
        assert!(message.starts_with(&format!("{n} ")), "{}… in place of {n}", &message[..10]);
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_the_loop_ends_watches_and_deletes_nothing() {
    let world = World::start().await;
    world.declare("shop", 1).await;
    let mut services =
        Events::of(world.open(world.request(Method::GET, "/v1/services?watch=true", "")).await);
    assert_eq!(services.next().await.unwrap()["type"], "added");
    world.handle.stop();
    while let Some(change) = services.next().await {
        assert_eq!(change["type"], "modified", "{change}");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn problems_in_a_manifest_are_reported_with_their_position_and_change_nothing() {
    let world = World::start().await;
    let mut request = world.request(
        Method::POST,
        "/v1/apply",
        "apiVersion: homeostat/v1\nkind: Service\nmetadata: {name: shop}\nspec:\n  run: {comand: [x]}\n",
    );
    request.headers_mut().insert("content-type", "application/yaml".parse().unwrap());
    let answer = world.execute(request).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    let failure = answer.json();
    assert_eq!(failure["code"], "HS0002");
    let problem = &failure["problems"][0];
    assert_eq!((&problem["line"], &problem["column"]), (&json!(5), &json!(9)), "{failure}");
    assert!(problem["message"].as_str().unwrap().contains("command"), "{failure}");

    // The second of two is invalid: the first is not stored either.
    let mut broken = service("web", 1);
    broken["spec"]["dependsOn"] = json!([{"service": "nowhere"}]);
    let answer = world.send(Method::POST, "/v1/apply", &json!([service("shop", 1), broken])).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{answer:?}");
    assert_eq!(world.get("/v1/services").await.json(), json!({"items": []}));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invalid_requests_are_refused_with_a_code_and_a_sentence() {
    let world = World::start().await;
    let refused = [
        (Method::GET, "/v1/nothing", json!(null), 404, "HS0008"),
        (Method::POST, "/v1/services", json!({}), 405, "HS0008"),
        (Method::GET, "/v1/services/Not_A_Name", json!(null), 404, "HS0003"),
        (Method::GET, "/v1/services?wacht=true", json!(null), 400, "HS0008"),
        (Method::GET, "/v1/events?since=yesterday", json!(null), 400, "HS0008"),
        (Method::GET, "/v1/services/shop/explain", json!(null), 404, "HS0003"),
        (Method::POST, "/v1/apply", json!([]), 400, "HS0008"),
        (Method::POST, "/v1/apply", json!("x".repeat(1024 * 1024)), 413, "HS0008"),
        (Method::PUT, "/v1/services/shop/scale", json!({"replicas": 1}), 404, "HS0003"),
        (Method::PUT, "/v1/services/shop/scale", json!({"replicas": -1}), 400, "HS0008"),
        (Method::PUT, "/v1/services/shop/scale", json!({"replicas": 1, "for": "0s"}), 400, "HS0008"),
        (Method::GET, "/v1/services/shop/explain?at=2999-01-01T00:00:00Z", json!(null), 400, "HS0008"),
        (Method::PUT, "/v1/services/shop/scale", json!({"replicas": 2_000_000_000}), 400, "HS0008"),
        (Method::DELETE, "/v1/services/shop", json!(null), 404, "HS0003"),
        (Method::DELETE, "/v1/svc/shop", json!(null), 404, "HS0003"),
        (Method::DELETE, "/v1/pods/shop", json!(null), 404, "HS0003"),
        (Method::DELETE, "/v1/replicas/shop-0", json!(null), 405, "HS0008"),
    ];
    for (method, path, body, status, code) in refused {
        let answer = world.send(method.clone(), path, &body).await;
        let failure = answer.json();
        assert_eq!(
            (answer.status.as_u16(), &failure["code"]),
            (status, &json!(code)),
            "{method} {path}: {failure}"
        );
        let sentence = failure["error"].as_str().unwrap();
        assert!(sentence.len() > 20 && !sentence.ends_with('.'), "{sentence}");
    }
    let ones = world.send(Method::POST, "/v1/apply", &json!(vec![1; 100_000])).await.json();
    let mut unknown = service("shop", 1);
    (0..60).for_each(|n| unknown["spec"][format!("unknown{n}")] = json!(n));
    let fields = world.send(Method::POST, "/v1/apply", &json!([unknown, unknown])).await.json();
    for refused in [ones, fields] {
        assert_eq!(refused["problems"].as_array().unwrap().len(), 100, "no more are listed of a body");
    }
    let large = world.send(Method::POST, "/v1/apply", &json!("x".repeat(1024 * 1024))).await.json();
    let sentence =
        "could not read the body: it has more than 1048576 bytes; send the resources in several parts";
    assert_eq!(large["error"], sentence);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_web_page_of_another_origin_can_read_and_change_nothing() {
    let world = World::start().await;
    for (name, value) in [
        ("origin", "http://evil.example"),
        ("host", "evil.example"),
        ("sec-fetch-site", "cross-site"),
        ("origin", "null"),
    ] {
        for method in [Method::GET, Method::POST, Method::DELETE] {
            let mut request = world.request(method, "/v1/services/shop", &service("shop", 1).to_string());
            request.headers_mut().insert("content-type", "application/json".parse().unwrap());
            request.headers_mut().insert(name, value.parse().unwrap());
            let answer = world.execute(request).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{name}: {value}");
            assert_eq!(answer.json()["code"], "HS0007");
        }
    }
    let mut form = world.request(Method::POST, "/v1/apply", &service("shop", 1).to_string());
    form.headers_mut().insert("content-type", "text/plain".parse().unwrap());
    assert_eq!(world.execute(form).await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let mut own = world.request(Method::GET, "/v1/services", "");
    own.headers_mut().insert("origin", format!("http://{}", world.address).parse().unwrap());
    let answer = world.execute(own).await;
    assert_eq!((answer.status, answer.json()), (StatusCode::OK, json!({"items": []})));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watches_have_a_limit_that_leaves_connections_for_other_requests() {
    let world = World::start().await;
    world.declare("shop", 1).await;
    let log = "/v1/replicas/shop-0/logs";
    world.until(log, |answer| answer.text() == "hello\n").await;
    let mut open = Vec::new();
    let refused = loop {
        let response = world.open(world.request(Method::GET, "/v1/services?watch=true", "")).await;
        if response.status() != StatusCode::OK {
            break response.status();
        }
        open.push(response);
        assert!(open.len() < 1000, "there is no limit");
    };
    assert_eq!((refused, open.len()), (StatusCode::SERVICE_UNAVAILABLE, 64));
    assert_eq!(world.get("/v1/services").await.status, StatusCode::OK);
    assert_eq!(world.get(log).await.text(), "hello\n", "only followed logs count");
    let followed = world.get(&format!("{log}?follow=true")).await;
    assert_eq!(
        (followed.status, &followed.json()["code"]),
        (StatusCode::SERVICE_UNAVAILABLE, &json!("HS0009"))
    );
    drop(open);
    // The permits are released once the server has noticed.
    world.until("/healthz", |_| true).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_beyond_the_limit_are_refused_with_a_sentence_and_the_server_recovers() {
    let world = World::start().await;
    let mut open = Vec::new();
    // More than the limit, and more than are refused at the same time.
    for _ in 0..260 {
        open.push(tokio::net::TcpStream::connect(world.address).await.unwrap());
    }
    let mut last = open.pop().unwrap();
    let mut answer = String::new();
    let reading = tokio::io::AsyncReadExt::read_to_string(&mut last, &mut answer);
    tokio::time::timeout(world::DEADLINE, reading).await.expect("it is answered").unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer}");
    assert!(
        answer.contains("connections to the API are open already") && answer.contains("HS0009"),
        "{answer}"
    );
    drop(open);
    world.until("/healthz", |answer| answer.status == StatusCode::OK).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_are_complete_openmetrics() {
    let world = World::start().await;
    world.declare("shop", 2).await;
    let ready = "homeostat_replicas_ready{service=\"shop\"} 2";
    let answer = world.until("/metrics", |answer| answer.text().contains(ready)).await;
    assert!(answer.media.starts_with("application/openmetrics-text"), "{}", answer.media);
    let text = answer.text();
    for line in [
        "homeostat_replicas{service=\"shop\",phase=\"Running\"} 2",
        "homeostat_replica_restarts_total{service=\"shop\",replica=\"shop-0\"} 0",
        "homeostat_events_total{kind=\"Declared\"} 1",
        "# TYPE homeostat_loop_rounds counter",
        "homeostat_ready 1",
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
    assert!(text.ends_with("# EOF\n"), "OpenMetrics ends with EOF");
    world.end().await;
}

/// Executes every operation of the description; each responds with the described media type and fields.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_operation_responds_as_described() {
    let world = World::start().await;
    let described = world.get("/openapi.json").await.json();
    assert_eq!(described, api::description());
    let mut executed = 0;
    // Changes come first, deletions last.
    for method in ["post", "put", "get", "delete"] {
        for (path, operations) in described["paths"].as_object().unwrap() {
            let Some(operation) = operations.get(method) else { continue };
            world.declare("shop", 1).await;
            let name = match path.as_str() {
                path if path.contains("/replicas/") => "shop-0",
                path if path.contains("/nodes/") => "here",
                _ => "shop",
            };
            let path = path.replace("{kind}", "svc").replace("{name}", name);
            let body = match path.rsplit('/').next() {
                Some("scale") => json!({"replicas": 1}),
                Some("pause" | "protection") => json!({"for": "10m"}),
                Some(_) | None => service("shop", 1),
            };
            let is_paused = method == "put" && path.ends_with("/pause");
            if path.contains("horizontalpodautoscalers") || is_paused {
                world.send(Method::POST, "/v1/apply", &autoscaler()).await;
            }
            if path.contains("/routes/") {
                world.send(Method::POST, "/v1/apply", &route()).await;
            }
            if path.contains("/metricsources/") {
                world.send(Method::POST, "/v1/apply", &metric_source()).await;
            }
            if path.ends_with("/forecast") {
                let mut shop = service("shop", 1);
                shop["spec"]["scale"]["forecast"] = json!({"mode": "shadow", "step": "1s"});
                world.send(Method::POST, "/v1/apply", &shop).await;
            }
            let answer = world.send(method.to_uppercase().parse().unwrap(), &path, &body).await;
            assert_eq!(answer.status, StatusCode::OK, "{method} {path}: {answer:?}");
            let content = operation["responses"]["200"]["content"].as_object().unwrap();
            let media = answer.media.split(';').next().unwrap();
            assert!(content.contains_key(media), "{method} {path} gave {media}, described is {content:?}");
            if media == "application/json" {
                check_schema(
                    &described,
                    &content[media]["schema"],
                    &answer.json(),
                    &format!("{method} {path}"),
                );
            }
            executed += 1;
        }
    }
    assert_eq!(executed, 42, "an operation was added or removed");
    world.end().await;
}

fn route() -> Value {
    json!({
        "apiVersion": "homeostat/v1",
        "kind": "Route",
        "metadata": {"name": "shop"},
        "spec": {"listen": "127.0.0.1:0", "rules": [{"backendRefs": [{"name": "shop"}, {"name": "gone"}]}]},
    })
}

fn metric_source() -> Value {
    json!({
        "apiVersion": "homeostat/v1",
        "kind": "MetricSource",
        "metadata": {"name": "shop"},
        "spec": {"metric": "jobs", "from": {"command": {"argv": ["echo", "3"]}}},
    })
}

fn autoscaler() -> Value {
    json!({
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "shop"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "homeostat/v1", "kind": "Service", "name": "shop"},
            "minReplicas": 1,
            "maxReplicas": 2,
        },
    })
}

/// Checks that `value` has the required fields of `schema` and only described ones, recursively.
fn check_schema(described: &Value, schema: &Value, value: &Value, at: &str) {
    let schema = match schema["$ref"].as_str() {
        Some(reference) => {
            described.pointer(reference.trim_start_matches('#')).unwrap_or_else(|| panic!("{reference}"))
        }
        None => schema,
    };
    if let Some(choices) = schema["anyOf"].as_array() {
        let choice = choices.iter().find(|choice| (choice["type"] == "null") == value.is_null());
        return check_schema(described, choice.expect("null, or one other form"), value, at);
    }
    for required in schema["required"].as_array().into_iter().flatten() {
        assert!(value.get(required.as_str().unwrap()).is_some(), "{at} lacks {required}: {value}");
    }
    if let (Some(properties), Some(object)) = (schema["properties"].as_object(), value.as_object()) {
        for (name, field) in object {
            let form = properties.get(name).unwrap_or_else(|| panic!("{at}.{name} is not described"));
            check_schema(described, form, field, &format!("{at}.{name}"));
        }
    }
    for item in value.as_array().into_iter().flatten() {
        check_schema(described, &schema["items"], item, at);
    }
}
