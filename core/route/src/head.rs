//! The parts of a request's head that routes match.

/// The parts of a request's head that routes match.
pub trait Head {
    /// The requested host, with or without a port, in upper or lower case.
    fn host(&self) -> &str;
    /// The method.
    fn method(&self) -> &str;
    /// The path of the target, as received.
    fn path(&self) -> &str;
    /// The query of the target, as received and without its `?`; empty without one.
    fn query(&self) -> &str;
    /// Whether a value of the header `name` satisfies `matches`.
    fn has_header(&self, name: &str, matches: &mut dyn FnMut(&[u8]) -> bool) -> bool;
}

/// A head without headers.
#[derive(Clone, Copy, Debug)]
pub struct RequestLine<'a> {
    /// The host.
    pub host: &'a str,
    /// The method.
    pub method: &'a str,
    /// The path.
    pub path: &'a str,
    /// The query.
    pub query: &'a str,
}

impl Head for RequestLine<'_> {
    fn host(&self) -> &str {
        self.host
    }

    fn method(&self) -> &str {
        self.method
    }

    fn path(&self) -> &str {
        self.path
    }

    fn query(&self) -> &str {
        self.query
    }

    fn has_header(&self, _: &str, _: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        false
    }
}

/// The name in a `Host` header: without the port, the brackets of an IPv6 address and a trailing dot.
pub(crate) fn name_of(host: &str) -> &str {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => host.split(':').next().unwrap_or(host),
    };
    name.strip_suffix('.').unwrap_or(name)
}

/// The first value of the parameter `name`, still encoded; empty for a parameter without `=`.
pub(crate) fn parameter<'q>(query: &'q str, name: &str) -> Option<&'q str> {
    query.split('&').find_map(|pair| match pair.split_once('=') {
        Some((key, value)) => (key == name).then_some(value),
        None => (pair == name).then_some(""),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_host_has_no_port_brackets_or_trailing_dot() {
        for (host, name) in [
            ("a.b", "a.b"),
            ("a.b:80", "a.b"),
            ("a.b.:80", "a.b"),
            ("[::1]:80", "::1"),
            ("[::1]", "::1"),
            ("", ""),
            (":80", ""),
            ("[", ""),
        ] {
            assert_eq!(name_of(host), name, "{host}");
        }
    }

    #[test]
    fn the_first_value_of_a_repeated_parameter_is_used() {
        assert_eq!(parameter("a=1&b=2&a=3", "a"), Some("1"));
        assert_eq!(parameter("a&b==", "a"), Some(""));
        assert_eq!(parameter("a&b==", "b"), Some("="));
        assert_eq!(parameter("", "a"), None);
        assert_eq!(parameter("aa=1", "a"), None);
    }
}
