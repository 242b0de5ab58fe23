use bytes::BytesMut;
use hyper::Request;

use super::*;
use crate::plain::heads::{Parsed, take_answer};

fn parts(target: &str, headers: &[(&str, &str)]) -> Parts {
    let builder = headers.iter().fold(Request::get(target), |b, (name, value)| b.header(*name, *value));
    builder.body(()).unwrap().into_parts().0
}

fn prepared(forwarded: Forwarded, mut parts: Parts) -> Result<(Parts, Upgrade), Refusal> {
    let address = HeaderValue::from_static("192.0.2.7");
    let default_host = HeaderValue::from_static("127.0.0.1:80");
    let sender = Sender {
        address: &address,
        scheme: &HeaderValue::from_static("http"),
        forwarded,
        default_host: &default_host,
    };
    prepare_request(&mut parts, &sender).map(|upgrade| (parts, upgrade))
}

fn passed(headers: &[(&str, &str)]) -> Parts {
    prepared(Forwarded::Replace, parts("/x?y", headers)).unwrap().0
}

#[test]
fn hop_by_hop_headers_end_here() {
    let parts = passed(&[
        ("host", "shop"),
        ("connection", "x-secret, keep-alive, Host, content-length"),
        ("x-secret", "1"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("proxy-authorization", "Basic eA=="),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("te", "deflate"),
        ("expect", "100-continue"),
        ("content-length", "3"),
        ("x-kept", "2"),
    ]);
    let mut names: Vec<_> = parts.headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    let kept =
        ["content-length", "host", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-kept"];
    assert_eq!(names, kept);
    assert_eq!(parts.headers["host"], "shop");
}

#[test]
fn forwarding_headers_of_clients_are_trusted_only_if_configured() {
    let spoofed = [("host", "shop"), ("x-forwarded-for", "203.0.113.9"), ("x-forwarded-proto", "https")];
    let replaced = passed(&spoofed).headers;
    assert_eq!(replaced["x-forwarded-for"], "192.0.2.7");
    assert_eq!(replaced["x-forwarded-proto"], "http");
    assert_eq!(replaced["x-forwarded-host"], "shop");
    let (extended, _) = prepared(Forwarded::Extend, parts("/", &spoofed)).unwrap();
    let all: Vec<_> = extended.headers.get_all("x-forwarded-for").iter().collect();
    assert_eq!(all, ["203.0.113.9", "192.0.2.7"]);
    assert_eq!(extended.headers["x-forwarded-proto"], "https");
}

#[test]
fn a_client_cannot_take_our_forwarded_headers_off_by_naming_them() {
    let parts = passed(&[("host", "shop"), ("connection", "x-forwarded-for")]);
    assert_eq!(parts.headers["x-forwarded-for"], "192.0.2.7");
}

#[test]
fn an_absolute_target_names_the_host() {
    let (parts, _) =
        prepared(Forwarded::Replace, parts("http://me@real:81/a?b", &[("host", "other")])).unwrap();
    assert_eq!(parts.headers["host"], "real:81");
    assert_eq!(parts.uri, "/a?b");
}

#[test]
fn an_absolute_target_is_of_http() {
    for (target, is_taken) in
        [("http://a/", true), ("HTTPS://a/", true), ("ftp://a/", false), ("ws://a/", false), ("a:80", false)]
    {
        let prepared = prepared(Forwarded::Replace, parts(target, &[("host", "a")]));
        assert_eq!(
            prepared.err().map(|refusal| refusal.status),
            (!is_taken).then_some(StatusCode::BAD_REQUEST),
            "{target}"
        );
    }
}

#[test]
fn http_2_names_its_host_once_and_may_split_its_cookies() {
    let version_2 = |target: &str, headers: &[(&str, &str)]| {
        let mut parts = parts(target, headers);
        parts.version = Version::HTTP_2;
        prepared(Forwarded::Replace, parts)
    };
    for (target, headers) in [
        ("http://Shop:81/a?b", &[("cookie", "a=1"), ("cookie", "b=2; c=3"), ("te", "trailers")][..]),
        ("http://Shop:81/a?b", &[("host", "shop:81"), ("cookie", "a=1; b=2; c=3"), ("te", "trailers")]),
    ] {
        let (parts, _) = version_2(target, headers).unwrap();
        assert_eq!(
            (&parts.headers["host"], parts.uri.to_string()),
            (&"Shop:81".parse().unwrap(), "/a?b".into())
        );
        assert_eq!(parts.version, Version::HTTP_11);
        assert_eq!(parts.headers.get_all("cookie").iter().collect::<Vec<_>>(), ["a=1; b=2; c=3"]);
        assert_eq!(
            (&parts.headers["te"], &parts.headers["connection"]),
            (&"trailers".parse().unwrap(), &"te".parse().unwrap())
        );
    }
    for (target, headers) in [("/", &[][..]), ("http://a/", &[("host", "b")]), ("http://me@a/", &[])] {
        assert_eq!(version_2(target, headers).unwrap_err().status, StatusCode::BAD_REQUEST);
    }
    assert_eq!(version_2("/", &[("host", "a")]).unwrap().0.headers["host"], "a");
}

#[test]
fn a_host_is_needed_once_and_well_formed() {
    for headers in [&[][..], &[("host", "a"), ("host", "a")], &[("host", "a b")], &[("host", "a/b")]] {
        let refusal = prepared(Forwarded::Replace, parts("/", headers)).unwrap_err();
        assert_eq!(refusal.status, StatusCode::BAD_REQUEST, "{headers:?}");
    }
    let mut old = parts("/", &[]);
    old.version = Version::HTTP_10;
    let (old, _) = prepared(Forwarded::Replace, old).unwrap();
    assert_eq!((&old.headers["host"], old.version), (&"127.0.0.1:80".parse().unwrap(), Version::HTTP_11));
}

#[test]
fn the_port_of_a_host_is_a_number_of_16_bits() {
    let hosts = [
        ("a", true),
        ("a:80", true),
        ("a:", true),
        ("a:65535", true),
        ("[::1]", true),
        ("[::1]:80", true),
        ("a:b:c", false),
        ("a:xx", false),
        ("a:+1", false),
        ("a:65536", false),
        ("a:99999", false),
        ("::1", false),
        ("[::1", false),
        ("[::1]80", false),
        ("[::1]:x", false),
    ];
    for (host, is_taken) in hosts {
        let prepared = prepared(Forwarded::Replace, parts("/", &[("host", host)]));
        assert_eq!(prepared.is_ok(), is_taken, "{host}");
    }
}

#[test]
fn other_headers_that_name_a_client_are_trusted_only_if_configured() {
    let names = ["forwarded", "x-real-ip", "x-forwarded-port", "x-forwarded-prefix"];
    let spoofed: Vec<_> =
        [("host", "shop")].into_iter().chain(names.map(|name| (name, "for=203.0.113.9"))).collect();
    let replaced = passed(&spoofed).headers;
    assert!(names.iter().all(|name| !replaced.contains_key(*name)), "{replaced:?}");
    assert_eq!(replaced["x-forwarded-for"], "192.0.2.7");
    let (extended, _) = prepared(Forwarded::Extend, parts("/", &spoofed)).unwrap();
    assert!(names.iter().all(|name| extended.headers.contains_key(*name)));
}

#[test]
fn max_forwards_is_counted_down_and_the_last_recipient_answers() {
    let send = |method: Method, value: &'static str| {
        let mut parts = parts("/", &[("host", "a"), ("max-forwards", value)]);
        parts.method = method;
        prepared(Forwarded::Replace, parts)
            .map(|(parts, _)| parts.headers["max-forwards"].clone())
            .map_err(|refusal| refusal.status.as_u16())
    };
    assert_eq!(send(Method::OPTIONS, "0"), Err(200));
    assert_eq!(send(Method::TRACE, "0"), Err(501));
    assert_eq!(send(Method::TRACE, "2").unwrap(), "1");
    assert_eq!(send(Method::OPTIONS, "x").unwrap(), "x", "it may be ignored");
    assert_eq!(send(Method::GET, "0").unwrap(), "0", "it means nothing there");
}

#[test]
fn only_options_has_an_asterisk_as_target() {
    let target = |method: Method, target: &str| {
        let mut parts = parts(target, &[("host", "a")]);
        parts.method = method;
        prepared(Forwarded::Replace, parts).map(|(parts, _)| parts.uri.to_string()).ok()
    };
    assert_eq!(target(Method::OPTIONS, "*").as_deref(), Some("*"));
    assert_eq!(target(Method::GET, "*"), None);
}

#[test]
fn equal_lengths_are_one_and_different_ones_are_refused() {
    let length = |values: [&'static str; 2]| {
        let headers = [("host", "a"), ("content-length", values[0]), ("content-length", values[1])];
        prepared(Forwarded::Replace, parts("/", &headers))
            .map(|(parts, _)| parts.headers.get_all("content-length").iter().cloned().collect::<Vec<_>>())
    };
    assert_eq!(length(["3", "3"]).unwrap(), ["3"]);
    assert_eq!(length(["3", "4"]).unwrap_err().status, StatusCode::BAD_REQUEST);
}

#[test]
fn connect_is_refused() {
    let mut connect = parts("/", &[("host", "a")]);
    connect.method = Method::CONNECT;
    assert_eq!(prepared(Forwarded::Replace, connect).unwrap_err().status, StatusCode::NOT_IMPLEMENTED);
}

#[test]
fn an_upgrade_passes_when_named_twice_and_is_not_to_http2() {
    let upgrade = |headers: &[(&str, &str)]| {
        let (parts, upgrade) = prepared(Forwarded::Replace, parts("/", headers)).unwrap();
        assert_eq!(parts.headers.contains_key(UPGRADE), upgrade == Upgrade::Http1);
        assert_eq!(parts.headers.contains_key(CONNECTION), upgrade == Upgrade::Http1);
        upgrade
    };
    let both = [("host", "a"), ("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")];
    assert_eq!(upgrade(&both), Upgrade::Http1);
    assert_eq!(upgrade(&[("host", "a"), ("upgrade", "websocket")]), Upgrade::None);
    let h2c = [("host", "a"), ("connection", "upgrade, http2-settings"), ("upgrade", "h2c")];
    assert_eq!(upgrade(&h2c), Upgrade::None);
}

#[test]
fn trailers_are_requested_when_the_client_accepts_them() {
    let parts = passed(&[("host", "a"), ("te", "gzip, trailers"), ("connection", "te")]);
    assert_eq!(parts.headers["te"], "trailers");
    assert_eq!(parts.headers["connection"], "te");
}

#[test]
fn a_response_keeps_its_upgrade_only_when_it_switches() {
    let make = || {
        let mut headers = HeaderMap::new();
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade, x-own"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert("x-own", HeaderValue::from_static("1"));
        headers
    };
    let (mut switched, mut plain) = (make(), make());
    prepare_response(&mut switched, StatusCode::SWITCHING_PROTOCOLS);
    prepare_response(&mut plain, StatusCode::OK);
    assert_eq!(switched.len(), 2);
    assert!(plain.is_empty(), "{plain:?}");
}

#[test]
fn each_hop_by_hop_header_is_removed_alone_too() {
    for name in [
        "connection",
        "expect",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "transfer-encoding",
        "upgrade",
    ] {
        let value = if name == "transfer-encoding" { "chunked" } else { "1" };
        assert!(!passed(&[("host", "a"), (name, value)]).headers.contains_key(name), "{name}");
    }
    for name in [
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-connection",
        "te",
        "transfer-encoding",
        "upgrade",
    ] {
        let mut headers = HeaderMap::from_iter([(name.parse().unwrap(), HeaderValue::from_static("1"))]);
        prepare_response(&mut headers, StatusCode::OK);
        assert!(headers.is_empty(), "{name}");
    }
}

#[test]
fn a_trace_that_cannot_be_read_ends_here() {
    for name in ["traceparent", "tracestate"] {
        assert!(!passed(&[("host", "a"), (name, "1")]).headers.contains_key(name), "{name}");
    }
}

#[test]
fn hop_by_hop_headers_are_removed_from_lines_as_from_maps() {
    let names = ["connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade"];
    assert!(names.iter().all(|name| is_hop_by_hop(name)));
    for name in names.into_iter().chain(["proxy-authenticate"]) {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{name}: keep-alive\r\n\r\n");
        match take_answer(&mut BytesMut::from(&*head)) {
            Parsed::Plain(answer) => assert!(!answer.raw_head.to_map().contains_key(name), "{name}"),
            Parsed::NotPlain => {
                assert_eq!(name, "transfer-encoding", "hyper reads what is not framed by a length");
            }
            Parsed::Partial => unreachable!("the head is whole"),
        }
    }
}
