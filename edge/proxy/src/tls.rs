//! TLS towards clients: handshakes and certificates.
//!
//! TLS 1.2 and 1.3 by rustls with ring. Sessions are resumed by tickets, whose keys are kept only in memory and are new with every set of
//! certificates, so that every connection after a change sees the new ones.

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
