//! The JSON types of `/v1`: a stable interface for scripts and generated clients.
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
pub use traffic::{Latency, RequestCounts, Version};

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
    /// The name, labels and annotations of the resource.
    pub metadata: Map<String, Value>,
    /// The declaration; empty for kinds that are not declared, such as replicas and nodes.
    pub spec: Map<String, Value>,
    /// The observed state.
    pub status: S,
}

impl<S> Object<S> {
    /// The name; empty when the metadata has none, which does not occur in responses of this server.
    pub fn name(&self) -> &str {
        self.metadata.get("name").and_then(Value::as_str).unwrap_or_default()
    }
}

/// A list of objects of one kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct List<T> {
    /// The objects, sorted by name; events from oldest to newest.
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

/// The comparison of the autoscalers of a service: the acting one and its shadows.
pub type Scaling = Object<ScalingStatus>;

/// The status of a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceStatus {
    /// The number of replicas wanted; 0 before the first decision.
    pub desired_replicas: u32,
    /// The number of running replicas that are meant to stay, without spares.
    pub replicas: u32,
    /// The number of these that are ready to serve requests.
    pub ready_replicas: u32,
    /// The number of running warm spares.
    pub spare_replicas: u32,
    /// The revision of the declaration: it grows with each change.
    pub revision: u64,
    /// The revision that last changed what the replicas run.
    pub generation: u64,
    /// The manual hold on its size; absent when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    /// The pause of its autoscaler; absent when it is not paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<Pause>,
    /// Its current traffic, summed over its replicas.
    pub traffic: Traffic,
    /// The current resource usage, summed over its replicas.
    pub usage: Usage,
    /// The recommended resources of a replica; absent when resource usage is not learned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recommendation: Option<Recommendation>,
    /// The load that one replica carries within the SLO; absent without an SLO.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<Capacity>,
    /// The proxy's counters; absent for a service that is not exposed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Proxied>,
    /// The endpoints of `expose.endpoints`, sorted by address.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<ElsewhereEndpoint>,
    /// The preferred zone; absent when no zone is preferred.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<PreferredZone>,
    /// Traffic over the proxy by version, oldest version first; includes the latest versions that no longer have replicas.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<Version>,
    /// The state of the external balancers of `expose.external`, sorted by file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub external: Vec<External>,
    /// `Available`, `Complete`, `Exposed`, `External` and `Healing`; `Terminating` comes first on a deleted service that still has replicas.
    pub conditions: Vec<Condition>,
}

impl ServiceStatus {
    /// Whether the service is deleted but still has replicas.
    pub fn is_terminating(&self) -> bool {
        self.conditions.iter().any(|condition| condition.kind == TERMINATING && condition.status == "True")
    }
}

/// The condition that only a deleted service has.
pub const TERMINATING: &str = "Terminating";

/// A manual hold on the size of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hold {
    /// The number of replicas.
    pub replicas: u32,
    /// When the hold ends; null for one that lasts until it is released.
    pub until: Option<String>,
}

/// A pause of an autoscaler, during which it makes no decisions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pause {
    /// When the pause ends; null for one that lasts until it is resumed.
    pub until: Option<String>,
}

/// The current traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Traffic {
    /// Requests per second over the metric window; null with fewer than two samples in it.
    pub requests_per_second: Option<f64>,
    /// Failed requests per second. For a service: requests that failed for the client (5xx from a replica or the proxy, or aborted).
    /// For a replica: attempts that it answered with 5xx or not at all. Measured over two seconds; null with fewer than two samples.
    pub errors_per_second: Option<f64>,
    /// Requests in flight.
    pub in_flight: u32,
    /// The 99th percentile of latency in the last window; for a service, that of its slowest replica. Null without traffic.
    pub latency_p99_seconds: Option<f64>,
}

/// The state of an external balancer of `expose.external`. Counters start at 0 with this process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct External {
    /// `nginx` or `HAProxy`.
    pub format: String,
    /// The path of its configuration file.
    pub file: String,
    /// The number of serving replicas in the configuration that it last loaded.
    pub serving_replicas: u64,
    /// When the file was last written; null if not by this process.
    pub written_at: Option<String>,
    /// When the balancer was last reloaded; null if not by this process.
    pub reloaded_at: Option<String>,
    /// The number of reloads.
    pub reloads: u64,
    /// The number of failures: the file could not be written, the check rejected it, or the reload failed.
    pub failures: u64,
    /// Why it does not route to the current replicas; absent when it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// The proxy's counters of a service. They start at 0 when the proxy begins to listen for it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Proxied {
    /// Its requests.
    #[serde(flatten)]
    pub counts: RequestCounts,
    /// Requests that the proxy itself answered with 503.
    pub refused: Refused,
    /// Hedged requests: also sent to a second replica because the first was slow.
    #[serde(default)]
    pub hedges: u64,
    /// Hedged requests that the second replica answered first.
    #[serde(default)]
    pub hedges_won: u64,
    /// Requests that are waiting for a replica to become ready.
    pub waiting: u32,
    /// UDP datagrams; absent unless the exposed port has `protocol: udp`. A UDP session counts as one request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datagrams: Option<Datagrams>,
    /// The adaptive concurrency limit; absent without `expose.limits.adaptive`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adaptive: Option<Adaptive>,
}

/// Datagrams between clients and the replicas of a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Datagrams {
    /// Datagrams received from clients.
    pub received: u64,
    /// Bytes received from clients.
    pub bytes_received: u64,
    /// Datagrams sent to clients.
    pub sent: u64,
    /// Bytes sent to clients.
    pub bytes_sent: u64,
    /// Datagrams dropped in either direction: no replica was ready in time, the session limit was reached, or the kernel did
    /// not accept them.
    pub dropped: u64,
    /// Open sessions, one per client address.
    pub sessions: u32,
}

/// The adaptive concurrency limit: how many requests may wait for response headers, derived from observed latency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Adaptive {
    /// The current limit.
    pub limit: u32,
    /// Requests that are waiting for response headers.
    pub awaiting: u32,
    /// The best latency of the service, from which the limit is derived; null before it is measured.
    pub best_latency_seconds: Option<f64>,
}

/// Requests that the proxy itself answered with 503, by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Refused {
    /// No replica became ready in time, or too many requests were waiting for one.
    pub no_replica: u64,
    /// The limit `inFlight` or `inFlightPerReplica` of `expose.limits` was reached.
    pub over_limit: u64,
    /// Load was shed by the adaptive limit of `expose.limits.adaptive`.
    #[serde(default)]
    pub shed: u64,
}

/// The state of a replica in the proxy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Endpoint {
    /// `Serving`, `SlowStart`, `Ejected`, `Draining` or `Out`.
    pub state: String,
    /// Why it gets less than its full share of requests; null when it gets all of it.
    pub message: Option<String>,
    /// The requests of its current incarnation.
    #[serde(flatten)]
    pub counts: RequestCounts,
}

/// A condition of a resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Condition {
    /// The type of the condition, such as `Available`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// The reason as a CamelCase identifier.
    pub reason: String,
    /// The reason in plain text.
    pub message: String,
    /// When the status last changed; null when unknown.
    pub since: Option<String>,
}

impl Condition {
    /// A condition of this status (`True`, `False` or `Unknown`), without the time of its last change.
    pub(crate) fn new(kind: &str, status: &str, reason: &str, message: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            status: status.into(),
            reason: reason.into(),
            message: message.into(),
            since: None,
        }
    }

    /// A condition that is either true or false.
    pub(crate) fn of_bool(kind: &str, is_true: bool, reason: &str, message: impl Into<String>) -> Self {
        Self::new(kind, if is_true { "True" } else { "False" }, reason, message)
    }

    /// The same condition with the time of its last change, in RFC 3339.
    pub(crate) fn since(self, since: Option<String>) -> Self {
        Self { since, ..self }
    }
}

/// The status of a replica.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaStatus {
    /// The service of the replica.
    pub service: String,
    /// The node that it runs on; null while it does not run.
    pub node: Option<String>,
    /// The process ID of its main process; null while it does not run.
    pub pid: Option<u32>,
    /// Its port numbers by port name.
    pub ports: BTreeMap<String, u16>,
    /// `Pending`, `Backoff`, `Starting`, `Running`, `Unhealthy`, `Draining` or `Stopping`.
    pub phase: String,
    /// Whether it is ready to serve requests; a ready spare gets requests only once it is activated.
    pub ready: bool,
    /// The number of restarts: how often a replica ran in this place after one of the same version had run. Starts that failed do not count,
    /// nor do the first starts of other versions.
    pub restarts: u32,
    /// When its process was started; null while it does not run.
    pub started_at: Option<String>,
    /// `active` or `spare`.
    pub role: String,
    /// The incarnation of the replica: it grows with each start.
    pub incarnation: u32,
    /// The generation of the service that it runs.
    pub generation: u64,
    /// Whether it was already running when Homeostat started.
    pub adopted: bool,
    /// Until when it is protected from removal by scale-in; absent when it is not protected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protected_until: Option<String>,
    /// What it waits for, how it ended, or why its probe fails; null when none of these applies.
    pub message: Option<String>,
    /// Its state in the proxy; absent when its service is not exposed, and while it does not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Endpoint>,
    /// Its current traffic.
    pub traffic: Traffic,
    /// Its current resource usage.
    pub usage: Usage,
    /// Throttling by its CPU limit; absent without a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttling: Option<Throttling>,
}

/// The status of a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    /// Whether the control loop has received an inventory of the node.
    pub ready: bool,
    /// The number of replicas that run on the node.
    pub replicas: u32,
    /// The capabilities of the node, by name: null when fully supported, else what is missing and why.
    pub capabilities: BTreeMap<String, Option<String>>,
}

/// The status of a HorizontalPodAutoscaler, in the terms of Kubernetes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AutoscalerStatus {
    /// The current number of replicas of its target.
    pub current_replicas: u32,
    /// The number of replicas of its target that are wanted.
    pub desired_replicas: u32,
    /// `AbleToScale`, `ScalingActive` and `ScalingLimited`; `ExternalMetricFallbackActive` and `ScaledToZero` only while true. Empty
    /// before the first decision.
    pub conditions: Vec<AutoscalerCondition>,
    /// The latest value of each metric; empty before the first decision.
    pub current_metrics: Vec<AutoscalerMetric>,
}

/// The latest value of a metric of a HorizontalPodAutoscaler, in the fields of Kubernetes beside those of Homeostat.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AutoscalerMetric {
    /// The evaluation of the metric.
    #[serde(flatten)]
    pub metric: Metric,
    /// A `MetricStatus` of `autoscaling/v2`: its `type`, and under the key of that type the measured object and its `current` value
    /// (`averageUtilization`, `averageValue` or `value`, like the target). `current` is absent when nothing was measured.
    #[serde(flatten)]
    pub status: serde_json::Map<String, serde_json::Value>,
}

/// A condition of a HorizontalPodAutoscaler, with the time in the field of Kubernetes as well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AutoscalerCondition {
    /// The condition.
    #[serde(flatten)]
    pub condition: Condition,
    /// When the status last changed; the same as `since`.
    pub last_transition_time: Option<String>,
}

/// The status of a route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteStatus {
    /// The address on which the proxy listens for it; null while it does not listen.
    pub address: Option<String>,
    /// Requests per second that matched the route, over the last two seconds; null with fewer than two samples.
    pub requests_per_second: Option<f64>,
    /// Requests that matched the route since it was programmed.
    pub requests: u64,
    /// Responses by status class, such as `2xx`.
    pub responses: BTreeMap<String, u64>,
    /// The latency of responses; absent without any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    /// Requests answered with 429 because they exceeded the rate limit.
    pub over_rate: u64,
    /// Mirrored requests that were sent.
    pub copies: u64,
    /// Mirrored requests that were not sent: the body was too long or too slow, or too many were in flight.
    pub copies_left_out: u64,
    /// `Programmed`: whether the proxy applies the route. `ResolvedRefs`: whether every service that it refers to exists.
    pub conditions: Vec<Condition>,
}

/// Everything about one route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RouteDescription {
    /// The route.
    pub route: Route,
    /// The services that it routes to, in the order of its rules.
    pub backends: Vec<RouteBackend>,
}

/// The status of a metric source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MetricSourceStatus {
    /// The sum of the latest series; for replicas, their mean. Null before the first measurement, and when there was nothing to
    /// measure.
    pub value: Option<f64>,
    /// The number of series in the latest measurement, or of replicas that answered.
    pub series: usize,
    /// When it was last measured; null before the first measurement.
    pub measured_at: Option<String>,
    /// The error of the latest failed measurement; null when none has failed.
    pub last_error: Option<String>,
    /// When that error occurred.
    pub last_error_at: Option<String>,
    /// `Measuring`: whether the latest measurement can be used.
    pub conditions: Vec<Condition>,
}

/// Everything about one metric source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MetricSourceDescription {
    /// The source.
    pub source: MetricSource,
    /// The latest measurement: the first 100 series or replicas.
    pub readings: Vec<MetricReading>,
    /// The services that are scaled by this source.
    pub services: Vec<String>,
}

/// One value of a measurement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MetricReading {
    /// The replica that was measured; absent for a series that belongs to none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica: Option<String>,
    /// The labels of the series.
    pub labels: BTreeMap<String, String>,
    /// The value; null when the replica could not be measured.
    pub value: Option<f64>,
    /// Why the replica could not be measured; null when it was.
    pub message: Option<String>,
}

/// A service behind a rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteBackend {
    /// The index of the rule, from 0.
    pub rule: usize,
    /// The service.
    pub service: String,
    /// The port that the rule names; absent when it names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// Its share of the rule's requests, from 0 to 1; null when it only gets mirrored requests.
    pub share: Option<f64>,
    /// The number of its ready replicas; null when the service does not exist.
    pub ready_replicas: Option<u32>,
}

/// The evaluation of one metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Metric {
    /// The name of the metric, such as `cpu` or `http_requests_per_second`.
    pub name: String,
    /// The measured value, with its unit.
    pub current: String,
    /// The target value, with its unit.
    pub target: String,
    /// The measured value divided by the target; null when nothing was measured.
    pub ratio: Option<f64>,
    /// The number of replicas that the metric proposes; null when it proposes none.
    pub proposal: Option<u32>,
    /// How many replicas had usable samples; null for a metric that is not measured per replica.
    #[serde(default)]
    pub samples: Option<SampleCount>,
    /// The calculation, or why there is none.
    pub note: String,
}

/// A limit that changed the number of replicas after the metrics were evaluated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Limit {
    /// The name of the limit, such as `ScaleDownStabilized`.
    pub name: String,
    /// The number of replicas before this limit.
    pub from: u32,
    /// The number of replicas after this limit.
    pub to: u32,
    /// The explanation of the limit in one sentence.
    pub note: String,
}

/// A scaling decision of a service, and the reasons for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The service, as `service/NAME`.
    pub target: String,
    /// When the decision was made.
    pub at: String,
    /// The number of replicas wanted after the decision.
    pub desired: u32,
    /// The number of replicas wanted before the decision.
    pub previous: u32,
    /// What decided: `fixed`, `schedule`, `hold`, `off`, `paused`, `toZero` or `hpa`.
    pub policy: String,
    /// The evaluation of each metric; empty when none was evaluated.
    pub metrics: Vec<Metric>,
    /// How far a ratio may deviate from 1 without a change; null when no ratio was calculated.
    #[serde(default)]
    pub tolerance: Option<Tolerance>,
    /// The limits that changed the number after the metrics were evaluated, in order.
    pub limits: Vec<Limit>,
    /// The earlier recommendations and changes behind these limits, latest first; at most 8.
    #[serde(default)]
    pub evidence: Vec<Evidence>,
    /// What the guard rejects; null when nothing.
    pub guard: Option<String>,
    /// The changes that would lead to another outcome.
    #[serde(default)]
    pub prospects: Vec<Prospect>,
    /// The answer to the query parameter `whyNot`; null without it.
    #[serde(default)]
    pub why_not: Option<WhyNot>,
    /// The reasons for the decision, from the first cause to the last.
    pub reasons: Vec<DecisionReason>,
    /// Changes that are pending, and why.
    pub waits: Vec<Wait>,
    /// The latest changes of size, oldest first.
    pub changes: Vec<SizeChange>,
    /// For a decision from the history: the period and number of equal decisions. Null for a decision from the journal and for the
    /// latest decision.
    #[serde(default)]
    pub kept: Option<KeptSpan>,
    /// The decision in one sentence.
    pub summary: String,
    /// The decision on the resources of a replica in one sentence; null when resource usage is not learned, and for decisions from
    /// the history.
    #[serde(default)]
    pub size_of_replica: Option<String>,
    /// The decisions of the shadow autoscalers; absent when there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shadows: Vec<ShadowExplanation>,
}

/// One reason of a decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Because")]
pub struct DecisionReason {
    /// The name of a metric or limit, or `summary`.
    pub code: String,
    /// The reason in plain text.
    pub message: String,
}

/// A change that is pending.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Wait {
    /// The replica that waits; null when the whole service waits.
    pub replica: Option<String>,
    /// What it waits for.
    pub message: String,
}

/// A change of the number of replicas.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SizeChange {
    /// When the change was made.
    pub at: String,
    /// The change and its reason.
    pub message: String,
}

/// An event: something that happened, or a change that was not made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// The unique ID: the run of Homeostat and the number of the event in it, such as `12-3`.
    pub id: String,
    /// When it occurred.
    pub at: String,
    /// `Normal` or `Warning`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind of the event as a CamelCase identifier, such as `Scaled`.
    pub reason: String,
    /// The service concerned.
    pub service: String,
    /// The replica concerned; null when it concerns the whole service.
    pub replica: Option<String>,
    /// The event in plain text.
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
    /// The latest decision; null before the first.
    pub explanation: Option<Explanation>,
    /// Its latest events, oldest first.
    pub events: Vec<Event>,
}

/// The result of an apply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Applied {
    /// Whether it was a dry run, which stores nothing.
    pub dry_run: bool,
    /// The result for each resource, in the order of the request.
    pub items: Vec<AppliedItem>,
}

/// The result for one resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AppliedItem {
    /// The kind of the resource.
    pub kind: String,
    /// The name of the resource.
    pub name: String,
    /// `created`, `configured`, `unchanged` or `deleted`.
    pub change: String,
    /// Problems that did not prevent the change; for a deletion, the resources that still refer to the deleted one. Absent when there
    /// are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// A request to hold a service at a size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScaleRequest {
    /// The number of replicas.
    pub replicas: u32,
    /// How long the hold lasts, such as `10m`; not together with `until`. Without either, it lasts until it is released.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub lasting: Option<String>,
    /// When it ends, in RFC 3339; not together with `for`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

/// The hold of a service after the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Scaled {
    /// The service, as `service/NAME`.
    pub target: String,
    /// The hold; null when there is none.
    pub hold: Option<Hold>,
}

/// The duration of a pause or of a protection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Lasting")]
pub struct DurationRequest {
    /// How long it lasts, such as `2h`; not together with `until`.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub lasting: Option<String>,
    /// When it ends, in RFC 3339; not together with `for`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

/// The pause of an autoscaler after the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Paused {
    /// The service, as `service/NAME`.
    pub target: String,
    /// The pause; null when the autoscaler is not paused.
    pub pause: Option<Pause>,
}

/// The protection of a replica from removal by scale-in, after the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Protected {
    /// The replica, as `replica/NAME`.
    pub target: String,
    /// Until when the replica is protected; null when it is not protected.
    pub protected_until: Option<String>,
}

/// A change of a watched resource.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Change<T> {
    /// `added`, `modified` or `deleted`.
    #[serde(rename = "type")]
    pub kind: ChangeKind,
    /// The resource after the change; for a deleted resource, its last state.
    pub object: T,
}

/// The kind of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// The resource was created. Also sent for each existing resource when a watch begins.
    Added,
    /// The resource has changed.
    Modified,
    /// The resource was deleted.
    Deleted,
}

/// The body of an error response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Failure {
    /// One sentence: what was attempted, on what, why it failed, and what to try.
    pub error: String,
    /// The error code; each is documented in docs/errors.
    pub code: String,
    /// The problems in the request body, one by one; empty for other errors.
    #[serde(default)]
    pub problems: Vec<Problem>,
}

/// One problem in a request body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// The dotted path of the field in its resource; empty for the whole resource.
    pub path: String,
    /// What is wrong, and what is accepted.
    pub message: String,
    /// The line in the body, from 1; null when the problem has no position.
    #[serde(default)]
    pub line: Option<usize>,
    /// The column in that line, from 1.
    #[serde(default)]
    pub column: Option<usize>,
}
