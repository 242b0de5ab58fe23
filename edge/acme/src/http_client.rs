//! Requests to an authority, each on a connection of its own: an order takes about ten of them, once in months.

use std::future::Future;
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, HeaderValue};
use hyper::http::uri::Scheme;
use hyper::{Method, Request, Response, Uri};
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, HttpClient};
use model::resource::Acme;
use rustls::RootCertStore;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::failure::{Failure, sentence};

/// How long one answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// Most bytes of an answer: a chain of ten certificates has 25 KiB.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// Most bytes of the head of an answer: twice what the usual servers allow.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Checks the declaration of an authority, as far as that is possible without a request.
pub fn check(acme: &Acme) -> Result<(), Failure> {
    acme.ca_file.as_ref().map_or(Ok(()), |file| roots_from_file(Path::new(file)).map(drop))
}

/// An HTTPS client.
pub(crate) struct HttpsClient {
    connector: TlsConnector,
}

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
enum RequestError {
    #[error("it refers to {uri}, and only https:// is used for requests to an authority")]
    Plain { uri: String },
    #[error("could not connect to {authority}: {why}; check the address and the network")]
    Connect { authority: String, why: String },
    #[error("{authority} is not trusted: {why}; for a private authority set `caFile`")]
    Tls { authority: String, why: String },
    #[error("the connection to {authority} failed: {why}")]
    Broken { authority: String, why: String },
    #[error("{uri} answered {status}; check the URL")]
    Status { uri: String, status: u16 },
    #[error("{uri} did not answer within {} s", ANSWER_MAX.as_secs())]
    TimedOut { uri: String },
}

impl HttpsClient {
    /// Trusts the authorities of the declared file, or else the system's. Files are read each time, so that renewed ones are used.
    pub(crate) fn new(acme: &Acme) -> Result<Self, Failure> {
        let roots = match &acme.ca_file {
            Some(file) => roots_from_file(Path::new(file))?,
            None => system_roots()?,
        };
        let config = Arc::new(trust::client(roots).with_no_client_auth());
        Ok(Self { connector: TlsConnector::from(config) })
    }
}

impl HttpClient for HttpsClient {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, instant_acme::Error>> + Send>> {
        let connector = self.connector.clone();
        Box::pin(async move {
            let uri = request.uri().to_string();
            let response = tokio::time::timeout(ANSWER_MAX, send(&connector, request)).await;
            let answer = response.unwrap_or(Err(RequestError::TimedOut { uri }));
            answer.map(BytesResponse::from).map_err(|error| instant_acme::Error::Other(error.into()))
        })
    }
}

async fn send(
    connector: &TlsConnector,
    mut request: Request<BodyWrapper<Bytes>>,
) -> Result<Response<Full<Bytes>>, RequestError> {
    let uri = request.uri().clone();
    let method = request.method().clone();
    let (host, port) = (uri.host().unwrap_or_default(), uri.port_u16().unwrap_or(443));
    if uri.scheme() != Some(&Scheme::HTTPS) {
        return Err(RequestError::Plain { uri: uri.to_string() });
    }
    let authority = format!("{host}:{port}");
    let broken = |error: &dyn std::error::Error| RequestError::Broken {
        authority: authority.clone(),
        why: sentence(error),
    };
    *request.uri_mut() = origin_form(&uri);
    let named = uri.authority().map_or(authority.as_str(), |it| it.as_str());
    request.headers_mut().insert(HOST, HeaderValue::from_str(named).map_err(|error| broken(&error))?);
    request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    let stream = connect(connector, host, port).await?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| broken(&error))?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(|error| broken(&*error))?;
        Ok(Response::from_parts(head, Full::new(body.to_bytes())))
    };
    // The connection may end just as it delivers the answer, which is valid all the same.
    let answer = match select(pin!(exchange), pin!(connection)).await {
        Either::Left((answer, _)) => answer,
        Either::Right((_, exchange)) => exchange.await,
    }?;
    // Other requests are answered with problem documents; for a GET, only the status shows that the URL is not that of a directory.
    if method == Method::GET && !answer.status().is_success() {
        return Err(RequestError::Status { uri: uri.to_string(), status: answer.status().as_u16() });
    }
    Ok(answer)
}

async fn connect(
    connector: &TlsConnector,
    host: &str,
    port: u16,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, RequestError> {
    let authority = format!("{host}:{port}");
    // Brackets belong to the URL of an IPv6 address and not to its name.
    let name = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let stream = TcpStream::connect((name.as_str(), port)).await;
    let stream = stream
        .map_err(|error| RequestError::Connect { authority: authority.clone(), why: error.to_string() })?;
    let untrusted = |why: String| RequestError::Tls { authority: authority.clone(), why };
    let server = ServerName::try_from(name).map_err(|error| untrusted(error.to_string()))?;
    connector.connect(server, stream).await.map_err(|error| untrusted(error.to_string()))
}

/// The target of a request in origin form (RFC 9112, section 3.2.1).
fn origin_form(uri: &Uri) -> Uri {
    uri.path_and_query().map_or_else(|| Uri::from_static("/"), |target| Uri::from(target.clone()))
}

fn roots_from_file(file: &Path) -> Result<Arc<RootCertStore>, Failure> {
    let wrong = |why: String| Failure::Trust { file: file.to_owned(), why };
    let length = std::fs::metadata(file).map_err(|error| wrong(error.to_string()))?.len();
    if length > trust::PEM_BYTES_MAX {
        return Err(wrong(format!("it has more than {} bytes", trust::PEM_BYTES_MAX)));
    }
    let pem = std::fs::read(file).map_err(|error| wrong(error.to_string()))?;
    trust::authorities_from_pem(&pem).map_err(|error| wrong(error.to_string()))
}

fn system_roots() -> Result<Arc<RootCertStore>, Failure> {
    trust::system_authorities().map_err(|error| Failure::Authorities { why: error.to_string() })
}
