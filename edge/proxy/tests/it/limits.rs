//! Slow and many clients are bounded.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::kit::*;

const SHORT: Duration = Duration::from_millis(100);

async fn is_closed(mut stream: TcpStream) {
    let mut rest = Vec::new();
    // A reset is as good as an end.
    let _ = within(stream.read_to_end(&mut rest)).await;
}

#[tokio::test]
async fn a_head_that_arrives_too_slowly_times_out() {
    let backend = Backend::named("never sent").await;
    let fixture = Fixture::with(&[backend.address], |_, route| route.timeouts.request_head = SHORT);
    let mut stream = TcpStream::connect(fixture.address).await.unwrap();
    let dripping = async {
        for byte in "GET / HTTP/1.1\r\nX-Slow: ".bytes().chain(std::iter::repeat(b'x')) {
            if stream.write_all(&[byte]).await.is_err() {
                return;
            }
            // tidy: slow on purpose
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within(dripping).await;
    assert_eq!(fixture.traffic().counts.requests, 0);
}

#[tokio::test]
async fn a_second_head_that_arrives_too_slowly_times_out_too() {
    let backend = Backend::named("once").await;
    let fixture = Fixture::with(&[backend.address], |_, route| {
        route.timeouts.request_head = SHORT;
        route.timeouts.client_idle = DEADLINE * 10;
    });
    let mut stream = TcpStream::connect(fixture.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    read_head(&mut stream).await;
    stream.write_all(b"GET / HT").await.unwrap();
    is_closed(stream).await;
}

#[tokio::test]
async fn silent_and_idle_connections_are_closed() {
    let backend = Backend::named("idle").await;
    let fixture = Fixture::with(&[backend.address], |_, route| {
        route.timeouts.request_head = SHORT;
        route.timeouts.client_idle = SHORT;
    });
    let silent = TcpStream::connect(fixture.address).await.unwrap();
    is_closed(silent).await;
    let mut idle = TcpStream::connect(fixture.address).await.unwrap();
    idle.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    is_closed(idle).await;
}

#[tokio::test]
async fn silent_connections_are_closed_by_every_worker() {
    let fixture = Fixture::with(&[], |_, route| route.timeouts.request_head = SHORT);
    let mut silent = Vec::new();
    for _ in 0..4 {
        silent.push(TcpStream::connect(fixture.address).await.unwrap());
    }
    for stream in silent {
        is_closed(stream).await;
    }
}

#[tokio::test]
async fn a_stalled_body_times_out() {
    let backend =
        Backend::http(|request: hyper::Request<_>| async move { hyper::Response::new(request.into_body()) })
            .await;
    let fixture = Fixture::with(&[backend.address], |_, route| route.timeouts.stream_idle = SHORT);
    let mut stream = TcpStream::connect(fixture.address).await.unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf").await.unwrap();
    is_closed(stream).await;
    until(|| fixture.traffic().endpoints[0].in_flight == 0).await;
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_a_permit() {
    let backend = Backend::named("served").await;
    let fixture = Fixture::with(&[backend.address], |config, _| config.connections_max = 2);
    let (mut one, mut two) = (fixture.client().await, fixture.client().await);
    one.get("/").await.unwrap();
    two.get("/").await.unwrap();
    // Connected by the system, but not served.
    let mut three = TcpStream::connect(fixture.address).await.unwrap();
    three.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    for _ in 0..20 {
        one.get("/").await.unwrap();
    }
    assert_eq!(fixture.traffic().counts.requests, 22);
    drop(two);
    assert!(within(read_head(&mut three)).await.starts_with("HTTP/1.1 200 "));
}
