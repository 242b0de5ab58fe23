//! What a client of a bench reports of one run, whichever program it is.

/// The report of one run of a closed-loop client.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct ClientReport {
    /// Requests that were answered.
    pub(super) requests: u64,
    pub(super) per_second: f64,
    /// Latencies in seconds.
    pub(super) p50: f64,
    pub(super) p99: f64,
    /// Requests without an answer, or with one that reports a failure.
    pub(super) failed: u64,
}
