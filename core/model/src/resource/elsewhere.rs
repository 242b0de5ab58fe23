//! What people declare of endpoints that Homeostat does not run, and of the zones that requests stay in.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::name::ZoneName;

/// Most endpoints elsewhere of one service: what a person keeps up by hand; who has more has a balancer for them, which is one endpoint.
pub const ENDPOINTS_ELSEWHERE_MAX: usize = 256;

/// Greatest weight of an endpoint elsewhere. Source: HAProxy's configuration manual, section 5.2, `weight`, so that all balancers can follow it.
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

/// Where an endpoint listens: an IP address that one machine has, and a port.
///
/// Names are refused: they can mean several addresses, and others tomorrow.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointAddress(SocketAddr);

/// Why a text is no address of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointAddressError {
    /// It is no IP address with a port.
    #[error("an endpoint is an IP address and a port, such as 10.0.0.7:8080 or [fd00::7]:8080, not {text:?}")]
    Text {
        /// What was written.
        text: String,
    },
    /// It is no address of one machine.
    #[error("{ip} is no address of one machine: nobody can be connected to there")]
    Nobody {
        /// The address.
        ip: IpAddr,
    },
    /// Its port is 0.
    #[error("nobody listens on port 0: say which port the endpoint has")]
    Port,
}

impl EndpointAddress {
    /// Reads an address; resolves no names.
    pub fn parse(text: &str) -> Result<Self, EndpointAddressError> {
        let address: SocketAddr =
            text.parse().map_err(|_| EndpointAddressError::Text { text: text.to_owned() })?;
        // An address of IPv4 is one however it is written: what is told apart, or compared with a listener, is that.
        let address = match address.ip().to_canonical() {
            four @ IpAddr::V4(_) => SocketAddr::new(four, address.port()),
            IpAddr::V6(_) => address,
        };
        let ip = address.ip();
        let is_nobodys = match ip {
            // Source: RFC 1122, section 3.2.1.3: 0.0.0.0/8 is nobody's to be sent to.
            IpAddr::V4(four) => four.is_broadcast() || four.octets()[0] == 0,
            IpAddr::V6(six) => six.is_unspecified(),
        };
        if is_nobodys || ip.is_multicast() {
            return Err(EndpointAddressError::Nobody { ip });
        }
        if address.port() == 0 {
            return Err(EndpointAddressError::Port);
        }
        Ok(Self(address))
    }

    /// The address as the system knows it.
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
    fn an_endpoint_is_an_address_that_somebody_can_have() {
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
                matches!(EndpointAddress::parse(text), Err(EndpointAddressError::Nobody { .. })),
                "{text}"
            );
        }
    }

    #[test]
    fn an_address_of_ipv4_is_one_however_it_is_written() {
        for (mapped, plain) in
            [("[::ffff:10.0.0.7]:80", "10.0.0.7:80"), ("[::ffff:7f00:1]:80", "127.0.0.1:80")]
        {
            assert_eq!(EndpointAddress::parse(mapped), EndpointAddress::parse(plain));
        }
        let scoped = EndpointAddress::parse("[fe80::1%2]:80").unwrap();
        assert_eq!(scoped.to_string(), "[fe80::1%2]:80");
    }
}
