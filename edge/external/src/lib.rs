//! Keeps external load balancers, such as nginx and HAProxy, up to date with the replicas of a service, through the files that they read.
//!
//! The text of a file is a pure function of the replicas ([`render()`]). Each file has a reconciler: a task that batches changes, runs the
//! balancer's own check on a candidate, replaces the file with it atomically, and reloads the balancer. A candidate that the check refuses is
//! not kept, and failures are retried with backoff.
//!
//! The crate carries no traffic and decides nothing about replicas. It writes only declared files, and only when their text has changed.
//!
//! ```
//! use external::{Server, ServerState, Upstream, render};
//! use model::resource::{Balance, ExternalFormat, HashKey};
//!
//! let upstream = Upstream {
//!     service: "shop".to_owned(),
//!     name: "shop".to_owned(),
//!     balance: Balance::RoundRobin,
//!     hash: HashKey::Address,
//!     servers: vec![Server {
//!         ordinal: Some(0),
//!         address: "127.0.0.1:40001".parse().unwrap(),
//!         http2: false,
//!         state: ServerState::Serving { weight: 1 },
//!     }],
//! };
//! assert!(render(ExternalFormat::Nginx, &upstream).contains("server 127.0.0.1:40001 weight=1"));
//! ```

mod balancer_files;
mod command;
mod connections;
mod file;
mod notice;
mod pace;
mod reconciler;
mod render;
mod upstream;

pub use balancer_files::{Applied, BalancerFiles};
pub use connections::{Connections, ConnectionsError};
pub use notice::{Notice, Notify};
pub use reconciler::{BalancerFile, FileState, Problem};
pub use render::render;
pub use upstream::{Server, ServerState, Upstream};
