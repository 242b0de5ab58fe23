//! Requests and responses pass the proxy unchanged.

use bytes::Bytes;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::{Request, Response, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::kit::*;

#[tokio::test]
async fn a_request_and_its_response_pass_with_their_headers() {
    let backend = Backend::http(|request: Request<_>| async move {
        let seen = format!("{} {} {:?}", request.method(), request.uri(), request.headers());
        Response::builder()
            .status(203)
            .header("x-answer", "42")
            .header("keep-alive", "timeout=9")
            .body(Full::new(Bytes::from(seen)))
            .unwrap()
    })
    .await;
    let fixture = Fixture::new(&[backend.address]);
    let response = fixture.client().await.get("/cart?item=1").await.unwrap();
    let seen = String::from_utf8_lossy(response.body()).into_owned();
    assert_eq!(response.status(), 203);
    assert_eq!(response.headers()["x-answer"], "42");
    assert!(!response.headers().contains_key("keep-alive"));
    assert!(seen.starts_with("GET /cart?item=1 "), "{seen}");
    for expected in [
        "\"host\": \"shop.example\"",
        "\"x-forwarded-for\": \"127.0.0.1\"",
        "\"x-forwarded-proto\": \"http\"",
    ] {
        assert!(seen.contains(expected), "{expected} in {seen}");
    }
}

#[tokio::test]
async fn large_bodies_stream_both_ways() {
    let backend =
        Backend::http(|request: Request<_>| async move { Response::new(request.into_body()) }).await;
    let fixture = Fixture::new(&[backend.address]);
    let body: String = (0..8 << 20).map(|i| char::from(b'a' + (i % 23) as u8)).collect();
    let response = fixture.client().await.post("/", &body).await.unwrap();
    assert_eq!(response.body(), body.as_bytes());
    drop(response);
    let traffic = fixture.traffic();
    assert_eq!((traffic.counts.bytes_in, traffic.counts.bytes_out), (8 << 20, 8 << 20));
}

#[tokio::test]
async fn a_chunked_body_and_its_trailers_pass() {
    let backend = Backend::http(|request: Request<hyper::body::Incoming>| async move {
        let collected = request.into_body().collect().await.unwrap();
        let trailer = collected.trailers().map(|t| t["x-sum"].to_str().unwrap().to_owned());
        let frames = [
            Ok::<_, hyper::Error>(Frame::data(collected.to_bytes())),
            Ok(Frame::trailers(
                [("x-back".parse().unwrap(), trailer.unwrap_or_default().parse().unwrap())]
                    .into_iter()
                    .collect(),
            )),
        ];
        let mut response = Response::new(StreamBody::new(tokio_stream_of(frames)));
        response.headers_mut().insert("trailer", "x-back".parse().unwrap());
        response
    })
    .await;
    let fixture = Fixture::new(&[backend.address]);
    let head = "GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE, close\r\nTrailer: x-sum\r\nTransfer-Encoding: chunked\r\n\r\n";
    let received = send_raw(fixture.address, format!("{head}5\r\nhello\r\n0\r\nx-sum: 99\r\n\r\n")).await;
    assert!(received.starts_with("HTTP/1.1 200 "), "{received}");
    assert!(received.contains("hello") && received.contains("x-back: 99"), "{received}");
}

fn tokio_stream_of<T>(items: impl IntoIterator<Item = T>) -> impl futures_util::Stream<Item = T> {
    futures_util::stream::iter(items)
}

#[tokio::test]
async fn responses_without_a_body_leave_the_connection_usable() {
    let backend = Backend::http(|request: Request<_>| async move {
        let status = if request.uri() == "/cached" { 304 } else { 200 };
        let mut response = empty(status);
        response.headers_mut().insert("content-length", "1234".parse().unwrap());
        response
    })
    .await;
    let fixture = Fixture::new(&[backend.address]);
    let mut client = fixture.client().await;
    for (method, path, status) in [("HEAD", "/", 200), ("GET", "/cached", 304), ("HEAD", "/", 200)] {
        let response = client.send(request(method, path, "")).await.unwrap();
        assert_eq!(response.status(), status);
        assert!(response.body().is_empty());
        if method == "HEAD" {
            assert_eq!(response.headers()["content-length"], "1234");
        }
    }
    assert_eq!(fixture.traffic().endpoints[0].counts.requests, 3);
}

#[tokio::test]
async fn a_body_that_ends_with_the_connection_is_passed_on_completely() {
    let backend = Backend::raw(|mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nuntil the end").await.unwrap();
    })
    .await;
    let fixture = Fixture::new(&[backend.address]);
    let mut client = fixture.client().await;
    for method in ["GET", "POST", "GET"] {
        let response = client.send(request(method, "/", "")).await.unwrap();
        assert_eq!(response.body(), "until the end");
        assert_eq!(
            response.version(),
            Version::HTTP_11,
            "that the endpoint speaks 1.0 is not for the client"
        );
    }
}

#[tokio::test]
async fn a_truncated_response_is_visible_to_the_client() {
    let backend = Backend::raw(|mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this").await.unwrap();
    })
    .await;
    let fixture = Fixture::new(&[backend.address]);
    fixture.client().await.get("/").await.unwrap_err();
    until(|| fixture.traffic().endpoints[0].counts.failures == 1).await;
    assert_eq!(fixture.traffic().endpoints[0].in_flight, 0);
    assert_eq!(fixture.traffic().errors(), 1, "its status was 200, and yet it failed");
}

#[tokio::test]
async fn a_client_that_expects_100_gets_it_before_its_body_is_sent() {
    let backend = Backend::http(|request: Request<hyper::body::Incoming>| async move {
        assert!(!request.headers().contains_key("expect"));
        // All of it first, so that the answer does not overtake the 100.
        Response::new(Full::new(request.into_body().collect().await.unwrap().to_bytes()))
    })
    .await;
    let fixture = Fixture::new(&[backend.address]);
    let mut stream = TcpStream::connect(fixture.address).await.unwrap();
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
    stream.write_all(head).await.unwrap();
    assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 100 "));
    stream.write_all(b"hi").await.unwrap();
    let mut received = vec![0; 12];
    within(stream.read_exact(&mut received)).await.unwrap();
    assert_eq!(received, b"HTTP/1.1 200");
}

#[tokio::test]
async fn connections_to_endpoints_are_pooled_and_reused() {
    let connections = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let counted = std::sync::Arc::clone(&connections);
    let backend = Backend::raw(move |mut stream| {
        counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        async move {
            while !read_head(&mut stream).await.is_empty() {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
            }
        }
    })
    .await;
    let fixture = Fixture::with(&[backend.address], |config, _| config.workers = 1.try_into().unwrap());
    for _ in 0..20 {
        // A new client each time: the connection belongs to the worker, not to the client.
        assert_eq!(fixture.client().await.get("/").await.unwrap().body(), "ok");
    }
    assert_eq!(connections.load(std::sync::atomic::Ordering::SeqCst), 1);
}

#[tokio::test]
async fn counters_count_requests_by_outcome() {
    let backend =
        Backend::http(|request: Request<_>| async move { empty(request.uri().path()[1..].parse().unwrap()) })
            .await;
    let fixture = Fixture::new(&[backend.address]);
    let mut client = fixture.client().await;
    for status in ["/200", "/201", "/302", "/404", "/500"] {
        client.get(status).await.unwrap();
    }
    let traffic = fixture.traffic();
    assert_eq!(traffic.counts.requests, 5);
    assert_eq!(traffic.counts.status, [0, 2, 1, 1, 1]);
    assert_eq!(traffic.counts.latency.count(), 5);
    assert_eq!(traffic.endpoints[0].counts.status, [0, 2, 1, 1, 1]);
    assert_eq!(traffic.endpoints[0].in_flight, 0);
}
