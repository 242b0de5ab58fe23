//! ACME challenges: how a certificate authority validates control over a host.
//!
//! Source: RFC 8555, section 8.3 (`http-01`), and RFC 8737 (`tls-alpn-01`).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::ClientHello;
use rustls::sign::{CertifiedKey, SingleCertAndKey};

/// The ALPN protocol of an authority that only validates a certificate. Source: RFC 8737, section 4.
pub(crate) const ACME_TLS: &[u8] = b"acme-tls/1";

/// The path of HTTP challenges; the token follows.
const PATH: &str = "/.well-known/acme-challenge/";

/// The answer of a host to a challenge.
#[derive(Clone)]
pub enum Challenge {
    /// A certificate, for clients that offer the protocol `acme-tls/1` and request the host, on every listener with TLS.
    Tls {
        /// In DER.
        certificate: Vec<u8>,
        /// In DER by PKCS #8.
        key: Vec<u8>,
    },
    /// An answer to requests by HTTP for `/.well-known/acme-challenge/` and the token, whatever their host is, on every listener that speaks HTTP.
    Http {
        /// The last part of the path.
        token: String,
        /// The body.
        answer: String,
    },
}

impl std::fmt::Debug for Challenge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Tls { .. } => "Challenge::Tls",
            Self::Http { .. } => "Challenge::Http",
        })
    }
}

/// All pending challenges; mostly none.
#[derive(Debug, Default)]
pub(crate) struct Challenges {
    is_any: AtomicBool,
    by_host: Mutex<BTreeMap<String, ActiveChallenge>>,
}

#[derive(Debug)]
enum ActiveChallenge {
    Tls(Arc<ServerConfig>),
    Http { token: String, answer: Bytes },
}

impl Challenges {
    /// Sets the one challenge of a host, or `None`. Fails, and changes nothing, for a key that cannot be used.
    pub(crate) fn set(&self, host: &str, challenge: Option<Challenge>) -> Result<(), rustls::Error> {
        let active = challenge.map(ActiveChallenge::new).transpose()?;
        let mut by_host = self.by_host();
        match active {
            Some(active) => by_host.insert(host.to_owned(), active),
            None => by_host.remove(host),
        };
        self.is_any.store(!by_host.is_empty(), Ordering::Release);
        Ok(())
    }

    /// The configuration for a handshake with an authority; `None` for every other client.
    pub(crate) fn config(&self, hello: &ClientHello<'_>) -> Option<Arc<ServerConfig>> {
        if !self.is_any.load(Ordering::Acquire) || !hello.alpn()?.any(|protocol| protocol == ACME_TLS) {
            return None;
        }
        match self.by_host().get(hello.server_name()?)? {
            ActiveChallenge::Tls(config) => Some(Arc::clone(config)),
            ActiveChallenge::Http { .. } => None,
        }
    }

    /// The answer to a request for this path; `None` if it is not an authority's.
    pub(crate) fn answer(&self, path: &str) -> Option<Bytes> {
        if !self.is_any.load(Ordering::Acquire) {
            return None;
        }
        let requested = path.strip_prefix(PATH)?;
        self.by_host().values().find_map(|active| match active {
            ActiveChallenge::Http { token, answer } if token == requested => Some(answer.clone()),
            ActiveChallenge::Http { .. } | ActiveChallenge::Tls(_) => None,
        })
    }

    /// Consistent after every change, so a poisoned lock does no harm.
    fn by_host(&self) -> MutexGuard<'_, BTreeMap<String, ActiveChallenge>> {
        self.by_host.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ActiveChallenge {
    fn new(challenge: Challenge) -> Result<Self, rustls::Error> {
        let (certificate, key) = match challenge {
            Challenge::Http { token, answer } => return Ok(Self::Http { token, answer: answer.into() }),
            Challenge::Tls { certificate, key } => (CertificateDer::from(certificate), key),
        };
        let provider = Arc::new(ring::default_provider());
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key));
        // Not checked against the key, because it has a critical extension that only authorities know.
        let active = CertifiedKey::new(vec![certificate], provider.key_provider.load_private_key(key)?);
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has cipher suites for TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(active)));
        config.alpn_protocols = vec![ACME_TLS.to_vec()];
        Ok(Self::Tls(Arc::new(config)))
    }
}
