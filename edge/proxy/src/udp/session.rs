//! A UDP session: datagrams between an address of a client and one endpoint.

use std::cell::{Cell, Ref, RefCell};
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::StatusCode;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::UdpSocket;
use tokio::time::Instant;

use super::Sessions;
use super::socket::SessionKey;
use crate::admission::InFlightPermit;
use crate::endpoint::InFlight;
use crate::route::EndpointState;
use crate::timer::{Stage, Timer};

/// How long a lingering session may be idle before it ends. Answers on one machine take far less.
const LINGER: Duration = Duration::from_secs(1);

/// Datagrams of a client that are queued while no endpoint is ready: enough for the beginning of a handshake.
const QUEUED_MAX: usize = 16;

/// Bytes of these datagrams: 16 MiB in all for the 1,024 sessions that may wait.
const QUEUED_BYTES_MAX: usize = 16 * 1024;

/// One session.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) key: SessionKey,
    destination: RefCell<Destination>,
    timer: Rc<Timer>,
    started: Instant,
    /// The time of the worker's last tick before it.
    last_activity: Cell<Instant>,
    /// Whether it ends once nothing was sent or received for [`LINGER`].
    is_lingering: Cell<bool>,
    is_ended: Cell<bool>,
    is_answered: Cell<bool>,
    /// Whether an endpoint was chosen for it before, even if that has failed.
    was_attempted: Cell<bool>,
    _permit: InFlightPermit,
}

/// Where its datagrams go.
#[derive(Debug)]
enum Destination {
    /// To the queue, while no endpoint is ready.
    Waiting(Vec<Box<[u8]>>),
    /// To an endpoint.
    Open(EndpointSocket),
}

/// The session's own socket to its endpoint, which distinguishes sessions by the port.
#[derive(Debug)]
pub(crate) struct EndpointSocket {
    udp: UdpSocket,
    pub(crate) in_flight: InFlight,
    since: Instant,
}

/// What happened to a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SendOutcome {
    /// It was sent, or is queued until an endpoint is ready.
    Sent,
    /// It was dropped: the system did not accept it, or the queue is full.
    Dropped,
    /// Nothing listens at its endpoint.
    Refused,
    /// It was not sent, because its endpoint no longer serves.
    EndpointGone,
}

impl EndpointSocket {
    /// Opens a socket to an endpoint, which need not exist.
    pub(crate) fn open(in_flight: InFlight) -> io::Result<Self> {
        let address = in_flight.endpoint().address;
        let any: SocketAddr = match address {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = Socket::new(Domain::for_address(any), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
        socket.connect(&address.into())?;
        Ok(Self { udp: UdpSocket::from_std(socket.into())?, in_flight, since: Instant::now() })
    }

    /// Sends a datagram. On the same machine the system knows at once if nothing listens there.
    pub(crate) fn send(&self, datagram: &[u8]) -> SendOutcome {
        let socket = SockRef::from(&self.udp);
        let error = match socket.send(datagram) {
            Ok(_) => socket.take_error().ok().flatten(),
            Err(error) => Some(error),
        };
        match error.map(|error| error.kind()) {
            None => SendOutcome::Sent,
            Some(ErrorKind::ConnectionRefused) => SendOutcome::Refused,
            Some(_) => SendOutcome::Dropped,
        }
    }

    fn is_serving(&self) -> bool {
        self.in_flight.endpoint().state() == EndpointState::Serving
    }
}

impl Session {
    /// A session that goes to an endpoint, or waits for one.
    pub(crate) fn begin(
        sessions: &Sessions,
        key: SessionKey,
        permit: InFlightPermit,
        socket: Option<EndpointSocket>,
        was_attempted: Cell<bool>,
    ) -> Self {
        let timer = sessions.worker.timers.add(sessions.idle_timeout());
        let destination = socket.map_or_else(|| Destination::Waiting(Vec::new()), Destination::Open);
        Self {
            key,
            destination: RefCell::new(destination),
            timer,
            started: Instant::now(),
            last_activity: Cell::new(sessions.worker.timers.now()),
            is_lingering: Cell::new(false),
            is_ended: Cell::new(false),
            is_answered: Cell::new(false),
            was_attempted,
            _permit: permit,
        }
    }

    /// Sends a datagram of the client to the endpoint, or queues it while there is none.
    pub(crate) fn send(&self, sessions: &Sessions, datagram: &[u8]) -> SendOutcome {
        let sent = match &mut *self.destination.borrow_mut() {
            Destination::Waiting(queued) => return enqueue(queued, datagram),
            Destination::Open(socket) if !socket.is_serving() => return SendOutcome::EndpointGone,
            Destination::Open(socket) => socket.send(datagram),
        };
        match sent {
            SendOutcome::Sent => self.count_received(sessions, datagram.len()),
            SendOutcome::Refused => {
                if let Some(socket) = self.socket() {
                    sessions.record_failure(socket.in_flight.endpoint());
                }
            }
            SendOutcome::Dropped | SendOutcome::EndpointGone => {}
        }
        sent
    }

    fn count_received(&self, sessions: &Sessions, bytes: usize) {
        if let Some(socket) = self.socket() {
            let shard = &socket.in_flight.endpoint().shards[sessions.worker.index];
            shard.datagrams_in.add(1);
            shard.bytes_in.add(bytes as u64);
        }
        self.note_activity(sessions);
    }

    /// Restarts the idle timeout.
    fn note_activity(&self, sessions: &Sessions) {
        self.last_activity.set(sessions.worker.timers.now());
        self.timer.arm(Stage::Stream, if self.is_lingering.get() { LINGER } else { sessions.idle_timeout() });
    }

    /// Whether its endpoint no longer serves, so that the client's next datagram begins another session.
    pub(crate) fn has_lost_endpoint(&self) -> bool {
        self.socket().is_some_and(|socket| !socket.is_serving())
    }

    /// Lets the session end once it has been idle for [`LINGER`].
    pub(crate) fn linger(&self, sessions: &Sessions) {
        if !self.is_lingering.replace(true) {
            let quiet = sessions.worker.timers.now().saturating_duration_since(self.last_activity.get());
            self.timer.arm(Stage::Stream, LINGER.saturating_sub(quiet));
        }
    }

    /// Ends it now.
    pub(crate) fn end(&self) {
        self.is_ended.set(true);
        self.timer.wake();
    }

    fn socket(&self) -> Option<Ref<'_, EndpointSocket>> {
        Ref::filter_map(self.destination.borrow(), |destination| match destination {
            Destination::Open(socket) => Some(socket),
            Destination::Waiting(_) => None,
        })
        .ok()
    }

    /// Passes answers back until the session ends.
    pub(crate) async fn run(&self, sessions: &Sessions) {
        let mut relay = pin!(self.relay(sessions));
        poll_fn(|cx| {
            self.timer.register(cx);
            if self.is_ended.get() { Poll::Ready(()) } else { relay.as_mut().poll(cx) }
        })
        .await;
        sessions.shard().datagrams_dropped.add(self.take_queued().len() as u64);
    }

    async fn relay(&self, sessions: &Sessions) {
        if self.socket().is_none() && !self.find_endpoint(sessions).await {
            return;
        }
        poll_fn(|cx| {
            if sessions.is_ending() {
                self.linger(sessions);
            }
            if self.timer.is_expired() { Poll::Ready(()) } else { self.poll_answers(sessions, cx) }
        })
        .await;
    }

    /// Waits for an endpoint, and sends it what is queued; `false` when none became ready in time.
    async fn find_endpoint(&self, sessions: &Sessions) -> bool {
        self.timer.disarm();
        let Some(first) = self.first_queued() else { return false };
        let Some(socket) = sessions.wait_for_endpoint(&self.key, &first, &self.was_attempted).await else {
            return false;
        };
        let queued = self.take_queued();
        self.destination.replace(Destination::Open(socket));
        self.note_activity(sessions);
        // The first datagram was sent already.
        let lost = queued
            .iter()
            .skip(1)
            .filter(|datagram| self.send(sessions, datagram) != SendOutcome::Sent)
            .count();
        sessions.shard().datagrams_dropped.add(lost as u64);
        true
    }

    fn first_queued(&self) -> Option<Box<[u8]>> {
        match &*self.destination.borrow() {
            Destination::Waiting(queued) => queued.first().cloned(),
            Destination::Open(_) => None,
        }
    }

    fn take_queued(&self) -> Vec<Box<[u8]>> {
        match &mut *self.destination.borrow_mut() {
            Destination::Waiting(queued) => std::mem::take(queued),
            Destination::Open(_) => Vec::new(),
        }
    }

    /// Passes on answers; ready when the endpoint is gone.
    fn poll_answers(&self, sessions: &Sessions, cx: &mut Context<'_>) -> Poll<()> {
        let Some(socket) = self.socket() else { return Poll::Ready(()) };
        let buffer = &mut *sessions.buffer.borrow_mut();
        loop {
            if ready!(socket.udp.poll_recv_ready(cx)).is_err() {
                return Poll::Ready(());
            }
            match socket.udp.try_recv(buffer) {
                Ok(size) => self.answer(sessions, &socket.in_flight, &buffer[..size]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => {
                    let endpoint = socket.in_flight.endpoint();
                    tracing::debug!(service = %sessions.local.service.name, endpoint = %endpoint.id, %error, "session_broken");
                    sessions.record_failure(endpoint);
                    return Poll::Ready(());
                }
            }
        }
    }

    fn answer(&self, sessions: &Sessions, in_flight: &InFlight, datagram: &[u8]) {
        let endpoint = in_flight.endpoint();
        if !self.is_answered.replace(true) {
            sessions.succeeded(endpoint);
        }
        let bytes = datagram.len() as u64;
        for shard in [&endpoint.shards[sessions.worker.index], sessions.shard()] {
            shard.datagrams_out.add(1);
            shard.bytes_out.add(bytes);
        }
        if sessions.socket.send(datagram, &self.key).is_err() {
            sessions.shard().datagrams_dropped.add(1);
        }
        self.note_activity(sessions);
    }

    /// Counts the session at its end.
    pub(crate) fn close(&self, sessions: &Sessions) {
        sessions.worker.timers.remove(&self.timer);
        let status = match self.socket() {
            Some(socket) => {
                let shard = &socket.in_flight.endpoint().shards[sessions.worker.index];
                shard.answered(StatusCode::OK.as_u16(), socket.since.elapsed());
                StatusCode::OK
            }
            None => StatusCode::SERVICE_UNAVAILABLE,
        };
        sessions.shard().answered(status.as_u16(), self.started.elapsed());
    }
}

fn enqueue(queued: &mut Vec<Box<[u8]>>, datagram: &[u8]) -> SendOutcome {
    let bytes: usize = queued.iter().map(|datagram| datagram.len()).sum();
    if queued.len() >= QUEUED_MAX || bytes + datagram.len() > QUEUED_BYTES_MAX {
        return SendOutcome::Dropped;
    }
    queued.push(datagram.into());
    SendOutcome::Sent
}
