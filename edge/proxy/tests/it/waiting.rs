//! Requests wait for an endpoint: for a limited time, and in limited number.

use std::time::Duration;

use proxy::{EndpointRoute, EndpointState};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::kit::*;

#[tokio::test]
async fn a_request_waits_for_the_first_endpoint() {
    let fixture = Fixture::new(&[]);
    let mut client = fixture.client().await;
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { client.post("/", "body").await.unwrap() });
    until(|| fixture.traffic().waiting == 1).await;
    let backend = Backend::named("first").await;
    let mut route = fixture.route.clone();
    route.endpoints.push(EndpointRoute::new(id(0), backend.address));
    fixture.table.set_service(&route).unwrap();
    assert_eq!(within(tasks.join_next()).await.unwrap().unwrap().body(), "first");
    assert_eq!(fixture.traffic().waiting, 0);
}

#[tokio::test]
async fn without_an_endpoint_the_answer_is_503_in_the_end() {
    let fixture =
        Fixture::with(&[unused_address()], |_, route| route.timeouts.endpoint = Duration::from_millis(100));
    let mut client = fixture.client().await;
    let refused = client.get("/").await.unwrap();
    fixture.table.set_endpoint_state(SERVICE, id(0), EndpointState::Out).unwrap();
    let none = client.get("/").await.unwrap();
    for response in [refused, none] {
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["retry-after"], "1");
    }
    assert_eq!(fixture.traffic().unavailable, 2);
}

#[tokio::test]
async fn too_many_do_not_wait() {
    let fixture = Fixture::with(&[], |_, route| {
        route.waiting_max = 2;
        route.timeouts.endpoint = DEADLINE;
    });
    let mut tasks = JoinSet::new();
    for _ in 0..2 {
        let mut client = fixture.client().await;
        tasks.spawn(async move { client.get("/").await.map(|r| r.status().as_u16()) });
    }
    until(|| fixture.traffic().waiting == 2).await;
    assert_eq!(fixture.client().await.get("/").await.unwrap().status(), 503);
}

#[tokio::test]
async fn a_disconnected_client_releases_its_waiting_permit() {
    let fixture = Fixture::with(&[], |_, route| route.timeouts.endpoint = DEADLINE);
    let mut client = fixture.client().await;
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { client.get("/").await.map(|_| ()) });
    until(|| fixture.traffic().waiting == 1).await;
    tasks.shutdown().await;
    until(|| fixture.traffic().waiting == 0).await;
}

#[tokio::test]
async fn a_service_whose_only_replica_restarts_fails_nothing() {
    let backend = Backend::named("old").await;
    let fixture = Fixture::new(&[backend.address]);
    let mut client = fixture.client().await;
    assert_eq!(client.get("/").await.unwrap().body(), "old");
    // The table does not change: the proxy notices by itself that the replica is gone, and that its address answers again.
    let address = backend.stop().await;
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { client.post("/", "body").await.unwrap() });
    until(|| fixture.traffic().counts.connect_failures > 0).await;
    let listener = TcpListener::bind(address).await.unwrap();
    tasks.spawn(async move {
        use tokio::io::AsyncWriteExt;
        let (mut stream, _peer) = listener.accept().await.unwrap();
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nnew").await.unwrap();
        std::future::pending().await
    });
    assert_eq!(within(tasks.join_next()).await.unwrap().unwrap().body(), "new");
}
