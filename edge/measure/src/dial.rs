//! Connections to the servers that are asked, with TLS or without.

use std::io;
use std::sync::{Arc, OnceLock};

use model::resource::{CertificateFiles, ClientTls};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::failure::Failure;

/// Bytes of a file of certificates: the system's own have a quarter of it.
const PEM_BYTES_MAX: u64 = 1024 * 1024;

/// Bytes of a secret in a file: those in use have less than a thousand.
const SECRET_BYTES_MAX: u64 = 16 * 1024;

/// A connection, whatever is beneath it.
pub(crate) trait Line: AsyncRead + AsyncWrite + Send + Unpin {}

impl<L: AsyncRead + AsyncWrite + Send + Unpin> Line for L {}

/// Connects to `port` of `host`, a name or an address with or without its brackets; with `tls` the server has to show who it is.
pub(crate) async fn dial(host: &str, port: u16, tls: Option<&ClientTls>) -> Result<Box<dyn Line>, Failure> {
    let failed =
        |error: io::Error| Failure::Connect { authority: format!("{host}:{port}"), why: error.to_string() };
    // Brackets belong to the URL of an IPv6 address and not to its name.
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((name, port)).await.map_err(failed)?;
    let Some(tls) = tls else { return Ok(Box::new(stream)) };
    let connector = TlsConnector::from(Arc::new(config(tls).await?));
    let untrusted = |why: String| Failure::Tls { authority: format!("{host}:{port}"), why };
    let name = ServerName::try_from(name.to_owned()).map_err(|error| untrusted(error.to_string()))?;
    let stream = connector.connect(name, stream).await.map_err(|error| untrusted(error.to_string()))?;
    Ok(Box::new(stream))
}

/// What the client believes and shows; files are read anew each time, so that what is renewed is taken.
async fn config(tls: &ClientTls) -> Result<ClientConfig, Failure> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.expect("the provider speaks the versions that it is asked for");
    let builder = builder.with_root_certificates(authorities(tls).await?);
    let Some(CertificateFiles { certificate: chain, key }) = &tls.client else {
        return Ok(builder.with_no_client_auth());
    };
    let wrong = |file: &str, what, why: String| Failure::File { file: file.to_owned(), what, why };
    let certificates = certificates(chain).await?;
    let pem = contents(key, "key", PEM_BYTES_MAX).await?;
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| wrong(key, "key", error.to_string()))?;
    builder
        .with_client_auth_cert(certificates, key)
        .map_err(|error| wrong(chain, "certificate", error.to_string()))
}

/// Those of the file, or else the system's.
async fn authorities(tls: &ClientTls) -> Result<Arc<RootCertStore>, Failure> {
    let Some(file) = &tls.ca_file else { return system_authorities() };
    let mut store = RootCertStore::empty();
    for certificate in certificates(file).await? {
        let wrong = |error: rustls::Error| Failure::File {
            file: file.clone(),
            what: "certificate",
            why: error.to_string(),
        };
        store.add(certificate).map_err(wrong)?;
    }
    Ok(Arc::new(store))
}

/// Read once: there are more than a hundred, and a new one needs a restart.
fn system_authorities() -> Result<Arc<RootCertStore>, Failure> {
    static SYSTEM: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    if let Some(store) = SYSTEM.get() {
        return Ok(Arc::clone(store));
    }
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    let (added, _) = store.add_parsable_certificates(found.certs);
    if added == 0 {
        let why = found.errors.first().map_or_else(|| "there is none".to_owned(), ToString::to_string);
        return Err(Failure::Authorities { why });
    }
    Ok(Arc::clone(SYSTEM.get_or_init(|| Arc::new(store))))
}

async fn certificates(file: &str) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let pem = contents(file, "certificate", PEM_BYTES_MAX).await?;
    let wrong = |why: String| Failure::File { file: file.to_owned(), what: "certificate", why };
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let found = found.map_err(|error| wrong(error.to_string()))?;
    if found.is_empty() { Err(wrong("it holds none".to_owned())) } else { Ok(found) }
}

/// The secret in `file`, without the space around it.
pub(crate) async fn secret(file: &str, what: &'static str) -> Result<String, Failure> {
    let bytes = contents(file, what, SECRET_BYTES_MAX).await?;
    let text = String::from_utf8(bytes);
    // The error would show what is in the file.
    let text =
        text.map_err(|_| Failure::File { file: file.to_owned(), what, why: "it is no text".to_owned() })?;
    Ok(text.trim().to_owned())
}

async fn contents(file: &str, what: &'static str, bytes_max: u64) -> Result<Vec<u8>, Failure> {
    let wrong = |why: String| Failure::File { file: file.to_owned(), what, why };
    let length = tokio::fs::metadata(file).await.map_err(|error| wrong(error.to_string()))?.len();
    if length > bytes_max {
        return Err(wrong(format!("it has more than {bytes_max} bytes")));
    }
    tokio::fs::read(file).await.map_err(|error| wrong(error.to_string()))
}
