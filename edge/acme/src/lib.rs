//! Asks authorities for certificates by ACME (RFC 8555), keeps them in files, and renews them.
//!
//! Each declared certificate has a task: it asks when there is none or the time of renewal has come, and puts chain and key into one file in one
//! step, where those who speak TLS look. What fails is tried again with a growing, jittered wait ([`pace`]). An authority wants to be shown that a
//! host is ours; what is to be shown is handed to the one who listens there ([`Show`]).
//!
//! It listens nowhere, decides nothing about services, and lets nobody but the owner of the folder read a key. The protocol itself, its
//! signatures and its nonces, is `instant-acme`'s; the connection is rustls and hyper, as everywhere in the house.
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
