//! WebSockets of clients that speak HTTP/2: an extended CONNECT there, an `Upgrade` for the endpoint.
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

/// What is asked for, in either version of HTTP.
const NAME: &str = "websocket";

/// Whether a request asks for one as HTTP/2 has it.
pub(crate) fn is_asked_for(parts: &Parts) -> bool {
    let protocol = parts.extensions.get::<Protocol>();
    parts.method == Method::CONNECT && protocol.is_some_and(|it| it.as_str().eq_ignore_ascii_case(NAME))
}

/// Makes of such a request one whose headers say the same in HTTP/1.1, as far as those do that an endpoint needs; the key is not among
/// them. Answers what its `Upgrade` says.
pub(crate) fn ask_as_http1(parts: &mut Parts) -> HeaderValue {
    parts.method = Method::GET;
    parts.headers.entry(SEC_WEBSOCKET_VERSION).or_insert(HeaderValue::from_static("13"));
    HeaderValue::from_static(NAME)
}

/// Gives the request a key. HTTP/2 has none, for what it proves to a client, that somebody speaks WebSocket and no cache does, it says otherwise.
pub(crate) fn set_key(headers: &mut HeaderMap, rng: &mut impl Rng) {
    headers.insert(SEC_WEBSOCKET_KEY, key(rng));
}

/// 16 bytes by chance in base64: 21 letters of six bits, one of two bits, and what fills up.
fn key(rng: &mut impl Rng) -> HeaderValue {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut key = [b'='; 24];
    for letter in &mut key[..22] {
        *letter = LETTERS[(rng.next_u32() % 64) as usize];
    }
    key[21] = b"AQgw"[(rng.next_u32() % 4) as usize];
    HeaderValue::from_bytes(&key).expect("letters and signs of ASCII are a value")
}

/// Whether the endpoint has switched to it.
pub(crate) fn is_taken_up(status: StatusCode, headers: &HeaderMap) -> bool {
    let named = headers.get(UPGRADE).is_some_and(|it| it.as_bytes().eq_ignore_ascii_case(NAME.as_bytes()));
    status == StatusCode::SWITCHING_PROTOCOLS && named
}

/// Takes from the endpoint's answer what HTTP/2 says by a mere 200.
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

    fn asked(method: Method, protocol: Option<&'static str>) -> Parts {
        let (mut parts, ()) = hyper::Request::new(()).into_parts();
        parts.method = method;
        protocol.map(|protocol| parts.extensions.insert(Protocol::from_static(protocol)));
        parts
    }

    #[test]
    fn only_an_extended_connect_that_names_it_asks_for_one() {
        assert!(is_asked_for(&asked(Method::CONNECT, Some("websocket"))));
        for (method, protocol) in [
            (Method::CONNECT, None),
            (Method::CONNECT, Some("connect-udp")),
            (Method::GET, Some("websocket")),
        ] {
            assert!(!is_asked_for(&asked(method, protocol)), "{protocol:?}");
        }
    }

    #[test]
    fn a_key_is_sixteen_bytes_in_base64_and_another_each_time() {
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
