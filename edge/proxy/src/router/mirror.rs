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

/// Copies that a worker sends at once; further ones are skipped.
///
/// Each holds one connection, one descriptor and up to 64 KiB of a body: 64 hold 4 MiB. A service that answers in 10 ms gets 6,400
/// copies a second from each worker.
const COPIES_MAX: usize = 64;

/// The timeout of a copy: longer than most requests take, and short enough that hanging ones do not block others for long.
const COPY_TIME: Duration = Duration::from_secs(10);

/// Bytes of an answer that are read so that its connection can be reused. After a longer one the connection is closed.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// The copies of a request that are to be sent.
#[derive(Debug)]
pub(crate) struct Copies {
    worker: Rc<Worker>,
    shards: Arc<[RouteShard]>,
    services: Vec<Target>,
}

/// A service that a request goes to, and its port; `None` for the main one.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) service: Rc<LocalService>,
    pub(super) port: Option<Arc<str>>,
}

impl Copies {
    pub(super) fn new(worker: Rc<Worker>, shards: Arc<[RouteShard]>, services: Vec<Target>) -> Self {
        Self { worker, shards, services }
    }

    /// Sends each of them, unless the request cannot be repeated or too many copies are in progress.
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

/// Begins to send a copy; `false` when too many are in progress already.
fn send(worker: &Rc<Worker>, to: Target, request: (Head, RequestBody)) -> bool {
    if worker.copies.len() >= COPIES_MAX {
        return false;
    }
    let owner = Rc::clone(worker);
    // Its result is in the counters of its endpoint.
    worker.copies.spawn_local(async move { deliver(&owner, &to, request).await });
    true
}

async fn deliver(worker: &Worker, to: &Target, (head, body): (Head, RequestBody)) {
    let Target { service, port } = to;
    let started = Instant::now();
    let now = service.service.clock.at(started);
    // Copies have no client, so that consistent hashing spreads them by the time.
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
    let mirror_timer = MirrorTimer::begin(worker);
    let delivered = tokio::time::timeout(COPY_TIME, async {
        let (answer, mut upstream) = ready.send(&head, body, &mirror_timer.timer, worker).await.ok()?;
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
async fn ready_upstream(worker: &Worker, to: &Target, endpoint: &Arc<Endpoint>) -> Option<ReadyUpstream> {
    let Target { service, port } = to;
    let snapshot = service.snapshot();
    let EndpointPort { address, protocol } = snapshot.port_of(endpoint, port.as_deref())?;
    match protocol {
        Protocol::Http1 | Protocol::Tcp | Protocol::Udp => {
            let proxy_header = endpoint.proxy_header(None);
            let idle = service.take_idle(endpoint, address, proxy_header);
            let connection = match idle
                .filter(|connection| connection.is_reusable() && !connection.has_unexpected_input())
            {
                Some(connection) => connection,
                None => {
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

/// A disarmed timer, since a copy has a timeout of its own; removed on drop.
struct MirrorTimer<'w> {
    worker: &'w Worker,
    timer: Rc<Timer>,
}

impl<'w> MirrorTimer<'w> {
    fn begin(worker: &'w Worker) -> Self {
        let timer = worker.timers.add(COPY_TIME);
        timer.disarm();
        Self { worker, timer }
    }
}

impl Drop for MirrorTimer<'_> {
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
