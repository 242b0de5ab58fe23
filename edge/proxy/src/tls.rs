//! TLS towards clients: which certificate they are shown, and how a connection comes to it.
//!
//! TLS 1.2 and 1.3 by rustls with ring. Sessions are resumed by tickets whose keys live in memory alone and are new with every new
//! set of certificates, so that what begins after a change meets the new ones.

mod certificate;
mod challenge;
mod handshake;
mod terminator;
pub(crate) mod watch;

pub use certificate::TlsError;
pub use challenge::Challenge;
pub(crate) use challenge::{ACME_TLS, Challenges};
pub(crate) use handshake::accept;
pub use terminator::{CertificateState, TlsState, check};
pub(crate) use terminator::{HTTP_2, Terminator};
