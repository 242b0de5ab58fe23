//! The data plane: a reverse proxy for HTTP whose endpoints change while requests run.
//!
//! A [`Proxy`] owns its threads; a [`Table`] is the cheap handle through which others say which services there are and
//! which endpoints they have, and read what the traffic was. Each worker thread runs its own connections, upstream
//! pools and balancers, and shares nothing with the others but immutable snapshots and counters: no lock is taken to
//! route a request. A client connection of HTTP/1.1 is one task, as is each request of one of HTTP/2, and the upstream connection that
//! answers runs inside that very task, so that a request costs no hand-over between tasks.
//!
//! This crate decides nothing: `balance` chooses endpoints, ejects failing ones and says what may be sent again.
//! With clients it speaks HTTP/1.1 and HTTP/2, within TLS where a service has certificates; with endpoints HTTP/1.1 or HTTP/2, as the service says.
//! WebSockets come by either, and go on by either.
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

mod proxy;
mod route;
mod table;

mod service;

mod endpoint;
mod paces;
mod traffic;
mod versions;

mod listener;
mod turnstile;
mod worker;

mod gate;
mod shedder;

mod access;

mod connection;
mod http1;
mod http2;
mod socket;
mod tls;

mod hand;
mod head;
mod headers;
mod preamble;

mod router;

mod conduit;
mod datagram;
mod date;
mod exchange;
mod forward;
mod local;
mod patience;

mod body;
mod grpc;
mod line;
mod link;
mod plain;
mod trunk;
mod tunnel;
mod websocket;
mod wire;

pub use self::access::AccessLogState;
pub use self::route::{
    AttachedRoute, CertificateFiles, EndpointRoute, EndpointState, Forwarded, Gateway, HashKey, Origin,
    Protocol, ProxyProtocol, ProxyVersion, ServicePort, ServiceRoute, Timeouts, Tls,
};
pub use balance::{
    AdaptivePolicy, Balance, Cause, EndpointId, HedgeAfter, HedgePolicy, OutlierPolicy, Ramp, Share,
    SlowPolicy, SlowStart, Weight, hash_key,
};
pub use gate::Limits;
pub use listener::Inherited;
pub use proxy::{Ended, Proxy, ProxyConfig, StartError};
pub use table::{EndpointError, RouteError, Table};
pub use tls::{CertificateState, Challenge, TlsError, TlsState, check as check_certificates};
pub use traffic::{
    Adaptive, Asked, Counts, Datagrams, Ejected, EndpointTraffic, Histogram, Preference, RouteTraffic,
    ServiceTraffic, VersionTraffic,
};
