//! One check of a replica.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use model::resource::{Check, PortName};
use tokio::net::TcpStream;

use crate::failure::{CheckResult, Failure};
use crate::{grpc, http};

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
            Check::Http(check) => {
                let address = replica.address(check.port.as_ref())?;
                http::get(connect(address).await?, address, check).await
            }
            Check::Tcp(check) => connect(replica.address(check.port.as_ref())?).await.map(drop),
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
