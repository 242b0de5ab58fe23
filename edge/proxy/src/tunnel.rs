//! What is left of a request after `101 Switching Protocols`, or after what says the same in HTTP/2: bytes both ways until one side has enough.

use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, copy_bidirectional};
use tokio::net::TcpStream;

use crate::access::Record;
use crate::connection::Client;
use crate::endpoint::InFlight;
use crate::hand::{Hand, Stage};

#[derive(Debug)]
pub(crate) struct Tunnel {
    /// The client's side of it, once its answer is sent, where that is a stream of HTTP/2; otherwise it is the whole connection.
    pub(crate) stream: Option<OnUpgrade>,
    pub(crate) endpoint_stream: TcpStream,
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

    /// Carries bytes until both sides have ended, one breaks, or nothing came for [`stream_idle`](crate::Timeouts::stream_idle).
    ///
    /// `heard` is what the client had sent behind its request's head.
    pub(crate) async fn run<S>(self, client: &Rc<Client>, stream: S, heard: Bytes)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let Self { stream: _, endpoint_stream, endpoint_sent, in_flight, record: _record } = self;
        let idle = client.local.snapshot().timeouts.stream_idle;
        client.hand.arm(Stage::Stream, idle);
        let hand = || Rc::clone(&client.hand);
        let mut to_client = Watched { stream, hand: hand(), idle };
        let mut to_endpoint = Watched { stream: endpoint_stream, hand: hand(), idle };
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

/// A socket whose every arrival sets the time of the tunnel anew.
struct Watched<S> {
    stream: S,
    hand: Rc<Hand>,
    idle: Duration,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if read.is_ready() {
            self.hand.arm(Stage::Stream, self.idle);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
