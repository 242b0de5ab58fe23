//! W3C Trace Context: a replica gets what the client sent, over every protocol and after retries.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{HeaderMap, Request, Response};

use crate::http2::{self, Http2Client};
use crate::kit::*;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const STATE: &str = "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7";

/// Answers with the headers of tracing that came.
async fn echo_trace() -> Backend {
    Backend::http(|request: Request<Incoming>| async move {
        let headers = request.headers();
        let lines = ["traceparent", "tracestate"].map(|name| {
            let values: Vec<&str> =
                headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect();
            format!("{name}={}", values.join("+"))
        });
        Response::new(Full::new(Bytes::from(lines.join(" "))))
    })
    .await
}

fn seen(parent: &str, state: &str) -> String {
    format!("traceparent={parent} tracestate={state}")
}

fn add(headers: &mut HeaderMap, parent: &str, state: &str) {
    headers.insert("traceparent", parent.parse().unwrap());
    headers.insert("tracestate", state.parse().unwrap());
}

async fn over_http1(fixture: &Fixture, parent: &str, state: &str) -> String {
    let mut sent = request("GET", "/", "");
    add(sent.headers_mut(), parent, state);
    let answer = fixture.client().await.send(sent).await.unwrap();
    String::from_utf8(answer.body().to_vec()).unwrap()
}

async fn over_http2(fixture: &Fixture, parent: &str, state: &str) -> String {
    let mut sent = http2::request("/", http2::whole(""));
    add(sent.headers_mut(), parent, state);
    let answer = within(Http2Client::new(fixture).await.send(sent)).await.unwrap();
    let body = within(answer.into_body().collect()).await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

#[tokio::test]
async fn a_valid_trace_is_forwarded_unchanged_and_an_invalid_one_is_dropped() {
    let backend = echo_trace().await;
    let fixture = Fixture::new(&[backend.address]);
    for (parent, state, expected) in [
        (PARENT, STATE, seen(PARENT, STATE)),
        (PARENT, "not a state", seen(PARENT, "")),
        ("00-xyz", STATE, seen("", "")),
    ] {
        assert_eq!(over_http1(&fixture, parent, state).await, expected);
        assert_eq!(over_http2(&fixture, parent, state).await, expected);
    }
}

#[tokio::test]
async fn nothing_is_invented() {
    let backend = echo_trace().await;
    let fixture = Fixture::new(&[backend.address]);
    assert_eq!(fixture.client().await.get("/").await.unwrap().body(), seen("", "").as_bytes());
    assert_eq!(Http2Client::new(&fixture).await.get("/").await.unwrap().body(), seen("", "").as_bytes());
}

#[tokio::test]
async fn a_retried_request_keeps_its_trace() {
    let silent = Backend::raw(|mut stream| async move {
        read_head(&mut stream).await;
    })
    .await;
    let backend = echo_trace().await;
    let fixture = Fixture::with(&[silent.address, backend.address], |_, route| {
        route.balance = proxy::Balance::RoundRobin;
    });
    for _ in 0..4 {
        assert_eq!(over_http1(&fixture, PARENT, STATE).await, seen(PARENT, STATE));
    }
    assert!(fixture.traffic().counts.retries > 0);
}
