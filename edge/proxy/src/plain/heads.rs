//! Parses the heads of plain requests and answers.
//!
//! Whatever is parsed here must have the same meaning to hyper, and everything else must stay in the buffer unchanged. `cargo xtask fuzz heads`
//! compares both on arbitrary bytes.

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
const HEADERS_ADDED: usize = 4;

/// A plain request.
#[derive(Debug)]
pub(crate) struct PlainRequest {
    /// Its head, without `Connection`, which is not for the endpoint.
    pub(crate) parts: Box<Parts>,
    /// The same, byte for byte.
    pub(crate) head: Bytes,
    /// Whether the client wants the connection to be closed after the answer.
    pub(crate) is_last: bool,
}

/// The head of a plain answer.
#[derive(Debug)]
pub(crate) struct PlainAnswer {
    pub(crate) status: StatusCode,
    /// How many bytes of a body follow.
    pub(crate) length: u64,
    pub(crate) raw_head: RawHead,
}

/// The result of parsing the bytes that were read so far.
#[derive(Debug)]
pub(crate) enum Parsed<H> {
    /// The beginning of a head.
    Partial,
    /// A complete head that is plain.
    Plain(H),
    /// Something that hyper has to parse.
    NotPlain,
}

/// The range of a part within its head.
#[derive(Debug, Clone, Copy)]
struct Span {
    from: u16,
    to: u16,
}

impl Span {
    const NONE: Self = Self { from: 0, to: 0 };

    /// The range of `part`, a slice of a `head` of at most [`HEAD_BYTES_MAX`] bytes.
    fn of(part: &[u8], head: &[u8]) -> Self {
        let from = part.as_ptr() as usize - head.as_ptr() as usize;
        Self { from: from as u16, to: (from + part.len()) as u16 }
    }

    fn range(self) -> Range<usize> {
        usize::from(self.from)..usize::from(self.to)
    }
}

/// The headers of a request, by their ranges in its head.
#[derive(Debug)]
struct RequestHeaders {
    spans: [(Span, Span); HEADERS_MAX],
    count: usize,
    /// Whether the client wants the connection to be closed after the answer.
    is_last: bool,
}

impl RequestHeaders {
    /// Finds the headers of a request; `None` when it is not plain.
    ///
    /// A plain one has at most one `Connection` header, of `close` or `keep-alive`, and none about the framing. `Connection` is left out: it is
    /// not for the endpoint.
    fn of(headers: &[httparse::Header<'_>], head: &[u8]) -> Option<Self> {
        let mut fields = Self { spans: [(Span::NONE, Span::NONE); HEADERS_MAX], count: 0, is_last: false };
        let mut has_connection = false;
        for header in headers {
            match HeaderKind::of(header.name) {
                HeaderKind::Length | HeaderKind::Framing | HeaderKind::Expect | HeaderKind::Upgrade => {
                    return None;
                }
                HeaderKind::Connection if has_connection => return None,
                HeaderKind::Connection => {
                    fields.is_last = ends_connection(header.value)?;
                    has_connection = true;
                }
                HeaderKind::Other | HeaderKind::Date | HeaderKind::HopByHop => {
                    fields.spans[fields.count] =
                        (Span::of(header.name.as_bytes(), head), Span::of(header.value, head));
                    fields.count += 1;
                }
            }
        }
        Some(fields)
    }

    /// Appends them to an empty `map`, with values that share the bytes of the head.
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

/// Headers of an answer that may be left out of its head.
const GAPS_MAX: usize = 3;

/// The head of a plain answer as it was received, without the empty line at its end and without headers that are not for the client.
#[derive(Debug)]
pub(crate) struct RawHead {
    head: Bytes,
    /// The forwarded parts, in order.
    pieces: [Span; GAPS_MAX + 1],
    has_date: bool,
}

impl RawHead {
    /// Whether it has a `Date`.
    pub(crate) fn has_date(&self) -> bool {
        self.has_date
    }

    /// Writes the status line and the headers.
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
        let passed = parsed.headers.iter().filter(|header| HeaderKind::of(header.name).is_for_client());
        let mut map = HeaderMap::with_capacity(parsed.headers.len());
        for header in passed {
            append(&mut map, header.name.as_bytes(), self.head.slice_ref(header.value));
        }
        map
    }
}

/// The parsed headers of an answer, and the ranges of the head that are forwarded.
#[derive(Debug)]
struct AnswerHeaders {
    pieces: [Span; GAPS_MAX + 1],
    has_date: bool,
    length: u64,
}

impl AnswerHeaders {
    /// Reads the headers of an answer, which begin at `begin`; `None` when it is not plain.
    ///
    /// A plain one has one `Content-Length`, in digits, `Connection` only with `keep-alive`, and nothing else about the framing. Its lines are
    /// in canonical form (`Name: value` and CRLF), so that they can be passed on as they are.
    fn of(headers: &[httparse::Header<'_>], head: &[u8], begin: usize) -> Option<Self> {
        let (mut pieces, mut gaps) = ([Span::NONE; GAPS_MAX + 1], 0);
        let (mut content_length, mut has_date) = (None, false);
        let (mut from, mut at) = (0, begin);
        for header in headers {
            let end = end_of_line(header, head, at)?;
            let kind = HeaderKind::of(header.name);
            match kind {
                HeaderKind::Framing => return None,
                HeaderKind::Connection if ends_connection(header.value) != Some(false) => return None,
                HeaderKind::Length if content_length.is_some() => return None,
                HeaderKind::Length => content_length = Some(length(header.value)?),
                HeaderKind::Date => has_date = true,
                HeaderKind::Connection
                | HeaderKind::Upgrade
                | HeaderKind::HopByHop
                | HeaderKind::Expect
                | HeaderKind::Other => {}
            }
            if !kind.is_for_client() {
                let piece = pieces.get_mut(gaps).filter(|_| gaps < GAPS_MAX)?;
                *piece = Span { from: from as u16, to: at as u16 };
                (from, gaps) = (end, gaps + 1);
            }
            at = end;
        }
        pieces[gaps] = Span { from: from as u16, to: at as u16 };
        Some(Self { pieces, has_date, length: content_length? })
    }
}

/// The end of the line of a `header` that begins at byte `at` of its `head`; `None` when it is not in canonical form.
fn end_of_line(header: &httparse::Header<'_>, head: &[u8], at: usize) -> Option<usize> {
    let (name, value) =
        (Span::of(header.name.as_bytes(), head).range(), Span::of(header.value, head).range());
    let is_canonical = name.start == at
        && head[name.end..].starts_with(b": ")
        && value.start == name.end + 2
        && head[value.end..].starts_with(b"\r\n");
    is_canonical.then_some(value.end + 2)
}

/// Takes the head of a plain request from the front of `buffered`. Everything else is left as it is.
pub(crate) fn take_request(buffered: &mut BytesMut) -> Parsed<PlainRequest> {
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut []);
    // With the same parser and settings as hyper.
    let config = ParserConfig::default();
    let size = match config.parse_request_with_uninit_headers(&mut parsed, buffered, &mut headers) {
        Ok(Status::Complete(size)) if size <= HEAD_BYTES_MAX => size,
        Ok(Status::Partial) => return Parsed::Partial,
        Ok(Status::Complete(_)) | Err(_) => return Parsed::NotPlain,
    };
    let Some((method, target)) = request_line(&parsed) else { return Parsed::NotPlain };
    let target = Span::of(target.as_bytes(), buffered);
    let Some(fields) = RequestHeaders::of(parsed.headers, buffered) else { return Parsed::NotPlain };
    let head = take(buffered, size);
    let Ok(uri) = Uri::from_maybe_shared(head.slice(target.range())) else {
        *buffered = [&head[..], &buffered[..]].concat().as_slice().into();
        return Parsed::NotPlain;
    };
    let mut parts = Box::new(Request::new(()).into_parts().0);
    (parts.method, parts.uri) = (method, uri);
    parts.headers = HeaderMap::with_capacity(fields.count + HEADERS_ADDED);
    fields.put(&head, &mut parts.headers);
    Parsed::Plain(PlainRequest { parts, head, is_last: fields.is_last })
}

/// Method and target of a request that may be plain; `None` for others.
fn request_line<'b>(parsed: &httparse::Request<'_, 'b>) -> Option<(Method, &'b str)> {
    let method = Method::from_bytes(parsed.method?.as_bytes()).ok()?;
    let target = parsed.path.filter(|target| target.starts_with('/'))?;
    let has_answer_of_length = method != Method::HEAD && method != Method::CONNECT;
    (parsed.version == Some(1) && has_answer_of_length).then_some((method, target))
}

/// Takes the head of a plain answer from the front of `buffered`. Everything else is left as it is.
pub(crate) fn take_answer(buffered: &mut BytesMut) -> Parsed<PlainAnswer> {
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut parsed = httparse::Response::new(&mut []);
    // With the same parser and settings as hyper.
    let config = ParserConfig::default();
    let size = match config.parse_response_with_uninit_headers(&mut parsed, buffered, &mut headers) {
        Ok(Status::Complete(size)) if size <= HEAD_BYTES_MAX => size,
        Ok(Status::Partial) => return Parsed::Partial,
        Ok(Status::Complete(_)) | Err(_) => return Parsed::NotPlain,
    };
    let Some((status, begin)) = status_line(&parsed, buffered) else { return Parsed::NotPlain };
    let Some(headers) = AnswerHeaders::of(parsed.headers, buffered, begin) else { return Parsed::NotPlain };
    let AnswerHeaders { pieces, has_date, length } = headers;
    Parsed::Plain(PlainAnswer {
        status,
        length,
        raw_head: RawHead { head: take(buffered, size), pieces, has_date },
    })
}

/// The status of an answer that may be plain, and where its headers begin in its `head`. The status is final and has a body, and its line is in
/// canonical form.
fn status_line(parsed: &httparse::Response<'_, '_>, head: &[u8]) -> Option<(StatusCode, usize)> {
    let status = StatusCode::from_u16(parsed.code?).ok()?;
    let reason = status.canonical_reason()?;
    let begin = "HTTP/1.1 200 \r\n".len() + reason.len();
    let line = head.get(..begin)?;
    let is_canonical = line.starts_with(b"HTTP/1.1 ") && line.ends_with(b"\r\n");
    (is_canonical && has_sized_body(status) && parsed.reason == Some(reason)).then_some((status, begin))
}

/// The headers that matter for the connection or the framing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HeaderKind {
    Other,
    /// `Date`.
    Date,
    Connection,
    /// `Content-Length`.
    Length,
    /// `Transfer-Encoding`.
    Framing,
    /// `Expect`.
    Expect,
    Upgrade,
    /// Other headers between the endpoint and the proxy only. Source: RFC 9110, sections 7.6.1 and 11.7.1.
    HopByHop,
}

impl HeaderKind {
    fn of(name: &str) -> Self {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        match name.len() {
            2 if is("te") => Self::HopByHop,
            4 if is("date") => Self::Date,
            6 if is("expect") => Self::Expect,
            7 if is("upgrade") => Self::Upgrade,
            10 if is("connection") => Self::Connection,
            10 if is("keep-alive") => Self::HopByHop,
            14 if is("content-length") => Self::Length,
            16 if is("proxy-connection") => Self::HopByHop,
            17 if is("transfer-encoding") => Self::Framing,
            18 if is("proxy-authenticate") => Self::HopByHop,
            _ => Self::Other,
        }
    }

    /// Whether a header of an answer is forwarded.
    fn is_for_client(self) -> bool {
        match self {
            Self::Other | Self::Date | Self::Length | Self::Expect => true,
            Self::Connection | Self::Framing | Self::Upgrade | Self::HopByHop => false,
        }
    }
}

/// Whether a value of `Connection` closes it; `None` when it is neither `close` nor `keep-alive`.
fn ends_connection(value: &[u8]) -> Option<bool> {
    let is_last = value.eq_ignore_ascii_case(b"close");
    (is_last || value.eq_ignore_ascii_case(b"keep-alive")).then_some(is_last)
}

/// Whether an answer of this status is final and has a body, whose length is that of `Content-Length`.
pub(crate) fn has_sized_body(status: StatusCode) -> bool {
    (200..600).contains(&status.as_u16()) && ![204, 304].contains(&status.as_u16())
}

/// A length that consists of digits only, of at most 18, which cannot overflow.
pub(crate) fn length(digits: &[u8]) -> Option<u64> {
    let is_number = (1..=18).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    is_number.then(|| digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}

/// The first `size` bytes of `buffered`; if these are all, the buffer itself.
pub(crate) fn take(buffered: &mut BytesMut, size: usize) -> Bytes {
    if size == buffered.len() { std::mem::take(buffered).freeze() } else { buffered.split_to(size).freeze() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffered(text: &str) -> Parsed<PlainAnswer> {
        take_answer(&mut BytesMut::from(text))
    }

    #[test]
    fn hop_by_hop_headers_are_left_out_wherever_they_are() {
        let between = ["Connection: keep-alive\r\n", "Keep-Alive: timeout=5\r\n", "Upgrade: h2c\r\n"];
        for at in 0..=3 {
            let mut lines = vec!["Date: a\r\n", "Content-Length: 5\r\n", "expect: b\r\n"];
            lines.splice(at..at, between);
            let Parsed::Plain(PlainAnswer { raw_head, .. }) =
                buffered(&format!("HTTP/1.1 200 OK\r\n{}\r\n", lines.concat()))
            else {
                panic!("it is not plain")
            };
            let mut written = Vec::new();
            raw_head.write(&mut written);
            let passed = "HTTP/1.1 200 OK\r\nDate: a\r\nContent-Length: 5\r\nexpect: b\r\n";
            assert_eq!((written, raw_head.has_date()), (passed.into(), true));
            let names: Vec<_> = raw_head.to_map().keys().map(ToString::to_string).collect();
            assert_eq!(names, ["date", "content-length", "expect"]);
        }
    }

    #[test]
    fn an_answer_with_a_length_is_plain_and_anything_ambiguous_is_not() {
        let ordinary = "HTTP/1.1 404 Not Found\r\nServer: a\r\ncontent-length: 12\r\nConnection: keep-alive\r\nX: y\r\nX: z\r\n\r\n";
        let Parsed::Plain(PlainAnswer { status, length: 12, raw_head }) = buffered(ordinary) else {
            panic!("it is not plain")
        };
        assert_eq!((status.as_u16(), raw_head.has_date()), (404, false));
        let mut written = Vec::new();
        raw_head.write(&mut written);
        let passed = "HTTP/1.1 404 Not Found\r\nServer: a\r\ncontent-length: 12\r\nX: y\r\nX: z\r\n";
        assert_eq!(written, passed.as_bytes());
        assert_eq!(raw_head.to_map().get_all("x").iter().count(), 2);
        for end in 0..ordinary.len() {
            assert!(matches!(buffered(&ordinary[..end]), Parsed::Partial), "{end}");
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
            // Not in canonical form, in which lines are passed on.
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
            let mut buffered = BytesMut::from(&*other);
            assert!(matches!(take_answer(&mut buffered), Parsed::NotPlain), "{other:?}");
            assert_eq!(buffered, other.as_bytes(), "it is left as it is");
        }
    }
}
