//! A client of the API of a running Homeostat.

use std::time::Duration;

use api::{Code, v1};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::http::uri::{Authority, PathAndQuery, Scheme};
use hyper::{Method, Request, Response, StatusCode, Uri, header};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crate::lines::Lines;

/// Where `homeostat up` listens by default.
pub(crate) const SERVER_DEFAULT: &str = "http://127.0.0.1:7460";

/// The timeout of connecting: a remote machine responds within a few seconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The timeout of a response: the server itself gives up after 30 s and responds with an error.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(35);

/// The longest response: 10,000 services of 3 KiB with ten replicas of 1 KiB each are 130 MB.
const RESPONSE_BYTES_MAX: usize = 256 * 1024 * 1024;

/// A request failed. The message says when the request may have taken effect nevertheless.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// The URL of the server is not valid.
    #[error("{text:?} is not the URL of a server; write it as {SERVER_DEFAULT} (plain http only)")]
    Server {
        /// The URL.
        text: String,
    },
    /// The server cannot be reached.
    #[error(
        "could not reach homeostat at {server}; start it with `homeostat up`, or name another with --server (HS0001)"
    )]
    Connect {
        /// The URL of the server.
        server: String,
        /// The error of the system.
        source: std::io::Error,
    },
    /// The server did not respond in time.
    #[error(
        "homeostat at {server} did not respond within {} s{} (HS0013)",
        RESPONSE_TIMEOUT.as_secs(),
        if *.is_change { "; the change may have taken effect, so check before you repeat it" } else { "" }
    )]
    TimedOut {
        /// The URL of the server.
        server: String,
        /// Whether the request was for a change.
        is_change: bool,
    },
    /// The connection was closed, or the response is not HTTP.
    #[error(
        "the connection to {server} broke before the response was complete; a change may have taken effect, so check before you repeat it (HS0014)"
    )]
    Broken {
        /// The URL of the server.
        server: String,
        /// The error of the protocol.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The response is not one of this API.
    #[error(
        "the server at {server} is not homeostat, or another version of it: it responded with {status} (HS0014); \
         name another with --server"
    )]
    UnknownServer {
        /// The URL of the server.
        server: String,
        /// The status of the response.
        status: StatusCode,
    },
    /// The server refused the request.
    #[error("{}", message_of(.0))]
    Refused(Box<v1::Failure>),
}

impl ClientError {
    /// Whether the server refused the request with this code.
    pub(crate) fn is(&self, code: Code) -> bool {
        matches!(self, Self::Refused(failure) if failure.code == code.as_str())
    }
}

/// The error of the server, its problems, and the error code.
fn message_of(failure: &v1::Failure) -> String {
    let sentence = |problem: &v1::Problem| match problem.path.as_str() {
        "" => problem.message.clone(),
        path => format!("{path}: {}", problem.message),
    };
    let problems =
        failure.problems.iter().map(sentence).filter(|problem| !failure.error.contains(problem.as_str()));
    let problems: String = problems.map(|problem| format!("; {problem}")).collect();
    format!("{}{problems} ({})", failure.error, failure.code)
}

/// A client of one server. Each request has its own connection.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    server: String,
    authority: Authority,
    connections: TaskTracker,
}

impl Client {
    /// The client of the server that a URL names: `http://HOST:PORT`; the scheme may be left out.
    pub(crate) fn of(server: &str) -> Result<Self, ClientError> {
        let invalid = || ClientError::Server { text: server.to_owned() };
        let whole = if server.contains("://") { server.to_owned() } else { format!("http://{server}") };
        let parts = whole.parse::<Uri>().map_err(|_| invalid())?.into_parts();
        let is_bare = parts.path_and_query.as_ref().is_none_or(|path| path == "/");
        if parts.scheme != Some(Scheme::HTTP) || !is_bare {
            return Err(invalid());
        }
        let is_plain =
            |authority: &Authority| !authority.host().is_empty() && !authority.as_str().contains('@');
        let authority = parts.authority.filter(is_plain).ok_or_else(invalid)?;
        Ok(Self { server: format!("http://{authority}"), authority, connections: TaskTracker::new() })
    }

    /// The URL of the server.
    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    /// Fetches the object at `path`.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.send(Method::GET, path, None).await
    }

    /// Sends a request, with an optional JSON body, and parses the response.
    pub(crate) async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<T, ClientError> {
        let is_change = method != Method::GET;
        let response = self.execute(method, path, body).await?;
        let status = response.status();
        let bytes = self.read(response, is_change).await?;
        serde_json::from_slice(&bytes)
            .map_err(|_| ClientError::UnknownServer { server: self.server.clone(), status })
    }

    /// The lines of the streamed response at `path`.
    pub(crate) async fn follow(&self, path: &str) -> Result<Lines, ClientError> {
        Ok(Lines::of(self.execute(Method::GET, path, None).await?.into_body()))
    }

    /// Sends a request and returns a successful response; others become errors.
    async fn execute(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Response<Incoming>, ClientError> {
        let is_change = method != Method::GET;
        let request = self.request(method, path, body);
        let stream = self.connect().await?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.broken(error))?;
        // Ends with the body of the response, or with the runtime of this command.
        self.connections.spawn(connection);
        let response = timeout(RESPONSE_TIMEOUT, sender.send_request(request)).await;
        let response =
            response.map_err(|_| self.timed_out(is_change))?.map_err(|error| self.broken(error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let bytes = self.read(response, is_change).await?;
        match serde_json::from_slice::<v1::Failure>(&bytes) {
            Ok(failure) => Err(ClientError::Refused(Box::new(failure))),
            Err(_) => Err(ClientError::UnknownServer { server: self.server.clone(), status }),
        }
    }

    fn request(&self, method: Method, path: &str, body: Option<&Value>) -> Request<Full<Bytes>> {
        let bytes = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let mut request = Request::new(Full::new(bytes));
        *request.method_mut() = method;
        let path = PathAndQuery::try_from(path).expect("paths consist of checked names, numbers and times");
        *request.uri_mut() = Uri::from(path);
        let host = header::HeaderValue::from_str(self.authority.as_str());
        let headers = request.headers_mut();
        headers.insert(header::HOST, host.expect("an authority has only visible ASCII characters"));
        headers.insert(header::USER_AGENT, USER_AGENT);
        if body.is_some() {
            headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
        }
        request
    }

    async fn connect(&self) -> Result<TcpStream, ClientError> {
        let host = self.authority.host().trim_start_matches('[').trim_end_matches(']');
        let port = self.authority.port_u16().unwrap_or(80);
        let connected = timeout(CONNECT_TIMEOUT, TcpStream::connect((host, port))).await;
        let connected = connected.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
        connected.map_err(|source| ClientError::Connect { server: self.server.clone(), source })
    }

    async fn read(&self, response: Response<Incoming>, is_change: bool) -> Result<Bytes, ClientError> {
        let body = Limited::new(response.into_body(), RESPONSE_BYTES_MAX).collect();
        let body = timeout(RESPONSE_TIMEOUT, body).await.map_err(|_| self.timed_out(is_change))?;
        Ok(body.map_err(|error| self.broken(error))?.to_bytes())
    }

    fn timed_out(&self, is_change: bool) -> ClientError {
        ClientError::TimedOut { server: self.server.clone(), is_change }
    }

    fn broken(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ClientError {
        ClientError::Broken { server: self.server.clone(), source: source.into() }
    }
}

/// The name of this client for the server.
const USER_AGENT: header::HeaderValue =
    header::HeaderValue::from_static(concat!("homeostat/", env!("CARGO_PKG_VERSION")));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_plain_http_with_a_host() {
        for good in ["http://127.0.0.1:7460", "127.0.0.1:7460", "http://[::1]:7460/", "localhost:80"] {
            assert!(Client::of(good).is_ok(), "{good}");
        }
        for bad in ["https://a", "http://", "ftp://a", "", "http://a/v1", "http://me@a", "a b"] {
            assert!(matches!(Client::of(bad), Err(ClientError::Server { .. })), "{bad}");
        }
    }

    #[test]
    fn a_refusal_contains_each_problem_once() {
        let problem = |path: &str, message: &str| v1::Problem {
            path: path.into(),
            message: message.into(),
            line: None,
            column: None,
        };
        let failure = v1::Failure {
            error: "could not apply: spec.run: is missing".into(),
            code: "HS0002".into(),
            problems: vec![problem("spec.run", "is missing"), problem("", "is odd")],
        };
        assert_eq!(message_of(&failure), "could not apply: spec.run: is missing; is odd (HS0002)");
    }
}
