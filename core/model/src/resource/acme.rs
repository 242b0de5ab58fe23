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
    /// The URL of the authority's directory, with `https://`: `https://acme-v02.api.letsencrypt.org/directory` is that of Let's Encrypt. Who
    /// names one agrees to its terms of service.
    pub directory: HttpUrl,
    /// The hosts that the certificate is for, 1 to 100, by name: `*.` would need a challenge over DNS, which is not there.
    pub hosts: Vec<Hostname>,
    /// Where the authority may write to about the account. Default: nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// The file with the certificates in PEM of those who vouch for the directory's server; a relative path begins at the folder of the
    /// manifest. Default: those that the system believes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// How the authority is shown that the hosts are ours.
    #[serde(default, skip_serializing_if = "AcmeChallenge::is_default")]
    pub challenge: AcmeChallenge,
    /// How long before its end the certificate is renewed; at most half of its life. Default: a third of its life.
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
    /// By HTTP, on port 80 of the host, which has to lead to any listener of the proxy that speaks plain HTTP: a `Route` or a service without
    /// `tls`. The proxy answers for it.
    Http,
}

impl AcmeChallenge {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
