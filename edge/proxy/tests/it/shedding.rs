//! Load shedding: an overloaded service gets as many requests as it can handle, and the others are answered 503 at once.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use proxy::{AdaptivePolicy, Limits};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::kit::*;
use crate::upgrading::{UPGRADE, echo};

/// What a service that does one thing at a time has done.
#[derive(Default)]
struct Done {
    answers: AtomicUsize,
    /// Times when it could have done something and had nothing to do.
    idle: AtomicUsize,
}

/// Answers one request at each tick, in the order in which they came.
async fn one_at_a_time(tick: Duration) -> (Backend, Arc<Done>, JoinSet<()>) {
    let (sender, mut waiting) = mpsc::unbounded_channel::<oneshot::Sender<()>>();
    let (done, mut worker) = (Arc::new(Done::default()), JoinSet::new());
    let seen = Arc::clone(&done);
    worker.spawn(async move {
        let mut ticks = interval(tick);
        // When the machine stalls, so does the service: it does not catch up with a burst.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match waiting.try_recv() {
                Ok(turn) => {
                    seen.answers.fetch_add(1, SeqCst);
                    // One whose client has left costs as much as any.
                    let _ = turn.send(());
                }
                Err(_) => _ = seen.idle.fetch_add(1, SeqCst),
            }
        }
    });
    let backend = Backend::http(move |_request| {
        let (turn, my_turn) = oneshot::channel();
        sender.send(turn).expect("the worker is there");
        async move {
            my_turn.await.expect("the worker is there");
            empty(204)
        }
    })
    .await;
    (backend, done, worker)
}

/// The result of a flood of requests.
struct Flood {
    /// Of good answers.
    median: Duration,
    /// The share of its time in which the service had something to do.
    busy: f64,
    refused: usize,
    fixture: Fixture,
}

/// Many clients send requests to a service that processes one at a time, each client the next one after its answer.
async fn flood(adaptive: Option<AdaptivePolicy>) -> Flood {
    const CLIENTS: usize = 64;
    const ANSWERS: [usize; 2] = [1_500, 3_000];
    let tick = Duration::from_millis(2);
    let (backend, done, _worker) = one_at_a_time(tick).await;
    let fixture = Fixture::with(&[backend.address], |_, route| {
        route.limits = Limits { adaptive, ..Limits::default() };
    });
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (mut client, done) = (fixture.client().await, Arc::clone(&done));
        clients.spawn(async move {
            let mut again = interval(tick * 4);
            let (mut latencies, mut refused) = (Vec::new(), 0);
            while done.answers.load(SeqCst) < ANSWERS[1] {
                let is_counted = done.answers.load(SeqCst) >= ANSWERS[0];
                let begun = Instant::now();
                match client.get("/").await.unwrap().status().as_u16() {
                    204 if is_counted => latencies.push(begun.elapsed()),
                    204 => {}
                    503 => {
                        refused += usize::from(is_counted);
                        again.tick().await;
                    }
                    other => panic!("status {other}"),
                }
            }
            (latencies, refused)
        });
    }
    until(|| done.answers.load(SeqCst) >= ANSWERS[0]).await;
    let idle = done.idle.load(SeqCst);
    let (mut latencies, mut refused) = (Vec::new(), 0);
    while let Some(client) = within(clients.join_next()).await {
        let (some, not) = client.unwrap();
        latencies.extend(some);
        refused += not;
    }
    let idle = (done.idle.load(SeqCst) - idle) as f64;
    let answers = (ANSWERS[1] - ANSWERS[0]) as f64;
    latencies.sort_unstable();
    Flood { median: latencies[latencies.len() / 2], busy: answers / (answers + idle), refused, fixture }
}

#[tokio::test]
async fn under_overload_admitted_requests_are_faster_without_less_goodput() {
    let (shed, open) = tokio::join!(flood(Some(AdaptivePolicy::default())), flood(None));
    let limit = shed.fixture.traffic().adaptive.unwrap().limit;
    assert!(shed.median * 3 < open.median, "{:?} and {:?} at limit {limit}", shed.median, open.median);
    assert!(shed.busy > 0.6, "busy for {} of its time at limit {limit}", shed.busy);
    assert_eq!((open.refused, open.fixture.traffic().adaptive), (0, None));
    let traffic = shed.fixture.traffic();
    assert!(traffic.shed >= shed.refused as u64 && shed.refused > 0);
    assert_eq!((traffic.over_limit, traffic.unavailable), (0, 0), "they are counted as what they are");
}

/// One request at a time, whatever is measured.
fn single() -> Limits {
    let one = NonZeroU32::MIN;
    let adaptive = AdaptivePolicy { min: one, max: one, ..AdaptivePolicy::default() };
    Limits { adaptive: Some(adaptive), ..Limits::default() }
}

#[tokio::test]
async fn a_shed_permit_is_held_until_the_head_of_the_answer_and_not_by_a_tunnel() {
    let tunnels = echo().await;
    let fixture = Fixture::with(&[tunnels.address], |_, route| route.limits = single());
    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(fixture.address).await.unwrap();
        stream.write_all(UPGRADE.as_bytes()).await.unwrap();
        assert!(within(read_head(&mut stream)).await.starts_with("HTTP/1.1 101 "));
        streams.push(stream);
    }
    assert_eq!(fixture.table.in_flight(SERVICE, id(0)), 3);
    assert_eq!(fixture.traffic().adaptive.unwrap().awaiting, 0);
}

#[tokio::test]
async fn past_the_limit_the_answer_is_503_and_disconnected_clients_make_room() {
    let silent =
        Backend::http(|_request| std::future::pending::<hyper::Response<http_body_util::Empty<_>>>()).await;
    let fixture = Fixture::with(&[silent.address], |_, route| route.limits = single());
    let awaiting = || fixture.traffic().adaptive.unwrap().awaiting;
    let mut held = JoinSet::new();
    let mut client = fixture.client().await;
    held.spawn(async move { client.get("/").await.is_ok() });
    until(|| awaiting() == 1).await;
    let refused = fixture.client().await.get("/").await.unwrap();
    assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (503, &"1".parse().unwrap()));
    assert_eq!((fixture.traffic().shed, awaiting()), (1, 1));
    held.shutdown().await;
    until(|| awaiting() == 0).await;
}

#[tokio::test]
async fn an_adaptive_limit_is_kept_until_its_policy_changes() {
    let backend = Backend::named("shop").await;
    let mut fixture = Fixture::with(&[backend.address], |_, route| {
        route.limits.adaptive = Some(AdaptivePolicy::default());
    });
    let mut client = fixture.client().await;
    within(async {
        while fixture.traffic().adaptive.unwrap().best.is_none() {
            assert_eq!(client.get("/").await.unwrap().body(), "shop");
        }
    })
    .await;
    let best = fixture.traffic().adaptive.unwrap().best;
    fixture.route.waiting_max += 1;
    fixture.table.set_service(&fixture.route).unwrap();
    assert_eq!(fixture.traffic().adaptive.unwrap().best, best);

    fixture.route.limits.adaptive = None;
    fixture.table.set_service(&fixture.route).unwrap();
    assert_eq!(fixture.traffic().adaptive, None);
    assert_eq!(client.get("/").await.unwrap().body(), "shop");
    fixture.route.limits = single();
    fixture.table.set_service(&fixture.route).unwrap();
    assert_eq!(fixture.traffic().adaptive.map(|it| (it.limit, it.best)), Some((1, None)));
}
