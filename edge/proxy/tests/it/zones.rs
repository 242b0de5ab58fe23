//! Endpoints that others run, beside replicas, and which zone requests stay in.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use proxy::{
    AttachedRoute, Balance, EndpointRoute, EndpointState, Gateway, Origin, OutlierPolicy, Protocol,
    ServiceRoute, Weight,
};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::kit::*;

fn external(ordinal: u32, address: SocketAddr, zone: &str) -> EndpointRoute {
    EndpointRoute {
        origin: Origin::Elsewhere,
        zone: Some(Arc::from(zone)),
        ..EndpointRoute::new(id(ordinal), address)
    }
}

/// Replicas in zone a, which is preferred, and others in zone b.
fn zoned(route: &mut ServiceRoute, others: &[SocketAddr]) {
    route.preferred_zone = Some(Arc::from("a"));
    route.endpoints.iter_mut().for_each(|endpoint| endpoint.zone = Some(Arc::from("a")));
    let others = (100..).zip(others).map(|(ordinal, &address)| external(ordinal, address, "b"));
    route.endpoints.extend(others);
}

/// Answers of each backend by its name, of so many requests.
async fn answers(fixture: &Fixture, requests: usize, name: &str) -> usize {
    let mut client = fixture.client().await;
    let mut of_name = 0;
    for _ in 0..requests {
        of_name += usize::from(client.get("/").await.unwrap().body() == name);
    }
    of_name
}

#[tokio::test]
async fn requests_stay_in_the_zone_and_spill_over_as_its_replicas_become_unready() {
    let (here, there) = (Backend::named("here").await, Backend::named("there").await);
    let fixture = Fixture::with(&[here.address; 4], |_, route| zoned(route, &[there.address]));
    let set = |ordinal, state| fixture.table.set_endpoint_state(SERVICE, id(ordinal), state).unwrap();
    assert_eq!(answers(&fixture, 100, "there").await, 0);

    set(0, EndpointState::Out);
    assert_eq!(answers(&fixture, 100, "there").await, 0, "three of four are trusted with all of it");
    set(1, EndpointState::Out);
    let spilled = answers(&fixture, 1000, "there").await;
    assert!((230..370).contains(&spilled), "{spilled} of 1,000 where 30 % are to leave");
    assert_eq!(fixture.traffic().preference.unwrap().share.hundredths_of_percent(), 7_000);

    (2..4).for_each(|ordinal| set(ordinal, EndpointState::Out));
    assert_eq!(answers(&fixture, 50, "there").await, 50, "nobody is left here");
    (0..4).for_each(|ordinal| set(ordinal, EndpointState::Serving));
    assert_eq!(answers(&fixture, 100, "there").await, 0);
}

#[tokio::test]
async fn a_starting_or_leaving_replica_sends_no_traffic_to_other_zones() {
    let (here, there) = (Backend::named("here").await, Backend::named("there").await);
    let fixture = Fixture::with(&[here.address; 4], |_, route| {
        zoned(route, &[there.address]);
        route.endpoints[1].state = EndpointState::Out;
        route.endpoints[2].state = EndpointState::Out;
    });
    fixture.table.set_endpoint_state(SERVICE, id(3), EndpointState::Draining).unwrap();
    assert_eq!(answers(&fixture, 100, "there").await, 0);
}

#[tokio::test]
async fn without_a_preferred_zone_all_endpoints_are_equal() {
    let (here, there) = (Backend::named("here").await, Backend::named("there").await);
    let fixture = Fixture::with(&[here.address], |_, route| {
        zoned(route, &[there.address]);
        (route.preferred_zone, route.balance) = (None, Balance::RoundRobin);
    });
    assert_eq!(answers(&fixture, 100, "there").await, 50);
    assert_eq!(fixture.traffic().preference, None);
}

#[tokio::test]
async fn requests_to_external_endpoints_are_counted_apart_and_are_no_load_of_replicas() {
    let (here, there) = (Backend::named("here").await, Backend::named("there").await);
    let fixture = Fixture::with(&[here.address], |_, route| {
        zoned(route, &[there.address]);
        (route.preferred_zone, route.balance) = (None, Balance::RoundRobin);
    });
    answers(&fixture, 100, "there").await;
    let traffic = fixture.traffic();
    let requests = |endpoints: &[proxy::EndpointTraffic]| -> Vec<(u32, u64)> {
        endpoints.iter().map(|it| (it.id.ordinal, it.counts.requests)).collect()
    };
    assert_eq!(requests(&traffic.endpoints), [(0, 50)]);
    assert_eq!(requests(&traffic.elsewhere), [(100, 50)]);
    assert_eq!(traffic.elsewhere[0].zone.as_deref(), Some("b"));
    assert_eq!(
        traffic.versions.iter().map(|it| (it.serving, it.counts.requests)).collect::<Vec<_>>(),
        [(1, 50)]
    );
    assert_eq!(fixture.table.load(SERVICE).unwrap().requests, 50);
    assert_eq!(traffic.counts.requests, 100);
}

/// Puts a replica in the place of all endpoints elsewhere.
fn replace_by_replica(fixture: &Fixture, replica: SocketAddr) {
    let endpoints = vec![EndpointRoute::new(id(0), replica)];
    fixture.table.set_service(&ServiceRoute { endpoints, ..fixture.route.clone() }).unwrap();
}

#[tokio::test]
async fn a_request_retried_at_external_endpoints_is_excluded_from_the_load_once() {
    let here = Backend::named("here").await;
    let fixture = Fixture::with(&[], |config, route| {
        config.workers = NonZeroUsize::MIN;
        zoned(route, &[unused_address()]);
        route.timeouts.endpoint = Duration::from_millis(300);
    });
    let refused = fixture.client().await.get("/").await.unwrap();
    assert_eq!(refused.status(), 503);
    assert!(fixture.traffic().elsewhere[0].counts.requests > 2, "it was tried again after each wait");
    replace_by_replica(&fixture, here.address);
    assert_eq!(answers(&fixture, 10, "here").await, 10);
    assert_eq!(fixture.table.load(SERVICE).unwrap().requests, 10);
}

#[tokio::test]
async fn connections_and_sessions_at_external_endpoints_are_excluded_from_the_load_once() {
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let fixture = Fixture::with(&[], |config, route| {
            config.workers = NonZeroUsize::MIN;
            route.protocol = protocol;
            zoned(route, &[unused_address()]);
            route.timeouts.endpoint = Duration::from_millis(300);
        });
        let counts = || fixture.traffic().counts;
        let ask = async || {
            if protocol == Protocol::Tcp {
                assert_eq!(send_raw(fixture.address, "x").await, "");
            } else {
                let client = tokio::net::UdpSocket::bind(any()).await.unwrap();
                client.send_to(b"x", fixture.address).await.unwrap();
            }
        };
        ask().await;
        until(|| counts().status[4] == 1).await;
        assert!(fixture.traffic().elsewhere[0].counts.requests > 2, "it was tried again after each wait");
        // It does not matter which endpoint it gets here.
        replace_by_replica(&fixture, unused_address());
        for sent in 1..=3 {
            ask().await;
            until(|| counts().requests == 1 + sent).await;
        }
        assert_eq!(fixture.table.load(SERVICE).unwrap().requests, 3, "{protocol:?}");
    }
}

#[tokio::test]
async fn mirrored_requests_are_no_load() {
    let (here, there) = (Backend::named("here").await, Backend::named("there").await);
    let fixture = Fixture::with(&[here.address], |config, _| config.workers = NonZeroUsize::MIN);
    let mut shadow = ServiceRoute::new("shadow", any());
    shadow.endpoints = vec![external(100, there.address, "b")];
    let address = fixture.table.set_service(&shadow).unwrap().unwrap();
    let rules = json!([{"filters": [{"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "shadow"}}}],
        "backendRefs": [{"name": SERVICE}]}]);
    let spec = Arc::new(serde_json::from_value(json!({"listen": "127.0.0.1:0", "rules": rules})).unwrap());
    let routes = vec![AttachedRoute { name: "web".into(), created: 1, spec }];
    let gateway = fixture.table.set_gateway(&Gateway { listen: any(), tls: None, routes }).unwrap();
    let copies = || {
        let traffic = fixture.table.traffic();
        traffic.iter().find(|it| &*it.service == "shadow").unwrap().elsewhere[0].counts.status[1]
    };
    let mut client = Client::connect(gateway).await;
    for _ in 0..5 {
        assert_eq!(client.get("/").await.unwrap().body(), "here");
    }
    until(|| copies() == 5).await;
    shadow.endpoints = vec![EndpointRoute::new(id(0), here.address)];
    fixture.table.set_service(&shadow).unwrap();
    let mut client = Client::connect(address).await;
    for _ in 0..8 {
        assert_eq!(client.get("/").await.unwrap().body(), "here");
    }
    assert_eq!(fixture.table.load("shadow").unwrap().requests, 8);
}

#[tokio::test]
async fn a_dead_external_endpoint_is_ejected_without_failing_a_request() {
    let there = Backend::named("there").await;
    let fixture = Fixture::with(&[], |_, route| {
        zoned(route, &[unused_address(), there.address]);
        route.outliers = OutlierPolicy { base: Duration::from_secs(60), ..OutlierPolicy::default() };
        route.balance = Balance::RoundRobin;
    });
    assert_eq!(answers(&fixture, 100, "there").await, 100);
    let dead = &fixture.traffic().elsewhere[0];
    assert!(dead.is_ejected());
    assert_eq!(dead.counts.requests, 5, "as many as eject it, and none since");
}

#[tokio::test]
async fn ejected_replicas_spill_over_to_the_other_zone() {
    let there = Backend::named("there").await;
    let broken = Backend::http(|_| async {
        Response::builder().status(500).body(Full::new(Bytes::from_static(b"broken"))).unwrap()
    });
    let (broken, here) = (broken.await, Backend::named("here").await);
    let fixture = Fixture::with(&[broken.address, here.address], |_, route| {
        zoned(route, &[there.address]);
        route.balance = Balance::RoundRobin;
    });
    answers(&fixture, 200, "there").await;
    assert!(fixture.traffic().endpoints[0].is_ejected());
    let spilled = answers(&fixture, 1000, "there").await;
    assert!((230..370).contains(&spilled), "{spilled} of 1,000 where 30 % are to leave");
}

#[tokio::test]
async fn an_external_endpoint_that_left_with_requests_in_flight_still_counts_as_external() {
    let slow = Backend::http(|_| async {
        std::future::pending::<()>().await;
        empty(200)
    });
    let (here, slow) = (Backend::named("here").await, slow.await);
    let fixture = Fixture::with(&[], |_, route| {
        zoned(route, &[slow.address]);
        route.endpoints[0].weight = Weight::new(7).unwrap();
    });
    let mut asking = TcpStream::connect(fixture.address).await.unwrap();
    asking.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    until(|| fixture.traffic().elsewhere[0].in_flight == 1).await;
    replace_by_replica(&fixture, here.address);
    let left = &fixture.traffic().elsewhere[0];
    assert_eq!((left.state, left.zone.as_deref(), left.weight.get()), (EndpointState::Out, Some("b"), 7));
    drop(asking);
    until(|| fixture.traffic().elsewhere.is_empty()).await;
}
