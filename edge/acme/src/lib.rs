//! Obtains certificates from ACME authorities (RFC 8555), keeps them in files, and renews them.
//!
//! Each declared certificate has a task. It orders the certificate when there is none or its renewal is due, and writes key and chain into
//! one file, in one step. A failed order is tried again after a growing wait with jitter ([`pace`]). The authority wants a proof that we
//! control a host; [`Show`] hands that to whoever listens for the host.
//!
//! The crate listens nowhere, decides nothing about services, and lets nobody but the owner of the folder read a key. The protocol,
//! with its signatures and nonces, is that of `instant-acme`; the connections are rustls and hyper.
//!
//! ```no_run
//! # fn example(declared: &model::resource::Acme) {
//! use std::sync::Arc;
//!
//! use acme::Keeper;
//!
//! let runtime = tokio::runtime::Handle::current();
//! let keeper = Keeper::new("/var/lib/homeostat/acme".into(), runtime, Arc::new(|_host, _proof| {}));
//! keeper.set("service/shop", std::slice::from_ref(declared));
//! let file = keeper.file(declared);
//! # }
//! ```

mod account;
mod ask;
mod failure;
mod issue;
mod keeper;
mod pace;
mod place;

pub use ask::check;
pub use failure::Failure;
pub use issue::{Proof, Show};
pub use keeper::{Keeper, Standing};
