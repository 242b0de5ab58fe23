//! Endpoints that Homeostat does not run, and zones.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::name::ZoneName;

/// Most endpoints elsewhere of one service: as many as can be maintained by hand; more are usually behind a balancer.
pub const ENDPOINTS_ELSEWHERE_MAX: usize = 256;

/// Largest weight of an endpoint elsewhere: the limit of HAProxy (configuration manual, section 5.2, `weight`).
pub const ENDPOINT_WEIGHT_MAX: u32 = 256;

/// An endpoint that others run, and that requests are balanced to beside the replicas: on another machine, or not run by Homeostat yet.
///
/// Nobody probes it: it is left out by how it answers, as `outliers` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ElsewhereEndpoint {
    /// Its IP address and port, such as 10.0.0.7:8080. It has to speak the protocol of the exposed port.
    pub address: EndpointAddress,
    /// The zone that it is in. Default: not known, so that it is in no preferred zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<ZoneName>,
    /// Its share of the requests in proportion to the others; a replica has a weight of 1. 1 to 256.
    #[serde(default = "weight_default")]
    pub weight: u32,
}

const fn weight_default() -> u32 {
    1
}

/// Which endpoints are preferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum TrafficDistribution {
    /// Those in the zone that Homeostat was started in (`homeostat up --zone`), which is the zone of all replicas: they get
    /// `min(100 %, 1.4 × the healthy share of them)` of the requests, the other zones the rest.
    PreferSameZone,
}

/// The address of an endpoint: a unicast IP address and a port.
///
/// Names are refused: they can stand for several addresses, which can change.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointAddress(SocketAddr);

/// Why a text is not the address of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointAddressError {
    /// It is not an IP address with a port.
    #[error("an endpoint is an IP address and a port, such as 10.0.0.7:8080 or [fd00::7]:8080, not {text:?}")]
    Text {
        /// What was written.
        text: String,
    },
    /// It is not the address of a single machine.
    #[error("{ip} is not the address of a single machine, so nothing can connect to it")]
    NotUnicast {
        /// The address.
        ip: IpAddr,
    },
    /// Its port is 0.
    #[error("port 0 is not allowed: give the port of the endpoint")]
    Port,
}

impl EndpointAddress {
    /// Parses an address; does not resolve names.
    pub fn parse(text: &str) -> Result<Self, EndpointAddressError> {
        let address: SocketAddr =
            text.parse().map_err(|_| EndpointAddressError::Text { text: text.to_owned() })?;
        // An IPv4-mapped IPv6 address is the same as the IPv4 address, which it is compared by.
        let address = match address.ip().to_canonical() {
            four @ IpAddr::V4(_) => SocketAddr::new(four, address.port()),
            IpAddr::V6(_) => address,
        };
        let ip = address.ip();
        let is_reserved = match ip {
            // Source: RFC 1122, section 3.2.1.3: 0.0.0.0/8 is not a valid destination.
            IpAddr::V4(four) => four.is_broadcast() || four.octets()[0] == 0,
            IpAddr::V6(six) => six.is_unspecified(),
        };
        if is_reserved || ip.is_multicast() {
            return Err(EndpointAddressError::NotUnicast { ip });
        }
        if address.port() == 0 {
            return Err(EndpointAddressError::Port);
        }
        Ok(Self(address))
    }

    /// The socket address.
    pub const fn get(self) -> SocketAddr {
        self.0
    }
}

impl fmt::Display for EndpointAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for EndpointAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for EndpointAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EndpointAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for EndpointAddress {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "EndpointAddress".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "An IP address and a port, such as 10.0.0.7:8080 or [fd00::7]:8080.",
            "pattern": r"^(\d{1,3}(\.\d{1,3}){3}|\[[0-9a-fA-F:.]+(%\d+)?\]):\d{1,5}$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_unicast_address_with_a_port() {
        for text in ["10.0.0.7:8080", "[fd00::7]:8080", "127.0.0.1:1"] {
            assert_eq!(EndpointAddress::parse(text).unwrap().to_string(), text);
        }
        for text in
            ["shop.internal:80", "10.0.0.7", "http://10.0.0.7:80", "10.0.0.7:0", "0.0.0.0:80", "[::]:80"]
        {
            assert!(EndpointAddress::parse(text).is_err(), "{text}");
        }
        for text in [
            "224.0.0.1:80",
            "[ff02::1]:80",
            "255.255.255.255:80",
            "0.0.0.1:80",
            "[::ffff:0.0.0.0]:80",
            "[::ffff:255.255.255.255]:80",
            "[::ffff:224.0.0.1]:80",
        ] {
            assert!(
                matches!(EndpointAddress::parse(text), Err(EndpointAddressError::NotUnicast { .. })),
                "{text}"
            );
        }
    }

    #[test]
    fn ipv4_mapped_addresses_equal_plain_ones() {
        for (mapped, plain) in
            [("[::ffff:10.0.0.7]:80", "10.0.0.7:80"), ("[::ffff:7f00:1]:80", "127.0.0.1:80")]
        {
            assert_eq!(EndpointAddress::parse(mapped), EndpointAddress::parse(plain));
        }
        let scoped = EndpointAddress::parse("[fe80::1%2]:80").unwrap();
        assert_eq!(scoped.to_string(), "[fe80::1%2]:80");
    }
}
