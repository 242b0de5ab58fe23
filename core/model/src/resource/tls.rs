//! How the proxy proves to clients who a service is.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Acme;

/// Certificates of one service at most: as many names as a small site has, each read again when its file changes.
pub const CERTIFICATES_MAX: usize = 64;

/// The certificates with which the proxy speaks TLS to clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "TlsFields", into = "TlsFields")]
pub struct Tls {
    /// At least one, or `acme`. A client that asks for a name gets the first certificate that holds it, and the first of all when none does.
    pub certificates: Vec<CertificateFiles>,
    /// One more, behind those in files: asked for by itself.
    pub acme: Option<Acme>,
}

/// A certificate and its key, as files: what they hold stays where it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct CertificateFiles {
    /// A PEM file with the certificate, followed by the intermediate certificates; a relative path starts from the folder of the
    /// manifest.
    pub certificate: String,
    /// A PEM file with its private key, not encrypted; a relative path starts from the folder of the manifest.
    pub key: String,
}

/// TLS as a client: which servers Homeostat trusts, and which certificate it shows. The files are read for each connection, so
/// that renewed ones are taken over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ClientTls {
    /// A PEM file with the certificates of the authorities that are trusted for servers; a relative path starts from the folder
    /// of the manifest. Default: those that the system trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// The certificate that is shown to servers that ask for one. Default: none.
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

    /// What is wrong with the paths; `None` when nothing is. Whether the files can be used is for those who read them.
    pub(super) fn problem(&self) -> Option<&'static str> {
        let is_wrong = |path: &String| path.is_empty() || path.contains('\0');
        let mut paths = self.certificates.iter().flat_map(|pair| [&pair.certificate, &pair.key]);
        paths.any(is_wrong).then_some("the path of a file is not empty and holds no zero byte")
    }
}

/// The certificates with which the proxy speaks TLS to clients: one, or a list of them. Changed files are taken without a restart.
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
    /// Several pairs instead of `certificate` and `key`, 1 to 64. A client gets the first that holds the name it asks for, or
    /// else the first of all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    certificates: Vec<CertificateFiles>,
    /// A certificate that Homeostat obtains and renews by itself. Instead of files, or beside them: it is then shown to clients
    /// that ask for one of its hosts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    acme: Option<Acme>,
}

/// Why the fields of `tls` name no certificates.
#[derive(Debug, thiserror::Error)]
enum TlsError {
    #[error(
        "a certificate goes with its key: give both `certificate` and `key`, a list under `certificates`, or `acme`"
    )]
    Half,
    #[error("give one certificate with its key, or a list under `certificates`, not both")]
    Both,
    #[error("there are {count} certificates, and a service may have {CERTIFICATES_MAX}")]
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
    fn one_certificate_is_written_without_a_list_and_several_with_one() {
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
    fn half_a_pair_both_forms_and_too_many_are_refused() {
        let pair = json!({"certificate": "a.pem", "key": "a.key"});
        let many = vec![pair.clone(); CERTIFICATES_MAX + 1];
        for (wrong, why) in [
            (json!({}), "a certificate goes with its key"),
            (json!({"certificate": "a.pem"}), "a certificate goes with its key"),
            (json!({"certificates": [{"certificate": "a.pem"}]}), "missing field `key`"),
            (json!({"certificate": "a.pem", "key": "a.key", "certificates": [pair]}), "not both"),
            (json!({"certificates": many}), "there are 65 certificates"),
        ] {
            let error = read(wrong).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
