//! Keeps external load balancers, such as nginx and HAProxy, up to date with the replicas of a service, through the files that they read.
//!
//! The text of a file is a pure function of the replicas ([`render()`]). Each file has a keeper: a task that gathers changes, has the
//! balancer's own check look at a candidate, replaces the file with it in one step, and reloads the balancer. A file that the check
//! has refused does not stay, and what failed is tried again with a growing wait.
//!
//! The crate carries no traffic and decides nothing about replicas. It writes only files that were declared, and only when their text
//! has changed.
//!
//! ```
//! use external::{Server, Standing, Upstream, render};
//! use model::resource::{Balance, ExternalFormat, HashKey};
//!
//! let upstream = Upstream {
//!     service: "shop".to_owned(),
//!     name: "shop".to_owned(),
//!     http2: false,
//!     balance: Balance::RoundRobin,
//!     hash: HashKey::Address,
//!     servers: vec![Server {
//!         ordinal: Some(0),
//!         address: "127.0.0.1:40001".parse().unwrap(),
//!         standing: Standing::Serving { weight: 1 },
//!     }],
//! };
//! assert!(render(ExternalFormat::Nginx, &upstream).contains("server 127.0.0.1:40001 weight=1"));
//! ```

mod command;
mod connections;
mod file;
mod keeper;
mod keepers;
mod pace;
mod render;
mod upstream;

pub use connections::{Connections, ConnectionsError};
pub use keeper::{FileState, Kept, Trouble};
pub use keepers::{Applied, Keepers, Notice, Tell};
pub use render::render;
pub use upstream::{Server, Standing, Upstream};
