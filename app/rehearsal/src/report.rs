//! The result of a rehearsal, in the form that scripts read.

use serde::Serialize;

/// Points of time that are kept of a service at most; the time between them grows with the rehearsal.
///
/// 2,000: more than a page or a terminal can show.
pub const SAMPLES_MAX: u32 = 2_000;

/// Events that are kept at most, the first ones; as many as a running Homeostat keeps.
pub const EVENTS_MAX: usize = 10_000;

/// The result of a rehearsal.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rehearsal {
    /// How long it was, in simulated seconds.
    pub seconds: f64,
    /// The seed that it grew from.
    pub seed: u64,
    /// Steps that the loop has taken.
    pub steps: u64,
    /// The services, by name.
    pub services: Vec<ServiceReport>,
    /// The events of the loop, oldest first.
    pub events: Vec<LoopEvent>,
    /// Events beyond [`EVENTS_MAX`].
    pub events_left_out: u64,
}

/// The report on one service.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceReport {
    /// Its name.
    pub name: String,
    /// The outcome of its requests.
    pub requests: Requests,
    /// Replicas that ran, times how long, in seconds.
    pub replica_seconds: f64,
    /// Fewest replicas that could be asked at once.
    pub ready_min: u32,
    /// Most replicas that could be asked at once.
    pub ready_max: u32,
    /// How often the number wanted changed.
    pub actions: u32,
    /// Replicas started, those before the beginning included.
    pub starts: u32,
    /// Replicas that ended by themselves.
    pub failures: u32,
    /// Most requests that waited for its replicas or were being answered, all together.
    pub in_flight_max: u64,
    /// Its state over time, in equal steps.
    pub samples: Vec<Sample>,
}

/// The outcome of requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Requests {
    /// Those that came.
    pub asked: u64,
    /// Those that came while no replica was ready, or nothing listened: Homeostat was down, or does not expose the service.
    pub unanswered: u64,
    /// Those that a replica had, which ended by itself or was stopped before it had answered.
    pub lost: u64,
    /// Those that were turned away, because too many waited.
    pub refused: u64,
}

/// One moment of a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sample {
    /// Since the beginning.
    pub at_seconds: f64,
    /// Requests a second that are asked for.
    pub load: f64,
    /// Replicas that are wanted; 0 before the first decision.
    pub desired: u32,
    /// Replicas that run.
    pub running: u32,
    /// Replicas that can be asked.
    pub ready: u32,
}

/// An event of the loop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LoopEvent {
    /// Since requests began to come: hours, minutes, seconds, thousandths; negative before.
    pub at: String,
    /// Of which service.
    pub service: String,
    /// Of which of its replicas, where it is of one.
    pub replica: Option<String>,
    /// What, as `homeostat events` names it.
    pub kind: String,
    /// Whether it tells of trouble.
    pub is_warning: bool,
    /// Why.
    pub reason: String,
}

impl Requests {
    /// Those that got no answer.
    pub fn failed(&self) -> u64 {
        self.unanswered + self.lost + self.refused
    }
}
