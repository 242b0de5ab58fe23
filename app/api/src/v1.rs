//! What goes over the wire under `/v1`: the JSON that scripts may rely on.
//!
//! A resource is `{apiVersion, kind, metadata, spec, status}`, a list is `{items: [...]}`. Times are RFC 3339 in UTC with
//! milliseconds; durations and sizes carry their unit in their name. Fields are added within `/v1`, never renamed or removed.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

mod decision;
pub use decision::{
    Evidence, History, KeptDecision, KeptSpan, MetricLevel, Prospect, Range, SampleCount, Tolerance, Trial,
    TrialHour, TrialPoint, TrialSide, Trials, WhyNot,
};

mod external_endpoints;
pub use external_endpoints::{ElsewhereEndpoint, PreferredZone};
mod recommendations;
pub use recommendations::{Advice, AdviceWorth, FieldChange, Recommendations};
mod forecast;
pub use forecast::{Ahead, Forecast, KnownEvent, LoadQuantile, ModelStanding, PastLoad, Season};

mod learned;
pub use learned::{Learned, RecordedLoad};

mod scaling;
pub use scaling::{
    AmountSpan, Capacity, LearnedCapacity, Recommendation, RecommendedAmount, ScalingDifference,
    ScalingStatus, ScalingTally, ShadowChange, ShadowExplanation, ShadowStatus,
};

mod traffic;
pub use traffic::{Latency, Version};

mod usage;
pub use usage::{Throttling, Usage};

/// A resource with its status.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Object<S> {
    /// The version of the API in which it is written.
    pub api_version: String,
    /// The kind of the resource.
    pub kind: String,
    /// Its name, and what people attach to it.
    pub metadata: Map<String, Value>,
    /// What is declared; empty for kinds that nobody declares.
    pub spec: Map<String, Value>,
    /// Its observed state.
    pub status: S,
}

impl<S> Object<S> {
    /// Its name; empty when its metadata has none, which does not occur in answers of Homeostat.
    pub fn name(&self) -> &str {
        self.metadata.get("name").and_then(Value::as_str).unwrap_or_default()
    }
}

/// Several of one kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct List<T> {
    /// In the order of their names; events oldest first.
    pub items: Vec<T>,
}

/// A service.
pub type Service = Object<ServiceStatus>;

/// A replica.
pub type Replica = Object<ReplicaStatus>;

/// A node.
pub type Node = Object<NodeStatus>;

/// A HorizontalPodAutoscaler.
pub type Autoscaler = Object<AutoscalerStatus>;

/// A route.
pub type Route = Object<RouteStatus>;

/// A source of a metric.
pub type MetricSource = Object<MetricSourceStatus>;

/// How the autoscalers of a service compare: the acting one, and those that are tried beside it.
pub type Scaling = Object<ScalingStatus>;

/// How a service is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceStatus {
    /// Replicas wanted; 0 before the first decision.
    pub desired_replicas: u32,
    /// Replicas that run and are meant to stay, without spares.
    pub replicas: u32,
    /// Those of them that answer requests.
    pub ready_replicas: u32,
    /// Warm spares that run.
    pub spare_replicas: u32,
    /// Grows with each change of the declaration.
    pub revision: u64,
    /// The revision in which what the replicas run last changed.
    pub generation: u64,
    /// The size that a person holds it at; absent when none does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    /// The pause of its autoscaler; absent when it is not paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<Pause>,
    /// What it serves now, summed over its replicas.
    pub traffic: Traffic,
    /// What its replicas use now, summed.
    pub usage: Usage,
    /// The recommended size of a replica; absent where nothing is learned of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recommendation: Option<Recommendation>,
    /// What a replica carries within what the service promises; absent where nothing is promised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<Capacity>,
    /// What the proxy does with its requests; absent for a service that is not exposed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Proxied>,
    /// The endpoints of `expose.endpoints`, in the order of their addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<ElsewhereEndpoint>,
    /// The zone that is preferred; absent where all endpoints are alike.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<PreferredZone>,
    /// The requests to each version over the proxy, oldest version first, including the latest of those that have no replicas any
    /// more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<Version>,
    /// The state of the balancers of `expose.external`, in the order of their files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub external: Vec<External>,
    /// `Available`, `Complete`, `Exposed`, `External`, `Healing`; first of a deleted one whose replicas are not gone yet, `Terminating`.
    pub conditions: Vec<Condition>,
}

impl ServiceStatus {
    /// Whether the service is deleted, and its replicas are not gone yet.
    pub fn is_terminating(&self) -> bool {
        self.conditions.iter().any(|condition| condition.kind == TERMINATING && condition.status == "True")
    }
}

/// The condition that only a deleted service has.
pub const TERMINATING: &str = "Terminating";

/// A size that a person asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hold {
    /// How many replicas.
    pub replicas: u32,
    /// When it ends by itself; null holds until released.
    pub until: Option<String>,
}

/// A time in which an autoscaler decides nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pause {
    /// When it ends by itself; null lasts until resumed.
    pub until: Option<String>,
}

/// What is served now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Traffic {
    /// Over the metric window; null without two samples in it.
    pub requests_per_second: Option<f64>,
    /// Failed requests a second: for a service those that its clients saw fail (answered 5xx by a replica or the proxy, or broken
    /// off), for a replica each attempt that it answered 5xx or not at all. Over two seconds; null without two samples in that
    /// time.
    pub errors_per_second: Option<f64>,
    /// Requests that are being answered.
    pub in_flight: u32,
    /// The 99th percentile of the last window; for a service that of its slowest replica; null without traffic.
    pub latency_p99_seconds: Option<f64>,
}

/// The state of a balancer of `expose.external`. Counts are since this process began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct External {
    /// `nginx` or `HAProxy`.
    pub format: String,
    /// Its file.
    pub file: String,
    /// Replicas that may get requests in the file that it loaded last.
    pub serving_replicas: u64,
    /// When the file was last written; null while this process has not.
    pub written_at: Option<String>,
    /// When it was last reloaded; null while this process has not.
    pub reloaded_at: Option<String>,
    /// How often it was reloaded.
    pub reloads: u64,
    /// How often the file could not be written, was refused by the check, or the reload failed.
    pub failures: u64,
    /// Why it does not have the present replicas; absent while it has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// What the proxy does with the requests of a service. Counts are since it began to listen for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Proxied {
    /// Requests that the proxy answered 503 itself.
    pub refused: Refused,
    /// Attempts that failed and were made again.
    pub retries: u64,
    /// Requests that were also sent to a second replica because the first took long.
    #[serde(default)]
    pub hedges: u64,
    /// Those of them that the second replica answered first.
    #[serde(default)]
    pub hedges_won: u64,
    /// Requests that wait now for a replica to become ready.
    pub waiting: u32,
    /// The datagrams over UDP, of which each session counts as a request; absent where `protocol` of the exposed port is not
    /// `udp`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datagrams: Option<Datagrams>,
    /// The adaptive limit; absent without `expose.limits.adaptive`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adaptive: Option<Adaptive>,
}

/// Datagrams between clients and the replicas of a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Datagrams {
    /// Those of clients.
    pub received: u64,
    /// Their bytes.
    pub bytes_received: u64,
    /// Those of replicas, to clients.
    pub sent: u64,
    /// Their bytes.
    pub bytes_sent: u64,
    /// Datagrams of either direction that were dropped: no replica was ready in time, there were as many sessions as allowed, or
    /// the system did not take them.
    pub dropped: u64,
    /// Addresses of clients with a session now.
    pub sessions: u32,
}

/// The adaptive limit of requests that wait for the head of an answer, found from how long answers take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Adaptive {
    /// The limit as of now.
    pub limit: u32,
    /// Requests that wait now.
    pub awaiting: u32,
    /// The best latency of the service, which the limit is derived from; null before it was measured.
    pub best_latency_seconds: Option<f64>,
}

/// Requests that the proxy answered 503 itself, by why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Refused {
    /// No replica became ready in time, or too many requests waited for one.
    pub no_replica: u64,
    /// As many requests were under way as `inFlight` or `inFlightPerReplica` of `expose.limits` allows.
    pub over_limit: u64,
    /// There were more requests than the service can answer in good time, by `expose.limits.adaptive`.
    #[serde(default)]
    pub shed: u64,
}

/// How the proxy sees a replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Endpoint {
    /// `Serving`, `SlowStart`, `Ejected`, `Draining` or `Out`.
    pub state: String,
    /// Why it does not get its whole share; null when it does.
    pub message: Option<String>,
}

/// A condition that holds or does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Condition {
    /// What is claimed, such as `Available`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// Why, in one word.
    pub reason: String,
    /// Why, for people.
    pub message: String,
    /// Since when; null when that is not known.
    pub since: Option<String>,
}

impl Condition {
    /// One of this status (`True`, `False` or `Unknown`), of which it is not known since when.
    pub(crate) fn new(kind: &str, status: &str, reason: &str, message: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            status: status.into(),
            reason: reason.into(),
            message: message.into(),
            since: None,
        }
    }

    /// One that holds or does not.
    pub(crate) fn claim(kind: &str, holds: bool, reason: &str, message: impl Into<String>) -> Self {
        Self::new(kind, if holds { "True" } else { "False" }, reason, message)
    }

    /// The same, since that time in words of RFC 3339.
    pub(crate) fn since(self, since: Option<String>) -> Self {
        Self { since, ..self }
    }
}

/// How a replica is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaStatus {
    /// The service that it belongs to.
    pub service: String,
    /// The node that it runs on; null while it runs nowhere.
    pub node: Option<String>,
    /// The number of its main process; null while none runs.
    pub pid: Option<u32>,
    /// The number of each of its ports.
    pub ports: BTreeMap<String, u16>,
    /// `Pending`, `Backoff`, `Starting`, `Running`, `Unhealthy`, `Draining` or `Stopping`.
    pub phase: String,
    /// Whether it answers requests, or would if it were not a spare.
    pub ready: bool,
    /// Restarts: starts after the first, over all lives of its place.
    pub restarts: u32,
    /// When its program began to execute; null while none runs.
    pub started_at: Option<String>,
    /// `active` or `spare`.
    pub role: String,
    /// The number of its life in its place.
    pub incarnation: u32,
    /// The generation of the service that it runs.
    pub generation: u64,
    /// Whether it was running already when Homeostat started.
    pub adopted: bool,
    /// Until when it is protected from removal when its service shrinks; absent when it is not protected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protected_until: Option<String>,
    /// What it waits for, how it ended, or why its probe fails; null when there is nothing to say.
    pub message: Option<String>,
    /// How the proxy sees it; absent when its service is not exposed and while nothing runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Endpoint>,
    /// What it serves now.
    pub traffic: Traffic,
    /// What it uses now.
    pub usage: Usage,
    /// How its processor quota has throttled it; absent without a quota.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttling: Option<Throttling>,
}

/// How a node is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    /// Whether the loop has seen what runs there.
    pub ready: bool,
    /// Replicas that run there.
    pub replicas: u32,
    /// Which limits can be enforced there, by name: null when fully, else what is missing and why.
    pub capabilities: BTreeMap<String, Option<String>>,
}

/// How a HorizontalPodAutoscaler is, in Kubernetes' words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AutoscalerStatus {
    /// The present replicas of its target.
    pub current_replicas: u32,
    /// The wanted replicas of its target.
    pub desired_replicas: u32,
    /// `AbleToScale`, `ScalingActive`, `ScalingLimited` and, while they hold, `ExternalMetricFallbackActive` and `ScaledToZero`; empty
    /// before the first decision.
    pub conditions: Vec<AutoscalerCondition>,
    /// What each metric said last; empty before the first decision.
    pub current_metrics: Vec<AutoscalerMetric>,
}

/// The last value of a metric of a HorizontalPodAutoscaler, in Kubernetes' fields beside Homeostat's own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AutoscalerMetric {
    /// What it said.
    #[serde(flatten)]
    pub said: Metric,
    /// A `MetricStatus` of `autoscaling/v2`: its `type`, and below the word for that what is measured, and as `current` the
    /// `averageUtilization`, `averageValue` or `value`, whichever is aimed at; without `current` when nothing was measured.
    #[serde(flatten)]
    pub status: serde_json::Map<String, serde_json::Value>,
}

/// A condition of a HorizontalPodAutoscaler, with the time in Kubernetes' field beside Homeostat's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AutoscalerCondition {
    /// The condition.
    #[serde(flatten)]
    pub condition: Condition,
    /// When its status last changed: the same as `since`.
    pub last_transition_time: Option<String>,
}

/// How a route is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteStatus {
    /// Where the proxy listens for it; null while it does not.
    pub address: Option<String>,
    /// Requests a second that it matched, over the last two seconds; null without two samples in that time.
    pub requests_per_second: Option<f64>,
    /// Requests that it matched since the proxy follows it.
    pub requests: u64,
    /// Its answers by class of status, such as `2xx`.
    pub responses: BTreeMap<String, u64>,
    /// How long its answers took; absent without any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    /// Requests answered 429 because there were too many in too short a time.
    pub over_rate: u64,
    /// Copies that were sent by its mirrors.
    pub copies: u64,
    /// Copies that were not sent: the body was too long or did not come in time, or too many were under way.
    pub copies_left_out: u64,
    /// `Programmed`, whether the proxy follows it; `ResolvedRefs`, whether every service that it leads to is there.
    pub conditions: Vec<Condition>,
}

/// Everything about one route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RouteDescription {
    /// The route.
    pub route: Route,
    /// The services that it leads to, rule by rule.
    pub backends: Vec<RouteBackend>,
}

/// How a source of a metric is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MetricSourceStatus {
    /// The sum of the series that it measured last; for replicas their mean. Null before the first measurement, and when there
    /// was nothing to measure.
    pub value: Option<f64>,
    /// The series that it measured last, or the replicas that answered.
    pub series: usize,
    /// When it measured last; null before.
    pub measured_at: Option<String>,
    /// Why the latest failed measurement failed; null when none has failed.
    pub last_error: Option<String>,
    /// When that was.
    pub last_error_at: Option<String>,
    /// `Measuring`: whether its latest measurement can be used.
    pub conditions: Vec<Condition>,
}

/// Everything about one source of a metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MetricSourceDescription {
    /// The source.
    pub source: MetricSource,
    /// What it measured last, the first 100 series or replicas.
    pub readings: Vec<MetricReading>,
    /// The services that are scaled by it.
    pub services: Vec<String>,
}

/// One number that a source measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MetricReading {
    /// The replica that it belongs to; absent when it belongs to none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica: Option<String>,
    /// The labels of the series.
    pub labels: BTreeMap<String, String>,
    /// Its value; null when the replica could not be asked.
    pub value: Option<f64>,
    /// Why it could not; null when it could.
    pub message: Option<String>,
}

/// A service behind a rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteBackend {
    /// Which rule, from 0.
    pub rule: usize,
    /// The service.
    pub service: String,
    /// The port of it that the rule names; absent where that is left to the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// Its share of the rule's requests, 0 to 1; null where it gets copies only.
    pub share: Option<f64>,
    /// Its replicas that answer requests; null when there is no such service.
    pub ready_replicas: Option<u32>,
}

/// What one metric said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Metric {
    /// Such as `cpu` or `http_requests_per_second`.
    pub name: String,
    /// What was measured, with its unit.
    pub current: String,
    /// What is aimed at, with its unit.
    pub target: String,
    /// Measured ÷ aimed at; null when nothing was measured.
    pub ratio: Option<f64>,
    /// Replicas that it asks for; null when it cannot say.
    pub proposal: Option<u32>,
    /// Which replicas' samples counted; null for a metric that is not one of replicas.
    #[serde(default)]
    pub samples: Option<SampleCount>,
    /// The arithmetic, or why there is none.
    pub note: String,
}

/// A step that changed the number after the metrics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Limit {
    /// Which limit, such as `ScaleDownStabilized`.
    pub name: String,
    /// Replicas before it.
    pub from: u32,
    /// Replicas after it.
    pub to: u32,
    /// Its numbers in a sentence.
    pub note: String,
}

/// The last scaling decision of a service, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// What was decided on, as `service/NAME`.
    pub target: String,
    /// When it was decided.
    pub at: String,
    /// Replicas wanted from then on.
    pub desired: u32,
    /// Replicas wanted before.
    pub previous: u32,
    /// `fixed`, `schedule`, `hold`, `off`, `paused`, `toZero` or `hpa`.
    pub policy: String,
    /// What each metric said; empty when none was asked.
    pub metrics: Vec<Metric>,
    /// How far a ratio may be from 1 without a change; null when no ratio was taken.
    #[serde(default)]
    pub tolerance: Option<Tolerance>,
    /// What changed the number after the metrics, in order.
    pub limits: Vec<Limit>,
    /// Earlier recommendations and changes that cause those limits, latest first, at most 8.
    #[serde(default)]
    pub evidence: Vec<Evidence>,
    /// What the guard refuses; null when nothing.
    pub guard: Option<String>,
    /// What would have to change for another outcome.
    #[serde(default)]
    pub prospects: Vec<Prospect>,
    /// Why not what `whyNot` asks about; null when nothing was asked.
    #[serde(default)]
    pub why_not: Option<WhyNot>,
    /// Why, from the first cause to the last.
    pub reasons: Vec<DecisionReason>,
    /// What is not done yet, and why not.
    pub waits: Vec<Wait>,
    /// The last changes of size, oldest first.
    pub changes: Vec<SizeChange>,
    /// For a decision from the history: for how long and how often the same was decided; null for one from the journal, and for
    /// the last.
    #[serde(default)]
    pub kept: Option<KeptSpan>,
    /// The decision in one sentence.
    pub summary: String,
    /// The decision on the size of a replica, in a sentence; null where nothing is learned of it, and for decisions from the
    /// history.
    #[serde(default)]
    pub size_of_replica: Option<String>,
    /// What the shadow autoscalers would have decided; absent when there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shadows: Vec<ShadowExplanation>,
}

/// One cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Because")]
pub struct DecisionReason {
    /// The metric, the limit, or `summary`.
    pub code: String,
    /// For people.
    pub message: String,
}

/// Something that is not done yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Wait {
    /// Which replica waits; null when the service as a whole does.
    pub replica: Option<String>,
    /// Why.
    pub message: String,
}

/// A change of size that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SizeChange {
    /// When.
    pub at: String,
    /// Why.
    pub message: String,
}

/// Something that happened, or was left undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// Its unique name: the run in which it was told and its number there, such as `12-3`.
    pub id: String,
    /// When.
    pub at: String,
    /// `Normal` or `Warning`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What, in one word, such as `Scaled`.
    pub reason: String,
    /// The service concerned.
    pub service: String,
    /// The replica concerned; null when the service as a whole is.
    pub replica: Option<String>,
    /// Why, for people.
    pub message: String,
}

/// Everything about one service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Description {
    /// The service.
    pub service: Service,
    /// The HorizontalPodAutoscaler that targets it; null when none does.
    pub autoscaler: Option<Autoscaler>,
    /// Its replicas.
    pub replicas: Vec<Replica>,
    /// The last decision; null before the first.
    pub explanation: Option<Explanation>,
    /// What happened to it lately, oldest first.
    pub events: Vec<Event>,
}

/// The result of an apply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Applied {
    /// Whether it was a dry run, so that nothing was kept.
    pub dry_run: bool,
    /// Each resource, in the order given.
    pub items: Vec<AppliedItem>,
}

/// The result for one resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AppliedItem {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// `created`, `configured`, `unchanged` or `deleted`.
    pub change: String,
    /// Warnings: what is wrong with it but did not keep it from being applied; for what is deleted, what other resources lack
    /// from then on. Absent when there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Asks to hold a service at a size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScaleRequest {
    /// How many replicas.
    pub replicas: u32,
    /// How long, such as `10m`; not with `until`. Without either it is held until released.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub lasting: Option<String>,
    /// Until when, RFC 3339; not with `for`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

/// How a service is held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Scaled {
    /// As `service/NAME`.
    pub target: String,
    /// The hold; null when the service sizes itself.
    pub hold: Option<Hold>,
}

/// Asks for something that lasts for a time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Lasting")]
pub struct DurationRequest {
    /// How long, such as `2h`; not with `until`.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub lasting: Option<String>,
    /// Until when, RFC 3339; not with `for`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

/// Whether the autoscaler of a service is paused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Paused {
    /// As `service/NAME`.
    pub target: String,
    /// The pause; null when the autoscaler decides.
    pub pause: Option<Pause>,
}

/// Whether a replica is protected from being removed when its service shrinks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Protected {
    /// As `replica/NAME`.
    pub target: String,
    /// Until when; null when it may be removed.
    pub protected_until: Option<String>,
}

/// One change that a watcher is told of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Change<T> {
    /// `added`, `modified` or `deleted`.
    #[serde(rename = "type")]
    pub kind: ChangeKind,
    /// The resource as it is now; a deleted one as it was last.
    pub object: T,
}

/// What a watcher is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// It was created; also sent for everything that is there when a watch begins.
    Added,
    /// It has changed.
    Modified,
    /// It was deleted.
    Deleted,
}

/// Why a request was not answered as asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Failure {
    /// One sentence: what was attempted, on what, why it failed, what to try.
    pub error: String,
    /// The error code, which names its page in docs/errors.
    pub code: String,
    /// The problems with what was sent, one by one; empty when there is nothing to point at.
    #[serde(default)]
    pub problems: Vec<Problem>,
}

/// One thing that is wrong with what was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// Dotted path of the field in its resource; empty for the resource as a whole.
    pub path: String,
    /// What is wrong and what would be right.
    pub message: String,
    /// Line in the body, from 1; null when it is not about a line.
    #[serde(default)]
    pub line: Option<usize>,
    /// Column in that line, from 1.
    #[serde(default)]
    pub column: Option<usize>,
}
