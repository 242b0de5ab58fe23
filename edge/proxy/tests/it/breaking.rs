//! The circuit breaker: requests beyond the limit are refused at once.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::SeqCst;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use proxy::{Balance, EndpointState, Limits};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::kit::*;
use crate::upgrading::{UPGRADE, echo};

/// Answers each request with its name once it is released.
async fn held(name: &'static str, release: &Arc<Semaphore>) -> Backend {
    let release = Arc::clone(release);
    Backend::http(move |_request| {
        let release = Arc::clone(&release);
        async move {
            release.acquire().await.unwrap().forget();
            Response::new(Full::new(Bytes::from_static(name.as_bytes())))
        }
    })
    .await
}

fn limits(in_flight: Option<u32>, in_flight_per_endpoint: Option<u32>) -> Limits {
    Limits {
        in_flight: in_flight.and_then(NonZeroU32::new),
        in_flight_per_endpoint: in_flight_per_endpoint.and_then(NonZeroU32::new),
        adaptive: None,
    }
}

/// Sends a request over a connection of its own.
async fn send(fixture: &Fixture, answers: &mut JoinSet<Response<Bytes>>) {
    let mut client = fixture.client().await;
    answers.spawn(async move { client.get("/").await.unwrap() });
}

#[tokio::test]
async fn beyond_the_limit_of_the_service_the_answer_is_503_at_once() {
    let release = Arc::new(Semaphore::new(0));
    let backend = held("held", &release).await;
    let fixture = Fixture::with(&[backend.address], |_, route| route.limits = limits(Some(2), None));
    let mut answers = JoinSet::new();
    send(&fixture, &mut answers).await;
    send(&fixture, &mut answers).await;
    until(|| fixture.table.in_flight(SERVICE, id(0)) == 2).await;

    let mut client = fixture.client().await;
    let refused = client.get("/").await.unwrap();
    assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (503, &"1".parse().unwrap()));
    assert_eq!(fixture.traffic().over_limit, 1);

    release.add_permits(9);
    while let Some(answer) = within(answers.join_next()).await {
        assert_eq!(answer.unwrap().body(), "held");
    }
    // The client's connection can still be used, and there is room again.
    assert_eq!(client.get("/").await.unwrap().body(), "held");
    assert_eq!(fixture.traffic().over_limit, 1);
}

#[tokio::test]
async fn a_full_endpoint_is_skipped_until_all_are_full() {
    for balance in [
        Balance::RoundRobin,
        Balance::Random,
        Balance::Weighted,
        Balance::LeastLoaded,
        Balance::ConsistentHash,
    ] {
        let release = Arc::new(Semaphore::new(0));
        let (one, two) = (held("one", &release).await, held("two", &release).await);
        let fixture = Fixture::with(&[one.address, two.address], |_, route| {
            (route.balance, route.limits) = (balance, limits(None, Some(3)));
        });
        let mut answers = JoinSet::new();
        for sent in 1..=6 {
            send(&fixture, &mut answers).await;
            until(|| {
                fixture.table.in_flight(SERVICE, id(0)) + fixture.table.in_flight(SERVICE, id(1)) == sent
            })
            .await;
        }
        assert_eq!([0, 1].map(|i| fixture.table.in_flight(SERVICE, id(i))), [3, 3], "{balance:?}");
        assert_eq!(fixture.client().await.get("/").await.unwrap().status(), 503, "{balance:?}");

        // When an endpoint refuses, one that is full is not tried in its place.
        fixture.table.set_endpoint_state(SERVICE, id(1), EndpointState::Out).unwrap();
        assert_eq!(fixture.client().await.get("/").await.unwrap().status(), 503, "{balance:?}");
        assert_eq!(fixture.traffic().over_limit, 2);
        release.add_permits(6);
        while let Some(answer) = within(answers.join_next()).await {
            assert_eq!(answer.unwrap().status(), 200);
        }
    }
}

#[tokio::test]
async fn a_crowd_on_several_workers_never_exceeds_the_limit_of_an_endpoint() {
    let (most, now) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let seen = Arc::clone(&most);
    let backend = Backend::http(move |_request| {
        let (most, now) = (Arc::clone(&seen), Arc::clone(&now));
        async move {
            most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
            tokio::task::yield_now().await;
            now.fetch_sub(1, SeqCst);
            empty(204)
        }
    })
    .await;
    let fixture = Fixture::with(&[backend.address], |_, route| route.limits = limits(None, Some(4)));
    let mut clients = JoinSet::new();
    for _ in 0..24 {
        let mut client = fixture.client().await;
        clients.spawn(async move {
            let mut answered = 0u64;
            for _ in 0..100 {
                answered += u64::from(client.get("/").await.unwrap().status() == 204);
            }
            answered
        });
    }
    let mut answered = 0;
    while let Some(one) = within(clients.join_next()).await {
        answered += one.unwrap();
    }
    assert!(most.load(SeqCst) <= 4);
    assert_eq!(answered + fixture.traffic().over_limit, 2_400);
    assert!(answered > 0);
}

#[tokio::test]
async fn disconnected_clients_and_ended_tunnels_release_their_permits() {
    let release = Arc::new(Semaphore::new(0));
    let backend = held("held", &release).await;
    let fixture = Fixture::with(&[backend.address], |_, route| route.limits = limits(Some(1), None));
    let mut answers = JoinSet::new();
    send(&fixture, &mut answers).await;
    until(|| fixture.table.in_flight(SERVICE, id(0)) == 1).await;
    answers.shutdown().await;
    until(|| fixture.table.in_flight(SERVICE, id(0)) == 0).await;
    release.add_permits(9);
    until_answered(&fixture, 200).await;

    let tunnels = echo().await;
    let fixture = Fixture::with(&[tunnels.address], |_, route| route.limits = limits(Some(1), None));
    let mut stream = TcpStream::connect(fixture.address).await.unwrap();
    stream.write_all(UPGRADE.as_bytes()).await.unwrap();
    assert!(within(read_head(&mut stream)).await.starts_with("HTTP/1.1 101 "));
    assert_eq!(fixture.client().await.get("/").await.unwrap().status(), 503, "the tunnel has the only place");
    drop(stream);
    until(|| fixture.table.in_flight(SERVICE, id(0)) == 0).await;
    let mut stream = TcpStream::connect(fixture.address).await.unwrap();
    stream.write_all(UPGRADE.as_bytes()).await.unwrap();
    assert!(within(read_head(&mut stream)).await.starts_with("HTTP/1.1 101 "));
}

/// Asks until the answer has this status.
async fn until_answered(fixture: &Fixture, status: u16) {
    within(async { while fixture.client().await.get("/").await.unwrap().status() != status {} }).await;
}
