//! UDP: sessions are balanced, answered from where they were asked, moved when their endpoint goes, bounded, counted and handed over.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::time::Duration;

use proxy::{Balance, EndpointRoute, EndpointState, Limits, Protocol, Proxy, ProxyConfig, ServiceRoute};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use crate::kit::*;

/// An endpoint that answers each datagram with its name and what it heard; dropping it closes its socket.
struct Host {
    address: SocketAddr,
    tasks: JoinSet<()>,
}

impl Host {
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
struct Guest(UdpSocket);

impl Guest {
    async fn of(address: SocketAddr) -> Self {
        let socket = UdpSocket::bind(any()).await.unwrap();
        socket.connect(address).await.unwrap();
        Self(socket)
    }

    async fn say(&self, words: &str) {
        self.0.send(words.as_bytes()).await.unwrap();
    }

    async fn hear(&self) -> String {
        let mut buffer = [0; 2048];
        let size = within(self.0.recv(&mut buffer)).await.unwrap();
        String::from_utf8(buffer[..size].to_vec()).unwrap()
    }

    /// Who answers.
    async fn ask(&self, words: &str) -> String {
        self.say(words).await;
        let answer = self.hear().await;
        let (name, echo) = answer.split_once(": ").unwrap();
        assert_eq!(echo, words);
        name.to_owned()
    }
}

fn stand(endpoints: &[SocketAddr], change: impl FnOnce(&mut ServiceRoute)) -> Stand {
    Stand::with(endpoints, |_, route| {
        route.protocol = Protocol::Udp;
        route.balance = Balance::RoundRobin;
        change(route);
    })
}

fn sessions(stand: &Stand) -> u32 {
    stand.traffic().datagrams.unwrap().sessions
}

#[tokio::test]
async fn a_session_stays_with_its_endpoint_and_sessions_are_spread() {
    let hosts = [Host::new("a").await, Host::new("b").await, Host::new("c").await];
    let stand = stand(&hosts.each_ref().map(|host| host.address), |_| {});
    let (mut guests, mut homes) = (Vec::new(), BTreeMap::<String, usize>::new());
    for _ in 0..12 {
        let guest = Guest::of(stand.address).await;
        let home = guest.ask("hello").await;
        for _ in 0..5 {
            assert_eq!(guest.ask("again").await, home);
        }
        *homes.entry(home).or_default() += 1;
        guests.push(guest);
    }
    assert_eq!(homes.values().copied().collect::<Vec<_>>(), [4, 4, 4]);
    let traffic = stand.traffic();
    let datagrams = traffic.datagrams.unwrap();
    assert_eq!((datagrams.received, datagrams.sent, datagrams.dropped), (72, 72, 0));
    assert_eq!((datagrams.bytes_received, datagrams.bytes_sent), (12 * 30, 12 * 48));
    assert_eq!((datagrams.sessions, traffic.counts.requests), (12, 12));
    assert!(traffic.endpoints.iter().all(|endpoint| endpoint.in_flight == 4));
}

#[tokio::test]
async fn one_address_of_a_client_meets_the_same_endpoint_again() {
    let hosts = [Host::new("a").await, Host::new("b").await, Host::new("c").await];
    let stand = stand(&hosts.each_ref().map(|host| host.address), |route| {
        (route.balance, route.timeouts.client_idle) = (Balance::ConsistentHash, Duration::from_millis(1));
    });
    let mut homes = BTreeSet::new();
    for _ in 0..6 {
        homes.insert(Guest::of(stand.address).await.ask("hello").await);
        // One that has more than its share would leave the next to another.
        until(|| sessions(&stand) == 0).await;
    }
    assert_eq!(homes.len(), 1, "{homes:?}");
}

#[tokio::test]
async fn a_datagram_is_passed_on_whole_however_large_or_empty_it_is() {
    let host = Host::new("").await;
    let stand = stand(&[host.address], |_| {});
    let guest = Guest::of(stand.address).await;
    for size in [0, 1, 1472, 9000, 65_505] {
        guest.0.send(&vec![b'x'; size]).await.unwrap();
        let mut buffer = vec![0; 65_535];
        let heard = within(guest.0.recv(&mut buffer)).await.unwrap();
        assert_eq!(heard, size + 2);
    }
}

#[tokio::test]
async fn an_answer_comes_from_the_address_that_was_asked() {
    let host = Host::new("a").await;
    for (everywhere, asked) in [("0.0.0.0:0", "127.0.0.7"), ("[::]:0", "::1"), ("[::]:0", "127.0.0.7")] {
        let stand = stand(&[host.address], |route| route.listen = Some(everywhere.parse().unwrap()));
        let asked: std::net::IpAddr = asked.parse().unwrap();
        let own: SocketAddr = if asked.is_ipv4() { any() } else { "[::1]:0".parse().unwrap() };
        let socket = UdpSocket::bind(own).await.unwrap();
        // One that is connected hears nobody else.
        socket.connect((asked, stand.address.port())).await.unwrap();
        assert_eq!(Guest(socket).ask("hello").await, "a", "{everywhere} asked at {asked}");
    }
}

#[tokio::test]
async fn what_came_before_anybody_read_is_answered_from_the_address_that_was_asked() {
    let host = Host::new("a").await;
    let proxy = Proxy::take_over(&ProxyConfig::default(), Vec::new()).unwrap();
    let mut route = ServiceRoute::new(SERVICE, "0.0.0.0:0".parse().unwrap());
    route.protocol = Protocol::Udp;
    route.endpoints.push(EndpointRoute::new(id(0), host.address));
    let port = proxy.table().set_service(&route).unwrap().unwrap().port();
    let guest = Guest::of(SocketAddr::from(([127, 0, 0, 7], port))).await;
    guest.say("early").await;
    proxy.open();
    assert_eq!(guest.hear().await, "a: early");
}

#[tokio::test]
async fn sessions_of_an_endpoint_that_has_died_go_on_elsewhere_without_losing_a_datagram() {
    let (a, b) = (Host::new("a").await, Host::new("b").await);
    let stand = stand(&[a.address, b.address], |_| {});
    let mut guests = Vec::new();
    for _ in 0..6 {
        let guest = Guest::of(stand.address).await;
        guest.ask("hello").await;
        guests.push(guest);
    }
    a.stop().await;
    // Nobody has told the proxy: it finds out by sending.
    for guest in &guests {
        assert_eq!(guest.ask("again").await, "b");
    }
    for _ in 0..10 {
        assert_eq!(Guest::of(stand.address).await.ask("hello").await, "b");
    }
    assert_eq!(stand.traffic().datagrams.unwrap().dropped, 0);
    assert!(stand.traffic().endpoints[0].is_ejected(), "{:?}", stand.traffic().endpoints[0]);
}

#[tokio::test]
async fn sessions_of_a_draining_endpoint_move_with_the_next_datagram_and_it_empties() {
    let (a, b) = (Host::new("a").await, Host::new("b").await);
    let mut stand = stand(&[a.address], |_| {});
    let guest = Guest::of(stand.address).await;
    assert_eq!(guest.ask("hello").await, "a");
    stand.route.endpoints.push(EndpointRoute::new(id(1), b.address));
    stand.table.set_service(&stand.route).unwrap();
    assert_eq!(guest.ask("more").await, "a");
    stand.table.set_endpoint_state(SERVICE, id(0), EndpointState::Draining).unwrap();
    assert_eq!(guest.ask("again").await, "b");
    // What it has said is not answered any more, and nothing passes: it is free long before the session would have ended.
    within(stand.table.drained(SERVICE, id(0))).await;
    assert_eq!(guest.ask("still").await, "b");
}

#[tokio::test]
async fn an_answer_that_is_under_way_when_its_endpoint_drains_still_comes() {
    let host = UdpSocket::bind(any()).await.unwrap();
    let stand = stand(&[host.local_addr().unwrap()], |_| {});
    let guest = Guest::of(stand.address).await;
    guest.say("hello").await;
    let (_, peer) = within(host.recv_from(&mut [0; 16])).await.unwrap();
    stand.table.set_endpoint_state(SERVICE, id(0), EndpointState::Draining).unwrap();
    host.send_to(b"a: hello", peer).await.unwrap();
    assert_eq!(guest.hear().await, "a: hello");
}

#[tokio::test]
async fn a_session_ends_when_nothing_passes_and_not_while_something_does() {
    let host = UdpSocket::bind(any()).await.unwrap();
    let idle = Duration::from_millis(300);
    let stand = stand(&[host.local_addr().unwrap()], |route| route.timeouts.client_idle = idle);
    let guest = Guest::of(stand.address).await;
    guest.say("begin").await;
    let (_, peer) = within(host.recv_from(&mut [0; 16])).await.unwrap();
    let begun = tokio::time::Instant::now();
    // The endpoint alone keeps it, for far longer than it may be idle.
    while begun.elapsed() < idle * 5 {
        host.send_to(b"a: x", peer).await.unwrap();
        guest.hear().await;
        assert_eq!(sessions(&stand), 1);
    }
    until(|| sessions(&stand) == 0).await;
    let traffic = stand.traffic();
    assert_eq!((traffic.counts.status[1], traffic.endpoints[0].counts.status[1]), (1, 1));
}

#[tokio::test]
async fn what_comes_before_an_endpoint_is_ready_is_kept_and_no_more_than_may_be() {
    let host = Host::new("a").await;
    let mut stand = stand(&[], |_| {});
    let guest = Guest::of(stand.address).await;
    for n in 0..20 {
        guest.say(&n.to_string()).await;
    }
    until(|| stand.traffic().datagrams.unwrap().received == 20).await;
    assert_eq!((stand.traffic().waiting, stand.traffic().datagrams.unwrap().dropped), (1, 4));
    within(stand.table.until_request_waits()).await;
    stand.route.endpoints.push(EndpointRoute::new(id(0), host.address));
    stand.table.set_service(&stand.route).unwrap();
    for n in 0..16 {
        assert_eq!(guest.hear().await, format!("a: {n}"));
    }
    assert_eq!(guest.ask("more").await, "a");
}

#[tokio::test]
async fn nobody_waits_for_ever_and_that_is_told() {
    let stand = stand(&[], |route| route.timeouts.endpoint = Duration::from_millis(50));
    let guest = Guest::of(stand.address).await;
    guest.say("hello").await;
    guest.say("again").await;
    until(|| stand.traffic().unavailable == 1).await;
    until(|| stand.traffic().datagrams.unwrap().dropped == 2).await;
    until(|| stand.traffic().errors() == 1).await;
}

#[tokio::test]
async fn there_are_as_many_sessions_as_may_be_and_others_go_on() {
    let host = Host::new("a").await;
    let limits = Limits { in_flight: NonZeroU32::new(2), ..Limits::default() };
    let stand = stand(&[host.address], |route| route.limits = limits);
    let guests = [Guest::of(stand.address).await, Guest::of(stand.address).await];
    for guest in &guests {
        guest.ask("hello").await;
    }
    Guest::of(stand.address).await.say("me too").await;
    until(|| stand.traffic().over_limit == 1).await;
    for guest in &guests {
        guest.ask("still").await;
    }
    assert_eq!((sessions(&stand), stand.traffic().datagrams.unwrap().dropped), (2, 1));
}

#[tokio::test]
async fn tcp_and_udp_share_a_number_and_a_service_may_go_from_one_to_the_other() {
    let (host, backend) = (Host::new("a").await, Backend::named("http").await);
    let number = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free()));
    let mut stand = stand(&[host.address], |route| route.listen = Some(number));
    let mut other = ServiceRoute::new("other", stand.address);
    other.endpoints.push(EndpointRoute::new(id(0), backend.address));
    assert_eq!(stand.table.set_service(&other).unwrap(), Some(stand.address));
    assert_eq!(Guest::of(stand.address).await.ask("hello").await, "a");
    assert_eq!(Client::connect(stand.address).await.get("/").await.unwrap().body(), "http");

    assert!(stand.table.remove_service("other"));
    stand.route.protocol = Protocol::Http1;
    stand.route.endpoints[0].address = backend.address;
    stand.route.listen = Some(stand.address);
    let address = stand.table.set_service(&stand.route).unwrap().unwrap();
    assert_eq!(Client::connect(address).await.get("/").await.unwrap().body(), "http");
}

#[tokio::test]
async fn an_address_is_free_soon_after_its_service_is_removed() {
    let host = Host::new("a").await;
    let stand = stand(&[host.address], |_| {});
    let guest = Guest::of(stand.address).await;
    guest.ask("hello").await;
    assert!(stand.table.remove_service(SERVICE));
    until(|| std::net::UdpSocket::bind(stand.address).is_ok()).await;
}

#[tokio::test]
async fn the_next_proxy_has_every_datagram_that_the_one_before_has_not_taken() {
    let (first, second) = (Host::new("first").await, Host::new("second").await);
    let stand = stand(&[first.address], |_| {});
    let guest = Guest::of(stand.address).await;
    assert_eq!(guest.ask("hello").await, "first");
    let next = Proxy::take_over(&ProxyConfig::default(), stand.table.share_listeners().unwrap()).unwrap();
    let mut route = stand.route.clone();
    route.endpoints[0].address = second.address;
    assert_eq!(next.table().set_service(&route).unwrap(), Some(stand.address), "it is the same socket");
    assert_eq!(guest.ask("still").await, "first");
    let ended = within(stand.proxy.hand_over(DEADLINE)).await;
    assert_eq!(ended.connections_cut, 0);
    // Nobody reads now, and nothing is lost.
    guest.say("meanwhile").await;
    next.open();
    assert_eq!(guest.hear().await, "second: meanwhile");
    assert_eq!(guest.ask("again").await, "second");
}

#[tokio::test]
async fn a_proxy_that_stops_lets_what_is_under_way_be_answered() {
    let host = UdpSocket::bind(any()).await.unwrap();
    let stand = stand(&[host.local_addr().unwrap()], |_| {});
    let guest = Guest::of(stand.address).await;
    guest.say("hello").await;
    let (_, peer) = within(host.recv_from(&mut [0; 16])).await.unwrap();
    let mut stopping = JoinSet::new();
    let (proxy, address) = (stand.proxy, stand.address);
    stopping.spawn(async move { proxy.shutdown(DEADLINE).await.connections_cut });
    host.send_to(b"a: hello", peer).await.unwrap();
    assert_eq!(guest.hear().await, "a: hello");
    assert_eq!(within(stopping.join_next()).await.unwrap().unwrap(), 0);
    assert!(std::net::UdpSocket::bind(address).is_ok());
}

#[tokio::test]
async fn a_restarted_endpoint_is_found_by_those_who_waited_for_it() {
    let host = Host::new("a").await;
    let address = host.address;
    let stand = stand(&[address], |_| {});
    let guest = Guest::of(stand.address).await;
    guest.ask("hello").await;
    host.stop().await;
    guest.say("meanwhile").await;
    until(|| stand.traffic().waiting == 1).await;
    let _host = Host::at("b", address).await;
    assert_eq!(guest.hear().await, "b: meanwhile");
}
