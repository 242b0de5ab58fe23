//! What people declare of a certificate that is asked for by itself.
//!
//! Source: RFC 8555 (ACME), with the challenges `http-01` of its section 8.3 and `tls-alpn-01` of RFC 8737.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::route::Hostname;
use super::{HttpUrl, Span};

/// Hosts in one certificate at most, as Let's Encrypt has it.
pub const ACME_HOSTS_MAX: usize = 100;

/// A certificate that is asked for and renewed by itself, at an authority that speaks ACME (RFC 8555).
///
/// Until the first one has come, a client that would be shown it is refused with a TLS alert. Key and certificate are kept in the data folder, to
/// be read by its owner alone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Acme {
    /// The `https://` URL of the authority's directory: `https://acme-v02.api.letsencrypt.org/directory` is that of Let's
    /// Encrypt. By naming it you agree to the authority's terms of service.
    pub directory: HttpUrl,
    /// The names of the hosts that the certificate is for, 1 to 100. A wildcard (`*.`) is refused: it would need a challenge over
    /// DNS, which Homeostat does not have.
    pub hosts: Vec<Hostname>,
    /// The address that the authority may write to about the account. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// A PEM file with the certificates of the authorities that are trusted for the directory's server; a relative path starts
    /// from the folder of the manifest. Default: those that the system trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// How the authority is shown that the hosts are yours. Default: tlsAlpn.
    #[serde(default, skip_serializing_if = "AcmeChallenge::is_default")]
    pub challenge: AcmeChallenge,
    /// How long before it expires the certificate is renewed; at most half of its lifetime. Default: a third of its lifetime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renew_before: Option<Span>,
}

/// How an authority is shown that a host is ours: it connects to the host by its name, on a port that the standard says.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum AcmeChallenge {
    /// Over TLS, on port 443 of the host, which has to lead to this very listener.
    #[default]
    TlsAlpn,
    /// Over HTTP, on port 80 of the host, which has to lead to any listener of the proxy that speaks plain HTTP: a `Route` or a
    /// service without `tls`. The proxy answers for it.
    Http,
}

impl AcmeChallenge {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
