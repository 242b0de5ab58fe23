//! The shapes of rows: amounts in thousandths (`_milli`), ages in seconds before the moment of the case (`_age_s`).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// One case.
#[derive(Clone, Debug, Deserialize)]
pub struct Row {
    /// Unique.
    pub id: String,
    /// The function or behaviour that it tests.
    pub suite: String,
    /// Its name.
    pub name: String,
    /// The input; its shape depends on the suite.
    pub input: Value,
    /// The expected output.
    pub expected: Value,
    /// The versions of Kubernetes that it describes, if later ones behave differently.
    pub applies_to: Option<String>,
}

/// A pod.
#[derive(Clone, Debug, Deserialize)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Pending, Running, Succeeded or Failed.
    #[serde(default)]
    pub phase: String,
    /// True or False; none without a Ready condition.
    pub ready: Option<String>,
    /// Whether it is terminating.
    #[serde(default)]
    pub deleting: bool,
    /// The time since its start; none before.
    pub start_age_s: Option<u64>,
    /// The time since the last change of its Ready condition.
    pub ready_transition_age_s: Option<u64>,
    /// Its containers.
    #[serde(default)]
    pub containers: Vec<Container>,
    /// Its init containers.
    #[serde(default)]
    pub init_containers: Vec<Container>,
    /// Requests of the pod as a whole, by resource.
    #[serde(default)]
    pub pod_level_requests_milli: BTreeMap<String, i64>,
}

/// A container.
#[derive(Clone, Debug, Deserialize)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// What it requests, by resource.
    #[serde(default)]
    pub requests_milli: BTreeMap<String, i64>,
    /// `Always` makes an init container run as long as its pod.
    pub restart_policy: Option<String>,
}

/// A measurement of one pod.
#[derive(Clone, Debug, Deserialize)]
pub struct PodMetric {
    /// The name of the pod.
    pub pod: String,
    /// Of the pod as a whole.
    pub value_milli: Option<i64>,
    /// Of its containers, by name.
    #[serde(default)]
    pub containers_milli: BTreeMap<String, i64>,
    /// The time since the end of its window.
    #[serde(default)]
    pub age_s: u64,
    /// The length of its window.
    #[serde(default)]
    pub window_s: u64,
}

/// The target of a metric.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Target {
    /// Per cent of the request.
    pub average_utilization: Option<u32>,
    /// For each pod.
    pub average_value_milli: Option<i64>,
    /// In all.
    pub value_milli: Option<i64>,
}

/// How far a ratio may be from 1 without a change.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Tolerances {
    /// Above.
    pub scale_up: f64,
    /// Below.
    pub scale_down: f64,
}

/// The rules of one direction.
#[derive(Clone, Debug, Deserialize)]
pub struct Rules {
    /// The window; by default the controller's.
    pub stabilization_window_s: Option<u64>,
    /// Max, Min or Disabled.
    pub select_policy: String,
    /// The policies.
    pub policies: Vec<PolicyRow>,
}

/// One policy.
#[derive(Clone, Debug, Deserialize)]
pub struct PolicyRow {
    /// Pods or Percent.
    #[serde(rename = "type")]
    pub kind: String,
    /// The number or percentage.
    pub value: u32,
    /// The period in which it may change by that.
    pub period_s: u64,
}

/// Rules of both directions.
#[derive(Clone, Debug, Deserialize)]
pub struct BehaviorRow {
    /// For scaling up.
    pub scale_up: Rules,
    /// For scaling down.
    pub scale_down: Rules,
}

/// A change of the number of replicas.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct EventRow {
    /// The number of replicas added or removed.
    pub change: u32,
    /// The time since then.
    pub age_s: u64,
    /// Whether its slot may be reused.
    #[serde(default)]
    pub outdated: bool,
}

/// An earlier recommendation.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct RecommendationRow {
    /// The recommended number of replicas.
    pub replicas: u32,
    /// The time since then.
    pub age_s: u64,
}

/// A condition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct ConditionRow {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// True or False.
    pub status: String,
    /// Its reason.
    pub reason: String,
}
