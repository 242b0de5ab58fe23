//! TLS: the certificates of services, and the settings of TLS clients.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Acme;

/// The most certificates of one service: enough for the names of a small site. Each file is watched for changes.
pub const CERTIFICATES_MAX: usize = 64;

/// The server certificates of the proxy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "TlsFields", into = "TlsFields")]
pub struct Tls {
    /// At least one, or `acme`. The first certificate that covers the requested name is used, otherwise the first of all.
    pub certificates: Vec<CertificateFiles>,
    /// A certificate that is obtained automatically, after those in files.
    pub acme: Option<Acme>,
}

/// A certificate and its key, as files: their contents are not copied.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct CertificateFiles {
    /// A PEM file with the certificate, followed by the intermediate certificates; a relative path starts from the folder of the
    /// manifest.
    pub certificate: String,
    /// A PEM file with its private key, not encrypted; a relative path starts from the folder of the manifest.
    pub key: String,
}

/// TLS as a client: the trusted authorities and the client certificate. The files are read for each connection, so that renewed ones are
/// used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ClientTls {
    /// A PEM file with the certificates of the trusted authorities; a relative path starts from the folder
    /// of the manifest. Default: those that the system trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// The client certificate, for servers that request one. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<CertificateFiles>,
}

impl ClientTls {
    /// Its files.
    pub fn files_mut(&mut self) -> impl Iterator<Item = &mut String> {
        let pair = self.client.iter_mut().flat_map(|pair| [&mut pair.certificate, &mut pair.key]);
        self.ca_file.iter_mut().chain(pair)
    }
}

impl Tls {
    /// Its files.
    pub fn files_mut(&mut self) -> impl Iterator<Item = &mut String> {
        let pairs = self.certificates.iter_mut().flat_map(|pair| [&mut pair.certificate, &mut pair.key]);
        pairs.chain(self.acme.iter_mut().filter_map(|acme| acme.ca_file.as_mut()))
    }

    /// What is wrong with the paths; `None` when they are valid. Whether the files are usable is checked when they are read.
    pub(super) fn problem(&self) -> Option<&'static str> {
        let is_wrong = |path: &String| path.is_empty() || path.contains('\0');
        let mut paths = self.certificates.iter().flat_map(|pair| [&pair.certificate, &pair.key]);
        paths.any(is_wrong).then_some("the path of a file must not be empty or contain a zero byte")
    }
}

/// The server certificates of the proxy: one, or a list. Changed files are reloaded without a restart.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct TlsFields {
    /// A PEM file with the certificate, followed by the intermediate certificates; a relative path starts from the folder of the
    /// manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    certificate: Option<String>,
    /// A PEM file with its private key, not encrypted; a relative path starts from the folder of the manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// Several pairs instead of `certificate` and `key`, 1 to 64. The first that covers the requested name is
    /// used, otherwise the first of all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    certificates: Vec<CertificateFiles>,
    /// A certificate that Homeostat obtains and renews automatically. Instead of files, or in addition to them: it is then used for its
    /// hosts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    acme: Option<Acme>,
}

/// Why the fields of `tls` are invalid.
#[derive(Debug, thiserror::Error)]
enum TlsError {
    #[error("give both `certificate` and `key`, a list under `certificates`, or `acme`")]
    Half,
    #[error("give either `certificate` and `key` or a list under `certificates`, not both")]
    Both,
    #[error("a service may have at most {CERTIFICATES_MAX} certificates, not {count}")]
    TooMany { count: usize },
}

impl TryFrom<TlsFields> for Tls {
    type Error = TlsError;

    fn try_from(fields: TlsFields) -> Result<Self, TlsError> {
        let TlsFields { certificate, key, certificates, acme } = fields;
        match (certificate, key, certificates.len()) {
            (Some(certificate), Some(key), 0) => {
                Ok(Self { certificates: vec![CertificateFiles { certificate, key }], acme })
            }
            (None, None, 0) if acme.is_some() => Ok(Self { certificates, acme }),
            (None, None, 1..=CERTIFICATES_MAX) => Ok(Self { certificates, acme }),
            (_, _, 0) => Err(TlsError::Half),
            (None, None, count) => Err(TlsError::TooMany { count }),
            (Some(_), _, _) | (_, Some(_), _) => Err(TlsError::Both),
        }
    }
}

impl From<Tls> for TlsFields {
    fn from(mut tls: Tls) -> Self {
        let acme = tls.acme;
        match (tls.certificates.len(), tls.certificates.pop()) {
            (1, Some(CertificateFiles { certificate, key })) => {
                Self { certificate: Some(certificate), key: Some(key), certificates: Vec::new(), acme }
            }
            (_, last) => {
                tls.certificates.extend(last);
                Self { certificate: None, key: None, certificates: tls.certificates, acme }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(written: Value) -> Result<Tls, String> {
        serde_json::from_value(written).map_err(|error| error.to_string())
    }

    fn acme() -> Value {
        json!({"directory": "https://ca.example/dir", "hosts": ["a.example"]})
    }

    #[test]
    fn one_certificate_is_serialized_without_a_list() {
        for written in [
            json!({"certificate": "a.pem", "key": "a.key"}),
            json!({"certificates": [{"certificate": "a.pem", "key": "a.key"}, {"certificate": "b.pem", "key": "b.key"}]}),
            json!({"acme": acme()}),
            json!({"certificate": "a.pem", "key": "a.key", "acme": acme()}),
        ] {
            assert_eq!(json!(read(written.clone()).unwrap()), written);
        }
    }

    #[test]
    fn incomplete_pairs_both_forms_and_too_many_are_refused() {
        let pair = json!({"certificate": "a.pem", "key": "a.key"});
        let many = vec![pair.clone(); CERTIFICATES_MAX + 1];
        for (wrong, why) in [
            (json!({}), "give both `certificate` and `key`"),
            (json!({"certificate": "a.pem"}), "give both `certificate` and `key`"),
            (json!({"certificates": [{"certificate": "a.pem"}]}), "missing field `key`"),
            (json!({"certificate": "a.pem", "key": "a.key", "certificates": [pair]}), "not both"),
            (json!({"certificates": many}), "at most 64 certificates, not 65"),
        ] {
            let error = read(wrong).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
