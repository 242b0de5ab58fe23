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
use hyper::{Method, Request, StatusCode, Uri};

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

/// The head of a plain answer.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) status: StatusCode,
    /// How many bytes of a body follow.
    pub(crate) length: u64,
    pub(crate) lines: Lines,
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

/// The places of the headers of a request in its head.
#[derive(Debug)]
struct Fields {
    spans: [(Span, Span); HEADERS_MAX],
    count: usize,
    /// Whether the client wants the connection to end with the answer.
    is_last: bool,
}

impl Fields {
    /// Finds the headers of a request; `None` when it is not plain.
    ///
    /// A plain one says at most once whether the connection goes on, and nothing else about it or the framing. That is left out: it is not for
    /// the endpoint.
    fn of(headers: &[httparse::Header<'_>], head: &[u8]) -> Option<Self> {
        let mut fields = Self { spans: [(Span::NONE, Span::NONE); HEADERS_MAX], count: 0, is_last: false };
        let mut has_connection = false;
        for header in headers {
            match Said::by(header.name) {
                Said::Length | Said::Framing | Said::Wish | Said::Upgrade => return None,
                Said::Connection if has_connection => return None,
                Said::Connection => {
                    fields.is_last = ends_connection(header.value)?;
                    has_connection = true;
                }
                Said::Nothing | Said::Date | Said::ToProxy => {
                    fields.spans[fields.count] =
                        (Span::of(header.name.as_bytes(), head), Span::of(header.value, head));
                    fields.count += 1;
                }
            }
        }
        Some(fields)
    }

    /// Puts them into an empty `map`, with values that share the bytes of the head.
    fn put(&self, head: &Bytes, map: &mut HeaderMap) {
        for (name, value) in &self.spans[..self.count] {
            append(map, &head[name.range()], head.slice(value.range()));
        }
    }
}

/// Appends a header that was parsed.
fn append(map: &mut HeaderMap, name: &[u8], value: Bytes) {
    let name = HeaderName::from_bytes(name).expect("a name that was parsed is one");
    let value = HeaderValue::from_maybe_shared(value).expect("a value that was parsed is one");
    map.append(name, value);
}

/// Lines of an answer that may be left out of its head.
const GAPS_MAX: usize = 3;

/// The head of a plain answer as it came, without the empty line at its end and without what is not for the client.
#[derive(Debug)]
pub(crate) struct Lines {
    head: Bytes,
    /// What is passed on, in its order.
    pieces: [Span; GAPS_MAX + 1],
    is_dated: bool,
}

impl Lines {
    /// Whether they tell when the answer was made.
    pub(crate) fn is_dated(&self) -> bool {
        self.is_dated
    }

    /// Writes status line and headers.
    pub(crate) fn write(&self, into: &mut Vec<u8>) {
        for piece in self.pieces {
            into.extend_from_slice(&self.head[piece.range()]);
        }
    }

    /// The headers, with values that share the bytes of the head.
    pub(crate) fn to_map(&self) -> HeaderMap {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut parsed = httparse::Response::new(&mut headers);
        parsed.parse(&self.head).expect("a head that was parsed is one");
        let passed = parsed.headers.iter().filter(|header| Said::by(header.name).is_for_client());
        let mut map = HeaderMap::with_capacity(parsed.headers.len());
        for header in passed {
            append(&mut map, header.name.as_bytes(), self.head.slice_ref(header.value));
        }
        map
    }
}

/// What the headers of an answer say, and where what is passed on of them stands.
#[derive(Debug)]
struct Marks {
    pieces: [Span; GAPS_MAX + 1],
    is_dated: bool,
    length: u64,
}

impl Marks {
    /// Reads the headers of an answer, the first of which stands at `begin`; `None` when it is not plain.
    ///
    /// A plain one says its length once, in digits, and nothing else about the connection or the framing but that it goes on. Its lines are
    /// written as everybody writes them, so that they can be passed on as they are.
    fn of(headers: &[httparse::Header<'_>], head: &[u8], begin: usize) -> Option<Self> {
        let (mut pieces, mut gaps) = ([Span::NONE; GAPS_MAX + 1], 0);
        let (mut length_said, mut is_dated) = (None, false);
        let (mut from, mut at) = (0, begin);
        for header in headers {
            let end = end_of_line(header, head, at)?;
            let said = Said::by(header.name);
            match said {
                Said::Framing => return None,
                Said::Connection if ends_connection(header.value) != Some(false) => return None,
                Said::Length if length_said.is_some() => return None,
                Said::Length => length_said = Some(length(header.value)?),
                Said::Date => is_dated = true,
                Said::Connection | Said::Upgrade | Said::ToProxy | Said::Wish | Said::Nothing => {}
            }
            if !said.is_for_client() {
                let piece = pieces.get_mut(gaps).filter(|_| gaps < GAPS_MAX)?;
                *piece = Span { from: from as u16, to: at as u16 };
                (from, gaps) = (end, gaps + 1);
            }
            at = end;
        }
        pieces[gaps] = Span { from: from as u16, to: at as u16 };
        Some(Self { pieces, is_dated, length: length_said? })
    }
}

/// Where the line of a `header` ends that begins `at` a place in its `head`; `None` when it is not written as everybody writes it.
fn end_of_line(header: &httparse::Header<'_>, head: &[u8], at: usize) -> Option<usize> {
    let (name, value) =
        (Span::of(header.name.as_bytes(), head).range(), Span::of(header.value, head).range());
    let is_usual = name.start == at
        && head[name.end..].starts_with(b": ")
        && value.start == name.end + 2
        && head[value.end..].starts_with(b"\r\n");
    is_usual.then_some(value.end + 2)
}

/// Takes the head of a plain request off the front of `heard`. Everything else is left as it is.
pub(crate) fn take_request(heard: &mut BytesMut) -> Heard<Asked> {
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
    let Some(fields) = Fields::of(parsed.headers, heard) else { return Heard::Other };
    let head = take(heard, size);
    let Ok(uri) = Uri::from_maybe_shared(head.slice(target.range())) else {
        *heard = [&head[..], &heard[..]].concat().as_slice().into();
        return Heard::Other;
    };
    let mut parts = Box::new(Request::new(()).into_parts().0);
    (parts.method, parts.uri) = (method, uri);
    parts.headers = HeaderMap::with_capacity(fields.count + HEADERS_MORE);
    fields.put(&head, &mut parts.headers);
    Heard::Plain(Asked { parts, head, is_last: fields.is_last })
}

/// Method and target of a request that may be plain; `None` for others.
fn plain_subject<'b>(parsed: &httparse::Request<'_, 'b>) -> Option<(Method, &'b str)> {
    let method = Method::from_bytes(parsed.method?.as_bytes()).ok()?;
    let target = parsed.path.filter(|target| target.starts_with('/'))?;
    let has_answer_of_length = method != Method::HEAD && method != Method::CONNECT;
    (parsed.version == Some(1) && has_answer_of_length).then_some((method, target))
}

/// Takes the head of a plain answer off the front of `heard`. Everything else is left as it is.
pub(crate) fn take_answer(heard: &mut BytesMut) -> Heard<Told> {
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut parsed = httparse::Response::new(&mut []);
    // As hyper parses: what one refuses, the other does.
    let config = ParserConfig::default();
    let size = match config.parse_response_with_uninit_headers(&mut parsed, heard, &mut headers) {
        Ok(Status::Complete(size)) if size <= HEAD_BYTES_MAX => size,
        Ok(Status::Partial) => return Heard::Begun,
        Ok(Status::Complete(_)) | Err(_) => return Heard::Other,
    };
    let Some((status, begin)) = plain_status(&parsed, heard) else { return Heard::Other };
    let Some(marks) = Marks::of(parsed.headers, heard, begin) else { return Heard::Other };
    let Marks { pieces, is_dated, length } = marks;
    Heard::Plain(Told { status, length, lines: Lines { head: take(heard, size), pieces, is_dated } })
}

/// The status of an answer that may be plain, and where its headers begin in its `head`: a final one, with a body, in a line as everybody writes it.
fn plain_status(parsed: &httparse::Response<'_, '_>, head: &[u8]) -> Option<(StatusCode, usize)> {
    let status = StatusCode::from_u16(parsed.code?).ok()?;
    let reason = status.canonical_reason()?;
    let begin = "HTTP/1.1 200 \r\n".len() + reason.len();
    let line = head.get(..begin)?;
    let is_usual = line.starts_with(b"HTTP/1.1 ") && line.ends_with(b"\r\n");
    (is_usual && is_of_length(status) && parsed.reason == Some(reason)).then_some((status, begin))
}

/// What a header concerns besides the content of its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Nothing,
    /// When the message was made.
    Date,
    Connection,
    /// How long the body is.
    Length,
    /// How the body comes.
    Framing,
    /// What the client wants before the answer.
    Wish,
    /// Another protocol.
    Upgrade,
    /// What is between the endpoint and the proxy. Source: RFC 9110, sections 7.6.1 and 11.7.1.
    ToProxy,
}

impl Said {
    fn by(name: &str) -> Self {
        let is = |meant: &str| name.eq_ignore_ascii_case(meant);
        match name.len() {
            2 if is("te") => Self::ToProxy,
            4 if is("date") => Self::Date,
            6 if is("expect") => Self::Wish,
            7 if is("upgrade") => Self::Upgrade,
            10 if is("connection") => Self::Connection,
            10 if is("keep-alive") => Self::ToProxy,
            14 if is("content-length") => Self::Length,
            16 if is("proxy-connection") => Self::ToProxy,
            17 if is("transfer-encoding") => Self::Framing,
            18 if is("proxy-authenticate") => Self::ToProxy,
            _ => Self::Nothing,
        }
    }

    /// Whether a header of an answer is passed on.
    fn is_for_client(self) -> bool {
        match self {
            Self::Nothing | Self::Date | Self::Length | Self::Wish => true,
            Self::Connection | Self::Framing | Self::Upgrade | Self::ToProxy => false,
        }
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

    fn heard(text: &str) -> Heard<Told> {
        take_answer(&mut BytesMut::from(text))
    }

    #[test]
    fn what_is_between_endpoint_and_proxy_is_left_out_wherever_it_stands() {
        let between = ["Connection: keep-alive\r\n", "Keep-Alive: timeout=5\r\n", "Upgrade: h2c\r\n"];
        for at in 0..=3 {
            let mut lines = vec!["Date: a\r\n", "Content-Length: 5\r\n", "expect: b\r\n"];
            lines.splice(at..at, between);
            let Heard::Plain(Told { lines, .. }) =
                heard(&format!("HTTP/1.1 200 OK\r\n{}\r\n", lines.concat()))
            else {
                panic!("it is not plain")
            };
            let mut written = Vec::new();
            lines.write(&mut written);
            let passed = "HTTP/1.1 200 OK\r\nDate: a\r\nContent-Length: 5\r\nexpect: b\r\n";
            assert_eq!((written, lines.is_dated()), (passed.into(), true));
            let names: Vec<_> = lines.to_map().keys().map(ToString::to_string).collect();
            assert_eq!(names, ["date", "content-length", "expect"]);
        }
    }

    #[test]
    fn an_answer_of_a_length_is_plain_and_what_could_mean_more_is_not() {
        let ordinary = "HTTP/1.1 404 Not Found\r\nServer: a\r\ncontent-length: 12\r\nConnection: keep-alive\r\nX: y\r\nX: z\r\n\r\n";
        let Heard::Plain(Told { status, length: 12, lines }) = heard(ordinary) else {
            panic!("it is not plain")
        };
        assert_eq!((status.as_u16(), lines.is_dated()), (404, false));
        let mut written = Vec::new();
        lines.write(&mut written);
        let passed = "HTTP/1.1 404 Not Found\r\nServer: a\r\ncontent-length: 12\r\nX: y\r\nX: z\r\n";
        assert_eq!(written, passed.as_bytes());
        assert_eq!(lines.to_map().get_all("x").iter().count(), 2);
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
            with("Content-Length: 5\r\nTE: a\r\nUpgrade: b\r\nKeep-Alive: c\r\nProxy-Authenticate: d\r\n"),
            // Not written as everybody writes them: what is passed on must be.
            with("Content-Length:5\r\n"),
            with("Content-Length: 5\r\nX:  y\r\n"),
            with("Content-Length: 5\r\nX: y \r\n"),
            with("Content-Length: 5\r\nX:\r\n"),
            with("Content-Length: 5\nX: y\r\n"),
            with("X: y\r\nContent-Length: 5\n"),
            "\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n".to_owned(),
            "\nHTTP/1.1 200 OK\nContent-Length: 5\r\n\r\n".to_owned(),
            "HTTP/1.1 200 OK\nContent-Length: 5\r\n\r\n".to_owned(),
            "HTTP/1.1 404 \n\n".to_owned(),
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
