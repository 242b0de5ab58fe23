//! A session of UDP: datagrams between an address of a client and one endpoint.

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
use super::socket::Caller;
use crate::admission::InFlightPermit;
use crate::endpoint::InFlight;
use crate::route::EndpointState;
use crate::timer::{Stage, Timer};

/// How long a session that was let go may be silent before it ends. Answers under way take far less on one machine.
const LINGER: Duration = Duration::from_secs(1);

/// Datagrams of a client that are kept while no endpoint is ready: enough for the beginning of a handshake.
const KEPT_MAX: usize = 16;

/// Bytes of these datagrams: 16 MiB in all for the 1,024 sessions that may wait.
const KEPT_BYTES_MAX: usize = 16 * 1024;

/// One session.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) caller: Caller,
    destination: RefCell<Destination>,
    timer: Rc<Timer>,
    began: Instant,
    /// When something passed last, as of the worker's ticks.
    passed: Cell<Instant>,
    is_let_go: Cell<bool>,
    is_over: Cell<bool>,
    is_answered: Cell<bool>,
    /// It has gone to an endpoint, be it in vain.
    was_attempted: Cell<bool>,
    _permit: InFlightPermit,
}

/// Where its datagrams go.
#[derive(Debug)]
enum Destination {
    /// Nowhere yet: no endpoint is ready.
    Waiting(Vec<Box<[u8]>>),
    /// To an endpoint.
    Open(EndpointSocket),
}

/// The session's own socket to its endpoint, which tells sessions apart by the port.
#[derive(Debug)]
pub(crate) struct EndpointSocket {
    udp: UdpSocket,
    pub(crate) in_flight: InFlight,
    since: Instant,
}

/// What became of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// It was sent, or is kept until an endpoint is ready.
    Yes,
    /// It was dropped: the system would not take it, or too many are kept already.
    Lost,
    /// Nothing listens at its endpoint.
    Refused,
    /// It was not sent: its endpoint no longer serves.
    Left,
}

impl EndpointSocket {
    /// Opens a socket to an endpoint, which need not be there.
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
    pub(crate) fn send(&self, datagram: &[u8]) -> Sent {
        let socket = SockRef::from(&self.udp);
        let error = match socket.send(datagram) {
            Ok(_) => socket.take_error().ok().flatten(),
            Err(error) => Some(error),
        };
        match error.map(|error| error.kind()) {
            None => Sent::Yes,
            Some(ErrorKind::ConnectionRefused) => Sent::Refused,
            Some(_) => Sent::Lost,
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
        caller: Caller,
        permit: InFlightPermit,
        socket: Option<EndpointSocket>,
        was_attempted: Cell<bool>,
    ) -> Self {
        let timer = sessions.worker.timers.add(sessions.idle());
        let destination = socket.map_or_else(|| Destination::Waiting(Vec::new()), Destination::Open);
        Self {
            caller,
            destination: RefCell::new(destination),
            timer,
            began: Instant::now(),
            passed: Cell::new(sessions.worker.timers.now()),
            is_let_go: Cell::new(false),
            is_over: Cell::new(false),
            is_answered: Cell::new(false),
            was_attempted,
            _permit: permit,
        }
    }

    /// Sends a datagram of the client to the endpoint, or keeps it while there is none.
    pub(crate) fn send(&self, sessions: &Sessions, datagram: &[u8]) -> Sent {
        let sent = match &mut *self.destination.borrow_mut() {
            Destination::Waiting(kept) => return keep(kept, datagram),
            Destination::Open(socket) if !socket.is_serving() => return Sent::Left,
            Destination::Open(socket) => socket.send(datagram),
        };
        match sent {
            Sent::Yes => self.counted_in(sessions, datagram.len()),
            Sent::Refused => {
                if let Some(socket) = self.socket() {
                    sessions.strike(socket.in_flight.endpoint());
                }
            }
            Sent::Lost | Sent::Left => {}
        }
        sent
    }

    fn counted_in(&self, sessions: &Sessions, bytes: usize) {
        if let Some(socket) = self.socket() {
            let shard = &socket.in_flight.endpoint().shards[sessions.worker.index];
            shard.datagrams_in.add(1);
            shard.bytes_in.add(bytes as u64);
        }
        self.went_on(sessions);
    }

    /// Notes that something has passed: the time limit restarts.
    fn went_on(&self, sessions: &Sessions) {
        self.passed.set(sessions.worker.timers.now());
        self.timer.arm(Stage::Stream, if self.is_let_go.get() { LINGER } else { sessions.idle() });
    }

    /// Whether its endpoint no longer serves, so that the client's next datagram belongs elsewhere.
    pub(crate) fn is_misplaced(&self) -> bool {
        self.socket().is_some_and(|socket| !socket.is_serving())
    }

    /// Lets it end once nothing has passed for [`LINGER`].
    pub(crate) fn let_go(&self, sessions: &Sessions) {
        if !self.is_let_go.replace(true) {
            let quiet = sessions.worker.timers.now().saturating_duration_since(self.passed.get());
            self.timer.arm(Stage::Stream, LINGER.saturating_sub(quiet));
        }
    }

    /// Ends it now.
    pub(crate) fn end(&self) {
        self.is_over.set(true);
        self.timer.wake();
    }

    fn socket(&self) -> Option<Ref<'_, EndpointSocket>> {
        Ref::filter_map(self.destination.borrow(), |destination| match destination {
            Destination::Open(socket) => Some(socket),
            Destination::Waiting(_) => None,
        })
        .ok()
    }

    /// Carries answers back until the session ends.
    pub(crate) async fn live(&self, sessions: &Sessions) {
        let mut relay = pin!(self.relay(sessions));
        poll_fn(|cx| {
            self.timer.register(cx);
            if self.is_over.get() { Poll::Ready(()) } else { relay.as_mut().poll(cx) }
        })
        .await;
        sessions.shard().datagrams_dropped.add(self.take_kept().len() as u64);
    }

    async fn relay(&self, sessions: &Sessions) {
        if self.socket().is_none() && !self.find_endpoint(sessions).await {
            return;
        }
        poll_fn(|cx| {
            if sessions.is_ending() {
                self.let_go(sessions);
            }
            if self.timer.is_expired() { Poll::Ready(()) } else { self.poll_answers(sessions, cx) }
        })
        .await;
    }

    /// Waits for an endpoint, and sends it what was kept; `false` when none became ready in time.
    async fn find_endpoint(&self, sessions: &Sessions) -> bool {
        self.timer.disarm();
        let Some(first) = self.first_kept() else { return false };
        let Some(socket) = sessions.wait_for_endpoint(&self.caller, &first, &self.was_attempted).await else {
            return false;
        };
        let kept = self.take_kept();
        self.destination.replace(Destination::Open(socket));
        self.went_on(sessions);
        // The first was sent already.
        let lost = kept.iter().skip(1).filter(|datagram| self.send(sessions, datagram) != Sent::Yes).count();
        sessions.shard().datagrams_dropped.add(lost as u64);
        true
    }

    fn first_kept(&self) -> Option<Box<[u8]>> {
        match &*self.destination.borrow() {
            Destination::Waiting(kept) => kept.first().cloned(),
            Destination::Open(_) => None,
        }
    }

    fn take_kept(&self) -> Vec<Box<[u8]>> {
        match &mut *self.destination.borrow_mut() {
            Destination::Waiting(kept) => std::mem::take(kept),
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
                    sessions.strike(endpoint);
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
        if sessions.socket.give(datagram, &self.caller).is_err() {
            sessions.shard().datagrams_dropped.add(1);
        }
        self.went_on(sessions);
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
        sessions.shard().answered(status.as_u16(), self.began.elapsed());
    }
}

fn keep(kept: &mut Vec<Box<[u8]>>, datagram: &[u8]) -> Sent {
    let bytes: usize = kept.iter().map(|datagram| datagram.len()).sum();
    if kept.len() >= KEPT_MAX || bytes + datagram.len() > KEPT_BYTES_MAX {
        return Sent::Lost;
    }
    kept.push(datagram.into());
    Sent::Yes
}
