//! One client connection: its own task from the first byte to the last, tunnels included.
//!
//! Most connections wait, for their first request or the next one. What they need for anything else is in boxes that are made when bytes
//! come, so that one that waits is little more than its socket.

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
use crate::hand::{Hand, Stage};
use crate::http1;
use crate::http2::{self, PREFACE};
use crate::local::LocalService;
use crate::preamble::{self, Ends, Heard};
use crate::route::Protocol;
use crate::socket::{ClientSocket, Stream};
use crate::tls::{self, Terminator};
use crate::traffic::Shard;
use crate::tunnel::Tunnel;
use crate::worker::{Permits, Worker};

/// Bytes of a request's head at most, beyond which the answer is 431; nginx allows 4 × 8 KiB by default.
/// hyper also allows 100 headers at most in HTTP/1.1.
pub(crate) const REQUEST_HEAD_BYTES_MAX: usize = 32 * 1024;

/// Bytes that are read at first: most requests whole, and more than the preface of HTTP/2.
const FIRST_BYTES_MAX: usize = 2048;

static HTTP: HeaderValue = HeaderValue::from_static("http");
static HTTPS: HeaderValue = HeaderValue::from_static("https");

/// A connection that did not say whose it is, though it had to.
#[derive(Debug, Clone, Copy)]
struct Uninvited;

/// A client's connection, as the requests on it see it; in HTTP/2, one for each stream.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) worker: Rc<Worker>,
    pub(crate) local: Rc<LocalService>,
    pub(crate) hand: Rc<Hand>,
    /// Between whom the connection is, where an endpoint is to be told.
    ends: Option<Box<Ends>>,
    /// The client's address without the port, as a header value.
    pub(crate) address: HeaderValue,
    /// `http` or `https`, as the client reached us.
    pub(crate) scheme: &'static HeaderValue,
    pub(crate) protocol: Protocol,
    /// Set when a request has become a tunnel, which takes over once hyper lets go of the socket.
    tunnel: RefCell<Option<Box<Tunnel>>>,
    /// The connection as it came, when this is one of its requests that went on to another service.
    entrance: Option<Rc<Self>>,
}

impl Client {
    /// The same client, as a request of it goes on to a service behind the one that it is connected to.
    pub(crate) fn through(entrance: &Rc<Self>, local: Rc<LocalService>) -> Rc<Self> {
        Rc::new(Self {
            worker: Rc::clone(&entrance.worker),
            local,
            hand: Rc::clone(&entrance.hand),
            ends: entrance.ends.clone(),
            address: entrance.address.clone(),
            scheme: entrance.scheme,
            protocol: entrance.protocol,
            tunnel: RefCell::default(),
            entrance: Some(Rc::clone(entrance)),
        })
    }

    pub(crate) fn shard(&self) -> &Shard {
        &self.local.service.shards[self.worker.index]
    }

    /// Between whom the connection is, where an endpoint is to be told.
    pub(crate) fn ends(&self) -> Option<Ends> {
        self.ends.as_deref().copied()
    }

    /// Notes that a request has become a tunnel.
    pub(crate) fn becomes(&self, tunnel: Option<Tunnel>) {
        let connected = self.entrance.as_deref().unwrap_or(self);
        *connected.tunnel.borrow_mut() = tunnel.map(Box::new);
    }

    /// The tunnel that a request has [become](Self::becomes).
    pub(crate) fn take_tunnel(&self) -> Option<Box<Tunnel>> {
        self.tunnel.take()
    }

    /// Notes that a piece of the request's body passed; after the last one the endpoint has to answer, if it has not yet.
    pub(crate) fn uploading(&self, is_last: bool) {
        let timeouts = &self.local.snapshot().timeouts;
        match self.hand.stage() {
            Stage::Upload if is_last => self.hand.arm(Stage::Response, timeouts.response_head),
            stage @ (Stage::Upload | Stage::Stream) => self.hand.arm(stage, timeouts.stream_idle),
            // The body is not wanted any more.
            Stage::Idle | Stage::Head | Stage::Response | Stage::Elsewhere => {}
        }
    }

    /// The same client, as one of its streams sees it.
    pub(crate) fn for_stream(&self) -> Rc<Self> {
        Rc::new(Self {
            worker: Rc::clone(&self.worker),
            local: Rc::clone(&self.local),
            hand: self.worker.hands.add(self.local.snapshot().timeouts.request_head),
            ends: self.ends.clone(),
            address: self.address.clone(),
            scheme: self.scheme,
            protocol: Protocol::Http2,
            tunnel: RefCell::default(),
            entrance: None,
        })
    }

    /// Learns whose the connection is, from what the system says or from the header in front of it; `Err` when there is nobody to talk to.
    async fn is_introduced(&mut self, stream: &TcpStream, peer: SocketAddr) -> Result<(), Uninvited> {
        let snapshot = self.local.snapshot();
        let mut ends = None;
        if snapshot.proxy_protocol.accept {
            match preamble::hear(stream, &self.hand, || self.is_closing()).await {
                Heard::From(said) => {
                    self.address = written(said.source);
                    ends = Some(said);
                }
                Heard::Itself => {}
                Heard::Nothing => {
                    self.shard().malformed.add(1);
                    return Err(Uninvited);
                }
                Heard::Closing => return Err(Uninvited),
            }
        }
        // Services behind a shared listener may want to be told, too.
        if snapshot.proxy_protocol.send.is_some() || self.local.router.is_some() {
            let here = || Some(Ends { source: peer, destination: stream.local_addr().ok()? });
            self.ends = ends.or_else(here).map(Box::new);
        }
        Ok(())
    }

    /// Waits until the client says something, and where its `protocol` is not known, until that tells which it is; `None` when it says
    /// nothing, or is not to be heard any more.
    ///
    /// What was read is read again by who speaks with it. So hearing costs no system call more.
    fn hear(&self, stream: &mut Stream, protocol: Option<Protocol>) -> impl Future<Output = Option<Bytes>> {
        // Not what came is kept, but how much of the preface it is.
        let mut heard = 0;
        poll_fn(move |cx| {
            self.hand.register(cx);
            loop {
                if self.hand.is_expired() {
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

    /// `None` when there is nobody to talk to.
    async fn shake_hands(&self, terminator: &Terminator, stream: TcpStream) -> Option<(Protocol, Stream)> {
        let mut handshake = pin!(tls::accept(&self.worker, terminator, stream));
        let ended = poll_fn(|cx| {
            self.hand.register(cx);
            if self.hand.is_expired() || self.is_closing() {
                return Poll::Ready(None);
            }
            handshake.as_mut().poll(cx).map(Some)
        });
        match ended.await {
            Some(Ok(stream)) => {
                self.hand.arm(Stage::Head, self.local.snapshot().timeouts.request_head);
                let protocol = match stream.get_ref().1.alpn_protocol() {
                    // Who asks so has seen what it wanted (RFC 8737, section 3).
                    Some(tls::ACME_TLS) => return None,
                    Some(tls::HTTP_2) => Protocol::Http2,
                    Some(_) | None => Protocol::Http1,
                };
                Some((protocol, Stream::Tls(Box::new(stream))))
            }
            // It left before it had said anything wrong, as a check of the port does.
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
        if self.entrance.is_none() {
            self.worker.hands.remove(&self.hand);
        }
    }
}

/// Serves one client until it leaves, is too slow, or the service goes.
pub(crate) fn serve(
    worker: Rc<Worker>,
    local: Rc<LocalService>,
    stream: TcpStream,
    peer: SocketAddr,
    permits: Permits,
) -> impl Future<Output = ()> {
    // No argument of what waits is its own: a future keeps the room of its arguments to its end.
    let met = Box::pin(meet(worker, local, stream, peer));
    async move {
        // Held without a place of its own, for the same reason.
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

/// A client that is there.
struct Met {
    client: Rc<Client>,
    stream: Stream,
    /// `None` when what it says first will tell.
    protocol: Option<Protocol>,
}

/// Learns who a client is and, where that is agreed upon, what it will speak; `None` when there is nobody to talk to.
async fn meet(
    worker: Rc<Worker>,
    local: Rc<LocalService>,
    stream: TcpStream,
    peer: SocketAddr,
) -> Option<Met> {
    let hand = worker.hands.add(local.snapshot().timeouts.request_head);
    let terminator = local.service.terminator();
    let scheme = if terminator.is_some() { &HTTPS } else { &HTTP };
    let mut client = Client {
        worker,
        local,
        hand,
        ends: None,
        address: written(peer),
        scheme,
        protocol: Protocol::Http1,
        tunnel: RefCell::default(),
        entrance: None,
    };
    client.is_introduced(&stream, peer).await.ok()?;
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

/// Speaks with a client until one of both has enough; answers the stream of one that may say more some time, of which nothing has come.
async fn speak(client: &Rc<Client>, protocol: Protocol, stream: Stream, heard: Bytes) -> Option<Stream> {
    // Boxed, as are others that are not for everybody: those who speak HTTP/1.1 are not the larger for them.
    match protocol {
        Protocol::Http1 => return http1::serve(client, stream, heard).await,
        // Bytes alone are no request in HTTP/2: with pings a connection stays idle.
        Protocol::Http2 => Box::pin(http2::serve(client, ClientSocket::new(stream, heard, None))).await,
        Protocol::Tcp => Box::pin(conduit::serve(client, stream)).await,
        // Its service had a port of TCP a moment ago.
        Protocol::Udp => {}
    }
    None
}

/// Says farewell, where there is a word for it, as far as the system takes it at once.
pub(crate) fn hang_up(mut stream: Stream) {
    let _ = Pin::new(&mut stream).poll_shutdown(&mut Context::from_waker(Waker::noop()));
}

/// An address without its port, as a header has it.
fn written(address: SocketAddr) -> HeaderValue {
    HeaderValue::from_str(&address.ip().to_canonical().to_string())
        .expect("an address is written in visible ASCII")
}
