//! One client connection: its own task from the first byte to the last, tunnels included.
//!
//! Most connections only wait for a request. Whatever else they need is boxed, and allocated when bytes arrive: an idle connection is little
//! more than its socket.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use hyper::header::HeaderValue;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::http1;
use crate::http2::{self, PREFACE};
use crate::local::LocalService;
use crate::proxy_protocol::{self, ProxiedAddresses, Received};
use crate::route::Protocol;
use crate::socket::{ClientSocket, Stream};
use crate::tcp;
use crate::timer::{Stage, Timer};
use crate::tls::{self, Terminator};
use crate::traffic::Shard;
use crate::tunnel::Tunnel;
use crate::worker::{Permits, Worker};

/// Bytes that the head of a request may have; with more the answer is 431. nginx allows 4 × 8 KiB by default.
/// In HTTP/1.1 hyper also allows 100 headers at most.
pub(crate) const REQUEST_HEAD_BYTES_MAX: usize = 32 * 1024;

/// Bytes that are read at first: enough for most requests, and for the preface of HTTP/2.
const FIRST_BYTES_MAX: usize = 2048;

static HTTP: HeaderValue = HeaderValue::from_static("http");
static HTTPS: HeaderValue = HeaderValue::from_static("https");

/// A connection without the PROXY header that it should have begun with.
#[derive(Debug, Clone, Copy)]
struct MissingProxyHeader;

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
    /// `http` or `https`, as the client reached us.
    pub(crate) scheme: &'static HeaderValue,
    pub(crate) protocol: Protocol,
    /// The tunnel of a request that was upgraded; it begins once hyper releases the socket.
    tunnel: RefCell<Option<Box<Tunnel>>>,
    /// For a request that a route has sent to another service: the client as it connected to the listener.
    connected: Option<Rc<Self>>,
}

impl Client {
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
    async fn learn_addresses(
        &mut self,
        stream: &TcpStream,
        peer: SocketAddr,
    ) -> Result<(), MissingProxyHeader> {
        let snapshot = self.local.snapshot();
        let mut proxied = None;
        if snapshot.proxy_protocol.accept {
            match proxy_protocol::read_header(stream, &self.timer, || self.is_closing()).await {
                Received::Proxied(addresses) => {
                    self.address = ip_value(addresses.source);
                    proxied = Some(addresses);
                }
                Received::Local => {}
                Received::Invalid => {
                    self.shard().malformed.add(1);
                    return Err(MissingProxyHeader);
                }
                Received::Closing => return Err(MissingProxyHeader),
            }
        }
        // Services behind a shared listener may send PROXY headers, too.
        if snapshot.proxy_protocol.send.is_some() || self.local.router.is_some() {
            let direct = || Some(ProxiedAddresses { source: peer, destination: stream.local_addr().ok()? });
            self.addresses = proxied.or_else(direct).map(Box::new);
        }
        Ok(())
    }

    /// Reads the first bytes of a client, enough to detect its `protocol` if that is unknown; `None` when the connection ends first.
    ///
    /// The bytes are passed on with the stream, so that this costs no further system call.
    fn read_first_bytes(
        &self,
        stream: &mut Stream,
        protocol: Option<Protocol>,
    ) -> impl Future<Output = Option<Bytes>> {
        // While only a part of the preface was read, its length says what it was.
        let mut buffered = 0;
        poll_fn(move |cx| {
            self.timer.register(cx);
            loop {
                if self.timer.is_expired() {
                    return Poll::Ready(None);
                }
                let mut space = [MaybeUninit::uninit(); FIRST_BYTES_MAX];
                let mut piece = ReadBuf::uninit(&mut space);
                let read = Pin::new(&mut *stream).poll_read(cx, &mut piece);
                // Only after a poll, so that a request that has already arrived is answered.
                if read.is_pending() && self.is_closing() {
                    return Poll::Ready(None);
                }
                let piece = piece.filled();
                if ready!(read).is_err() || piece.is_empty() {
                    return Poll::Ready(None);
                }
                if protocol.is_none()
                    && PREFACE[buffered..].len() > piece.len()
                    && PREFACE[buffered..].starts_with(piece)
                {
                    buffered += piece.len();
                } else {
                    return Poll::Ready(Some([&PREFACE[..buffered], piece].concat().into()));
                }
            }
        })
    }

    /// Does the TLS handshake; `None` when the connection is over.
    async fn accept_tls(&self, terminator: &Terminator, stream: TcpStream) -> Option<(Protocol, Stream)> {
        let mut handshake = pin!(tls::accept(&self.worker, terminator, stream));
        let ended = poll_fn(|cx| {
            self.timer.register(cx);
            if self.timer.is_expired() || self.is_closing() {
                return Poll::Ready(None);
            }
            handshake.as_mut().poll(cx).map(Some)
        });
        match ended.await {
            Some(Ok(stream)) => {
                self.timer.arm(Stage::Head, self.local.snapshot().timeouts.request_head);
                let protocol = match stream.get_ref().1.alpn_protocol() {
                    // The handshake was all that an ACME validation wanted (RFC 8737, section 3).
                    Some(tls::ACME_TLS) => return None,
                    Some(tls::HTTP_2) => Protocol::Http2,
                    Some(_) | None => Protocol::Http1,
                };
                Some((protocol, Stream::Tls(Box::new(stream))))
            }
            // The client disconnected without having done anything wrong, as a port check does.
            Some(Err(error)) if error.kind() != io::ErrorKind::InvalidData => None,
            Some(Err(_)) | None => {
                self.shard().handshake_failures.add(1);
                None
            }
        }
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

/// Serves one client until it disconnects, is too slow, or the service is removed.
pub(crate) fn serve(
    worker: Rc<Worker>,
    local: Rc<LocalService>,
    stream: TcpStream,
    peer: SocketAddr,
    permits: Permits,
) -> impl Future<Output = ()> {
    // Not an `async fn`: a future holds its arguments to its end, and these are needed only at the beginning.
    let ready = Box::pin(prepare(worker, local, stream, peer));
    async move {
        // Captured, so that it is not moved into a second field of the future.
        let _ = &permits;
        let Some(ReadyClient { client, mut stream, mut protocol }) = ready.await else { return };
        loop {
            let served = {
                let buffered = match protocol {
                    None | Some(Protocol::Http1) => client.read_first_bytes(&mut stream, protocol).await,
                    Some(Protocol::Http2 | Protocol::Tcp | Protocol::Udp) => Some(Bytes::new()),
                };
                let Some(buffered) = buffered else { break };
                let detected = if buffered.starts_with(PREFACE) { Protocol::Http2 } else { Protocol::Http1 };
                Box::pin(serve_protocol(&client, *protocol.get_or_insert(detected), stream, buffered))
            };
            stream = match served.await {
                Some(stream) => stream,
                None => return,
            };
        }
        close(stream);
    }
}

/// A client whose requests can be served.
struct ReadyClient {
    client: Rc<Client>,
    stream: Stream,
    /// `None` when its first bytes will say so.
    protocol: Option<Protocol>,
}

/// Learns the addresses of a client and, if TLS or the service says so, its protocol; `None` when the connection is over.
async fn prepare(
    worker: Rc<Worker>,
    local: Rc<LocalService>,
    stream: TcpStream,
    peer: SocketAddr,
) -> Option<ReadyClient> {
    let timer = worker.timers.add(local.snapshot().timeouts.request_head);
    let terminator = local.service.terminator();
    let scheme = if terminator.is_some() { &HTTPS } else { &HTTP };
    let mut client = Client {
        worker,
        local,
        timer,
        addresses: None,
        address: ip_value(peer),
        scheme,
        protocol: Protocol::Http1,
        tunnel: RefCell::default(),
        connected: None,
    };
    client.learn_addresses(&stream, peer).await.ok()?;
    let is_tcp = client.local.snapshot().protocol == Protocol::Tcp;
    let (protocol, stream) = match terminator {
        None => (None, Stream::Plain(stream)),
        Some(terminator) => {
            let (protocol, stream) = client.accept_tls(&terminator, stream).await?;
            (Some(protocol), stream)
        }
    };
    let protocol = if is_tcp { Some(Protocol::Tcp) } else { protocol };
    Some(ReadyClient { client: Rc::new(client), stream, protocol })
}

/// Serves a client in its protocol until the connection is over, or idle: then its stream is returned, with nothing left in a buffer.
async fn serve_protocol(
    client: &Rc<Client>,
    protocol: Protocol,
    stream: Stream,
    buffered: Bytes,
) -> Option<Stream> {
    // All but HTTP/1.1 are boxed, so that its connections do not pay for the size of the others.
    match protocol {
        Protocol::Http1 => return http1::serve(client, stream, buffered).await,
        // Bytes alone are no request in HTTP/2: a connection with pings only is idle.
        Protocol::Http2 => Box::pin(http2::serve(client, ClientSocket::new(stream, buffered, None))).await,
        Protocol::Tcp => Box::pin(tcp::serve(client, stream)).await,
        // The service was changed from TCP to UDP a moment ago.
        Protocol::Udp => {}
    }
    None
}

/// Closes a connection, in TLS with a `close_notify` alert if that can be sent at once.
pub(crate) fn close(stream: Stream) {
    match stream {
        // The system does in the close what a shutdown right before it would have done.
        Stream::Plain(_) => {}
        Stream::Tls(mut stream) => {
            let _ = Pin::new(&mut stream).poll_shutdown(&mut Context::from_waker(Waker::noop()));
        }
    }
}

/// An address without its port, as a header value.
fn ip_value(address: SocketAddr) -> HeaderValue {
    HeaderValue::from_str(&address.ip().to_canonical().to_string())
        .expect("an address is written in visible ASCII")
}
