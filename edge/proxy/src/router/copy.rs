//! Mirrors requests: copies go to services whose answers are discarded.
//!
//! A copy is sent by a task of its own once the request itself is answered, so that it can neither delay nor fail it. It is tried once.

use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use balance::Tried;
use bytes::Bytes;
use tokio::time::Instant;

use crate::body::RequestBody;
use crate::endpoint::Endpoint;
use crate::head::Head;
use crate::local::LocalService;
use crate::route::Protocol;
use crate::service::EndpointPort;
use crate::timer::Timer;
use crate::traffic::RouteShard;
use crate::upstream::Http1Connection;
use crate::upstream::{ReadyUpstream, Upstream, UpstreamBody};
use crate::worker::Worker;

/// Copies that a worker sends at once; further ones are left out.
///
/// Each holds one connection, one descriptor and up to 64 KiB of a body: 64 hold 4 MiB. A service that answers in 10 ms gets 6,400
/// copies a second from each worker.
const COPIES_MAX: usize = 64;

/// How long a copy may take as a whole: longer than most requests take, and short enough that hanging ones soon make room.
const COPY_TIME: Duration = Duration::from_secs(10);

/// Bytes of an answer that are read so that its connection can be reused. After a longer one the connection is closed.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// The copies that a request is to be sent in.
#[derive(Debug)]
pub(crate) struct Copies {
    worker: Rc<Worker>,
    shards: Arc<[RouteShard]>,
    services: Vec<Addressee>,
}

/// A service that a request goes to, and its port; `None` for the main one.
#[derive(Debug, Clone)]
pub(super) struct Addressee {
    pub(super) service: Rc<LocalService>,
    pub(super) port: Option<Arc<str>>,
}

impl Copies {
    pub(super) fn new(worker: Rc<Worker>, shards: Arc<[RouteShard]>, services: Vec<Addressee>) -> Self {
        Self { worker, shards, services }
    }

    /// Sends each of them, unless the request cannot be repeated or too many copies are under way.
    pub(crate) fn send(self, request: impl Fn() -> Option<(Head, RequestBody)>) {
        let shard = &self.shards[self.worker.index];
        for service in self.services {
            if request().is_some_and(|request| send(&self.worker, service, request)) {
                shard.copies.add(1);
            } else {
                shard.copies_left_out.add(1);
            }
        }
    }
}

/// Begins to send a copy; `false` when too many are under way already.
fn send(worker: &Rc<Worker>, to: Addressee, request: (Head, RequestBody)) -> bool {
    if worker.copies.len() >= COPIES_MAX {
        return false;
    }
    let owner = Rc::clone(worker);
    // The counters of its endpoint tell how it ends.
    worker.copies.spawn_local(async move { deliver(&owner, &to, request).await });
    true
}

async fn deliver(worker: &Worker, to: &Addressee, (head, body): (Head, RequestBody)) {
    let Addressee { service, port } = to;
    let started = Instant::now();
    let now = service.service.clock.at(started);
    // Copies have no client: where clients stick to an endpoint, copies are spread by the time.
    let Ok(in_flight) = service.choose(&Tried::NONE, port.as_deref(), || now.as_nanos() as u64, now) else {
        return;
    };
    let shard = &in_flight.endpoint().shards[worker.index];
    shard.requests.add(1);
    let endpoint = in_flight.endpoint();
    let Some(ready) = ready_upstream(worker, to, endpoint).await else {
        shard.connect_failures.add(1);
        return;
    };
    let watch = Watch::begin(worker);
    let delivered = tokio::time::timeout(COPY_TIME, async {
        let (answer, mut upstream) = ready.send(&head, body, &watch.timer, worker).await.ok()?;
        let read = read_through(answer.body, &mut upstream).await;
        Some((answer.status, read, upstream))
    });
    let Ok(Some((status, read, upstream))) = delivered.await else {
        shard.failures.add(1);
        return;
    };
    shard.answered(status.as_u16(), started.elapsed());
    shard.bytes_out.add(read);
    if let Upstream::Http1(connection) = upstream
        && connection.is_reusable()
    {
        service.put_idle(endpoint, connection, worker.timers.now());
    }
}

/// A connection to the endpoint.
async fn ready_upstream(worker: &Worker, to: &Addressee, endpoint: &Arc<Endpoint>) -> Option<ReadyUpstream> {
    let Addressee { service, port } = to;
    let snapshot = service.snapshot();
    let EndpointPort { address, protocol } = snapshot.port_of(endpoint, port.as_deref())?;
    match protocol {
        Protocol::Http1 | Protocol::Tcp | Protocol::Udp => {
            let kept = service.take_idle(endpoint, address, None);
            let connection = match kept
                .filter(|connection| connection.is_reusable() && !connection.has_unexpected_input())
            {
                Some(connection) => connection,
                None => {
                    let proxy_header = snapshot.proxy_header(None);
                    Http1Connection::connect(address, snapshot.timeouts.connect, proxy_header).await.ok()?
                }
            };
            Some(ReadyUpstream::Http1(connection))
        }
        Protocol::Http2 => {
            let stream = service.take_stream(worker, endpoint, address, true);
            let sender = stream.opened().await.ok()?;
            Some(ReadyUpstream::Http2(stream, sender))
        }
    }
}

/// A timer that limits nothing, since a copy as a whole has a time limit; removed when dropped.
struct Watch<'w> {
    worker: &'w Worker,
    timer: Rc<Timer>,
}

impl<'w> Watch<'w> {
    fn begin(worker: &'w Worker) -> Self {
        let timer = worker.timers.add(COPY_TIME);
        timer.disarm();
        Self { worker, timer }
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.worker.timers.remove(&self.timer);
    }
}

/// Reads and discards an answer; returns how many bytes it had.
async fn read_through(mut body: UpstreamBody, upstream: &mut Upstream) -> u64 {
    let mut read = 0;
    std::future::poll_fn(|cx| poll_through(&mut body, upstream, &mut read, cx)).await;
    // The connection is reusable only once it has noticed the end.
    upstream.drive(&mut Context::from_waker(std::task::Waker::noop()));
    read
}

fn poll_through(
    body: &mut UpstreamBody,
    upstream: &mut Upstream,
    read: &mut u64,
    cx: &mut Context<'_>,
) -> Poll<()> {
    while *read <= ANSWER_BYTES_MAX && !body.is_end_stream() {
        upstream.drive(cx);
        let Some(Ok(frame)) = ready!(body.poll_frame(Some(upstream), cx)) else { break };
        *read += frame.data_ref().map_or(0, Bytes::len) as u64;
    }
    Poll::Ready(())
}
