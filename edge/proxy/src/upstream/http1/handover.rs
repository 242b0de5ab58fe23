//! A socket that is handed over to hyper, perhaps in the middle of an exchange.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::upstream::SharedSocket;

/// A socket that was read from and written to before it was handed over to hyper.
#[derive(Debug)]
pub(super) struct HandoverSocket {
    socket: SharedSocket,
    /// Bytes that were read already and that hyper reads first.
    buffered: Bytes,
    echo: Echo,
}

/// The part that hyper writes of a request that was sent already, which is discarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Echo {
    Awaited,
    Begun,
    /// It was written, or there is none.
    Done,
}

impl HandoverSocket {
    /// With `was_sent` the request was sent already, so that what hyper writes of it is discarded.
    pub(super) fn new(socket: SharedSocket, buffered: Bytes, was_sent: bool) -> Self {
        Self { socket, buffered, echo: if was_sent { Echo::Awaited } else { Echo::Done } }
    }

    /// The bytes read before the handover that hyper has not read.
    pub(super) fn into_buffered(self) -> Bytes {
        self.buffered
    }

    /// Whether what hyper writes now is the request that was sent already.
    fn discards_write(&mut self) -> bool {
        if self.echo == Echo::Awaited {
            self.echo = Echo::Begun;
        }
        self.echo == Echo::Begun
    }
}

impl AsyncRead for HandoverSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.echo != Echo::Done {
            // hyper would refuse an answer that precedes its request. It is woken once it has written the request.
            return Poll::Pending;
        }
        if self.buffered.has_remaining() {
            let size = self.buffered.len().min(buf.remaining());
            buf.put_slice(&self.buffered.split_to(size));
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for HandoverSocket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.discards_write() {
            return Poll::Ready(Ok(buf.len()));
        }
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.discards_write() {
            return Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()));
        }
        Pin::new(&mut self.socket).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// hyper flushes once it has written a complete request.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.echo == Echo::Begun {
            self.echo = Echo::Done;
            cx.waker().wake_by_ref();
        }
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
