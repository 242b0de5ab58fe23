//! Reads the heads of plain requests and answers.
//!
//! What is taken for plain has to mean the same to hyper, and everything else has to be left as it came. `cargo xtask fuzz heads` compares
//! both on arbitrary bytes.

use std::mem::MaybeUninit;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use httparse::{ParserConfig, Status};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode, Uri};

/// Bytes of a head beyond which it is not plain.
pub(crate) const HEAD_BYTES_MAX: usize = 8 * 1024;

/// Headers of a head beyond which it is not plain.
const HEADERS_MAX: usize = 48;

/// Headers that the proxy adds to a request.
const HEADERS_MORE: usize = 4;

/// A plain request.
#[derive(Debug)]
pub(crate) struct Asked {
    /// Its head, without `Connection`, which is not for the endpoint.
    pub(crate) parts: Box<Parts>,
    /// The same, byte for byte.
    pub(crate) head: Bytes,
    /// Whether the client wants the connection to end with the answer.
    pub(crate) is_last: bool,
}

/// What the bytes read so far are.
#[derive(Debug)]
pub(crate) enum Heard<H> {
    /// The beginning of a head.
    Begun,
    /// A whole head that is plain.
    Plain(H),
    /// Something that hyper has to read.
    Other,
}

/// The place of a part in its head.
#[derive(Debug, Clone, Copy)]
struct Span {
    from: u16,
    to: u16,
}

impl Span {
    const NONE: Self = Self { from: 0, to: 0 };

    /// The place of `part`, a slice of a `head` of at most [`HEAD_BYTES_MAX`] bytes.
    fn of(part: &[u8], head: &[u8]) -> Self {
        let from = part.as_ptr() as usize - head.as_ptr() as usize;
        Self { from: from as u16, to: (from + part.len()) as u16 }
    }

    fn range(self) -> Range<usize> {
        usize::from(self.from)..usize::from(self.to)
    }
}

/// The places of the headers in their head.
#[derive(Debug)]
struct Fields {
    spans: [(Span, Span); HEADERS_MAX],
    count: usize,
}

impl Fields {
    const NONE: Self = Self { spans: [(Span::NONE, Span::NONE); HEADERS_MAX], count: 0 };

    /// Adds the headers of a request, and returns whether it is the last one of its connection; `None` when it is not plain.
    ///
    /// A plain one says at most once whether the connection goes on, and nothing else about it or the framing. That is left out: it is not for
    /// the endpoint.
    fn add_of_request(&mut self, headers: &[httparse::Header<'_>], head: &[u8]) -> Option<bool> {
        let mut said = None;
        for header in headers {
            match Said::by(header) {
                Said::Length | Said::Framing | Said::Wish => return None,
                Said::Connection if said.is_some() => return None,
                Said::Connection => said = Some(ends_connection(header.value)?),
                Said::Nothing => self.add(header, head),
            }
        }
        Some(said.unwrap_or(false))
    }

    /// Adds the headers of an answer, and returns the length of its body; `None` when the answer is not plain.
    ///
    /// A plain one says its length once, in digits, and nothing else about the connection or the framing. `Connection: keep-alive` is left out:
    /// it is not for the client.
    fn add_of_answer(&mut self, headers: &[httparse::Header<'_>], head: &[u8]) -> Option<u64> {
        let mut said = None;
        for header in headers {
            match Said::by(header) {
                Said::Connection if ends_connection(header.value) == Some(false) => continue,
                Said::Framing | Said::Connection => return None,
                Said::Length if said.is_some() => return None,
                Said::Length => said = Some(length(header.value)?),
                Said::Wish | Said::Nothing => {}
            }
            self.add(header, head);
        }
        said
    }

    /// Adds a header of `head`, which has at most [`HEADERS_MAX`].
    fn add(&mut self, header: &httparse::Header<'_>, head: &[u8]) {
        self.spans[self.count] = (Span::of(header.name.as_bytes(), head), Span::of(header.value, head));
        self.count += 1;
    }

    /// Puts them into an empty `map`, with values that share the bytes of the head.
    fn put(&self, head: &Bytes, map: &mut HeaderMap) {
        for (name, value) in &self.spans[..self.count] {
            let name = HeaderName::from_bytes(&head[name.range()]).expect("a name that was parsed is one");
            let value = HeaderValue::from_maybe_shared(head.slice(value.range()))
                .expect("a value that was parsed is one");
            map.append(name, value);
        }
    }
}

/// Takes the head of a plain request off the front of `heard`. Everything else is left as it is.
///
/// Its headers get the room of `spare`, an empty map.
pub(crate) fn take_request(heard: &mut BytesMut, spare: &mut HeaderMap) -> Heard<Asked> {
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut []);
    // As hyper parses: what one refuses, the other does.
    let config = ParserConfig::default();
    let size = match config.parse_request_with_uninit_headers(&mut parsed, heard, &mut headers) {
        Ok(Status::Complete(size)) if size <= HEAD_BYTES_MAX => size,
        Ok(Status::Partial) => return Heard::Begun,
        Ok(Status::Complete(_)) | Err(_) => return Heard::Other,
    };
    let Some((method, target)) = plain_subject(&parsed) else { return Heard::Other };
    let target = Span::of(target.as_bytes(), heard);
    let mut fields = Fields::NONE;
    let Some(is_last) = fields.add_of_request(parsed.headers, heard) else { return Heard::Other };
    let head = take(heard, size);
    let Ok(uri) = Uri::from_maybe_shared(head.slice(target.range())) else {
        *heard = [&head[..], &heard[..]].concat().as_slice().into();
        return Heard::Other;
    };
    let mut parts = Box::new(Request::new(()).into_parts().0);
    (parts.method, parts.uri, parts.headers) = (method, uri, std::mem::take(spare));
    parts.headers.reserve(fields.count + HEADERS_MORE);
    fields.put(&head, &mut parts.headers);
    Heard::Plain(Asked { parts, head, is_last })
}

/// Method and target of a request that may be plain; `None` for others.
fn plain_subject<'b>(parsed: &httparse::Request<'_, 'b>) -> Option<(Method, &'b str)> {
    let method = Method::from_bytes(parsed.method?.as_bytes()).ok()?;
    let target = parsed.path.filter(|target| target.starts_with('/'))?;
    let has_answer_of_length = method != Method::HEAD && method != Method::CONNECT;
    (parsed.version == Some(1) && has_answer_of_length).then_some((method, target))
}

/// Takes the head of a plain answer off the front of `heard`, and returns it with the length of its body. Everything else is left as it is.
pub(crate) fn take_answer(heard: &mut BytesMut) -> Heard<(Response<()>, u64)> {
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut parsed = httparse::Response::new(&mut []);
    // As hyper parses: what one refuses, the other does.
    let config = ParserConfig::default();
    let size = match config.parse_response_with_uninit_headers(&mut parsed, heard, &mut headers) {
        Ok(Status::Complete(size)) if size <= HEAD_BYTES_MAX => size,
        Ok(Status::Partial) => return Heard::Begun,
        Ok(Status::Complete(_)) | Err(_) => return Heard::Other,
    };
    let Some(status) = plain_status(&parsed) else { return Heard::Other };
    let mut fields = Fields::NONE;
    let Some(length) = fields.add_of_answer(parsed.headers, heard) else { return Heard::Other };
    let head = take(heard, size);
    let mut map = HeaderMap::with_capacity(fields.count);
    fields.put(&head, &mut map);
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.headers_mut() = map;
    Heard::Plain((response, length))
}

/// The status of an answer that may be plain: a final one, with a body and the standard reason phrase.
fn plain_status(parsed: &httparse::Response<'_, '_>) -> Option<StatusCode> {
    let status = StatusCode::from_u16(parsed.code?).ok()?;
    (parsed.version == Some(1) && is_of_length(status) && parsed.reason == status.canonical_reason())
        .then_some(status)
}

/// What a header concerns besides the content of its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Nothing,
    Connection,
    /// How long the body is.
    Length,
    /// How the body comes.
    Framing,
    /// What the client wants before the answer, or in its place.
    Wish,
}

impl Said {
    fn by(header: &httparse::Header<'_>) -> Self {
        let name = header.name;
        let (said, meant) = match name.len() {
            6 => (Self::Wish, "expect"),
            7 => (Self::Wish, "upgrade"),
            10 => (Self::Connection, "connection"),
            14 => (Self::Length, "content-length"),
            17 => (Self::Framing, "transfer-encoding"),
            _ => return Self::Nothing,
        };
        let is_meant = name.bytes().map(|byte| byte.to_ascii_lowercase()).eq(meant.bytes());
        if is_meant { said } else { Self::Nothing }
    }
}

/// Whether a value of `Connection` ends it; `None` when it says anything else.
fn ends_connection(value: &[u8]) -> Option<bool> {
    let is_last = value.eq_ignore_ascii_case(b"close");
    (is_last || value.eq_ignore_ascii_case(b"keep-alive")).then_some(is_last)
}

/// Whether an answer of this status is final and has a body of the length that it says.
pub(crate) fn is_of_length(status: StatusCode) -> bool {
    (200..600).contains(&status.as_u16()) && ![204, 304].contains(&status.as_u16())
}

/// A length that consists of digits only, of at most 18, which cannot overflow.
pub(crate) fn length(digits: &[u8]) -> Option<u64> {
    let is_number = (1..=18).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    is_number.then(|| digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}

/// The first `size` bytes of `heard`; if these are all, the buffer itself.
pub(crate) fn take(heard: &mut BytesMut, size: usize) -> Bytes {
    if size == heard.len() { std::mem::take(heard).freeze() } else { heard.split_to(size).freeze() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(text: &str) -> Heard<(Response<()>, u64)> {
        take_answer(&mut BytesMut::from(text))
    }

    #[test]
    fn an_answer_of_a_length_is_plain_and_what_could_mean_more_is_not() {
        let ordinary = "HTTP/1.1 404 Not Found\r\nServer: a\r\ncontent-length: 12\r\nConnection: keep-alive\r\nX: y\r\nX: z\r\n\r\n";
        let Heard::Plain((response, 12)) = heard(ordinary) else { panic!("it is not plain") };
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
            assert!(matches!(take_answer(&mut heard), Heard::Other), "{other:?}");
            assert_eq!(heard, other.as_bytes(), "it is left to others as it came");
        }
    }
}
