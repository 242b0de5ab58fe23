//! Certificates that are obtained automatically.
//!
//! Source: RFC 8555 (ACME), with the challenges `http-01` of its section 8.3 and `tls-alpn-01` of RFC 8737.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::route::Hostname;
use super::{HttpUrl, Span};

/// The most hosts of one certificate, the limit of Let's Encrypt.
pub const ACME_HOSTS_MAX: usize = 100;

/// A certificate that is obtained and renewed automatically, from an authority with ACME (RFC 8555).
///
/// Until the first one is issued, clients that would get it are rejected with a TLS alert. Key and certificate are kept in the data folder,
/// readable only by its owner.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Acme {
    /// The `https://` URL of the authority's directory: `https://acme-v02.api.letsencrypt.org/directory` is that of Let's
    /// Encrypt. By naming it you agree to the authority's terms of service.
    pub directory: HttpUrl,
    /// The hosts of the certificate, 1 to 100. Wildcards (`*.`) are rejected: they would require a DNS challenge, which Homeostat does not
    /// support.
    pub hosts: Vec<Hostname>,
    /// The e-mail address of the account, for messages from the authority. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// A PEM file with the certificates of the trusted authorities for the directory's server; a relative path starts
    /// from the folder of the manifest. Default: those that the system trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// The challenge that proves control of the hosts. Default: tlsAlpn.
    #[serde(default, skip_serializing_if = "AcmeChallenge::is_default")]
    pub challenge: AcmeChallenge,
    /// How long before its expiry the certificate is renewed; at most half of its lifetime. Default: a third of its lifetime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renew_before: Option<Span>,
}

/// The challenge that proves control of a host: the authority connects to the host by its name, on a standard port.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum AcmeChallenge {
    /// Over TLS, on port 443 of the host, which must lead to this listener.
    #[default]
    TlsAlpn,
    /// Over HTTP, on port 80 of the host, which must lead to a listener of the proxy for HTTP without TLS: a `Route` or a service without
    /// `tls`. The proxy answers the challenge.
    Http,
}

impl AcmeChallenge {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
