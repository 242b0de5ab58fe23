//! One client connection: its own task from the first byte to the last, tunnels included.
//!
//! Most connections only wait for a request. Whatever else they need is boxed, and allocated when bytes arrive: an idle connection is little
//! more than its socket.

use std::future::{Future, poll_fn};
use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Poll, ready};

use bytes::Bytes;
use hyper::header::HeaderValue;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;

use crate::client::Client;
use crate::http1;
use crate::http2::{self, PREFACE};
use crate::local::LocalService;
use crate::route::Protocol;
use crate::socket::{ClientSocket, Stream, close};
use crate::tcp;
use crate::timer::Stage;
use crate::tls::{self, Terminator};
use crate::worker::{Permits, Worker};

/// The size of the first read: enough for most requests, and for the preface of HTTP/2.
const FIRST_BYTES_MAX: usize = 2048;

static HTTP: HeaderValue = HeaderValue::from_static("http");
static HTTPS: HeaderValue = HeaderValue::from_static("https");

impl Client {
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
                // After a poll, so that a request that has already arrived is answered.
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
    async fn accept_tls(
        &self,
        terminator: &Terminator,
        relayed: Protocol,
        stream: TcpStream,
    ) -> Option<(Protocol, Stream)> {
        let mut handshake = pin!(tls::accept(&self.worker, terminator, relayed, stream));
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
                    // An ACME validation consists of the handshake only (RFC 8737, section 3).
                    Some(tls::ACME_TLS) => return None,
                    Some(tls::HTTP_2) => Protocol::Http2,
                    Some(_) | None => Protocol::Http1,
                };
                Some((protocol, Stream::Tls(Box::new(stream))))
            }
            // The client disconnected without an error, as a port check does.
            Some(Err(error)) if error.kind() != io::ErrorKind::InvalidData => None,
            Some(Err(_)) | None => {
                self.shard().handshake_failures.add(1);
                None
            }
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
    /// `None` when it is detected from the first bytes.
    protocol: Option<Protocol>,
}

/// Learns the addresses of a client and, if TLS or the service determines it, its protocol; `None` when the connection is over.
async fn prepare(
    worker: Rc<Worker>,
    local: Rc<LocalService>,
    stream: TcpStream,
    peer: SocketAddr,
) -> Option<ReadyClient> {
    let timer = worker.timers.add(local.snapshot().timeouts.request_head);
    let terminator = local.service.terminator();
    let scheme = if terminator.is_some() { &HTTPS } else { &HTTP };
    let mut client = Client::new(worker, local, timer, peer, scheme);
    client.learn_addresses(&stream, peer).await.ok()?;
    let relayed = client.local.snapshot().protocol;
    let (protocol, stream) = match terminator {
        None => (None, Stream::Plain(stream)),
        Some(terminator) => {
            let (protocol, stream) = client.accept_tls(&terminator, relayed, stream).await?;
            (Some(protocol), stream)
        }
    };
    let protocol = if relayed == Protocol::Tcp { Some(Protocol::Tcp) } else { protocol };
    Some(ReadyClient { client: Rc::new(client), stream, protocol })
}

/// Serves a client in its protocol until the connection is over, or idle: then returns its stream, with empty buffers.
async fn serve_protocol(
    client: &Rc<Client>,
    protocol: Protocol,
    stream: Stream,
    buffered: Bytes,
) -> Option<Stream> {
    // All but HTTP/1.1 are boxed, so that its connections do not pay for the size of the others.
    match protocol {
        Protocol::Http1 => return http1::serve(client, stream, buffered).await,
        // In HTTP/2 received bytes need not be a request: a connection with pings only is idle.
        Protocol::Http2 => Box::pin(http2::serve(client, ClientSocket::new(stream, buffered, None))).await,
        Protocol::Tcp => Box::pin(tcp::serve(client, stream)).await,
        // The service has just been changed from TCP to UDP.
        Protocol::Udp => {}
    }
    None
}
