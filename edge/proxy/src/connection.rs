//! One client connection: its own task from the first byte to the last, tunnels included.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use hyper::header::HeaderValue;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::forward;
use crate::hand::{Hand, Stage};
use crate::local::LocalService;
use crate::traffic::Shard;
use crate::tunnel::Tunnel;
use crate::worker::Worker;

/// Bytes of a request's head at most, beyond which the answer is 431; nginx allows 4 × 8 KiB by default.
/// hyper also allows 100 headers at most.
const REQUEST_HEAD_BYTES_MAX: usize = 32 * 1024;

/// A client's connection, as the requests on it see it.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) worker: Rc<Worker>,
    pub(crate) local: Rc<LocalService>,
    pub(crate) hand: Rc<Hand>,
    /// The client's address without the port, as a header value.
    pub(crate) address: HeaderValue,
    /// Set when a request has become a tunnel, which takes over once hyper lets go of the socket.
    pub(crate) tunnel: RefCell<Option<Tunnel>>,
}

impl Client {
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

    fn is_closing(&self) -> bool {
        self.local.service.is_closing() || self.worker.is_stopping()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.worker.hands.remove(&self.hand);
    }
}

/// Serves one client until it leaves, is too slow, or the service goes.
pub(crate) async fn serve(worker: Rc<Worker>, local: Rc<LocalService>, stream: TcpStream, peer: SocketAddr) {
    let hand = worker.hands.add(local.snapshot().timeouts.request_head);
    let socket = ClientSocket { stream, touched: hand.touched() };
    let address = HeaderValue::from_str(&peer.ip().to_canonical().to_string())
        .expect("an address is written in visible ASCII");
    let client = Rc::new(Client { worker, local, hand, address, tunnel: RefCell::new(None) });
    serve_requests(&client, socket).await;
    let tunnel = client.tunnel.take();
    if let Some(tunnel) = tunnel {
        tunnel.run(&client).await;
    }
}

async fn serve_requests(client: &Rc<Client>, socket: ClientSocket) {
    let service = service_fn(|request| {
        let answer = forward::answer(Rc::clone(client), request);
        async move { Ok::<_, Infallible>(answer.await) }
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

/// A client's socket that notes that bytes came.
#[derive(Debug)]
pub(crate) struct ClientSocket {
    stream: TcpStream,
    touched: Arc<AtomicBool>,
}

impl ClientSocket {
    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream
    }
}

impl AsyncRead for ClientSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.touched.store(true, Ordering::Relaxed);
        }
        read
    }
}

impl AsyncWrite for ClientSocket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
