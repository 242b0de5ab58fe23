//! What a proxy must know about gRPC: how to recognise a call, read its deadline and outcome, and answer it instead of an endpoint.
//!
//! Sources: grpc/doc/PROTOCOL-HTTP2.md; grpc/doc/statuscodes.md; grpc/doc/http-grpc-status-mapping.md.

use std::borrow::Cow;
use std::fmt::Write;
use std::time::Duration;

use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use tokio::time::Instant;

const CONTENT: &str = "application/grpc";
const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// The protocol of a request and of its local replies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Http,
    Grpc,
}

/// The outcome of a call: the value of `grpc-status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Code(u8);

impl Code {
    pub(crate) const UNKNOWN: Self = Self(2);
    pub(crate) const DEADLINE_EXCEEDED: Self = Self(4);
    pub(crate) const PERMISSION_DENIED: Self = Self(7);
    pub(crate) const RESOURCE_EXHAUSTED: Self = Self(8);
    pub(crate) const UNIMPLEMENTED: Self = Self(12);
    pub(crate) const INTERNAL: Self = Self(13);
    pub(crate) const UNAVAILABLE: Self = Self(14);
    pub(crate) const UNAUTHENTICATED: Self = Self(16);

    /// The code of a local reply. It is mapped as the specification maps answers of proxies that do not speak gRPC; but this one does, so a gateway
    /// timeout is `DEADLINE_EXCEEDED`, and an exceeded limit is `RESOURCE_EXHAUSTED`.
    pub(crate) fn of_local_reply(status: StatusCode) -> Self {
        match status {
            StatusCode::BAD_REQUEST => Self::INTERNAL,
            StatusCode::UNAUTHORIZED => Self::UNAUTHENTICATED,
            StatusCode::FORBIDDEN => Self::PERMISSION_DENIED,
            StatusCode::NOT_FOUND | StatusCode::NOT_IMPLEMENTED => Self::UNIMPLEMENTED,
            StatusCode::PAYLOAD_TOO_LARGE | StatusCode::TOO_MANY_REQUESTS => Self::RESOURCE_EXHAUSTED,
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE => Self::UNAVAILABLE,
            StatusCode::GATEWAY_TIMEOUT => Self::DEADLINE_EXCEEDED,
            _ => Self::UNKNOWN,
        }
    }

    /// The HTTP status that calls of this outcome are counted by: 5xx is the server's fault.
    /// Source: google/rpc/code.proto, "HTTP Mapping". Codes that are not in there count as UNKNOWN.
    fn http(self) -> u16 {
        match self.0 {
            0 => 200,
            1 => 499,
            3 | 9 | 11 => 400,
            4 => 504,
            5 => 404,
            6 | 10 => 409,
            7 => 403,
            8 => 429,
            12 => 501,
            14 => 503,
            16 => 401,
            _ => 500,
        }
    }
}

/// Whether a message is gRPC. gRPC-Web, which is ordinary HTTP, is not.
pub(crate) fn dialect(headers: &HeaderMap) -> Dialect {
    let content = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let rest = content.and_then(|content| content.strip_prefix(CONTENT.as_bytes()));
    match rest {
        Some([] | [b'+' | b';', ..]) => Dialect::Grpc,
        Some(_) | None => Dialect::Http,
    }
}

/// When the client of a call that began at `started` stops waiting. `None` without a valid timeout; an invalid one is left to the endpoint.
pub(crate) fn deadline(headers: &HeaderMap, started: Instant) -> Option<Instant> {
    started.checked_add(parse_timeout(headers.get(TIMEOUT)?.to_str().ok()?)?)
}

/// Sets the remaining time of a call for the endpoint.
pub(crate) fn set_timeout(headers: &mut HeaderMap, left: Duration) {
    if let Ok(left) = HeaderValue::try_from(format_timeout(left)) {
        headers.insert(TIMEOUT, left);
    }
}

const SECOND: u64 = 1_000_000_000;

/// Units of a timeout and the nanoseconds that they have. Source: PROTOCOL-HTTP2.md, "TimeoutUnit".
const UNITS: [(char, u64); 6] =
    [('n', 1), ('u', 1_000), ('m', 1_000_000), ('S', SECOND), ('M', 60 * SECOND), ('H', 3600 * SECOND)];

/// The first number that has more digits than a timeout may have.
const TIMEOUT_END: u64 = 100_000_000;

fn parse_timeout(text: &str) -> Option<Duration> {
    let (unit, nanos) = UNITS.iter().find(|(unit, _)| text.ends_with(*unit))?;
    let digits = text.strip_suffix(*unit)?;
    // `parse` alone would accept a sign.
    let number: u64 = digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())??;
    (number < TIMEOUT_END).then(|| Duration::from_nanos(*nanos).saturating_mul(number as u32))
}

/// A timeout in the finest unit in which it has few enough digits, rounded down: the endpoint should not work longer than the client waits.
fn format_timeout(left: Duration) -> String {
    let number = |nanos: u64| left.as_nanos() / u128::from(nanos);
    let fits = UNITS.iter().find(|(_, nanos)| number(*nanos) < u128::from(TIMEOUT_END));
    fits.map_or_else(|| format!("{}H", TIMEOUT_END - 1), |(unit, nanos)| format!("{}{unit}", number(*nanos)))
}

/// The outcome of a call by the head of its response; `None` when it is in the trailers.
pub(crate) fn outcome_of_head(status: StatusCode, headers: &HeaderMap) -> Option<StatusCode> {
    let is_open = status == StatusCode::OK && dialect(headers) == Dialect::Grpc;
    if is_open { status_of(headers) } else { Some(status) }
}

/// The outcome of a call by its trailers, which must have it.
pub(crate) fn outcome_of_trailers(trailers: Option<&HeaderMap>) -> StatusCode {
    trailers.and_then(status_of).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn status_of(headers: &HeaderMap) -> Option<StatusCode> {
    let code = headers.get(STATUS)?.to_str().ok().and_then(|code| code.parse().ok());
    StatusCode::from_u16(code.map_or(Code::UNKNOWN, Code).http()).ok()
}

/// A response of trailers only ("Trailers-Only"), which is a head without a body.
pub(crate) fn answer<B>(code: Code, message: &'static str, body: B) -> Response<B> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(CONTENT));
    headers.insert(STATUS, HeaderValue::from(u16::from(code.0)));
    if let Ok(value) = HeaderValue::from_str(&percent_encoded(message)) {
        headers.insert(MESSAGE, value);
    }
    response
}

/// Percent-encodes characters that are not allowed in `grpc-message`. Source: PROTOCOL-HTTP2.md, "Status-Message".
fn percent_encoded(message: &str) -> Cow<'_, str> {
    let is_plain = |b: u8| (b' '..=b'~').contains(&b) && b != b'%';
    if message.bytes().all(is_plain) {
        return Cow::Borrowed(message);
    }
    let mut encoded = String::with_capacity(message.len() + 8);
    for byte in message.bytes() {
        if is_plain(byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    Cow::Owned(encoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|&(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn grpc_is_recognised_by_its_content_type_and_grpc_web_is_not_grpc() {
        for content in ["application/grpc", "application/grpc+proto", "application/grpc;v=1"] {
            assert_eq!(dialect(&headers(&[("content-type", content)])), Dialect::Grpc, "{content}");
        }
        for content in ["application/grpc-web", "application/grpc-web+proto", "application/json", ""] {
            assert_eq!(dialect(&headers(&[("content-type", content)])), Dialect::Http, "{content}");
        }
        assert_eq!(dialect(&headers(&[])), Dialect::Http);
    }

    #[test]
    fn server_errors_count_as_5xx() {
        // OpenTelemetry's semantic conventions name the same as errors of a server.
        let of_server: Vec<u8> = (0..=16).filter(|code| Code(*code).http() >= 500).collect();
        assert_eq!(of_server, [2, 4, 12, 13, 14, 15]);
        assert_eq!((Code(0).http(), Code(200).http()), (200, 500));
    }

    #[test]
    fn an_outcome_is_in_the_head_or_in_the_trailers() {
        let plain = headers(&[("content-type", "application/grpc")]);
        assert_eq!(outcome_of_head(StatusCode::OK, &plain), None);
        assert_eq!(outcome_of_head(StatusCode::BAD_GATEWAY, &plain), Some(StatusCode::BAD_GATEWAY));
        let failed = headers(&[("content-type", "application/grpc"), ("grpc-status", "14")]);
        assert_eq!(outcome_of_head(StatusCode::OK, &failed), Some(StatusCode::SERVICE_UNAVAILABLE));
        assert_eq!(outcome_of_trailers(Some(&failed)), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(outcome_of_trailers(Some(&headers(&[("grpc-status", "0")]))), StatusCode::OK);
        for silent in [None, Some(&plain), Some(&headers(&[("grpc-status", "what")]))] {
            assert_eq!(outcome_of_trailers(silent), StatusCode::INTERNAL_SERVER_ERROR);
        }
    }

    #[test]
    fn only_timeouts_of_the_protocols_format_are_parsed() {
        let read = [
            ("5S", Duration::from_secs(5)),
            ("100m", Duration::from_millis(100)),
            ("0n", Duration::ZERO),
            ("99999999u", Duration::from_micros(99_999_999)),
            ("2M", Duration::from_secs(120)),
            ("99999999H", Duration::from_secs(99_999_999 * 3600)),
        ];
        for (text, duration) in read {
            assert_eq!(parse_timeout(text), Some(duration), "{text}");
        }
        for text in ["", "S", "5", "5s", "-5S", "+5S", " 5S", "5 S", "100000000m", "5SS", "5\u{b5}"] {
            assert_eq!(parse_timeout(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_timeout_is_formatted_in_at_most_eight_digits_and_rounded_down() {
        let millis = Duration::from_millis;
        assert_eq!(format_timeout(Duration::ZERO), "0n");
        assert_eq!(format_timeout(Duration::from_nanos(99_999_999)), "99999999n");
        assert_eq!(format_timeout(millis(100)), "100000u");
        assert_eq!(format_timeout(millis(4999) + Duration::from_nanos(999)), "4999000u");
        assert_eq!(format_timeout(Duration::from_secs(100)), "100000m");
        assert_eq!(format_timeout(Duration::from_secs(99_999_999 * 3600)), "99999999H");
        assert_eq!(format_timeout(Duration::MAX), "99999999H");
    }

    #[test]
    fn a_message_is_percent_encoded() {
        assert_eq!(percent_encoded("No endpoint; try again."), "No endpoint; try again.");
        assert_eq!(percent_encoded("100 %\u{e9}\n"), "100 %25%C3%A9%0A");
    }
}
