//! Why the routing table was not changed.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use ::route::CompileError;
use balance::EndpointId;
use thiserror::Error;

use crate::tls::TlsError;

/// The most endpoints of one service. Each has about 3.3 KiB of counters for each worker: 54 MiB with four workers.
pub(super) const ENDPOINTS_MAX: usize = 4096;

/// Why a service or a shared listener was not set. Neither the service nor its listener has changed.
#[derive(Debug, Error)]
pub enum RouteError {
    /// Another program listens there.
    #[error(
        "service `{service}` cannot listen on {address}: another program listens there; stop it or choose another address"
    )]
    AddressInUse {
        /// The service.
        service: Arc<str>,
        /// The requested address.
        address: SocketAddr,
        /// The error of the system.
        source: io::Error,
    },
    /// Another service of this proxy listens there.
    #[error(
        "service `{service}` cannot listen on {address}: service `{by}` listens there; choose another address"
    )]
    AddressTaken {
        /// The service.
        service: Arc<str>,
        /// Where it was to listen.
        address: SocketAddr,
        /// The service that listens there.
        by: Arc<str>,
    },
    /// The address is not one of this machine or not permitted, or descriptors have run out.
    #[error(
        "service `{service}` cannot listen on {address}: the system refuses it; check the address and the permissions"
    )]
    Listen {
        /// The service.
        service: Arc<str>,
        /// Where it was to listen.
        address: SocketAddr,
        /// The error of the system.
        source: io::Error,
    },
    /// The certificates cannot be used.
    #[error("could not set up TLS for service `{service}`: {error}")]
    Tls {
        /// The service.
        service: Arc<str>,
        /// What is wrong with them.
        error: TlsError,
    },
    /// Two endpoints have the same id.
    #[error("service `{service}` cannot be routed: endpoint {id} is named twice")]
    EndpointTwice {
        /// The service.
        service: Arc<str>,
        /// The endpoint.
        id: EndpointId,
    },
    /// More endpoints than a service may have.
    #[error("service `{service}` cannot be routed: it has {count} endpoints, the limit is {ENDPOINTS_MAX}")]
    TooManyEndpoints {
        /// The service.
        service: Arc<str>,
        /// How many it has.
        count: usize,
    },
    /// A route has an expression that cannot be used.
    #[error("route `{}` cannot be used: {}", .0.route, .0.why)]
    Expression(CompileError),
    /// The proxy is shutting down.
    #[error("service `{service}` cannot be routed: the proxy is shutting down")]
    Stopping {
        /// The service.
        service: Arc<str>,
    },
}

impl From<CompileError> for RouteError {
    fn from(error: CompileError) -> Self {
        Self::Expression(error)
    }
}

/// Why the state of an endpoint was not changed. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EndpointError {
    /// There is no such service.
    #[error("endpoint {id} was not changed: there is no service `{service}`")]
    NoService {
        /// The service.
        service: Arc<str>,
        /// The endpoint.
        id: EndpointId,
    },
    /// The service has no such endpoint.
    #[error("endpoint {id} was not changed: service `{service}` has no such endpoint")]
    NoEndpoint {
        /// The service.
        service: Arc<str>,
        /// The endpoint.
        id: EndpointId,
    },
}
