//! UDP: sessions are balanced, answered from the address that was used, moved when their endpoint is removed, bounded, counted and handed over.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::time::Duration;

use proxy::{Balance, EndpointRoute, EndpointState, Limits, Protocol, Proxy, ProxyConfig, ServiceRoute};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use crate::kit::*;

/// An endpoint that answers each datagram with its name and what it received; dropping it closes its socket.
struct UdpEndpoint {
    address: SocketAddr,
    tasks: JoinSet<()>,
}

impl UdpEndpoint {
    async fn new(name: &'static str) -> Self {
        Self::at(name, any()).await
    }

    async fn at(name: &'static str, address: SocketAddr) -> Self {
        let socket = UdpSocket::bind(address).await.unwrap();
        let address = socket.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut buffer = vec![0; 65_535];
            while let Ok((size, peer)) = socket.recv_from(&mut buffer).await {
                let answer = [name.as_bytes(), b": ", &buffer[..size]].concat();
                let _ = socket.send_to(&answer, peer).await;
            }
        });
        Self { address, tasks }
    }

    /// Closes the socket, as the end of its process does.
    async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

/// A client with an address of its own.
struct UdpClient(UdpSocket);

impl UdpClient {
    async fn of(address: SocketAddr) -> Self {
        let socket = UdpSocket::bind(any()).await.unwrap();
        socket.connect(address).await.unwrap();
        Self(socket)
    }

    async fn send(&self, text: &str) {
        self.0.send(text.as_bytes()).await.unwrap();
    }

    async fn receive(&self) -> String {
        let mut buffer = [0; 2048];
        let size = within(self.0.recv(&mut buffer)).await.unwrap();
        String::from_utf8(buffer[..size].to_vec()).unwrap()
    }

    /// Sends a datagram, and returns the name of the endpoint that answers.
    async fn request(&self, text: &str) -> String {
        self.send(text).await;
        let answer = self.receive().await;
        let (name, echo) = answer.split_once(": ").unwrap();
        assert_eq!(echo, text);
        name.to_owned()
    }
}

fn fixture(endpoints: &[SocketAddr], change: impl FnOnce(&mut ServiceRoute)) -> Fixture {
    Fixture::with(endpoints, |_, route| {
        route.protocol = Protocol::Udp;
        route.balance = Balance::RoundRobin;
        change(route);
    })
}

fn sessions(fixture: &Fixture) -> u32 {
    fixture.traffic().datagrams.unwrap().sessions
}

#[tokio::test]
async fn a_session_stays_with_its_endpoint_and_sessions_are_spread() {
    let hosts = [UdpEndpoint::new("a").await, UdpEndpoint::new("b").await, UdpEndpoint::new("c").await];
    let fixture = fixture(&hosts.each_ref().map(|host| host.address), |_| {});
    let (mut clients, mut homes) = (Vec::new(), BTreeMap::<String, usize>::new());
    for _ in 0..12 {
        let client = UdpClient::of(fixture.address).await;
        let home = client.request("hello").await;
        for _ in 0..5 {
            assert_eq!(client.request("again").await, home);
        }
        *homes.entry(home).or_default() += 1;
        clients.push(client);
    }
    assert_eq!(homes.values().copied().collect::<Vec<_>>(), [4, 4, 4]);
    let traffic = fixture.traffic();
    let datagrams = traffic.datagrams.unwrap();
    assert_eq!((datagrams.received, datagrams.sent, datagrams.dropped), (72, 72, 0));
    assert_eq!((datagrams.bytes_received, datagrams.bytes_sent), (12 * 30, 12 * 48));
    assert_eq!((datagrams.sessions, traffic.counts.requests), (12, 12));
    assert!(traffic.endpoints.iter().all(|endpoint| endpoint.in_flight == 4));
}

#[tokio::test]
async fn consistent_hashing_keeps_the_endpoint_of_a_client_address() {
    let hosts = [UdpEndpoint::new("a").await, UdpEndpoint::new("b").await, UdpEndpoint::new("c").await];
    let fixture = fixture(&hosts.each_ref().map(|host| host.address), |route| {
        (route.balance, route.timeouts.client_idle) = (Balance::ConsistentHash, Duration::from_millis(1));
    });
    let mut homes = BTreeSet::new();
    for _ in 0..6 {
        homes.insert(UdpClient::of(fixture.address).await.request("hello").await);
        // One that has more than its share would leave the next to another.
        until(|| sessions(&fixture) == 0).await;
    }
    assert_eq!(homes.len(), 1, "{homes:?}");
}

#[tokio::test]
async fn a_datagram_is_passed_on_whole_however_large_or_empty_it_is() {
    let host = UdpEndpoint::new("").await;
    let fixture = fixture(&[host.address], |_| {});
    let client = UdpClient::of(fixture.address).await;
    for size in [0, 1, 1472, 9000, 65_505] {
        client.0.send(&vec![b'x'; size]).await.unwrap();
        let mut buffer = vec![0; 65_535];
        let received = within(client.0.recv(&mut buffer)).await.unwrap();
        assert_eq!(received, size + 2);
    }
}

#[tokio::test]
async fn an_answer_has_the_source_address_that_the_client_sent_to() {
    let host = UdpEndpoint::new("a").await;
    for (everywhere, target) in [("0.0.0.0:0", "127.0.0.7"), ("[::]:0", "::1"), ("[::]:0", "127.0.0.7")] {
        let fixture = fixture(&[host.address], |route| route.listen = Some(everywhere.parse().unwrap()));
        let target: std::net::IpAddr = target.parse().unwrap();
        let own: SocketAddr = if target.is_ipv4() { any() } else { "[::1]:0".parse().unwrap() };
        let socket = UdpSocket::bind(own).await.unwrap();
        // A connected socket receives from no other address.
        socket.connect((target, fixture.address.port())).await.unwrap();
        assert_eq!(UdpClient(socket).request("hello").await, "a", "{everywhere} reached at {target}");
    }
}

#[tokio::test]
async fn queued_datagrams_are_answered_from_the_address_they_were_sent_to() {
    let host = UdpEndpoint::new("a").await;
    let proxy = Proxy::take_over(&ProxyConfig::default(), Vec::new()).unwrap();
    let mut route = ServiceRoute::new(SERVICE, "0.0.0.0:0".parse().unwrap());
    route.protocol = Protocol::Udp;
    route.endpoints.push(EndpointRoute::new(id(0), host.address));
    let port = proxy.table().set_service(&route).unwrap().unwrap().port();
    let client = UdpClient::of(SocketAddr::from(([127, 0, 0, 7], port))).await;
    client.send("early").await;
    proxy.open();
    assert_eq!(client.receive().await, "a: early");
}

#[tokio::test]
async fn sessions_of_a_dead_endpoint_move_without_losing_a_datagram() {
    let (a, b) = (UdpEndpoint::new("a").await, UdpEndpoint::new("b").await);
    let fixture = fixture(&[a.address, b.address], |_| {});
    let mut clients = Vec::new();
    for _ in 0..6 {
        let client = UdpClient::of(fixture.address).await;
        client.request("hello").await;
        clients.push(client);
    }
    a.stop().await;
    // The table does not change: the proxy finds out by sending.
    for client in &clients {
        assert_eq!(client.request("again").await, "b");
    }
    for _ in 0..10 {
        assert_eq!(UdpClient::of(fixture.address).await.request("hello").await, "b");
    }
    assert_eq!(fixture.traffic().datagrams.unwrap().dropped, 0);
    assert!(fixture.traffic().endpoints[0].is_ejected(), "{:?}", fixture.traffic().endpoints[0]);
}

#[tokio::test]
async fn sessions_of_a_draining_endpoint_move_with_the_next_datagram() {
    let (a, b) = (UdpEndpoint::new("a").await, UdpEndpoint::new("b").await);
    let mut fixture = fixture(&[a.address], |_| {});
    let client = UdpClient::of(fixture.address).await;
    assert_eq!(client.request("hello").await, "a");
    fixture.route.endpoints.push(EndpointRoute::new(id(1), b.address));
    fixture.table.set_service(&fixture.route).unwrap();
    assert_eq!(client.request("more").await, "a");
    fixture.table.set_endpoint_state(SERVICE, id(0), EndpointState::Draining).unwrap();
    assert_eq!(client.request("again").await, "b");
    // Its datagrams are not answered any more: the endpoint is free long before the session would have ended.
    within(fixture.table.drained(SERVICE, id(0))).await;
    assert_eq!(client.request("still").await, "b");
}

#[tokio::test]
async fn an_answer_in_progress_when_its_endpoint_drains_is_delivered() {
    let host = UdpSocket::bind(any()).await.unwrap();
    let fixture = fixture(&[host.local_addr().unwrap()], |_| {});
    let client = UdpClient::of(fixture.address).await;
    client.send("hello").await;
    let (_, peer) = within(host.recv_from(&mut [0; 16])).await.unwrap();
    fixture.table.set_endpoint_state(SERVICE, id(0), EndpointState::Draining).unwrap();
    host.send_to(b"a: hello", peer).await.unwrap();
    assert_eq!(client.receive().await, "a: hello");
}

#[tokio::test]
async fn only_an_idle_session_ends() {
    let host = UdpSocket::bind(any()).await.unwrap();
    let idle = Duration::from_millis(300);
    let fixture = fixture(&[host.local_addr().unwrap()], |route| route.timeouts.client_idle = idle);
    let client = UdpClient::of(fixture.address).await;
    client.send("begin").await;
    let (_, peer) = within(host.recv_from(&mut [0; 16])).await.unwrap();
    let begun = tokio::time::Instant::now();
    // The endpoint alone keeps it, for far longer than it may be idle.
    while begun.elapsed() < idle * 5 {
        host.send_to(b"a: x", peer).await.unwrap();
        client.receive().await;
        assert_eq!(sessions(&fixture), 1);
    }
    until(|| sessions(&fixture) == 0).await;
    let traffic = fixture.traffic();
    assert_eq!((traffic.counts.status[1], traffic.endpoints[0].counts.status[1]), (1, 1));
}

#[tokio::test]
async fn datagrams_are_queued_up_to_a_limit_until_an_endpoint_is_ready() {
    let host = UdpEndpoint::new("a").await;
    let mut fixture = fixture(&[], |_| {});
    let client = UdpClient::of(fixture.address).await;
    for n in 0..20 {
        client.send(&n.to_string()).await;
    }
    until(|| fixture.traffic().datagrams.unwrap().received == 20).await;
    assert_eq!((fixture.traffic().waiting, fixture.traffic().datagrams.unwrap().dropped), (1, 4));
    within(fixture.table.until_request_waits()).await;
    fixture.route.endpoints.push(EndpointRoute::new(id(0), host.address));
    fixture.table.set_service(&fixture.route).unwrap();
    for n in 0..16 {
        assert_eq!(client.receive().await, format!("a: {n}"));
    }
    assert_eq!(client.request("more").await, "a");
}

#[tokio::test]
async fn sessions_time_out_waiting_for_an_endpoint_and_are_counted() {
    let fixture = fixture(&[], |route| route.timeouts.endpoint = Duration::from_millis(50));
    let client = UdpClient::of(fixture.address).await;
    client.send("hello").await;
    client.send("again").await;
    until(|| fixture.traffic().unavailable == 1).await;
    until(|| fixture.traffic().datagrams.unwrap().dropped == 2).await;
    until(|| fixture.traffic().errors() == 1).await;
}

#[tokio::test]
async fn sessions_beyond_the_limit_are_refused_and_others_go_on() {
    let host = UdpEndpoint::new("a").await;
    let limits = Limits { in_flight: NonZeroU32::new(2), ..Limits::default() };
    let fixture = fixture(&[host.address], |route| route.limits = limits);
    let clients = [UdpClient::of(fixture.address).await, UdpClient::of(fixture.address).await];
    for client in &clients {
        client.request("hello").await;
    }
    UdpClient::of(fixture.address).await.send("me too").await;
    until(|| fixture.traffic().over_limit == 1).await;
    for client in &clients {
        client.request("still").await;
    }
    assert_eq!((sessions(&fixture), fixture.traffic().datagrams.unwrap().dropped), (2, 1));
}

#[tokio::test]
async fn there_are_no_more_sessions_than_connections_may_be() {
    let endpoint = UdpEndpoint::new("a").await;
    let fixture = Fixture::with(&[endpoint.address], |config, route| {
        config.connections_max = 2;
        route.protocol = Protocol::Udp;
    });
    let clients = [UdpClient::of(fixture.address).await, UdpClient::of(fixture.address).await];
    for client in &clients {
        assert_eq!(client.request("hello").await, "a");
    }
    UdpClient::of(fixture.address).await.send("one too many").await;
    until(|| fixture.traffic().over_limit == 1).await;
    assert_eq!(clients[0].request("again").await, "a");
    assert_eq!(sessions(&fixture), 2);
}

#[tokio::test]
async fn tcp_and_udp_may_share_a_port_and_a_service_may_change_between_them() {
    let (host, backend) = (UdpEndpoint::new("a").await, Backend::named("http").await);
    let number = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free()));
    let mut fixture = fixture(&[host.address], |route| route.listen = Some(number));
    let mut other = ServiceRoute::new("other", fixture.address);
    other.endpoints.push(EndpointRoute::new(id(0), backend.address));
    assert_eq!(fixture.table.set_service(&other).unwrap(), Some(fixture.address));
    assert_eq!(UdpClient::of(fixture.address).await.request("hello").await, "a");
    assert_eq!(Client::connect(fixture.address).await.get("/").await.unwrap().body(), "http");

    assert!(fixture.table.remove_service("other"));
    fixture.route.protocol = Protocol::Http1;
    fixture.route.endpoints[0].address = backend.address;
    fixture.route.listen = Some(fixture.address);
    let address = fixture.table.set_service(&fixture.route).unwrap().unwrap();
    assert_eq!(Client::connect(address).await.get("/").await.unwrap().body(), "http");
}

#[tokio::test]
async fn an_address_is_free_soon_after_its_service_is_removed() {
    let host = UdpEndpoint::new("a").await;
    let fixture = fixture(&[host.address], |_| {});
    let client = UdpClient::of(fixture.address).await;
    client.request("hello").await;
    assert!(fixture.table.remove_service(SERVICE));
    until(|| std::net::UdpSocket::bind(fixture.address).is_ok()).await;
}

#[tokio::test]
async fn the_next_proxy_gets_every_datagram_that_the_previous_one_has_not_received() {
    let (first, second) = (UdpEndpoint::new("first").await, UdpEndpoint::new("second").await);
    let fixture = fixture(&[first.address], |_| {});
    let client = UdpClient::of(fixture.address).await;
    assert_eq!(client.request("hello").await, "first");
    let next = Proxy::take_over(&ProxyConfig::default(), fixture.table.share_listeners().unwrap()).unwrap();
    let mut route = fixture.route.clone();
    route.endpoints[0].address = second.address;
    assert_eq!(next.table().set_service(&route).unwrap(), Some(fixture.address), "it is the same socket");
    assert_eq!(client.request("still").await, "first");
    let ended = within(fixture.proxy.hand_over(DEADLINE)).await;
    assert_eq!(ended.connections_cut, 0);
    // Nobody reads now, and nothing is lost.
    client.send("meanwhile").await;
    next.open();
    assert_eq!(client.receive().await, "second: meanwhile");
    assert_eq!(client.request("again").await, "second");
}

#[tokio::test]
async fn a_proxy_that_stops_lets_requests_in_progress_be_answered() {
    let host = UdpSocket::bind(any()).await.unwrap();
    let fixture = fixture(&[host.local_addr().unwrap()], |_| {});
    let client = UdpClient::of(fixture.address).await;
    client.send("hello").await;
    let (_, peer) = within(host.recv_from(&mut [0; 16])).await.unwrap();
    let mut stopping = JoinSet::new();
    let (proxy, address) = (fixture.proxy, fixture.address);
    stopping.spawn(async move { proxy.shutdown(DEADLINE).await.connections_cut });
    host.send_to(b"a: hello", peer).await.unwrap();
    assert_eq!(client.receive().await, "a: hello");
    assert_eq!(within(stopping.join_next()).await.unwrap().unwrap(), 0);
    assert!(std::net::UdpSocket::bind(address).is_ok());
}

#[tokio::test]
async fn waiting_sessions_find_a_restarted_endpoint() {
    let host = UdpEndpoint::new("a").await;
    let address = host.address;
    let fixture = fixture(&[address], |_| {});
    let client = UdpClient::of(fixture.address).await;
    client.request("hello").await;
    host.stop().await;
    client.send("meanwhile").await;
    until(|| fixture.traffic().waiting == 1).await;
    let _host = UdpEndpoint::at("b", address).await;
    assert_eq!(client.receive().await, "b: meanwhile");
}

#[tokio::test]
async fn services_exchange_their_addresses() {
    let hosts = [UdpEndpoint::new("blue").await, UdpEndpoint::new("green").await];
    let fixture = fixture(&[], |_| {});
    let addresses = [unused_address(), unused_address()];
    let expose = |service: usize, at: usize| {
        let mut route = ServiceRoute::new(["blue", "green"][service], addresses[at]);
        route.protocol = Protocol::Udp;
        route.endpoints = vec![EndpointRoute::new(id(0), hosts[service].address)];
        assert_eq!(fixture.table.expose_service(&route).unwrap(), Some(addresses[at]));
    };
    (0..2).for_each(|i| expose(i, i));
    for shift in [1, 0, 1] {
        (0..2).for_each(|i| expose(i, (i + shift) % 2));
        for (i, name) in ["blue", "green"].into_iter().enumerate() {
            let address = addresses[(i + shift) % 2];
            // The answer to a datagram that the service before still received may be lost.
            let answers = async || {
                let client = UdpClient::of(address).await;
                let answer = tokio::time::timeout(Duration::from_secs(1), client.request("hello"));
                answer.await.is_ok_and(|answered_by| answered_by == name)
            };
            within(async { while !answers().await {} }).await;
        }
    }
}
