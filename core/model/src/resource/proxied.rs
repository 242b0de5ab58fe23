//! The PROXY protocol, with which proxies pass on the addresses of clients.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The PROXY protocol of HAProxy: each connection begins with a header with the client's address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ProxyProtocol {
    /// Whether each connection of a client must begin with such a header, of version 1 or 2; others are rejected. Only for an address
    /// that only a trusted proxy can reach: the sender of the header can claim any address. Default: false.
    #[serde(skip_serializing_if = "is_false")]
    pub accept: bool,
    /// The version of the header with which the proxy begins each connection to a replica, probes excepted. Changed together with what
    /// replicas run, it holds for the new replicas; changed alone, for the running ones at once. Default: none is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub send: Option<ProxyVersion>,
}

impl ProxyProtocol {
    /// Whether there is no header in either direction.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ProxyVersion {
    /// One line of text.
    V1,
    /// Binary, with more information and faster to parse.
    V2,
}
