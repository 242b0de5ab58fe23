//! Clients that close their side of the connection after a request, and wait for their answer.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::{StreamExt as _, stream};
use http_body_util::{Empty, StreamBody};
use hyper::Response;
use hyper::body::Frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::kit::{Backend, Fixture, SERVICE, id, until, within};

/// Requests that are read in place, by hyper, and by hyper after one that was read in place.
const REQUESTS: [&str; 4] = [
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    "GET / HTTP/1.1\r\nHost: a\r\n\r\nPOST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
];

/// The pause between two pieces of an answer: shorter than a half-closed connection is kept, but longer together.
const PAUSE: Duration = Duration::from_millis(400);

/// The answer to a client that closes its side after this request.
async fn answer_to(fixture: &Fixture, request: &str) -> String {
    let mut stream = TcpStream::connect(fixture.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut received = String::new();
    within(stream.read_to_string(&mut received)).await.unwrap();
    received
}

/// The answers to clients that send one of the requests each, all at once.
async fn answers_to_all(fixture: &Fixture) -> Vec<(&'static str, String)> {
    let single = &REQUESTS[..3];
    join_all(single.iter().map(|request| async move { (*request, answer_to(fixture, request).await) })).await
}

#[tokio::test]
async fn a_client_that_half_closes_after_its_request_gets_the_answer() {
    let backend = Backend::named("shop").await;
    let fixture = Fixture::new(&[backend.address]);
    for request in REQUESTS {
        let begun = Instant::now();
        let received = answer_to(&fixture, request).await;
        let count = request.matches("HTTP/1.1").count();
        assert_eq!(received.matches("HTTP/1.1 200 OK").count(), count, "{request:?}: {received:?}");
        assert!(received.ends_with("shop"), "{request:?}: {received:?}");
        assert!(begun.elapsed() < PAUSE, "{request:?} was answered, and the connection stayed");
    }
}

#[tokio::test]
async fn a_streamed_answer_is_sent_completely_to_a_half_closed_connection() {
    for length in [None, Some("15")] {
        let backend = Backend::http(move |_request| async move {
            // tidy: slow on purpose
            tokio::time::sleep(PAUSE).await;
            let pieces = stream::iter(["hello", "hello", "again"]).then(|text| async move {
                // tidy: slow on purpose
                tokio::time::sleep(PAUSE).await;
                Ok::<_, Infallible>(Frame::data(Bytes::from_static(text.as_bytes())))
            });
            let builder = Response::builder();
            let builder = length.into_iter().fold(builder, |it, length| it.header("content-length", length));
            builder.body(StreamBody::new(Box::pin(pieces))).unwrap()
        })
        .await;
        let fixture = Fixture::new(&[backend.address]);
        for (request, received) in answers_to_all(&fixture).await {
            let end = if length.is_some() { "hellohelloagain" } else { "again\r\n0\r\n\r\n" };
            assert!(received.ends_with(end), "{request:?}: {received:?}");
        }
    }
}

#[tokio::test]
async fn a_half_closed_connection_is_kept_for_a_second() {
    let backend = Backend::http(|_request| std::future::pending::<Response<Empty<Bytes>>>()).await;
    let fixture = Fixture::new(&[backend.address]);
    let begun = Instant::now();
    for (request, received) in answers_to_all(&fixture).await {
        assert_eq!(received, "", "{request:?}");
    }
    let waited = begun.elapsed();
    assert!(waited > Duration::from_millis(800), "they were waited for {waited:?}");
    until(|| fixture.table.in_flight(SERVICE, id(0)) == 0).await;
}
