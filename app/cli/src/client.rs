//! Asks a running Homeostat over its API.

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

/// Where `homeostat up` listens unless told otherwise.
pub(crate) const SERVER_DEFAULT: &str = "http://127.0.0.1:7460";

/// How long a connection may take: a machine that is there answers within a second, one far away within a few.
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(5);

/// How long an answer may take: the server gives up after 30 s, and says so.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(35);

/// Longest answer: 10,000 services of 3 KiB with ten replicas of 1 KiB each are 130 MB; more is no answer to a question of ours.
const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;

/// The server was asked and did not answer as hoped; where it may have done all the same what it was asked, it says so.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// The server is no URL of ours.
    #[error("{text:?} is no server; write it as {SERVER_DEFAULT} (plain http only)")]
    Server {
        /// What was given.
        text: String,
    },
    /// Nobody answers there.
    #[error(
        "could not reach homeostat at {server}; start it with `homeostat up`, or name another with --server (HS0001)"
    )]
    Connect {
        /// Where.
        server: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// Somebody is there and is silent.
    #[error(
        "homeostat at {server} did not answer within {} s{} (HS0013)",
        ANSWER_WAIT_MAX.as_secs(),
        if *.is_change { "; it may have done what it was asked, so look before you repeat it" } else { "" }
    )]
    Silent {
        /// Where.
        server: String,
        /// Whether a change was asked for.
        is_change: bool,
    },
    /// The connection broke, or what came is no HTTP.
    #[error(
        "the answer of {server} broke off; it may have done what it was asked, so look before you repeat it (HS0014)"
    )]
    Broken {
        /// Where.
        server: String,
        /// What the protocol says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It answered something that is not of our API.
    #[error(
        "what answers at {server} is no homeostat, or one of another version: it answered {status} (HS0014); \
         name another with --server"
    )]
    Stranger {
        /// Where.
        server: String,
        /// With which status.
        status: StatusCode,
    },
    /// It says why not.
    #[error("{}", message_of(.0))]
    Refused(Box<v1::Failure>),
}

impl AskError {
    /// Whether the server refuses for this reason.
    pub(crate) fn is(&self, code: Code) -> bool {
        matches!(self, Self::Refused(failure) if failure.code == code.as_str())
    }
}

/// The sentence of the server with the code of its page, and everything it points at.
fn message_of(failure: &v1::Failure) -> String {
    let sentence = |problem: &v1::Problem| match problem.path.as_str() {
        "" => problem.message.clone(),
        path => format!("{path}: {}", problem.message),
    };
    let problems =
        failure.problems.iter().map(sentence).filter(|problem| !failure.error.contains(problem.as_str()));
    let more: String = problems.map(|problem| format!("; {problem}")).collect();
    format!("{}{more} ({})", failure.error, failure.code)
}

/// Asks one server; each question has a connection of its own.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    server: String,
    authority: Authority,
    connections: TaskTracker,
}

impl Client {
    /// The client of the server that a URL names: `http://HOST:PORT`; the scheme may be left out.
    pub(crate) fn of(server: &str) -> Result<Self, AskError> {
        let wrong = || AskError::Server { text: server.to_owned() };
        let whole = if server.contains("://") { server.to_owned() } else { format!("http://{server}") };
        let parts = whole.parse::<Uri>().map_err(|_| wrong())?.into_parts();
        let is_bare = parts.path_and_query.as_ref().is_none_or(|path| path == "/");
        if parts.scheme != Some(Scheme::HTTP) || !is_bare {
            return Err(wrong());
        }
        let is_ours = |found: &Authority| !found.host().is_empty() && !found.as_str().contains('@');
        let authority = parts.authority.filter(is_ours).ok_or_else(wrong)?;
        Ok(Self { server: format!("http://{authority}"), authority, connections: TaskTracker::new() })
    }

    /// Where it asks, as a URL.
    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    /// What stands at `path`.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, AskError> {
        self.ask(Method::GET, path, None).await
    }

    /// Asks for a change, with a body when there is something to say.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<T, AskError> {
        let is_change = method != Method::GET;
        let answer = self.send(method, path, body).await?;
        let status = answer.status();
        let bytes = self.read(answer, is_change).await?;
        serde_json::from_slice(&bytes).map_err(|_| AskError::Stranger { server: self.server.clone(), status })
    }

    /// The answer at `path` that goes on, line by line.
    pub(crate) async fn follow(&self, path: &str) -> Result<Lines, AskError> {
        Ok(Lines::of(self.send(Method::GET, path, None).await?.into_body()))
    }

    /// Sends a request and returns the answer when it is a good one.
    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Response<Incoming>, AskError> {
        let is_change = method != Method::GET;
        let request = self.request(method, path, body);
        let stream = self.connect().await?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.broken(error))?;
        // Ends with the answer's body, or with the runtime of this command.
        self.connections.spawn(connection);
        let answer = timeout(ANSWER_WAIT_MAX, sender.send_request(request)).await;
        let answer = answer.map_err(|_| self.silent(is_change))?.map_err(|error| self.broken(error))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let bytes = self.read(answer, is_change).await?;
        match serde_json::from_slice::<v1::Failure>(&bytes) {
            Ok(failure) => Err(AskError::Refused(Box::new(failure))),
            Err(_) => Err(AskError::Stranger { server: self.server.clone(), status }),
        }
    }

    fn request(&self, method: Method, path: &str, body: Option<&Value>) -> Request<Full<Bytes>> {
        let bytes = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let mut request = Request::new(Full::new(bytes));
        *request.method_mut() = method;
        let path = PathAndQuery::try_from(path).expect("paths are made of checked names, numbers and times");
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

    async fn connect(&self) -> Result<TcpStream, AskError> {
        let host = self.authority.host().trim_start_matches('[').trim_end_matches(']');
        let port = self.authority.port_u16().unwrap_or(80);
        let connected = timeout(CONNECT_WAIT_MAX, TcpStream::connect((host, port))).await;
        let connected = connected.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
        connected.map_err(|source| AskError::Connect { server: self.server.clone(), source })
    }

    async fn read(&self, answer: Response<Incoming>, is_change: bool) -> Result<Bytes, AskError> {
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect();
        let body = timeout(ANSWER_WAIT_MAX, body).await.map_err(|_| self.silent(is_change))?;
        Ok(body.map_err(|error| self.broken(error))?.to_bytes())
    }

    fn silent(&self, is_change: bool) -> AskError {
        AskError::Silent { server: self.server.clone(), is_change }
    }

    fn broken(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> AskError {
        AskError::Broken { server: self.server.clone(), source: source.into() }
    }
}

/// What the server sees in its logs.
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
            assert!(matches!(Client::of(bad), Err(AskError::Server { .. })), "{bad}");
        }
    }

    #[test]
    fn a_refusal_tells_each_problem_once() {
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
