//! WebSockets between HTTP/1.1 and HTTP/2: an `Upgrade` in the former is an extended CONNECT in the latter.
//!
//! Within the proxy they are requested and accepted as in HTTP/1.1; requests and answers of HTTP/2 are translated.
//!
//! Sources: RFC 8441, sections 4 and 5; RFC 6455, section 4.

use hyper::ext::Protocol;
use hyper::header::{
    CONNECTION, HeaderMap, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};
use rand_core::Rng;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

/// The name of the protocol, in either version of HTTP.
const NAME: &str = "websocket";

/// Whether a request is one for a WebSocket in the form of HTTP/2.
pub(crate) fn is_http2_request(parts: &Parts) -> bool {
    let protocol = parts.extensions.get::<Protocol>();
    parts.method == Method::CONNECT && protocol.is_some_and(|it| it.as_str().eq_ignore_ascii_case(NAME))
}

/// Translates such a request to HTTP/1.1, except for its key, which [`set_key`] adds, and its `Upgrade`, whose value is returned.
pub(crate) fn request_as_http1(parts: &mut Parts) -> HeaderValue {
    parts.method = Method::GET;
    parts.headers.entry(SEC_WEBSOCKET_VERSION).or_insert(HeaderValue::from_static("13"));
    HeaderValue::from_static(NAME)
}

/// Adds a key to a translated request. HTTP/2 has none: it needs no proof that the other side understands WebSockets.
pub(crate) fn set_key(headers: &mut HeaderMap, rng: &mut impl Rng) {
    headers.insert(SEC_WEBSOCKET_KEY, key(rng));
}

/// 16 random bytes.
fn key(rng: &mut impl Rng) -> HeaderValue {
    let mut bytes = [0; 16];
    rng.fill_bytes(&mut bytes);
    base64(&bytes)
}

fn base64(bytes: &[u8]) -> HeaderValue {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = Vec::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        // One byte takes two letters, two bytes take three, and the rest of the four is padding.
        let letter = |nth: usize| match nth <= three.len() {
            true => LETTERS[(bits >> (18 - 6 * nth)) as usize % 64],
            false => b'=',
        };
        text.extend((0..4).map(letter));
    }
    HeaderValue::from_bytes(&text).expect("letters and signs of ASCII are a value")
}

/// Whether a request is one for a WebSocket in the form of HTTP/1.1, with the key that must be answered.
pub(crate) fn is_http1_request(headers: &HeaderMap) -> bool {
    is_named(headers) && headers.contains_key(SEC_WEBSOCKET_KEY)
}

fn is_named(headers: &HeaderMap) -> bool {
    headers.get(UPGRADE).is_some_and(|it| it.as_bytes().eq_ignore_ascii_case(NAME.as_bytes()))
}

/// Whether the endpoint has accepted a WebSocket.
pub(crate) fn is_accepted(status: StatusCode, headers: &HeaderMap) -> bool {
    status == StatusCode::SWITCHING_PROTOCOLS && is_named(headers)
}

/// Translates a request from HTTP/1.1 to HTTP/2; returns its key.
pub(crate) fn request_as_http2(parts: &mut Parts) -> Option<HeaderValue> {
    parts.method = Method::CONNECT;
    parts.extensions.insert(h2::ext::Protocol::from_static(NAME));
    parts.headers.remove(SEC_WEBSOCKET_KEY)
}

/// Translates the answer of an endpoint that has accepted a WebSocket from HTTP/2 to HTTP/1.1, for a client that requested it with this key.
pub(crate) fn answer_as_http1(status: &mut StatusCode, headers: &mut HeaderMap, key: Option<&HeaderValue>) {
    *status = StatusCode::SWITCHING_PROTOCOLS;
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static(NAME));
    if let Some(key) = key {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept(key));
    }
}

/// The proof that the key was understood. Source: RFC 6455, section 4.2.2.
fn accept(key: &HeaderValue) -> HeaderValue {
    const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    let input = [key.as_bytes(), GUID].concat();
    base64(digest(&SHA1_FOR_LEGACY_USE_ONLY, &input).as_ref())
}

/// Translates the answer of an endpoint that has accepted a WebSocket from HTTP/1.1 to HTTP/2; returns its status.
pub(crate) fn answer_as_http2(headers: &mut HeaderMap) -> StatusCode {
    for name in [CONNECTION, UPGRADE, SEC_WEBSOCKET_ACCEPT] {
        headers.remove(name);
    }
    StatusCode::OK
}

#[cfg(test)]
mod tests {
    use rand_xoshiro::Xoshiro256PlusPlus;
    use rand_xoshiro::rand_core::SeedableRng;

    use super::*;

    fn upgrade_parts(method: Method, protocol: Option<&'static str>) -> Parts {
        let (mut parts, ()) = hyper::Request::new(()).into_parts();
        parts.method = method;
        protocol.map(|protocol| parts.extensions.insert(Protocol::from_static(protocol)));
        parts
    }

    #[test]
    fn only_an_extended_connect_with_its_protocol_requests_a_websocket() {
        assert!(is_http2_request(&upgrade_parts(Method::CONNECT, Some("websocket"))));
        for (method, protocol) in [
            (Method::CONNECT, None),
            (Method::CONNECT, Some("connect-udp")),
            (Method::GET, Some("websocket")),
        ] {
            assert!(!is_http2_request(&upgrade_parts(method, protocol)), "{protocol:?}");
        }
    }

    #[test]
    fn the_answer_to_a_key_matches_the_example_of_the_standard() {
        let key = HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accept(&key), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(base64(b"the sample nonce"), key);
        assert_eq!([base64(b"a"), base64(b"ab"), base64(b"abc")], ["YQ==", "YWI=", "YWJj"]);
    }

    #[test]
    fn a_key_is_sixteen_random_bytes_in_base64() {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
        let keys = [key(&mut rng), key(&mut rng)];
        assert_ne!(keys[0], keys[1]);
        for key in keys {
            let text = key.to_str().unwrap();
            assert_eq!((text.len(), &text[22..]), (24, "=="), "{text}");
            assert!("AQgw".contains(&text[21..22]), "{text}: the last byte ends there");
        }
    }
}
