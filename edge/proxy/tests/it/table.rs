//! Services are set and removed; errors name the service.

use std::error::Error;
use std::net::{SocketAddr, TcpListener};

use proxy::{EndpointError, EndpointRoute, EndpointState, RouteError, ServiceRoute};

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
