//! One client connection: its own task from the first byte to the last, tunnels included.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, ready};

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::conduit;
use crate::forward;
use crate::hand::{Hand, Stage};
use crate::http2::{self, PREFACE};
use crate::local::LocalService;
use crate::preamble::{self, Ends, Heard};
use crate::route::Protocol;
use crate::socket::{ClientSocket, Stream};
use crate::tls::{self, Terminator};
use crate::traffic::Shard;
use crate::tunnel::Tunnel;
use crate::worker::Worker;

/// Bytes of a request's head at most, beyond which the answer is 431; nginx allows 4 × 8 KiB by default.
/// hyper also allows 100 headers at most in HTTP/1.1.
pub(crate) const REQUEST_HEAD_BYTES_MAX: usize = 32 * 1024;

/// Bytes that are read at first: most requests whole, and more than the preface of HTTP/2.
const FIRST_BYTES_MAX: usize = 2048;

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
    pub(crate) ends: Option<Ends>,
    /// The client's address without the port, as a header value.
    pub(crate) address: HeaderValue,
    /// `http` or `https`, as the client reached us.
    pub(crate) scheme: HeaderValue,
    pub(crate) protocol: Protocol,
    /// Set when a request has become a tunnel, which takes over once hyper lets go of the socket.
    pub(crate) tunnel: Rc<RefCell<Option<Tunnel>>>,
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
            ends: entrance.ends,
            address: entrance.address.clone(),
            scheme: entrance.scheme.clone(),
            protocol: entrance.protocol,
            tunnel: Rc::clone(&entrance.tunnel),
            entrance: Some(Rc::clone(entrance)),
        })
    }

    pub(crate) fn shard(&self) -> &Shard {
        &self.local.service.shards[self.worker.index]
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
            ends: self.ends,
            address: self.address.clone(),
            scheme: self.scheme.clone(),
            protocol: Protocol::Http2,
            tunnel: Rc::default(),
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
            self.ends = ends.or_else(here);
        }
        Ok(())
    }

    /// Hears what a client without TLS says first, and so what it speaks; `None` when it says nothing.
    ///
    /// What was read is read again by who speaks with it. So a client of HTTP/1.1 costs no system call more.
    async fn hear(&self, stream: &TcpStream) -> Option<(Protocol, Bytes)> {
        let mut heard = Vec::new();
        poll_fn(|cx| {
            self.hand.register(cx);
            loop {
                if self.hand.is_expired() {
                    return Poll::Ready(None);
                }
                let is_ready = stream.poll_read_ready(cx);
                // Only after a poll, so that a request that has already arrived is answered.
                if is_ready.is_pending() && self.is_closing() {
                    return Poll::Ready(None);
                }
                let mut piece = [0; FIRST_BYTES_MAX];
                match ready!(is_ready).and_then(|()| stream.try_read(&mut piece)) {
                    Ok(read) if read > 0 => heard.extend_from_slice(&piece[..read]),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                    Ok(_) | Err(_) => return Poll::Ready(None),
                }
                if heard.starts_with(PREFACE) {
                    return Poll::Ready(Some((Protocol::Http2, std::mem::take(&mut heard).into())));
                }
                if !PREFACE.starts_with(&heard) {
                    return Poll::Ready(Some((Protocol::Http1, std::mem::take(&mut heard).into())));
                }
            }
        })
        .await
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
pub(crate) async fn serve(worker: Rc<Worker>, local: Rc<LocalService>, stream: TcpStream, peer: SocketAddr) {
    let hand = worker.hands.add(local.snapshot().timeouts.request_head);
    let terminator = local.service.terminator();
    let scheme = HeaderValue::from_static(if terminator.is_some() { "https" } else { "http" });
    let mut client = Client {
        worker,
        local,
        hand,
        ends: None,
        address: written(peer),
        scheme,
        protocol: Protocol::Http1,
        tunnel: Rc::default(),
        entrance: None,
    };
    if client.is_introduced(&stream, peer).await.is_err() {
        return;
    }
    let client = Rc::new(client);
    let is_tcp = client.local.snapshot().protocol == Protocol::Tcp;
    let (protocol, heard, stream) = match terminator {
        None if is_tcp => (Protocol::Tcp, Bytes::new(), Stream::Plain(stream)),
        None => match client.hear(&stream).await {
            Some((protocol, heard)) => (protocol, heard, Stream::Plain(stream)),
            None => return,
        },
        // Boxed, as are others that are not for everybody: those who speak HTTP/1.1 plainly are not the larger for them.
        Some(terminator) => match Box::pin(client.shake_hands(&terminator, stream)).await {
            Some((protocol, stream)) => (if is_tcp { Protocol::Tcp } else { protocol }, Bytes::new(), stream),
            None => return,
        },
    };
    match protocol {
        Protocol::Http1 => {
            let socket = ClientSocket::new(stream, heard, client.hand.touched());
            serve_requests(&client, socket).await;
        }
        Protocol::Http2 => {
            // Bytes alone are no request in HTTP/2: with pings a connection stays idle.
            let socket = ClientSocket::new(stream, heard, Arc::default());
            Box::pin(http2::serve(&client, socket)).await;
        }
        Protocol::Tcp => Box::pin(conduit::serve(&client, stream)).await,
        // Its service had a port of TCP a moment ago.
        Protocol::Udp => {}
    }
    let tunnel = client.tunnel.take();
    if let Some(tunnel) = tunnel {
        tunnel.run(&client).await;
    }
}

/// An address without its port, as a header has it.
fn written(address: SocketAddr) -> HeaderValue {
    HeaderValue::from_str(&address.ip().to_canonical().to_string())
        .expect("an address is written in visible ASCII")
}

async fn serve_requests(client: &Rc<Client>, socket: ClientSocket) {
    let service = service_fn(|request| {
        let answer = forward::answer(Rc::clone(client), request);
        async move {
            let mut answer = answer.await;
            if client.worker.is_leaving() && answer.status() != StatusCode::SWITCHING_PROTOCOLS {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = Builder::new()
        .max_header_size(REQUEST_HEAD_BYTES_MAX)
        // Deadlines are the hand's.
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(socket), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let mut is_told_to_end = false;
    let ended = poll_fn(|cx| {
        client.hand.register(cx);
        loop {
            if client.hand.is_expired() && client.hand.stage() != Stage::Response {
                return Poll::Ready(Ok(()));
            }
            if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                return Poll::Ready(ended);
            }
            // Only after a poll, so that a request that has already arrived is answered.
            if is_told_to_end || !client.is_closing() {
                return Poll::Pending;
            }
            is_told_to_end = true;
            connection.as_mut().graceful_shutdown();
        }
    });
    if let Err(error) = ended.await
        && error.is_parse()
    {
        client.shard().malformed.add(1);
    }
}
