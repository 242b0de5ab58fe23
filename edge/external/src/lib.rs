//! Keeps balancers of other makers told of the replicas of a service, by the files that they read.
//!
//! What is to be in a file is a pure function of the replicas ([`render()`]). Each file has a keeper: a task that gathers changes, lets the
//! balancer's own check look at a candidate, puts that in the file's place in one step, and reloads the balancer. What a check refuses never
//! stays in the file's place, and what failed is tried again with a growing wait.
//!
//! It moves no request and decides nothing about replicas; and it never writes what was not declared, nor what is there already.
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
