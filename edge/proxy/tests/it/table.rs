//! Services are set and removed; errors name the service.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use proxy::{EndpointError, EndpointRoute, EndpointState, Gateway, RouteError, ServiceRoute};

use crate::kit::*;

#[tokio::test]
async fn a_port_in_use_is_an_error_that_names_it_and_changes_nothing() {
    let backend = Backend::named("still there").await;
    let fixture = Fixture::new(&[backend.address]);
    let taken = TcpListener::bind(any()).unwrap();
    let address = taken.local_addr().unwrap();
    let error = fixture
        .table
        .set_service(&ServiceRoute { listen: Some(address), ..fixture.route.clone() })
        .unwrap_err();
    assert!(matches!(&error, RouteError::AddressInUse { address: a, .. } if *a == address), "{error:?}");
    assert!(error.to_string().contains(&address.to_string()) && error.source().is_some());
    for taken in [fixture.address, SocketAddr::from(([0, 0, 0, 0], fixture.address.port()))] {
        let error = fixture.table.set_service(&ServiceRoute::new("other", taken)).unwrap_err();
        assert!(matches!(&error, RouteError::AddressTaken { by, .. } if &**by == SERVICE), "{error:?}");
    }
    assert_eq!(fixture.table.address(SERVICE), Some(fixture.address));
    assert_eq!(fixture.client().await.get("/").await.unwrap().body(), "still there");
}

#[tokio::test]
async fn invalid_routes_are_refused() {
    let fixture = Fixture::new(&[]);
    let mut twice = fixture.route.clone();
    twice.endpoints = vec![EndpointRoute::new(id(3), unused_address()); 2];
    let error = fixture.table.set_service(&twice).unwrap_err();
    assert!(matches!(error, RouteError::EndpointTwice { id: twice, .. } if twice == id(3)));
    let mut many = fixture.route.clone();
    many.endpoints = (0..5000).map(|i| EndpointRoute::new(id(i), unused_address())).collect();
    assert!(matches!(
        fixture.table.set_service(&many).unwrap_err(),
        RouteError::TooManyEndpoints { count: 5000, .. }
    ));
    let state = EndpointState::Serving;
    let error = fixture.table.set_endpoint_state("nowhere", id(0), state).unwrap_err();
    assert!(matches!(error, EndpointError::NoService { .. }));
    let error = fixture.table.set_endpoint_state(SERVICE, id(9), state).unwrap_err();
    assert!(matches!(error, EndpointError::NoEndpoint { .. }));
    assert!(!fixture.table.remove_service("nowhere"));
}

#[tokio::test]
async fn a_change_of_endpoints_keeps_the_clients_connections() {
    let (one, two) = (Backend::named("one").await, Backend::named("two").await);
    let fixture = Fixture::new(&[one.address]);
    let mut client = fixture.client().await;
    assert_eq!(client.get("/").await.unwrap().body(), "one");
    let mut route = fixture.route.clone();
    route.endpoints = vec![EndpointRoute::new(id(1), two.address)];
    assert_eq!(fixture.table.set_service(&route).unwrap(), Some(fixture.address));
    assert_eq!(client.get("/").await.unwrap().body(), "two");
    assert_eq!(fixture.traffic().counts.requests, 2);
}

#[tokio::test]
async fn a_removed_service_frees_its_address_at_once() {
    let backend = Backend::named("again").await;
    let fixture = Fixture::new(&[backend.address]);
    let mut client = fixture.client().await;
    for _ in 0..20 {
        client.get("/").await.unwrap();
        assert!(fixture.table.remove_service(SERVICE));
        let route = ServiceRoute { listen: Some(fixture.address), ..fixture.route.clone() };
        fixture.table.set_service(&route).unwrap();
        client = fixture.client().await;
    }
}

#[tokio::test]
async fn connections_of_a_removed_service_end() {
    let backend = Backend::named("gone").await;
    let fixture = Fixture::new(&[backend.address]);
    let mut client = fixture.client().await;
    client.get("/").await.unwrap();
    fixture.table.remove_service(SERVICE);
    within(async { while client.get("/").await.is_ok() {} }).await;
    assert!(fixture.table.traffic().is_empty());
}

#[tokio::test]
async fn a_service_can_move_to_another_address() {
    let backend = Backend::named("moved").await;
    let fixture = Fixture::new(&[backend.address]);
    let mut kept = fixture.client().await;
    kept.get("/").await.unwrap();
    let elsewhere = unused_address();
    let route = ServiceRoute { listen: Some(elsewhere), ..fixture.route.clone() };
    assert_eq!(fixture.table.set_service(&route).unwrap(), Some(elsewhere));
    assert_eq!(Client::connect(elsewhere).await.get("/").await.unwrap().body(), "moved");
    assert_eq!(kept.get("/").await.unwrap().body(), "moved", "clients that are connected stay");
    within(async { while tokio::net::TcpStream::connect(fixture.address).await.is_ok() {} }).await;
}

/// Services that answer with their names, each on an address of its own.
struct Services {
    fixture: Fixture,
    names: Vec<&'static str>,
    addresses: Vec<SocketAddr>,
    backends: Vec<Backend>,
}

impl Services {
    async fn new(names: &[&'static str]) -> Self {
        let fixture = Fixture::new(&[]);
        let mut services =
            Self { fixture, names: names.to_vec(), addresses: Vec::new(), backends: Vec::new() };
        for (i, name) in names.iter().enumerate() {
            services.backends.push(Backend::named(name).await);
            services.addresses.push(unused_address());
            services.expose(i, i).unwrap();
        }
        services
    }

    fn route(&self, service: usize, listen: SocketAddr) -> ServiceRoute {
        let mut route = ServiceRoute::new(self.names[service], listen);
        route.endpoints = vec![EndpointRoute::new(id(0), self.backends[service].address)];
        route
    }

    /// Exposes a service on one of the addresses.
    fn expose(&self, service: usize, at: usize) -> Result<Option<SocketAddr>, RouteError> {
        self.fixture.table.expose_service(&self.route(service, self.addresses[at]))
    }

    async fn who_answers(&self, at: usize) -> String {
        let answer = Client::connect(self.addresses[at]).await.get("/").await.unwrap();
        String::from_utf8(answer.body().to_vec()).unwrap()
    }

    /// Waits until a service answers at an address. Right after the change one more client may be served by the service before.
    async fn until_answered_by(&self, service: usize, at: usize) {
        within(async { while self.who_answers(at).await != self.names[service] {} }).await;
    }
}

#[tokio::test]
async fn services_exchange_their_addresses() {
    let services = Services::new(&["blue", "green"]).await;
    let mut kept = Client::connect(services.addresses[0]).await;
    assert_eq!(kept.get("/").await.unwrap().body(), "blue");

    assert_eq!(services.expose(0, 1).unwrap(), Some(services.addresses[1]));
    services.until_answered_by(0, 1).await;
    assert_eq!(services.who_answers(0).await, "blue", "its socket stays open for the other service");
    let table = &services.fixture.table;
    assert_eq!(table.address("green"), None);
    let change = table.set_service(&services.route(1, services.addresses[1]));
    assert_eq!(change.unwrap(), None, "a change of its endpoints does not take the address back");
    assert_eq!(services.who_answers(1).await, "blue");

    assert_eq!(services.expose(1, 0).unwrap(), Some(services.addresses[0]));
    services.until_answered_by(1, 0).await;
    assert_eq!(services.who_answers(1).await, "blue");
    assert_eq!(kept.get("/").await.unwrap().body(), "blue", "clients that are connected stay");
}

#[tokio::test]
async fn services_exchange_their_addresses_in_any_order_and_back() {
    let services = Services::new(&["red", "green", "blue"]).await;
    for order in [[0, 1, 2], [0, 2, 1], [2, 1, 0]] {
        for shift in [1, 2, 0] {
            for service in order {
                services.expose(service, (service + shift) % 3).unwrap();
            }
            for service in order {
                services.until_answered_by(service, (service + shift) % 3).await;
            }
        }
    }
}

#[tokio::test]
async fn while_services_exchange_their_addresses_no_client_is_refused() {
    let services = Services::new(&["blue", "green"]).await;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut clients = tokio::task::JoinSet::new();
    for address in services.addresses.clone() {
        let stopped = stopped.clone();
        clients.spawn(async move {
            let mut answers = 0;
            while !*stopped.borrow() {
                assert!(Client::connect(address).await.get("/").await.unwrap().status().is_success());
                answers += 1;
            }
            answers
        });
    }
    for nth in 1..=200 {
        for service in [0, 1] {
            services.expose(service, (service + nth) % 2).unwrap();
            services.who_answers(service).await;
        }
    }
    stop.send(true).unwrap();
    for answers in clients.join_all().await {
        assert!(answers > 0);
    }
}

#[tokio::test]
async fn a_service_that_loses_its_address_gives_up_what_it_was_kept_for_it() {
    let services = Services::new(&["red", "blue"]).await;
    services.expose(0, 1).unwrap();
    let elsewhere = unused_address();
    let route = services.route(1, elsewhere);
    assert_eq!(services.fixture.table.expose_service(&route).unwrap(), Some(elsewhere));
    services.until_answered_by(0, 1).await;
    let is_open = async || tokio::net::TcpStream::connect(services.addresses[0]).await.is_ok();
    within(async { while is_open().await {} }).await;

    assert_eq!(services.expose(1, 1).unwrap(), Some(services.addresses[1]));
    assert!(services.fixture.table.remove_service("blue"));
    let is_open = async || tokio::net::TcpStream::connect(services.addresses[1]).await.is_ok();
    within(async { while is_open().await {} }).await;
    assert_eq!(services.fixture.table.address("red"), None);
    assert_eq!(services.expose(0, 1).unwrap(), Some(services.addresses[1]));
    services.until_answered_by(0, 1).await;
}

#[tokio::test]
async fn a_service_moves_to_all_addresses_of_its_port_and_back() {
    let backend = Backend::named("here").await;
    let fixture = Fixture::new(&[backend.address]);
    let port = fixture.address.port();
    let narrow = ServiceRoute { listen: Some(fixture.address), ..fixture.route.clone() };
    // Its port is no longer one that the system chose.
    fixture.table.remove_service(SERVICE);
    fixture.table.expose_service(&narrow).unwrap();
    let wide = ServiceRoute { listen: Some(([0, 0, 0, 0], port).into()), ..narrow.clone() };
    for route in [&wide, &narrow, &wide] {
        assert_eq!(fixture.table.expose_service(route).unwrap(), route.listen);
        assert_eq!(fixture.client().await.get("/").await.unwrap().body(), "here");
    }
    fixture.table.expose_service(&narrow).unwrap();
    let other_program = TcpListener::bind(SocketAddr::from(([127, 0, 0, 2], port))).unwrap();
    let error = fixture.table.expose_service(&wide).unwrap_err();
    assert!(matches!(error, RouteError::AddressInUse { .. }), "{error:?}");
    assert_eq!(fixture.client().await.get("/").await.unwrap().body(), "here", "it listens as before");
    drop(other_program);
}

/// The inode of the TCP socket that listens at `address`: another one if it was closed meanwhile.
fn listening_inode(address: SocketAddr) -> Option<String> {
    const LISTENING: &str = "0A";
    let IpAddr::V4(ip) = address.ip() else { panic!("{address} is not of IPv4") };
    let local = format!("{:08X}:{:04X}", u32::from_ne_bytes(ip.octets()), address.port());
    let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let mut fields = sockets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let found = fields.find(|fields| (fields[1], fields[3]) == (&local, LISTENING))?;
    Some(found[9].to_owned())
}

#[tokio::test]
async fn a_socket_is_not_closed_where_that_frees_no_address() {
    let services = Services::new(&["blue", "green"]).await;
    let (table, port) = (&services.fixture.table, services.addresses[0].port());
    let listen = SocketAddr::from(([127, 0, 0, 2], port));
    let shared = Gateway { listen, tls: None, routes: Vec::new() };
    table.set_gateway(&shared).unwrap();
    let before = listening_inode(services.addresses[0]);
    assert!(before.is_some());

    let everywhere = services.route(1, ([0, 0, 0, 0], port).into());
    let error = table.expose_service(&everywhere).unwrap_err();
    assert!(
        matches!(&error, RouteError::AddressTaken { by, .. } if by.contains("127.0.0.2")),
        "the shared listener stays: {error:?}"
    );
    assert_eq!(listening_inode(services.addresses[0]), before);
}

#[tokio::test]
async fn addresses_of_ipv4_do_not_overlap_with_those_of_ipv6() {
    let services = Services::new(&["blue", "green"]).await;
    let everywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, unused_address().port()));
    let Ok(other_program) = TcpListener::bind((Ipv6Addr::LOCALHOST, everywhere.port())) else {
        return eprintln!("proxy: LEFT OUT: an address of IPv6, for this system has none");
    };
    let table = &services.fixture.table;
    table.expose_service(&services.route(0, everywhere)).unwrap();
    let before = listening_inode(everywhere);

    let error = table.expose_service(&services.route(1, other_program.local_addr().unwrap())).unwrap_err();
    assert!(matches!(error, RouteError::AddressInUse { .. }), "{error:?}");
    assert_eq!(listening_inode(everywhere), before);
}

#[tokio::test]
async fn after_shutdown_nothing_can_be_set() {
    let fixture = Fixture::new(&[]);
    fixture.proxy.shutdown(DEADLINE).await;
    let error = fixture.table.set_service(&fixture.route).unwrap_err();
    assert!(matches!(error, RouteError::Stopping { .. }));
}

#[tokio::test]
async fn counters_are_kept_by_version_when_replicas_are_replaced() {
    let (old, new) = (Backend::named("old").await, Backend::named("new").await);
    let fixture = Fixture::with(&[old.address], |_, route| route.endpoints[0].version = 7);
    let mut client = fixture.client().await;
    for _ in 0..3 {
        assert_eq!(client.get("/").await.unwrap().body(), "old");
    }
    let mut route = fixture.route.clone();
    route.endpoints[0] = EndpointRoute { version: 8, ..EndpointRoute::new(id(1), new.address) };
    fixture.table.set_service(&route).unwrap();
    for _ in 0..2 {
        assert_eq!(client.get("/").await.unwrap().body(), "new");
    }
    until(|| fixture.traffic().endpoints.len() == 1).await;
    let found = fixture.traffic().versions;
    let seen: Vec<_> = found.iter().map(|it| (it.version, it.serving, it.counts.status[1])).collect();
    assert_eq!(seen, [(7, 0, 3), (8, 1, 2)], "what the old one answered is not forgotten with it");
    assert_eq!(found[0].counts.latency.count(), 3);
}
