//! WebSockets as streams of HTTP/2, with a client and a server of third parties.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use hyper::ext::Protocol;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use proxy::{AttachedRoute, EndpointState, Gateway};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request as Asked, Response as Taken};
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::http2::{Body, Http2Client, whole};
use crate::kit::*;

type Socket = WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>;

/// Sends a greeting with the properties of the request, and then every message back.
async fn echo() -> Backend {
    Backend::raw(|stream| async move {
        let mut greeting = String::new();
        #[expect(clippy::result_large_err, reason = "the type is the crate's")]
        let look = |upgrade_request: &Asked, mut taken: Taken| -> Result<Taken, ErrorResponse> {
            let header_of = |name: &str| {
                upgrade_request.headers().get(name).and_then(|it| it.to_str().ok()).unwrap_or("-")
            };
            greeting = format!(
                "{} {} {} {}",
                upgrade_request.method(),
                upgrade_request.uri(),
                header_of("host"),
                header_of("x-forwarded-proto")
            );
            taken
                .headers_mut()
                .insert("sec-websocket-protocol", header_of("sec-websocket-protocol").parse().unwrap());
            Ok(taken)
        };
        // It checks method, version, Upgrade, Connection and the key by itself.
        let Ok(mut socket) = tokio_tungstenite::accept_hdr_async(stream, look).await else { return };
        let _ = socket.send(Message::text(greeting)).await;
        while let Some(Ok(message)) = socket.next().await {
            if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
                return;
            }
        }
    })
    .await
}

/// An extended CONNECT, as RFC 8441 has it.
fn connect(path: &str, protocol: &'static str) -> Request<Body> {
    let mut request = Request::new(whole(""));
    *request.method_mut() = Method::CONNECT;
    *request.version_mut() = Version::HTTP_2;
    *request.uri_mut() = format!("http://shop.example{path}").parse().unwrap();
    request.extensions_mut().insert(Protocol::from_static(protocol));
    request.headers_mut().insert("sec-websocket-version", "13".parse().unwrap());
    request.headers_mut().insert("sec-websocket-protocol", "chat".parse().unwrap());
    request
}

/// A client whose connection is known to take such requests.
async fn h2_client(address: std::net::SocketAddr) -> Http2Client {
    let h2_client = Http2Client::at(address).await;
    // None may be sent before the proxy has announced that it accepts them.
    let _ = h2_client.get("/").await;
    h2_client
}

async fn open(h2_client: &Http2Client, path: &str) -> Socket {
    let answer = within(h2_client.send(connect(path, "websocket"))).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["sec-websocket-protocol"], "chat");
    for name in ["connection", "upgrade", "sec-websocket-accept"] {
        assert!(!answer.headers().contains_key(name), "HTTP/2 has no {name}");
    }
    let upgraded = within(hyper::upgrade::on(answer)).await.unwrap();
    WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Client, None).await
}

async fn next(socket: &mut Socket) -> Message {
    within(socket.next()).await.expect("it is open").unwrap()
}

#[tokio::test]
async fn many_websockets_share_a_connection_with_requests() {
    let backend = echo().await;
    let fixture = Fixture::new(&[backend.address]);
    let h2_client = h2_client(fixture.address).await;
    let mut sockets = Vec::new();
    for n in 0..50 {
        let mut socket = open(&h2_client, &format!("/chat?{n}")).await;
        assert_eq!(next(&mut socket).await, Message::text(format!("GET /chat?{n} shop.example http")));
        sockets.push(socket);
    }
    assert_eq!(fixture.table.in_flight(SERVICE, id(0)), 50, "draining waits for them");
    let long = Bytes::from(vec![7; 10_000]);
    for socket in &mut sockets {
        socket.send(Message::text("hello")).await.unwrap();
        socket.send(Message::binary(long.clone())).await.unwrap();
        socket.send(Message::Ping(Bytes::from_static(b"there?"))).await.unwrap();
    }
    for socket in &mut sockets {
        assert_eq!(next(socket).await, Message::text("hello"));
        assert_eq!(next(socket).await, Message::binary(long.clone()));
        assert_eq!(next(socket).await, Message::Pong(Bytes::from_static(b"there?")));
    }
    // More than the windows of the connection hold.
    let longer = Bytes::from(vec![8; 2_000_000]);
    sockets[0].send(Message::binary(longer.clone())).await.unwrap();
    assert_eq!(next(&mut sockets[0]).await, Message::binary(longer));
    fixture.table.set_endpoint_state(SERVICE, id(0), EndpointState::Draining).unwrap();
    for mut socket in sockets {
        socket.close(None).await.unwrap();
        while let Some(message) = within(socket.next()).await {
            assert!(matches!(message, Ok(Message::Close(_))), "{message:?}");
        }
    }
    within(fixture.table.drained(SERVICE, id(0))).await;
    until(|| fixture.traffic().counts.status[0] == 50).await;
}

#[tokio::test]
async fn if_either_side_breaks_off_the_other_is_closed() {
    let backend = echo().await;
    let fixture = Fixture::new(&[backend.address]);
    let h2_client = h2_client(fixture.address).await;
    let mut left = open(&h2_client, "/").await;
    next(&mut left).await;
    drop(left);
    until(|| fixture.table.in_flight(SERVICE, id(0)) == 0).await;
    let mut socket = open(&h2_client, "/").await;
    next(&mut socket).await;
    backend.stop().await;
    let end = within(socket.next()).await;
    assert!(!matches!(end, Some(Ok(_))), "{end:?}");
    drop(socket);
    until(|| fixture.table.in_flight(SERVICE, id(0)) == 0).await;
}

#[tokio::test]
async fn an_idle_websocket_times_out() {
    let backend = echo().await;
    let fixture =
        Fixture::with(&[backend.address], |_, route| route.timeouts.stream_idle = Duration::from_millis(300));
    let h2_client = h2_client(fixture.address).await;
    let mut socket = open(&h2_client, "/").await;
    next(&mut socket).await;
    let end = within(socket.next()).await;
    assert!(matches!(end, None | Some(Err(Error::Protocol(_) | Error::Io(_)))), "{end:?}");
    until(|| fixture.table.in_flight(SERVICE, id(0)) == 0).await;
}

#[tokio::test]
async fn a_route_leads_a_websocket_to_its_service() {
    let backend = echo().await;
    let fixture = Fixture::new(&[backend.address]);
    let rules = json!([{"matches": [{"path": {"value": "/chat"}, "method": "GET"}], "backendRefs": [{"name": SERVICE}],
        "filters": [{"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}}}]}]);
    let spec = std::sync::Arc::new(
        serde_json::from_value(json!({"listen": "127.0.0.1:0", "rules": rules})).unwrap(),
    );
    let routes = vec![AttachedRoute { name: "web".into(), created: 1, spec }];
    let address = fixture.table.set_gateway(&Gateway { listen: any(), tls: None, routes }).unwrap();
    let h2_client = h2_client(address).await;
    let mut socket = open(&h2_client, "/chat/room").await;
    assert_eq!(next(&mut socket).await, Message::text("GET /room shop.example http"));
    let refused = within(h2_client.send(connect("/elsewhere", "websocket"))).await.unwrap();
    assert_eq!(refused.status(), 404);
}

#[tokio::test]
async fn a_websocket_that_is_not_accepted_is_answered_as_an_error() {
    let backend = Backend::http(|request: Request<_>| async move {
        let status = request.uri().path().trim_start_matches('/').parse().unwrap_or(200);
        let mut response = empty(status);
        if status == 101 {
            response.headers_mut().insert("upgrade", "other".parse().unwrap());
            response.headers_mut().insert("connection", "upgrade".parse().unwrap());
        }
        response
    })
    .await;
    let fixture = Fixture::new(&[backend.address]);
    let h2_client = h2_client(fixture.address).await;
    let status =
        async |path: &str, protocol| within(h2_client.send(connect(path, protocol))).await.unwrap().status();
    assert_eq!(status("/403", "websocket").await, 403, "a refusal is the endpoint's");
    assert_eq!(status("/200", "websocket").await, 502, "a page is no WebSocket");
    assert_eq!(status("/101", "websocket").await, 502, "nor is another protocol");
    assert_eq!(status("/", "connect-udp").await, 501, "nor are there other tunnels");
    assert_eq!(h2_client.get("/").await.unwrap().status(), 200, "the connection goes on");
}

/// An endpoint of RFC 8441: sends a greeting with the properties of the request, and then every message back; refuses `/403`. Other requests get their version.
async fn echo_by_http2(takes_websockets: bool) -> Backend {
    echo_by_streams(takes_websockets, 200).await
}

/// As [`echo_by_http2`], with so many streams at once on a connection.
async fn echo_by_streams(takes_websockets: bool, streams: u32) -> Backend {
    let sockets = Arc::new(Mutex::new(JoinSet::new()));
    Backend::raw(move |stream| {
        let sockets = Arc::clone(&sockets);
        async move {
            let answer = |mut upgrade_request: Request<hyper::body::Incoming>| {
                let sockets = Arc::clone(&sockets);
                async move {
                    if upgrade_request
                        .extensions()
                        .get::<Protocol>()
                        .is_none_or(|it| it.as_str() != "websocket")
                    {
                        return Ok::<_, std::convert::Infallible>(Response::new(whole("HTTP/2")));
                    }
                    let headers = upgrade_request.headers();
                    assert!(
                        !headers.contains_key("sec-websocket-key") && !headers.contains_key("upgrade"),
                        "{headers:?}"
                    );
                    let header_of =
                        |name: &str| headers.get(name).and_then(|it| it.to_str().ok()).unwrap_or("-");
                    let greeting = format!(
                        "{} {} {}",
                        upgrade_request.method(),
                        upgrade_request.uri(),
                        header_of("x-forwarded-proto")
                    );
                    let mut taken = Response::new(whole(""));
                    if let Some(wanted) = headers.get("sec-websocket-protocol") {
                        taken.headers_mut().insert("sec-websocket-protocol", wanted.clone());
                    }
                    if upgrade_request.uri().path() == "/403" {
                        *taken.status_mut() = hyper::StatusCode::FORBIDDEN;
                        return Ok(taken);
                    }
                    let upgrade = hyper::upgrade::on(&mut upgrade_request);
                    sockets.lock().unwrap().spawn(greet_and_send_back(upgrade, greeting));
                    Ok(taken)
                }
            };
            let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            builder.max_concurrent_streams(streams);
            if takes_websockets {
                builder.enable_connect_protocol();
            }
            let _ = builder.serve_connection(TokioIo::new(stream), service_fn(answer)).await;
        }
    })
    .await
}

async fn greet_and_send_back(upgrade: hyper::upgrade::OnUpgrade, greeting: String) {
    let stream = TokioIo::new(upgrade.await.unwrap());
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
    let _ = socket.send(Message::text(greeting)).await;
    while let Some(Ok(message)) = socket.next().await {
        if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
            return;
        }
    }
}

fn by_http2(backend: &Backend) -> Fixture {
    Fixture::with(&[backend.address], |_, route| route.protocol = proxy::Protocol::Http2)
}

#[tokio::test]
async fn an_http2_endpoint_gets_an_extended_connect() {
    let backend = echo_by_http2(true).await;
    let fixture = by_http2(&backend);
    let h2_client = h2_client(fixture.address).await;
    let mut sockets = Vec::new();
    for n in 0..20 {
        let mut socket = open(&h2_client, &format!("/chat?{n}")).await;
        let greeting = format!("CONNECT http://shop.example/chat?{n} http");
        assert_eq!(next(&mut socket).await, Message::text(greeting));
        sockets.push(socket);
    }
    assert_eq!(fixture.table.in_flight(SERVICE, id(0)), 20, "draining waits for them");
    // More than the windows of a stream, and of the endpoint's connection, hold.
    let long = Bytes::from(vec![8; 500_000]);
    for socket in &mut sockets {
        socket.send(Message::text("hello")).await.unwrap();
        assert_eq!(next(socket).await, Message::text("hello"));
        socket.send(Message::binary(long.clone())).await.unwrap();
        assert_eq!(next(socket).await, Message::binary(long.clone()));
    }
    for mut socket in sockets {
        socket.close(None).await.unwrap();
        while let Some(message) = within(socket.next()).await {
            assert!(matches!(message, Ok(Message::Close(_))), "{message:?}");
        }
    }
    until(|| fixture.table.in_flight(SERVICE, id(0)) == 0).await;
    let refused = within(h2_client.send(connect("/403", "websocket"))).await.unwrap();
    assert_eq!(refused.status(), 403, "a refusal is the endpoint's");
    assert_eq!(h2_client.get("/").await.unwrap().status(), 200);
    assert_eq!(fixture.traffic().endpoints[0].counts.failures, 0);
}

#[tokio::test]
async fn an_http1_client_reaches_an_http2_endpoint() {
    let backend = echo_by_http2(true).await;
    let fixture = by_http2(&backend);
    let stream = TcpStream::connect(fixture.address).await.unwrap();
    // The client checks the status, Upgrade, Connection and Sec-WebSocket-Accept.
    let (mut socket, answer) =
        within(tokio_tungstenite::client_async("ws://shop.example/room", stream)).await.unwrap();
    assert_eq!(answer.status(), 101);
    let first = within(socket.next()).await.unwrap().unwrap();
    assert_eq!(first, Message::text("CONNECT http://shop.example/room http"));
    socket.send(Message::text("hello")).await.unwrap();
    assert_eq!(within(socket.next()).await.unwrap().unwrap(), Message::text("hello"));
    backend.stop().await;
    let end = within(socket.next()).await;
    assert!(!matches!(end, Some(Ok(_))), "{end:?}");
    until(|| fixture.table.in_flight(SERVICE, id(0)) == 0).await;
}

#[tokio::test]
async fn an_http2_endpoint_without_websockets_is_answered_501() {
    let backend = echo_by_http2(false).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    let fixture = Fixture::with(&[backend.address], |_, route| {
        route.protocol = proxy::Protocol::Http2;
        let log = json!({"file": file.to_str().unwrap()});
        route.access_log = Some(serde_json::from_value(log).unwrap());
    });
    let h2_client = Http2Client::at(fixture.address).await;
    let _ = h2_client.get("/").await;
    let refused = within(h2_client.send(connect("/chat", "websocket"))).await.unwrap();
    assert_eq!(refused.status(), 501);
    let by_http1 = send_raw(
        fixture.address,
        "GET /room HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    )
    .await;
    assert!(by_http1.starts_with("HTTP/1.1 501 "), "{by_http1}");
    assert!(by_http1.contains("does not accept WebSockets over it (RFC 8441)"), "{by_http1}");
    assert_eq!(h2_client.get("/").await.unwrap().status(), 200, "the connection goes on");
    assert_eq!(fixture.traffic().endpoints[0].counts.failures, 0, "that is no fault");
    let logged = || std::fs::read_to_string(&file).unwrap_or_default();
    until(|| {
        logged().matches("\"reason\":\"The endpoint speaks HTTP/2 and does not accept WebSockets").count()
            == 2
    })
    .await;
    assert!(!logged().lines().next().unwrap().contains("reason"), "who is answered has no reason");
}

#[tokio::test]
async fn an_endpoint_with_websockets_is_found_and_those_without_are_remembered() {
    let (without, with) = (echo_by_http2(false).await, echo_by_http2(true).await);
    let fixture = Fixture::with(&[without.address, with.address], |_, route| {
        route.protocol = proxy::Protocol::Http2;
        route.balance = proxy::Balance::RoundRobin;
    });
    let h2_client = h2_client(fixture.address).await;
    for n in 0..20 {
        let mut socket = open(&h2_client, &format!("/chat?{n}")).await;
        let greeting = format!("CONNECT http://shop.example/chat?{n} http");
        assert_eq!(next(&mut socket).await, Message::text(greeting));
    }
    let counts = fixture.traffic().counts;
    assert!(counts.retries <= 1, "its connection says it once: {counts:?}");
    four_by_http1(&fixture).await;
    for _ in 0..10 {
        assert_eq!(h2_client.get("/").await.unwrap().status(), 200);
    }
    let counts: Vec<_> = fixture.traffic().endpoints.iter().map(|it| it.counts.clone()).collect();
    assert!(counts[0].status.iter().sum::<u64>() >= 4, "it gets its share of the requests: {counts:?}");
    assert_eq!(counts[0].failures + counts[0].connect_failures, 0, "that is no fault");
}

#[tokio::test]
async fn many_endpoints_without_websockets_are_soon_all_known() {
    let without: Vec<Backend> = futures_util::future::join_all((0..4).map(|_| echo_by_http2(false))).await;
    let with = echo_by_http2(true).await;
    let addresses: Vec<_> = without.iter().chain([&with]).map(|backend| backend.address).collect();
    let fixture = Fixture::with(&addresses, |_, route| {
        route.protocol = proxy::Protocol::Http2;
        route.balance = proxy::Balance::RoundRobin;
    });
    let h2_client = Http2Client::at(fixture.address).await;
    let _ = h2_client.get("/").await;
    let mut statuses = Vec::new();
    for _ in 0..10 {
        let answer = within(h2_client.send(connect("/chat", "websocket"))).await.unwrap();
        statuses.push(answer.status().as_u16());
    }
    assert!(statuses[..2].iter().all(|status| [200, 501].contains(status)), "{statuses:?}");
    assert!(statuses[2..].iter().all(|status| *status == 200), "{statuses:?}");
}

#[tokio::test]
async fn an_endpoint_that_did_not_answer_may_take_websockets_and_is_waited_for() {
    let (without, with) = (echo_by_http2(false).await, echo_by_http2(true).await);
    let address = with.address;
    with.stop().await;
    let fixture = Fixture::with(&[without.address, address], |_, route| {
        route.protocol = proxy::Protocol::Http2;
        route.timeouts.endpoint = Duration::from_millis(200);
    });
    let answer = send_raw(fixture.address, ASKED_BY_HTTP1).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert_eq!(fixture.traffic().endpoints[0].counts.failures, 0, "that is no fault");
}

/// The headers of a WebSocket request over HTTP/1.1.
const ASKED_BY_HTTP1: &str = "GET /room HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

#[tokio::test]
async fn an_endpoint_that_disconnects_before_its_settings_is_skipped_and_blamed() {
    let http1 = Backend::raw(|mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
    });
    let dying = Backend::raw(|stream| async move { drop(stream) });
    for dead in [http1.await, dying.await] {
        let fixture = Fixture::with(&[dead.address], |_, route| {
            route.protocol = proxy::Protocol::Http2;
            route.timeouts.endpoint = Duration::from_millis(50);
        });
        let begun = tokio::time::Instant::now();
        let answer = send_raw(fixture.address, ASKED_BY_HTTP1).await;
        assert!(answer.starts_with("HTTP/1.1 50") && !answer.starts_with("HTTP/1.1 501"), "{answer}");
        assert!(begun.elapsed() < Duration::from_secs(1), "nothing more is waited for");
        let counts = fixture.traffic().endpoints[0].counts.clone();
        assert!(counts.failures + counts.connect_failures > 0, "it is blamed: {counts:?}");

        let alive = echo_by_http2(true).await;
        let fixture = Fixture::with(&[dead.address, alive.address], |_, route| {
            route.protocol = proxy::Protocol::Http2;
            route.balance = proxy::Balance::RoundRobin;
        });
        four_by_http1(&fixture).await;
        assert!(fixture.traffic().counts.retries > 0, "it was sometimes tried first");
    }
}

#[tokio::test]
async fn websockets_that_stay_leave_room_for_requests() {
    let backend = echo_by_streams(true, 2).await;
    let fixture = Fixture::with(&[backend.address], |_, route| {
        route.protocol = proxy::Protocol::Http2;
        route.timeouts.response_head = Duration::from_secs(5);
    });
    let h2_client = h2_client(fixture.address).await;
    let mut sockets = Vec::new();
    for n in 0..20 {
        let mut socket = open(&h2_client, &format!("/chat?{n}")).await;
        next(&mut socket).await;
        sockets.push(socket);
    }
    for _ in 0..10 {
        assert_eq!(h2_client.get("/").await.unwrap().status(), 200);
    }
    let counts = fixture.traffic().endpoints[0].counts.clone();
    assert_eq!((counts.failures, counts.connect_failures), (0, 0));
}

#[tokio::test]
async fn an_endpoint_that_closes_the_websocket_and_disconnects_has_ended_well() {
    // With both halves dropped h2 says, behind the end, that it wants nothing more: RST_STREAM with NO_ERROR.
    let backend = Backend::raw(|stream| async move {
        let mut builder = h2::server::Builder::new();
        builder.enable_connect_protocol();
        let mut connection = builder.handshake::<_, Bytes>(stream).await.unwrap();
        while let Some(Ok((upgrade_request, mut answer))) = connection.accept().await {
            let mut up =
                answer.send_response(Response::new(()), upgrade_request.method() != Method::CONNECT).unwrap();
            if upgrade_request.method() == Method::CONNECT {
                up.send_data(Bytes::from_static(b"bye"), true).unwrap();
            }
        }
    })
    .await;
    let fixture = by_http2(&backend);
    let h2_client = h2_client(fixture.address).await;
    for _ in 0..10 {
        let answer = within(h2_client.send(connect("/", "websocket"))).await.unwrap();
        assert_eq!(answer.status(), 200);
        let mut tunnel = TokioIo::new(within(hyper::upgrade::on(answer)).await.unwrap());
        let mut received = Vec::new();
        within(tunnel.read_to_end(&mut received)).await.expect("it has ended, and was not reset");
        assert_eq!(received, b"bye");
        tunnel.shutdown().await.unwrap();
    }
    let bytes_out = || fixture.traffic().endpoints[0].counts.bytes_out;
    until(|| bytes_out() == 30).await;
}

/// Four clients that speak HTTP/1.1 reach an endpoint of HTTP/2 that takes WebSockets.
async fn four_by_http1(fixture: &Fixture) {
    for _ in 0..4 {
        let stream = TcpStream::connect(fixture.address).await.unwrap();
        let (mut socket, _) =
            within(tokio_tungstenite::client_async("ws://shop.example/room", stream)).await.unwrap();
        let first = within(socket.next()).await.unwrap().unwrap();
        assert_eq!(first, Message::text("CONNECT http://shop.example/room http"));
    }
}
