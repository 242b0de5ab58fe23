//! UDP: the datagrams from one address of a client are a session, which goes to one endpoint as a connection would.
//!
//! A session counts as a request: it is balanced, limited and drained like one, and may wait for an endpoint. It ends when it has been idle for
//! [`client_idle`](crate::Timeouts::client_idle), or when its endpoint stops serving: the client's next datagram then begins a session with
//! another endpoint. So does a datagram that its endpoint refuses. All others are sent once, or dropped and counted, as usual for UDP.
//!
//! One worker handles all datagrams of a service: they arrive in one queue, which another process can take over completely, and the sessions
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

use balance::{PickError, Tried};
use hyper::StatusCode;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::session::{EndpointSocket, SendOutcome, Session};
pub(crate) use self::socket::bind;
use self::socket::{ServiceSocket, SessionKey};
use crate::accept::SHORTAGE_PAUSE;
use crate::admission::InFlightPermit;
use crate::attempts::EndpointAttempts;
use crate::endpoint::Endpoint;
use crate::endpoint_wait::EndpointWait;
use crate::local::LocalService;
use crate::service::Service;
use crate::tcp::CONNECT_LATENCY;
use crate::traffic::Shard;
use crate::worker::Worker;

/// Bytes that a datagram may have. Source: RFC 768, whose length has 16 bits.
const DATAGRAM_BYTES_MAX: usize = 65_535;

/// Datagrams that are received before other tasks run. At about 5 µs each, these wait for a third of a millisecond.
const DATAGRAMS_PER_BATCH: usize = 64;

/// The sessions of one service.
#[derive(Debug)]
struct Sessions {
    worker: Rc<Worker>,
    local: Rc<LocalService>,
    socket: ServiceSocket,
    /// The current session of each client.
    by_key: RefCell<HashMap<SessionKey, Rc<Session>>>,
    /// For one answer at a time.
    buffer: RefCell<Box<[u8]>>,
    idle: Cell<Duration>,
}

/// Serves all clients of a service, from when the proxy is open until it is stopped.
pub(crate) async fn serve(
    worker: Rc<Worker>,
    socket: std::net::UdpSocket,
    stop: CancellationToken,
    service: Arc<Service>,
) {
    if !worker.until_open_or_stopped(&stop).await {
        return;
    }
    let socket = match ServiceSocket::register(socket) {
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
        by_key: RefCell::default(),
        buffer: RefCell::new(datagram_buffer()),
        idle: Cell::default(),
    });
    sessions.receive(&stop).await;
    if !sessions.worker.is_ending() {
        // The service was removed or has moved, and its address may be needed at once.
        sessions.by_key.take().values().for_each(|session| session.end());
    }
}

fn datagram_buffer() -> Box<[u8]> {
    vec![0; DATAGRAM_BYTES_MAX].into()
}

/// Why no session with an endpoint was begun.
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
        let mut buffer = datagram_buffer();
        let changed = || self.local.service.changed.notified();
        let mut change = pin!(changed());
        change.as_mut().enable();
        self.apply_changes();
        loop {
            // All of them are cancel safe.
            let ready = tokio::select! {
                biased;
                () = self.worker.until_stopping() => return,
                () = stop.cancelled() => return,
                () = change.as_mut() => {
                    change.set(changed());
                    // Registered before changes are applied, so that none in between is missed.
                    change.as_mut().enable();
                    self.apply_changes();
                    continue;
                }
                ready = self.socket.readable() => ready,
            };
            if let Err(error) = ready.and_then(|()| self.receive_batch(&mut buffer)) {
                tracing::warn!(service = %self.local.service.name, %error, "datagram_not_received");
                tokio::time::sleep(SHORTAGE_PAUSE).await;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Applies a change of the service: sessions whose endpoints no longer serve end once they are idle.
    fn apply_changes(&self) {
        self.idle.set(self.local.snapshot().timeouts.client_idle);
        let has_lost_endpoint = |_: &SessionKey, session: &mut Rc<Session>| session.has_lost_endpoint();
        self.by_key.borrow_mut().extract_if(has_lost_endpoint).for_each(|(_, session)| session.linger(self));
    }

    fn receive_batch(self: &Rc<Self>, buffer: &mut [u8]) -> io::Result<()> {
        for _ in 0..DATAGRAMS_PER_BATCH {
            match self.socket.receive(buffer) {
                Ok((size, key)) => self.pass(key, &buffer[..size]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Sends a datagram in its session, or begins one with it.
    fn pass(self: &Rc<Self>, key: SessionKey, datagram: &[u8]) {
        let shard = self.shard();
        shard.datagrams_in.add(1);
        shard.bytes_in.add(datagram.len() as u64);
        let known = self.by_key.borrow().get(&key).map(Rc::clone);
        let sent = match known {
            None => self.begin(key, datagram),
            Some(session) => match session.send(self, datagram) {
                SendOutcome::Refused | SendOutcome::EndpointGone => {
                    self.forget(&session);
                    session.linger(self);
                    self.begin(key, datagram)
                }
                sent @ (SendOutcome::Sent | SendOutcome::Dropped) => sent,
            },
        };
        if sent != SendOutcome::Sent {
            shard.datagrams_dropped.add(1);
        }
    }

    /// Begins a session with its first datagram.
    fn begin(self: &Rc<Self>, key: SessionKey, datagram: &[u8]) -> SendOutcome {
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
        let connected = allowed.map_err(|()| ConnectFailure::Full).and_then(|allowed| {
            match self.connect(&key, datagram, &was_attempted) {
                Ok((socket, sent)) => Ok((allowed, Some(socket), sent)),
                Err(ConnectFailure::Exhausted(_)) => Ok((allowed, None, SendOutcome::Sent)),
                Err(failure @ (ConnectFailure::Full | ConnectFailure::Refused)) => Err(failure),
            }
        });
        match connected {
            Ok(((session_permit, permit), socket, sent)) => {
                let is_waiting = socket.is_none();
                let session = Rc::new(Session::begin(self, key, permit, socket, was_attempted));
                self.spawn(&session, session_permit);
                if is_waiting { session.send(self, datagram) } else { sent }
            }
            Err(failure) => {
                if matches!(failure, ConnectFailure::Full) {
                    self.shard().over_limit.add(1);
                }
                self.shard().answered(StatusCode::SERVICE_UNAVAILABLE.as_u16(), begun.elapsed());
                SendOutcome::Dropped
            }
        }
    }

    fn spawn(self: &Rc<Self>, session: &Rc<Session>, session_permit: OwnedSemaphorePermit) {
        self.by_key.borrow_mut().insert(session.key, Rc::clone(session));
        let (sessions, session) = (Rc::clone(self), Rc::clone(session));
        self.worker.spawn_session(async move {
            session.run(&sessions).await;
            sessions.forget(&session);
            session.close(&sessions);
            drop(session_permit);
        });
    }

    /// Lets the client's next datagram begin another session.
    fn forget(&self, session: &Rc<Session>) {
        let mut by_key = self.by_key.borrow_mut();
        if by_key.get(&session.key).is_some_and(|known| Rc::ptr_eq(known, session)) {
            by_key.remove(&session.key);
        }
    }

    /// Sends the first datagram of a session to an endpoint, or to another one if the first refuses it.
    fn connect(
        &self,
        key: &SessionKey,
        datagram: &[u8],
        was_attempted: &Cell<bool>,
    ) -> Result<(EndpointSocket, SendOutcome), ConnectFailure> {
        let service = &self.local.service;
        let mut attempts = EndpointAttempts::new(&self.local);
        // As for a connection, without the port, so that a client gets the same endpoint again.
        let key = || balance::hash_key(key.client.ip().to_canonical().to_string().as_bytes());
        loop {
            let in_flight = match attempts.next(key, was_attempted) {
                Ok(in_flight) => in_flight,
                Err(PickError::Full) => return Err(ConnectFailure::Full),
                Err(PickError::Exhausted) => return Err(ConnectFailure::Exhausted(attempts.tried)),
            };
            let endpoint = Arc::clone(in_flight.endpoint());
            let shard = &endpoint.shards[self.worker.index];
            let socket = EndpointSocket::open(in_flight).map_err(|error| {
                tracing::debug!(service = %service.name, endpoint = %endpoint.id, %error, "session_not_started");
                ConnectFailure::Full
            })?;
            shard.requests.add(1);
            match socket.send(datagram) {
                SendOutcome::Refused => self.record_failure(&endpoint),
                sent @ (SendOutcome::Sent | SendOutcome::Dropped | SendOutcome::EndpointGone) => {
                    shard.datagrams_in.add(1);
                    shard.bytes_in.add(datagram.len() as u64);
                    return Ok((socket, sent));
                }
            }
            if !attempts.may_try_another(&endpoint) {
                return Err(ConnectFailure::Refused);
            }
        }
    }

    /// Waits until an endpoint accepts the first datagram of a session; `None` when none did in time.
    async fn wait_for_endpoint(
        &self,
        key: &SessionKey,
        datagram: &[u8],
        was_attempted: &Cell<bool>,
    ) -> Option<EndpointSocket> {
        let mut wait = EndpointWait::new(self.local.snapshot().timeouts.endpoint);
        loop {
            let unavailable = match self.connect(key, datagram, was_attempted) {
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

    /// Records that an endpoint has answered.
    fn succeeded(&self, endpoint: &Endpoint) {
        endpoint.succeeded(self.local.service.clock.now(), CONNECT_LATENCY);
    }

    /// Records that an endpoint has refused a datagram.
    fn record_failure(&self, endpoint: &Endpoint) {
        self.local.service.record_failure(endpoint, &self.local.snapshot().outliers, Duration::ZERO);
    }

    fn shard(&self) -> &Shard {
        &self.local.service.shards[self.worker.index]
    }

    /// How long a session may be idle before it ends.
    fn idle_timeout(&self) -> Duration {
        self.idle.get()
    }

    fn is_ending(&self) -> bool {
        self.local.service.is_closing() || self.worker.is_ending()
    }
}
