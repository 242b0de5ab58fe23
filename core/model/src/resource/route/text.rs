//! Hosts, paths and headers as validated texts.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use schemars::JsonSchema;

/// The longest host in bytes (RFC 1123, section 2.1).
const HOSTNAME_LEN_MAX: usize = 253;

/// The longest path of a match in bytes, as in the Gateway API.
const PATH_LEN_MAX: usize = 1024;

/// The longest name of a header in bytes, as in the Gateway API.
const HEADER_NAME_LEN_MAX: usize = 256;

/// The longest value of a header in bytes, as in the Gateway API.
const HEADER_VALUE_LEN_MAX: usize = 4096;

/// Why a text is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteTextError {
    /// It is not a host.
    #[error(
        "a host must be a name of lower-case letters, digits, '-' and '.', optionally after \"*.\" for all names below it, not {text:?}"
    )]
    Hostname {
        /// The text.
        text: String,
    },
    /// It is an address.
    #[error("a host must be a name, not an address such as {text:?}")]
    Address {
        /// The text.
        text: String,
    },
    /// It is not a path in the normal form.
    #[error(
        "a path must begin with '/', consist of characters allowed in URLs, and not contain \"//\", \"/./\", \"/../\" or %2F, unlike {text:?}"
    )]
    Path {
        /// The text.
        text: String,
    },
    /// It is not a name of a header.
    #[error(
        "the name of a header must be 1 to {HEADER_NAME_LEN_MAX} letters, digits and any of !#$%&'*+-.^_`|~, not {text:?}"
    )]
    HeaderName {
        /// The text.
        text: String,
    },
    /// It is not a value of a header.
    #[error(
        "the value of a header must be 1 to {HEADER_VALUE_LEN_MAX} visible ASCII characters, with single spaces or tabs between \
         them, not {text:?}"
    )]
    HeaderValue {
        /// The text.
        text: String,
    },
}

/// Defines a validated text: how it is parsed, serialized and described.
macro_rules! checked_text {
    ($(#[$doc:meta])* $name:ident, $len_max:expr, $pattern:expr, $description:expr, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Parses a text.
            pub fn parse(text: &str) -> Result<Self, RouteTextError> {
                $check(text).map(|()| Self(text.into()))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        crate::text::as_text!($name);

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "description": $description,
                    "type": "string",
                    "minLength": 1,
                    "maxLength": $len_max,
                    "pattern": $pattern,
                })
            }
        }
    };
}

checked_text!(
    /// A host by name, `shop.example.com`, or all below one, `*.example.com`.
    Hostname,
    HOSTNAME_LEN_MAX,
    "^(\\*\\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
    "A host by name, or all below one: shop.example.com, *.example.com.",
    check_hostname
);

checked_text!(
    /// A path as in URLs, in the normal form in which it is compared: `/`, `/a`, `/a/b`.
    UrlPath,
    PATH_LEN_MAX,
    "^/([-A-Za-z0-9/._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})*$",
    "A path as in URLs: /, /a, /a/b.",
    check_path
);

checked_text!(
    /// The name of a header, case-insensitive.
    HeaderName,
    HEADER_NAME_LEN_MAX,
    "^[A-Za-z0-9!#$%&'*+\\-.^_`|~]+$",
    "The name of a header, case-insensitive.",
    check_header_name
);

checked_text!(
    /// A value of a header.
    HeaderValue,
    HEADER_VALUE_LEN_MAX,
    "^[!-~]+([\\t ]?[!-~]+)*$",
    "The value of a header.",
    check_header_value
);

impl Hostname {
    /// The suffix of every host below it, such as `.example.com`; `None` for a single host.
    pub fn suffix(&self) -> Option<&str> {
        self.0.strip_prefix('*')
    }
}

impl Default for UrlPath {
    fn default() -> Self {
        Self("/".into())
    }
}

fn check_hostname(text: &str) -> Result<(), RouteTextError> {
    let name = text.strip_prefix("*.").unwrap_or(text);
    if name.parse::<IpAddr>().is_ok() {
        return Err(RouteTextError::Address { text: text.to_owned() });
    }
    let belongs = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let is_label = |label: &str| {
        let fits = (1..=63).contains(&label.len()) && label.bytes().all(belongs);
        fits && !label.starts_with('-') && !label.ends_with('-')
    };
    let fits = text.len() <= HOSTNAME_LEN_MAX && name.split('.').all(is_label);
    if fits { Ok(()) } else { Err(RouteTextError::Hostname { text: text.to_owned() }) }
}

/// Source: HTTPPathMatch of the Gateway API; RFC 3986, section 3.3, `pchar`.
fn check_path(text: &str) -> Result<(), RouteTextError> {
    let bytes = text.as_bytes();
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-/._~!$&'()*+,;=:@".contains(&b);
    let is_hex = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_hexdigit);
    let fits = bytes.iter().enumerate().all(|(at, b)| match b {
        b'%' => is_hex(at + 1) && is_hex(at + 2),
        b => is_plain(*b),
    });
    let is_plain_form = !text.contains("//")
        && !text.split('/').any(|element| element == "." || element == "..")
        && !text.to_ascii_lowercase().contains("%2f");
    if fits && is_plain_form && text.starts_with('/') && text.len() <= PATH_LEN_MAX {
        return Ok(());
    }
    Err(RouteTextError::Path { text: text.to_owned() })
}

/// Source: RFC 9110, section 5.6.2, `token`.
fn check_header_name(text: &str) -> Result<(), RouteTextError> {
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    let fits = (1..=HEADER_NAME_LEN_MAX).contains(&text.len()) && text.bytes().all(is_token);
    if fits { Ok(()) } else { Err(RouteTextError::HeaderName { text: text.to_owned() }) }
}

/// Source: HTTPHeader of the Gateway API; RFC 9110, section 5.5. No line of a header can hide in it.
fn check_header_value(text: &str) -> Result<(), RouteTextError> {
    let bytes = text.as_bytes();
    let is_gap = |b: &u8| *b == b' ' || *b == b'\t';
    let fits = bytes.iter().all(|b| b.is_ascii_graphic() || is_gap(b));
    let gaps_are_single = !bytes.windows(2).any(|pair| pair.iter().all(is_gap));
    let has_no_gap_at_an_end = !bytes.first().is_some_and(is_gap) && !bytes.last().is_some_and(is_gap);
    if fits && gaps_are_single && has_no_gap_at_an_end && (1..=HEADER_VALUE_LEN_MAX).contains(&text.len()) {
        return Ok(());
    }
    Err(RouteTextError::HeaderValue { text: text.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostname_is_a_name_or_a_wildcard() {
        for text in ["a", "shop.example.com", "*.example.com", "1.example"] {
            assert!(Hostname::parse(text).is_ok(), "{text}");
        }
        for text in
            ["", "*", "*.", "*a.com", "A.com", "a..com", ".a", "a.", "-a.com", "a b", "a:80", "127.0.0.1"]
        {
            assert!(Hostname::parse(text).is_err(), "{text}");
        }
        assert_eq!(Hostname::parse("*.example.com").unwrap().suffix(), Some(".example.com"));
        assert_eq!(Hostname::parse("example.com").unwrap().suffix(), None);
    }

    #[test]
    fn a_path_has_one_normal_form() {
        for text in ["/", "/a", "/a/", "/a/b.c", "/%20", "/..a", "/a..", "/:@"] {
            assert!(UrlPath::parse(text).is_ok(), "{text}");
        }
        for text in [
            "", "a", "//", "/a//b", "/.", "/a/..", "/../a", "/a?b", "/a#b", "/a b", "/%2f", "/%2Fa", "/%a",
            "/é",
        ] {
            assert!(UrlPath::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn header_values_cannot_contain_another_header() {
        for text in ["a", "a b", "a, b", "\"a\""] {
            assert!(HeaderValue::parse(text).is_ok(), "{text}");
        }
        for text in ["", " a", "a ", "a  b", "a\r\nb: c", "a\nb", "é", "a\0"] {
            assert!(HeaderValue::parse(text).is_err(), "{text:?}");
        }
        assert!(HeaderName::parse("x-a").is_ok());
        assert!(HeaderName::parse("a b").is_err() && HeaderName::parse("").is_err());
    }
}
