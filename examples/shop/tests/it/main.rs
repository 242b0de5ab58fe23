//! Tests of the shop as a process, over real sockets.

mod process;

use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use hyper::{Method, StatusCode};
use process::{DEADLINE, Process};
use tokio::net::UdpSocket;

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_can_look_search_and_buy() {
    let shop = Process::open(&["--work", "0s"]).await;
    assert!(shop.get("/").await.body.contains("<a href=\"/product/"));
    assert!(shop.get("/product/7").await.body.contains("No. 7,"));
    assert!(shop.get("/search?q=teapot").await.body.contains("teapot</a>"));
    let cart = shop.post("/cart", r#"{"lines":[{"product":7,"quantity":2}]}"#).await;
    let priced: serde_json::Value = serde_json::from_str(&cart.body).unwrap();
    assert_eq!(priced["lines"][0]["cents"], priced["totalCents"]);
    let order = shop.post("/checkout", r#"{"lines":[{"product":7,"quantity":2}]}"#).await;
    let order: serde_json::Value = serde_json::from_str(&order.body).unwrap();
    assert_eq!((&order["status"], &order["totalCents"]), (&"accepted".into(), &priced["totalCents"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_requests_are_refused_without_side_effects() {
    let shop = Process::open(&["--work", "0s"]).await;
    assert_eq!(shop.get("/product/100000").await.status, StatusCode::NOT_FOUND);
    assert_eq!(shop.get("/product/-1").await.status, StatusCode::BAD_REQUEST);
    let markup = shop.get("/search?q=%3Cscript%3Ealert(1)%3C/script%3E").await;
    assert!(markup.body.contains("&lt;script&gt;") && !markup.body.contains("<script>"), "{}", markup.body);
    for cart in [
        r#"{"lines":[]}"#,
        r#"{"lines":[{"product":7,"quantity":0}]}"#,
        r#"{"lines":[{"product":7,"quantity":4294967295}]}"#,
        r#"{"lines":[{"product":0,"quantity":1}]}"#,
        r#"{"lines":[{"product":7,"quantity":1,"price":0}]}"#,
        "not JSON",
    ] {
        assert!(shop.post("/cart", cart).await.status.is_client_error(), "{cart}");
    }
    let too_long = format!("{{\"lines\":[{}]}}", " ".repeat(20_000));
    assert_eq!(shop.post("/cart", &too_long).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(shop.get("/chaos/crash").await.status, StatusCode::NOT_FOUND);
    assert_eq!(shop.get("/").await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_uses_the_configured_cpu_time() {
    let shop = Process::open(&["--work", "20ms"]).await;
    let before = shop.cpu_time();
    for _ in 0..10 {
        assert_eq!(shop.get("/").await.status, StatusCode::OK);
    }
    let spent = shop.cpu_time() - before;
    // 200 ms, minus the rounding of the kernel to whole ticks.
    assert!(spent >= Duration::from_millis(180), "{spent:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_datagram_is_answered_with_the_name_of_the_process() {
    let free = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let _shop = Process::open(&["--udp-port", &free.port().to_string()]).await;
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.send_to(b"hello", free).await.unwrap();
    let mut answer = [0; 64];
    let (size, from) = tokio::time::timeout(DEADLINE, client.recv_from(&mut answer)).await.unwrap().unwrap();
    assert_eq!(from, free);
    let answer = std::str::from_utf8(&answer[..size]).unwrap();
    assert!(answer.starts_with("shop ") && answer.ends_with(": hello"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_port_for_operators_shows_probes_and_metrics_and_no_pages() {
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let shop = Process::open(&["--work", "0s", "--admin-port", &free.port().to_string()]).await;
    shop.get("/").await;
    assert_eq!(shop.get_at(free, "/healthz").await.body, "open\n");
    assert!(shop.get_at(free, "/metrics").await.body.contains("shop_requests_total{page=\"front\""));
    assert_eq!(shop.get_at(free, "/").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metrics_count_what_was_served() {
    let shop = Process::open(&["--work", "0s"]).await;
    shop.get("/").await;
    shop.get("/").await;
    shop.get("/product/100000").await;
    shop.wait_for_metric("shop_requests_total{page=\"front\",code=\"200\"} 2").await;
    shop.wait_for_metric("shop_requests_total{page=\"product\",code=\"4xx\"} 1").await;
    shop.wait_for_metric("shop_request_duration_seconds_count 2").await;
    shop.wait_for_metric("shop_requests_in_flight 0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_beyond_the_queue_are_refused_immediately_and_probes_still_succeed() {
    let shop = Process::open(&["--work", "500ms", "--queue", "2"]).await;
    let visitors = [(); 8].map(|()| shop.get("/"));
    let probe = async {
        shop.wait_for_metric("shop_requests_total{page=\"front\",code=\"503\"} 6").await;
        shop.get("/healthz").await.status
    };
    let [a, b, c, d, e, f, g, h] = visitors;
    let (a, b, c, d, e, f, g, h, probe) = tokio::join!(a, b, c, d, e, f, g, h, probe);
    let served = [a, b, c, d, e, f, g, h].iter().filter(|answer| answer.status == StatusCode::OK).count();
    assert_eq!((served, probe), (2, StatusCode::OK));
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_finishes_requests_in_flight_and_exits_with_0() {
    let mut shop = Process::open(&["--work", "300ms"]).await;
    let visitor = shop.get("/");
    let stop = async {
        shop.wait_for_metric("shop_requests_in_flight 1").await;
        shop.terminate();
    };
    let (answer, ()) = tokio::join!(visitor, stop);
    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.body.ends_with("</html>\n"), "the page is complete: {}", answer.body);
    assert_eq!(shop.exit_status().await.code(), Some(0));
    assert!(shop.send(Method::GET, "/", "").await.is_none(), "the socket is closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_beyond_the_grace_period_are_abandoned() {
    let mut shop = Process::open(&["--work", "1h", "--grace", "100ms"]).await;
    let visitor = shop.send(Method::GET, "/", "");
    let stop = async {
        shop.wait_for_metric("shop_requests_in_flight 1").await;
        shop.terminate();
    };
    let (answer, ()) = tokio::join!(visitor, stop);
    assert!(answer.is_none(), "{answer:?}");
    assert_eq!(shop.exit_status().await.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn before_it_is_ready_it_reports_that_and_is_live() {
    let mut shop = Process::start(&["--startup", "1h"]);
    assert_eq!(shop.get("/healthz").await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(shop.get("/").await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(shop.get("/livez").await.status, StatusCode::OK);
    shop.terminate();
    assert_eq!(shop.exit_status().await.code(), Some(0), "a shop that is opening can be closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn chaos_causes_the_requested_fault() {
    let shop = Process::open(&["--allow-chaos", "--work", "0s"]).await;
    shop.post("/chaos/unready", "").await;
    assert_eq!(shop.get("/healthz").await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        (shop.get("/").await.status, shop.get("/livez").await.status),
        (StatusCode::OK, StatusCode::OK)
    );

    let before = shop.own_memory_kib();
    shop.post("/chaos/leak?mib=20", "").await;
    assert!(shop.own_memory_kib() >= before + 20 * 1024);
    assert!(shop.post("/chaos/leak?mib=2000", "").await.status.is_client_error());

    shop.post("/chaos/hang", "").await;
    let probe = tokio::time::timeout(Duration::from_millis(300), shop.get("/livez")).await;
    assert!(probe.is_err(), "{probe:?}");

    let mut shop = Process::open(&["--allow-chaos"]).await;
    assert!(shop.send(Method::POST, "/chaos/crash", "").await.is_none());
    assert_eq!(shop.exit_status().await.signal(), Some(6), "it aborts");
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_usage_is_small_unless_more_is_configured() {
    let shop = Process::open(&["--work", "0s"]).await;
    for _ in 0..200 {
        shop.get("/").await;
    }
    let own = shop.own_memory_kib();
    assert!(own < 10 * 1024, "{own} KiB");
    let heavy = Process::open(&["--memory-mib", "30"]).await;
    assert!(heavy.own_memory_kib() >= 30 * 1024);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_reported_in_one_sentence() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output =
        std::process::Command::new(env!("CARGO_BIN_EXE_shop")).args(["--port", &port]).output().unwrap();
    let result = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        result.contains(&format!("could not listen on 127.0.0.1:{port}")) && result.lines().count() == 1,
        "{result}"
    );
}
