//! The PROXY protocol: client addresses are accepted from proxies in front of us, and passed on to endpoints where declared.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Request, Response};
use proxy::{Balance, ProxyProtocol, ProxyVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::kit::*;

/// Answers with the address that the request is forwarded for.
async fn echo_client_address() -> Backend {
    Backend::http(|request: Request<Incoming>| async move {
        let of = request.headers()["x-forwarded-for"].as_bytes().to_vec();
        Response::new(Full::new(Bytes::from(of)))
    })
    .await
}

fn accepting(endpoints: &[SocketAddr], change: impl FnOnce(&mut proxy::ServiceRoute)) -> Fixture {
    Fixture::with(endpoints, |_, route| {
        route.proxy_protocol = ProxyProtocol { accept: true, send: None };
        change(route);
    })
}

fn v1(source: &str) -> Vec<u8> {
    let kind = if source.contains(':') { "TCP6" } else { "TCP4" };
    format!("PROXY {kind} {source} {source} 4000 443\r\n").into_bytes()
}

/// Of an IPv4 address, with an extension of an unknown type.
fn v2(source: [u8; 4]) -> Vec<u8> {
    let field = [0xe0, 0, 3, b'a', b'b', b'c'];
    let ports = [0x0f, 0xa0, 0x01, 0xbb];
    [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x12"[..], &source, &[10, 0, 0, 1], &ports, &field].concat()
}

/// The answer to a client that begins with this header.
async fn ask(address: SocketAddr, header: &[u8]) -> Response<Bytes> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(header).await.unwrap();
    Client::over(stream).await.get("/").await.unwrap()
}

#[tokio::test]
async fn the_client_address_is_that_of_the_header_in_both_versions() {
    let backend = echo_client_address().await;
    let fixture = accepting(&[backend.address], |_| {});
    assert_eq!(ask(fixture.address, &v1("203.0.113.7")).await.body(), "203.0.113.7");
    assert_eq!(ask(fixture.address, &v1("2001:db8::7")).await.body(), "2001:db8::7");
    assert_eq!(ask(fixture.address, &v2([203, 0, 113, 8])).await.body(), "203.0.113.8");
    // Checks of one's own health, and what is not known, are of the one who connects.
    assert_eq!(ask(fixture.address, b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0").await.body(), "127.0.0.1");
    assert_eq!(ask(fixture.address, b"PROXY UNKNOWN\r\n").await.body(), "127.0.0.1");
}

#[tokio::test]
async fn a_header_may_arrive_in_pieces_or_together_with_the_request() {
    let backend = echo_client_address().await;
    let fixture = accepting(&[backend.address], |_| {});
    let request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    for header in [v1("203.0.113.7"), v2([203, 0, 113, 7])] {
        let together = send_raw(fixture.address, [&header[..], request].concat()).await;
        assert!(together.ends_with("203.0.113.7"), "{together}");
        let mut stream = TcpStream::connect(fixture.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        for byte in header.iter().chain(request) {
            stream.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        let mut received = String::new();
        within(stream.read_to_string(&mut received)).await.unwrap();
        assert!(received.ends_with("203.0.113.7"), "{received}");
    }
}

#[tokio::test]
async fn proxy_headers_precede_every_protocol() {
    let backend = echo_client_address().await;
    let fixture = accepting(&[backend.address], |_| {});
    let mut stream = TcpStream::connect(fixture.address).await.unwrap();
    stream.write_all(&v2([203, 0, 113, 9])).await.unwrap();
    let executor = hyper_util::rt::TokioExecutor::new();
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(connection);
    let request = Request::get("http://shop.example/").body(Full::<Bytes>::default()).unwrap();
    let answer = within(sender.send_request(request)).await.unwrap();
    let body = http_body_util::BodyExt::collect(answer.into_body());
    assert_eq!(within(body).await.unwrap().to_bytes(), "203.0.113.9");
}

#[tokio::test]
async fn connections_without_a_header_are_closed_and_counted() {
    let backend = echo_client_address().await;
    let fixture =
        accepting(&[backend.address], |route| route.timeouts.request_head = Duration::from_millis(200));
    let too_long = [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff"[..], &[0; 6000]].concat();
    let endless = [b"PROXY TCP4 ", &[b'1'; 200][..]].concat();
    let unknown = |size: usize| [b"PROXY UNKNOWN ", &*vec![b'1'; size - 16], b"\r\n"].concat();
    assert_eq!(ask(fixture.address, &unknown(107)).await.body(), "127.0.0.1");
    let wrong: [&[u8]; 6] = [
        &unknown(108),
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"PROXY TCP4 203.0.113.7 x 1 2\r\n",
        &too_long,
        &endless,
        // The rest does not come.
        b"PROXY TCP4 203",
    ];
    for header in wrong {
        assert_eq!(send_raw(fixture.address, header).await, "", "{header:?}");
    }
    // A port check sends nothing, and is none of them.
    drop(TcpStream::connect(fixture.address).await.unwrap());
    assert_eq!(send_raw(fixture.address, b"").await, "", "a silent connection is closed in time");
    let traffic = fixture.traffic();
    assert_eq!((traffic.proxy_header_failures, traffic.malformed, traffic.counts.requests), (7, 0, 1));
}

#[tokio::test]
async fn proxy_headers_are_accepted_only_where_declared() {
    let backend = echo_client_address().await;
    let fixture = Fixture::new(&[backend.address]);
    let request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let answer = send_raw(fixture.address, [&v1("203.0.113.7")[..], request].concat()).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let answer = send_raw(fixture.address, [&v2([203, 0, 113, 7])[..], request].concat()).await;
    assert!(!answer.contains("200"), "{answer}");
}

#[tokio::test]
async fn consistent_hashing_uses_the_address_of_the_proxy_header() {
    let backends = [Backend::named("a").await, Backend::named("b").await, Backend::named("c").await];
    let fixture = accepting(&backends.each_ref().map(|backend| backend.address), |route| {
        route.balance = Balance::ConsistentHash;
    });
    let mut answered = BTreeSet::new();
    for n in 1..=30 {
        let header = v2([203, 0, 113, n]);
        let first = ask(fixture.address, &header).await;
        assert_eq!(
            ask(fixture.address, &header).await.body(),
            first.body(),
            "the same client, the same endpoint"
        );
        answered.insert(first.into_body());
    }
    assert_eq!(answered.len(), 3);
}

/// Answers each request with the header that its connection began with, a line or 28 bytes of version 2.
async fn echo_header() -> Backend {
    Backend::raw(|mut stream| async move {
        let mut header = vec![0; 28];
        if stream.read_exact(&mut header).await.is_err() {
            return;
        }
        while header[0] == b'P' && !header.ends_with(b"\r\n") {
            header.push(stream.read_u8().await.unwrap());
        }
        let header: String = header.iter().map(|byte| char::from(*byte)).collect();
        let shown = header.escape_default().to_string();
        while !read_head(&mut stream).await.is_empty() {
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{shown}", shown.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    })
    .await
}

fn sending(backend: &Backend, version: ProxyVersion) -> Fixture {
    Fixture::with(&[backend.address], |config, route| {
        // One worker: connections that may be shared would be.
        config.workers = std::num::NonZeroUsize::MIN;
        route.proxy_protocol.send = Some(version);
    })
}

#[tokio::test]
async fn connections_with_a_proxy_header_are_not_shared_between_clients() {
    let backend = echo_header().await;
    let fixture = sending(&backend, ProxyVersion::V1);
    for _ in 0..3 {
        let stream = TcpStream::connect(fixture.address).await.unwrap();
        let (own, port) = (stream.local_addr().unwrap(), fixture.address.port());
        let mut client = Client::over(stream).await;
        let expected = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {} {port}\\r\\n", own.port());
        for _ in 0..3 {
            assert_eq!(client.get("/").await.unwrap().body(), &expected);
        }
    }
}

#[tokio::test]
async fn the_addresses_of_a_received_proxy_header_are_passed_on() {
    let backend = echo_header().await;
    let fixture = sending(&backend, ProxyVersion::V2);
    let mut route = fixture.route.clone();
    route.proxy_protocol.accept = true;
    fixture.table.set_service(&route).unwrap();
    let answer = ask(fixture.address, &v1("203.0.113.7")).await;
    // 203.0.113.7 to itself, from port 4000 to 443.
    let shown = "\\r\\n\\r\\n\\u{0}\\r\\nQUIT\\n!\\u{11}\\u{0}\\u{c}\\u{cb}\\u{0}q\\u{7}\\u{cb}\\u{0}q\\u{7}\\u{f}\\u{a0}\\u{1}\\u{bb}";
    assert_eq!(answer.body(), shown);
}
