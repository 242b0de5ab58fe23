//! A connection to an endpoint as long as its exchanges are plain.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use hyper::Method;
use hyper::http::request::Parts;
use hyper::http::uri::PathAndQuery;
use tokio::io::{AsyncReadExt, AsyncWrite};

use super::heads::{HEAD_BYTES_MAX, Heard, Told, take, take_answer};
use super::{ROOM, poll_hear};
use crate::body::RequestBody;
use crate::head::Head;
use crate::upstream::SharedSocket;

/// Bytes that are read at a time within a long body: the default receive buffer of a socket, which never has more at once.
const LONG_ROOM: usize = 128 * 1024;

/// A connection to an endpoint between two exchanges, or within a [plain](super) one.
#[derive(Debug)]
pub(crate) struct EndpointConnection {
    socket: SharedSocket,
    /// Bytes that were read and not passed on yet.
    heard: BytesMut,
    /// The head of the request.
    head: Vec<u8>,
    /// Bytes of the head that were sent.
    head_sent: usize,
    /// Bytes of the answer's body that are still to come.
    owed: u64,
}

/// What came in answer to a plain request.
#[derive(Debug)]
pub(crate) enum Came {
    Answer(Told),
    /// Something that hyper has to read: an answer that is not plain, or the end of the connection.
    Other,
}

/// Whether a request is plain: it has no body, and asks for nothing but its answer.
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
        Self { socket, heard: BytesMut::new(), head: Vec::new(), head_sent: 0, owed: 0 }
    }

    /// Whether it can take another exchange: the last answer came whole, and nothing more did.
    pub(crate) fn is_idle(&self) -> bool {
        self.owed == 0 && self.heard.is_empty()
    }

    /// Whether the endpoint has sent something unasked, or ended the connection, as far as the runtime knows.
    pub(crate) fn has_input(&mut self, cx: &mut Context<'_>) -> bool {
        self.socket.poll_read_ready(cx).is_ready() && self.poll_hear(cx).is_ready()
    }

    /// Takes what was read and not passed on, for hyper to read.
    pub(crate) fn take_heard(&mut self) -> Bytes {
        std::mem::take(&mut self.heard).freeze()
    }

    /// Makes the head of a [plain](is_plain) request ready to be sent.
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
    pub(crate) fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Came>> {
        while self.head_sent < self.head.len() {
            let rest = &self.head[self.head_sent..];
            match ready!(Pin::new(&mut self.socket).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.head_sent += sent,
            }
        }
        loop {
            let heard = ready!(self.poll_hear(cx))?;
            match take_answer(&mut self.heard) {
                Heard::Plain(told) => {
                    self.owed = told.length;
                    return Poll::Ready(Ok(Came::Answer(told)));
                }
                Heard::Other => return Poll::Ready(Ok(Came::Other)),
                Heard::Begun if heard == 0 || self.heard.len() >= HEAD_BYTES_MAX => {
                    return Poll::Ready(Ok(Came::Other));
                }
                Heard::Begun => {}
            }
        }
    }

    /// Waits for the next piece of the answer's body; `None` when the endpoint has ended the connection instead.
    pub(crate) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        if self.heard.is_empty() && ready!(self.poll_hear(cx))? == 0 {
            return Poll::Ready(Ok(None));
        }
        let size = usize::try_from(self.owed).unwrap_or(usize::MAX).min(self.heard.len());
        self.owed -= size as u64;
        let piece = match self.owed {
            0 => take(&mut self.heard, size),
            // What room is left is for the next piece.
            _ => self.heard.split_to(size).freeze(),
        };
        Poll::Ready(Ok(Some(piece)))
    }

    /// As [`super::poll_hear`], but with more room within a long body.
    fn poll_hear(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let owed = usize::try_from(self.owed).unwrap_or(usize::MAX);
        if owed <= ROOM {
            return poll_hear(&mut self.socket, &mut self.heard, cx);
        }
        let room = owed.min(LONG_ROOM);
        if self.heard.capacity() - self.heard.len() < room / 2 {
            self.heard.reserve(room);
        }
        pin!(self.socket.read_buf(&mut self.heard)).poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::{Read, Write};
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_connection_at_rest_does_not_keep_what_a_long_answer_needed() {
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
        let came = poll_fn(|cx| plain.poll_answer(cx)).await.unwrap();
        assert!(matches!(came, Came::Answer(told) if told.length == LENGTH as u64));
        let (mut read, mut largest) = (0, 0);
        while read < LENGTH {
            read += poll_fn(|cx| plain.poll_piece(cx)).await.unwrap().unwrap().len();
            largest = largest.max(plain.heard.capacity());
        }
        assert!(plain.is_idle());
        assert!(largest > ROOM && plain.heard.capacity() <= ROOM, "{largest}");
        endpoint.join().unwrap();
    }
}
