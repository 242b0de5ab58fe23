//! The data plane: a reverse proxy whose services and endpoints change while requests run.
//!
//! A [`Proxy`] owns its threads. A [`Table`] is the cheap handle through which others set services and endpoints, and read the traffic. Each
//! worker thread has connections, upstream pools and balancers of its own, and shares only immutable snapshots and counters with the
//! others: no lock is taken to route a request. A client connection of HTTP/1.1 is one task, as is each request of HTTP/2. An upstream
//! connection of HTTP/1.1 is driven by the task that awaits its answer, so that a request needs no switch between tasks.
//!
//! This crate decides nothing: `balance` chooses endpoints, ejects failing ones and determines which requests may be retried. Clients speak
//! HTTP/1.1 or HTTP/2, within TLS if the service has certificates, or plain TCP or UDP; endpoints speak the protocol that is declared for
//! them. WebSockets are translated between the versions of HTTP.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use proxy::{EndpointId, EndpointRoute, EndpointState, Proxy, ProxyConfig, ServiceRoute};
//!
//! let proxy = Proxy::start(&ProxyConfig::default())?;
//! let table = proxy.table();
//! let id = EndpointId { ordinal: 0, incarnation: 1 };
//! let mut route = ServiceRoute::new("shop", "127.0.0.1:8080".parse()?);
//! route.endpoints.push(EndpointRoute::new(id, "127.0.0.1:40001".parse()?));
//! table.set_service(&route)?;
//!
//! // Takes effect before the next request is routed.
//! table.set_endpoint_state("shop", id, EndpointState::Draining)?;
//! table.drained("shop", id).await;
//! proxy.shutdown(std::time::Duration::from_secs(10)).await;
//! # Ok(()) }
//! ```

// The public interface: what is set and read.
mod proxy;
mod route;
mod table;
mod traffic;

// State of services and endpoints that all workers share.
mod admission;
mod clock;
mod connection_limit;
mod endpoint;
mod latency_windows;
mod log_interval;
mod service;
mod shedder;
mod versions;

// Workers, and the state that each has of its own.
mod accept;
mod linger;
mod listener;
mod local;
mod ready_slots;
mod timer;
mod worker;

// Connections of clients.
mod client;
mod connection;
mod http1;
mod http2;
mod proxy_protocol;
mod socket;
mod tcp;
mod tls;
mod udp;

// Requests.
mod access;
mod answer;
mod attempts;
mod body;
mod date;
mod endpoint_wait;
mod exchange;
mod forward;
mod grpc;
mod head;
mod headers;
mod router;
mod tunnel;
mod websocket;

// Connections to endpoints.
mod plain;
mod upstream;

pub use self::access::AccessLogState;
pub use self::route::{
    AttachedRoute, CertificateFiles, ConnectionSpec, EndpointRoute, EndpointState, Forwarded, Gateway,
    HashKey, Limits, NamedPort, Origin, Protocol, ProxyProtocol, ProxyVersion, ServiceRoute, Timeouts, Tls,
};
pub use balance::{
    AdaptivePolicy, Balance, Cause, EndpointId, HedgeAfter, HedgePolicy, OutlierPolicy, Ramp, Share,
    SlowPolicy, SlowStart, Weight, hash_key,
};
pub use listener::InheritedListener;
pub use proxy::{Proxy, ProxyConfig, ShutdownOutcome, StartError};
pub use table::{EndpointError, RouteError, Table};
pub use tls::{CertificateState, Challenge, TlsError, TlsState, check as check_certificates};
pub use traffic::{
    AdaptiveState, Counts, Datagrams, Ejection, EndpointTraffic, Histogram, RouteTraffic, ServiceLoad,
    ServiceTraffic, VersionTraffic, ZonePreference,
};
