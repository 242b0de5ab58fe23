//! Requests that failed before they were processed are retried; those that may have been processed are not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use proxy::EndpointState;
use tokio::io::AsyncWriteExt;

use crate::kit::*;

/// Reads each request and closes the connection without an answer.
async fn silent(requests: &Arc<AtomicU32>) -> Backend {
    let requests = Arc::clone(requests);
    Backend::raw(move |mut stream| {
        let requests = Arc::clone(&requests);
        async move {
            if !read_head(&mut stream).await.is_empty() {
                requests.fetch_add(1, Ordering::SeqCst);
            }
        }
    })
    .await
}

/// Answers one request on each connection and then closes it without announcing that.
async fn closing(requests: &Arc<AtomicU32>) -> Backend {
    let requests = Arc::clone(requests);
    Backend::raw(move |mut stream| {
        let requests = Arc::clone(&requests);
        async move {
            read_head(&mut stream).await;
            requests.fetch_add(1, Ordering::SeqCst);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        }
    })
    .await
}

#[tokio::test]
async fn a_get_that_an_endpoint_breaks_off_is_retried_at_another() {
    let seen = Arc::default();
    let (bad, good) = (silent(&seen).await, Backend::named("good").await);
    let fixture =
        Fixture::with(&[bad.address, good.address], |_, route| route.balance = proxy::Balance::RoundRobin);
    let mut client = fixture.client().await;
    for _ in 0..6 {
        assert_eq!(client.get("/").await.unwrap().body(), "good");
    }
    assert!(seen.load(Ordering::SeqCst) > 0);
    let traffic = fixture.traffic();
    assert_eq!(traffic.counts.status[1], 6);
    assert_eq!(traffic.counts.retries, u64::from(seen.load(Ordering::SeqCst)));
    assert_eq!(traffic.endpoints[0].counts.failures, traffic.counts.retries);
}

#[tokio::test]
async fn a_request_that_several_endpoints_leave_unanswered_is_not_retried_further() {
    for endpoints in [1, 5] {
        let seen = Arc::default();
        let mut mutes = Vec::new();
        for _ in 0..endpoints {
            mutes.push(silent(&seen).await);
        }
        let addresses: Vec<_> = mutes.iter().map(|mute| mute.address).collect();
        let response = Fixture::new(&addresses).client().await.get("/").await.unwrap();
        assert_eq!(response.status(), 502);
        assert!(String::from_utf8_lossy(response.body()).contains("without an answer"), "{response:?}");
        assert_eq!(seen.load(Ordering::SeqCst), 3, "of {endpoints}");
    }
}

#[tokio::test]
async fn a_post_that_may_have_acted_is_not_repeated() {
    let seen = Arc::default();
    let bad = silent(&seen).await;
    let fixture = Fixture::new(&[bad.address]);
    let response = fixture.client().await.post("/order", "one book").await.unwrap();
    assert_eq!(response.status(), 502);
    assert_eq!(seen.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_put_is_retried_with_its_complete_body() {
    let seen = Arc::default();
    let bad = silent(&seen).await;
    let good =
        Backend::http(|request: hyper::Request<_>| async move { hyper::Response::new(request.into_body()) })
            .await;
    let fixture =
        Fixture::with(&[bad.address, good.address], |_, route| route.balance = proxy::Balance::RoundRobin);
    let body = "x".repeat(60_000);
    let mut client = fixture.client().await;
    for _ in 0..4 {
        let response = client.send(request("PUT", "/", &body)).await.unwrap();
        assert_eq!((response.status().as_u16(), response.body().len()), (200, body.len()));
    }
    assert!(seen.load(Ordering::SeqCst) > 0);
}

#[tokio::test]
async fn a_refused_connection_is_retried_for_any_method() {
    let good = Backend::named("good").await;
    let fixture = Fixture::with(&[unused_address(), unused_address(), good.address], |_, route| {
        route.balance = proxy::Balance::Random;
    });
    let mut client = fixture.client().await;
    for _ in 0..30 {
        assert_eq!(client.post("/", "body").await.unwrap().body(), "good");
        assert_eq!(client.get("/").await.unwrap().body(), "good");
    }
    assert!(fixture.traffic().counts.connect_failures > 0);
}

#[tokio::test]
async fn a_request_on_a_closed_pooled_connection_is_retried() {
    let seen: Arc<AtomicU32> = Arc::default();
    let backend = closing(&seen).await;
    // Requests do not wait: a closed connection must be distinguished from a refusing endpoint.
    let fixture = Fixture::with(&[backend.address], |_, route| route.timeouts.endpoint = Duration::ZERO);
    let mut client = fixture.client().await;
    for i in 0..200 {
        let response = if i % 2 == 0 { client.post("/", "body").await } else { client.get("/").await };
        assert_eq!(response.unwrap().body(), "ok", "request {i}");
        if i % 3 == 0 {
            // Lets the closing arrive first in some rounds, and not in others.
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(fixture.traffic().counts.status[1], 200);
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_a_504_and_is_not_repeated() {
    let seen: Arc<AtomicU32> = Arc::default();
    let counted = Arc::clone(&seen);
    let backend = Backend::raw(move |mut stream| {
        let counted = Arc::clone(&counted);
        async move {
            read_head(&mut stream).await;
            counted.fetch_add(1, Ordering::SeqCst);
            std::future::pending::<()>().await;
        }
    })
    .await;
    let fixture = Fixture::with(&[backend.address], |_, route| {
        route.timeouts.response_head = Duration::from_millis(50);
    });
    let response = fixture.client().await.get("/").await.unwrap();
    assert_eq!(response.status(), 504);
    assert_eq!(seen.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_endpoint_that_keeps_failing_is_ejected() {
    let bad = Backend::http(|_request| async { empty(500) }).await;
    let good = Backend::named("good").await;
    let fixture =
        Fixture::with(&[bad.address, good.address], |_, route| route.balance = proxy::Balance::RoundRobin);
    let mut client = fixture.client().await;
    for _ in 0..10 {
        client.get("/").await.unwrap();
    }
    let traffic = fixture.traffic();
    assert!(traffic.endpoints[0].is_ejected() && !traffic.endpoints[1].is_ejected());
    let ejected = traffic.endpoints[0].ejection.unwrap();
    let whole = ejected.ago + ejected.left;
    assert_eq!((ejected.times, whole.as_secs_f64().round()), (1, 30.0), "{ejected:?}");
    for _ in 0..20 {
        assert_eq!(client.get("/").await.unwrap().status(), 200);
    }
    assert_eq!(fixture.traffic().endpoints[0].counts.requests, 5);
}

#[tokio::test]
async fn an_ejected_endpoint_comes_back_when_its_ejection_ends() {
    let bad = Backend::http(|_request| async { empty(500) }).await;
    let good = Backend::named("good").await;
    let fixture = Fixture::with(&[bad.address, good.address], |_, route| {
        route.balance = proxy::Balance::RoundRobin;
        route.outliers.base = Duration::from_millis(200);
    });
    let mut client = fixture.client().await;
    for _ in 0..10 {
        client.get("/").await.unwrap();
    }
    assert_eq!(fixture.traffic().endpoints[0].counts.requests, 5);
    until(|| !fixture.traffic().endpoints[0].is_ejected()).await;
    within(async {
        while fixture.traffic().endpoints[0].counts.requests == 5 {
            client.get("/").await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn an_endpoint_that_is_out_gets_no_further_request() {
    let (one, two) = (Backend::named("one").await, Backend::named("two").await);
    let fixture = Fixture::new(&[one.address, two.address]);
    let mut client = fixture.client().await;
    for round in 0..100 {
        let (out, stays) = if round % 2 == 0 { (0, "two") } else { (1, "one") };
        fixture.table.set_endpoint_state(SERVICE, id(out), EndpointState::Out).unwrap();
        assert_eq!(client.get("/").await.unwrap().body(), stays);
        fixture.table.set_endpoint_state(SERVICE, id(out), EndpointState::Serving).unwrap();
    }
}
