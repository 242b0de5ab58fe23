//! Startup, readiness and liveness probes of replicas, by HTTP, TCP, gRPC or a command.
//!
//! [`ask()`] probes once. [`Prober`] probes one life as often as declared, and reports whenever the answers change what the probes
//! say, by the thresholds in [`ProbeState`]. The crate restarts nothing and routes nothing.

mod prober;
mod thresholds;

mod ask;
mod grpc;

pub use ask::{Answer, Failure, Replica, RunBeside, ask};
pub use prober::{Prober, Told};
pub use thresholds::{ProbeKind, ProbeState};
