//! Obtains certificates from ACME authorities (RFC 8555), keeps them in files, and renews them.
//!
//! Each declared certificate has a task. It orders the certificate when there is none or its renewal is due, and writes key and chain
//! into one file atomically. A failed order is retried with backoff and jitter ([`schedule`]). The authority validates a proof of
//! control over each host; [`PublishProof`] passes the proof to the listener of the host.
//!
//! The crate opens no listener, decides nothing about services, and makes keys readable only for the owner of the folder. The protocol,
//! with its signatures and nonces, is implemented by `instant-acme`; connections use rustls and hyper.
//!
//! ```no_run
//! # fn example(declared: &model::resource::Acme) {
//! use std::sync::Arc;
//!
//! use acme::Renewer;
//!
//! let runtime = tokio::runtime::Handle::current();
//! let renewer = Renewer::new("/var/lib/homeostat/acme".into(), runtime, Arc::new(|_host, _proof| {}));
//! renewer.set("service/shop", std::slice::from_ref(declared));
//! let file = renewer.file(declared);
//! # }
//! ```

mod account;
mod failure;
mod files;
mod http_client;
mod issue;
mod renewer;
mod schedule;

pub use failure::Failure;
pub use http_client::check;
pub use issue::{Proof, PublishProof};
pub use renewer::{IssuanceStatus, Renewer};
