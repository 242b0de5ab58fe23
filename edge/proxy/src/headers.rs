//! The checks of request heads, and the changes that a proxy must make to the heads of requests and responses.

use hyper::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, Entry, HOST, HeaderMap, HeaderName, HeaderValue, MAX_FORWARDS, TE,
    TRANSFER_ENCODING, UPGRADE,
};
use hyper::http::request::Parts;
use hyper::http::uri::Authority;
use hyper::{Method, StatusCode, Uri, Version};

use crate::route::Forwarded;
use crate::websocket;

pub(crate) mod trace;

#[cfg(test)]
mod tests;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The answer to a request that is not forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) message: &'static str,
}

/// Whether the client wants to switch to another protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Upgrade {
    /// It does not.
    None,
    /// By the `Upgrade` header of HTTP/1.1.
    Http1,
    /// By an extended CONNECT of HTTP/2, which was turned into an `Upgrade`.
    WebSocket,
}

/// The client of a request, for the `X-Forwarded-*` headers.
#[derive(Debug)]
pub(crate) struct Sender<'a> {
    pub(crate) address: &'a HeaderValue,
    /// How the client has connected: `http` or `https`.
    pub(crate) scheme: &'a HeaderValue,
    pub(crate) forwarded: Forwarded,
    /// For HTTP/1.0 requests, which may lack a `Host`.
    pub(crate) default_host: &'a HeaderValue,
}

/// Which kinds of headers a request has, from one scan of the names: looking up each of them would cost five times as much.
#[derive(Debug, Default)]
struct HeaderScan {
    /// Headers for this connection or this proxy, which are not forwarded.
    hop_by_hop: bool,
    cookies: bool,
    length: bool,
    trace: bool,
    /// Headers about the client and how it has connected, besides those that [`set_forwarded`] sets.
    forwarded: bool,
    max_forwards: bool,
}

impl HeaderScan {
    fn of(headers: &HeaderMap) -> Self {
        let mut scan = Self::default();
        for name in headers.keys() {
            match name.as_str() {
                "cookie" => scan.cookies = true,
                "content-length" => scan.length = true,
                trace::PARENT | trace::STATE => scan.trace = true,
                "x-forwarded-for" | "x-forwarded-host" | "x-forwarded-proto" => {}
                "max-forwards" => scan.max_forwards = true,
                name => {
                    scan.hop_by_hop |= is_hop_by_hop(name) || is_for_proxy(name);
                    scan.forwarded |= is_about_client(name);
                }
            }
        }
        scan
    }
}

/// Whether a header is meant for one connection only, even if `Connection` does not name it. Source: RFC 9110, section 7.6.1.
fn is_hop_by_hop(name: &str) -> bool {
    matches!(name, "connection" | "keep-alive" | "proxy-connection" | "te" | "transfer-encoding" | "upgrade")
}

/// Whether a header of a request is meant for the proxy. A client that expects `100 Continue` gets it from the proxy once its body is needed; the
/// endpoint gets the body without the header.
fn is_for_proxy(name: &str) -> bool {
    matches!(name, "expect" | "proxy-authorization")
}

/// Whether a header says who a client is, or how it has connected. Only a proxy that is trusted may set it.
fn is_about_client(name: &str) -> bool {
    matches!(name, "forwarded" | "x-real-ip") || name.starts_with("x-forwarded-")
}

/// Turns a client's head into the one that an endpoint gets, or refuses it.
pub(crate) fn prepare_request(parts: &mut Parts, sender: &Sender<'_>) -> Result<Upgrade, Refusal> {
    let scan = HeaderScan::of(&parts.headers);
    if scan.hop_by_hop && has_unknown_coding(&parts.headers) {
        let message = "The request has a transfer coding other than `chunked`.";
        return Err(Refusal { status: StatusCode::NOT_IMPLEMENTED, message });
    }
    let upgrade = if websocket::is_http2_request(parts) {
        Upgrade::WebSocket
    } else if parts.method == Method::CONNECT {
        let message = "This proxy does not open tunnels: CONNECT is refused.";
        return Err(Refusal { status: StatusCode::NOT_IMPLEMENTED, message });
    } else if scan.hop_by_hop {
        upgrade_of(parts)
    } else {
        Upgrade::None
    };
    if scan.length {
        join_lengths(&mut parts.headers)?;
    }
    let host = host_of(parts, sender.default_host)?;
    if scan.max_forwards && (parts.method == Method::OPTIONS || parts.method == Method::TRACE) {
        count_forward(&mut parts.headers, &parts.method)?;
    }
    if scan.cookies {
        join_cookies(&mut parts.headers);
    }
    let protocol = match upgrade {
        Upgrade::None => None,
        Upgrade::Http1 => parts.headers.remove(UPGRADE),
        Upgrade::WebSocket => Some(websocket::request_as_http1(parts)),
    };
    let headers = &mut parts.headers;
    let takes_trailers = scan.hop_by_hop && takes_trailers(headers);
    if scan.hop_by_hop {
        strip(headers, is_for_proxy);
    }
    if let Some(protocol) = protocol {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol);
    } else if takes_trailers {
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    if scan.trace {
        trace::prepare(headers);
    }
    if scan.forwarded && sender.forwarded == Forwarded::Replace {
        remove_all(headers, is_about_client);
    }
    set_forwarded(headers, sender, &host.value);
    if !host.from_header {
        headers.insert(HOST, host.value);
    }
    if parts.uri.authority().is_some() {
        parts.uri = origin_form(&parts.uri);
    }
    parts.version = Version::HTTP_11;
    Ok(upgrade)
}

/// Whether a body has transfer codings besides the single `chunked` that delimits it. Nobody removes them, and without `Transfer-Encoding`,
/// which ends here, its recipient would not know of them. Source: RFC 9112, section 6.1.
pub(crate) fn has_unknown_coding(headers: &HeaderMap) -> bool {
    let mut lines = headers.get_all(TRANSFER_ENCODING).iter();
    let is_chunked = |line: &HeaderValue| line.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
    lines.next().is_some_and(|first| !is_chunked(first)) || lines.next().is_some()
}

/// Removes headers of an endpoint's response that are meant for the proxy only, and a length that is not the body's; a 101 keeps `Upgrade`.
pub(crate) fn prepare_response(headers: &mut HeaderMap, status: StatusCode) {
    // Such an answer has no body, whatever its headers are (RFC 9110, section 8.6); for HTTP/2 clients a length there is an error.
    if status == StatusCode::NO_CONTENT {
        headers.remove(CONTENT_LENGTH);
    }
    let is_for_proxy = |name: &str| name == "proxy-authenticate";
    if !headers.keys().any(|name| is_hop_by_hop(name.as_str()) || is_for_proxy(name.as_str())) {
        return;
    }
    // The coding determines where the body ends, and the length might contradict it (RFC 9112, section 6.3).
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH);
    }
    let protocol = headers.remove(UPGRADE).filter(|_| status == StatusCode::SWITCHING_PROTOCOLS);
    strip(headers, is_for_proxy);
    if let Some(protocol) = protocol {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol);
    }
}

/// The host that a request is for.
struct Host {
    value: HeaderValue,
    /// Whether it was taken from the `Host` header.
    from_header: bool,
}

/// Finds the host that the request is for: in the target if that is absolute, otherwise in `Host`.
/// Source: RFC 9110, section 7.4; RFC 9112, section 3.2; RFC 9113, section 8.3.1.
fn host_of(parts: &Parts, default: &HeaderValue) -> Result<Host, Refusal> {
    let refuse = |message| Err(Refusal { status: StatusCode::BAD_REQUEST, message });
    let mut hosts = parts.headers.get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return refuse("The request has more than one Host header.");
    }
    let authority = parts.uri.authority().map(Authority::as_str);
    if parts.version == Version::HTTP_2 && authority.is_some_and(|authority| authority.contains('@')) {
        return refuse("The request's `:authority` has a user name.");
    }
    let authority = authority.map(without_user);
    if parts.uri.path() == "*" && parts.method != Method::OPTIONS {
        return refuse("Only OPTIONS has the target `*`.");
    }
    if authority.is_some() && !matches!(parts.uri.scheme_str(), Some("http" | "https")) {
        return refuse("The request's target is neither a path nor a URI with the scheme `http` or `https`.");
    }
    match host {
        Some(host) if !is_host(host.as_bytes()) => return refuse("The request's Host header is not a host."),
        None if parts.version == Version::HTTP_11 => return refuse("The request has no Host header."),
        None if parts.version == Version::HTTP_2 && authority.is_none() => {
            return refuse("The request has no host.");
        }
        Some(host) if parts.version == Version::HTTP_2 && authority.is_some_and(|a| !is_same(a, host)) => {
            return refuse("The request has two different hosts.");
        }
        Some(_) | None => {}
    }
    match (authority.map(HeaderValue::from_str), host) {
        (Some(Ok(value)), _) => Ok(Host { value, from_header: false }),
        (Some(Err(_)), _) => refuse("The request's target is not a host."),
        (None, Some(host)) => Ok(Host { value: host.clone(), from_header: true }),
        (None, None) => Ok(Host { value: default.clone(), from_header: false }),
    }
}

fn is_same(authority: &str, host: &HeaderValue) -> bool {
    authority.as_bytes().eq_ignore_ascii_case(host.as_bytes())
}

/// Whether `host` has only characters of names, addresses and ports, and a port that is one.
fn is_host(host: &[u8]) -> bool {
    let mut has_colon = false;
    let is_in_host = |byte: &u8| {
        has_colon |= *byte == b':';
        byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'.' | b'_' | b'~' | b':' | b'[' | b']' | b'%' | b'!' | b'$')
            || matches!(byte, b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b';' | b'=')
    };
    host.iter().all(is_in_host) && (!has_colon || has_port(host))
}

/// Whether what follows the name or address of a `host` with a colon is a port, which may be empty. Source: RFC 3986, sections 3.2.2 and 3.2.3.
fn has_port(host: &[u8]) -> bool {
    let is_address = host.starts_with(b"[");
    let end = host.iter().position(|byte| *byte == if is_address { b']' } else { b':' });
    let port = end.map(|end| &host[end + usize::from(is_address)..]);
    let digits = match port {
        Some([]) => return is_address,
        Some([b':', digits @ ..]) => digits,
        Some(_) | None => return false,
    };
    digits.iter().all(u8::is_ascii_digit)
        && (digits.is_empty() || str::from_utf8(digits).is_ok_and(|port| port.parse::<u16>().is_ok()))
}

/// An upgrade is forwarded if `Connection` and `Upgrade` both name it, unless it is to HTTP/2: that would bypass the checks of the proxy ("h2c
/// smuggling").
fn upgrade_of(parts: &Parts) -> Upgrade {
    let named = || tokens(&parts.headers, &CONNECTION).any(|t| t.eq_ignore_ascii_case("upgrade"));
    let h2c = || tokens(&parts.headers, &UPGRADE).any(|t| t.to_ascii_lowercase().starts_with("h2"));
    let wants = parts.version == Version::HTTP_11 && parts.headers.contains_key(UPGRADE);
    if wants && named() && !h2c() { Upgrade::Http1 } else { Upgrade::None }
}

fn takes_trailers(headers: &HeaderMap) -> bool {
    headers.contains_key(TE) && tokens(headers, &TE).any(|t| t.eq_ignore_ascii_case("trailers"))
}

/// Whether a client wants its connection to be closed after the answer. Source: RFC 9112, section 9.6.
pub(crate) fn asks_to_close(headers: &HeaderMap) -> bool {
    tokens(headers, &CONNECTION).any(|t| t.eq_ignore_ascii_case("close"))
}

/// Removes headers that are meant for the proxy, and those that are meant for one connection only, by definition or because `Connection` names
/// them.
fn strip(headers: &mut HeaderMap, is_for_proxy: impl Fn(&str) -> bool) {
    let is_removed = |name: &&HeaderName| is_hop_by_hop(name.as_str()) || is_for_proxy(name.as_str());
    let known: Vec<HeaderName> = headers.keys().filter(is_removed).cloned().collect();
    let named: Vec<HeaderName> = tokens(headers, &CONNECTION)
        // The usual values, which name no header.
        .filter(|token| !["close", "keep-alive"].iter().any(|usual| token.eq_ignore_ascii_case(usual)))
        .filter_map(|token| HeaderName::from_bytes(token.as_bytes()).ok())
        // Without these the recipient would interpret the message differently; no honest client names them.
        .filter(|name| name != HOST && name != CONTENT_LENGTH)
        .collect();
    for name in known.into_iter().chain(named) {
        headers.remove(name);
    }
}

fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim).filter(|token| !token.is_empty())
}

/// Leaves one of several equal `Content-Length` headers, and refuses different ones. Source: RFC 9110, section 8.6.
fn join_lengths(headers: &mut HeaderMap) -> Result<(), Refusal> {
    let mut lines = headers.get_all(CONTENT_LENGTH).iter();
    let (first, mut others) = (lines.next(), lines.peekable());
    let Some(first) = first.filter(|_| others.peek().is_some()) else { return Ok(()) };
    if others.any(|other| other != first) {
        let message = "The request has two different lengths.";
        return Err(Refusal { status: StatusCode::BAD_REQUEST, message });
    }
    let first = first.clone();
    headers.insert(CONTENT_LENGTH, first);
    Ok(())
}

/// Removes trailers about the connection, the framing or the target of a message, which are not allowed there: a recipient might refuse the
/// message for them, or take them for headers. Source: RFC 9110, section 6.5.1.
pub(crate) fn prepare_trailers(trailers: &mut HeaderMap) {
    let is_forbidden = |name: &str| {
        is_hop_by_hop(name) || is_for_proxy(name) || matches!(name, "content-length" | "host" | "trailer")
    };
    remove_all(trailers, is_forbidden);
}

fn remove_all(headers: &mut HeaderMap, is_removed: impl Fn(&str) -> bool) {
    let removed: Vec<HeaderName> = headers.keys().filter(|name| is_removed(name.as_str())).cloned().collect();
    for name in removed {
        headers.remove(name);
    }
}

/// Joins several `Cookie` headers, which HTTP/2 allows, into the one that HTTP/1.1 allows. Source: RFC 9113, section 8.2.3.
fn join_cookies(headers: &mut HeaderMap) {
    let mut lines = headers.get_all(COOKIE).iter();
    if lines.next().is_none() || lines.next().is_none() {
        return;
    }
    let lines: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    let joined = HeaderValue::from_bytes(&lines.join(&b"; "[..]));
    headers.insert(COOKIE, joined.expect("values joined by a semicolon are a value"));
}

/// The value of the first cookie of that name. Source: RFC 6265, section 4.2.1.
pub(crate) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let lines = headers.get_all(COOKIE).into_iter().map(HeaderValue::as_bytes);
    let pairs = lines.flat_map(|line| line.split(|&b| b == b';')).map(<[u8]>::trim_ascii);
    let mut values = pairs.filter_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"="));
    values.next()
}

fn set_forwarded(headers: &mut HeaderMap, sender: &Sender<'_>, host: &HeaderValue) {
    let proto = sender.scheme.clone();
    match sender.forwarded {
        Forwarded::Replace => {
            headers.insert(FORWARDED_FOR, sender.address.clone());
            headers.insert(FORWARDED_PROTO, proto);
            headers.insert(FORWARDED_HOST, host.clone());
        }
        Forwarded::Extend => {
            headers.append(FORWARDED_FOR, sender.address.clone());
            set_if_absent(headers, FORWARDED_PROTO, proto);
            set_if_absent(headers, FORWARDED_HOST, host.clone());
        }
    }
}

fn set_if_absent(headers: &mut HeaderMap, name: HeaderName, value: HeaderValue) {
    if let Entry::Vacant(vacant) = headers.entry(name) {
        vacant.insert(value);
    }
}

/// The target without scheme and host.
fn origin_form(uri: &Uri) -> Uri {
    let path = uri.path_and_query().cloned();
    path.map_or_else(|| Uri::from_static("/"), Uri::from)
}

/// Counts down in `Max-Forwards`; an OPTIONS or TRACE that must not be forwarded any further is answered instead.
/// Source: RFC 9110, section 7.6.2.
fn count_forward(headers: &mut HeaderMap, method: &Method) -> Result<(), Refusal> {
    let value = headers.get(MAX_FORWARDS).and_then(|value| value.to_str().ok());
    let Some(left) = value.and_then(|value| value.parse::<u64>().ok()) else { return Ok(()) };
    match left.checked_sub(1) {
        Some(left) => {
            headers.insert(MAX_FORWARDS, HeaderValue::from(left));
            Ok(())
        }
        None if method == Method::OPTIONS => Err(Refusal { status: StatusCode::OK, message: "" }),
        None => {
            let message = "This proxy does not answer TRACE, and the request must not be forwarded.";
            Err(Refusal { status: StatusCode::NOT_IMPLEMENTED, message })
        }
    }
}

/// The authority without a user name, which must not be forwarded.
fn without_user(authority: &str) -> &str {
    authority.rsplit_once('@').map_or(authority, |(_user, host)| host)
}
