//! Protects the API from web pages of other origins.
//!
//! A browser on the same machine can reach the API, which has no password on loopback. Pages of other origins are kept out in three
//! ways: by `Origin` and `Sec-Fetch-Site`, which browsers send and pages cannot forge; by `Host`, which names the attacker after a DNS
//! rebinding; and by the media type of requests with a body, which a page cannot send without a CORS preflight that this server never
//! approves.
//!
//! Source: OWASP Cross-Site Request Forgery Prevention, "Fetch Metadata"; the Fetch standard, "CORS-safelisted request-header".

use std::net::{IpAddr, SocketAddr};

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::failure::{Code, Failure};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Passes a request on, or refuses it.
pub(crate) async fn check_request(
    State(listen): State<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    match check(listen, request.method(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(failure) => failure.into_response(),
    }
}

fn check(listen: SocketAddr, method: &Method, headers: &HeaderMap) -> Result<(), Failure> {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let host = text(header::HOST).unwrap_or_default();
    let authority: Authority = host.parse().map_err(|_| refused(&format!("its Host is {host:?}")))?;
    if !is_ours(listen, &authority) {
        return Err(refused(&format!(
            "its Host is {host:?}, and this server is known as {listen} and localhost only"
        )));
    }
    if let Some(origin) = text(header::ORIGIN)
        && !origin.strip_prefix("http://").is_some_and(|page| page.eq_ignore_ascii_case(host))
    {
        return Err(refused(&format!("it comes from a page of {origin}")));
    }
    match text(SEC_FETCH_SITE) {
        None | Some("none" | "same-origin") => {}
        Some(site) => return Err(refused(&format!("a browser sent it from another page ({site})"))),
    }
    // A DELETE has no body, and no page can send one without a CORS preflight.
    if (*method == Method::POST || *method == Method::PUT || *method == Method::PATCH)
        && media(headers).is_none()
    {
        let sentence = "could not take the request: send its body as application/json or application/yaml, \
            and say so in Content-Type";
        return Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::NotUnderstood, sentence));
    }
    Ok(())
}

fn refused(why: &str) -> Failure {
    let sentence = format!("refused the request: {why}");
    Failure::new(StatusCode::FORBIDDEN, Code::OtherOrigin, sentence)
}

/// Whether `authority` names this server: loopback, or its address.
///
/// A server that listens on all addresses accepts any address, but no name: rebinding needs a name.
fn is_ours(listen: SocketAddr, authority: &Authority) -> bool {
    // The parser accepts anything behind a colon as a port, and a user before the host.
    let after_host = authority.as_str().strip_prefix(authority.host());
    if after_host != Some("") && (after_host.is_none() || authority.port_u16().is_none()) {
        return false;
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    match host.parse::<IpAddr>() {
        Ok(ip) => ip.is_loopback() || listen.ip().is_unspecified() || ip == listen.ip(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

/// The format of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Media {
    Json,
    Yaml,
}

/// The format of the body; `None` if it is not supported.
pub(crate) fn media(headers: &HeaderMap) -> Option<Media> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/json" => Some(Media::Json),
        "application/yaml" | "application/x-yaml" => Some(Media::Yaml),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(
        listen: &str,
        method: &Method,
        headers: &[(&'static str, &'static str)],
    ) -> Result<(), StatusCode> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        check(listen.parse().unwrap(), method, &map).map_err(|failure| failure.into_response().status())
    }

    const LOOPBACK: &str = "127.0.0.1:7460";

    #[test]
    fn a_client_other_than_a_browser_is_accepted() {
        for host in ["127.0.0.1:7460", "localhost:7460", "LOCALHOST", "[::1]:7460", "127.0.0.2"] {
            assert_eq!(verdict(LOOPBACK, &Method::GET, &[("host", host)]), Ok(()), "{host}");
        }
    }

    #[test]
    fn a_host_name_rebound_to_this_server_is_refused() {
        for host in [
            "evil.example",
            "evil.example:7460",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "127.0.0.1:7460.evil.example",
            "localhost:",
            "me@localhost:7460",
            "10.0.0.1",
        ] {
            assert_eq!(
                verdict(LOOPBACK, &Method::GET, &[("host", host)]),
                Err(StatusCode::FORBIDDEN),
                "{host}"
            );
        }
        assert_eq!(verdict(LOOPBACK, &Method::GET, &[]), Err(StatusCode::FORBIDDEN));
    }

    #[test]
    fn the_listen_address_is_accepted_as_host_and_a_name_is_not() {
        assert_eq!(verdict("10.0.0.1:7460", &Method::GET, &[("host", "10.0.0.1:7460")]), Ok(()));
        assert_eq!(verdict("0.0.0.0:7460", &Method::GET, &[("host", "10.9.8.7:7460")]), Ok(()));
        assert_eq!(
            verdict("0.0.0.0:7460", &Method::GET, &[("host", "box.example:7460")]),
            Err(StatusCode::FORBIDDEN)
        );
    }

    #[test]
    fn a_page_of_another_origin_is_refused_and_one_of_this_server_is_not() {
        let from = |origin| verdict(LOOPBACK, &Method::GET, &[("host", LOOPBACK), ("origin", origin)]);
        assert_eq!(from("http://127.0.0.1:7460"), Ok(()));
        for origin in [
            "http://evil.example",
            "http://127.0.0.1:8080",
            "https://127.0.0.1:7460",
            "http://localhost:7460",
            "null",
            "",
        ] {
            assert_eq!(from(origin), Err(StatusCode::FORBIDDEN), "{origin}");
        }
    }

    #[test]
    fn a_cross_site_subresource_is_refused() {
        let from = |site| verdict(LOOPBACK, &Method::GET, &[("host", LOOPBACK), ("sec-fetch-site", site)]);
        assert_eq!(from("cross-site"), Err(StatusCode::FORBIDDEN));
        assert_eq!(from("same-site"), Err(StatusCode::FORBIDDEN));
        assert_eq!(from("same-origin"), Ok(()));
        assert_eq!(from("none"), Ok(()));
    }

    #[test]
    fn media_types_that_a_form_can_send_are_refused() {
        let sent = |media| verdict(LOOPBACK, &Method::POST, &[("host", LOOPBACK), ("content-type", media)]);
        for media in
            ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "x"]
        {
            assert_eq!(sent(media), Err(StatusCode::UNSUPPORTED_MEDIA_TYPE), "{media}");
        }
        assert_eq!(sent("application/json; charset=utf-8"), Ok(()));
        assert_eq!(sent("Application/YAML"), Ok(()));
        assert_eq!(
            verdict(LOOPBACK, &Method::PUT, &[("host", LOOPBACK)]),
            Err(StatusCode::UNSUPPORTED_MEDIA_TYPE)
        );
    }
}
