//! A proxy takes the place of another one, on the same sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo};
use proxy::{Proxy, ProxyConfig, RouteError, ServiceRoute, ShutdownOutcome};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::kit::*;

const CONFIG: fn() -> ProxyConfig = ProxyConfig::default;

/// A proxy with the sockets of `fixture` and the service at `endpoint`; it does not accept yet.
fn successor_of(fixture: &Fixture, endpoint: SocketAddr) -> Proxy {
    let next = Proxy::take_over(&CONFIG(), fixture.table.share_listeners().unwrap()).unwrap();
    assert_eq!(next.table().unclaimed(), 1);
    let mut route = fixture.route.clone();
    route.endpoints[0].address = endpoint;
    assert_eq!(next.table().set_service(&route).unwrap(), Some(fixture.address), "it is the same socket");
    assert_eq!(next.table().unclaimed(), 0);
    next
}

/// Asks over a connection that stays open, and reads head and body.
async fn ask(stream: &mut TcpStream) -> String {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    while !answer.ends_with("first") && !answer.ends_with("second") {
        let mut piece = [0; 1024];
        let size = within(stream.read(&mut piece)).await.unwrap();
        assert!(size > 0, "cut off after {answer:?}");
        answer.push_str(std::str::from_utf8(&piece[..size]).unwrap());
    }
    answer
}

fn begin(leaving: impl Future<Output = ShutdownOutcome> + Send + 'static) -> JoinSet<ShutdownOutcome> {
    let mut tasks = JoinSet::new();
    tasks.spawn(leaving);
    tasks
}

#[tokio::test]
async fn during_a_takeover_new_clients_are_served_and_connected_ones_may_send_one_more_request() {
    let (first, second) = (Backend::named("first").await, Backend::named("second").await);
    let fixture = Fixture::new(&[first.address]);
    let mut silent = TcpStream::connect(fixture.address).await.unwrap();
    let mut idle = TcpStream::connect(fixture.address).await.unwrap();
    let answer = ask(&mut idle).await;
    assert!(!answer.contains("connection: close"), "{answer}");
    until(|| fixture.traffic().counts.requests == 1).await;
    let next = successor_of(&fixture, second.address);
    for _ in 0..20 {
        assert_eq!(
            fixture.client().await.get("/").await.unwrap().body(),
            "first",
            "the next one does not accept yet"
        );
    }

    next.open();
    let (address, requests) = (fixture.address, 20);
    let mut leaving = begin(fixture.proxy.hand_over(DEADLINE));
    for _ in 0..requests {
        let body = Client::connect(address).await.get("/").await.unwrap();
        assert!(body.body() == "second" || body.body() == "first");
    }
    // Both clients were connected before: each learns of the close with its answer.
    for stream in [&mut idle, &mut silent] {
        let answer = ask(stream).await;
        assert!(answer.contains("connection: close") && answer.ends_with("first"), "{answer}");
        assert_eq!(within(stream.read(&mut [0])).await.unwrap(), 0);
    }
    assert_eq!(within(leaving.join_next()).await.unwrap().unwrap().connections_cut, 0);
    assert_eq!(Client::connect(address).await.get("/").await.unwrap().body(), "second");
    within(next.shutdown(DEADLINE)).await;
    assert!(TcpStream::connect(address).await.is_err(), "the socket is closed");
}

#[tokio::test]
async fn an_idle_client_is_disconnected_after_the_idle_timeout() {
    let backend = Backend::named("first").await;
    let fixture = Fixture::new(&[backend.address]);
    let mut idle = TcpStream::connect(fixture.address).await.unwrap();
    ask(&mut idle).await;
    let ended = within(fixture.proxy.hand_over(Duration::from_millis(50))).await;
    assert_eq!(ended.connections_cut, 1);
    assert_eq!(within(idle.read(&mut [0])).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn dropping_a_handover_aborts_requests_in_progress() {
    let silent = Backend::raw(|stream| async move {
        let _stream = stream;
        std::future::pending::<()>().await;
    });
    let fixture = Fixture::new(&[silent.await.address]);
    let mut waiting = TcpStream::connect(fixture.address).await.unwrap();
    waiting.write_all(b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n").await.unwrap();
    until(|| fixture.traffic().counts.requests == 1).await;
    let left =
        tokio::time::timeout(Duration::from_millis(10), fixture.proxy.hand_over(Duration::from_hours(1)));
    assert!(left.await.is_err());
    assert_eq!(within(waiting.read(&mut [0])).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn an_http2_client_gets_goaway_at_once_and_loses_no_request() {
    let backend = Backend::named("first").await;
    let fixture = Fixture::new(&[backend.address]);
    let stream = TcpStream::connect(fixture.address).await.unwrap();
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(connection);
    let new_request = || hyper::Request::get("http://shop.example/").body(String::new()).unwrap();
    assert_eq!(within(sender.send_request(new_request())).await.unwrap().status(), 200);
    let mut leaving = begin(fixture.proxy.hand_over(DEADLINE));
    // Until the client has received the GOAWAY, its requests are answered.
    within(async {
        while !sender.is_closed() {
            match sender.send_request(new_request()).await {
                Ok(answer) => assert_eq!(answer.status(), 200),
                Err(error) => assert!(error.is_canceled() || sender.is_closed(), "{error:?}"),
            }
        }
    })
    .await;
    within(tasks.join_next()).await.unwrap().unwrap().unwrap();
    assert_eq!(within(leaving.join_next()).await.unwrap().unwrap().connections_cut, 0);
}

#[tokio::test]
async fn a_successor_that_never_serves_does_not_harm_the_sockets() {
    let (first, second) = (Backend::named("first").await, Backend::named("second").await);
    let fixture = Fixture::new(&[first.address]);
    let next = successor_of(&fixture, second.address);
    // Whatever it does with its services before it is open.
    assert!(next.table().remove_service(SERVICE));
    drop(next);
    drop(successor_of(&fixture, second.address));
    within(successor_of(&fixture, second.address).shutdown(DEADLINE)).await;
    for _ in 0..10 {
        assert_eq!(fixture.client().await.get("/").await.unwrap().body(), "first");
    }
}

#[tokio::test]
async fn a_service_that_is_removed_before_its_proxy_is_open_is_not_served_after() {
    let (first, second) = (Backend::named("first").await, Backend::named("second").await);
    let fixture = Fixture::new(&[first.address]);
    let next = successor_of(&fixture, second.address);
    assert!(next.table().remove_service(SERVICE));
    next.open();
    for _ in 0..10 {
        assert_eq!(fixture.client().await.get("/").await.unwrap().body(), "first");
    }
}

#[tokio::test]
async fn unclaimed_sockets_are_closed_and_missing_ones_are_opened() {
    let backend = Backend::named("first").await;
    let fixture = Fixture::new(&[backend.address]);
    let next = Proxy::take_over(&CONFIG(), fixture.table.share_listeners().unwrap()).unwrap();
    // Another name with a port of the system's choice is another socket; with the address itself it is taken as it is.
    let other = next.table().set_service(&ServiceRoute::new("other", any())).unwrap().unwrap();
    assert_ne!(other, fixture.address);
    let taken = next.table().set_service(&ServiceRoute::new("thief", fixture.address));
    assert!(matches!(taken, Err(RouteError::AddressInUse { .. })), "{taken:?}");
    next.open();
    assert_eq!(next.table().unclaimed(), 0);
    let address = fixture.address;
    within(fixture.proxy.shutdown(DEADLINE)).await;
    assert!(TcpStream::connect(address).await.is_err());
    assert!(TcpStream::connect(other).await.is_ok());
}

#[tokio::test]
async fn no_connection_is_lost_while_proxies_follow_each_other_under_load() {
    let backend = Backend::named("first").await;
    let fixture = Fixture::new(&[backend.address]);
    let address = fixture.address;
    let answered = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let mut clients = JoinSet::new();
    for _ in 0..4 {
        let answered = Arc::clone(&answered);
        clients.spawn(async move {
            loop {
                // A new connection each time: what counts is that none is refused or reset.
                let answer =
                    Client::connect(address).await.get("/").await.expect("every request is answered");
                assert_eq!(answer.body(), "first");
                answered.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        });
    }
    let Fixture { mut proxy, mut table, route, .. } = fixture;
    for _ in 0..10 {
        let before = answered.load(std::sync::atomic::Ordering::Relaxed);
        until(|| answered.load(std::sync::atomic::Ordering::Relaxed) > before + 50).await;
        let next = Proxy::take_over(&CONFIG(), table.share_listeners().unwrap()).unwrap();
        assert_eq!(next.table().set_service(&route).unwrap(), Some(address));
        next.open();
        table = next.table();
        let ended = within(std::mem::replace(&mut proxy, next).hand_over(DEADLINE)).await;
        assert_eq!(ended.connections_cut, 0);
        if let Some(ended) = clients.try_join_next() {
            ended.expect("no client has failed");
        }
    }
    clients.abort_all();
    while let Some(ended) = clients.join_next().await {
        assert!(ended.is_err_and(|error| error.is_cancelled()), "no client has failed");
    }
}
