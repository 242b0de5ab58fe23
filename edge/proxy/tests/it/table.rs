//! Services come and go; what goes wrong is said by name.

use std::error::Error;
use std::net::TcpListener;

use proxy::{EndpointError, EndpointRoute, EndpointState, RouteError, ServiceRoute};

use crate::kit::*;

#[tokio::test]
async fn a_port_in_use_is_named_and_changes_nothing() {
    let backend = Backend::named("still there").await;
    let stand = Stand::new(&[backend.address]);
    let taken = TcpListener::bind(any()).unwrap();
    let address = taken.local_addr().unwrap();
    let error =
        stand.table.set_service(&ServiceRoute { listen: Some(address), ..stand.route.clone() }).unwrap_err();
    assert!(matches!(&error, RouteError::AddressInUse { address: a, .. } if *a == address), "{error:?}");
    assert!(error.to_string().contains(&address.to_string()) && error.source().is_some());
    let error = stand.table.set_service(&ServiceRoute::new("other", stand.address)).unwrap_err();
    assert!(matches!(&error, RouteError::AddressTaken { by, .. } if &**by == SERVICE), "{error:?}");
    assert_eq!(stand.table.address(SERVICE), Some(stand.address));
    assert_eq!(stand.client().await.get("/").await.unwrap().body(), "still there");
}

#[tokio::test]
async fn what_cannot_be_routed_is_refused() {
    let stand = Stand::new(&[]);
    let mut twice = stand.route.clone();
    twice.endpoints = vec![EndpointRoute::new(id(3), nobody()); 2];
    let error = stand.table.set_service(&twice).unwrap_err();
    assert!(matches!(error, RouteError::EndpointTwice { id: twice, .. } if twice == id(3)));
    let mut many = stand.route.clone();
    many.endpoints = (0..5000).map(|i| EndpointRoute::new(id(i), nobody())).collect();
    assert!(matches!(
        stand.table.set_service(&many).unwrap_err(),
        RouteError::TooManyEndpoints { count: 5000, .. }
    ));
    let state = EndpointState::Serving;
    let error = stand.table.set_endpoint_state("nowhere", id(0), state).unwrap_err();
    assert!(matches!(error, EndpointError::NoService { .. }));
    let error = stand.table.set_endpoint_state(SERVICE, id(9), state).unwrap_err();
    assert!(matches!(error, EndpointError::NoEndpoint { .. }));
    assert!(!stand.table.remove_service("nowhere"));
}

#[tokio::test]
async fn a_change_of_endpoints_keeps_the_clients_connections() {
    let (one, two) = (Backend::named("one").await, Backend::named("two").await);
    let stand = Stand::new(&[one.address]);
    let mut client = stand.client().await;
    assert_eq!(client.get("/").await.unwrap().body(), "one");
    let mut route = stand.route.clone();
    route.endpoints = vec![EndpointRoute::new(id(1), two.address)];
    assert_eq!(stand.table.set_service(&route).unwrap(), Some(stand.address));
    assert_eq!(client.get("/").await.unwrap().body(), "two");
    assert_eq!(stand.traffic().counts.requests, 2);
}

#[tokio::test]
async fn a_removed_service_frees_its_address_at_once() {
    let backend = Backend::named("again").await;
    let stand = Stand::new(&[backend.address]);
    let mut client = stand.client().await;
    for _ in 0..20 {
        client.get("/").await.unwrap();
        assert!(stand.table.remove_service(SERVICE));
        let route = ServiceRoute { listen: Some(stand.address), ..stand.route.clone() };
        stand.table.set_service(&route).unwrap();
        client = stand.client().await;
    }
}

#[tokio::test]
async fn connections_of_a_removed_service_end() {
    let backend = Backend::named("gone").await;
    let stand = Stand::new(&[backend.address]);
    let mut client = stand.client().await;
    client.get("/").await.unwrap();
    stand.table.remove_service(SERVICE);
    within(async { while client.get("/").await.is_ok() {} }).await;
    assert!(stand.table.traffic().is_empty());
}

#[tokio::test]
async fn a_service_can_move_to_another_address() {
    let backend = Backend::named("moved").await;
    let stand = Stand::new(&[backend.address]);
    let mut kept = stand.client().await;
    kept.get("/").await.unwrap();
    let elsewhere = nobody();
    let route = ServiceRoute { listen: Some(elsewhere), ..stand.route.clone() };
    assert_eq!(stand.table.set_service(&route).unwrap(), Some(elsewhere));
    assert_eq!(Client::connect(elsewhere).await.get("/").await.unwrap().body(), "moved");
    assert_eq!(kept.get("/").await.unwrap().body(), "moved", "clients that are connected stay");
    within(async { while tokio::net::TcpStream::connect(stand.address).await.is_ok() {} }).await;
}

#[tokio::test]
async fn after_shutdown_nothing_can_be_set() {
    let stand = Stand::new(&[]);
    stand.proxy.shutdown(DEADLINE).await;
    let error = stand.table.set_service(&stand.route).unwrap_err();
    assert!(matches!(error, RouteError::Stopping { .. }));
}

#[tokio::test]
async fn counters_are_kept_by_version_when_replicas_are_exchanged() {
    let (old, new) = (Backend::named("old").await, Backend::named("new").await);
    let stand = Stand::with(&[old.address], |_, route| route.endpoints[0].version = 7);
    let mut client = stand.client().await;
    for _ in 0..3 {
        assert_eq!(client.get("/").await.unwrap().body(), "old");
    }
    let mut route = stand.route.clone();
    route.endpoints[0] = EndpointRoute { version: 8, ..EndpointRoute::new(id(1), new.address) };
    stand.table.set_service(&route).unwrap();
    for _ in 0..2 {
        assert_eq!(client.get("/").await.unwrap().body(), "new");
    }
    until(|| stand.traffic().endpoints.len() == 1).await;
    let found = stand.traffic().versions;
    let seen: Vec<_> = found.iter().map(|it| (it.version, it.serving, it.counts.status[1])).collect();
    assert_eq!(seen, [(7, 0, 3), (8, 1, 2)], "what the old one answered is not forgotten with it");
    assert_eq!(found[0].counts.latency.count(), 3);
}
