//! The root certificates that a TLS client trusts: those of the system, or those of a file.
//!
//! It opens no connection and reads no file but the system's; callers pass the content of other files.

use std::sync::{Arc, OnceLock};

use rustls::client::WantsClientCert;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};

/// The most bytes of a file of certificates: four times the size of the system's own, which has all public authorities.
pub const PEM_BYTES_MAX: u64 = 1024 * 1024;

/// Why there are no root certificates to trust.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The given text is not PEM.
    #[error("{0}")]
    Pem(pem::Error),
    /// The given text has no certificate.
    #[error("it holds no certificate")]
    Empty,
    /// A certificate that is not that of an authority.
    #[error("{0}")]
    Certificate(rustls::Error),
    /// The system has no trusted authorities.
    #[error("{why}")]
    System {
        /// What was found instead.
        why: String,
    },
}

/// The root certificates of the system, read once per process: there are more than a hundred, and a new one needs a restart. If they could
/// not be read, the next call tries again.
///
/// Fails when there is none.
pub fn system_authorities() -> Result<Arc<RootCertStore>, TrustError> {
    static SYSTEM: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    if let Some(store) = SYSTEM.get() {
        return Ok(Arc::clone(store));
    }
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    let (added, _) = store.add_parsable_certificates(found.certs);
    if added == 0 {
        let why = found.errors.first().map_or_else(|| "none was found".to_owned(), ToString::to_string);
        return Err(TrustError::System { why });
    }
    Ok(Arc::clone(SYSTEM.get_or_init(|| Arc::new(store))))
}

/// The root certificates in `pem`, and no others.
///
/// Fails when one of them is invalid, or there is none.
pub fn authorities_from_pem(pem: &[u8]) -> Result<Arc<RootCertStore>, TrustError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(pem)? {
        store.add(certificate).map_err(TrustError::Certificate)?;
    }
    Ok(Arc::new(store))
}

/// The certificates in `pem`, in their order; everything else in it is ignored.
///
/// Fails when one cannot be read, or there is none.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let found =
        CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().map_err(TrustError::Pem)?;
    if found.is_empty() { Err(TrustError::Empty) } else { Ok(found) }
}

/// A client that trusts `authorities`, and speaks TLS 1.2 and 1.3. Whether it has a certificate of its own is up to the caller.
pub fn client(authorities: Arc<RootCertStore>) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    builder.expect("the provider supports the default versions").with_root_certificates(authorities)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authority() -> String {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut wanted = rcgen::CertificateParams::new(vec!["authority.test".to_owned()]).unwrap();
        wanted.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        wanted.self_signed(&key).unwrap().pem()
    }

    #[test]
    fn each_certificate_of_a_file_is_trusted() {
        let both = format!("of the first\n{}of the second\n{}", authority(), authority());
        assert_eq!(certificates(both.as_bytes()).unwrap().len(), 2);
        assert_eq!(authorities_from_pem(both.as_bytes()).unwrap().len(), 2);
    }

    #[test]
    fn a_file_without_certificates_is_an_error() {
        let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
        for pem in ["", "words", &key] {
            assert!(matches!(authorities_from_pem(pem.as_bytes()), Err(TrustError::Empty)), "{pem:?}");
        }
    }

    #[test]
    fn an_invalid_or_truncated_certificate_makes_the_file_unusable() {
        let whole = authority();
        let cut = format!("{whole}{}", &whole[..whole.len() / 2]);
        assert!(matches!(authorities_from_pem(cut.as_bytes()), Err(TrustError::Pem(_))));
        let none = format!("{whole}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        assert!(matches!(authorities_from_pem(none.as_bytes()), Err(TrustError::Certificate(_))));
    }
}
