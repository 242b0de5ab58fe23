//! Tunnels: bytes both ways, after `101 Switching Protocols` or its counterpart in HTTP/2, until one side closes it.

use std::cell::Cell;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, copy_bidirectional};

use crate::access::Record;
use crate::client::Client;
use crate::endpoint::InFlight;
use crate::timer::{Stage, Timer};
use crate::upstream::ByteStream;

/// How long a client may be idle after its endpoint has closed the tunnel.
///
/// A WebSocket sends nothing more then (RFC 6455, section 7.1.1), but other protocols may. 5 s is nginx's `lingering_timeout`.
const LINGER_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct Tunnel {
    /// The client's side, once its answer was sent, if that is an HTTP/2 stream; `None` if it is the whole connection.
    pub(crate) stream: Option<OnUpgrade>,
    pub(crate) endpoint_stream: Box<dyn ByteStream>,
    /// What the endpoint sent after the head of its response.
    pub(crate) endpoint_sent: Bytes,
    /// A tunnel counts as a request in flight, so that draining waits for it.
    pub(crate) in_flight: InFlight,
    /// Kept so that the request is logged when the tunnel ends.
    pub(crate) record: Option<Rc<Record>>,
}

impl Tunnel {
    /// As [`run`](Self::run), over the client's HTTP/2 stream.
    pub(crate) async fn run_over_stream(mut self, client: &Rc<Client>) {
        let Some(stream) = self.stream.take() else { return };
        // This fails if the client has disconnected before it was answered.
        if let Ok(stream) = stream.await {
            self.run(client, TokioIo::new(stream), Bytes::new()).await;
        }
    }

    /// Relays bytes until both sides have closed, one fails, or both have been idle for [`stream_idle`](crate::Timeouts::stream_idle), or
    /// for [`LINGER_TIMEOUT`] once only the client can send anything.
    ///
    /// `buffered` is what the client sent after the head of its request.
    pub(crate) async fn run<S>(self, client: &Rc<Client>, stream: S, buffered: Bytes)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let Self { stream: _, endpoint_stream, endpoint_sent, in_flight, record: _record } = self;
        let idle = client.local.snapshot().timeouts.stream_idle;
        client.timer.arm(Stage::Stream, idle);
        let idle_timeout = Cell::new(idle);
        let timer = &*client.timer;
        let mut to_client =
            TimedStream { stream, timer, idle_timeout: &idle_timeout, after_end: LINGER_TIMEOUT.min(idle) };
        // A client that has closed its side may wait for answers as long as any other.
        let mut to_endpoint =
            TimedStream { stream: endpoint_stream, timer, idle_timeout: &idle_timeout, after_end: idle };
        let mut copy = pin!(async {
            to_endpoint.write_all(&buffered).await?;
            to_client.write_all(&endpoint_sent).await?;
            copy_bidirectional(&mut to_client, &mut to_endpoint).await
        });
        let copied = std::future::poll_fn(|cx| {
            client.timer.register(cx);
            if client.timer.is_expired() {
                return Poll::Ready(None);
            }
            copy.as_mut().poll(cx).map(Some)
        });
        let shard = &in_flight.endpoint().shards[client.worker.index];
        // Many tunnels end otherwise: a side fails, or is idle for too long.
        if let Some(Ok((from_client, from_endpoint))) = copied.await {
            shard.bytes_in.add(from_client);
            shard.bytes_out.add(from_endpoint);
        }
    }
}

/// One side of a tunnel. Whatever it sends restarts the idle timeout of the tunnel.
struct TimedStream<'a, S> {
    stream: S,
    timer: &'a Timer,
    /// How long both sides may be idle.
    idle_timeout: &'a Cell<Duration>,
    /// How long both may be idle once the other side is closed.
    after_end: Duration,
}

impl<S: AsyncRead + Unpin> AsyncRead for TimedStream<'_, S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if read.is_ready() {
            self.timer.arm(Stage::Stream, self.idle_timeout.get());
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for TimedStream<'_, S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ended = Pin::new(&mut self.stream).poll_shutdown(cx);
        if ended.is_ready() {
            self.idle_timeout.set(self.idle_timeout.get().min(self.after_end));
            self.timer.arm(Stage::Stream, self.idle_timeout.get());
        }
        ended
    }
}
