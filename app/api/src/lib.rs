//! The HTTP API under `/v1`: what is declared, how it is, why it is so, and the ways to change it.
//!
//! It reads the loop's knowledge in short queries, passes changes to the orchestrator, and decides nothing. What goes over the
//! wire is [`v1`], apart from the types of the core; the description at `/openapi.json` is made from the same table as the
//! routes. `/metrics` is for Prometheus, `/healthz` says that the process answers, `/readyz` that the loop controls the services.
//!
//! ```no_run
//! # async fn example(handle: orchestrator::Handle, agent: agent::Agent) -> std::io::Result<()> {
//! use tokio_util::sync::CancellationToken;
//!
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:7460").await?;
//! let (listen, stop) = (listener.local_addr()?, CancellationToken::new());
//! let state = api::State::new(handle, agent, listen, std::env::current_dir()?, stop.clone());
//! api::serve(listener, state).await;
//! # Ok(()) }
//! ```

pub mod v1;

mod server;
pub use server::serve;

mod state;
pub use state::State;

mod origin;

mod routes;

mod openapi;
pub use openapi::description;

mod capacity;
mod decision;
mod endpoints;
mod metric_source;
mod metric_status;
mod removable;
mod resources;
mod rightsize;
mod route;
mod scaling;
mod view;

mod apply;
mod trial;

mod balancers;
mod certificates;
mod explain;
mod history;
mod learned;
mod recommendations;
mod replay;

mod stream;

mod logs;

mod metrics;

mod failure;
mod forecast;
pub use failure::Code;

mod timestamps;
pub use timestamps::rfc3339;
