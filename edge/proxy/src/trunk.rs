//! One connection to an endpoint that speaks HTTP/2, shared by many requests at once.
//!
//! A trunk has a task of its own, because it has to be driven even while none of its requests is polled. Each request takes a [`Lane`] of it;
//! when the last one is dropped, the connection closes by itself. h2 is used directly, without hyper: only then does dropping a request reset
//! its stream at once, and can it be told whether the endpoint has looked at it. Source: RFC 9113.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, Connection, SendRequest};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::link::RESPONSE_HEAD_BYTES_MAX;
use crate::wire::{ConnectError, Wire};
use crate::worker::Worker;

mod head;
mod lane;
mod sending;
mod stream;

pub(crate) use lane::{Lane, OpenTrunk};
pub(crate) use stream::TunnelStream;

/// Requests at once on one trunk as long as another trunk may be opened, even if the endpoint allows more. RFC 9113, section 6.5.2, recommends to
/// allow no less; with more, one lost packet holds up too many.
const LANES_MAX: usize = 100;

/// Requests on one trunk before the endpoint has said how many it allows.
const LANES_UNTIL_TOLD: usize = 1;

/// Trunks from one worker to one endpoint: 800 requests at once, and more on the same ones if the endpoint allows them. Trunks that carry mostly
/// tunnels, which may last for hours, do not count.
const TRUNKS_MAX: usize = 8;

/// Bytes of a response that we hold until the client takes them.
///
/// The window of the whole connection is as large as can be, so that clients that do not read hold up nobody else: 100 of them make a trunk
/// hold 12.5 MiB, until they are disconnected after [`stream_idle`](crate::Timeouts::stream_idle).
const STREAM_WINDOW_BYTES: u32 = 128 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = (1 << 31) - 1;

/// Bytes of a request's body that wait for the endpoint to take them.
const SEND_BYTES_MAX: usize = 64 * 1024;

/// A connection of HTTP/2, from when it is first wanted.
#[derive(Debug)]
pub(crate) struct Trunk {
    state: RefCell<State>,
    /// Notified once, when it is open or has failed to open.
    settled: Notify,
    lanes: Cell<u32>,
    /// How many lanes have become tunnels.
    tunnels: Cell<u32>,
    /// Requests at once that the endpoint allows.
    lanes_allowed: Cell<usize>,
    /// Whether the endpoint's settings are known, or not waited for any longer.
    is_told: Cell<bool>,
    /// Notified whenever something may have come from the endpoint.
    heard: Notify,
    /// Whether it gets no new requests: one was not answered in time, and the connection may be the reason.
    is_retired: Cell<bool>,
    /// Since when it has been seen without requests.
    idle_since: Cell<Option<Instant>>,
}

#[derive(Debug)]
enum State {
    Opening,
    Open(SendRequest<Bytes>, Wire),
    Failed(Rc<ConnectError>),
}

impl Trunk {
    /// Begins to connect. Whoever uses it waits until it is [open](Self::opened).
    fn open(worker: &Worker, address: SocketAddr, timeout: Duration) -> Rc<Self> {
        let trunk = Rc::new(Self {
            state: RefCell::new(State::Opening),
            settled: Notify::new(),
            lanes: Cell::new(0),
            tunnels: Cell::new(0),
            lanes_allowed: Cell::new(usize::MAX),
            is_told: Cell::new(false),
            heard: Notify::new(),
            is_retired: Cell::new(false),
            idle_since: Cell::new(None),
        });
        worker.trunks.spawn_local(run(Rc::clone(&trunk), address, timeout));
        trunk
    }

    /// Whether it takes requests, or will: it is not closed, and the endpoint has not sent GOAWAY.
    fn is_open(&self) -> bool {
        !self.is_retired.get()
            && match &mut *self.state.borrow_mut() {
                State::Opening => true,
                State::Open(sender, _) => {
                    let ready = sender.poll_ready(&mut Context::from_waker(Waker::noop()));
                    !matches!(ready, Poll::Ready(Err(_)))
                }
                State::Failed(_) => false,
            }
    }

    /// Asks the system whether the endpoint has ended the connection, which the runtime may not have noticed yet.
    fn has_hung_up(&self) -> bool {
        matches!(&*self.state.borrow(), State::Open(_, wire) if wire.has_hung_up())
    }

    fn has_room(&self) -> bool {
        (self.lanes.get() as usize) < self.lanes_max()
    }

    /// Whether more than half of its lanes are tunnels.
    fn is_for_tunnels(&self) -> bool {
        self.tunnels.get() as usize * 2 > self.lanes_max()
    }

    /// Lanes that it has as long as another trunk may be opened.
    fn lanes_max(&self) -> usize {
        self.lanes_allowed.get().min(LANES_MAX)
    }

    fn is_established(&self) -> bool {
        matches!(&*self.state.borrow(), State::Open(..))
    }

    /// Waits until the settings of the endpoint have come, which are the first that it sends, or `is_enough` is met, or the trunk has ended; at
    /// most for `timeout`.
    ///
    /// An endpoint that allows one request at a time looks like one whose settings have not come: then the whole time passes.
    async fn told(&self, timeout: Duration, is_enough: impl Fn() -> bool) {
        let told = async {
            loop {
                let heard = self.heard.notified();
                if is_enough() || self.is_told.get() {
                    return;
                }
                heard.await;
            }
        };
        if tokio::time::timeout(timeout, told).await.is_err() {
            // What is known by now has to do, for later requests, too.
            self.is_told.set(true);
        }
    }

    /// Whether the settings of the endpoint are known and do not allow WebSockets.
    fn takes_no_tunnels(&self) -> bool {
        let takes = |sender: &SendRequest<Bytes>| sender.is_extended_connect_protocol_enabled();
        self.is_told.get() && matches!(&*self.state.borrow(), State::Open(sender, _) if !takes(sender))
    }

    fn settle(&self, state: State) {
        *self.state.borrow_mut() = state;
        self.settled.notify_waiters();
    }

    /// Waits until it is open, or has failed to open.
    async fn opened(&self) -> Result<(SendRequest<Bytes>, Wire), Rc<ConnectError>> {
        loop {
            let settled = self.settled.notified();
            match &*self.state.borrow() {
                State::Open(sender, wire) => return Ok((sender.clone(), wire.clone())),
                State::Failed(error) => return Err(Rc::clone(error)),
                State::Opening => {}
            }
            settled.await;
        }
    }
}

/// Connects, and drives the connection to its end.
async fn run(trunk: Rc<Trunk>, address: SocketAddr, timeout: Duration) {
    match establish(address, timeout).await {
        Err(error) => trunk.settle(State::Failed(Rc::new(error))),
        Ok((sender, wire, connection)) => {
            trunk.settle(State::Open(sender, wire));
            // From here on its users keep it alive; it ends with the last of them.
            let weak = Rc::downgrade(&trunk);
            drop(trunk);
            drive(connection, &weak).await;
        }
    }
}

type Established = (SendRequest<Bytes>, Wire, Connection<Wire, Bytes>);

async fn establish(address: SocketAddr, timeout: Duration) -> Result<Established, ConnectError> {
    let wire = Wire::connect(address, timeout).await?;
    let handshake = Builder::new()
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buffer_size(SEND_BYTES_MAX)
        .max_header_list_size(RESPONSE_HEAD_BYTES_MAX as u32)
        // Further requests wait in h2 for the endpoint's settings.
        .initial_max_send_streams(LANES_UNTIL_TOLD)
        .handshake(wire.clone())
        .await;
    let (sender, connection) = handshake.map_err(ConnectError::Preface)?;
    Ok((sender, wire, connection))
}

async fn drive(connection: Connection<Wire, Bytes>, trunk: &Weak<Trunk>) {
    let mut connection = pin!(connection);
    let ended = poll_fn(|cx| {
        let polled = connection.as_mut().poll(cx);
        if let Some(trunk) = trunk.upgrade() {
            let allowed = connection.max_concurrent_send_streams();
            trunk.lanes_allowed.set(allowed);
            let is_told = allowed != LANES_UNTIL_TOLD || polled.is_ready();
            trunk.is_told.set(trunk.is_told.get() || is_told);
            trunk.heard.notify_waiters();
        }
        polled
    });
    // Each of its requests gets an error of its own.
    if let Err(error) = ended.await {
        tracing::debug!(%error, "trunk broke");
    }
}

/// The trunks of one worker to one address of an endpoint.
#[derive(Debug, Default)]
pub(crate) struct Trunks(Vec<Rc<Trunk>>);

impl Trunks {
    /// A lane for a request: on the first trunk that has room, or else on a new one, or else on the one with the fewest lanes.
    ///
    /// With `is_careful`, for requests that must not be sent twice, the system is asked whether the trunk is still open.
    pub(crate) fn lane(
        &mut self,
        worker: &Worker,
        to: SocketAddr,
        timeout: Duration,
        is_careful: bool,
    ) -> Lane {
        self.0.retain(|trunk| trunk.is_open());
        loop {
            let roomy = self.0.iter().position(|trunk| trunk.has_room());
            let at = match roomy {
                Some(at) => at,
                None if self.0.iter().filter(|trunk| !trunk.is_for_tunnels()).count() < TRUNKS_MAX => {
                    self.0.push(Trunk::open(worker, to, timeout));
                    self.0.len() - 1
                }
                None => {
                    let lanes = self.0.iter().enumerate().map(|(at, trunk)| (trunk.lanes.get(), at));
                    lanes.min().map_or(0, |(_, at)| at)
                }
            };
            if !is_careful || !self.0[at].has_hung_up() {
                return Lane::take(&self.0[at]);
            }
            self.0.remove(at);
        }
    }

    /// Drops trunks that are no longer open, or have been idle for `keep`.
    pub(crate) fn sweep(&mut self, now: Instant, keep: Duration) {
        self.0.retain(|trunk| {
            let is_idle = trunk.lanes.get() == 0 && trunk.is_established();
            let since = is_idle.then(|| trunk.idle_since.get().unwrap_or(now));
            trunk.idle_since.set(since);
            trunk.is_open() && since.is_none_or(|since| now.saturating_duration_since(since) < keep)
        });
    }

    /// Whether the endpoint is known to take no WebSockets.
    pub(crate) fn take_no_tunnels(&self) -> bool {
        self.0.iter().any(|trunk| trunk.is_open() && trunk.takes_no_tunnels())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A lane on a trunk that no other request shares, to an endpoint that has just stopped serving.
pub(crate) fn private_lane(worker: &Worker, to: SocketAddr, timeout: Duration) -> Lane {
    Lane::take(&Trunk::open(worker, to, timeout))
}
