//! Endpoints that answer far more slowly than the others are ejected.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use proxy::{Balance, Cause, Ejection, OutlierPolicy, SlowPolicy};
use tokio::task::JoinSet;

use crate::kit::*;

const WINDOW: Duration = Duration::from_millis(500);

/// The duration of the first ejection. The next is longer only if it begins within this time after the first, which takes a window or two, and
/// more of them on a busy machine.
const BASE: Duration = Duration::from_secs(2);

/// What a slow endpoint takes: far more than three times what the others take on a busy machine.
const SLOW_MS: u64 = 300;

/// Answers after so many milliseconds, which may change.
async fn host(delay_ms: Arc<AtomicU64>) -> Backend {
    Backend::http(move |_request| {
        let delay = Duration::from_millis(delay_ms.load(Ordering::Relaxed));
        async move {
            // tidy: slow on purpose
            tokio::time::sleep(delay).await;
            Response::new(Full::new(Bytes::from_static(b"done")))
        }
    })
    .await
}

struct Service {
    fixture: Fixture,
    delays: Vec<Arc<AtomicU64>>,
    _backends: Vec<Backend>,
}

/// Three endpoints under load that never ends.
async fn service(slow: Option<SlowPolicy>) -> (Service, JoinSet<()>) {
    let delays: Vec<Arc<AtomicU64>> = (0..3).map(|_| Arc::new(AtomicU64::new(2))).collect();
    let mut backends = Vec::new();
    for delay in &delays {
        backends.push(host(Arc::clone(delay)).await);
    }
    let addresses: Vec<_> = backends.iter().map(|backend| backend.address).collect();
    let fixture = Fixture::with(&addresses, |_, route| {
        route.balance = Balance::RoundRobin;
        route.outliers = OutlierPolicy { base: BASE, slow, ..OutlierPolicy::default() };
    });
    let mut clients = JoinSet::new();
    for _ in 0..6 {
        let mut client = fixture.client().await;
        clients.spawn(async move {
            while let Ok(answer) = client.get("/").await {
                assert_eq!(answer.status(), 200);
            }
        });
    }
    (Service { fixture, delays, _backends: backends }, clients)
}

const POLICY: SlowPolicy =
    SlowPolicy { percent: 300, at_least: Duration::from_millis(20), window: WINDOW, answers_min: 5 };

impl Service {
    fn ejected(&self, nth: usize) -> Option<Ejection> {
        self.fixture.traffic().endpoints[nth].ejection
    }

    fn answered(&self, nth: usize) -> u64 {
        self.fixture.traffic().endpoints[nth].counts.status[1]
    }
}

#[tokio::test]
async fn a_slow_endpoint_is_ejected_with_its_reason_comes_back_and_is_ejected_for_longer() {
    let (service, _clients) = service(Some(POLICY)).await;
    until(|| service.answered(1) > 50).await;
    service.delays[1].store(SLOW_MS, Ordering::Relaxed);
    until(|| service.ejected(1).is_some()).await;
    let first = service.ejected(1).unwrap();
    let Cause::Slow { median, others } = first.cause else { panic!("{first:?}") };
    assert!(median >= Duration::from_millis(SLOW_MS - 10) && others < median / 3, "{first:?}");
    assert!((0..3).filter(|&nth| service.ejected(nth).is_some()).count() == 1);
    // Nothing new goes there; the others go on.
    until(|| service.fixture.table.in_flight(SERVICE, id(1)) == 0).await;
    let (left_out, other) = (service.answered(1), service.answered(0));
    until(|| service.answered(0) > other + 20).await;
    if service.ejected(1).is_some_and(|it| it.times == 1) {
        assert_eq!(service.answered(1), left_out);
    }
    until(|| service.ejected(1).is_some_and(|it| it.times == 2)).await;
    let second = service.ejected(1).unwrap();
    assert!(second.ago + second.left > first.ago + first.left, "{first:?} {second:?}");
    // Once it is well, it stays.
    service.delays[1].store(2, Ordering::Relaxed);
    until(|| service.ejected(1).is_none()).await;
    let answered = service.answered(1);
    until(|| service.answered(1) > answered + 100).await;
}

#[tokio::test]
async fn endpoints_that_are_all_slow_are_not_ejected_nor_without_a_policy() {
    for (policy, delays) in [(Some(POLICY), [60, 60, 60]), (None, [2, 100, 2])] {
        let (service, _clients) = service(policy).await;
        service.delays.iter().zip(delays).for_each(|(delay, ms)| delay.store(ms, Ordering::Relaxed));
        let begun = tokio::time::Instant::now();
        until(|| begun.elapsed() > WINDOW * 3 && service.answered(1) > 10).await;
        assert!((0..3).all(|nth| service.ejected(nth).is_none()));
    }
}
