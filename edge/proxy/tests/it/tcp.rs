//! Plain TCP: connections are balanced, retried at another endpoint when one refuses them, drained and counted; their bytes are not interpreted.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use proxy::{Balance, EndpointRoute, EndpointState, Limits, Protocol, ProxyVersion, ServiceRoute};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::kit::*;

fn fixture(endpoints: &[SocketAddr], change: impl FnOnce(&mut ServiceRoute)) -> Fixture {
    Fixture::with(endpoints, |_, route| {
        route.protocol = Protocol::Tcp;
        route.balance = Balance::RoundRobin;
        change(route);
    })
}

/// Sends its name at once, echoes everything, and says goodbye when the other side has closed.
async fn endpoint(name: &'static str) -> Backend {
    Backend::raw(move |mut stream| async move {
        let _ = stream.write_all(format!("{name}: ").as_bytes()).await;
        let mut piece = [0; 4096];
        while let Ok(size) = stream.read(&mut piece).await {
            if size == 0 {
                let _ = stream.write_all(b" bye").await;
                return;
            }
            let _ = stream.write_all(&piece[..size]).await;
        }
    })
    .await
}

/// A connection that has been greeted, and by whom.
async fn connect(fixture: &Fixture) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(fixture.address).await.unwrap();
    let mut greeting = Vec::new();
    while !greeting.ends_with(b": ") {
        greeting.push(within(stream.read_u8()).await.unwrap());
    }
    (stream, String::from_utf8(greeting).unwrap().trim_end_matches(": ").to_owned())
}

/// What is received until the other side closes; nothing from a connection that was reset.
async fn rest(stream: &mut TcpStream) -> String {
    let mut received = String::new();
    let _ = within(stream.read_to_string(&mut received)).await;
    received
}

#[tokio::test]
async fn bytes_flow_in_both_directions_and_each_side_can_half_close() {
    let backend = endpoint("a").await;
    let fixture = fixture(&[backend.address], |_| {});
    let (mut stream, name) = connect(&fixture).await;
    assert_eq!(name, "a");
    // Nothing that any protocol would understand.
    stream.write_all(b"\0\xff\r\n\r\nPRI").await.unwrap();
    let mut echo = [0; 9];
    within(stream.read_exact(&mut echo)).await.unwrap();
    assert_eq!(&echo, b"\0\xff\r\n\r\nPRI");
    stream.shutdown().await.unwrap();
    assert_eq!(rest(&mut stream).await, " bye");
    until(|| fixture.traffic().counts.status[1] == 1).await;
    let traffic = fixture.traffic();
    assert_eq!((traffic.counts.requests, traffic.counts.bytes_in, traffic.counts.bytes_out), (1, 9, 16));
    let endpoint = &traffic.endpoints[0];
    assert_eq!((endpoint.counts.bytes_in, endpoint.counts.bytes_out, endpoint.in_flight), (9, 16, 0));
}

#[tokio::test]
async fn an_endpoint_may_close_first_and_receive_the_rest() {
    let received = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (done, kept) = (Arc::new(Notify::new()), Arc::clone(&received));
    let signal = Arc::clone(&done);
    let backend = Backend::raw(move |mut stream| {
        let (kept, signal) = (Arc::clone(&kept), Arc::clone(&signal));
        async move {
            stream.write_all(b"that is all").await.unwrap();
            stream.shutdown().await.unwrap();
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.unwrap();
            *kept.lock().unwrap() = rest;
            signal.notify_one();
        }
    })
    .await;
    let fixture = fixture(&[backend.address], |_| {});
    let mut stream = TcpStream::connect(fixture.address).await.unwrap();
    assert_eq!(rest(&mut stream).await, "that is all");
    stream.write_all(b"and this").await.unwrap();
    drop(stream);
    within(done.notified()).await;
    assert_eq!(*received.lock().unwrap(), b"and this");
}

#[tokio::test]
async fn counters_grow_during_a_connection() {
    let backend = endpoint("a").await;
    let fixture = fixture(&[backend.address], |_| {});
    let (mut stream, _) = connect(&fixture).await;
    let text = vec![b'x'; 1_000_000];
    let (mut from, mut to) = stream.split();
    let mut echo = vec![0; text.len()];
    within(async { tokio::join!(to.write_all(&text), from.read_exact(&mut echo)) }).await.1.unwrap();
    assert!(echo == text);
    assert_eq!((fixture.traffic().counts.bytes_in, fixture.table.in_flight(SERVICE, id(0))), (1_000_000, 1));
}

async fn endpoints_of(fixture: &Fixture, connections: usize) -> (Vec<TcpStream>, BTreeMap<String, usize>) {
    let (mut streams, mut homes) = (Vec::new(), BTreeMap::new());
    for _ in 0..connections {
        let (stream, name) = connect(fixture).await;
        streams.push(stream);
        *homes.entry(name).or_default() += 1;
    }
    (streams, homes)
}

#[tokio::test]
async fn connections_are_balanced_round_robin_by_least_connections_or_by_client_address() {
    let backends = [endpoint("a").await, endpoint("b").await, endpoint("c").await];
    let addresses = backends.each_ref().map(|backend| backend.address);
    // Each of the two workers takes turns for itself.
    let by_turn = fixture(&addresses, |_| {});
    let (_streams, spread) = endpoints_of(&by_turn, 30).await;
    assert!(spread.values().all(|&n| (8..=12).contains(&n)) && spread.len() == 3, "{spread:?}");
    let by_number = fixture(&addresses, |route| route.balance = Balance::LeastLoaded);
    let (_streams, spread) = endpoints_of(&by_number, 60).await;
    assert!(spread.values().all(|&n| (17..=23).contains(&n)) && spread.len() == 3, "{spread:?}");
    let by_address = fixture(&addresses, |route| route.balance = Balance::ConsistentHash);
    let mut spreads = BTreeSet::new();
    for _ in 0..10 {
        spreads.insert(endpoints_of(&by_address, 1).await.1);
        // One that has more than its share of what is open would leave the next to another.
        until(|| by_address.traffic().endpoints.iter().all(|endpoint| endpoint.in_flight == 0)).await;
    }
    assert_eq!(spreads.len(), 1, "{spreads:?}");
}

#[tokio::test]
async fn an_endpoint_that_does_not_accept_is_ejected_without_failing_a_connection() {
    let backend = endpoint("a").await;
    let fixture = fixture(&[unused_address(), backend.address, unused_address()], |_| {});
    for _ in 0..30 {
        let (mut stream, name) = connect(&fixture).await;
        assert_eq!(name, "a");
        stream.shutdown().await.unwrap();
        assert_eq!(rest(&mut stream).await, " bye");
    }
    let traffic = fixture.traffic();
    assert!(traffic.counts.retries > 0 && traffic.counts.connect_failures == traffic.counts.retries);
    assert!(traffic.endpoints.iter().any(proxy::EndpointTraffic::is_ejected));
    assert_eq!(traffic.errors(), 0);
}

#[tokio::test]
async fn a_connection_waits_for_an_endpoint_and_is_closed_on_timeout() {
    let empty = fixture(&[], |route| route.timeouts.endpoint = Duration::from_millis(100));
    let mut stream = TcpStream::connect(empty.address).await.unwrap();
    assert_eq!(rest(&mut stream).await, "");
    until(|| empty.traffic().counts.status[4] == 1).await;
    assert_eq!(empty.traffic().unavailable, 1);

    let backend = endpoint("a").await;
    let patient = fixture(&[], |route| route.timeouts.endpoint = DEADLINE);
    let waiting = connect(&patient);
    let arriving = async {
        until(|| patient.traffic().waiting == 1).await;
        let mut route = patient.route.clone();
        route.endpoints.push(EndpointRoute::new(id(0), backend.address));
        patient.table.set_service(&route).unwrap();
    };
    let ((_, name), ()) = tokio::join!(waiting, arriving);
    assert_eq!(name, "a");
}

#[tokio::test]
async fn a_drained_endpoint_gets_no_new_connection_and_keeps_those_it_has() {
    let (leaving, staying) = (endpoint("leaving").await, endpoint("staying").await);
    let fixture = fixture(&[leaving.address], |_| {});
    let (mut old, _) = connect(&fixture).await;
    let mut route = fixture.route.clone();
    route.endpoints.push(EndpointRoute::new(id(1), staying.address));
    fixture.table.set_service(&route).unwrap();
    fixture.table.set_endpoint_state(SERVICE, id(0), EndpointState::Draining).unwrap();
    for _ in 0..10 {
        assert_eq!(connect(&fixture).await.1, "staying");
    }
    old.write_all(b"still").await.unwrap();
    let mut echo = [0; 5];
    within(old.read_exact(&mut echo)).await.unwrap();
    assert_eq!(fixture.table.in_flight(SERVICE, id(0)), 1);
    drop(old);
    within(fixture.table.drained(SERVICE, id(0))).await;
}

#[tokio::test]
async fn a_dead_endpoint_closes_its_connections_and_the_next_one_goes_to_another() {
    let (dying, living) = (endpoint("dying").await, endpoint("living").await);
    let fixture = fixture(&[dying.address, living.address], |_| {});
    let (mut streams, spread) = endpoints_of(&fixture, 8).await;
    assert_eq!(spread.len(), 2);
    dying.stop().await;
    let mut cut = 0;
    for stream in &mut streams {
        stream.write_all(b"?").await.unwrap();
        let mut answer = [0];
        cut += usize::from(within(stream.read_exact(&mut answer)).await.is_err());
    }
    assert_eq!(cut, spread["dying"]);
    assert_eq!(endpoints_of(&fixture, 8).await.1["living"], 8);
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let backend = endpoint("a").await;
    let fixture =
        fixture(&[backend.address], |route| route.timeouts.stream_idle = Duration::from_millis(300));
    let (mut stream, _) = connect(&fixture).await;
    assert_eq!(rest(&mut stream).await, "");
    until(|| fixture.table.in_flight(SERVICE, id(0)) == 0).await;
}

#[tokio::test]
async fn no_more_connections_are_open_than_may_be() {
    let backend = endpoint("a").await;
    let one = NonZeroU32::new(1);
    for limits in [
        Limits { in_flight: one, ..Limits::default() },
        Limits { in_flight_per_endpoint: one, ..Limits::default() },
    ] {
        let fixture = fixture(&[backend.address], |route| route.limits = limits);
        let (first, _) = connect(&fixture).await;
        let mut second = TcpStream::connect(fixture.address).await.unwrap();
        assert_eq!(rest(&mut second).await, "");
        until(|| fixture.traffic().over_limit == 1).await;
        drop(first);
        until(|| fixture.table.in_flight(SERVICE, id(0)) == 0).await;
        connect(&fixture).await;
    }
}

#[tokio::test]
async fn an_endpoint_gets_a_proxy_header_with_the_clients_address() {
    let backend = Backend::raw(|mut stream| async move {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.push(stream.read_u8().await.unwrap());
        }
        let _ = stream.write_all(&line).await;
    })
    .await;
    let fixture = fixture(&[backend.address], |route| {
        route.proxy_protocol.accept = true;
        route.proxy_protocol.send = Some(ProxyVersion::V1);
    });
    let header = "PROXY TCP4 203.0.113.7 192.0.2.1 4000 5432\r\n";
    assert_eq!(send_raw(fixture.address, header).await, header);
}

#[tokio::test]
async fn a_proxy_that_stops_lets_connections_end_within_its_grace() {
    let backend = endpoint("a").await;
    let fixture = fixture(&[backend.address], |_| {});
    let ((mut ending, _), (mut staying, _)) = (connect(&fixture).await, connect(&fixture).await);
    let mut stopping = tokio::task::JoinSet::new();
    let (proxy, address) = (fixture.proxy, fixture.address);
    stopping.spawn(async move { proxy.shutdown(Duration::from_millis(500)).await.connections_cut });
    within(async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    ending.shutdown().await.unwrap();
    assert_eq!(rest(&mut ending).await, " bye");
    assert_eq!(within(stopping.join_next()).await.unwrap().unwrap(), 1);
    assert_eq!(rest(&mut staying).await, "");
}
