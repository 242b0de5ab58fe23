//! A client's connection as most requests need it.

use std::io::{self, IoSlice, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use hyper::Response;
use hyper::body::Body;
use hyper::header::{CONNECTION, CONTENT_LENGTH, DATE, HeaderMap};
use hyper::http::request::Parts;
use tokio::io::AsyncWrite;
use tokio::time::Instant;

use super::heads::{HEAD_BYTES_MAX, Heard, is_of_length, length, take_request};
use super::poll_hear;
use crate::body::ResponseBody;
use crate::date::Date;
use crate::hand::Hand;
use crate::socket::Stream;

/// A client's connection on which there were only plain requests and answers.
#[derive(Debug)]
pub(crate) struct Talk {
    stream: Stream,
    /// What came and was not looked at.
    heard: BytesMut,
    /// The request that is to be answered, as it came.
    asked: Bytes,
    /// What is to be sent: the head of an answer, of which so much was taken, and a piece of its body.
    said: Vec<u8>,
    taken: usize,
    piece: Bytes,
    /// Bytes of the body that are still to come.
    owed: u64,
    /// Room for the headers of the next request.
    spare: HeaderMap,
}

/// Why no plain request came.
#[derive(Debug)]
pub(crate) enum Unasked {
    /// Something that is to be read by others.
    Other,
    /// The end of the connection, or an error.
    End,
}

impl Talk {
    /// With what was read of the stream already.
    pub(crate) fn new(stream: Stream, heard: Bytes) -> Self {
        Self {
            stream,
            heard: BytesMut::from(heard),
            asked: Bytes::new(),
            said: Vec::new(),
            taken: 0,
            piece: Bytes::new(),
            owed: 0,
            spare: HeaderMap::new(),
        }
    }

    /// The stream, for somebody else to go on from the first byte of the request that was not answered.
    pub(crate) fn into_parts(self) -> (Stream, Bytes) {
        let heard = [&self.asked[..], &self.heard[..]].concat();
        (self.stream, heard.into())
    }

    /// Waits for the head of a request; `hand` is told that something came.
    pub(crate) fn poll_request(
        &mut self,
        cx: &mut Context<'_>,
        hand: &Hand,
    ) -> Poll<Result<Box<Parts>, Unasked>> {
        loop {
            if !self.heard.is_empty() {
                hand.touch();
                match take_request(&mut self.heard, &mut self.spare) {
                    Heard::Plain((parts, asked)) => {
                        self.asked = asked;
                        return Poll::Ready(Ok(parts));
                    }
                    Heard::Begun if self.heard.len() < HEAD_BYTES_MAX => {}
                    Heard::Begun | Heard::Other => return Poll::Ready(Err(Unasked::Other)),
                }
            }
            match ready!(poll_hear(&mut self.stream, &mut self.heard, cx)) {
                Ok(0) | Err(_) => return Poll::Ready(Err(Unasked::End)),
                Ok(_) => {}
            }
        }
    }

    /// Ready when the client has left, as far as that is known without looking past a request that came early, and as `hand` says of one that has
    /// only said its last.
    pub(crate) fn poll_end(&mut self, cx: &mut Context<'_>, hand: &Hand) -> Poll<()> {
        if !self.heard.is_empty() {
            return Poll::Pending;
        }
        match ready!(poll_hear(&mut self.stream, &mut self.heard, cx)) {
            Ok(0) if hand.may_wait() => Poll::Pending,
            Ok(0) | Err(_) => Poll::Ready(()),
            Ok(_) => Poll::Pending,
        }
    }

    /// Writes down the head of a plain answer of [this length](plain_length), with the date as of that tick.
    pub(crate) fn begin_answer(
        &mut self,
        response: Response<ResponseBody>,
        length: u64,
        date: &Date,
        tick: Instant,
    ) -> Answer {
        let (mut parts, body) = response.into_parts();
        let reason = parts.status.canonical_reason().expect("a plain answer has the words of its status");
        (self.taken, self.owed, self.asked) = (0, length, Bytes::new());
        self.said.clear();
        let said = &mut self.said;
        for part in ["HTTP/1.1 ", parts.status.as_str(), " ", reason, "\r\n"] {
            said.extend_from_slice(part.as_bytes());
        }
        let (mut is_dated, mut has_length, mut is_last) = (false, false, false);
        for (name, value) in &parts.headers {
            is_dated |= name == DATE;
            has_length |= name == CONTENT_LENGTH;
            is_last |= name == CONNECTION;
            for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                said.extend_from_slice(part);
            }
        }
        if !has_length {
            write!(said, "content-length: {length}\r\n").expect("there is room");
        }
        if !is_dated {
            date.write(tick, said);
        }
        said.extend_from_slice(b"\r\n");
        parts.headers.clear();
        self.spare = parts.headers;
        Answer { body: Some(body), is_last }
    }

    /// Sends an answer that was begun; an error when it cannot be sent to its end.
    pub(crate) fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
        answer: &mut Answer,
        hand: &Hand,
    ) -> Poll<io::Result<()>> {
        loop {
            let is_waiting = self.piece.is_empty() && self.poll_piece(cx, &mut answer.body)?.is_pending();
            ready!(self.poll_say(cx))?;
            if answer.body.is_none() {
                return Pin::new(&mut self.stream).poll_flush(cx);
            }
            if is_waiting {
                ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
                ready!(self.poll_end(cx, hand));
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
            hand.send();
        }
    }

    /// Takes the next piece of a body that has not ended. It is dropped at its end, and so counted before the client has all of it.
    fn poll_piece(&mut self, cx: &mut Context<'_>, body: &mut Option<ResponseBody>) -> Poll<io::Result<()>> {
        let Some(coming) = body else { return Poll::Ready(Ok(())) };
        if self.owed > 0 {
            let frame = ready!(Pin::new(&mut *coming).poll_frame(cx));
            let Some(Ok(frame)) = frame else { return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())) };
            let piece = frame.into_data().unwrap_or_default();
            assert!(piece.len() as u64 <= self.owed, "a body is longer than it said");
            self.owed -= piece.len() as u64;
            self.piece = piece;
        }
        if self.owed == 0 {
            *body = None;
        }
        Poll::Ready(Ok(()))
    }

    /// Sends what there is to be sent.
    fn poll_say(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let head = &self.said[self.taken..];
            if head.is_empty() && self.piece.is_empty() {
                // An empty piece would hold the room of the whole one, which is to be read into again.
                self.piece = Bytes::new();
                return Poll::Ready(Ok(()));
            }
            let both = [IoSlice::new(head), IoSlice::new(&self.piece)];
            let of_head = head.len();
            let taken = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, &both))?;
            if taken == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.taken += taken.min(of_head);
            self.piece.advance(taken.saturating_sub(of_head));
        }
    }
}

/// What is to be sent after the head.
#[derive(Debug)]
pub(crate) struct Answer {
    /// `None` once all of it was taken.
    body: Option<ResponseBody>,
    /// The connection ends with it.
    pub(crate) is_last: bool,
}

/// How long the body of a plain answer is; `None` for an answer that is not plain.
pub(crate) fn plain_length(response: &Response<ResponseBody>) -> Option<u64> {
    let size = response.body().size_hint().exact()?;
    let mut is_said = false;
    for (name, value) in response.headers() {
        match name.as_str() {
            "content-length" if is_said || length(value.as_bytes()) != Some(size) => return None,
            "content-length" => is_said = true,
            "transfer-encoding" | "upgrade" => return None,
            _ => {}
        }
    }
    let is_plain = is_of_length(response.status())
        && response.status().canonical_reason().is_some()
        // Such as words of an endpoint's own for its status.
        && response.extensions().is_empty();
    is_plain.then_some(size)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::hand::Hands;

    #[tokio::test]
    async fn what_was_sent_of_an_answer_is_held_no_longer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _peer) = listener.accept().await.unwrap();
        let mut talk = Talk::new(Stream::Plain(stream), Bytes::new());
        let words = Bytes::from(vec![b'x'; 1000]);
        let response = Response::new(ResponseBody::Own(Some(words.clone())));
        let length = plain_length(&response).unwrap();
        let mut answer = talk.begin_answer(response, length, &Date::default(), Instant::now());
        let hand = Hands::new().add(Duration::from_secs(60));
        poll_fn(|cx| talk.poll_answer(cx, &mut answer, &hand)).await.unwrap();
        assert!(words.is_unique());
        let mut heard = Vec::new();
        drop(talk);
        client.read_to_end(&mut heard).await.unwrap();
        assert!(heard.ends_with(&words));
    }
}
