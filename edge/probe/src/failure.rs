//! The result of a check, and why it failed.

use std::io;
use std::time::Duration;

use rustix::io::Errno;

/// The result of a check.
pub type CheckResult = Result<(), Failure>;

/// Why a check failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// There was no socket or process for the check, which says nothing about the replica.
    #[error(
        "it could not be probed: Homeostat has run out of descriptors, processes, ports or memory ({why})"
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
        /// The requested path.
        path: String,
        /// The status.
        status: u16,
    },
    /// It does not answer with HTTP.
    #[error("GET {path} was not answered: {why}")]
    Broken {
        /// The requested path.
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
    /// A gRPC server reports that it, or one of its services, does not serve.
    #[error("{} answered {status}", subject(.service))]
    NotServing {
        /// The service that the check names; empty for the server.
        service: String,
        /// The reported status, as the specification writes it.
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
    pub(crate) fn of_connection(port: u16, error: &io::Error) -> Self {
        let ours = [Errno::MFILE, Errno::NFILE, Errno::ADDRNOTAVAIL, Errno::NOBUFS, Errno::NOMEM];
        let why = error.to_string();
        match Errno::from_io_error(error) {
            Some(errno) if ours.contains(&errno) => Self::NotAttempted { why },
            Some(_) | None => Self::Refused { port, why },
        }
    }
}

fn subject(service: &str) -> String {
    if service.is_empty() { "the gRPC server".to_owned() } else { format!("the gRPC service {service}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lack_of_sockets_is_not_a_failure_of_the_replica() {
        let of = |errno: Errno| Failure::of_connection(80, &errno.into());
        assert!(matches!(of(Errno::CONNREFUSED), Failure::Refused { port: 80, .. }));
        for ours in [Errno::MFILE, Errno::NFILE, Errno::ADDRNOTAVAIL, Errno::NOBUFS] {
            let failure = of(ours);
            assert!(matches!(failure, Failure::NotAttempted { .. }), "{failure}");
        }
    }
}
