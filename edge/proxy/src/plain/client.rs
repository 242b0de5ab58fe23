//! A client's connection on which every request so far was plain.

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

use super::heads::{Asked, HEAD_BYTES_MAX, Heard, is_of_length, length, take_request};
use super::poll_hear;
use crate::answer::Answer;
use crate::body::ResponseBody;
use crate::date::Date;
use crate::socket::Stream;
use crate::timer::Timer;

/// Room that heads of answers get at first: most need less.
const HEAD_BYTES_USUAL: usize = 512;

/// The longest head with a piece behind it that are made one buffer. The system takes one in some 90 ns less than two (`send` instead of `writev`),
/// and copying 1 KB takes 20.
const JOINED_BYTES_MAX: usize = 2048;

/// A client's connection, read and written here as long as its requests and answers are [plain](super).
#[derive(Debug)]
pub(crate) struct ClientConnection {
    stream: Stream,
    /// Bytes that were read and not parsed yet.
    heard: BytesMut,
    /// The head of the request that has no answer yet, byte for byte.
    asked: Bytes,
    /// Whether the client wants the connection to end with the answer to it.
    is_last_asked: bool,
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
    owed: u64,
}

impl ClientConnection {
    /// Takes over a stream of which `heard` was read already.
    pub(crate) fn new(stream: Stream, heard: Bytes) -> Self {
        Self {
            stream,
            heard: BytesMut::from(heard),
            asked: Bytes::new(),
            is_last_asked: false,
            output: Output::default(),
        }
    }

    /// The stream, and what was read of it from the first byte of the unanswered request on.
    pub(crate) fn into_parts(self) -> (Stream, Bytes) {
        let heard = [&self.asked[..], &self.heard[..]].concat();
        (self.stream, heard.into())
    }

    /// Whether the client wants the connection to end with the answer to its latest request.
    pub(crate) fn is_last_asked(&self) -> bool {
        self.is_last_asked
    }

    /// Waits for the head of a request, and tells `timer` when some of it has come.
    ///
    /// Ready with `None`, and nothing consumed, when the request is not plain; with an error when the client has ended or broken the
    /// connection.
    pub(crate) fn poll_request(
        &mut self,
        cx: &mut Context<'_>,
        timer: &Timer,
    ) -> Poll<io::Result<Option<Box<Parts>>>> {
        loop {
            if !self.heard.is_empty() {
                timer.note_received();
                match take_request(&mut self.heard) {
                    Heard::Plain(Asked { parts, head, is_last }) => {
                        (self.asked, self.is_last_asked) = (head, is_last);
                        return Poll::Ready(Ok(Some(parts)));
                    }
                    Heard::Begun if self.heard.len() < HEAD_BYTES_MAX => {}
                    Heard::Begun | Heard::Other => return Poll::Ready(Ok(None)),
                }
            }
            if ready!(poll_hear(&mut self.stream, &mut self.heard, cx))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    /// Ready when the client has left, as far as that is known without reading past a pipelined request. `timer` says how long a client that has only
    /// closed its side may wait.
    pub(crate) fn poll_end(&mut self, cx: &mut Context<'_>, timer: &Timer) -> Poll<()> {
        if !self.heard.is_empty() {
            return Poll::Pending;
        }
        match ready!(poll_hear(&mut self.stream, &mut self.heard, cx)) {
            Ok(0) if timer.tolerates_half_close() => Poll::Pending,
            Ok(0) | Err(_) => Poll::Ready(()),
            Ok(_) => Poll::Pending,
        }
    }

    /// Makes the head of a plain answer ready to be sent, the last one of the connection if it `is_last` or says so itself; `length` is its
    /// [`plain_length`], `tick` the time that its date tells.
    pub(crate) fn begin_answer(
        &mut self,
        mut answer: Answer<ResponseBody>,
        length: u64,
        is_last: bool,
        date: &Date,
        tick: Instant,
    ) -> Sending {
        self.asked = Bytes::new();
        (self.output.head_sent, self.output.owed) = (0, length);
        let head = &mut self.output.head;
        head.clear();
        head.reserve(HEAD_BYTES_USUAL);
        let written = match answer.lines() {
            Some(lines) => {
                lines.write(head);
                Written { is_dated: lines.is_dated(), is_last: false }
            }
            None => write_head(answer.status, answer.headers(), length, head),
        };
        if is_last && !written.is_last {
            head.extend_from_slice(b"connection: close\r\n");
        }
        if !written.is_dated {
            date.write(tick, head);
        }
        head.extend_from_slice(b"\r\n");
        Sending { body: Some(answer.body), is_last: is_last || written.is_last }
    }

    /// Sends an answer that was begun. An error says that it could not be sent whole.
    pub(crate) fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
        answer: &mut Sending,
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
                ready!(self.poll_end(cx, timer));
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
            timer.note_sent();
        }
    }
}

/// What a head says that was written.
struct Written {
    is_dated: bool,
    /// Whether the connection ends with it.
    is_last: bool,
}

/// Writes the head of a plain answer from its headers, and its length if they do not say it.
fn write_head(status: StatusCode, headers: &HeaderMap, length: u64, head: &mut Vec<u8>) -> Written {
    let reason = status.canonical_reason().expect("a plain answer has the words of its status");
    for part in ["HTTP/1.1 ", status.as_str(), " ", reason, "\r\n"] {
        head.extend_from_slice(part.as_bytes());
    }
    let mut written = Written { is_dated: false, is_last: false };
    let mut has_length = false;
    for (name, value) in headers {
        written.is_dated |= name == DATE;
        written.is_last |= name == CONNECTION;
        has_length |= name == CONTENT_LENGTH;
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            head.extend_from_slice(part);
        }
    }
    if !has_length {
        write!(head, "content-length: {length}\r\n").expect("there is room");
    }
    written
}

impl Output {
    /// Waits for the next piece of the body. The body is dropped, and thereby counted, before the last piece is sent.
    fn poll_piece(&mut self, cx: &mut Context<'_>, body: &mut Option<ResponseBody>) -> Poll<io::Result<()>> {
        let Some(coming) = body else { return Poll::Ready(Ok(())) };
        if self.owed > 0 {
            let frame = ready!(Pin::new(&mut *coming).poll_frame(cx));
            let Some(Ok(frame)) = frame else { return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())) };
            let piece = frame.into_data().unwrap_or_default();
            assert!(piece.len() as u64 <= self.owed, "a body is longer than it said");
            self.owed -= piece.len() as u64;
            if self.head_sent == 0 && self.head.len() + piece.len() <= JOINED_BYTES_MAX {
                self.head.extend_from_slice(&piece);
            } else {
                self.piece = piece;
            }
        }
        if self.owed == 0 {
            *body = None;
        }
        Poll::Ready(Ok(()))
    }

    /// Sends what is left of head and piece.
    fn poll_send(&mut self, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let head = &self.head[self.head_sent..];
            if head.is_empty() && self.piece.is_empty() {
                // Even an empty piece would keep the whole buffer that it was cut from, which is to be read into again.
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
pub(crate) struct Sending {
    /// `None` once its last piece was taken.
    body: Option<ResponseBody>,
    /// Whether the connection ends with it.
    pub(crate) is_last: bool,
}

/// How long the body of a plain answer is; `None` for an answer that is not plain.
pub(crate) fn plain_length(answer: &mut Answer<ResponseBody>) -> Option<u64> {
    let size = answer.body.size_hint().exact()?;
    if answer.lines().is_some() {
        return Some(size);
    }
    let mut is_said = false;
    for (name, value) in answer.headers() {
        match name.as_str() {
            "content-length" if is_said || length(value.as_bytes()) != Some(size) => return None,
            "content-length" => is_said = true,
            "transfer-encoding" | "upgrade" => return None,
            _ => {}
        }
    }
    let has_usual_words = answer.status.canonical_reason().is_some() && !answer.has_extensions();
    (is_of_length(answer.status) && has_usual_words).then_some(size)
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
    async fn what_was_sent_of_an_answer_is_whole_and_held_no_longer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        // Behind the head in one buffer, around the longest that is, and in one of its own.
        for size in [1, 1000, 5000].into_iter().chain(1950..=JOINED_BYTES_MAX) {
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (stream, _peer) = listener.accept().await.unwrap();
            let mut connection = ClientConnection::new(Stream::Plain(stream), Bytes::new());
            let words: Bytes = (0..size).map(|place| b'a' + u8::try_from(place % 26).unwrap()).collect();
            let mut answer = Answer::from(Response::new(ResponseBody::Local(Some(words.clone()))));
            let length = plain_length(&mut answer).unwrap();
            let mut answer = connection.begin_answer(answer, length, false, &Date::default(), Instant::now());
            let timer = Timers::new().add(Duration::from_secs(60));
            poll_fn(|cx| connection.poll_answer(cx, &mut answer, &timer)).await.unwrap();
            assert!(words.is_unique());

            let mut heard = Vec::new();
            drop(connection);
            client.read_to_end(&mut heard).await.unwrap();
            let (head, body) = heard.split_at(heard.len() - size);
            assert_eq!(body, words);
            assert!(head.starts_with(b"HTTP/1.1 200 OK\r\n") && head.ends_with(b"\r\n\r\n"));
        }
    }
}
