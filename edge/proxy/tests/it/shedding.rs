//! Load shedding: an overloaded service gets as many requests as it can handle, and the others are answered 503 at once.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex};

use proxy::{AdaptivePolicy, Limits};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;

use crate::kit::*;
use crate::upgrading::{UPGRADE, echo};

/// More than the limit is at first, so that requests are refused from the beginning.
const CLIENTS: usize = 32;

/// A service that answers one request at a time, and its clients, each of which sends the next request once the last one was answered.
///
/// It proceeds in rounds: the request that has waited longest is answered, and one of the clients that were refused tries again. A round ends
/// when every client has a request at the service or was refused. So how many requests wait, and how long in rounds, does not depend on the
/// speed of the machine, and all rounds are the same amount of work.
#[derive(Default)]
struct Rounds {
    /// What answers the requests at the service, in the order in which they came.
    waiting: Mutex<VecDeque<oneshot::Sender<()>>>,
    /// Clients that were refused and have not tried again.
    refused: AtomicUsize,
    /// Answers with 503.
    refusals: AtomicU64,
    /// Notified when a request has come to the service, or was refused.
    changed: Notify,
    /// Lets one refused client try again.
    retry: Notify,
}

impl Rounds {
    async fn service(self: Arc<Self>) -> Backend {
        Backend::http(move |_request| {
            let (turn, answered) = oneshot::channel();
            self.waiting.lock().unwrap().push_back(turn);
            self.changed.notify_one();
            async move {
                answered.await.expect("each request is answered in its turn");
                empty(204)
            }
        })
        .await
    }

    async fn client(self: Arc<Self>, mut client: Client) {
        loop {
            match client.get("/").await.unwrap().status().as_u16() {
                204 => {}
                503 => {
                    self.refusals.fetch_add(1, SeqCst);
                    self.refused.fetch_add(1, SeqCst);
                    self.changed.notify_one();
                    self.retry.notified().await;
                }
                other => panic!("status {other}"),
            }
        }
    }

    /// Waits until every client has a request at the service or was refused; returns how many requests wait there.
    async fn settled(&self) -> usize {
        within(async {
            loop {
                let (waiting, refused) = (self.waiting.lock().unwrap().len(), self.refused.load(SeqCst));
                if waiting + refused == CLIENTS {
                    return waiting;
                }
                self.changed.notified().await;
            }
        })
        .await
    }

    /// Begins a round.
    fn answer_one(&self) {
        let first = self.waiting.lock().unwrap().pop_front();
        if self.refused.load(SeqCst) > 0 {
            self.refused.fetch_sub(1, SeqCst);
            self.retry.notify_one();
        }
        first.expect("the service is never idle").send(()).expect("its client waits for the answer");
    }

    /// Plays so many rounds; returns how many requests were at the service in the median of them.
    async fn play(&self, rounds: usize) -> usize {
        let mut waiting = Vec::new();
        for _ in 0..rounds {
            self.answer_one();
            waiting.push(self.settled().await);
        }
        waiting.sort_unstable();
        waiting[rounds / 2]
    }
}

/// A flood of requests that has begun.
struct Flood {
    rounds: Arc<Rounds>,
    fixture: Fixture,
    _backend: Backend,
    _clients: JoinSet<()>,
}

async fn flood(adaptive: Option<AdaptivePolicy>) -> Flood {
    let rounds = Arc::new(Rounds::default());
    let backend = Arc::clone(&rounds).service().await;
    let fixture = Fixture::with(&[backend.address], |_, route| {
        route.limits = Limits { adaptive, ..Limits::default() };
    });
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(Arc::clone(&rounds).client(fixture.client().await));
    }
    rounds.settled().await;
    Flood { rounds, fixture, _backend: backend, _clients: clients }
}

#[tokio::test]
async fn under_overload_few_requests_wait_at_the_service_and_it_is_never_idle() {
    let shed = flood(Some(AdaptivePolicy::default())).await;
    // The limit begins above this, and has to be found.
    within(async { while shed.rounds.play(300).await > CLIENTS / 2 {} }).await;
    let traffic = shed.fixture.traffic();
    assert_eq!(traffic.shed, shed.rounds.refusals.load(SeqCst));
    assert_eq!((traffic.over_limit, traffic.unavailable), (0, 0), "they are counted as what they are");

    let unlimited = flood(None).await;
    assert_eq!(unlimited.rounds.play(50).await, CLIENTS);
    let traffic = unlimited.fixture.traffic();
    assert_eq!((unlimited.rounds.refusals.load(SeqCst), traffic.shed, traffic.adaptive), (0, 0, None));
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
