//! A connection to an endpoint as most exchanges need it.

use std::future::Future;
use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use httparse::{ParserConfig, Status};
use hyper::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HeaderMap, HeaderName, TRANSFER_ENCODING, UPGRADE};
use hyper::http::uri::PathAndQuery;
use hyper::{Method, Response, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWrite};

use super::{Fields, HEADERS_MAX, ROOM, is_of_length, length, poll_hear, take};
use crate::body::RequestBody;
use crate::head::Head;
use crate::wire::Wire;

/// Bytes that are read at a time within a long body. As much as a socket has by default; more is not there at once.
const LONG_ROOM: usize = 128 * 1024;

/// A connection between two exchanges, or within a plain one.
#[derive(Debug)]
pub(crate) struct Plain {
    wire: Wire,
    /// What came and was not passed on.
    heard: BytesMut,
    /// The head of the request, and how much of it the system has taken.
    said: Vec<u8>,
    taken: usize,
    /// Bytes of the answer's body that are still to come.
    owed: u64,
}

/// What came of an exchange that was begun as a plain one.
#[derive(Debug)]
pub(crate) enum Came {
    /// The head of an answer, and the length of its body.
    Answer(Response<()>, u64),
    /// An answer that is not plain, or the end of the connection, or an error.
    Other,
}

/// Whether a request needs no more than its head, and asks for nothing that has to be agreed upon.
pub(crate) fn is_plain(head: &Head, body: &RequestBody) -> bool {
    let Head { method, uri, headers } = head;
    matches!(body, RequestBody::Empty)
        && method != Method::HEAD
        && method != Method::CONNECT
        && uri.authority().is_none()
        // One that begins with its query is to be written with a path.
        && uri.path_and_query().is_some_and(|target| target.as_str().starts_with('/'))
        && [CONNECTION, CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING, UPGRADE]
            .iter()
            .all(|it| !headers.contains_key(it))
}

impl Plain {
    pub(crate) fn new(wire: Wire) -> Self {
        Self { wire, heard: BytesMut::new(), said: Vec::new(), taken: 0, owed: 0 }
    }

    /// Whether it can take another exchange: all of the last one came, and nothing more.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.owed == 0 && self.heard.is_empty()
    }

    /// Whether the endpoint has said something unasked, or that it says nothing more, as far as the runtime knows.
    pub(crate) fn has_news(&mut self, cx: &mut Context<'_>) -> bool {
        self.poll_hear(cx).is_ready()
    }

    /// What came and was not passed on, for somebody else to read.
    pub(crate) fn take_heard(&mut self) -> Bytes {
        std::mem::take(&mut self.heard).freeze()
    }

    /// Writes down what a [plain](is_plain) request says.
    pub(crate) fn ask(&mut self, head: &Head) {
        let Self { said, taken, .. } = self;
        said.clear();
        *taken = 0;
        said.extend_from_slice(head.method.as_str().as_bytes());
        said.push(b' ');
        let target = head.uri.path_and_query();
        said.extend_from_slice(target.map_or("/", PathAndQuery::as_str).as_bytes());
        said.extend_from_slice(b" HTTP/1.1\r\n");
        for (name, value) in &head.headers {
            said.extend_from_slice(name.as_str().as_bytes());
            said.extend_from_slice(b": ");
            said.extend_from_slice(value.as_bytes());
            said.extend_from_slice(b"\r\n");
        }
        said.extend_from_slice(b"\r\n");
    }

    /// Says what was written down, and waits for the head of the answer.
    pub(crate) fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Came>> {
        while self.taken < self.said.len() {
            let rest = &self.said[self.taken..];
            match ready!(Pin::new(&mut self.wire).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                taken => self.taken += taken,
            }
        }
        loop {
            let heard = ready!(self.poll_hear(cx))?;
            match take_head(&mut self.heard) {
                Heard::Plain(response, length) => {
                    self.owed = length;
                    return Poll::Ready(Ok(Came::Answer(response, length)));
                }
                Heard::Other => return Poll::Ready(Ok(Came::Other)),
                Heard::Begun if heard == 0 || self.heard.len() >= ROOM => {
                    return Poll::Ready(Ok(Came::Other));
                }
                Heard::Begun => {}
            }
        }
    }

    /// The next piece of an answer's body; `None` when the endpoint has left before its end.
    pub(crate) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        if self.heard.is_empty() && ready!(self.poll_hear(cx))? == 0 {
            return Poll::Ready(Ok(None));
        }
        let size = usize::try_from(self.owed).unwrap_or(usize::MAX).min(self.heard.len());
        self.owed -= size as u64;
        let piece = match self.owed {
            0 => take(&mut self.heard, size),
            // The room is for the next one, too.
            _ => self.heard.split_to(size).freeze(),
        };
        Poll::Ready(Ok(Some(piece)))
    }

    /// Reads what is there; answers how many bytes that were, 0 when nothing more will come.
    fn poll_hear(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let owed = usize::try_from(self.owed).unwrap_or(usize::MAX);
        if owed <= ROOM {
            return poll_hear(&mut self.wire, &mut self.heard, cx);
        }
        let room = owed.min(LONG_ROOM);
        if self.heard.capacity() - self.heard.len() < room / 2 {
            self.heard.reserve(room);
        }
        pin!(self.wire.read_buf(&mut self.heard)).poll(cx)
    }
}

/// What has come of an answer.
#[derive(Debug)]
enum Heard {
    /// Not all of its head.
    Begun,
    /// A head, and how long the body is.
    Plain(Response<()>, u64),
    /// Something that is to be read by others.
    Other,
}

/// Takes the head of a plain answer off what was heard; what is none is left as it is.
fn take_head(heard: &mut BytesMut) -> Heard {
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut parsed = httparse::Response::new(&mut []);
    // As hyper parses: what one refuses, the other does.
    let config = ParserConfig::default();
    let size = match config.parse_response_with_uninit_headers(&mut parsed, heard, &mut headers) {
        Ok(Status::Complete(size)) if size <= ROOM => size,
        Ok(Status::Partial) => return Heard::Begun,
        Ok(Status::Complete(_)) | Err(_) => return Heard::Other,
    };
    let Some(status) = plain_status(&parsed) else { return Heard::Other };
    let Some(length) = plain_length(parsed.headers) else { return Heard::Other };
    let fields = Fields::of(parsed.headers, heard);
    let head = take(heard, size);
    let mut map = HeaderMap::with_capacity(fields.count);
    fields.put(&head, &mut map);
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.headers_mut() = map;
    Heard::Plain(response, length)
}

/// The status of an answer that may be plain: none that is followed by another, has no body, or says what it means in words of its own.
fn plain_status(parsed: &httparse::Response<'_, '_>) -> Option<StatusCode> {
    let status = StatusCode::from_u16(parsed.code?).ok()?;
    (parsed.version == Some(1) && is_of_length(status) && parsed.reason == status.canonical_reason())
        .then_some(status)
}

/// The length of a plain answer: it is said once, in digits, and nothing else is said of the connection or of how the body comes.
fn plain_length(headers: &[httparse::Header<'_>]) -> Option<u64> {
    let mut said = None;
    for header in headers {
        let is = |name: HeaderName| header.name.eq_ignore_ascii_case(name.as_str());
        if is(CONTENT_LENGTH) {
            let one = length(header.value);
            if one.is_none() || said.is_some() {
                return None;
            }
            said = one;
        } else if is(TRANSFER_ENCODING)
            || (is(CONNECTION) && !header.value.eq_ignore_ascii_case(b"keep-alive"))
        {
            return None;
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::{Read, Write};
    use std::time::Duration;

    use super::*;

    fn heard(text: &str) -> Heard {
        take_head(&mut BytesMut::from(text))
    }

    #[test]
    fn an_answer_of_a_length_is_plain_and_what_could_mean_more_is_not() {
        let ordinary = "HTTP/1.1 404 Not Found\r\nServer: a\r\ncontent-length: 12\r\nConnection: keep-alive\r\nX: y\r\nX: z\r\n\r\n";
        let Heard::Plain(response, 12) = heard(ordinary) else { panic!("it is not plain") };
        assert_eq!((response.status().as_u16(), response.headers().get_all("x").iter().count()), (404, 2));
        for end in 0..ordinary.len() {
            assert!(matches!(heard(&ordinary[..end]), Heard::Begun), "{end}");
        }
        let with = |lines: &str| format!("HTTP/1.1 200 OK\r\n{lines}\r\n");
        let others = [
            with(""),
            with("Content-Length: 5\r\nContent-Length: 5\r\n"),
            with("Content-Length: +5\r\n"),
            with("Content-Length: 1234567890123456789\r\n"),
            with("Transfer-Encoding: chunked\r\n"),
            with("Content-Length: 5\r\nTransfer-Encoding: identity\r\n"),
            with("Content-Length: 5\r\nConnection: close\r\n"),
            with("Content-Length: 5\r\nConnection: keep-alive, upgrade\r\n"),
            with("Content-Length: 5\r\nX: a\r\n b\r\n"),
            with(&format!("Content-Length: 5\r\n{}", "X: y\r\n".repeat(HEADERS_MAX))),
            "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n".to_owned(),
            "HTTP/1.1 200 Fine\r\nContent-Length: 5\r\n\r\n".to_owned(),
            "HTTP/1.1 100 Continue\r\nContent-Length: 0\r\n\r\n".to_owned(),
            "HTTP/1.1 101 Switching Protocols\r\nContent-Length: 0\r\n\r\n".to_owned(),
            "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n".to_owned(),
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n".to_owned(),
        ];
        for other in others {
            let mut heard = BytesMut::from(&*other);
            assert!(matches!(take_head(&mut heard), Heard::Other), "{other:?}");
            assert_eq!(heard, other.as_bytes(), "it is left to others as it came");
        }
    }

    #[tokio::test]
    async fn a_connection_at_rest_does_not_keep_what_a_long_answer_needed() {
        const LENGTH: usize = 1 << 20;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let wire = Wire::connect(listener.local_addr().unwrap(), Duration::from_secs(30)).await.unwrap();
        let endpoint = std::thread::spawn(move || {
            let (mut stream, _peer) = listener.accept().unwrap();
            assert!(stream.read(&mut [0; 1024]).unwrap() > 0);
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n");
            stream.write_all(&[head.as_bytes(), &[b'x'; LENGTH]].concat()).unwrap();
        });
        let mut plain = Plain::new(wire);
        plain.ask(&Head::new(hyper::Request::get("/").body(()).unwrap().into_parts().0));
        let came = poll_fn(|cx| plain.poll_answer(cx)).await.unwrap();
        assert!(matches!(came, Came::Answer(_, length) if length == LENGTH as u64));
        let (mut read, mut largest) = (0, 0);
        while read < LENGTH {
            read += poll_fn(|cx| plain.poll_piece(cx)).await.unwrap().unwrap().len();
            largest = largest.max(plain.heard.capacity());
        }
        assert!(plain.is_at_rest());
        assert!(largest > ROOM && plain.heard.capacity() <= ROOM, "{largest}");
        endpoint.join().unwrap();
    }
}
