//! Access logs: a line for each request, and no request waits for its line.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::resource::{AccessLog, RouteSpec};
use proxy::{AttachedRoute, Gateway, ServiceRoute};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use crate::kit::*;

fn log(file: &Path, more: &Value) -> AccessLog {
    let mut declared = json!({"file": file});
    declared.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(declared).unwrap()
}

/// A fixture whose service has a log in a folder of its own.
fn fixture(endpoints: &[std::net::SocketAddr], more: &Value) -> (Fixture, tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let declared = log(&path, more);
    let fixture = Fixture::with(endpoints, |_, route| {
        route.access_log = Some(declared);
        route.balance = proxy::Balance::RoundRobin;
    });
    (fixture, folder, path)
}

async fn lines(path: &Path, count: usize) -> Vec<String> {
    let read = || fs::read_to_string(path).unwrap_or_default();
    until(|| read().lines().count() >= count).await;
    read().lines().map(str::to_owned).collect()
}

async fn objects(path: &Path, count: usize) -> Vec<Value> {
    lines(path, count).await.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn each_request_is_a_line_with_client_endpoint_and_duration() {
    let good = Backend::named("good").await;
    let gone = Backend::named("gone").await.stop().await;
    let (fixture, _folder, path) = fixture(&[gone, good.address], &json!({}));
    let mut client = fixture.client().await;
    let mut sent = request("GET", "/carts?id=1", "");
    let headers = sent.headers_mut();
    headers.insert("user-agent", "test/1 \"quoted\"".parse().unwrap());
    headers.insert("referer", "http://a.test/".parse().unwrap());
    headers.insert("x-request-id", "r-17".parse().unwrap());
    headers.insert("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().unwrap());
    assert_eq!(client.send(sent).await.unwrap().body(), "good");

    let line = objects(&path, 1).await.remove(0);
    let expected = json!({
        "client": "127.0.0.1", "method": "GET", "host": "shop.example", "path": "/carts?id=1", "protocol": "HTTP/1.1",
        "status": 200, "bytes": 4, "service": "shop", "replica": "shop-1", "tries": 2, "requestId": "r-17",
        "traceId": "4bf92f3577b34da6a3ce929d0e0e4736", "userAgent": "test/1 \"quoted\"", "referer": "http://a.test/",
    });
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&line[key], value, "{key} in {line}");
    }
    let (all, upstream) =
        (line["durationSeconds"].as_f64().unwrap(), line["upstreamSeconds"].as_f64().unwrap());
    assert!(0.0 < upstream && upstream <= all && all < 30.0, "{line}");
    assert!(
        line["time"].as_str().unwrap().ends_with('Z') && line["time"].as_str().unwrap().len() == 24,
        "{line}"
    );
}

#[tokio::test]
async fn local_replies_and_disconnected_clients_are_logged_too() {
    let (held, _folder, path) = fixture(&[], &json!({}));
    let fixture = held;
    let refused = send_raw(fixture.address, "GET / HTTP/1.1\r\nConnection: close\r\n\r\n").await;
    assert!(refused.starts_with("HTTP/1.1 400"), "{refused}");
    let line = objects(&path, 1).await.remove(0);
    assert_eq!((&line["status"], &line["tries"]), (&json!(400), &json!(0)), "{line}");
    assert!(line["bytes"].as_u64().unwrap() > 10 && line.get("replica").is_none(), "{line}");

    // This one waits for an endpoint until its client has had enough.
    let stream = tokio::net::TcpStream::connect(fixture.address).await.unwrap();
    let mut client = Client::over(stream).await;
    let sent = client.get("/waits");
    let traffic = || fixture.table.load(SERVICE).unwrap().waiting;
    tokio::select! {
        _ = sent => panic!("no endpoint can answer"),
        () = until(|| traffic() == 1) => {}
    }
    drop(client);
    let line = objects(&path, 2).await.remove(1);
    assert_eq!((&line["status"], &line["path"]), (&json!(499), &json!("/waits")), "{line}");
}

#[tokio::test]
async fn a_refused_head_is_logged_and_a_refused_body_is_not_logged_twice() {
    let good = Backend::named("good").await;
    let (fixture, _folder, path) = fixture(&[good.address], &json!({}));
    let sent = "POST /a HTTP/1.1\r\nHost: a\r\n";
    let long = "x".repeat(40_000);
    for (bytes, statuses) in [
        (format!("{sent}Content-Length: 0\r\n\r\n{sent}no colon\r\n\r\n"), &[json!(200), json!(400)][..]),
        (format!("{sent}X: {long}\r\n\r\n"), &[json!(431)]),
        (format!("{sent}Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n"), &[json!(400)]),
        (format!("{sent}Connection: close\r\n\r\n"), &[json!(200)]),
    ] {
        let before = fs::read_to_string(&path).unwrap_or_default().lines().count();
        send_raw(fixture.address, bytes).await;
        let lines = objects(&path, before + statuses.len()).await.split_off(before);
        assert_eq!(
            lines.iter().map(|line| line["status"].clone()).collect::<Vec<_>>(),
            statuses,
            "{lines:?}"
        );
        let refused = lines.iter().filter(|line| line.get("method").is_none());
        assert!(refused.clone().all(|line| line["client"] == "127.0.0.1" && line.get("path").is_none()));
    }
    // Three requests were understood, two heads were not.
    let all = objects(&path, 5).await;
    assert_eq!(all.iter().filter(|line| line.get("method").is_none()).count(), 2, "{all:?}");
}

#[tokio::test]
async fn a_combined_log_cannot_be_forged() {
    let good = Backend::named("good").await;
    let (fixture, _folder, path) = fixture(&[good.address], &json!({"format": "combined"}));
    let head = b"GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\nUser-Agent: a\" 200\t1 \"\xff\r\n\r\n";
    send_raw(fixture.address, head).await;
    let line = lines(&path, 1).await.remove(0);
    let (before, after) = line.split_once('[').unwrap();
    assert_eq!(before, "127.0.0.1 - - ");
    let (_time, rest) = after.split_once("] ").unwrap();
    assert_eq!(rest, r#""GET /a HTTP/1.1" 200 4 "-" "a\" 200\x091 \"\xff""#);
}

#[tokio::test]
async fn a_route_logs_each_request_once_with_its_name() {
    let hang = |stream: TcpStream| async move {
        let _held = stream;
        std::future::pending::<()>().await;
    };
    let (good, slow) = (Backend::named("good").await, Backend::raw(hang).await);
    let fixture = Fixture::new(&[good.address]);
    let mut hanging = ServiceRoute::without_listener("slow");
    hanging.endpoints.push(proxy::EndpointRoute::new(id(0), slow.address));
    fixture.table.set_service(&hanging).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("routes.log");
    let spec = json!({
        "listen": "127.0.0.1:0", "accessLog": {"file": path},
        "rules": [
            {"backendRefs": [{"name": SERVICE}]},
            {"matches": [{"path": {"value": "/slow"}}], "backendRefs": [{"name": "slow"}], "timeouts": {"request": "50ms"}},
            {"matches": [{"path": {"value": "/old"}}], "filters": [{"type": "RequestRedirect", "requestRedirect": {"scheme": "https"}}]},
        ],
    });
    let spec: RouteSpec = serde_json::from_value(spec).unwrap();
    let route = AttachedRoute { name: "web".into(), created: 1, spec: Arc::new(spec) };
    let address =
        fixture.table.set_gateway(&Gateway { listen: any(), tls: None, routes: vec![route] }).unwrap();
    let mut client = Client::connect(address).await;
    for sent in ["/", "/slow", "/old"] {
        client.get(sent).await.unwrap();
    }
    let seen = objects(&path, 3).await;
    let field = |name: &str| seen.iter().map(|line| line[name].clone()).collect::<Vec<_>>();
    assert_eq!(field("status"), [200, 504, 302]);
    assert_eq!(field("route"), ["web", "web", "web"]);
    assert_eq!(field("service"), [json!("shop"), json!("slow"), Value::Null]);
    assert_eq!(field("replica"), [json!("shop-0"), json!("slow-0"), Value::Null]);
}

#[tokio::test]
async fn files_are_rotated_by_size_and_a_moved_one_is_recreated() {
    let good = Backend::named("good").await;
    let (fixture, folder, path) = fixture(&[good.address], &json!({"size": "4Ki", "keep": 3}));
    let mut client = fixture.client().await;
    for number in 0..60 {
        client.get(&format!("/{number}")).await.unwrap();
    }
    let state = || fixture.table.access_logs().remove(0);
    until(|| state().written == 60).await;
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap_or_default();
    let kept: String = ["access.log.3", "access.log.2", "access.log.1", "access.log"].map(read).concat();
    let numbers: Vec<String> = kept
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["path"].as_str().unwrap().to_owned())
        .collect();
    let first = 60 - numbers.len();
    assert_eq!(numbers, (first..60).map(|number| format!("/{number}")).collect::<Vec<_>>());
    assert!(
        fs::metadata(&path).unwrap().len() <= 4096
            && fs::metadata(folder.path().join("access.log.1")).unwrap().len() <= 4096
    );
    assert!(!folder.path().join("access.log.4").exists());

    fs::rename(&path, folder.path().join("moved")).unwrap();
    within(async {
        while !path.exists() {
            client.get("/later").await.unwrap();
        }
    })
    .await;
    assert!(objects(&path, 1).await[0]["path"] == "/later");
}

#[tokio::test]
async fn a_log_that_cannot_be_written_fails_no_request_and_is_counted() {
    let good = Backend::named("good").await;
    let fixture = Fixture::with(&[good.address], |_, route| {
        route.access_log = Some(log(Path::new("/no/such/folder/access.log"), &json!({})));
    });
    let mut client = fixture.client().await;
    for _ in 0..10 {
        assert_eq!(client.get("/").await.unwrap().body(), "good");
    }
    until(|| fixture.table.access_logs()[0].dropped == 10).await;
}

#[tokio::test]
async fn a_proxy_that_ends_has_written_all_log_lines() {
    let good = Backend::named("good").await;
    let (fixture, _folder, path) = fixture(&[good.address], &json!({}));
    let mut client = fixture.client().await;
    for _ in 0..50 {
        client.get("/").await.unwrap();
    }
    drop(client);
    fixture.proxy.shutdown(DEADLINE).await;
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 50);
}

/// A pipe that nobody reads cannot even be opened for writing.
#[tokio::test]
async fn a_proxy_ends_even_if_its_log_cannot_be_written() {
    let backend = Backend::named("good").await;
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let declared = log(&pipe, &json!({}));
    let Fixture { proxy, address, .. } =
        Fixture::with(&[backend.address], |_, route| route.access_log = Some(declared));
    assert_eq!(Client::connect(address).await.get("/").await.unwrap().body(), "good");
    let (report_end, end) = oneshot::channel();
    // On a thread of its own, so that an end that does not come fails this test.
    std::thread::spawn(move || {
        drop(proxy);
        report_end.send(()).unwrap();
    });
    within(end).await.unwrap();
}
