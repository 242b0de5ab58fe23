//! HTTP/2 connections to endpoints, each shared by many requests at once.
//!
//! A connection has a task of its own, because it has to be driven even while none of its requests is polled. Each request takes an
//! [`Http2Stream`] of it; the connection closes when the last one is dropped. h2 is used directly, without hyper: only then does dropping a
//! request reset its stream at once, and is it known whether the endpoint has processed the request. Source: RFC 9113.

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

use crate::upstream::http1::RESPONSE_HEAD_BYTES_MAX;
use crate::upstream::{ConnectError, SharedSocket};
use crate::worker::Worker;

mod body_sender;
mod head;
mod stream;
mod tunnel_stream;

pub(crate) use self::stream::{Http2Sender, Http2Stream};
pub(crate) use self::tunnel_stream::TunnelStream;

/// Concurrent requests on one connection as long as another connection may be opened, even if the endpoint allows more. RFC 9113, section
/// 6.5.2, recommends to allow no less; with more, one lost packet would delay too many.
const STREAMS_MAX: usize = 100;

/// Concurrent requests on one connection before the endpoint's settings are known.
const STREAMS_BEFORE_SETTINGS: usize = 1;

/// Connections from one worker to one endpoint: 800 requests at once, and more on the same ones if the endpoint allows them. Connections that
/// carry mostly tunnels, which may last for hours, do not count.
const CONNECTIONS_MAX: usize = 8;

/// The bytes of a response that are buffered until the client reads them.
///
/// The window of the whole connection is as large as possible, so that clients that do not read block no others: 100 of them make a
/// connection buffer 12.5 MiB, until they are disconnected after [`stream_idle`](crate::Timeouts::stream_idle).
const STREAM_WINDOW_BYTES: u32 = 128 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = (1 << 31) - 1;

/// The bytes of a request's body that are buffered until the endpoint reads them.
const SEND_BYTES_MAX: usize = 64 * 1024;

/// An HTTP/2 connection, from the moment it is first needed.
#[derive(Debug)]
pub(crate) struct Http2Connection {
    state: RefCell<State>,
    /// Notified once, when it is open or has failed to open.
    settled: Notify,
    streams: Cell<u32>,
    /// Streams that have become tunnels.
    tunnels: Cell<u32>,
    /// Concurrent requests that the endpoint allows.
    streams_allowed: Cell<usize>,
    /// Whether the endpoint's settings are known, or are not waited for any longer.
    has_settings: Cell<bool>,
    /// Notified whenever something may have been received from the endpoint.
    received: Notify,
    /// Whether it gets no new requests, because one was not answered in time and the connection may be the reason.
    is_retired: Cell<bool>,
    /// Since when [`sweep`](Http2Pool::sweep) has found it without requests.
    idle_since: Cell<Option<Instant>>,
}

#[derive(Debug)]
enum State {
    Opening,
    Open(SendRequest<Bytes>, SharedSocket),
    Failed(Rc<ConnectError>),
}

impl Http2Connection {
    /// Begins to connect. Its users wait until it is [open](Self::opened).
    fn open(worker: &Worker, address: SocketAddr, timeout: Duration) -> Rc<Self> {
        let connection = Rc::new(Self {
            state: RefCell::new(State::Opening),
            settled: Notify::new(),
            streams: Cell::new(0),
            tunnels: Cell::new(0),
            streams_allowed: Cell::new(usize::MAX),
            has_settings: Cell::new(false),
            received: Notify::new(),
            is_retired: Cell::new(false),
            idle_since: Cell::new(None),
        });
        worker.http2_connections.spawn_local(run(Rc::clone(&connection), address, timeout));
        connection
    }

    /// Whether it accepts requests, or will: it is not closed, and the endpoint has not sent GOAWAY.
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

    /// Asks the system whether the endpoint has closed the connection, which the runtime may not have noticed yet.
    fn is_closed_by_peer(&self) -> bool {
        matches!(&*self.state.borrow(), State::Open(_, socket) if socket.is_closed_by_peer())
    }

    fn accepts_stream(&self) -> bool {
        (self.streams.get() as usize) < self.streams_max()
    }

    /// Whether more than half of its streams are tunnels.
    fn is_mostly_tunnels(&self) -> bool {
        self.tunnels.get() as usize * 2 > self.streams_max()
    }

    /// Streams that it may have as long as another connection may be opened.
    fn streams_max(&self) -> usize {
        self.streams_allowed.get().min(STREAMS_MAX)
    }

    fn is_established(&self) -> bool {
        matches!(&*self.state.borrow(), State::Open(..))
    }

    /// Waits until the endpoint's SETTINGS, the first frame that it sends, were received, or `is_enough` holds, or the connection has ended;
    /// for at most `timeout`.
    ///
    /// An endpoint that allows one request at a time looks like one whose settings were not received: then the whole time passes.
    async fn wait_for_settings(&self, timeout: Duration, is_enough: impl Fn() -> bool) {
        let wait = async {
            loop {
                let received = self.received.notified();
                if is_enough() || self.has_settings.get() {
                    return;
                }
                received.await;
            }
        };
        if tokio::time::timeout(timeout, wait).await.is_err() {
            // Later requests do not wait again.
            self.has_settings.set(true);
        }
    }

    /// Whether the settings of the endpoint are known and do not allow WebSockets.
    fn refuses_websockets(&self) -> bool {
        let takes = |sender: &SendRequest<Bytes>| sender.is_extended_connect_protocol_enabled();
        self.has_settings.get() && matches!(&*self.state.borrow(), State::Open(sender, _) if !takes(sender))
    }

    fn settle(&self, state: State) {
        *self.state.borrow_mut() = state;
        self.settled.notify_waiters();
    }

    /// Waits until it is open, or has failed to open.
    async fn opened(&self) -> Result<(SendRequest<Bytes>, SharedSocket), Rc<ConnectError>> {
        loop {
            let settled = self.settled.notified();
            match &*self.state.borrow() {
                State::Open(sender, socket) => return Ok((sender.clone(), socket.clone())),
                State::Failed(error) => return Err(Rc::clone(error)),
                State::Opening => {}
            }
            settled.await;
        }
    }
}

/// Connects, and drives the connection to its end.
async fn run(connection: Rc<Http2Connection>, address: SocketAddr, timeout: Duration) {
    match establish(address, timeout).await {
        Err(error) => connection.settle(State::Failed(Rc::new(error))),
        Ok((sender, socket, driver)) => {
            connection.settle(State::Open(sender, socket));
            // From here on its users keep it alive; it ends with the last of them.
            let weak = Rc::downgrade(&connection);
            drop(connection);
            drive(driver, &weak).await;
        }
    }
}

type Established = (SendRequest<Bytes>, SharedSocket, Connection<SharedSocket, Bytes>);

async fn establish(address: SocketAddr, timeout: Duration) -> Result<Established, ConnectError> {
    let socket = SharedSocket::connect(address, timeout).await?;
    let handshake = Builder::new()
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buffer_size(SEND_BYTES_MAX)
        .max_header_list_size(RESPONSE_HEAD_BYTES_MAX as u32)
        // Further requests wait in h2 for the endpoint's settings.
        .initial_max_send_streams(STREAMS_BEFORE_SETTINGS)
        .handshake(socket.clone())
        .await;
    let (sender, driver) = handshake.map_err(ConnectError::Preface)?;
    Ok((sender, socket, driver))
}

async fn drive(driver: Connection<SharedSocket, Bytes>, connection: &Weak<Http2Connection>) {
    let mut driver = pin!(driver);
    let ended = poll_fn(|cx| {
        let polled = driver.as_mut().poll(cx);
        if let Some(connection) = connection.upgrade() {
            let allowed = driver.max_concurrent_send_streams();
            connection.streams_allowed.set(allowed);
            let has_settings = allowed != STREAMS_BEFORE_SETTINGS || polled.is_ready();
            connection.has_settings.set(connection.has_settings.get() || has_settings);
            connection.received.notify_waiters();
        }
        polled
    });
    // Each of its requests gets an error of its own.
    if let Err(error) = ended.await {
        tracing::debug!(%error, "upstream_connection_broken");
    }
}

/// The HTTP/2 connections of one worker to one address of an endpoint.
#[derive(Debug, Default)]
pub(crate) struct Http2Pool(Vec<Rc<Http2Connection>>);

impl Http2Pool {
    /// Reserves a stream for a request: on the first connection below its limit, else on a new one, else on the one with the fewest streams.
    ///
    /// With `checks_open`, for requests that must not be sent twice, the system is queried whether the connection is still open.
    pub(crate) fn stream(
        &mut self,
        worker: &Worker,
        to: SocketAddr,
        timeout: Duration,
        checks_open: bool,
    ) -> Http2Stream {
        self.0.retain(|connection| connection.is_open());
        loop {
            let accepting = self.0.iter().position(|connection| connection.accepts_stream());
            let at = match accepting {
                Some(at) => at,
                None if self.0.iter().filter(|connection| !connection.is_mostly_tunnels()).count()
                    < CONNECTIONS_MAX =>
                {
                    self.0.push(Http2Connection::open(worker, to, timeout));
                    self.0.len() - 1
                }
                None => {
                    let streams =
                        self.0.iter().enumerate().map(|(at, connection)| (connection.streams.get(), at));
                    streams.min().map_or(0, |(_, at)| at)
                }
            };
            if !checks_open || !self.0[at].is_closed_by_peer() {
                return Http2Stream::take(&self.0[at]);
            }
            self.0.remove(at);
        }
    }

    /// Drops connections that are no longer open, or have been idle for `keep`.
    pub(crate) fn sweep(&mut self, now: Instant, keep: Duration) {
        self.0.retain(|connection| {
            let is_idle = connection.streams.get() == 0 && connection.is_established();
            let since = is_idle.then(|| connection.idle_since.get().unwrap_or(now));
            connection.idle_since.set(since);
            connection.is_open() && since.is_none_or(|since| now.saturating_duration_since(since) < keep)
        });
    }

    /// Whether the endpoint is known to refuse WebSockets.
    pub(crate) fn refuses_websockets(&self) -> bool {
        self.0.iter().any(|connection| connection.is_open() && connection.refuses_websockets())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A stream on a connection that no other request shares, to an endpoint that has just stopped serving.
pub(crate) fn unpooled_stream(worker: &Worker, to: SocketAddr, timeout: Duration) -> Http2Stream {
    Http2Stream::take(&Http2Connection::open(worker, to, timeout))
}
