//! Consistent hashing: the same client gets the same endpoint, by each kind of key.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use proxy::{Balance, EndpointState, HashKey};

use crate::kit::*;

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

async fn fixture(hash_key: HashKey) -> (Vec<Backend>, Fixture) {
    let mut backends = Vec::new();
    for name in NAMES {
        backends.push(Backend::named(name).await);
    }
    let addresses: Vec<_> = backends.iter().map(|backend| backend.address).collect();
    let fixture = Fixture::with(&addresses, |_config, route| {
        (route.balance, route.hash_key) = (Balance::ConsistentHash, hash_key);
    });
    (backends, fixture)
}

fn with(header: &str, value: &str) -> Request<Full<Bytes>> {
    let mut request = request("GET", "/", "");
    let name = hyper::header::HeaderName::from_bytes(header.as_bytes()).unwrap();
    request.headers_mut().insert(name, value.parse().unwrap());
    request
}

/// The endpoint of each of a hundred users, over a new connection each time.
async fn endpoints_of(fixture: &Fixture, ask: impl Fn(u32) -> Request<Full<Bytes>>) -> Vec<Bytes> {
    let mut homes = Vec::new();
    for user in 0..100 {
        homes.push(fixture.client().await.send(ask(user)).await.unwrap().into_body());
    }
    homes
}

#[tokio::test]
async fn a_hash_header_keeps_its_endpoint_until_that_leaves() {
    let (_backends, fixture) = fixture(HashKey::Header(Arc::from("X-User"))).await;
    let ask = |user: u32| with("x-user", &format!("user-{user}"));
    let before = endpoints_of(&fixture, ask).await;
    assert_eq!(before.iter().collect::<BTreeSet<_>>().len(), NAMES.len(), "all have users");
    assert_eq!(endpoints_of(&fixture, ask).await, before);
    fixture.table.set_endpoint_state(SERVICE, id(2), EndpointState::Draining).unwrap();
    let after = endpoints_of(&fixture, ask).await;
    assert!(after.iter().all(|home| home != "c"));
    assert!(before.iter().zip(&after).all(|(b, a)| a == b || b == "c"), "others' users moved");
}

#[tokio::test]
async fn a_hash_cookie_is_found_among_other_cookies() {
    let (_backends, fixture) = fixture(HashKey::Cookie(Arc::from("sid"))).await;
    let plain = endpoints_of(&fixture, |user| with("cookie", &format!("sid={user}"))).await;
    let among =
        endpoints_of(&fixture, |user| with("cookie", &format!("sid2=x; sid={user}; theme=dark"))).await;
    assert_eq!(plain, among);
    assert!(plain.iter().collect::<BTreeSet<_>>().len() > 1);
}

#[tokio::test]
async fn without_the_header_the_clients_address_decides() {
    let (_backends, fixture) = fixture(HashKey::Header(Arc::from("x-user"))).await;
    let homes = endpoints_of(&fixture, |_user| request("GET", "/", "")).await;
    assert_eq!(homes.iter().collect::<BTreeSet<_>>().len(), 1, "all come from one address");
}
