//! One client connection: its own task from the first byte to the last, tunnels included.
//!
//! Most connections only wait for a request. Whatever else they need is boxed, and allocated when bytes come: one that waits is little more
//! than its socket.

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

use crate::conduit;
use crate::http1;
use crate::http2::{self, PREFACE};
use crate::local::LocalService;
use crate::preamble::{self, Ends, Heard};
use crate::route::Protocol;
use crate::socket::{ClientSocket, Stream};
use crate::timer::{Stage, Timer};
use crate::tls::{self, Terminator};
use crate::traffic::Shard;
use crate::tunnel::Tunnel;
use crate::worker::{Permits, Worker};

/// Bytes that the head of a request may have; beyond them the answer is 431. nginx allows 4 × 8 KiB by default.
/// In HTTP/1.1 hyper also allows 100 headers at most.
pub(crate) const REQUEST_HEAD_BYTES_MAX: usize = 32 * 1024;

/// Bytes that are read at first: enough for most requests, and for the preface of HTTP/2.
const FIRST_BYTES_MAX: usize = 2048;

static HTTP: HeaderValue = HeaderValue::from_static("http");
static HTTPS: HeaderValue = HeaderValue::from_static("https");

/// A connection without the PROXY header that it should have begun with.
#[derive(Debug, Clone, Copy)]
struct MissingHeader;

/// A client's connection, as its requests see it. In HTTP/2 each stream has one.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) worker: Rc<Worker>,
    pub(crate) local: Rc<LocalService>,
    pub(crate) timer: Rc<Timer>,
    /// Between which addresses the connection is, if endpoints are to be told.
    ends: Option<Box<Ends>>,
    /// The client's address without the port, as a header value.
    pub(crate) address: HeaderValue,
    /// `http` or `https`, as the client reached us.
    pub(crate) scheme: &'static HeaderValue,
    pub(crate) protocol: Protocol,
    /// The tunnel that a request has become; it takes over once hyper releases the socket.
    tunnel: RefCell<Option<Box<Tunnel>>>,
    /// For a request that a route has sent on to another service: the client as it connected.
    connected: Option<Rc<Self>>,
}

impl Client {
    /// The same client, for a request that a route sends on to another service.
    pub(crate) fn for_backend(connected: &Rc<Self>, local: Rc<LocalService>) -> Rc<Self> {
        Rc::new(Self {
            worker: Rc::clone(&connected.worker),
            local,
            timer: Rc::clone(&connected.timer),
            ends: connected.ends.clone(),
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

    /// Between which addresses the connection is, if endpoints are to be told.
    pub(crate) fn ends(&self) -> Option<Ends> {
        self.ends.as_deref().copied()
    }

    /// Notes that a request has become a tunnel.
    pub(crate) fn becomes(&self, tunnel: Option<Tunnel>) {
        let connected = self.connected.as_deref().unwrap_or(self);
        *connected.tunnel.borrow_mut() = tunnel.map(Box::new);
    }

    /// The tunnel that a request has [become](Self::becomes).
    pub(crate) fn take_tunnel(&self) -> Option<Box<Tunnel>> {
        self.tunnel.take()
    }

    /// Notes that a piece of the request's body passed. After the last one the endpoint's time to answer begins.
    pub(crate) fn uploading(&self, is_last: bool) {
        let timeouts = &self.local.snapshot().timeouts;
        match self.timer.stage() {
            Stage::Upload if is_last => self.timer.arm(Stage::Response, timeouts.response_head),
            stage @ (Stage::Upload | Stage::Stream) => self.timer.arm(stage, timeouts.stream_idle),
            // Nobody waits for the body any more.
            Stage::Idle | Stage::Head | Stage::Response | Stage::Disarmed => {}
        }
    }

    /// The same client, for one of its streams.
    pub(crate) fn for_stream(&self) -> Rc<Self> {
        Rc::new(Self {
            worker: Rc::clone(&self.worker),
            local: Rc::clone(&self.local),
            timer: self.worker.timers.add(self.local.snapshot().timeouts.request_head),
            ends: self.ends.clone(),
            address: self.address.clone(),
            scheme: self.scheme,
            protocol: Protocol::Http2,
            tunnel: RefCell::default(),
            connected: None,
        })
    }

    /// Learns between which addresses the connection is, from the system or from the PROXY header in front of it.
    async fn learn_ends(&mut self, stream: &TcpStream, peer: SocketAddr) -> Result<(), MissingHeader> {
        let snapshot = self.local.snapshot();
        let mut ends = None;
        if snapshot.proxy_protocol.accept {
            match preamble::hear(stream, &self.timer, || self.is_closing()).await {
                Heard::From(said) => {
                    self.address = written(said.source);
                    ends = Some(said);
                }
                Heard::Itself => {}
                Heard::Nothing => {
                    self.shard().malformed.add(1);
                    return Err(MissingHeader);
                }
                Heard::Closing => return Err(MissingHeader),
            }
        }
        // Services behind a shared listener may want to be told, too.
        if snapshot.proxy_protocol.send.is_some() || self.local.router.is_some() {
            let here = || Some(Ends { source: peer, destination: stream.local_addr().ok()? });
            self.ends = ends.or_else(here).map(Box::new);
        }
        Ok(())
    }

    /// Waits for the first bytes of a client and, if its `protocol` is unknown, until they tell it; `None` when the connection ends first.
    ///
    /// The bytes are passed on with the stream, so that this costs no further system call.
    fn hear(&self, stream: &mut Stream, protocol: Option<Protocol>) -> impl Future<Output = Option<Bytes>> {
        // As long as all that came is a part of the preface, its length says what it was.
        let mut heard = 0;
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
                    && PREFACE[heard..].len() > piece.len()
                    && PREFACE[heard..].starts_with(piece)
                {
                    heard += piece.len();
                } else {
                    return Poll::Ready(Some([&PREFACE[..heard], piece].concat().into()));
                }
            }
        })
    }

    /// Ends the client's TLS; `None` when the connection is over.
    async fn shake_hands(&self, terminator: &Terminator, stream: TcpStream) -> Option<(Protocol, Stream)> {
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
            // The client left without having done anything wrong, as a port check does.
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

/// Serves one client until it leaves, is too slow, or the service is removed.
pub(crate) fn serve(
    worker: Rc<Worker>,
    local: Rc<LocalService>,
    stream: TcpStream,
    peer: SocketAddr,
    permits: Permits,
) -> impl Future<Output = ()> {
    // Not an `async fn`: a future holds its arguments to its end, and these are needed only at the beginning.
    let met = Box::pin(meet(worker, local, stream, peer));
    async move {
        // Captured, and not moved into a second place within the future.
        let _ = &permits;
        let Some(Met { client, mut stream, mut protocol }) = met.await else { return };
        loop {
            let spoken = {
                let heard = match protocol {
                    None | Some(Protocol::Http1) => client.hear(&mut stream, protocol).await,
                    Some(Protocol::Http2 | Protocol::Tcp | Protocol::Udp) => Some(Bytes::new()),
                };
                let Some(heard) = heard else { break };
                let told = if heard.starts_with(PREFACE) { Protocol::Http2 } else { Protocol::Http1 };
                Box::pin(speak(&client, *protocol.get_or_insert(told), stream, heard))
            };
            stream = match spoken.await {
                Some(stream) => stream,
                None => return,
            };
        }
        hang_up(stream);
    }
}

/// A client that is ready to be served.
struct Met {
    client: Rc<Client>,
    stream: Stream,
    /// `None` when its first bytes will tell.
    protocol: Option<Protocol>,
}

/// Learns the addresses of a client and, if TLS or the service tells, its protocol; `None` when the connection is over.
async fn meet(
    worker: Rc<Worker>,
    local: Rc<LocalService>,
    stream: TcpStream,
    peer: SocketAddr,
) -> Option<Met> {
    let timer = worker.timers.add(local.snapshot().timeouts.request_head);
    let terminator = local.service.terminator();
    let scheme = if terminator.is_some() { &HTTPS } else { &HTTP };
    let mut client = Client {
        worker,
        local,
        timer,
        ends: None,
        address: written(peer),
        scheme,
        protocol: Protocol::Http1,
        tunnel: RefCell::default(),
        connected: None,
    };
    client.learn_ends(&stream, peer).await.ok()?;
    let is_tcp = client.local.snapshot().protocol == Protocol::Tcp;
    let (protocol, stream) = match terminator {
        None => (None, Stream::Plain(stream)),
        Some(terminator) => {
            let (protocol, stream) = client.shake_hands(&terminator, stream).await?;
            (Some(protocol), stream)
        }
    };
    let protocol = if is_tcp { Some(Protocol::Tcp) } else { protocol };
    Some(Met { client: Rc::new(client), stream, protocol })
}

/// Serves a client in its protocol until the connection is over, or at rest: then its stream is returned, of which nothing is unread here.
async fn speak(client: &Rc<Client>, protocol: Protocol, stream: Stream, heard: Bytes) -> Option<Stream> {
    // All but HTTP/1.1 are boxed, so that its connections do not pay for the size of the others.
    match protocol {
        Protocol::Http1 => return http1::serve(client, stream, heard).await,
        // Bytes alone are no request in HTTP/2: with pings a connection stays idle.
        Protocol::Http2 => Box::pin(http2::serve(client, ClientSocket::new(stream, heard, None))).await,
        Protocol::Tcp => Box::pin(conduit::serve(client, stream)).await,
        // The service was changed from TCP to UDP a moment ago.
        Protocol::Udp => {}
    }
    None
}

/// Closes a connection in good order, in TLS with its alert, as far as that can be sent at once.
pub(crate) fn hang_up(stream: Stream) {
    match stream {
        // The system does in the close what a shutdown right before it would have done.
        Stream::Plain(_) => {}
        Stream::Tls(mut stream) => {
            let _ = Pin::new(&mut stream).poll_shutdown(&mut Context::from_waker(Waker::noop()));
        }
    }
}

/// An address without its port, as a header value.
fn written(address: SocketAddr) -> HeaderValue {
    HeaderValue::from_str(&address.ip().to_canonical().to_string())
        .expect("an address is written in visible ASCII")
}
