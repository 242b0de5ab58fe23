//! What is left of a request after `101 Switching Protocols`, or after what says the same in HTTP/2: bytes both ways until one side has enough.

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
use crate::connection::Client;
use crate::endpoint::InFlight;
use crate::hand::{Hand, Stage};
use crate::line::Carrier;

/// Once the endpoint has ended and the client was told so, it is waited for the client's end for so long, and anew with every byte that it still says.
///
/// A WebSocket has nothing more to say then (RFC 6455, section 7.1.1), and other protocols may. 5 s is nginx's `lingering_timeout`.
const LAST_WORDS: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct Tunnel {
    /// The client's side of it, once its answer is sent, where that is a stream of HTTP/2; otherwise it is the whole connection.
    pub(crate) stream: Option<OnUpgrade>,
    pub(crate) endpoint_stream: Box<dyn Carrier>,
    /// What the endpoint had sent behind its response's head.
    pub(crate) endpoint_sent: Bytes,
    /// A tunnel counts as a request in flight, so that draining waits for it.
    pub(crate) in_flight: InFlight,
    /// It is logged when it ends.
    pub(crate) record: Option<Rc<Record>>,
}

impl Tunnel {
    /// As [`run`](Self::run), over the stream of HTTP/2 that it has.
    pub(crate) async fn run_over_stream(mut self, client: &Rc<Client>) {
        let Some(stream) = self.stream.take() else { return };
        // It fails when the client has left before it was answered.
        if let Ok(stream) = stream.await {
            self.run(client, TokioIo::new(stream), Bytes::new()).await;
        }
    }

    /// Carries bytes until both sides have ended, one breaks, or nothing came for [`stream_idle`](crate::Timeouts::stream_idle), or for
    /// [`LAST_WORDS`] where only the client could say something.
    ///
    /// `heard` is what the client had sent behind its request's head.
    pub(crate) async fn run<S>(self, client: &Rc<Client>, stream: S, heard: Bytes)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let Self { stream: _, endpoint_stream, endpoint_sent, in_flight, record: _record } = self;
        let idle = client.local.snapshot().timeouts.stream_idle;
        client.hand.arm(Stage::Stream, idle);
        let patience = Cell::new(idle);
        let hand = &*client.hand;
        let mut to_client = Watched { stream, hand, patience: &patience, after_end: LAST_WORDS.min(idle) };
        // A client that has ended may wait for an answer as long as any.
        let mut to_endpoint = Watched { stream: endpoint_stream, hand, patience: &patience, after_end: idle };
        let mut carry = pin!(async {
            to_endpoint.write_all(&heard).await?;
            to_client.write_all(&endpoint_sent).await?;
            copy_bidirectional(&mut to_client, &mut to_endpoint).await
        });
        let carried = std::future::poll_fn(|cx| {
            client.hand.register(cx);
            if client.hand.is_expired() {
                return Poll::Ready(None);
            }
            carry.as_mut().poll(cx).map(Some)
        });
        let shard = &in_flight.endpoint().shards[client.worker.index];
        // Otherwise a side broke off or said nothing for too long, which is how many tunnels end.
        if let Some(Ok((from_client, from_endpoint))) = carried.await {
            shard.bytes_in.add(from_client);
            shard.bytes_out.add(from_endpoint);
        }
    }
}

/// One side, whose every arrival sets the time of the tunnel anew.
struct Watched<'a, S> {
    stream: S,
    hand: &'a Hand,
    /// Without a byte for so long the tunnel ends.
    patience: &'a Cell<Duration>,
    /// The most of that once this side has been told that nothing more comes.
    after_end: Duration,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<'_, S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if read.is_ready() {
            self.hand.arm(Stage::Stream, self.patience.get());
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<'_, S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ended = Pin::new(&mut self.stream).poll_shutdown(cx);
        if ended.is_ready() {
            self.patience.set(self.patience.get().min(self.after_end));
            self.hand.arm(Stage::Stream, self.patience.get());
        }
        ended
    }
}
