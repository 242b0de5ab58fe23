//! Hedging: a request that takes long is sent to a second endpoint, too, and the first answer counts.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use proxy::{Balance, HedgeAfter, HedgePolicy, OutlierPolicy, Protocol};
use tokio::sync::Semaphore;

use crate::kit::*;

/// An endpoint that answers with its name once it is released. It counts its requests, and those that were cancelled.
struct HeldEndpoint {
    backend: Backend,
    got: Arc<AtomicU32>,
    left: Arc<AtomicU32>,
    go: Arc<Semaphore>,
}

/// Counts a request that is dropped without an answer.
struct WaitingRequest(Arc<AtomicU32>, bool);

impl Drop for WaitingRequest {
    fn drop(&mut self) {
        self.0.fetch_add(u32::from(!self.1), SeqCst);
    }
}

impl HeldEndpoint {
    async fn new(name: &'static str) -> Self {
        let (got, left, go) =
            (Arc::<AtomicU32>::default(), Arc::<AtomicU32>::default(), Arc::new(Semaphore::new(0)));
        let mine = (Arc::clone(&got), Arc::clone(&left), Arc::clone(&go));
        let backend = Backend::http(move |_request| {
            let (got, left, go) = mine.clone();
            async move {
                got.fetch_add(1, SeqCst);
                let mut waiting = WaitingRequest(left, false);
                go.acquire().await.unwrap().forget();
                waiting.1 = true;
                Response::new(Full::new(Bytes::from_static(name.as_bytes())))
            }
        })
        .await;
        Self { backend, got, left, go }
    }

    fn requests(&self) -> u32 {
        self.got.load(SeqCst)
    }
}

fn policy(after: HedgeAfter, budget_percent: u8) -> Option<HedgePolicy> {
    Some(HedgePolicy { after, budget_percent })
}

/// An endpoint that a test holds back has not answered after this time.
const SOON: HedgeAfter = HedgeAfter::Fixed(Duration::from_millis(5));

/// Round robin, so that the first endpoint gets the first request.
fn fixture(endpoints: &[&HeldEndpoint], hedge: Option<HedgePolicy>) -> Fixture {
    let addresses: Vec<_> = endpoints.iter().map(|held| held.backend.address).collect();
    Fixture::with(&addresses, |config, route| {
        config.workers = NonZeroUsize::MIN;
        (route.balance, route.hedge) = (Balance::RoundRobin, hedge);
    })
}

#[tokio::test]
async fn the_hedge_wins_and_the_first_attempt_is_cancelled() {
    let (slow, quick) = (HeldEndpoint::new("slow").await, HeldEndpoint::new("quick").await);
    let fixture = fixture(&[&slow, &quick], policy(SOON, 10));
    quick.go.add_permits(1);
    let mut client = fixture.client().await;
    assert_eq!(client.get("/").await.unwrap().body(), "quick");
    until(|| slow.left.load(SeqCst) == 1).await;
    let traffic = fixture.traffic();
    assert_eq!((traffic.hedges, traffic.hedges_won), (1, 1));
    assert_eq!(
        (traffic.counts.requests, traffic.counts.status),
        (1, [0, 1, 0, 0, 0]),
        "one request, one answer"
    );
    assert_eq!((traffic.counts.retries, traffic.errors()), (0, 0));
    assert_eq!([0, 1].map(|i| fixture.table.in_flight(SERVICE, id(i))), [0, 0]);
    assert_eq!(traffic.endpoints[0].counts.failed_attempts(), 0, "being slower is no failure");

    // The client's connection stays usable. The hedge took the turn of the second endpoint, so the next request begins with the first again.
    quick.go.add_permits(1);
    assert_eq!(client.get("/").await.unwrap().body(), "quick");
    assert_eq!((slow.requests(), quick.requests()), (2, 2));
}

#[tokio::test]
async fn the_first_attempt_may_win_over_the_hedge() {
    let (first, second) = (HeldEndpoint::new("first").await, HeldEndpoint::new("second").await);
    let fixture = fixture(&[&first, &second], policy(SOON, 10));
    let mut client = fixture.client().await;
    let answer = async {
        until(|| second.requests() == 1).await;
        first.go.add_permits(1);
    };
    let (answered, ()) = tokio::join!(client.get("/"), answer);
    assert_eq!(answered.unwrap().body(), "first");
    until(|| second.left.load(SeqCst) == 1).await;
    let traffic = fixture.traffic();
    assert_eq!((traffic.hedges, traffic.hedges_won), (1, 0));
    assert_eq!(fixture.table.in_flight(SERVICE, id(1)), 0);
}

#[tokio::test]
async fn only_safe_requests_are_hedged() {
    for (method, body) in [("POST", "x"), ("POST", ""), ("DELETE", ""), ("PUT", "x"), ("GET", "x")] {
        let (slow, quick) = (HeldEndpoint::new("slow").await, HeldEndpoint::new("quick").await);
        let fixture = fixture(&[&slow, &quick], policy(HedgeAfter::Fixed(Duration::from_millis(1)), 100));
        quick.go.add_permits(9);
        let mut client = fixture.client().await;
        let sending = client.send(request(method, "/", body));
        let answer = async {
            until(|| slow.requests() == 1).await;
            // While that waits, one that may be sent twice is: so there was time for the other, too.
            let mut other = fixture.client().await;
            for _ in 0..3 {
                assert_eq!(other.get("/").await.unwrap().body(), "quick");
            }
            slow.go.add_permits(9);
        };
        let (answered, ()) = tokio::join!(sending, answer);
        assert_eq!(answered.unwrap().body(), "slow", "{method} {body:?}");
    }
}

#[tokio::test]
async fn when_one_attempt_fails_the_other_is_used() {
    // The second refuses, so the first is waited for.
    let first = HeldEndpoint::new("first").await;
    let fixture = Fixture::with(&[first.backend.address, unused_address()], |config, route| {
        config.workers = NonZeroUsize::MIN;
        (route.balance, route.hedge) = (Balance::RoundRobin, policy(SOON, 10));
    });
    let mut client = fixture.client().await;
    let answer = async {
        until(|| fixture.traffic().counts.connect_failures == 1).await;
        first.go.add_permits(1);
    };
    let (answered, ()) = tokio::join!(client.get("/"), answer);
    assert_eq!(answered.unwrap().body(), "first");

    // The first closes the connection while the second is at work.
    let second = HeldEndpoint::new("second").await;
    let close = Arc::new(Semaphore::new(0));
    let closing = Arc::clone(&close);
    let breaking = Backend::raw(move |mut stream| {
        let close = Arc::clone(&closing);
        async move {
            read_head(&mut stream).await;
            close.acquire().await.unwrap().forget();
        }
    })
    .await;
    let fixture = Fixture::with(&[breaking.address, second.backend.address], |config, route| {
        config.workers = NonZeroUsize::MIN;
        (route.balance, route.hedge) = (Balance::RoundRobin, policy(SOON, 10));
    });
    let mut client = fixture.client().await;
    let answer = async {
        until(|| second.requests() == 1).await;
        close.add_permits(9);
        until(|| fixture.traffic().counts.failures == 1).await;
        second.go.add_permits(1);
    };
    let (answered, ()) = tokio::join!(client.get("/"), answer);
    assert_eq!(answered.unwrap().body(), "second");
    assert_eq!((second.requests(), fixture.traffic().hedges_won), (1, 1));
}

#[tokio::test]
async fn an_error_of_the_hedge_does_not_count_while_the_first_attempt_runs() {
    let first = HeldEndpoint::new("first").await;
    let got = Arc::<AtomicU32>::default();
    let seen = Arc::clone(&got);
    let failing = Backend::http(move |_request| {
        seen.fetch_add(1, SeqCst);
        async { empty(500) }
    })
    .await;
    let fixture = Fixture::with(&[first.backend.address, failing.address], |config, route| {
        config.workers = NonZeroUsize::MIN;
        (route.balance, route.hedge) = (Balance::RoundRobin, policy(SOON, 10));
    });
    let mut client = fixture.client().await;
    let answer = async {
        until(|| got.load(SeqCst) == 1).await;
        // Once these requests are answered, the error of the hedge has arrived, too.
        for _ in 0..3 {
            let mut other = Client::connect(failing.address).await;
            assert_eq!(other.get("/").await.unwrap().status(), 500);
        }
        first.go.add_permits(1);
    };
    let (answered, ()) = tokio::join!(client.get("/"), answer);
    assert_eq!(answered.unwrap().body(), "first");
    let traffic = fixture.traffic();
    assert_eq!((traffic.hedges, traffic.hedges_won, traffic.errors()), (1, 0, 0));
}

#[tokio::test]
async fn when_both_attempts_time_out_the_answer_is_504() {
    let (one, two) = (HeldEndpoint::new("one").await, HeldEndpoint::new("two").await);
    let fixture = Fixture::with(&[one.backend.address, two.backend.address], |config, route| {
        config.workers = NonZeroUsize::MIN;
        (route.balance, route.hedge) = (Balance::RoundRobin, policy(SOON, 10));
        route.timeouts.response_head = Duration::from_millis(50);
        route.outliers = OutlierPolicy::default();
    });
    assert_eq!(fixture.client().await.get("/").await.unwrap().status(), 504);
    until(|| one.left.load(SeqCst) + two.left.load(SeqCst) == 2).await;
    let traffic = fixture.traffic();
    assert_eq!((traffic.hedges, traffic.hedges_won, traffic.errors()), (1, 0, 1));
    assert_eq!(traffic.endpoints.iter().map(|it| it.counts.failures).sum::<u64>(), 2, "both had their time");
}

#[tokio::test]
async fn hedges_end_with_their_budget_and_without_a_second_endpoint() {
    let (slow, quick) = (HeldEndpoint::new("slow").await, HeldEndpoint::new("quick").await);
    let both = fixture(&[&slow, &quick], policy(SOON, 1));
    quick.go.add_permits(99);
    let mut client = both.client().await;
    // Ten may be saved up; each takes one, and a hundredth is earned.
    until_first_asked(&both, &slow, &mut client).await;
    assert_eq!((both.traffic().hedges, both.traffic().hedges_won), (10, 10));

    let alone = fixture(&[&slow], policy(SOON, 100));
    let mut client = alone.client().await;
    let before = slow.requests();
    let answer = async {
        until(|| slow.requests() > before).await;
        slow.go.add_permits(1);
    };
    let (answered, ()) = tokio::join!(client.get("/"), answer);
    assert_eq!((answered.unwrap().body().as_ref(), alone.traffic().hedges), (&b"slow"[..], 0));
}

/// Asks until the slow endpoint is the only one that gets the request; then lets it answer.
async fn until_first_asked(fixture: &Fixture, slow: &HeldEndpoint, client: &mut Client) {
    for _ in 0..40 {
        let before = slow.requests();
        let spent = fixture.traffic().hedges == 10;
        let release = async {
            if spent {
                until(|| slow.requests() > before || fixture.traffic().counts.latency.count() > 0).await;
                slow.go.add_permits(1);
            }
        };
        let (answered, ()) = tokio::join!(client.get("/"), release);
        if answered.unwrap().body() == "slow" {
            return;
        }
    }
    panic!("the budget did not end");
}

#[tokio::test]
async fn a_hedge_delay_by_percentile_is_learned_and_applies_to_http2_too() {
    let slow = Arc::new(AtomicU32::new(0));
    let (mine, left) = (Arc::clone(&slow), Arc::<AtomicU32>::default());
    let leaving = Arc::clone(&left);
    let sometimes = Backend::http2(100, move |_request| {
        let (slow, left) = (Arc::clone(&mine), Arc::clone(&leaving));
        async move {
            if slow.load(SeqCst) > 0 {
                let _waiting = WaitingRequest(left, false);
                std::future::pending::<()>().await;
            }
            Response::new(Full::new(Bytes::from_static(b"sometimes")))
        }
    })
    .await;
    let always =
        Backend::http2(100, |_request| async { Response::new(Full::new(Bytes::from_static(b"always"))) })
            .await;
    let fixture = Fixture::with(&[sometimes.address, always.address], |config, route| {
        config.workers = NonZeroUsize::MIN;
        (route.balance, route.protocol) = (Balance::RoundRobin, Protocol::Http2);
        route.hedge = policy(HedgeAfter::Percentile(95), 10);
    });
    let mut client = fixture.client().await;
    for _ in 0..128 {
        client.get("/").await.unwrap();
    }
    slow.store(1, SeqCst);
    for _ in 0..4 {
        assert_eq!(client.get("/").await.unwrap().body(), "always");
    }
    until(|| left.load(SeqCst) >= 1).await;
    assert!(fixture.traffic().hedges_won >= 1);
}
