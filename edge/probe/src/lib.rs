//! Startup, readiness and liveness probes of replicas, by HTTP, TCP, gRPC or a command.
//!
//! [`run_check`] checks once. [`Prober`] probes one replica as often as declared, and reports whenever its status changes by the
//! thresholds in [`ProbeState`]. The crate restarts nothing and routes nothing.

mod prober;
mod thresholds;

mod check;
mod exchange;
mod failure;
mod grpc;
mod http;

pub use check::{Replica, RunBeside, run_check};
pub use failure::{CheckResult, Failure};
pub use prober::{ProbeStatus, Prober};
pub use thresholds::{ProbeKind, ProbeState};
