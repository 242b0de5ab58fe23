//! Requests that the client gives up on before it has the response: each is counted once, with the time until then.

use std::cell::Cell;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Method, Request, Response};
use proxy::{EndpointState, Protocol};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Instant;

use crate::http2::{Http2Client, request, whole};
use crate::kit::{Backend, Fixture, until, within};

/// Requests that are read in place, and by hyper.
const REQUESTS: [&str; 2] =
    ["GET / HTTP/1.1\r\nHost: a\r\n\r\n", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"];

/// Reads each request, sends this, and nothing more.
async fn answers_with(answer: &'static str) -> Backend {
    Backend::raw(move |mut stream: TcpStream| async move {
        let mut received = Vec::new();
        while !(received.starts_with(b"GET") && received.ends_with(b"\r\n\r\n")
            || received.ends_with(b"hello"))
        {
            if stream.read_buf(&mut received).await.unwrap_or(0) == 0 {
                return;
            }
        }
        RECEIVED.with(|count| count.set(count.get() + 1));
        stream.write_all(answer.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
    })
    .await
}

/// A connection that is reset when it is dropped, as that of a process that was killed with unread data.
async fn resetting(address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_zero_linger().unwrap();
    socket.connect(address).await.unwrap()
}

thread_local! {
    /// Requests that were received completely; each test has a thread of its own.
    static RECEIVED: Cell<u64> = const { Cell::new(0) };
}

/// Waits until an endpoint has a complete request, and returns since when at most.
async fn until_sent(fixture: &Fixture) -> Instant {
    until(|| RECEIVED.get() > 0 && fixture.traffic().endpoints[0].in_flight == 1).await;
    RECEIVED.set(0);
    Instant::now()
}

/// Waits until `count` requests were abandoned, and checks that they were counted as nothing else. The latest lasted until now, since `sent`.
async fn assert_abandoned(fixture: &Fixture, count: u64, sent: Instant) {
    until(|| fixture.traffic().endpoints[0].in_flight == 0).await;
    let traffic = fixture.traffic();
    assert_eq!((traffic.errors(), traffic.endpoints[0].is_ejected()), (0, false));
    assert_eq!(traffic.endpoints[0].state, EndpointState::Serving);
    for counts in [&traffic.counts, &traffic.endpoints[0].counts, &traffic.versions[0].counts] {
        assert_eq!((counts.requests, counts.abandoned, counts.status), (count, count, [0; 5]), "{counts:?}");
        assert_eq!((counts.failed_attempts(), counts.latency.count()), (0, 0));
        let after = counts.abandoned_after.as_ref().expect("they took some time");
        assert_eq!((after.count(), counts.durations().count()), (count, count));
        assert!(after.quantile(1.0).unwrap() < sent.elapsed() + Duration::from_secs(1));
    }
}

#[tokio::test]
async fn over_http1_before_the_head() {
    for request in REQUESTS {
        let backend = answers_with("").await;
        let fixture = Fixture::new(&[backend.address]);
        // More than the failures in a row that eject an endpoint.
        for count in 1..=6 {
            let mut stream = resetting(fixture.address).await;
            stream.write_all(request.as_bytes()).await.unwrap();
            let sent = until_sent(&fixture).await;
            drop(stream);
            assert_abandoned(&fixture, count, sent).await;
        }
    }
}

#[tokio::test]
async fn a_client_that_closes_without_a_reset_is_noticed_later() {
    let backend = answers_with("").await;
    let fixture = Fixture::new(&[backend.address]);
    let mut stream = TcpStream::connect(fixture.address).await.unwrap();
    stream.write_all(REQUESTS[0].as_bytes()).await.unwrap();
    let sent = until_sent(&fixture).await;
    drop(stream);
    assert_abandoned(&fixture, 1, sent).await;
}

#[tokio::test]
async fn over_http2_before_the_head() {
    let backend = answers_with("").await;
    let fixture = Fixture::new(&[backend.address]);
    let client = Http2Client::new(&fixture).await;
    for count in 1..=6 {
        let sending = client.send(request("/", whole("hello")));
        let sent = tokio::select! {
            _ = sending => panic!("it is not answered"),
            sent = until_sent(&fixture) => sent,
        };
        assert_abandoned(&fixture, count, sent).await;
    }
}

#[tokio::test]
async fn while_no_endpoint_is_ready() {
    let fixture = Fixture::new(&[]);
    let mut stream = resetting(fixture.address).await;
    stream.write_all(REQUESTS[0].as_bytes()).await.unwrap();
    until(|| fixture.traffic().waiting == 1).await;
    drop(stream);
    until(|| fixture.traffic().counts.abandoned == 1).await;
}

#[tokio::test]
async fn within_a_body_of_known_length() {
    let backend = answers_with("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello").await;
    for request in REQUESTS {
        let fixture = Fixture::new(&[backend.address]);
        let mut stream = resetting(fixture.address).await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let sent = until_sent(&fixture).await;
        read_until_hello(&mut stream).await;
        drop(stream);
        assert_abandoned(&fixture, 1, sent).await;
    }
}

#[tokio::test]
async fn a_stream_without_a_length_is_not_abandoned() {
    let backend = answers_with("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n").await;
    let fixture = Fixture::new(&[backend.address]);
    let mut stream = resetting(fixture.address).await;
    stream.write_all(REQUESTS[0].as_bytes()).await.unwrap();
    read_until_hello(&mut stream).await;
    drop(stream);
    until(|| fixture.traffic().counts.status[1] == 1).await;
    assert_eq!(fixture.traffic().counts.abandoned, 0);
}

#[tokio::test]
async fn complete_answers_over_http2_are_not_abandoned() {
    let backend = Backend::http2(10, |request: Request<Incoming>| async move {
        let answer = Response::builder().header("content-length", "5");
        let body = if request.method() == Method::HEAD { "" } else { "hello" };
        answer.body(Full::new(Bytes::from_static(body.as_bytes()))).unwrap()
    })
    .await;
    let fixture = Fixture::with(&[backend.address], |_, route| {
        for endpoint in &mut route.endpoints {
            endpoint.connection = None;
        }
        route.protocol = Protocol::Http2;
    });
    let mut client = fixture.client().await;
    for method in ["GET", "POST", "HEAD"] {
        client.send(crate::kit::request(method, "/", "")).await.unwrap();
    }
    let http2 = Http2Client::new(&fixture).await;
    let answer = within(http2.send(request("/", whole("")))).await.unwrap();
    within(answer.into_body().collect()).await.unwrap();
    until(|| fixture.traffic().counts.status[1] == 4).await;
    assert_eq!(fixture.traffic().counts.abandoned, 0);
}

async fn read_until_hello(stream: &mut TcpStream) {
    let (mut received, mut piece) = (Vec::new(), [0; 1024]);
    while !String::from_utf8_lossy(&received).contains("hello") {
        let read = within(stream.read(&mut piece)).await.unwrap();
        assert!(read > 0, "it is still being answered");
        received.extend_from_slice(&piece[..read]);
    }
}
