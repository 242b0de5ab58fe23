//! The result of a rehearsal, as `homeostat rehearse -o json` prints it.

use serde::Serialize;

/// Most samples of a service; the interval between them grows with the length of the rehearsal.
///
/// 2,000: more than a page or a terminal can show.
pub const SAMPLES_MAX: u32 = 2_000;

/// Most events in the result, the first ones; as many as a running Homeostat keeps.
pub const EVENTS_MAX: usize = 10_000;

/// The result of a rehearsal.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rehearsal {
    /// Its length in simulated seconds.
    pub seconds: f64,
    /// The seed of the random numbers.
    pub seed: u64,
    /// Steps of the control loop.
    pub steps: u64,
    /// The services, by name.
    pub services: Vec<ServiceReport>,
    /// The events of the loop, oldest first.
    pub events: Vec<LoopEvent>,
    /// Events beyond [`EVENTS_MAX`].
    pub events_left_out: u64,
    /// The scheduled faults that had no effect, by time.
    pub missed_faults: Vec<MissedFault>,
}

/// A scheduled fault that had no effect because its target did not run at that time.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MissedFault {
    /// Simulated seconds since requests began.
    pub at_seconds: f64,
    /// The name of the replica, or `homeostat`.
    pub target: String,
}

/// The report on one service.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceReport {
    /// Its name.
    pub name: String,
    /// The outcome of its requests.
    pub requests: Requests,
    /// Running replicas integrated over time, in replica-seconds.
    pub replica_seconds: f64,
    /// Fewest replicas that were ready at the same time.
    pub ready_min: u32,
    /// Most replicas that were ready at the same time.
    pub ready_max: u32,
    /// Changes of the desired number of replicas.
    pub actions: u32,
    /// Replicas started, including those before requests began.
    pub starts: u32,
    /// Replicas whose process exited without being stopped.
    pub failures: u32,
    /// Most requests in flight or queued at the same time, over all replicas.
    pub in_flight_max: u64,
    /// Its state over time, at equal intervals.
    pub samples: Vec<Sample>,
}

/// The outcome of requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Requests {
    /// All that were sent.
    pub asked: u64,
    /// Sent while no replica was ready or nothing listened: Homeostat was down, or does not expose the service.
    pub unanswered: u64,
    /// Accepted by a replica that exited or was stopped before it had answered.
    pub lost: u64,
    /// Refused because the queue was full.
    pub refused: u64,
}

/// The state of a service at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sample {
    /// Simulated seconds since requests began.
    pub at_seconds: f64,
    /// Requests a second.
    pub load: f64,
    /// Desired replicas; 0 before the first decision.
    pub desired: u32,
    /// Running replicas.
    pub running: u32,
    /// Ready replicas.
    pub ready: u32,
}

/// An event of the loop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LoopEvent {
    /// Time since requests began, as hours:minutes:seconds.milliseconds; negative before.
    pub at: String,
    /// The service.
    pub service: String,
    /// The replica, for events of a single replica.
    pub replica: Option<String>,
    /// The kind of the event, as `homeostat events` names it.
    pub kind: String,
    /// Whether it is a warning.
    pub is_warning: bool,
    /// The reason.
    pub reason: String,
}

impl Requests {
    /// Requests without an answer.
    pub fn failed(&self) -> u64 {
        self.unanswered + self.lost + self.refused
    }
}
