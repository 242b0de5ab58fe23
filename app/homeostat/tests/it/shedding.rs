//! Load shedding: which requests are refused, and where that is reported.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::json;

use crate::instance::{Instance, text, wait_until};

#[test]
fn requests_beyond_saturation_are_shed_and_counted() {
    let mut instance = Instance::new();
    let address = format!("127.0.0.1:{}", ports::free());
    let limits = "{inFlight: 9, adaptive: {min: 1, max: 2}}";
    let more = format!("  expose: {{listen: {address:?}, port: http, limits: {limits}}}\n");
    let manifest = instance.write_service("web", &more);
    instance.up(&["-f", text(&manifest)]);
    instance.wait_for_ready("web", 1);
    let proxied = || instance.query(&["get", "service/web"])["status"]["proxy"].clone();
    let send_request = |path: &str| {
        let mut stream = wait_until("the proxy listens", || TcpStream::connect(&address).ok());
        write!(stream, "GET {path} HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n").expect("it listens");
        stream
    };
    let held = [send_request("/hold"), send_request("/hold")];
    let adaptive = json!({"limit": 2, "awaiting": 2, "bestLatencySeconds": null});
    wait_until("both await an answer", || (proxied()["adaptive"] == adaptive).then_some(()));

    let mut answer = String::new();
    send_request("/").read_to_string(&mut answer).expect("it answers and closes");
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("retry-after: 1"), "{answer}");
    assert_eq!(proxied()["refused"], json!({"noReplica": 0, "overLimit": 0, "shed": 1}));
    let described = instance.run(&["describe", "service/web"]).out;
    assert!(described.contains("1 more than can be answered in good time"), "{described}");
    assert!(
        described.contains("requests in flight: 2 of at most 2; nothing has been measured yet"),
        "{described}"
    );
    let (_, metrics) = instance.get_api("/metrics");
    for line in [
        "homeostat_requests_refused_total{service=\"web\",reason=\"shed\"} 1",
        "homeostat_concurrency_limit{service=\"web\"} 2",
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }

    drop(held);
    wait_until("no requests are waiting", || (proxied()["adaptive"]["awaiting"] == 0).then_some(()));
    send_request("/").read_to_string(&mut answer).expect("it answers and closes");
    assert!(answer.contains("HTTP/1.1 200 "), "{answer}");
}
