//! HTTP/1.1 as most exchanges need it: a request without a body, and an answer that says how long it is.
//!
//! Nothing is decided here about what is not plain. Whatever is in any way more than that, be it a request or an answer, goes to hyper from its first
//! byte on, which knows what it means and what it must not mean. So what could be read in two ways is never read here.

use std::io;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncRead, ReadBuf};

pub(crate) mod client;
pub(crate) mod endpoint;

/// Bytes that are read at a time, and of a head beyond which it is not plain.
const ROOM: usize = 8 * 1024;

/// Headers of a head beyond which it is not plain.
const HEADERS_MAX: usize = 48;

/// Where in a head something stands.
#[derive(Debug, Clone, Copy)]
struct Span {
    from: u16,
    to: u16,
}

impl Span {
    const NONE: Self = Self { from: 0, to: 0 };

    /// Of a part of a head that is no longer than [`ROOM`].
    fn of(part: &[u8], head: &[u8]) -> Self {
        let from = part.as_ptr() as usize - head.as_ptr() as usize;
        Self { from: from as u16, to: (from + part.len()) as u16 }
    }

    fn range(self) -> Range<usize> {
        usize::from(self.from)..usize::from(self.to)
    }
}

/// Where in a head its headers stand.
#[derive(Debug)]
struct Fields {
    spans: [(Span, Span); HEADERS_MAX],
    count: usize,
}

impl Fields {
    fn of(headers: &[httparse::Header<'_>], head: &[u8]) -> Self {
        let mut spans = [(Span::NONE, Span::NONE); HEADERS_MAX];
        for (at, header) in spans.iter_mut().zip(headers) {
            *at = (Span::of(header.name.as_bytes(), head), Span::of(header.value, head));
        }
        Self { spans, count: headers.len() }
    }

    /// Puts them into an empty `map`, without copying what they say.
    fn put(&self, head: &Bytes, map: &mut HeaderMap) {
        for (name, value) in &self.spans[..self.count] {
            let name = HeaderName::from_bytes(&head[name.range()]).expect("a name that was parsed is one");
            let value = HeaderValue::from_maybe_shared(head.slice(value.range()))
                .expect("a value that was parsed is one");
            map.append(name, value);
        }
    }
}

/// Reads what is there behind what was `heard`; answers how many bytes that were, 0 when nothing more will come.
///
/// By way of the stack, and into no more room than they need: a buffer that each connection keeps for its next message is in no cache any more
/// when that comes.
fn poll_hear(
    stream: &mut (impl AsyncRead + Unpin),
    heard: &mut BytesMut,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let mut room = [MaybeUninit::uninit(); ROOM];
    let mut piece = ReadBuf::uninit(&mut room);
    ready!(Pin::new(stream).poll_read(cx, &mut piece))?;
    heard.extend_from_slice(piece.filled());
    Poll::Ready(Ok(piece.filled().len()))
}

/// The first `size` bytes of what was heard. With the last of them goes its room.
fn take(heard: &mut BytesMut, size: usize) -> Bytes {
    if size == heard.len() { std::mem::take(heard).freeze() } else { heard.split_to(size).freeze() }
}

/// Whether an answer of this status is the only one to its request, and has a body as long as it says.
fn is_of_length(status: StatusCode) -> bool {
    (200..600).contains(&status.as_u16()) && ![204, 304].contains(&status.as_u16())
}

/// A length in digits and nothing else; up to 18 of them are below the largest number.
fn length(digits: &[u8]) -> Option<u64> {
    let is_number = (1..=18).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    is_number.then(|| digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}
