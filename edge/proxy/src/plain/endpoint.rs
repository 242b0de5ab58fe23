//! Connections to endpoints, as long as their exchanges are plain.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use hyper::Method;
use hyper::http::request::Parts;
use hyper::http::uri::PathAndQuery;
use tokio::io::{AsyncReadExt, AsyncWrite};

use super::heads::{HEAD_BYTES_MAX, Parsed, PlainAnswer, take, take_answer};
use super::{READ_BYTES, poll_fill};
use crate::body::RequestBody;
use crate::head::Head;
use crate::upstream::SharedSocket;

/// The size of reads within a long body: the default receive buffer of a socket, which never has more at once.
const LONG_READ_BYTES: usize = 128 * 1024;

/// A connection to an endpoint between two exchanges, or within a [plain](super) one.
#[derive(Debug)]
pub(crate) struct EndpointConnection {
    socket: SharedSocket,
    /// Bytes that were read and not forwarded yet.
    buffered: BytesMut,
    /// The head of the request.
    head: Vec<u8>,
    /// Bytes of the head that were sent.
    head_sent: usize,
    /// Bytes of the answer's body that were not received yet.
    body_remaining: u64,
}

/// What was received after a plain request.
#[derive(Debug)]
pub(crate) enum Received {
    Plain(PlainAnswer),
    /// Input for hyper: an answer that is not plain, or the end of the connection.
    NotPlain,
}

/// Whether a request is plain: it has no body, and expects nothing but its answer.
pub(crate) fn is_plain(head: &Head, body: &RequestBody) -> bool {
    let Parts { method, uri, headers, .. } = &**head;
    matches!(body, RequestBody::Empty)
        && method != Method::HEAD
        && method != Method::CONNECT
        && uri.authority().is_none()
        // A target that begins with its query still needs a path.
        && uri.path_and_query().is_some_and(|target| target.as_str().starts_with('/'))
        && !headers.keys().any(|name| needs_hyper(name.as_str()))
}

fn needs_hyper(name: &str) -> bool {
    matches!(name, "connection" | "content-length" | "expect" | "transfer-encoding" | "upgrade")
}

impl EndpointConnection {
    pub(crate) fn new(socket: SharedSocket) -> Self {
        Self { socket, buffered: BytesMut::new(), head: Vec::new(), head_sent: 0, body_remaining: 0 }
    }

    /// Whether it can take another exchange: the last answer is complete, and nothing was received after it.
    pub(crate) fn is_idle(&self) -> bool {
        self.body_remaining == 0 && self.buffered.is_empty()
    }

    /// Whether the endpoint has sent something without a request, or closed the connection, as far as the runtime knows.
    pub(crate) fn has_input(&mut self, cx: &mut Context<'_>) -> bool {
        self.socket.poll_read_ready(cx).is_ready() && self.poll_fill(cx).is_ready()
    }

    /// Takes the bytes that were read and not forwarded, for hyper to read.
    pub(crate) fn take_buffered(&mut self) -> Bytes {
        std::mem::take(&mut self.buffered).freeze()
    }

    /// Writes the head of a [plain](is_plain) request into the output buffer.
    pub(crate) fn begin_request(&mut self, request: &Head) {
        let Self { head, head_sent, .. } = self;
        head.clear();
        *head_sent = 0;
        head.extend_from_slice(request.method.as_str().as_bytes());
        head.push(b' ');
        let target = request.uri.path_and_query();
        head.extend_from_slice(target.map_or("/", PathAndQuery::as_str).as_bytes());
        head.extend_from_slice(b" HTTP/1.1\r\n");
        for (name, value) in &request.headers {
            head.extend_from_slice(name.as_str().as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(b"\r\n");
    }

    /// Sends the request that was begun, and waits for the head of its answer.
    pub(crate) fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Received>> {
        while self.head_sent < self.head.len() {
            let rest = &self.head[self.head_sent..];
            match ready!(Pin::new(&mut self.socket).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.head_sent += sent,
            }
        }
        loop {
            let buffered = ready!(self.poll_fill(cx))?;
            match take_answer(&mut self.buffered) {
                Parsed::Plain(answer) => {
                    self.body_remaining = answer.length;
                    return Poll::Ready(Ok(Received::Plain(answer)));
                }
                Parsed::NotPlain => return Poll::Ready(Ok(Received::NotPlain)),
                Parsed::Partial if buffered == 0 || self.buffered.len() >= HEAD_BYTES_MAX => {
                    return Poll::Ready(Ok(Received::NotPlain));
                }
                Parsed::Partial => {}
            }
        }
    }

    /// Waits for the next piece of the answer's body; `None` when the endpoint has closed the connection instead.
    pub(crate) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        if self.buffered.is_empty() && ready!(self.poll_fill(cx))? == 0 {
            return Poll::Ready(Ok(None));
        }
        let size = usize::try_from(self.body_remaining).unwrap_or(usize::MAX).min(self.buffered.len());
        self.body_remaining -= size as u64;
        let piece = match self.body_remaining {
            0 => take(&mut self.buffered, size),
            // The rest of the buffer is for the next piece.
            _ => self.buffered.split_to(size).freeze(),
        };
        Poll::Ready(Ok(Some(piece)))
    }

    /// As [`super::poll_fill`], but with a larger buffer within a long body.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let body_remaining = usize::try_from(self.body_remaining).unwrap_or(usize::MAX);
        if body_remaining <= READ_BYTES {
            return poll_fill(&mut self.socket, &mut self.buffered, cx);
        }
        let wanted = body_remaining.min(LONG_READ_BYTES);
        if self.buffered.capacity() - self.buffered.len() < wanted / 2 {
            self.buffered.reserve(wanted);
        }
        pin!(self.socket.read_buf(&mut self.buffered)).poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::{Read, Write};
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn an_idle_connection_does_not_keep_the_buffer_of_a_long_answer() {
        const LENGTH: usize = 1 << 20;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let socket =
            SharedSocket::connect(listener.local_addr().unwrap(), Duration::from_secs(30)).await.unwrap();
        let endpoint = std::thread::spawn(move || {
            let (mut stream, _peer) = listener.accept().unwrap();
            assert!(stream.read(&mut [0; 1024]).unwrap() > 0);
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n");
            stream.write_all(&[head.as_bytes(), &[b'x'; LENGTH]].concat()).unwrap();
        });
        let mut plain = EndpointConnection::new(socket);
        plain.begin_request(&Head::new(Box::new(hyper::Request::get("/").body(()).unwrap().into_parts().0)));
        let received = poll_fn(|cx| plain.poll_answer(cx)).await.unwrap();
        assert!(matches!(received, Received::Plain(answer) if answer.length == LENGTH as u64));
        let (mut read, mut largest) = (0, 0);
        while read < LENGTH {
            read += poll_fn(|cx| plain.poll_piece(cx)).await.unwrap().unwrap().len();
            largest = largest.max(plain.buffered.capacity());
        }
        assert!(plain.is_idle());
        assert!(largest > READ_BYTES && plain.buffered.capacity() <= READ_BYTES, "{largest}");
        endpoint.join().unwrap();
    }
}
