//! How a rule changes the target of a request: rewrites and redirects.

use model::resource::route::{PathModifier, RequestRedirect, Scheme};

use crate::head::name_of;

/// The target of a request, whose parts a redirect may keep.
#[derive(Clone, Copy, Debug)]
pub struct RequestTarget<'a> {
    /// The scheme.
    pub scheme: Scheme,
    /// The host, with or without a port.
    pub host: &'a str,
    /// The port of the listener.
    pub port: u16,
    /// The path.
    pub path: &'a str,
    /// The query, without its `?`; empty without one.
    pub query: &'a str,
    /// The length of the matched prefix in `path`, in bytes.
    pub prefix_len: usize,
}

/// The path that replaces `path`, of which a prefix of `prefix_len` bytes matched.
///
/// Source: the table at HTTPPathModifier.replacePrefixMatch of the Gateway API, v1.
pub fn replace_path(modifier: &PathModifier, path: &str, prefix_len: usize) -> String {
    match modifier {
        PathModifier::ReplaceFullPath(full) => full.as_str().to_owned(),
        PathModifier::ReplacePrefixMatch(prefix) => {
            let prefix = prefix.as_str();
            let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
            // A match always ends at the end of a path element.
            let rest = path.get(prefix_len..).unwrap_or_default();
            let replaced = format!("{prefix}{rest}");
            if replaced.starts_with('/') { replaced } else { format!("/{replaced}") }
        }
    }
}

/// The `Location` of a redirect.
///
/// The default port of the scheme is omitted. Source: HTTPRequestRedirectFilter of the Gateway API, v1.
pub fn location(redirect: &RequestRedirect, target: &RequestTarget<'_>) -> String {
    let scheme = redirect.scheme.unwrap_or(target.scheme);
    let host = redirect.hostname.as_ref().map_or_else(|| name_of(target.host), |host| host.as_str());
    let port = match (redirect.port, redirect.scheme) {
        (Some(port), _) => port.get(),
        (None, Some(scheme)) => port_of(scheme),
        (None, None) => target.port,
    };
    let path = redirect.path.as_ref().map(|modifier| replace_path(modifier, target.path, target.prefix_len));
    let path = path.as_deref().unwrap_or(target.path);
    let scheme_name = match scheme {
        Scheme::Http => "http",
        Scheme::Https => "https",
    };
    let brackets = if host.contains(':') { ("[", "]") } else { ("", "") };
    let mut location = format!("{scheme_name}://{}{host}{}", brackets.0, brackets.1);
    if port != port_of(scheme) {
        location += &format!(":{port}");
    }
    location += path;
    if !target.query.is_empty() {
        location += "?";
        location += target.query;
    }
    location
}

const fn port_of(scheme: Scheme) -> u16 {
    match scheme {
        Scheme::Http => 80,
        Scheme::Https => 443,
    }
}

/// Whether a path has a segment `.` or `..`, also when encoded with `%2e`.
///
/// Such a path would match as written, while a service that resolves it would serve another path. Conforming clients resolve such paths
/// themselves. Source: RFC 3986, section 5.2.4.
pub fn has_dot_segments(path: &str) -> bool {
    let is_dots = |element: &str| {
        let mut rest = element.as_bytes();
        let mut dots = 0;
        while !rest.is_empty() {
            rest = match rest {
                [b'.', rest @ ..] | [b'%', b'2', b'e' | b'E', rest @ ..] => rest,
                _ => return false,
            };
            dots += 1;
        }
        (1..=2).contains(&dots)
    };
    (path.contains('.') || path.contains('%')) && path.split('/').any(is_dots)
}

#[cfg(test)]
mod tests {
    use model::resource::route::{Hostname, UrlPath};

    use super::*;

    fn path(text: &str) -> UrlPath {
        UrlPath::parse(text).expect("a path")
    }

    #[test]
    fn a_prefix_is_replaced_as_the_specification_shows() {
        for (path_before, prefix, replacement, path_after) in [
            ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
            ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
            ("/foo/bar", "/foo", "/", "/bar"),
            ("/foo/", "/foo", "/xyz", "/xyz/"),
            ("/foo", "/foo", "/xyz", "/xyz"),
            ("/foo/", "/foo", "/", "/"),
            ("/foo", "/foo", "/", "/"),
            ("/bar", "", "/xyz", "/xyz/bar"),
            ("/", "", "/xyz", "/xyz/"),
        ] {
            let modifier = PathModifier::ReplacePrefixMatch(path(replacement));
            let replaced = replace_path(&modifier, path_before, prefix.len());
            assert_eq!(replaced, path_after, "{path_before} {prefix} {replacement}");
        }
        assert_eq!(replace_path(&PathModifier::ReplaceFullPath(path("/a")), "/foo/bar", 4), "/a");
    }

    #[test]
    fn a_redirect_changes_only_the_declared_parts() {
        let target = RequestTarget {
            scheme: Scheme::Http,
            host: "Shop.example:8080",
            port: 8080,
            path: "/a/b",
            query: "c=d",
            prefix_len: 2,
        };
        let plain = RequestRedirect::default();
        let to = |redirect: RequestRedirect| location(&redirect, &target);
        assert_eq!(to(plain.clone()), "http://Shop.example:8080/a/b?c=d");
        assert_eq!(
            to(RequestRedirect { scheme: Some(Scheme::Https), ..plain.clone() }),
            "https://Shop.example/a/b?c=d"
        );
        let hostname = Some(Hostname::parse("www.example").unwrap());
        let prefix = Some(PathModifier::ReplacePrefixMatch(path("/z")));
        let port = std::num::NonZeroU16::new(80);
        let moved = RequestRedirect { hostname, path: prefix, port, ..plain.clone() };
        assert_eq!(to(moved), "http://www.example/z/b?c=d");
        let ipv6 = RequestTarget { host: "[::1]:8080", query: "", ..target };
        assert_eq!(location(&plain, &ipv6), "http://[::1]:8080/a/b");
    }

    #[test]
    fn dot_segments_are_found_even_when_encoded() {
        for path in ["/..", "/a/../b", "/.", "/a/./b", "/%2e%2E/b", "/a/.%2e", "/a/%2e"] {
            assert!(has_dot_segments(path), "{path}");
        }
        for path in ["/", "/...", "/a.b", "/.a", "/..a/", "/%2e%2e%2e", "/a%2f..b", "*", "/%20", "/%2"] {
            assert!(!has_dot_segments(path), "{path}");
        }
    }
}
