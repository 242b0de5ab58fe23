//! Endpoints of one service that are not spoken to alike, as those of two versions may be.

use std::net::SocketAddr;
use std::num::NonZeroUsize;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use proxy::{Balance, ConnectionSpec, EndpointRoute, Protocol, ProxyVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;

use crate::kit::*;

/// A service whose endpoints take turns, and begin their connections like this.
fn fixture(protocol: Protocol, endpoints: &[(SocketAddr, ConnectionSpec)]) -> Fixture {
    Fixture::with(&[], |config, route| {
        // One worker: endpoints take turns exactly, and connections that may be shared are.
        config.workers = NonZeroUsize::MIN;
        route.protocol = protocol;
        route.balance = Balance::RoundRobin;
        route.endpoints =
            (0..).zip(endpoints).map(|(i, &(a, connection))| endpoint(i, a, connection)).collect();
    })
}

fn endpoint(ordinal: u32, address: SocketAddr, connection: ConnectionSpec) -> EndpointRoute {
    EndpointRoute { connection: Some(connection), ..EndpointRoute::new(id(ordinal), address) }
}

fn speaking(protocol: Protocol) -> ConnectionSpec {
    ConnectionSpec { protocol, proxy_header: None }
}

/// Answers each request with the first line of its connection: a PROXY header of version 1, or the line of the first request.
async fn echo_first_line() -> Backend {
    Backend::raw(|mut stream| async move {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let Ok(byte) = stream.read_u8().await else { return };
            line.push(byte);
        }
        let shown = String::from_utf8(line).unwrap().trim_end().to_owned();
        while !read_head(&mut stream).await.is_empty() {
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{shown}", shown.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    })
    .await
}

#[tokio::test]
async fn each_endpoint_is_spoken_to_in_its_own_version_of_http() {
    let old = Backend::named("old").await;
    let new = Backend::http2(100, |_| async { Response::new(Full::new(Bytes::from_static(b"new"))) }).await;
    let both = [(old.address, speaking(Protocol::Http1)), (new.address, speaking(Protocol::Http2))];
    // The protocol of the service is that of endpoints that do not say otherwise.
    for declared in [Protocol::Http1, Protocol::Http2] {
        let fixture = fixture(declared, &both);
        let mut client = fixture.client().await;
        let mut answers = Vec::new();
        for _ in 0..4 {
            answers.push(client.get("/").await.unwrap().into_body());
        }
        answers.sort();
        assert_eq!(answers, ["new", "new", "old", "old"], "{declared:?}");
        assert_eq!(fixture.traffic().errors(), 0, "{declared:?}");
    }
}

#[tokio::test]
async fn only_endpoints_that_expect_a_proxy_header_get_one() {
    let (plain, expecting) = (echo_first_line().await, echo_first_line().await);
    let v1 = |protocol| ConnectionSpec { protocol, proxy_header: Some(ProxyVersion::V1) };
    for protocol in [Protocol::Http1, Protocol::Tcp] {
        let both = [(plain.address, speaking(protocol)), (expecting.address, v1(protocol))];
        let fixture = fixture(protocol, &both);
        let mut lines = Vec::new();
        for _ in 0..4 {
            lines.push(fixture.client().await.get("/").await.unwrap().into_body());
        }
        let with_header = lines.iter().filter(|line| line.starts_with(b"PROXY TCP4 127.0.0.1 "));
        assert_eq!(with_header.count(), 2, "{protocol:?}: {lines:?}");
        assert_eq!(
            lines.iter().filter(|line| line.starts_with(b"GET / ")).count(),
            2,
            "{protocol:?}: {lines:?}"
        );
    }
}

#[tokio::test]
async fn a_connection_that_began_with_a_header_is_not_used_once_the_endpoint_expects_none() {
    let backend = echo_first_line().await;
    let v1 = ConnectionSpec { protocol: Protocol::Http1, proxy_header: Some(ProxyVersion::V1) };
    let mut fixture = fixture(Protocol::Http1, &[(backend.address, v1)]);
    let mut client = fixture.client().await;
    let header = client.get("/").await.unwrap().into_body();
    assert!(header.starts_with(b"PROXY "), "{header:?}");
    assert_eq!(client.get("/").await.unwrap().body(), &header, "its connection is kept");

    fixture.route.endpoints[0].connection = Some(speaking(Protocol::Http1));
    fixture.table.set_service(&fixture.route).unwrap();
    assert_eq!(client.get("/").await.unwrap().body(), "GET / HTTP/1.1");
    assert_eq!(fixture.client().await.get("/").await.unwrap().body(), "GET / HTTP/1.1");
    let traffic = fixture.traffic();
    assert_eq!(traffic.endpoints.len(), 1);
    assert_eq!(traffic.endpoints[0].counts.requests, 4, "it is the same endpoint with the same counters");
}

#[tokio::test]
async fn an_endpoint_of_another_transport_gets_no_requests() {
    let socket = UdpSocket::bind(any()).await.unwrap();
    let datagrams = (socket.local_addr().unwrap(), speaking(Protocol::Udp));
    let backend = Backend::named("http").await;
    for protocol in [Protocol::Http1, Protocol::Tcp] {
        let fixture = fixture(protocol, &[datagrams, (backend.address, speaking(protocol))]);
        for _ in 0..4 {
            assert_eq!(fixture.client().await.get("/").await.unwrap().body(), "http", "{protocol:?}");
        }
        let traffic = fixture.traffic();
        assert_eq!((traffic.counts.connect_failures, traffic.endpoints[0].counts.requests), (0, 0));
    }

    let fixture = fixture(Protocol::Udp, &[(backend.address, speaking(Protocol::Http1)), datagrams]);
    for _ in 0..4 {
        let client = UdpSocket::bind(any()).await.unwrap();
        client.send_to(b"hello", fixture.address).await.unwrap();
        let mut received = [0; 16];
        let (size, _) = within(socket.recv_from(&mut received)).await.unwrap();
        assert_eq!(&received[..size], b"hello");
    }
}

#[tokio::test]
async fn http_endpoints_take_connections_and_tcp_endpoints_take_requests() {
    let backend = Backend::named("http").await;
    for (relayed, spoken) in [(Protocol::Tcp, Protocol::Http1), (Protocol::Http1, Protocol::Tcp)] {
        let fixture = fixture(relayed, &[(backend.address, speaking(spoken))]);
        assert_eq!(
            fixture.client().await.get("/").await.unwrap().body(),
            "http",
            "{spoken:?} over {relayed:?}"
        );
    }
}
