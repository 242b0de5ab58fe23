//! Endpoints and the proxy itself are drained without failing a request.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::{Request, Response};
use proxy::EndpointState;
use tokio::io::AsyncReadExt;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;

use crate::kit::*;

/// Answers once it is released, and notifies when a request has arrived.
async fn slow(came: &Arc<Notify>, go: &Arc<Semaphore>) -> Backend {
    let (came, go) = (Arc::clone(came), Arc::clone(go));
    Backend::http(move |_request: Request<_>| {
        let (came, go) = (Arc::clone(&came), Arc::clone(&go));
        async move {
            came.notify_one();
            let _ = go.acquire().await;
            Response::new(Full::new("slow".into()))
        }
    })
    .await
}

#[tokio::test]
async fn a_draining_endpoint_finishes_its_requests_and_gets_no_new_ones() {
    let (came, go) = (Arc::new(Notify::new()), Arc::new(Semaphore::new(0)));
    let (leaving, staying) = (slow(&came, &go).await, Backend::named("staying").await);
    let fixture = Fixture::new(&[leaving.address]);
    let mut first = fixture.client().await;
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { first.get("/").await.unwrap() });
    within(came.notified()).await;
    let mut route = fixture.route.clone();
    route.endpoints.push(proxy::EndpointRoute::new(id(1), staying.address));
    fixture.table.set_service(&route).unwrap();
    fixture.table.set_endpoint_state(SERVICE, id(0), EndpointState::Draining).unwrap();

    let mut client = fixture.client().await;
    for _ in 0..50 {
        assert_eq!(client.get("/").await.unwrap().body(), "staying");
    }
    assert_eq!(fixture.table.in_flight(SERVICE, id(0)), 1);
    let drained = fixture.table.drained(SERVICE, id(0));
    go.add_permits(1);
    within(drained).await;
    assert_eq!(tasks.join_next().await.unwrap().unwrap().body(), "slow");
}

#[tokio::test]
async fn the_drain_of_an_endpoint_that_left_the_route_can_be_awaited() {
    let (came, go) = (Arc::new(Notify::new()), Arc::new(Semaphore::new(0)));
    let backend = slow(&came, &go).await;
    let fixture = Fixture::new(&[backend.address]);
    let mut client = fixture.client().await;
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { client.get("/").await.unwrap() });
    within(came.notified()).await;
    let mut route = fixture.route.clone();
    route.endpoints.clear();
    fixture.table.set_service(&route).unwrap();
    assert_eq!(fixture.table.in_flight(SERVICE, id(0)), 1);
    go.add_permits(1);
    within(fixture.table.drained(SERVICE, id(0))).await;
    assert_eq!(tasks.join_next().await.unwrap().unwrap().status(), 200);
}

#[tokio::test]
async fn idle_connections_to_a_drained_endpoint_are_closed() {
    let closed = Arc::new(Notify::new());
    let signal = Arc::clone(&closed);
    let backend = Backend::raw(move |mut stream| {
        let signal = Arc::clone(&signal);
        async move {
            use tokio::io::AsyncWriteExt;
            while !read_head(&mut stream).await.is_empty() {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
            }
            signal.notify_one();
        }
    })
    .await;
    let fixture = Fixture::with(&[backend.address], |_, route| {
        route.timeouts.upstream_idle = Duration::from_secs(3600);
    });
    fixture.client().await.get("/").await.unwrap();
    fixture.table.set_endpoint_state(SERVICE, id(0), EndpointState::Draining).unwrap();
    within(closed.notified()).await;
}

#[tokio::test]
async fn shutdown_lets_requests_finish() {
    let (came, go) = (Arc::new(Notify::new()), Arc::new(Semaphore::new(0)));
    let backend = slow(&came, &go).await;
    let fixture = Fixture::new(&[backend.address]);
    let mut client = fixture.client().await;
    let mut idle = tokio::net::TcpStream::connect(fixture.address).await.unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { client.get("/").await });
    within(came.notified()).await;
    let (proxy, address) = (fixture.proxy, fixture.address);
    let mut ending = JoinSet::new();
    ending.spawn(async move { proxy.shutdown(DEADLINE).await });
    // No connection is accepted any more, while the request is still in flight.
    within(async {
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(within(idle.read(&mut [0])).await.unwrap(), 0, "an idle connection ends");
    go.add_permits(1);
    assert_eq!(tasks.join_next().await.unwrap().unwrap().unwrap().body(), "slow");
    assert_eq!(within(ending.join_next()).await.unwrap().unwrap().connections_cut, 0);
}

#[tokio::test]
async fn shutdown_aborts_requests_after_the_grace_period() {
    let (came, go) = (Arc::new(Notify::new()), Arc::new(Semaphore::new(0)));
    let backend = slow(&came, &go).await;
    let fixture = Fixture::new(&[backend.address]);
    let mut client = fixture.client().await;
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { client.get("/").await });
    within(came.notified()).await;
    let ended = within(fixture.proxy.shutdown(Duration::from_millis(50))).await;
    assert_eq!(ended.connections_cut, 1);
    assert!(tasks.join_next().await.unwrap().unwrap().is_err());
}
