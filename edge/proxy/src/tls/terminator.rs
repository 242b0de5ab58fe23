//! TLS termination for one service: the certificates in use, and the watch over their files.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use rustix::fs::stat;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::certificate::{LoadedCertificate, TlsError};
use crate::route::{CertificateFiles, Protocol, Tls};

/// HTTP/2 in ALPN. Source: RFC 9113, section 3.1.
pub(crate) const HTTP_2: &[u8] = b"h2";

/// The protocols of HTTP within TLS, the preferred one first.
const PROTOCOLS: [&[u8]; 2] = [HTTP_2, b"http/1.1"];

/// The state of a service's certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsState {
    /// Those in use, in the order of their declaration; issued ones only once they exist.
    pub certificates: Vec<CertificateState>,
    /// Why files that have changed could not be used.
    pub problem: Option<Arc<str>>,
}

/// A certificate in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateState {
    /// Where it was read.
    pub files: CertificateFiles,
    /// The host names that it is for.
    pub names: Vec<String>,
    /// When its validity begins.
    pub not_before: SystemTime,
    /// When its validity ends.
    pub not_after: SystemTime,
}

/// Checks whether certificates could be used now.
pub fn check(tls: &Tls) -> Result<(), TlsError> {
    CertificateSet::read(tls).map(drop)
}

/// Terminates the TLS of a service's clients.
#[derive(Debug)]
pub(crate) struct Terminator {
    pub(crate) tls: Tls,
    current: ArcSwap<CertificateSet>,
    watch: Mutex<FileWatch>,
}

#[derive(Debug)]
struct CertificateSet {
    http: Arc<ServerConfig>,
    /// Agrees on no protocol by ALPN: only the endpoint knows which ones it speaks.
    tcp: Arc<ServerConfig>,
    certificates: Vec<CertificateState>,
}

#[derive(Debug)]
struct FileWatch {
    /// Of the files in use.
    in_use: Vec<Option<Stamp>>,
    /// Of the files that could not be used at the last check.
    refused: Option<Vec<Option<Stamp>>>,
    problem: Option<Arc<str>>,
}

/// Identifies the content of a file: device, inode, size, and modification time in seconds and nanoseconds.
type Stamp = (u64, u64, i64, i64, i64);

impl Terminator {
    pub(crate) fn new(tls: &Tls) -> Result<Self, TlsError> {
        // Before the files are read, so that a change in between is noticed.
        let in_use = stamps(tls);
        let current = CertificateSet::read(tls)?;
        Ok(Self {
            tls: tls.clone(),
            current: ArcSwap::from_pointee(current),
            watch: Mutex::new(FileWatch { in_use, refused: None, problem: None }),
        })
    }

    /// For the next handshake of a client for which this `protocol` is relayed.
    pub(crate) fn config(&self, protocol: Protocol) -> Arc<ServerConfig> {
        let current = self.current.load();
        Arc::clone(match protocol {
            Protocol::Http1 | Protocol::Http2 => &current.http,
            Protocol::Tcp | Protocol::Udp => &current.tcp,
        })
    }

    pub(crate) fn state(&self) -> TlsState {
        let problem = self.watch().problem.clone();
        TlsState { certificates: self.current.load().certificates.clone(), problem }
    }

    /// Reloads the files if they have changed and can be used.
    ///
    /// If they cannot, that is reported once the next check finds them unchanged: a certificate and its key are rarely written at the same time.
    pub(crate) fn reload_if_changed(&self, service: &str) {
        let mut watch = self.watch();
        let present = stamps(&self.tls);
        if present == watch.in_use {
            watch.refused = None;
            watch.problem = None;
            return;
        }
        let is_stable = watch.refused.as_ref() == Some(&present);
        if is_stable && watch.problem.is_some() {
            return;
        }
        match CertificateSet::read(&self.tls) {
            Ok(certificates) => {
                self.current.store(Arc::new(certificates));
                *watch = FileWatch { in_use: present, refused: None, problem: None };
                tracing::info!(%service, "certificates_loaded");
            }
            Err(error) => {
                watch.refused = Some(present);
                watch.problem = is_stable.then(|| Arc::from(error.to_string()));
                if is_stable {
                    tracing::warn!(%service, %error, "certificates_not_loaded");
                }
            }
        }
    }

    /// Consistent after every change, so a poisoned lock does no harm.
    fn watch(&self) -> MutexGuard<'_, FileWatch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CertificateSet {
    fn read(tls: &Tls) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let mut certificates = Vec::new();
        let mut keys = Vec::new();
        let mut take = |files: CertificateFiles, loaded| {
            let LoadedCertificate { key, names, not_before, not_after } = loaded;
            certificates.push(CertificateState { files, names, not_before, not_after });
            keys.push(Arc::new(key));
        };
        for files in &tls.certificates {
            take(files.clone(), LoadedCertificate::read(files, &provider)?);
        }
        for path in &tls.issued {
            let files = CertificateFiles { certificate: path.clone(), key: path.clone() };
            // The ACME client reports why it is missing, and renews it if it is broken.
            if let Ok(loaded) = LoadedCertificate::read(&files, &provider) {
                take(files, loaded);
            }
        }
        let tcp = config(provider, CertificateResolver { keys })?;
        let mut http = tcp.clone();
        http.alpn_protocols = PROTOCOLS.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(Self { http: Arc::new(http), tcp: Arc::new(tcp), certificates })
    }
}

fn config(provider: Arc<CryptoProvider>, resolver: CertificateResolver) -> Result<ServerConfig, TlsError> {
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has cipher suites for TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(resolver));
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = ring::Ticketer::new().map_err(|source| TlsError::Tickets { source })?;
    Ok(config)
}

/// Chooses the certificate for a client: the first for the requested name, or else the first.
#[derive(Debug)]
struct CertificateResolver {
    keys: Vec<Arc<CertifiedKey>>,
}

impl ResolvesServerCert for CertificateResolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let first = self.keys.first()?;
        let server_name = hello.server_name().filter(|_| self.keys.len() > 1);
        let server_name = server_name.and_then(|name| ServerName::try_from(name).ok());
        let matching = server_name.and_then(|name| {
            self.keys.iter().find(|key| key.cert.first().is_some_and(|c| is_valid_for(c, &name)))
        });
        Some(Arc::clone(matching.unwrap_or(first)))
    }
}

fn is_valid_for(certificate: &CertificateDer<'_>, name: &ServerName<'_>) -> bool {
    webpki::EndEntityCert::try_from(certificate)
        .is_ok_and(|certificate| certificate.verify_is_valid_for_subject_name(name).is_ok())
}

fn stamps(tls: &Tls) -> Vec<Option<Stamp>> {
    let files = tls.certificates.iter().flat_map(|pair| [&pair.certificate, &pair.key]);
    files.chain(&tls.issued).map(|path| stamp(path)).collect()
}

/// `None` for a file that is not there.
fn stamp(path: &Path) -> Option<Stamp> {
    let stat = stat(path).ok()?;
    Some((stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime, stat.st_mtime_nsec as i64))
}
