//! Connections of clients on which every request so far was plain.

use std::io::{self, IoSlice, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use hyper::StatusCode;
use hyper::body::Body;
use hyper::header::{CONNECTION, CONTENT_LENGTH, DATE, HeaderMap};
use hyper::http::request::Parts;
use tokio::io::AsyncWrite;
use tokio::time::Instant;

use super::heads::{HEAD_BYTES_MAX, Parsed, PlainRequest, has_sized_body, length, take_request};
use super::poll_fill;
use crate::answer::Answer;
use crate::body::ResponseBody;
use crate::date::Date;
use crate::socket::Stream;
use crate::timer::Timer;

/// The initial capacity for the head of an answer: most need less.
const HEAD_BYTES_USUAL: usize = 512;

/// The length up to which a head and the piece after it are joined in one buffer. Sending one buffer takes some 90 ns less than two
/// (`send` instead of `writev`), and copying 1 KB takes 20 ns.
const JOINED_BYTES_MAX: usize = 2048;

/// A client's connection, read and written here as long as its requests and answers are [plain](super).
#[derive(Debug)]
pub(crate) struct ClientConnection {
    stream: Stream,
    /// Bytes that were read and not parsed yet.
    buffered: BytesMut,
    /// The head of the request that has no answer yet, byte for byte.
    request_head: Bytes,
    /// Whether the client wants the connection to be closed after the answer to it.
    closes_after_answer: bool,
    output: Output,
}

/// The answer on its way to the client.
#[derive(Debug, Default)]
struct Output {
    /// The head, and the beginning of the body if that is short.
    head: Vec<u8>,
    /// Bytes of the head that were sent.
    head_sent: usize,
    /// What is left to send of the latest piece of the body.
    piece: Bytes,
    /// Bytes of the body that are not in a piece yet.
    body_remaining: u64,
}

impl ClientConnection {
    /// Takes over a stream of which `buffered` was read already.
    pub(crate) fn new(stream: Stream, buffered: Bytes) -> Self {
        Self {
            stream,
            buffered: BytesMut::from(buffered),
            request_head: Bytes::new(),
            closes_after_answer: false,
            output: Output::default(),
        }
    }

    /// The stream, and what was read from the first byte of the unanswered request on.
    pub(crate) fn into_parts(self) -> (Stream, Bytes) {
        let buffered = [&self.request_head[..], &self.buffered[..]].concat();
        (self.stream, buffered.into())
    }

    /// Whether the client wants the connection to be closed after the answer to its latest request.
    pub(crate) fn closes_after_answer(&self) -> bool {
        self.closes_after_answer
    }

    /// Waits for the head of a request, and notes in `timer` when some of it was received.
    ///
    /// Ready with `None`, and nothing consumed, when the request is not plain; with an error when the client has closed or broken the
    /// connection.
    pub(crate) fn poll_request(
        &mut self,
        cx: &mut Context<'_>,
        timer: &Timer,
    ) -> Poll<io::Result<Option<Box<Parts>>>> {
        loop {
            if !self.buffered.is_empty() {
                timer.note_received();
                match take_request(&mut self.buffered) {
                    Parsed::Plain(PlainRequest { parts, head, is_last }) => {
                        (self.request_head, self.closes_after_answer) = (head, is_last);
                        return Poll::Ready(Ok(Some(parts)));
                    }
                    Parsed::Partial if self.buffered.len() < HEAD_BYTES_MAX => {}
                    Parsed::Partial | Parsed::NotPlain => return Poll::Ready(Ok(None)),
                }
            }
            if ready!(poll_fill(&mut self.stream, &mut self.buffered, cx))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    /// Ready when the client has disconnected, as far as that is known without reading past a pipelined request. `timer` says how long a
    /// half-closed connection is tolerated.
    pub(crate) fn poll_closed(&mut self, cx: &mut Context<'_>, timer: &Timer) -> Poll<()> {
        if !self.buffered.is_empty() {
            return Poll::Pending;
        }
        match ready!(poll_fill(&mut self.stream, &mut self.buffered, cx)) {
            Ok(0) if timer.tolerates_half_close() => Poll::Pending,
            Ok(0) | Err(_) => Poll::Ready(()),
            Ok(_) => Poll::Pending,
        }
    }

    /// Writes the head of a plain answer into the output buffer. The connection is closed after it if it `is_last` or its headers require that;
    /// `length` is its [`plain_length`], `tick` the time of its `Date`.
    pub(crate) fn begin_answer(
        &mut self,
        mut answer: Answer<ResponseBody>,
        length: u64,
        is_last: bool,
        date: &Date,
        tick: Instant,
    ) -> OutgoingAnswer {
        self.request_head = Bytes::new();
        (self.output.head_sent, self.output.body_remaining) = (0, length);
        let head = &mut self.output.head;
        head.clear();
        head.reserve(HEAD_BYTES_USUAL);
        let written = match answer.raw_head() {
            Some(raw_head) => {
                raw_head.write(head);
                WrittenHead { has_date: raw_head.has_date(), is_last: false }
            }
            None => write_head(answer.status, answer.headers(), length, head),
        };
        if is_last && !written.is_last {
            head.extend_from_slice(b"connection: close\r\n");
        }
        if !written.has_date {
            date.write(tick, head);
        }
        head.extend_from_slice(b"\r\n");
        OutgoingAnswer { body: Some(answer.body), is_last: is_last || written.is_last }
    }

    /// Sends an answer that was begun. An error means that it could not be sent completely.
    pub(crate) fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
        answer: &mut OutgoingAnswer,
        timer: &Timer,
    ) -> Poll<io::Result<()>> {
        loop {
            let is_waiting =
                self.output.piece.is_empty() && self.output.poll_piece(cx, &mut answer.body)?.is_pending();
            ready!(self.output.poll_send(&mut self.stream, cx))?;
            if answer.body.is_none() {
                return Pin::new(&mut self.stream).poll_flush(cx);
            }
            if is_waiting {
                ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
                ready!(self.poll_closed(cx, timer));
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
            timer.note_sent();
        }
    }
}

/// The effect of a written head on the connection.
struct WrittenHead {
    has_date: bool,
    /// Whether the connection is closed after it.
    is_last: bool,
}

/// Writes the head of a plain answer from its headers, and its length if they lack it.
fn write_head(status: StatusCode, headers: &HeaderMap, length: u64, head: &mut Vec<u8>) -> WrittenHead {
    let reason = status.canonical_reason().expect("a plain answer has a standard status");
    for part in ["HTTP/1.1 ", status.as_str(), " ", reason, "\r\n"] {
        head.extend_from_slice(part.as_bytes());
    }
    let mut written = WrittenHead { has_date: false, is_last: false };
    let mut has_length = false;
    for (name, value) in headers {
        written.has_date |= name == DATE;
        written.is_last |= name == CONNECTION;
        has_length |= name == CONTENT_LENGTH;
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            head.extend_from_slice(part);
        }
    }
    if !has_length {
        write!(head, "content-length: {length}\r\n").expect("writing to a vector cannot fail");
    }
    written
}

impl Output {
    /// Waits for the next piece of the body. The body is dropped, and thereby counted, before the last piece is sent.
    fn poll_piece(&mut self, cx: &mut Context<'_>, body: &mut Option<ResponseBody>) -> Poll<io::Result<()>> {
        let Some(coming) = body else { return Poll::Ready(Ok(())) };
        if self.body_remaining > 0 {
            let frame = ready!(Pin::new(&mut *coming).poll_frame(cx));
            let Some(Ok(frame)) = frame else { return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())) };
            let piece = frame.into_data().unwrap_or_default();
            assert!(piece.len() as u64 <= self.body_remaining, "a body is longer than its declared length");
            self.body_remaining -= piece.len() as u64;
            if self.head_sent == 0 && self.head.len() + piece.len() <= JOINED_BYTES_MAX {
                self.head.extend_from_slice(&piece);
            } else {
                self.piece = piece;
            }
        }
        if self.body_remaining == 0 {
            *body = None;
        }
        Poll::Ready(Ok(()))
    }

    /// Sends what is left of the head and the piece.
    fn poll_send(&mut self, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let head = &self.head[self.head_sent..];
            if head.is_empty() && self.piece.is_empty() {
                // Even an empty piece would keep the whole buffer that it is a part of, which is to be reused.
                self.piece = Bytes::new();
                return Poll::Ready(Ok(()));
            }
            let of_head = head.len();
            let stream = Pin::new(&mut *stream);
            let sent = ready!(if self.piece.is_empty() {
                stream.poll_write(cx, head)
            } else {
                stream.poll_write_vectored(cx, &[IoSlice::new(head), IoSlice::new(&self.piece)])
            })?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.head_sent += sent.min(of_head);
            self.piece.advance(sent.saturating_sub(of_head));
        }
    }
}

/// An answer that was begun.
#[derive(Debug)]
pub(crate) struct OutgoingAnswer {
    /// `None` once its last piece was taken.
    body: Option<ResponseBody>,
    /// Whether the connection is closed after it.
    pub(crate) is_last: bool,
}

/// How long the body of a plain answer is; `None` for an answer that is not plain.
pub(crate) fn plain_length(answer: &mut Answer<ResponseBody>) -> Option<u64> {
    let size = answer.body.size_hint().exact()?;
    if answer.raw_head().is_some() {
        return Some(size);
    }
    let mut has_length = false;
    for (name, value) in answer.headers() {
        match name.as_str() {
            "content-length" if has_length || length(value.as_bytes()) != Some(size) => return None,
            "content-length" => has_length = true,
            "transfer-encoding" | "upgrade" => return None,
            _ => {}
        }
    }
    let has_standard_reason = answer.status.canonical_reason().is_some() && !answer.has_extensions();
    (has_sized_body(answer.status) && has_standard_reason).then_some(size)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use hyper::Response;
    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::timer::Timers;

    #[tokio::test]
    async fn an_answer_is_sent_completely_and_its_pieces_are_released() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        // Joined with the head in one buffer, around the limit of that, and in a buffer of its own.
        for size in [1, 1000, 5000].into_iter().chain(1950..=JOINED_BYTES_MAX) {
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (stream, _peer) = listener.accept().await.unwrap();
            let mut connection = ClientConnection::new(Stream::Plain(stream), Bytes::new());
            let content: Bytes = (0..size).map(|place| b'a' + u8::try_from(place % 26).unwrap()).collect();
            let mut answer = Answer::from(Response::new(ResponseBody::Local(Some(content.clone()))));
            let length = plain_length(&mut answer).unwrap();
            let mut answer = connection.begin_answer(answer, length, false, &Date::default(), Instant::now());
            let timer = Timers::new().add(Duration::from_secs(60));
            poll_fn(|cx| connection.poll_answer(cx, &mut answer, &timer)).await.unwrap();
            assert!(content.is_unique());

            let mut buffered = Vec::new();
            drop(connection);
            client.read_to_end(&mut buffered).await.unwrap();
            let (head, body) = buffered.split_at(buffered.len() - size);
            assert_eq!(body, content);
            assert!(head.starts_with(b"HTTP/1.1 200 OK\r\n") && head.ends_with(b"\r\n\r\n"));
        }
    }
}
