//! A connected client: the context of its requests, which all parts that serve them share.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use hyper::header::HeaderValue;
use tokio::net::TcpStream;

use crate::local::LocalService;
use crate::proxy_protocol::{self, ProxiedAddresses, Received};
use crate::route::Protocol;
use crate::timer::{Stage, Timer};
use crate::traffic::Shard;
use crate::tunnel::Tunnel;
use crate::worker::Worker;

/// The most bytes of the head of a request; a longer one is answered with 431. nginx allows 4 × 8 KiB by default.
/// In HTTP/1.1 hyper also allows 100 headers at most.
pub(crate) const REQUEST_HEAD_BYTES_MAX: usize = 32 * 1024;

/// A connection without the required PROXY header.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MissingProxyHeader;

/// The context of a client's connection for its requests. In HTTP/2 each stream has one of its own.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) worker: Rc<Worker>,
    pub(crate) local: Rc<LocalService>,
    pub(crate) timer: Rc<Timer>,
    /// The addresses for the PROXY headers of connections to endpoints, if these are to be sent.
    addresses: Option<Box<ProxiedAddresses>>,
    /// The client's address without the port, as a header value.
    pub(crate) address: HeaderValue,
    /// `http` or `https`, as the client has connected.
    pub(crate) scheme: &'static HeaderValue,
    pub(crate) protocol: Protocol,
    /// The tunnel of a request that was upgraded; it begins once hyper releases the socket.
    tunnel: RefCell<Option<Box<Tunnel>>>,
    /// For a request that a route has sent to another service: the client as it connected to the listener.
    connected: Option<Rc<Self>>,
}

impl Client {
    /// A client that has just connected from `peer`.
    pub(crate) fn new(
        worker: Rc<Worker>,
        local: Rc<LocalService>,
        timer: Rc<Timer>,
        peer: SocketAddr,
        scheme: &'static HeaderValue,
    ) -> Self {
        Self {
            worker,
            local,
            timer,
            addresses: None,
            address: ip_value(peer),
            scheme,
            protocol: Protocol::Http1,
            tunnel: RefCell::default(),
            connected: None,
        }
    }

    /// The same client, for a request that a route sends to another service.
    pub(crate) fn for_backend(connected: &Rc<Self>, local: Rc<LocalService>) -> Rc<Self> {
        Rc::new(Self {
            worker: Rc::clone(&connected.worker),
            local,
            timer: Rc::clone(&connected.timer),
            addresses: connected.addresses.clone(),
            address: connected.address.clone(),
            scheme: connected.scheme,
            protocol: connected.protocol,
            tunnel: RefCell::default(),
            connected: Some(Rc::clone(connected)),
        })
    }

    pub(crate) fn shard(&self) -> &Shard {
        &self.local.service.shards[self.worker.index]
    }

    /// The addresses for the PROXY headers of connections to endpoints, if these are to be sent.
    pub(crate) fn addresses(&self) -> Option<ProxiedAddresses> {
        self.addresses.as_deref().copied()
    }

    /// Sets the tunnel of a request that was upgraded.
    pub(crate) fn set_tunnel(&self, tunnel: Option<Tunnel>) {
        let connected = self.connected.as_deref().unwrap_or(self);
        *connected.tunnel.borrow_mut() = tunnel.map(Box::new);
    }

    /// Takes the tunnel of a request that was [upgraded](Self::set_tunnel).
    pub(crate) fn take_tunnel(&self) -> Option<Box<Tunnel>> {
        self.tunnel.take()
    }

    /// Restarts the timeout after a piece of the request's body was sent. After the last one the endpoint has to answer in time.
    pub(crate) fn note_upload(&self, is_last: bool) {
        let timeouts = &self.local.snapshot().timeouts;
        match self.timer.stage() {
            Stage::Upload if is_last => self.timer.arm(Stage::Response, timeouts.response_head),
            stage @ (Stage::Upload | Stage::Stream) => self.timer.arm(stage, timeouts.stream_idle),
            // Nothing waits for the body any more.
            Stage::Idle | Stage::Head | Stage::Response | Stage::Disarmed => {}
        }
    }

    /// The same client, for one of its streams.
    pub(crate) fn for_stream(&self) -> Rc<Self> {
        Rc::new(Self {
            worker: Rc::clone(&self.worker),
            local: Rc::clone(&self.local),
            timer: self.worker.timers.add(self.local.snapshot().timeouts.request_head),
            addresses: self.addresses.clone(),
            address: self.address.clone(),
            scheme: self.scheme,
            protocol: Protocol::Http2,
            tunnel: RefCell::default(),
            connected: None,
        })
    }

    /// Learns the addresses of the connection, from its PROXY header or from the system.
    pub(crate) async fn learn_addresses(
        &mut self,
        stream: &TcpStream,
        peer: SocketAddr,
    ) -> Result<(), MissingProxyHeader> {
        let snapshot = self.local.snapshot();
        let mut proxied = None;
        if snapshot.accepts_proxy_headers {
            match proxy_protocol::read_header(stream, &self.timer, || self.is_closing()).await {
                Received::Proxied(addresses) => {
                    self.address = ip_value(addresses.source);
                    proxied = Some(addresses);
                }
                Received::Local => {}
                Received::Invalid(error) => {
                    self.shard().proxy_header_failures.add(1);
                    let service = &self.local.service;
                    if service.proxy_header_log.is_due(service.clock.now()) {
                        tracing::info!(service = %service.name, %peer, %error, "proxy_header_refused");
                    }
                    return Err(MissingProxyHeader);
                }
                Received::Nothing => return Err(MissingProxyHeader),
            }
        }
        // Services behind a shared listener may send PROXY headers, too.
        if snapshot.sends_proxy_headers || self.local.router.is_some() {
            let direct = || Some(ProxiedAddresses { source: peer, destination: stream.local_addr().ok()? });
            self.addresses = proxied.or_else(direct).map(Box::new);
        }
        Ok(())
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.local.service.is_closing() || self.worker.is_stopping()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if self.connected.is_none() {
            self.worker.timers.remove(&self.timer);
        }
    }
}

/// An address without its port, as a header value.
fn ip_value(address: SocketAddr) -> HeaderValue {
    HeaderValue::from_str(&address.ip().to_canonical().to_string())
        .expect("an address consists of visible ASCII characters")
}
