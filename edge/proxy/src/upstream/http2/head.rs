//! The head of a request in HTTP/2.

use hyper::header::{CONNECTION, HOST, TRANSFER_ENCODING, UPGRADE};
use hyper::http::request::Parts;
use hyper::http::uri::{Authority, PathAndQuery, Scheme};
use hyper::{Request, Uri, Version};

/// Turns a head that was prepared for HTTP/1.1 into one for HTTP/2: the host moves into the target, and connection headers are removed.
///
/// `Upgrade` is one of them, as a server may ignore it. Source: RFC 9113, sections 8.2.2 and 8.3.1.
pub(super) fn to_http2(mut parts: Parts) -> Request<()> {
    for name in [CONNECTION, TRANSFER_ENCODING, UPGRADE] {
        parts.headers.remove(name);
    }
    match target(&parts) {
        Some(uri) => {
            parts.headers.remove(HOST);
            parts.uri = uri;
            parts.version = Version::HTTP_2;
        }
        // A request that was received over HTTP/1.1 without a valid host is sent without one.
        None => parts.version = Version::HTTP_11,
    }
    Request::from_parts(parts, ())
}

fn target(parts: &Parts) -> Option<Uri> {
    let authority = Authority::try_from(parts.headers.get(HOST)?.as_bytes()).ok()?;
    let mut target = hyper::http::uri::Parts::default();
    target.scheme = Some(Scheme::HTTP);
    target.authority = Some(authority);
    target.path_and_query =
        Some(parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/")));
    Uri::from_parts(target).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(uri: &str, host: &str) -> Request<()> {
        let request = Request::builder().uri(uri).header(HOST, host).header(CONNECTION, "te");
        let (parts, ()) = request
            .header("te", "trailers")
            .header(TRANSFER_ENCODING, "chunked")
            .body(())
            .unwrap()
            .into_parts();
        to_http2(parts)
    }

    #[test]
    fn the_host_moves_into_the_target_and_connection_headers_are_removed() {
        let request = of("/a?b=c", "shop.example:81");
        assert_eq!(request.uri(), "http://shop.example:81/a?b=c");
        assert_eq!((request.version(), request.headers().len()), (Version::HTTP_2, 1));
        assert_eq!(request.headers()["te"], "trailers");
    }

    #[test]
    fn an_invalid_host_stays_a_header() {
        let request = of("/", "");
        assert_eq!((request.uri().to_string().as_str(), request.version()), ("/", Version::HTTP_11));
        assert_eq!(request.headers()[HOST], "");
    }
}
