//! The HTTP API under `/v1`: declarations, their status, explanations of decisions, and changes.
//!
//! It reads the loop's knowledge in short queries, passes changes to the orchestrator, and decides nothing. The JSON types are in
//! [`v1`], separate from the types of the core. The router and the description at `/openapi.json` are made from one table of
//! operations. `/metrics` is for Prometheus; `/healthz` tells whether the process responds, `/readyz` whether the loop controls the
//! services.
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
pub use server::{serve, serve_unavailable};

mod limits;
mod state;
pub use state::State;

mod origin;

mod operation;
mod request;
mod routes;
pub use routes::description;

mod openapi;

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
