//! Answers of the proxy itself to clients that are still sending their request.

use std::time::Duration;

use proxy::Gateway;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::kit::*;

const NEXT: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// A body that is too long to be read and discarded before the answer.
const LONG: usize = 5_000_000;

/// The service without endpoints, which answers 503.
fn unavailable() -> Fixture {
    Fixture::with(&[], |_config, route| route.timeouts.endpoint = Duration::ZERO)
}

/// Sends all of the pieces, whatever is answered in between, and receives until the proxy closes.
async fn send_all(fixture: &Fixture, pieces: &[&str]) -> String {
    let mut stream = TcpStream::connect(fixture.address).await.unwrap();
    for piece in pieces {
        within(stream.write_all(piece.as_bytes()))
            .await
            .expect("the connection is open while the client sends");
    }
    let mut received = String::new();
    within(stream.read_to_string(&mut received)).await.expect("the connection ends without a reset");
    received
}

#[tokio::test]
async fn the_connection_is_kept_if_little_is_left_of_the_request() {
    let fixture = unavailable();
    let body = "x".repeat(200_000);
    let chunked = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    for (framing, body) in [("Content-Length: 200000", &body), ("Transfer-Encoding: chunked", &chunked)] {
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n");
        let (begin, end) = body.split_at(body.len() / 2);
        let received = send_all(&fixture, &[&head, begin, end, NEXT]).await;
        assert_eq!(received.matches("HTTP/1.1 503 ").count(), 2, "{framing}: {received}");
        assert_eq!(received.matches("connection: close").count(), 1, "only the last: {received}");
    }
}

#[tokio::test]
async fn the_client_learns_that_the_connection_is_closed_if_much_is_left_and_loses_no_answer() {
    let fixture = unavailable();
    let body = "x".repeat(LONG);
    let chunked = format!("{LONG:x}\r\n{body}\r\n0\r\n\r\n");
    for (framing, body) in [
        (format!("Content-Length: {LONG}"), &body),
        (format!("Content-Length: {LONG}\r\nExpect: 100-continue"), &body),
        ("Transfer-Encoding: chunked".to_owned(), &chunked),
    ] {
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n");
        let received = send_all(&fixture, &[&head, body]).await;
        assert!(received.starts_with("HTTP/1.1 503 "), "{framing}: {received}");
        assert!(received.contains("connection: close"), "{framing}: {received}");
    }
}

#[tokio::test]
async fn a_client_that_waits_to_be_asked_for_its_body_is_told_to_close() {
    let fixture = unavailable();
    let head = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n";
    let received = send_all(&fixture, &[head]).await;
    assert!(received.starts_with("HTTP/1.1 503 "), "{received}");
    assert!(received.contains("connection: close"), "{received}");
}

#[tokio::test]
async fn a_client_that_stops_sending_gets_its_answer_and_is_told_to_close() {
    let fixture = unavailable();
    let received =
        send_all(&fixture, &["POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf"]).await;
    assert!(received.starts_with("HTTP/1.1 503 "), "{received}");
    assert!(received.contains("connection: close"), "{received}");
}

#[tokio::test]
async fn a_body_that_is_longer_than_its_route_allows_keeps_the_connection_if_it_is_short() {
    let backend = Backend::http(|request: hyper::Request<hyper::body::Incoming>| async move {
        let _ = http_body_util::BodyExt::collect(request.into_body()).await;
        empty(200)
    })
    .await;
    let mut fixture = Fixture::new(&[backend.address]);
    let spec = serde_json::json!({
        "listen": "127.0.0.1:0",
        "limits": {"body": "100"},
        "rules": [{"backendRefs": [{"name": SERVICE}]}],
    });
    let route = proxy::AttachedRoute {
        name: "small".into(),
        created: 1,
        spec: std::sync::Arc::new(serde_json::from_value(spec).unwrap()),
    };
    fixture.address =
        fixture.table.set_gateway(&Gateway { listen: any(), tls: None, routes: vec![route] }).unwrap();
    let body = "x".repeat(20_000);
    let chunked = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    for (framing, body) in [("Content-Length: 20000", &body), ("Transfer-Encoding: chunked", &chunked)] {
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n");
        let received = send_all(&fixture, &[&head, body, NEXT]).await;
        assert_eq!(received.matches("HTTP/1.1 413 ").count(), 1, "{framing}: {received}");
        assert_eq!(received.matches("HTTP/1.1 200 ").count(), 1, "{framing}: {received}");
    }
}

#[tokio::test]
async fn a_client_gets_the_answer_to_a_head_that_is_too_long_while_it_sends_on() {
    let fixture = unavailable();
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(LONG));
    let received = send_all(&fixture, &[&head]).await;
    assert!(received.starts_with("HTTP/1.1 431 "), "{received}");
}
