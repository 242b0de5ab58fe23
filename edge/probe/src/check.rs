//! One check of a replica, and its result.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, Either, select};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::Request;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper_util::rt::TokioIo;
use model::resource::{Check, HttpCheck, PortName};
use rustix::io::Errno;
use tokio::net::TcpStream;

use crate::grpc;

/// Bytes of a body that are read and discarded before the connection is closed: more than any health page has.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// How long to wait for the body. The result is known by then; this only spares the replica a reset connection.
const BODY_WAIT: Duration = Duration::from_millis(100);

/// Bytes of the head of an answer: twice what the usual servers allow.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// The result of a check.
pub type CheckResult = Result<(), Failure>;

/// Runs a program in the environment of the replica, for at most a time; it succeeds when it exits with 0.
pub type RunBeside = dyn Fn(Vec<String>, Duration) -> BoxFuture<'static, CheckResult> + Send + Sync;

/// The replica to probe.
#[derive(Clone)]
pub struct Replica {
    /// Its ports, on 127.0.0.1.
    pub ports: BTreeMap<PortName, u16>,
    /// The port of probes that name none.
    pub first_port: Option<PortName>,
    /// Runs the programs of command probes.
    pub run_beside: Arc<RunBeside>,
}

/// Why a check failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// There was no socket or process for the check: that says nothing about the replica.
    #[error(
        "it could not be asked: Homeostat has run out of descriptors, processes, ports or memory ({why})"
    )]
    NotAttempted {
        /// What the system says.
        why: String,
    },
    /// It accepts no connection.
    #[error("nothing accepts connections on port {port} ({why})")]
    Refused {
        /// The port.
        port: u16,
        /// What the system says.
        why: String,
    },
    /// It does not answer in time.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// It answers with a status that means failure.
    #[error("GET {path} answered {status}")]
    Status {
        /// What was asked for.
        path: String,
        /// The status.
        status: u16,
    },
    /// It does not answer with HTTP.
    #[error("GET {path} was not answered: {why}")]
    Broken {
        /// What was asked for.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// The health check of gRPC failed.
    #[error("the health check of gRPC failed: {why}")]
    Call {
        /// What is wrong.
        why: String,
    },
    /// A server says that it, or one of its services, does not serve.
    #[error("{} answered {status}", asked_about(.service))]
    NotServing {
        /// Which service was asked about; empty for the server.
        service: String,
        /// What it answered, as the specification writes it.
        status: &'static str,
    },
    /// The program of a command probe did not succeed.
    #[error("{0}")]
    Command(String),
    /// The probe names a port that the replica does not have.
    #[error("the replica has no such port")]
    NoPort,
}

impl Failure {
    /// Why there is no connection to `port`.
    fn of_connection(port: u16, error: &io::Error) -> Self {
        let ours = [Errno::MFILE, Errno::NFILE, Errno::ADDRNOTAVAIL, Errno::NOBUFS, Errno::NOMEM];
        let why = error.to_string();
        match Errno::from_io_error(error) {
            Some(errno) if ours.contains(&errno) => Self::NotAttempted { why },
            Some(_) | None => Self::Refused { port, why },
        }
    }
}

impl fmt::Debug for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replica").field("ports", &self.ports).finish_non_exhaustive()
    }
}

impl Replica {
    fn address(&self, named: Option<&PortName>) -> Result<SocketAddr, Failure> {
        let port = named.or(self.first_port.as_ref()).and_then(|name| self.ports.get(name));
        port.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, *port))).ok_or(Failure::NoPort)
    }
}

/// Runs a check once, for at most `timeout`.
///
/// With HTTP, 200 to 399 are successes: redirects are not followed, and the body does not matter.
pub async fn run_check(replica: &Replica, check: &Check, timeout: Duration) -> CheckResult {
    let result = async {
        match check {
            Check::Http(http) => get(replica.address(http.port.as_ref())?, http).await,
            Check::Tcp(tcp) => connect(replica.address(tcp.port.as_ref())?).await.map(drop),
            Check::Grpc(check) => {
                let address = replica.address(check.port.as_ref())?;
                grpc::call(connect(address).await?, address, check).await
            }
            Check::Command(command) => (replica.run_beside)(command.clone(), timeout).await,
        }
    };
    tokio::time::timeout(timeout, result).await.unwrap_or(Err(Failure::TimedOut(timeout)))
}

async fn connect(address: SocketAddr) -> Result<TcpStream, Failure> {
    TcpStream::connect(address).await.map_err(|error| Failure::of_connection(address.port(), &error))
}

async fn get(address: SocketAddr, check: &HttpCheck) -> CheckResult {
    let stream = connect(address).await?;
    let broken =
        |error: &dyn std::error::Error| Failure::Broken { path: check.path.clone(), why: error.to_string() };
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| broken(&error))?;
    let request = Request::get(&check.path)
        .header(HOST, address.to_string())
        .header(USER_AGENT, "homeostat-probe")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| broken(&error))?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), BODY_BYTES_MAX).collect();
        // A server whose connection is reset while it still writes logs an error, once for each probe.
        let _ = tokio::time::timeout(BODY_WAIT, body).await;
        if (200..400).contains(&status) {
            return Ok(());
        }
        Err(Failure::Status { path: check.path.clone(), status })
    };
    answer_over(connection, exchange).await
}

/// The result of `exchange`, which needs `connection` to be driven.
///
/// The connection may end in the very moment in which it hands over the answer; then `exchange` still has it.
pub(crate) async fn answer_over(
    connection: impl Future,
    exchange: impl Future<Output = CheckResult>,
) -> CheckResult {
    match select(pin!(exchange), pin!(connection)).await {
        Either::Left((answer, _)) => answer,
        Either::Right((_, exchange)) => exchange.await,
    }
}

fn asked_about(service: &str) -> String {
    if service.is_empty() { "the gRPC server".to_owned() } else { format!("the gRPC service {service}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lack_of_sockets_is_no_failure_of_the_replica() {
        let of = |errno: Errno| Failure::of_connection(80, &errno.into());
        assert!(matches!(of(Errno::CONNREFUSED), Failure::Refused { port: 80, .. }));
        for ours in [Errno::MFILE, Errno::NFILE, Errno::ADDRNOTAVAIL, Errno::NOBUFS] {
            let failure = of(ours);
            assert!(matches!(failure, Failure::NotAttempted { .. }), "{failure}");
        }
    }
}
