//! Databases that hold queues, as sources of metrics: Redis and PostgreSQL.

use std::str::FromStr;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ClientTls;

/// Longest address of a server, in bytes: 253 of a DNS name, a colon and five digits.
pub const SERVER_ADDRESS_LEN_MAX: usize = 259;

/// The default port of Redis.
pub const REDIS_PORT_DEFAULT: u16 = 6379;

/// The default port of PostgreSQL.
pub const POSTGRES_PORT_DEFAULT: u16 = 5432;

/// How many entries a queue in Redis has. Valkey and other servers that speak as Redis does are asked in the same way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RedisOrigin {
    /// The address of the server, HOST or HOST:PORT; without a port it is 6379.
    pub address: ServerAddress,
    /// Connects with TLS: which authorities to trust, and which certificate to show; `{}` trusts those of the system. Default: no
    /// TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ClientTls>,
    /// The user to log in as, where the server has an access control list. Default: the server's user `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Where the password is found. Default: none is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// The number of the database.
    #[serde(default)]
    pub database: u32,
    /// What is counted.
    pub queue: RedisQueue,
}

/// What is counted of a Redis.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RedisQueue {
    /// The number of elements of the list with this key (`LLEN`). Redis removes an empty list, so a list that is not there counts
    /// as 0.
    List(String),
    /// The number of members of the sorted set with this key (`ZCARD`). Redis removes an empty one, so a set that is not there
    /// counts as 0.
    SortedSet(String),
    /// The entries of a stream, or those that a group of consumers has not done with. A stream or group that is not there is no number.
    Stream(RedisStream),
}

/// A stream, and the group of consumers whose work is counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RedisStream {
    /// Its key.
    pub key: String,
    /// The consumer group whose entries are counted, as two series: with the label `state: waiting` those that were not delivered
    /// yet (the group's lag, which Redis knows from version 7 on), with `state: pending` those that were delivered and not
    /// acknowledged. Default: all entries of the stream (`XLEN`), including processed ones until they are trimmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

/// The number that a query to PostgreSQL gives. Servers that speak as PostgreSQL does are asked in the same way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PostgresOrigin {
    /// The address of the server, HOST or HOST:PORT; without a port it is 5432.
    pub address: ServerAddress,
    /// Connects with TLS: which authorities to trust, and which certificate to show; `{}` trusts those of the system. Default: no
    /// TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ClientTls>,
    /// The user to log in as; it needs no more than to read what the query looks at.
    pub user: String,
    /// Where the password is found. Default: none is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// The name of the database. Default: that of the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// A query that gives one number: one column, and at most one row. No row, or NULL, is no value; a count of nothing is 0. It
    /// is run in a read-only transaction, which the server ends after `timeout`. 1 to 4096 bytes.
    pub query: String,
}

/// Where a secret is found. It is read for each measurement, and appears in no answer and no log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Secret {
    /// The file that holds it; white space around it is left out, and a relative path starts from the folder of the manifest.
    File(String),
    /// The environment variable of Homeostat that holds it.
    Variable(String),
}

impl Secret {
    /// The path of the file; `None` when it is in an environment variable.
    pub const fn file_mut(&mut self) -> Option<&mut String> {
        match self {
            Self::File(file) => Some(file),
            Self::Variable(_) => None,
        }
    }
}

impl RedisQueue {
    /// The key that is counted.
    pub fn key(&self) -> &str {
        match self {
            Self::List(key) | Self::SortedSet(key) | Self::Stream(RedisStream { key, .. }) => key,
        }
    }
}

/// The address of a server: a name or an IP address, with an optional port.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerAddress(Arc<str>);

/// Why a text is not the address of a server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the address of a server: {why}; write HOST:PORT, such as 127.0.0.1:6379 or [::1]:6379")]
pub struct ServerAddressError {
    why: &'static str,
}

impl ServerAddress {
    /// Parses an address.
    pub fn parse(text: &str) -> Result<Self, ServerAddressError> {
        let wrong = |why| Err(ServerAddressError { why });
        if text.len() > SERVER_ADDRESS_LEN_MAX {
            return wrong("it is too long");
        }
        if text.contains('@') {
            return wrong("everyone who can read it would see the user name or password");
        }
        let Ok(authority) = text.parse::<http::uri::Authority>() else {
            return wrong("it has a character that no host name or address has");
        };
        let has_port = authority.port_u16().is_some_and(|port| port > 0);
        if authority.host().is_empty() || (authority.host().len() < text.len() && !has_port) {
            return wrong("it needs a host, and after a colon a port from 1 to 65535");
        }
        Ok(Self(text.into()))
    }

    /// Its host; an IPv6 address is in brackets.
    pub fn host(&self) -> &str {
        self.parts().0
    }

    /// Its port; `default` when it has none.
    pub fn port_or(&self, default: u16) -> u16 {
        self.parts().1.unwrap_or(default)
    }

    fn parts(&self) -> (&str, Option<u16>) {
        let split = self.0.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
        // Without a port, the last part of an IPv6 address ends with a bracket, and is not a number.
        split.map_or((&*self.0, None), |(host, port)| (host, Some(port)))
    }
}

crate::text::as_text!(ServerAddress);

impl FromStr for ServerAddress {
    type Err = ServerAddressError;

    fn from_str(text: &str) -> Result<Self, ServerAddressError> {
        Self::parse(text)
    }
}

impl JsonSchema for ServerAddress {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ServerAddress".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "The address of a server: HOST or HOST:PORT.",
            "type": "string",
            "maxLength": SERVER_ADDRESS_LEN_MAX,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_host_and_may_have_a_port() {
        for (text, host, port) in [
            ("queue", "queue", 7),
            ("queue.example:6379", "queue.example", 6379),
            ("127.0.0.1:1", "127.0.0.1", 1),
            ("[::1]", "[::1]", 7),
            ("[::1]:65535", "[::1]", 65535),
        ] {
            let address = ServerAddress::parse(text).unwrap();
            assert_eq!((address.host(), address.port_or(7)), (host, port), "{text}");
        }
    }

    #[test]
    fn invalid_addresses_are_refused_with_a_reason() {
        let long = "a".repeat(SERVER_ADDRESS_LEN_MAX + 1);
        for (text, why) in [
            ("", "a character that"),
            (":6379", "it needs a host"),
            ("a:", "a port from 1"),
            ("a:0", "a port from 1"),
            ("a:65536", "a port from 1"),
            ("::1", "a character that"),
            ("a b", "a character that"),
            ("redis://a:1", "a character that"),
            ("me:secret@a:1", "would see"),
            (long.as_str(), "too long"),
        ] {
            let error = ServerAddress::parse(text).map_err(|error| error.to_string()).unwrap_err();
            assert!(error.contains(why) && !error.contains("secret"), "{text}: {error}");
        }
    }
}
