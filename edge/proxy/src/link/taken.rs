//! A socket that hyper takes over in the middle of an exchange.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::wire::Wire;

/// A socket that was read and written before hyper took it over.
#[derive(Debug)]
pub(super) struct Taken {
    wire: Wire,
    /// Bytes that were read already; hyper reads them first.
    heard: Bytes,
    echo: Echo,
}

/// The request as hyper writes it though it was sent already; it is discarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Echo {
    Awaited,
    Begun,
    /// It was written, or there is none.
    Over,
}

impl Taken {
    /// With `has_asked` the request was sent already, and hyper is only to believe that it sends it.
    pub(super) fn new(wire: Wire, heard: Bytes, has_asked: bool) -> Self {
        Self { wire, heard, echo: if has_asked { Echo::Awaited } else { Echo::Over } }
    }

    /// What hyper has not read of the bytes that were read before.
    pub(super) fn into_heard(self) -> Bytes {
        self.heard
    }

    /// Whether what hyper writes now is the request that was sent already.
    fn swallows(&mut self) -> bool {
        if self.echo == Echo::Awaited {
            self.echo = Echo::Begun;
        }
        self.echo == Echo::Begun
    }
}

impl AsyncRead for Taken {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.echo != Echo::Over {
            // hyper would refuse an answer that comes before its request. It is woken once it has written that.
            return Poll::Pending;
        }
        if self.heard.has_remaining() {
            let size = self.heard.len().min(buf.remaining());
            buf.put_slice(&self.heard.split_to(size));
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.wire).poll_read(cx, buf)
    }
}

impl AsyncWrite for Taken {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.swallows() {
            return Poll::Ready(Ok(buf.len()));
        }
        Pin::new(&mut self.wire).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.swallows() {
            return Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()));
        }
        Pin::new(&mut self.wire).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// hyper flushes once it has written a request whole.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.echo == Echo::Begun {
            self.echo = Echo::Over;
            cx.waker().wake_by_ref();
        }
        Pin::new(&mut self.wire).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_shutdown(cx)
    }
}
