//! What people declare of connections that come through other proxies, or go to services that want to know whose they are.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The PROXY protocol of HAProxy: in front of each connection a header says whose it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ProxyProtocol {
    /// Whether each connection of a client has to begin with such a header, of version 1 or 2; one without it is refused. Only
    /// for an address that nobody but a proxy in front can reach: whoever sends the header can claim any address. Default: false.
    #[serde(skip_serializing_if = "is_false")]
    pub accept: bool,
    /// The version of the header with which the proxy begins each connection to a replica, probes excepted. Default: none is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub send: Option<ProxyVersion>,
}

impl ProxyProtocol {
    /// Whether no header is wanted in either direction.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Binary, which carries more and is read faster.
    V2,
}
