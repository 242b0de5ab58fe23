//! The data plane: an HTTP/1.1 reverse proxy whose endpoints change while requests run.
//!
//! A [`Proxy`] owns its threads; a [`Table`] is the cheap handle through which others say which services there are and
//! which endpoints they have, and read what the traffic was. Each worker thread runs its own connections, upstream
//! pools and balancers, and shares nothing with the others but immutable snapshots and counters: no lock is taken to
//! route a request. A client connection is one task, and the upstream connection that answers it runs inside that very
//! task, so that a request costs no hand-over between tasks.
//!
//! This crate decides nothing: `balance` chooses endpoints, ejects failing ones and says what may be sent again.
//! It does not terminate TLS, and speaks HTTP/1.1 only.
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
mod traffic;

mod listener;
mod worker;

mod connection;
mod hand;
mod headers;

mod exchange;
mod forward;
mod local;
mod patience;

mod body;
mod link;
mod tunnel;

pub use balance::{Balance, EndpointId, OutlierPolicy, Weight};
pub use proxy::{Ended, Proxy, ProxyConfig, StartError};
pub use route::{EndpointRoute, EndpointState, Forwarded, ServiceRoute, Timeouts};
pub use table::{EndpointError, RouteError, Table};
pub use traffic::{Counts, EndpointTraffic, Histogram, ServiceTraffic};
