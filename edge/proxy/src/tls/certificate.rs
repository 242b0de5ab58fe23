//! A certificate and its key, read from their files.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use thiserror::Error;
use x509_cert::Certificate;
use x509_cert::der::Decode;

use crate::route::CertificateFiles;

/// Bytes of a file with certificates or a key at most: a chain of ten with keys of 4,096 bits has 25 KiB.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Why certificates cannot be used. Certificates that were in use before stay in use.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file is missing or may not be read.
    #[error("could not read {}: {source}; correct the path, or let the user that runs Homeostat read it", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// A file is too large.
    #[error("could not read {}: it has more than {FILE_BYTES_MAX} bytes, which no certificate or key has", .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// A file is not in PEM, or is truncated.
    #[error("could not read {} as PEM: {source}", .path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// A file in PEM has no certificate.
    #[error("{} holds no certificate: one begins with -----BEGIN CERTIFICATE-----", .path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// A file in PEM has no key that can be used.
    #[error(
        "{} holds no private key that can be read: one begins with -----BEGIN PRIVATE KEY-----; decrypt an encrypted one with `openssl pkey`",
        .path.display()
    )]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// The content of the PEM is not an X.509 certificate.
    #[error("{} holds no valid certificate: {reason}", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The key does not belong to the certificate.
    #[error("the key in {} is not the one of the certificate in {}; use a matching pair", .key.display(), .certificate.display())]
    Mismatch {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// The key is of a kind that is not supported.
    #[error("could not use the key in {}: {source}; RSA of 2048 bits and more, ECDSA on P-256 and P-384, and Ed25519 work", .path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// The error of rustls.
        source: rustls::Error,
    },
    /// The system gave no random bytes.
    #[error("could not generate keys for session tickets: {source}")]
    Tickets {
        /// The error of rustls.
        source: rustls::Error,
    },
}

/// A certificate with its key.
#[derive(Debug)]
pub(crate) struct LoadedCertificate {
    pub(crate) key: CertifiedKey,
    /// The host names that it is for.
    pub(crate) names: Vec<String>,
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
}

impl LoadedCertificate {
    pub(crate) fn read(files: &CertificateFiles, provider: &CryptoProvider) -> Result<Self, TlsError> {
        let chain = chain(&files.certificate)?;
        let key = private_key(&files.key)?;
        let first = &chain[0];
        let malformed = |reason: String| TlsError::Malformed { path: files.certificate.clone(), reason };
        let parsed = Certificate::from_der(first).map_err(|error| malformed(error.to_string()))?;
        let validity = parsed.tbs_certificate().validity();
        let (not_before, not_after) =
            (validity.not_before.to_system_time(), validity.not_after.to_system_time());
        let end_entity =
            webpki::EndEntityCert::try_from(first).map_err(|error| malformed(error.to_string()))?;
        let names = end_entity.valid_dns_names().map(str::to_owned).collect();
        let key = CertifiedKey::from_der(chain, key, provider).map_err(|source| match source {
            rustls::Error::InconsistentKeys(_) => {
                TlsError::Mismatch { certificate: files.certificate.clone(), key: files.key.clone() }
            }
            source => TlsError::Key { path: files.key.clone(), source },
        })?;
        Ok(Self { key, names, not_before, not_after })
    }
}

/// At least one certificate, that of the service first.
fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let chain = chain.map_err(|source| TlsError::Pem { path: path.to_owned(), source })?;
    if chain.is_empty() { Err(TlsError::NoCertificate { path: path.to_owned() }) } else { Ok(chain) }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|source| match source {
        pem::Error::NoItemsFound => TlsError::NoKey { path: path.to_owned() },
        source => TlsError::Pem { path: path.to_owned(), source },
    })
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let refuse = |source| TlsError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    File::open(path).map_err(refuse)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(refuse)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(TlsError::TooLarge { path: path.to_owned() });
    }
    Ok(bytes)
}
