//! A stream of HTTP/2 as bytes both ways, after an extended CONNECT that the endpoint has accepted.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h2::{RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Http2Stream;
use crate::upstream::is_no_error;

/// Bytes of window that are claimed at once.
const PIECE_BYTES_MAX: usize = 16 * 1024;

/// A stream that carries a tunnel. Shutting it down ends the stream; dropped before both sides have ended, it resets the stream.
/// Source: RFC 8441, section 5.
#[derive(Debug)]
pub(crate) struct TunnelStream {
    recv: RecvStream,
    send: SendStream<Bytes>,
    /// What was received and not read yet.
    buffered: Bytes,
    /// Whether the other side has ended the stream.
    has_ended: bool,
    #[expect(dead_code, reason = "it holds the place on the connection")]
    stream: Http2Stream,
}

impl TunnelStream {
    pub(crate) fn new(recv: RecvStream, send: SendStream<Bytes>, stream: Http2Stream) -> Self {
        Self { recv, send, buffered: Bytes::new(), has_ended: false, stream }
    }
}

impl AsyncRead for TunnelStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.buffered.is_empty() && !self.has_ended {
            match ready!(self.recv.poll_data(cx)) {
                Some(Ok(piece)) => self.buffered = piece,
                // An endpoint that has ended the stream may reset it without waiting for our end. Source: RFC 9113, section 8.1.
                Some(Err(error)) if !is_no_error(&error) => return Poll::Ready(Err(broken(error))),
                Some(Err(_)) | None => self.has_ended = true,
            }
        }
        let len = self.buffered.len().min(buf.remaining());
        buf.put_slice(&self.buffered[..len]);
        self.buffered.advance(len);
        // Fails only for a closed stream, which needs no window.
        let _ = self.recv.flow_control().release_capacity(len);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TunnelStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.send.reserve_capacity(buf.len().min(PIECE_BYTES_MAX));
        while self.send.capacity() == 0 {
            match ready!(self.send.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(broken(error))),
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
        let len = self.send.capacity().min(buf.len());
        let piece = Bytes::copy_from_slice(&buf[..len]);
        Poll::Ready(self.send.send_data(piece, false).map(|()| len).map_err(broken))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.send.reserve_capacity(0);
        match self.send.send_data(Bytes::new(), true) {
            // When the other side ended the stream, it may have closed it both ways.
            Err(_) if self.has_ended => Poll::Ready(Ok(())),
            sent => Poll::Ready(sent.map_err(broken)),
        }
    }
}

fn broken(error: h2::Error) -> io::Error {
    if error.is_io() {
        error.into_io().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into())
    } else {
        io::Error::other(error)
    }
}
