//! Clients that are idle for a while keep their connection, and no byte of their next request is lost.
//!
//! A worker keeps some connections ready; there are more idle clients than that, so that most are taken apart as soon as they have their first answer.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{Request, Response};
use proxy::{AttachedRoute, EndpointRoute, Gateway, ServiceRoute};
use rand_core::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::kit::*;

const CLIENTS: usize = 100;

/// Answers with the path and the body of each request.
async fn echo() -> Backend {
    Backend::http(|request: Request<Incoming>| async move {
        let path = request.uri().path().to_owned();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let text = format!("{path} {};", String::from_utf8_lossy(&body));
        Response::new(http_body_util::Full::new(bytes::Bytes::from(text)))
    })
    .await
}

fn one_worker(config: &mut proxy::ProxyConfig) {
    config.workers = NonZeroUsize::MIN;
}

/// Connections that have had one answer.
async fn idle_clients(fixture: &Fixture) -> Vec<TcpStream> {
    let mut idle_clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut stream = TcpStream::connect(fixture.address).await.unwrap();
        send_request(&mut stream, "/first").await;
        idle_clients.push(stream);
    }
    idle_clients
}

async fn send_request(stream: &mut TcpStream, path: &str) {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await.unwrap();
    read_answer(stream, &format!("{path} ;")).await;
}

/// Reads one answer whose body is `expected`, and no more; answers its head.
async fn read_answer(stream: &mut TcpStream, expected: &str) -> String {
    let mut received = Vec::new();
    while !received.ends_with(b";") {
        let mut byte = [0];
        let read = within(stream.read(&mut byte)).await.unwrap();
        assert!(read > 0, "closed after {:?}", String::from_utf8_lossy(&received));
        received.push(byte[0]);
    }
    let received = String::from_utf8(received).unwrap();
    let (head, body) = received.split_once("\r\n\r\n").unwrap();
    assert_eq!(body, expected);
    head.to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_byte_is_lost_of_requests_in_pieces_while_idle_connections_are_released() {
    /// A connection that is used again stays set up, so more groups of clients test more than longer runs of one.
    const CROWDS: u64 = 10;
    const ROUNDS: u64 = 4;
    let backend = echo().await;
    let fixture = Fixture::with(&[backend.address], |config, route| {
        one_worker(config);
        // A client on a busy machine leaves the rest of a head unsent for long.
        route.timeouts.request_head = DEADLINE;
        route.timeouts.connect = DEADLINE;
    });
    for number in 0..CROWDS {
        let mut clients = JoinSet::new();
        for (seed, stream) in (number * CLIENTS as u64..).zip(idle_clients(&fixture).await) {
            clients.spawn(send_in_pieces(stream, seed, ROUNDS));
        }
        while let Some(client) = clients.join_next().await {
            client.unwrap();
        }
    }
    assert_eq!(fixture.traffic().counts.requests, CROWDS * CLIENTS as u64 * (ROUNDS + 1));
}

/// Sends so many requests in pieces, with bodies of any length, and checks every answer.
async fn send_in_pieces(mut stream: TcpStream, seed: u64, rounds: u64) {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut expected = Vec::new();
    let mut unsent = Vec::new();
    for round in 0..rounds {
        let body = "x".repeat((rng.next_u64() % 3000) as usize);
        let path = format!("/{seed}/{round}");
        let length = body.len();
        let request = format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}");
        unsent.extend_from_slice(request.as_bytes());
        expected.push(format!("{path} {body};"));
        if rng.next_u64().is_multiple_of(2) {
            continue;
        }
        // A part of the last request comes with those before it, and the rest after their answers.
        let cut = rng.next_u64() as usize % request.len();
        let rest = unsent.split_off(unsent.len() - cut);
        stream.write_all(&unsent).await.unwrap();
        unsent = rest;
        let whole = expected.len() - usize::from(!unsent.is_empty());
        for expected in expected.drain(..whole) {
            read_answer(&mut stream, &expected).await;
        }
        for _ in 0..rng.next_u64() % 20 {
            tokio::task::yield_now().await;
        }
    }
    stream.write_all(&unsent).await.unwrap();
    for expected in expected {
        read_answer(&mut stream, &expected).await;
    }
}

#[tokio::test]
async fn idle_connections_count_and_the_next_one_is_accepted_when_one_closes() {
    let backend = echo().await;
    let fixture = Fixture::with(&[backend.address], |config, _| {
        one_worker(config);
        config.connections_max = CLIENTS;
    });
    let mut idle_clients = idle_clients(&fixture).await;
    let mut next = TcpStream::connect(fixture.address).await.unwrap();
    next.write_all(b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    send_request(&mut idle_clients[CLIENTS - 1], "/again").await;
    assert_eq!(fixture.traffic().counts.requests, CLIENTS as u64 + 1);
    drop(idle_clients.pop());
    read_answer(&mut next, "/next ;").await;
}

#[tokio::test]
async fn idle_clients_and_those_with_an_incomplete_head_time_out() {
    let backend = echo().await;
    let fixture = Fixture::with(&[backend.address], |config, route| {
        one_worker(config);
        route.timeouts.client_idle = Duration::from_secs(1);
        route.timeouts.request_head = Duration::from_millis(100);
    });
    let mut idle_clients = idle_clients(&fixture).await;
    // Its time of idleness would be longer.
    idle_clients[CLIENTS - 1].write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    for stream in &mut idle_clients {
        assert_eq!(within(stream.read(&mut [0])).await.unwrap_or(0), 0);
    }
}

/// Such an answer is hyper's to write, which reads the request once more for it.
#[tokio::test]
async fn a_connection_stays_idle_after_an_answer_without_a_body() {
    let backend = Backend::http(|request: Request<Incoming>| async move {
        empty(request.uri().path()[1..].parse().unwrap())
    })
    .await;
    let fixture = Fixture::with(&[backend.address], |config, route| {
        one_worker(config);
        route.timeouts.request_head = Duration::from_millis(100);
    });
    for status in [204, 304] {
        let mut stream = TcpStream::connect(fixture.address).await.unwrap();
        for _ in 0..2 {
            let request = format!("GET /{status} HTTP/1.1\r\nHost: a\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let head = read_head(&mut stream).await;
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head:?}");
            // tidy: slow on purpose
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}

#[tokio::test]
async fn idle_connections_are_closed_when_the_proxy_stops() {
    let backend = echo().await;
    let fixture = Fixture::with(&[backend.address], |config, _| one_worker(config));
    let mut idle_clients = idle_clients(&fixture).await;
    let mut ending = JoinSet::new();
    ending.spawn(fixture.proxy.shutdown(DEADLINE));
    for stream in &mut idle_clients {
        assert_eq!(within(stream.read(&mut [0])).await.unwrap(), 0, "closed, and not reset");
    }
    assert_eq!(within(ending.join_next()).await.unwrap().unwrap().connections_cut, 0);
}

#[tokio::test]
async fn idle_clients_may_send_one_more_request_during_a_takeover() {
    let backend = echo().await;
    let fixture = Fixture::with(&[backend.address], |config, _| one_worker(config));
    let mut idle_clients = idle_clients(&fixture).await;
    let mut leaving = JoinSet::new();
    let address = fixture.address;
    leaving.spawn(fixture.proxy.hand_over(DEADLINE));
    // Until the worker has been notified, answers have no `Connection: close`.
    within(async { while TcpStream::connect(address).await.is_ok() {} }).await;
    for stream in &mut idle_clients {
        stream.write_all(b"GET /last HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let head = read_answer(stream, "/last ;").await;
        assert!(head.contains("connection: close"), "{head}");
        assert_eq!(within(stream.read(&mut [0])).await.unwrap(), 0);
    }
    assert_eq!(within(leaving.join_next()).await.unwrap().unwrap().connections_cut, 0);
}

/// What it says later belongs to its first request, however much it looks like another one.
#[tokio::test]
async fn the_rest_of_a_request_that_was_answered_early_is_not_read_as_another_request() {
    let backend = Backend::raw(|mut stream| async move {
        while read_head(&mut stream).await.contains("\r\n\r\n") {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n/first ;").await;
        }
    })
    .await;
    let fixture = Fixture::with(&[backend.address], |config, _| one_worker(config));
    let mut idle_clients = idle_clients(&fixture).await;
    for (stream, framing) in
        idle_clients.iter_mut().zip(["Content-Length: 1000", "Transfer-Encoding: chunked"])
    {
        let head = format!("POST /first HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n5\r\nabcde\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        read_answer(stream, "/first ;").await;
        // It may be closed already.
        let _ = stream.write_all(b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(within(stream.read(&mut [0])).await.unwrap_or(0), 0);
    }
    assert_eq!(fixture.traffic().counts.requests, CLIENTS as u64 + 2);
}

/// Of some of these lengths the system takes so much that the rest is for us to keep, though it is all there.
#[tokio::test]
async fn clients_that_read_late_get_all_answers() {
    const STEP: usize = 200 * 1024;
    let backend = Backend::http(|request: Request<Incoming>| async move {
        let steps: usize = request.uri().path()[1..].parse().unwrap();
        Response::new(http_body_util::Full::new(bytes::Bytes::from(vec![b'x'; steps * STEP])))
    })
    .await;
    let fixture = Fixture::with(&[backend.address], |config, _| one_worker(config));
    let mut late = Vec::new();
    for steps in 0..30 {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut stream = socket.connect(fixture.address).await.unwrap();
        stream.write_all(format!("GET /{steps} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await.unwrap();
        late.push(stream);
    }
    // Until nothing moves any more: not even what rests for long, and would be taken apart.
    let mut passed = (0, Instant::now());
    until(|| {
        let traffic = fixture.traffic();
        let now = traffic.counts.status[1];
        if passed.0 != now {
            passed = (now, Instant::now());
        }
        now > 0 && passed.1.elapsed() > Duration::from_secs(1)
    })
    .await;
    for (steps, mut stream) in late.into_iter().enumerate() {
        let mut received = vec![0; 64 * 1024];
        let (mut head, mut length) = (Vec::new(), None);
        while length != Some(steps * STEP) {
            let read = within(stream.read(&mut received)).await.unwrap();
            assert!(read > 0, "closed after {length:?} of {}", steps * STEP);
            if let Some(length) = &mut length {
                *length += read;
            } else {
                head.extend_from_slice(&received[..read]);
                let end = head.windows(4).position(|window| window == b"\r\n\r\n");
                length = end.map(|end| head.len() - end - 4);
            }
        }
        // The connection was not announced to close meanwhile, either.
        stream.write_all(b"GET /0 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let head = within(read_head(&mut stream)).await;
        assert!(head.starts_with("HTTP/1.1 200 ") && !head.contains("connection: close"), "{head}");
    }
}

/// Answers requests for `path` and no others; notifies when a connection was closed.
async fn answering_only(path: &'static str, closed: &Arc<Notify>) -> Backend {
    let closed = Arc::clone(closed);
    Backend::raw(move |mut stream| {
        let closed = Arc::clone(&closed);
        async move {
            loop {
                let head = read_head(&mut stream).await;
                if head.is_empty() {
                    break;
                }
                if head.starts_with(&format!("GET {path} ")) {
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n;").await.unwrap();
                }
            }
            closed.notify_one();
        }
    })
    .await
}

/// Sets a listener whose requests go to the fixture's service, and copies of them to `shadow`.
fn set_mirror(fixture: &Fixture, shadow: &Backend) -> std::net::SocketAddr {
    let mut service = ServiceRoute::without_listener("shadow");
    service.endpoints = vec![EndpointRoute::new(id(0), shadow.address)];
    fixture.table.set_service(&service).unwrap();
    let mirror = json!({"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "shadow"}}});
    let rules = json!([{"filters": [mirror], "backendRefs": [{"name": SERVICE}]}]);
    let spec = Arc::new(serde_json::from_value(json!({"listen": "127.0.0.1:0", "rules": rules})).unwrap());
    let routes = vec![AttachedRoute { name: "web".into(), created: 1, spec }];
    fixture.table.set_gateway(&Gateway { listen: any(), tls: None, routes }).unwrap()
}

/// A copy of a request may outlive its client, and be all that a worker has to do.
#[tokio::test]
async fn a_request_has_its_timeouts_after_a_copy_of_another_was_answered_late() {
    let (closed, go) = (Arc::new(Notify::new()), Arc::new(Semaphore::new(0)));
    let backend = answering_only("/answered", &closed).await;
    let released = Arc::clone(&go);
    let shadow = Backend::http(move |_request: Request<Incoming>| {
        let released = Arc::clone(&released);
        async move {
            let _ = released.acquire().await;
            empty(200)
        }
    })
    .await;
    let fixture = Fixture::with(&[backend.address], |config, route| {
        one_worker(config);
        route.timeouts.upstream_idle = Duration::ZERO;
        route.timeouts.response_head = Duration::from_millis(50);
    });
    let mut first = TcpStream::connect(set_mirror(&fixture, &shadow)).await.unwrap();
    first.write_all(b"GET /answered HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    read_answer(&mut first, ";").await;
    drop(first);
    within(closed.notified()).await;
    go.add_permits(1);
    let copies = || {
        let traffic = fixture.table.traffic();
        traffic.iter().find(|it| &*it.service == "shadow").unwrap().endpoints[0].counts.status[1]
    };
    until(|| copies() == 1).await;
    let answer = fixture.client().await.get("/never").await.unwrap();
    assert_eq!(answer.status(), 504);
}
