//! Asks replicas how they are: HTTP, TCP, gRPC and command probes.
//!
//! [`ask()`] is one question. [`Prober`] asks one life again and again, as declared, and tells whenever the answers change what
//! they mean; the thresholds are those of [`ProbeState`]. It restarts nothing and routes nothing.

mod thresholds;

mod ask;
mod grpc;
mod prober;

pub use ask::{Answer, Failure, Replica, RunBeside, ask};
pub use prober::{Prober, Told};
pub use thresholds::{ProbeKind, ProbeState};
