//! Ports of a service, and addresses to listen on.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::str::FromStr;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest name of a port, in bytes (RFC 6335 section 5.1, as Kubernetes has it).
pub const PORT_NAME_LEN_MAX: usize = 15;

/// A port that each replica of a service listens on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Port {
    /// The name of the port; a replica finds the number of its port `http` in the environment variable `PORT_HTTP`.
    pub name: PortName,
    /// What is spoken on the port. Replicas are spoken to as their own version declares, so that a rollout may change it. Where it changes
    /// between HTTP, TCP and UDP, clients of `expose.listen` are served in the new way from the first replica on that is ready for it.
    #[serde(default)]
    pub protocol: Protocol,
    /// The number that every replica listens on, 1 to 65535. Default: a free one for each replica.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<NonZeroU16>,
}

/// The protocol of a port.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http,
    /// HTTP/2 without TLS, spoken from the first byte: Kubernetes' `kubernetes.io/h2c`.
    Http2,
    /// gRPC, which is HTTP/2 without TLS.
    Grpc,
    /// Bytes over TCP that Homeostat does not look into; each connection is balanced.
    Tcp,
    /// Datagrams over UDP that Homeostat does not look into; those from one client's address and port are a session, and each
    /// session is balanced.
    Udp,
}

impl Protocol {
    /// Whether it runs over TCP; port numbers of TCP and UDP do not conflict.
    pub const fn is_over_tcp(self) -> bool {
        match self {
            Self::Http | Self::Http2 | Self::Grpc | Self::Tcp => true,
            Self::Udp => false,
        }
    }
}

/// The name of a port: 1 to 15 of `a-z`, `0-9` and `-`, with at least one letter and no `-` at either end.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortName(Arc<str>);

/// Why a text is not the name of a port.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortNameError {
    /// Empty or longer than [`PORT_NAME_LEN_MAX`].
    #[error("the name of a port has 1 to {PORT_NAME_LEN_MAX} characters, this one has {len}")]
    Length {
        /// Its length in bytes.
        len: usize,
    },
    /// Other characters, no letter, or a `-` at an end.
    #[error(
        "the name of a port contains only lower-case letters, digits and inner '-', and at least one letter"
    )]
    Character,
}

impl PortName {
    /// Parses the name of a port.
    pub fn parse(text: &str) -> Result<Self, PortNameError> {
        if text.is_empty() || text.len() > PORT_NAME_LEN_MAX {
            return Err(PortNameError::Length { len: text.len() });
        }
        let is_allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let has_letter = text.bytes().any(|b| b.is_ascii_lowercase());
        if !text.bytes().all(is_allowed) || !has_letter || text.starts_with('-') || text.ends_with('-') {
            return Err(PortNameError::Character);
        }
        Ok(Self(text.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The environment variable that tells a replica the number of this port: `PORT_HTTP` for `http`.
    pub fn variable(&self) -> String {
        format!("PORT_{}", self.0.to_ascii_uppercase().replace('-', "_"))
    }
}

crate::text::as_text!(PortName);

impl FromStr for PortName {
    type Err = PortNameError;

    fn from_str(text: &str) -> Result<Self, PortNameError> {
        Self::parse(text)
    }
}

impl JsonSchema for PortName {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "PortName".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "The name of a port.",
            "type": "string",
            "maxLength": PORT_NAME_LEN_MAX,
            "pattern": "^(?=.*[a-z])[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        })
    }
}

/// An address of this machine to listen on: an IP address and a port.
///
/// `127.0.0.1:8080`, `0.0.0.0:80`, `[::1]:8080`. With port 0 the system chooses a free one. Names such as `localhost` are refused,
/// because they can stand for several addresses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenAddress(pub SocketAddr);

/// Why a text is not an address to listen on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an address to listen on is an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080, not {text:?}"
)]
pub struct ListenAddressError {
    /// What was written.
    pub text: String,
}

impl ListenAddress {
    /// Parses an address; does not resolve names.
    pub fn parse(text: &str) -> Result<Self, ListenAddressError> {
        text.parse().map(Self).map_err(|_| ListenAddressError { text: text.to_owned() })
    }

    /// Whether two listeners on these addresses would conflict: the same port, and the same IP address or one that stands for all.
    ///
    /// Port 0 never conflicts: the system chooses a different port for each listener.
    pub const fn conflicts_with(self, other: Self) -> bool {
        let (a, b) = (self.0, other.0);
        let same_ip = match (a.ip(), b.ip()) {
            (IpAddr::V4(x), IpAddr::V4(y)) => {
                x.to_bits() == y.to_bits() || x.is_unspecified() || y.is_unspecified()
            }
            (IpAddr::V6(x), IpAddr::V6(y)) => {
                x.to_bits() == y.to_bits() || x.is_unspecified() || y.is_unspecified()
            }
            (IpAddr::V4(_), IpAddr::V6(six)) | (IpAddr::V6(six), IpAddr::V4(_)) => six.is_unspecified(),
        };
        a.port() != 0 && a.port() == b.port() && same_ip
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for ListenAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ListenAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for ListenAddress {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ListenAddress".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "An IP address and a port: 127.0.0.1:8080, [::1]:8080.",
            "type": "string",
            "pattern": "^([0-9.]+|\\[[0-9a-fA-F:.%]+\\]):[0-9]+$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_variable_follows_from_the_name() {
        assert_eq!(PortName::parse("http").map(|p| p.variable()), Ok("PORT_HTTP".to_owned()));
        assert_eq!(PortName::parse("admin-api").map(|p| p.variable()), Ok("PORT_ADMIN_API".to_owned()));
    }

    #[test]
    fn a_port_name_is_short_and_has_a_letter() {
        for text in ["80", "-a", "a-", "A", "a_b"] {
            assert_eq!(PortName::parse(text), Err(PortNameError::Character), "{text}");
        }
        assert_eq!(PortName::parse(""), Err(PortNameError::Length { len: 0 }));
        assert_eq!(PortName::parse("a234567890123456"), Err(PortNameError::Length { len: 16 }));
    }

    #[test]
    fn listeners_conflict_when_one_address_covers_the_other() {
        let at = |text| ListenAddress::parse(text).expect("a valid address");
        assert!(at("127.0.0.1:80").conflicts_with(at("127.0.0.1:80")));
        assert!(at("0.0.0.0:80").conflicts_with(at("127.0.0.1:80")));
        assert!(at("[::]:80").conflicts_with(at("127.0.0.1:80")));
        assert!(!at("0.0.0.0:80").conflicts_with(at("[::1]:80")));
        assert!(!at("127.0.0.1:80").conflicts_with(at("127.0.0.2:80")));
        assert!(!at("127.0.0.1:80").conflicts_with(at("127.0.0.1:81")));
        assert!(!at("127.0.0.1:0").conflicts_with(at("127.0.0.1:0")));
    }

    #[test]
    fn a_host_name_is_not_a_listen_address() {
        assert!(ListenAddress::parse("localhost:80").is_err());
        assert!(ListenAddress::parse("127.0.0.1").is_err());
    }
}
