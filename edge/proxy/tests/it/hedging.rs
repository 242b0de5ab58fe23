//! Hedging: what takes long is asked of a second endpoint, too, and the first answer counts.

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

/// An endpoint that answers with its name once it is let go, and counts whom it got and who left it unanswered.
struct Held {
    backend: Backend,
    got: Arc<AtomicU32>,
    left: Arc<AtomicU32>,
    go: Arc<Semaphore>,
}

/// Counts one who leaves without an answer.
struct Waiting(Arc<AtomicU32>, bool);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_add(u32::from(!self.1), SeqCst);
    }
}

impl Held {
    async fn new(name: &'static str) -> Self {
        let (got, left, go) =
            (Arc::<AtomicU32>::default(), Arc::<AtomicU32>::default(), Arc::new(Semaphore::new(0)));
        let mine = (Arc::clone(&got), Arc::clone(&left), Arc::clone(&go));
        let backend = Backend::http(move |_request| {
            let (got, left, go) = mine.clone();
            async move {
                got.fetch_add(1, SeqCst);
                let mut waiting = Waiting(left, false);
                go.acquire().await.unwrap().forget();
                waiting.1 = true;
                Response::new(Full::new(Bytes::from_static(name.as_bytes())))
            }
        })
        .await;
        Self { backend, got, left, go }
    }

    fn got(&self) -> u32 {
        self.got.load(SeqCst)
    }
}

fn policy(after: HedgeAfter, budget_percent: u8) -> Option<HedgePolicy> {
    Some(HedgePolicy { after, budget_percent })
}

/// After this time nobody has answered yet whom the tests hold back.
const SOON: HedgeAfter = HedgeAfter::Fixed(Duration::from_millis(5));

/// In turn, so that the first endpoint is asked first.
fn stand(endpoints: &[&Held], hedge: Option<HedgePolicy>) -> Stand {
    let addresses: Vec<_> = endpoints.iter().map(|held| held.backend.address).collect();
    Stand::with(&addresses, |config, route| {
        config.workers = NonZeroUsize::MIN;
        (route.balance, route.hedge) = (Balance::RoundRobin, hedge);
    })
}

#[tokio::test]
async fn the_second_endpoint_answers_for_the_first_which_is_given_up() {
    let (slow, quick) = (Held::new("slow").await, Held::new("quick").await);
    let stand = stand(&[&slow, &quick], policy(SOON, 10));
    quick.go.add_permits(1);
    let mut client = stand.client().await;
    assert_eq!(client.get("/").await.unwrap().body(), "quick");
    until(|| slow.left.load(SeqCst) == 1).await;
    let traffic = stand.traffic();
    assert_eq!((traffic.hedges, traffic.hedges_won), (1, 1));
    assert_eq!(
        (traffic.counts.requests, traffic.counts.status),
        (1, [0, 1, 0, 0, 0]),
        "one request, one answer"
    );
    assert_eq!((traffic.counts.retries, traffic.errors()), (0, 0));
    assert_eq!([0, 1].map(|i| stand.table.in_flight(SERVICE, id(i))), [0, 0]);
    assert_eq!(traffic.endpoints[0].counts.failed_attempts(), 0, "being slower is no failure");

    // The client's connection goes on; and the turn of the second was taken, so the first is asked first again.
    quick.go.add_permits(1);
    assert_eq!(client.get("/").await.unwrap().body(), "quick");
    assert_eq!((slow.got(), quick.got()), (2, 2));
}

#[tokio::test]
async fn the_first_may_still_answer_first() {
    let (first, second) = (Held::new("first").await, Held::new("second").await);
    let stand = stand(&[&first, &second], policy(SOON, 10));
    let mut client = stand.client().await;
    let answer = async {
        until(|| second.got() == 1).await;
        first.go.add_permits(1);
    };
    let (answered, ()) = tokio::join!(client.get("/"), answer);
    assert_eq!(answered.unwrap().body(), "first");
    until(|| second.left.load(SeqCst) == 1).await;
    let traffic = stand.traffic();
    assert_eq!((traffic.hedges, traffic.hedges_won), (1, 0));
    assert_eq!(stand.table.in_flight(SERVICE, id(1)), 0);
}

#[tokio::test]
async fn only_what_nobody_acts_on_is_sent_twice() {
    for (method, body) in [("POST", "x"), ("POST", ""), ("DELETE", ""), ("PUT", "x"), ("GET", "x")] {
        let (slow, quick) = (Held::new("slow").await, Held::new("quick").await);
        let stand = stand(&[&slow, &quick], policy(HedgeAfter::Fixed(Duration::from_millis(1)), 100));
        quick.go.add_permits(9);
        let mut client = stand.client().await;
        let asked = client.send(request(method, "/", body));
        let answer = async {
            until(|| slow.got() == 1).await;
            // While that waits, one that may be sent twice is: so there was time for the other, too.
            let mut other = stand.client().await;
            for _ in 0..3 {
                assert_eq!(other.get("/").await.unwrap().body(), "quick");
            }
            slow.go.add_permits(9);
        };
        let (answered, ()) = tokio::join!(asked, answer);
        assert_eq!(answered.unwrap().body(), "slow", "{method} {body:?}");
    }
}

#[tokio::test]
async fn one_that_fails_leaves_it_to_the_other() {
    // The second refuses, so the first is waited for.
    let first = Held::new("first").await;
    let stand = Stand::with(&[first.backend.address, nobody()], |config, route| {
        config.workers = NonZeroUsize::MIN;
        (route.balance, route.hedge) = (Balance::RoundRobin, policy(SOON, 10));
    });
    let mut client = stand.client().await;
    let answer = async {
        until(|| stand.traffic().counts.connect_failures == 1).await;
        first.go.add_permits(1);
    };
    let (answered, ()) = tokio::join!(client.get("/"), answer);
    assert_eq!(answered.unwrap().body(), "first");

    // The first closes the connection while the second is at work.
    let second = Held::new("second").await;
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
    let stand = Stand::with(&[breaking.address, second.backend.address], |config, route| {
        config.workers = NonZeroUsize::MIN;
        (route.balance, route.hedge) = (Balance::RoundRobin, policy(SOON, 10));
    });
    let mut client = stand.client().await;
    let answer = async {
        until(|| second.got() == 1).await;
        close.add_permits(9);
        until(|| stand.traffic().counts.failures == 1).await;
        second.go.add_permits(1);
    };
    let (answered, ()) = tokio::join!(client.get("/"), answer);
    assert_eq!(answered.unwrap().body(), "second");
    assert_eq!((second.got(), stand.traffic().hedges_won), (1, 1));
}

#[tokio::test]
async fn an_error_of_the_second_is_not_the_answer_while_the_first_is_at_work() {
    let first = Held::new("first").await;
    let got = Arc::<AtomicU32>::default();
    let seen = Arc::clone(&got);
    let failing = Backend::http(move |_request| {
        seen.fetch_add(1, SeqCst);
        async { empty(500) }
    })
    .await;
    let stand = Stand::with(&[first.backend.address, failing.address], |config, route| {
        config.workers = NonZeroUsize::MIN;
        (route.balance, route.hedge) = (Balance::RoundRobin, policy(SOON, 10));
    });
    let mut client = stand.client().await;
    let answer = async {
        until(|| got.load(SeqCst) == 1).await;
        // The error is on its way, and goes past whoever is asked meanwhile.
        for _ in 0..3 {
            let mut other = Client::connect(failing.address).await;
            assert_eq!(other.get("/").await.unwrap().status(), 500);
        }
        first.go.add_permits(1);
    };
    let (answered, ()) = tokio::join!(client.get("/"), answer);
    assert_eq!(answered.unwrap().body(), "first");
    let traffic = stand.traffic();
    assert_eq!((traffic.hedges, traffic.hedges_won, traffic.errors()), (1, 0, 0));
}

#[tokio::test]
async fn when_both_are_too_late_the_answer_is_504() {
    let (one, two) = (Held::new("one").await, Held::new("two").await);
    let stand = Stand::with(&[one.backend.address, two.backend.address], |config, route| {
        config.workers = NonZeroUsize::MIN;
        (route.balance, route.hedge) = (Balance::RoundRobin, policy(SOON, 10));
        route.timeouts.response_head = Duration::from_millis(50);
        route.outliers = OutlierPolicy::default();
    });
    assert_eq!(stand.client().await.get("/").await.unwrap().status(), 504);
    until(|| one.left.load(SeqCst) + two.left.load(SeqCst) == 2).await;
    let traffic = stand.traffic();
    assert_eq!((traffic.hedges, traffic.hedges_won, traffic.errors()), (1, 0, 1));
    assert_eq!(traffic.endpoints.iter().map(|it| it.counts.failures).sum::<u64>(), 2, "both had their time");
}

#[tokio::test]
async fn hedges_end_with_their_budget_and_without_a_second_endpoint() {
    let (slow, quick) = (Held::new("slow").await, Held::new("quick").await);
    let both = stand(&[&slow, &quick], policy(SOON, 1));
    quick.go.add_permits(99);
    let mut client = both.client().await;
    // Ten may be saved up; each takes one, and a hundredth is earned.
    until_first_asked(&both, &slow, &mut client).await;
    assert_eq!((both.traffic().hedges, both.traffic().hedges_won), (10, 10));

    let alone = stand(&[&slow], policy(SOON, 100));
    let mut client = alone.client().await;
    let before = slow.got();
    let answer = async {
        until(|| slow.got() > before).await;
        slow.go.add_permits(1);
    };
    let (answered, ()) = tokio::join!(client.get("/"), answer);
    assert_eq!((answered.unwrap().body().as_ref(), alone.traffic().hedges), (&b"slow"[..], 0));
}

/// Asks until the slow endpoint is the only one that gets the request; then lets it answer.
async fn until_first_asked(stand: &Stand, slow: &Held, client: &mut Client) {
    for _ in 0..40 {
        let asked = slow.got();
        let spent = stand.traffic().hedges == 10;
        let release = async {
            if spent {
                until(|| slow.got() > asked || stand.traffic().counts.latency.count() > 0).await;
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
async fn a_percentile_is_found_from_the_answers_and_holds_over_http2_too() {
    let slow = Arc::new(AtomicU32::new(0));
    let (mine, left) = (Arc::clone(&slow), Arc::<AtomicU32>::default());
    let leaving = Arc::clone(&left);
    let sometimes = Backend::http2(100, move |_request| {
        let (slow, left) = (Arc::clone(&mine), Arc::clone(&leaving));
        async move {
            if slow.load(SeqCst) > 0 {
                let _waiting = Waiting(left, false);
                std::future::pending::<()>().await;
            }
            Response::new(Full::new(Bytes::from_static(b"sometimes")))
        }
    })
    .await;
    let always =
        Backend::http2(100, |_request| async { Response::new(Full::new(Bytes::from_static(b"always"))) })
            .await;
    let stand = Stand::with(&[sometimes.address, always.address], |config, route| {
        config.workers = NonZeroUsize::MIN;
        (route.balance, route.protocol) = (Balance::RoundRobin, Protocol::Http2);
        route.hedge = policy(HedgeAfter::Percentile(95), 10);
    });
    let mut client = stand.client().await;
    for _ in 0..128 {
        client.get("/").await.unwrap();
    }
    slow.store(1, SeqCst);
    for _ in 0..4 {
        assert_eq!(client.get("/").await.unwrap().body(), "always");
    }
    until(|| left.load(SeqCst) >= 1).await;
    assert!(stand.traffic().hedges_won >= 1);
}
