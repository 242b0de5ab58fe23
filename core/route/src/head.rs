//! The head of a request, as far as routes match it.

/// The head of a request, as far as routes match it.
pub trait Head {
    /// The host that it is for, with or without a port, in any case.
    fn host(&self) -> &str;
    /// Its method.
    fn method(&self) -> &str;
    /// The path of its target, as it was received.
    fn path(&self) -> &str;
    /// What follows the `?` of its target, as it was received; empty without one.
    fn query(&self) -> &str;
    /// Whether one of the lines of the header `name` has a value that `matches`.
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

/// The name in a `Host`: without its port, the brackets of an address and the dot that may end a name.
pub(crate) fn name_of(host: &str) -> &str {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => host.split(':').next().unwrap_or(host),
    };
    name.strip_suffix('.').unwrap_or(name)
}

/// The first value of a parameter of that name, still encoded; one without `=` has an empty value.
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
    fn a_host_is_its_name_alone() {
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
    fn the_first_of_equal_parameters_counts() {
        assert_eq!(parameter("a=1&b=2&a=3", "a"), Some("1"));
        assert_eq!(parameter("a&b==", "a"), Some(""));
        assert_eq!(parameter("a&b==", "b"), Some("="));
        assert_eq!(parameter("", "a"), None);
        assert_eq!(parameter("aa=1", "a"), None);
    }
}
