//! Compresses answers on their way to clients that accept it.
//!
//! Received bytes are flushed as soon as nothing more is available, so that a streamed answer is still streamed.

use std::io::{self, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::body::{Body, Frame};
use hyper::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG,
    HeaderMap, HeaderName, HeaderValue, VARY,
};
use hyper::{Method, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::answer::Answer;
use crate::body::{BodyError, ResponseBody};

/// Answers that a worker compresses at once; further ones are not compressed.
///
/// Each takes 322 KiB as measured, nearly all of it the window and the tables of the encoder: 128 take 40 MiB.
pub(crate) const GZIPS_MAX: usize = 128;

/// Answers of fewer bytes are not compressed: the savings would not pay for the further headers.
const LENGTH_MIN: u64 = 256;

/// Compressed bytes that are collected before they are forwarded, as long as more is available.
const PIECE: usize = 16 * 1024;

/// Digests of the bytes that were received: of the content (RFC 1864; RFC 9530, section 2), or of the representation with its content coding
/// (RFC 3230; RFC 9530, section 3). They are wrong for the compressed ones, and a digest of those is known only after their end.
const DIGESTS: [HeaderName; 4] = [
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("repr-digest"),
];

/// Content types that compress well, besides `text/…` and those that end with `+json` or `+xml`.
const TYPES: [&str; 7] = [
    "application/javascript",
    "application/json",
    "application/manifest+json",
    "application/wasm",
    "application/x-javascript",
    "application/xml",
    "image/svg+xml",
];

/// Whether a client accepts gzip. Source: RFC 9110, section 12.5.3.
pub(super) fn is_wanted(method: &Method, headers: &HeaderMap) -> bool {
    let lines = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|line| line.to_str().ok());
    let (mut gzip, mut any) = (None, None);
    for coding in lines.flat_map(|line| line.split(',')) {
        let mut parts = coding.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        let is_taken = weight.is_none_or(|weight| weight.parse::<f32>().is_ok_and(|weight| weight > 0.0));
        if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") {
            gzip = Some(is_taken);
        } else if name == "*" {
            any = Some(is_taken);
        }
    }
    // The answer to HEAD has no body to compress.
    method != Method::HEAD && gzip.or(any).unwrap_or(false)
}

/// Compresses an answer, if it compresses well, is no part of one, the client accepts it, and a permit is available.
pub(super) fn compress(
    mut answer: Answer<ResponseBody>,
    is_wanted: bool,
    permit: &Arc<Semaphore>,
) -> Answer<ResponseBody> {
    if answer.status == StatusCode::NOT_MODIFIED {
        // As the answer that the client has, of which it does not say whether it would be compressed (RFC 9110, section 15.4.5).
        answer.headers().append(VARY, HeaderValue::from_static("accept-encoding"));
        return answer;
    }
    let is_part = answer.status == StatusCode::PARTIAL_CONTENT;
    if !is_compressible(&mut answer) {
        return answer;
    }
    let headers = answer.headers();
    // Compressed or not: a cache must not serve one form to clients that requested the other.
    headers.append(VARY, HeaderValue::from_static("accept-encoding"));
    let permit = (is_wanted && !is_part).then(|| Arc::clone(permit).try_acquire_owned().ok()).flatten();
    let Some(permit) = permit else { return answer };
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    headers.remove(CONTENT_LENGTH);
    headers.remove(ACCEPT_RANGES);
    remove_digests(headers);
    weaken(headers);
    answer.map(|source| {
        let encoder = Some(GzEncoder::new(Vec::new(), Compression::fast()));
        let gzip = Gzip { source, encoder, has_unflushed: false, trailers: None, _permit: permit };
        ResponseBody::Gzip(Box::new(gzip))
    })
}

/// Whether an answer, or the whole of which it is a part, compresses well.
fn is_compressible(answer: &mut Answer<ResponseBody>) -> bool {
    let (status, longest) = (answer.status, answer.body.size_hint().upper());
    let headers = answer.headers();
    let text =
        |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_part = status == StatusCode::PARTIAL_CONTENT;
    let may_be_changed = !text(&CACHE_CONTROL).to_ascii_lowercase().contains("no-transform");
    // The answer to HEAD has no body, but the length of the one that GET would get.
    let declared_length = text(&CONTENT_LENGTH).parse::<u64>().ok();
    let is_long = is_part || declared_length.or(longest).is_none_or(|length| length >= LENGTH_MIN);
    (status.is_success() || status.is_client_error())
        && may_be_changed
        && is_long
        && !headers.contains_key(CONTENT_ENCODING)
        && is_text(text(&CONTENT_TYPE))
}

fn is_text(content_type: &str) -> bool {
    let name = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    name.starts_with("text/") || name.ends_with("+json") || name.ends_with("+xml") || TYPES.contains(&&*name)
}

fn remove_digests(headers: &mut HeaderMap) {
    for name in &DIGESTS {
        headers.remove(name);
    }
}

/// Makes an `ETag` weak: the content is equivalent, but not byte for byte. Source: RFC 9110, section 8.8.1.
fn weaken(headers: &mut HeaderMap) {
    let strong = headers.get(ETAG).filter(|tag| !tag.as_bytes().starts_with(b"W/"));
    let weak = strong.and_then(|tag| HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat()).ok());
    if let Some(weak) = weak {
        headers.insert(ETAG, weak);
    }
}

/// The body of an answer, compressed.
#[derive(Debug)]
pub(crate) struct Gzip {
    source: ResponseBody,
    /// `None` once the body was forwarded completely.
    encoder: Option<GzEncoder<Vec<u8>>>,
    /// Whether the encoder has data that was not forwarded.
    has_unflushed: bool,
    /// What follows the last piece.
    trailers: Option<HeaderMap>,
    _permit: OwnedSemaphorePermit,
}

impl Gzip {
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(encoder) = &mut self.encoder else {
            return Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))));
        };
        loop {
            match Pin::new(&mut self.source).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(piece) => {
                        self.has_unflushed = true;
                        infallible(encoder.write_all(&piece));
                        if encoder.get_ref().len() >= PIECE {
                            return take_output(encoder);
                        }
                    }
                    Err(frame) => {
                        self.trailers = frame.into_trailers().ok();
                        self.trailers.as_mut().map(remove_digests);
                        return self.finish();
                    }
                },
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(None) => return self.finish(),
                Poll::Pending if self.has_unflushed => {
                    self.has_unflushed = false;
                    infallible(encoder.flush());
                    return take_output(encoder);
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.encoder.is_none() && self.trailers.is_none()
    }

    fn finish(&mut self) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let rest = self.encoder.take().map(GzEncoder::finish);
        // Writing into memory cannot fail.
        let rest = rest.and_then(Result::ok).unwrap_or_default();
        Poll::Ready(Some(Ok(Frame::data(rest.into()))))
    }
}

/// Takes what the encoder has written so far.
fn take_output(encoder: &mut GzEncoder<Vec<u8>>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
    Poll::Ready(Some(Ok(Frame::data(std::mem::take(encoder.get_mut()).into()))))
}

fn infallible(result: io::Result<()>) {
    result.expect("writing into memory cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_accepts_gzip_if_accept_encoding_says_so() {
        let wanted = |text: &'static str| {
            is_wanted(
                &Method::GET,
                &HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static(text))]),
            )
        };
        for text in ["gzip", "deflate, GZIP;q=0.5", "*", "br;q=1, *;q=0.1", "x-gzip", "gzip ; q=0.001"] {
            assert!(wanted(text), "{text}");
        }
        for text in ["", "br", "gzip;q=0", "gzip;q=0, *", "*;q=0", "identity", "gzip;q=x"] {
            assert!(!wanted(text), "{text}");
        }
        assert!(!is_wanted(&Method::GET, &HeaderMap::new()));
    }

    #[test]
    fn text_is_compressed_and_compressed_formats_are_not() {
        for name in
            ["text/html; charset=utf-8", "application/JSON", "image/svg+xml", "application/problem+json"]
        {
            assert!(is_text(name), "{name}");
        }
        for name in
            ["", "image/png", "application/zip", "application/octet-stream", "video/mp4", "font/woff2"]
        {
            assert!(!is_text(name), "{name}");
        }
    }
}
