//! A socket that comes to hyper in the middle of an exchange.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::wire::Wire;

/// A socket over which there was something said, and heard, before it came to hyper.
#[derive(Debug)]
pub(super) struct Taken {
    wire: Wire,
    /// What is to be read first.
    heard: Bytes,
    echo: Echo,
}

/// What hyper says that the endpoint has heard already, and that goes nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Echo {
    Awaited,
    Begun,
    /// Also where there is none.
    Over,
}

impl Taken {
    /// With what was heard already, and whether hyper is to believe that it has asked.
    pub(super) fn new(wire: Wire, heard: Bytes, has_asked: bool) -> Self {
        Self { wire, heard, echo: if has_asked { Echo::Awaited } else { Echo::Over } }
    }

    /// What was heard and not read since.
    pub(super) fn into_heard(self) -> Bytes {
        self.heard
    }

    /// Whether it is not for the endpoint what hyper says now.
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
            // Before hyper has asked it would take an answer for none. Once it has, it is woken.
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

    /// Whoever writes flushes once all of it was taken.
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
