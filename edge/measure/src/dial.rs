//! Connections to the servers of metrics, with or without TLS.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use model::resource::{CertificateFiles, ClientTls};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::failure::{ANSWER_BYTES_MAX, Failure};
use crate::secret::contents;

/// A connection over TCP or TLS.
pub(crate) trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<L: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for L {}

/// Connects to `port` of `host`, a name or an address with or without brackets; with `tls`, the server's certificate is checked.
pub(crate) async fn dial(
    host: &str,
    port: u16,
    tls: Option<&ClientTls>,
) -> Result<Box<dyn ByteStream>, Failure> {
    let stream = connect(host, port).await?;
    let Some(tls) = tls else { return Ok(Box::new(stream)) };
    Ok(Box::new(PreparedTls::of(host, port, tls).await?.secure(stream).await?))
}

/// Connects without TLS, which may be started later on the same connection.
pub(crate) async fn connect(host: &str, port: u16) -> Result<TcpStream, Failure> {
    let failed =
        |error: io::Error| Failure::Connect { authority: format!("{host}:{port}"), why: error.to_string() };
    TcpStream::connect((without_brackets(host), port)).await.map_err(failed)
}

/// The host without the brackets that an IPv6 address has in a URL.
fn without_brackets(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

/// The configuration of TLS with one server, prepared before connecting.
pub(crate) struct PreparedTls {
    connector: TlsConnector,
    name: ServerName<'static>,
    authority: String,
}

impl PreparedTls {
    pub(crate) async fn of(host: &str, port: u16, tls: &ClientTls) -> Result<Self, Failure> {
        let authority = format!("{host}:{port}");
        let connector = TlsConnector::from(Arc::new(config(tls).await?));
        let name = ServerName::try_from(without_brackets(host).to_owned())
            .map_err(|error| Failure::Tls { authority: authority.clone(), why: error.to_string() })?;
        Ok(Self { connector, name, authority })
    }

    /// Makes the TLS handshake on a connection whose server expects it now.
    pub(crate) async fn secure<L: ByteStream>(self, stream: L) -> Result<TlsStream<L>, Failure> {
        let Self { connector, name, authority } = self;
        let failed = |error: io::Error| Failure::Tls { authority, why: error.to_string() };
        connector.connect(name, stream).await.map_err(failed)
    }
}

/// A connection whose reader gets an error after more than [`ANSWER_BYTES_MAX`] bytes.
pub(crate) struct Bounded<L> {
    stream: L,
    left: usize,
}

impl<L> Bounded<L> {
    pub(crate) const fn new(stream: L) -> Self {
        Self { stream, left: ANSWER_BYTES_MAX }
    }
}

impl<L: ByteStream> AsyncRead for Bounded<L> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, into))?;
        let read = into.filled().len() - before;
        let left = self.left.checked_sub(read).ok_or_else(|| {
            io::Error::other(format!(
                "the answer is longer than {ANSWER_BYTES_MAX} bytes, the most that is read"
            ))
        })?;
        self.left = left;
        Poll::Ready(Ok(()))
    }
}

impl<L: ByteStream> AsyncWrite for Bounded<L> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// The TLS configuration of a client: which authorities it trusts, and its own certificate. Files are read each time, so that renewed ones are used.
async fn config(tls: &ClientTls) -> Result<ClientConfig, Failure> {
    let builder = trust::client(authorities(tls).await?);
    let Some(CertificateFiles { certificate: chain, key }) = &tls.client else {
        return Ok(builder.with_no_client_auth());
    };
    let wrong = |file: &str, what, why: String| Failure::File { file: file.to_owned(), what, why };
    let pem = contents(chain, "certificate", trust::PEM_BYTES_MAX).await?;
    let certificates =
        trust::certificates(&pem).map_err(|error| wrong(chain, "certificate", error.to_string()))?;
    let pem = contents(key, "key", trust::PEM_BYTES_MAX).await?;
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| wrong(key, "key", error.to_string()))?;
    builder
        .with_client_auth_cert(certificates, key)
        .map_err(|error| wrong(chain, "certificate", error.to_string()))
}

/// The trusted authorities: those of the file, or else the system's.
async fn authorities(tls: &ClientTls) -> Result<Arc<RootCertStore>, Failure> {
    let Some(file) = &tls.ca_file else {
        return trust::system_authorities().map_err(|error| Failure::Authorities { why: error.to_string() });
    };
    let pem = contents(file, "certificate", trust::PEM_BYTES_MAX).await?;
    let wrong = |error: trust::TrustError| Failure::File {
        file: file.clone(),
        what: "certificate",
        why: error.to_string(),
    };
    trust::authorities_from_pem(&pem).map_err(wrong)
}
