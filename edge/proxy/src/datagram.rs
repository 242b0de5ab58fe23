//! UDP: the datagrams from one address of a client are a session, which goes to one endpoint as a connection would.
//!
//! A session counts as a request: it is balanced, limited, waited for and drained like one. It ends when nothing has passed for
//! [`client_idle`](crate::Timeouts::client_idle), or when its endpoint stops serving: the client's next datagram then begins another
//! session elsewhere. A datagram that its endpoint refuses begins another session as well. All others are sent once, or dropped and
//! counted, as usual for UDP.
//!
//! One worker carries all datagrams of a service: they arrive in one queue, which another process can take over whole, and the sessions
//! need no lock.

mod session;
mod socket;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use balance::{Tried, Unpicked};
use hyper::StatusCode;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::session::{EndpointSocket, Sent, Session};
pub(crate) use self::socket::bind;
use self::socket::{Caller, ServiceSocket};
use crate::admission::InFlightPermit;
use crate::conduit::CONNECT_LATENCY;
use crate::endpoint::Endpoint;
use crate::endpoint_wait::EndpointWait;
use crate::listener::SHORTAGE_PAUSE;
use crate::local::LocalService;
use crate::service::Service;
use crate::traffic::Shard;
use crate::tries::Tries;
use crate::worker::Worker;

/// Sessions at once over all services: anybody can begin one with a datagram, even from a forged address.
///
/// Each takes a descriptor and about 4 KiB, half of it in the kernel: 16,384 descriptors and 64 MiB. They have places of their own, so that a
/// flood of datagrams keeps no connection out.
pub(crate) const SESSIONS_MAX: usize = 16_384;

/// Bytes that a datagram may have. Source: RFC 768, whose length has 16 bits.
const DATAGRAM_BYTES_MAX: usize = 65_535;

/// Datagrams that are taken in one turn. At about 5 µs each, other tasks wait for a third of a millisecond.
const DATAGRAMS_PER_TURN: usize = 64;

/// The sessions of one service.
#[derive(Debug)]
struct Sessions {
    worker: Rc<Worker>,
    local: Rc<LocalService>,
    socket: ServiceSocket,
    /// Those that the next datagram of their client belongs to.
    by_caller: RefCell<HashMap<Caller, Rc<Session>>>,
    /// Holds one answer at a time.
    buffer: RefCell<Box<[u8]>>,
    idle: Cell<Duration>,
}

/// Serves all clients of a service, from when the proxy is open until the socket is given up.
pub(crate) async fn serve(
    worker: Rc<Worker>,
    socket: std::net::UdpSocket,
    stop: CancellationToken,
    service: Arc<Service>,
) {
    if !worker.until_open_or_stopped(&stop).await {
        return;
    }
    let socket = match ServiceSocket::watch(socket) {
        Ok(socket) => socket,
        Err(error) => {
            tracing::error!(service = %service.name, %error, "socket_not_watched");
            return;
        }
    };
    let sessions = Rc::new(Sessions {
        local: worker.local(&service),
        worker,
        socket,
        by_caller: RefCell::default(),
        buffer: RefCell::new(room_for_one()),
        idle: Cell::default(),
    });
    sessions.receive(&stop).await;
    if !sessions.worker.is_ending() {
        // The service was removed or has moved, and its address may be wanted at once.
        sessions.by_caller.take().values().for_each(|session| session.end());
    }
}

fn room_for_one() -> Box<[u8]> {
    vec![0; DATAGRAM_BYTES_MAX].into()
}

/// Why no endpoint was reached.
#[derive(Debug, Clone, Copy)]
enum ConnectFailure {
    /// No endpoint is ready besides those that were tried.
    Exhausted(Tried),
    /// There are as many sessions or descriptors as allowed.
    Full,
    /// Too many endpoints refused.
    Refused,
}

impl Sessions {
    async fn receive(self: &Rc<Self>, stop: &CancellationToken) {
        let mut buffer = room_for_one();
        let changed = || self.local.service.changed.notified();
        let mut change = pin!(changed());
        change.as_mut().enable();
        self.look_around();
        loop {
            // All of them are cancel safe.
            let ready = tokio::select! {
                biased;
                () = self.worker.until_stopping() => return,
                () = stop.cancelled() => return,
                () = change.as_mut() => {
                    change.set(changed());
                    // Registered before the look, so that no change in between is missed.
                    change.as_mut().enable();
                    self.look_around();
                    continue;
                }
                ready = self.socket.readable() => ready,
            };
            if let Err(error) = ready.and_then(|()| self.take_turn(&mut buffer)) {
                tracing::warn!(service = %self.local.service.name, %error, "datagram_not_taken");
                tokio::time::sleep(SHORTAGE_PAUSE).await;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Follows a change of the service: sessions whose endpoints no longer serve end once nothing passes in them.
    fn look_around(&self) {
        self.idle.set(self.local.snapshot().timeouts.client_idle);
        let misplaced = |_: &Caller, session: &mut Rc<Session>| session.is_misplaced();
        self.by_caller.borrow_mut().extract_if(misplaced).for_each(|(_, session)| session.let_go(self));
    }

    fn take_turn(self: &Rc<Self>, buffer: &mut [u8]) -> io::Result<()> {
        for _ in 0..DATAGRAMS_PER_TURN {
            match self.socket.take(buffer) {
                Ok((size, caller)) => self.pass(caller, &buffer[..size]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Sends a datagram in its session, or begins one with it.
    fn pass(self: &Rc<Self>, caller: Caller, datagram: &[u8]) {
        let shard = self.shard();
        shard.datagrams_in.add(1);
        shard.bytes_in.add(datagram.len() as u64);
        let known = self.by_caller.borrow().get(&caller).map(Rc::clone);
        let sent = match known {
            None => self.begin(caller, datagram),
            Some(session) => match session.send(self, datagram) {
                Sent::Refused | Sent::Left => {
                    self.forget(&session);
                    session.let_go(self);
                    self.begin(caller, datagram)
                }
                sent @ (Sent::Yes | Sent::Lost) => sent,
            },
        };
        if sent != Sent::Yes {
            shard.datagrams_dropped.add(1);
        }
    }

    /// Begins a session with its first datagram.
    fn begin(self: &Rc<Self>, caller: Caller, datagram: &[u8]) -> Sent {
        let service = &self.local.service;
        self.shard().requests.add(1);
        self.local.deposit(service.clock.now());
        let begun = Instant::now();
        let was_attempted = Cell::new(false);
        let session_permit =
            Arc::clone(&self.worker.shared.session_permits).try_acquire_owned().map_err(drop);
        let allowed = session_permit.and_then(|session_permit| {
            Ok((session_permit, InFlightPermit::take(service, &self.local.snapshot()).map_err(drop)?))
        });
        let reached = allowed.map_err(|()| ConnectFailure::Full).and_then(|allowed| {
            match self.connect(&caller, datagram, &was_attempted) {
                Ok((socket, sent)) => Ok((allowed, Some(socket), sent)),
                Err(ConnectFailure::Exhausted(_)) => Ok((allowed, None, Sent::Yes)),
                Err(failure @ (ConnectFailure::Full | ConnectFailure::Refused)) => Err(failure),
            }
        });
        match reached {
            Ok(((session_permit, permit), socket, sent)) => {
                let is_waiting = socket.is_none();
                let session = Rc::new(Session::begin(self, caller, permit, socket, was_attempted));
                self.spawn(&session, session_permit);
                if is_waiting { session.send(self, datagram) } else { sent }
            }
            Err(failure) => {
                if matches!(failure, ConnectFailure::Full) {
                    self.shard().over_limit.add(1);
                }
                self.shard().answered(StatusCode::SERVICE_UNAVAILABLE.as_u16(), begun.elapsed());
                Sent::Lost
            }
        }
    }

    fn spawn(self: &Rc<Self>, session: &Rc<Session>, session_permit: OwnedSemaphorePermit) {
        self.by_caller.borrow_mut().insert(session.caller, Rc::clone(session));
        let (sessions, session) = (Rc::clone(self), Rc::clone(session));
        self.worker.spawn_session(async move {
            session.live(&sessions).await;
            sessions.forget(&session);
            session.close(&sessions);
            drop(session_permit);
        });
    }

    /// Lets the client's next datagram begin another session.
    fn forget(&self, session: &Rc<Session>) {
        let mut by_caller = self.by_caller.borrow_mut();
        if by_caller.get(&session.caller).is_some_and(|known| Rc::ptr_eq(known, session)) {
            by_caller.remove(&session.caller);
        }
    }

    /// Sends the first datagram of a session to an endpoint, or to another one if that refuses it.
    fn connect(
        &self,
        caller: &Caller,
        datagram: &[u8],
        was_attempted: &Cell<bool>,
    ) -> Result<(EndpointSocket, Sent), ConnectFailure> {
        let service = &self.local.service;
        let mut tries = Tries::new(&self.local);
        // As for a connection: without the port, so that a client meets the same endpoint again.
        let key = || balance::hash_key(caller.client.ip().to_canonical().to_string().as_bytes());
        loop {
            let in_flight = match tries.next(key, was_attempted) {
                Ok(in_flight) => in_flight,
                Err(Unpicked::Full) => return Err(ConnectFailure::Full),
                Err(Unpicked::Exhausted) => return Err(ConnectFailure::Exhausted(tries.tried)),
            };
            let endpoint = Arc::clone(in_flight.endpoint());
            let shard = &endpoint.shards[self.worker.index];
            let socket = EndpointSocket::open(in_flight).map_err(|error| {
                tracing::debug!(service = %service.name, endpoint = %endpoint.id, %error, "session_not_begun");
                ConnectFailure::Full
            })?;
            shard.requests.add(1);
            match socket.send(datagram) {
                Sent::Refused => self.strike(&endpoint),
                sent @ (Sent::Yes | Sent::Lost | Sent::Left) => {
                    shard.datagrams_in.add(1);
                    shard.bytes_in.add(datagram.len() as u64);
                    return Ok((socket, sent));
                }
            }
            if !tries.may_go_on_after(&endpoint) {
                return Err(ConnectFailure::Refused);
            }
        }
    }

    /// Waits until an endpoint takes the first datagram of a session; `None` when none did in time.
    async fn wait_for_endpoint(
        &self,
        caller: &Caller,
        datagram: &[u8],
        was_attempted: &Cell<bool>,
    ) -> Option<EndpointSocket> {
        let mut wait = EndpointWait::new(self.local.snapshot().timeouts.endpoint);
        loop {
            let unavailable = match self.connect(caller, datagram, was_attempted) {
                Ok((socket, _)) => return Some(socket),
                Err(ConnectFailure::Exhausted(tried)) => {
                    wait.wait(&self.local, None, &self.worker.shared.endpoint_awaited, &tried).await.is_err()
                }
                Err(ConnectFailure::Full) => {
                    self.shard().over_limit.add(1);
                    return None;
                }
                Err(ConnectFailure::Refused) => return None,
            };
            if unavailable {
                self.shard().unavailable.add(1);
                return None;
            }
        }
    }

    /// Notes that an endpoint has answered.
    fn succeeded(&self, endpoint: &Endpoint) {
        endpoint.succeeded(self.local.service.clock.now(), CONNECT_LATENCY);
    }

    /// Notes that an endpoint has refused a datagram.
    fn strike(&self, endpoint: &Endpoint) {
        self.local.service.strike(endpoint, &self.local.snapshot().outliers, Duration::ZERO);
    }

    fn shard(&self) -> &Shard {
        &self.local.service.shards[self.worker.index]
    }

    /// How long a session may be silent before it ends.
    fn idle(&self) -> Duration {
        self.idle.get()
    }

    fn is_ending(&self) -> bool {
        self.local.service.is_closing() || self.worker.is_ending()
    }
}
