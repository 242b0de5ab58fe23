//! Requests whose framing is ambiguous never reach an endpoint as two requests.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::http2::Http2Client;
use crate::kit::*;

/// Keeps what it was sent, byte for byte, and answers every head with 200.
async fn recorder() -> (Backend, Arc<Mutex<String>>) {
    let record: Arc<Mutex<String>> = Arc::default();
    let kept = Arc::clone(&record);
    let backend = Backend::raw(move |mut stream| {
        let kept = Arc::clone(&kept);
        async move {
            loop {
                let head = read_head(&mut stream).await;
                if head.is_empty() {
                    return;
                }
                kept.lock().unwrap().push_str(&head);
                if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.is_err() {
                    return;
                }
            }
        }
    })
    .await;
    (backend, record)
}

const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

#[tokio::test]
async fn ambiguous_framing_is_refused() {
    let (backend, record) = recorder().await;
    let fixture = Fixture::new(&[backend.address]);
    let nul = "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n".to_owned();
    let cases = [
        (
            "two lengths",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 37\r\n\r\n".to_owned()
                + SMUGGLED,
        ),
        ("a signed length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +4\r\n\r\nbody".to_owned()),
        ("a list of lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4, 5\r\n\r\nbody".to_owned()),
        (
            "an unknown coding last",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n".to_owned(),
        ),
        (
            "an almost chunked coding",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n".to_owned(),
        ),
        (
            "a coding in HTTP/1.0",
            "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
        ),
        ("a folded header", "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n  b\r\n\r\n".to_owned()),
        ("a NUL", nul),
        (
            "a space before the colon",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 4\r\n\r\nbody".to_owned(),
        ),
        ("no host", "GET / HTTP/1.1\r\n\r\n".to_owned()),
        ("two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".to_owned()),
        ("a lone CR", "GET / HTTP/1.1\r\nHost: a\r\nX: a\rY: b\r\n\r\n".to_owned()),
    ];
    for (name, bytes) in cases {
        let received = send_raw(fixture.address, bytes).await;
        assert!(received.starts_with("HTTP/1.1 400 "), "{name}: {received:?}");
        assert_eq!(received.matches("HTTP/1.1 ").count(), 1, "{name}: the connection ends: {received:?}");
    }
    assert_eq!(*record.lock().unwrap(), "", "nothing reached the endpoint");
}

#[tokio::test]
async fn a_request_with_another_transfer_coding_is_not_implemented() {
    let (backend, record) = recorder().await;
    let fixture = Fixture::new(&[backend.address]);
    for coding in [
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: \u{e4}\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked, chunked",
        "Content-Length: 5\r\nTransfer-Encoding: x, chunked",
    ] {
        let request = format!("POST / HTTP/1.1\r\nHost: a\r\n{coding}\r\n\r\n0\r\n\r\n{SMUGGLED}");
        let received = send_raw(fixture.address, request).await;
        assert!(received.starts_with("HTTP/1.1 501 "), "{coding}: {received:?}");
        assert!(received.contains("connection: close"), "{coding}: {received:?}");
        assert_eq!(received.matches("HTTP/1.1 ").count(), 1, "{coding}: {received:?}");
    }
    assert_eq!(*record.lock().unwrap(), "");
    let spaced =
        "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding:  Chunked \r\n\r\n0\r\n\r\n";
    let received = send_raw(fixture.address, spaced).await;
    assert!(received.starts_with("HTTP/1.1 200 "), "{received:?}");
}

#[tokio::test]
async fn a_target_of_another_scheme_is_refused() {
    let (backend, record) = recorder().await;
    let fixture = Fixture::new(&[backend.address]);
    for target in ["ftp://a/x", "ws://a/x", "a", "a:80"] {
        let received = send_raw(fixture.address, format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        assert!(received.starts_with("HTTP/1.1 400 "), "{target}: {received:?}");
        assert!(received.contains("`http` or `https`"), "{target}: {received:?}");
    }
    assert_eq!(*record.lock().unwrap(), "");
    for target in ["http://a/x", "HTTPS://a/x"] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n");
        let received = send_raw(fixture.address, request).await;
        assert!(received.starts_with("HTTP/1.1 200 "), "{target}: {received:?}");
    }
    let mut other = crate::http2::request("/", crate::http2::whole(""));
    *other.uri_mut() = "ftp://a/x".parse().unwrap();
    let response = within(Http2Client::new(&fixture).await.send(other)).await.unwrap();
    assert_eq!(response.status(), 400);
}

#[tokio::test]
async fn with_both_framings_chunked_wins_and_the_connection_is_closed() {
    for first in
        ["Content-Length: 4\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 4"]
    {
        let (backend, record) = recorder().await;
        let fixture = Fixture::new(&[backend.address]);
        let request = format!("POST /outer HTTP/1.1\r\nHost: a\r\n{first}\r\n\r\n0\r\n\r\n{SMUGGLED}");
        let received = send_raw(fixture.address, request).await;
        assert_eq!(received.matches("HTTP/1.1 ").count(), 1, "{received:?}");
        let record = record.lock().unwrap().to_ascii_lowercase();
        assert!(!record.contains("/smuggled") && !record.contains("content-length"), "{record:?}");
        assert!(record.contains("transfer-encoding: chunked"), "{record:?}");
    }
}

#[tokio::test]
async fn a_bad_chunk_ends_both_connections() {
    for body in
        ["zz\r\nhello\r\n0\r\n\r\n", "5\r\nhelloX\r\n0\r\n\r\n", "-1\r\n\r\n", "fffffffffffffffff\r\n\r\n"]
    {
        let (backend, record) = recorder().await;
        let fixture = Fixture::new(&[backend.address]);
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let received = send_raw(fixture.address, format!("{head}{body}{SMUGGLED}")).await;
        assert!(received.matches("HTTP/1.1 ").count() <= 1, "{body:?}: {received:?}");
        assert!(!record.lock().unwrap().contains("/smuggled"), "{body:?}");
    }
}

#[tokio::test]
async fn a_broken_request_body_does_not_count_against_endpoints() {
    let backend = Backend::http(|request: hyper::Request<hyper::body::Incoming>| async move {
        let body = http_body_util::BodyExt::collect(request.into_body()).await;
        empty(if body.is_ok() { 200 } else { 400 })
    })
    .await;
    let fixture = Fixture::new(&[backend.address]);
    let malformed =
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n0\r\n\r\n";
    for _ in 0..10 {
        let received = send_raw(fixture.address, malformed).await;
        assert!(received.starts_with("HTTP/1.1 400 "), "{received:?}");
    }
    let traffic = fixture.traffic();
    assert_eq!((traffic.counts.failures, traffic.endpoints[0].counts.failures), (0, 0));
    assert!(!traffic.endpoints[0].is_ejected());
    assert_eq!(traffic.endpoints[0].in_flight, 0);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let (backend, _record) = recorder().await;
    let fixture = Fixture::new(&[backend.address]);
    let last = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let received = send_raw(fixture.address, format!("{SMUGGLED}{SMUGGLED}{last}")).await;
    assert_eq!(received.matches("HTTP/1.1 200 ").count(), 3, "{received:?}");
}

#[tokio::test]
async fn a_head_has_limits() {
    let (backend, record) = recorder().await;
    let fixture = Fixture::new(&[backend.address]);
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(40_000));
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(150));
    for bytes in [long, many] {
        let received = send_raw(fixture.address, bytes).await;
        assert!(received.starts_with("HTTP/1.1 431 "), "{received:?}");
    }
    let path = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(70_000));
    let received = send_raw(fixture.address, path).await;
    assert!(received.starts_with("HTTP/1.1 414 ") || received.starts_with("HTTP/1.1 431 "), "{received:?}");
    assert_eq!(*record.lock().unwrap(), "");
    until(|| fixture.traffic().malformed == 3).await;
}

#[tokio::test]
async fn connect_opens_no_tunnel() {
    let (backend, record) = recorder().await;
    let fixture = Fixture::new(&[backend.address]);
    let received =
        send_raw(fixture.address, "CONNECT internal:22 HTTP/1.1\r\nHost: internal:22\r\n\r\n").await;
    assert!(received.starts_with("HTTP/1.1 501 "), "{received:?}");
    assert_eq!(*record.lock().unwrap(), "");
}

#[tokio::test]
async fn an_answer_with_both_framings_is_passed_on_completely() {
    let backend = Backend::raw(|mut stream| async move {
        read_head(&mut stream).await;
        let both = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nwhole\r\n0\r\n\r\n";
        stream.write_all(both).await.unwrap();
    })
    .await;
    let fixture = Fixture::new(&[backend.address]);
    let response = fixture.client().await.get("/").await.unwrap();
    assert_eq!(response.headers().get("content-length"), None);
    assert_eq!(response.body(), "whole");
}

#[tokio::test]
async fn an_answer_that_has_no_body_says_no_length_of_one() {
    let backend = Backend::raw(|mut stream| async move {
        while !read_head(&mut stream).await.is_empty() {
            stream.write_all(b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n").await.unwrap();
        }
    })
    .await;
    let fixture = Fixture::new(&[backend.address]);
    assert_eq!(fixture.client().await.get("/").await.unwrap().headers().get("content-length"), None);
    let response = Http2Client::new(&fixture).await.get("/").await.unwrap();
    assert_eq!((response.status().as_u16(), response.headers().get("content-length")), (204, None));
}

#[tokio::test]
async fn a_malformed_response_becomes_502() {
    let backend = Backend::raw(|mut stream| async move {
        read_head(&mut stream).await;
        let _ =
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab").await;
    })
    .await;
    let fixture = Fixture::new(&[backend.address]);
    assert_eq!(fixture.client().await.get("/").await.unwrap().status(), 502);
    let traffic = fixture.traffic();
    assert_eq!(
        (traffic.errors(), traffic.endpoints[0].counts.failed_attempts()),
        (1, 1),
        "once for each who asks"
    );
}

/// An endpoint that answers each request with these bytes and closes the connection.
async fn closing(answer: String) -> Backend {
    Backend::raw(move |mut stream| {
        let answer = answer.clone();
        async move {
            read_head(&mut stream).await;
            // The proxy may have closed the connection within it.
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    })
    .await
}

#[tokio::test]
async fn an_answer_with_another_transfer_coding_is_not_passed_on() {
    for coding in ["gzip, chunked", "gzip", "chunked, chunked", "chunked\r\nTransfer-Encoding: chunked"] {
        let backend =
            closing(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: {coding}\r\n\r\n2\r\nok\r\n0\r\n\r\n"))
                .await;
        let fixture = Fixture::new(&[backend.address]);
        for mut client in [fixture.client().await, fixture.client().await] {
            let answer = client.get("/").await.unwrap();
            assert_eq!(answer.status(), 502, "{coding}");
            assert_eq!(
                answer.body(),
                "The endpoint's response has a transfer coding other than `chunked`.",
                "{coding}"
            );
        }
        let traffic = fixture.traffic();
        assert_eq!((traffic.errors(), traffic.endpoints[0].counts.failures), (2, 2), "{coding}");
    }
}

#[tokio::test]
async fn an_answer_without_a_body_may_name_any_transfer_coding() {
    let backend = closing("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n".to_owned()).await;
    let fixture = Fixture::new(&[backend.address]);
    assert_eq!(fixture.client().await.send(request("HEAD", "/", "")).await.unwrap().status(), 200);
}

#[tokio::test]
async fn an_answer_in_http_1_0_with_a_transfer_coding_is_malformed() {
    let backend =
        closing("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n".to_owned()).await;
    let fixture = Fixture::new(&[backend.address]);
    assert_eq!(fixture.client().await.get("/").await.unwrap().status(), 502);
}

#[tokio::test]
async fn the_answer_to_a_client_says_that_the_head_of_a_response_is_too_large() {
    let message = "The head of the endpoint's response is too large: more than 64 KiB or 100 headers.";
    for lines in ["X: y\r\n".repeat(101), format!("X: {}\r\n", "y".repeat(300_000))] {
        let backend = closing(format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{lines}\r\n")).await;
        let fixture = Fixture::new(&[backend.address]);
        for sent in [request("GET", "/", ""), request("POST", "/", "body")] {
            let answer = fixture.client().await.send(sent).await.unwrap();
            assert_eq!((answer.status().as_u16(), &answer.body()[..]), (502, message.as_bytes()));
        }
        assert_eq!(fixture.traffic().endpoints[0].counts.failures, 2);
    }
}

/// An endpoint that answers as soon as it has read a head.
async fn early_answer(answer: &'static str) -> Backend {
    Backend::raw(move |mut stream| async move {
        // Also a second one, behind a body that came whole after all; until the other side has enough.
        while read_head(&mut stream).await.contains("\r\n\r\n") {
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    })
    .await
}

#[tokio::test]
async fn an_answer_before_the_end_of_the_request_reaches_a_client_that_sends_on() {
    let answers =
        ["HTTP/1.1 405 No\r\nContent-Length: 2\r\n\r\nno", "HTTP/1.1 405 No\r\nContent-Length: 0\r\n\r\n"];
    for answer in answers {
        let backend = early_answer(answer).await;
        let fixture = Fixture::new(&[backend.address]);
        let mut stream = TcpStream::connect(fixture.address).await.unwrap();
        let piece = "x".repeat(50_000);
        stream.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n").await.unwrap();
        stream.write_all(piece.as_bytes()).await.unwrap();
        until(|| fixture.traffic().endpoints[0].counts.requests == 1).await;
        stream.write_all(piece.as_bytes()).await.unwrap();
        // The same connection takes the next request.
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut received = String::new();
        within(stream.read_to_string(&mut received)).await.unwrap();
        assert_eq!(received.matches("HTTP/1.1 405").count(), 2, "{received}");
    }
}

#[tokio::test]
async fn a_client_that_never_sends_the_rest_of_its_request_still_gets_the_answer() {
    let backend = early_answer("HTTP/1.1 405 No\r\nContent-Length: 2\r\n\r\nno").await;
    let fixture = Fixture::new(&[backend.address]);
    let received =
        send_raw(fixture.address, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf").await;
    assert!(received.starts_with("HTTP/1.1 405") && received.ends_with("no"), "{received}");
}

#[tokio::test]
async fn a_client_that_expects_100_does_not_get_it_if_its_body_is_not_needed() {
    let backend = early_answer("HTTP/1.1 417 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
    let fixture = Fixture::new(&[backend.address]);
    let head = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n";
    let received = send_raw(fixture.address, head).await;
    assert!(received.contains("HTTP/1.1 417"), "{received}");
}
