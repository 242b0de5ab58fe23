//! The forecast of the load of a service.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The load forecast of a service: quantiles, the recent load, and the accuracy of past forecasts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Forecast {
    /// The service, as `service/NAME`.
    pub target: String,
    /// The time of this response.
    pub at: String,
    /// `on` when scaling acts on the forecast, `shadow` when it is only computed.
    pub mode: String,
    /// The unit of all loads: `requests/s`, as counted by the proxy, or `replicas`, as proposed by the metrics, not rounded.
    pub unit: String,
    /// The length of a step, in seconds. Each load is the mean over one step.
    pub step_seconds: f64,
    /// The number of steps that are kept.
    pub steps: u64,
    /// The quantile that scaling acts on: the probability that the actual load does not exceed the forecast.
    pub quantile: f64,
    /// The horizon of the forecast that scaling acts on, in seconds, including the current step.
    pub reach_seconds: f64,
    /// The 90th percentile of the time from start to ready of a replica, in seconds; null before the first observed start.
    pub start_seconds: Option<f64>,
    /// The detected seasons, strongest first.
    pub seasons: Vec<Season>,
    /// The forecast and its effect on the number of replicas, or why it has none.
    pub message: String,
    /// The number of replicas that the forecast load needs at the targets of the autoscaler, not rounded; null while unknown.
    pub replicas_needed: Option<f64>,
    /// The known events of `spec.scale.forecast.events` that are current or within the horizon.
    #[serde(default)]
    pub events: Vec<KnownEvent>,
    /// The estimated load of the current step, when it is above that of the last complete step; the forecasts then start at its end.
    /// Null when they start at the end of the last complete step.
    #[serde(default)]
    pub under_way: Option<f64>,
    /// The forecast at each horizon, beginning with the one that scaling acts on; empty while there is no forecast.
    pub forecasts: Vec<Ahead>,
    /// The loads of the latest steps, oldest first.
    pub past: Vec<PastLoad>,
}

/// A season: a period after which the load repeats.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Season {
    /// The length of the period, in seconds.
    pub seconds: f64,
    /// The autocorrelation of the load at this period, from 0 to 1.
    pub strength: f64,
}

/// The load forecast at one horizon.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ahead {
    /// Whether it forecasts the peak load up to the horizon (true), or the load of the step that ends at the horizon (false).
    pub is_peak: bool,
    /// The horizon in seconds, from the end of the last complete step, or of the current one if `underWay` is set.
    pub seconds: f64,
    /// The quantiles of the load, lowest first, with known events included.
    pub quantiles: Vec<LoadQuantile>,
    /// The quantiles without known events; empty when no known event changes the forecast.
    #[serde(default)]
    pub usual: Vec<LoadQuantile>,
    /// The forecaster in use at the quantile that scaling acts on: `blend`, or `persistence` (the last value) while the blend is not
    /// better.
    pub by: String,
    /// The mean loss of the blend at that quantile, divided by that of persistence; null before the first score.
    pub loss_ratio: Option<f64>,
    /// The share of actual loads at or below the forecast; it should be close to the quantile.
    pub coverage: f64,
    /// The number of scored forecasts.
    pub scored: u64,
    /// The models, best first.
    pub models: Vec<ModelStanding>,
}

/// A known event: a period with a declared change of load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KnownEvent {
    /// The name of the event.
    pub name: String,
    /// The begin of the event.
    pub from: String,
    /// The end of the event.
    pub until: String,
    /// The factor by which the load is multiplied; null for an event with a `load`.
    pub factor: Option<f64>,
    /// The minimum load during the event; null for an event with a `factor`.
    pub load: Option<f64>,
}

/// A quantile of the load.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LoadQuantile {
    /// The probability that the load is not exceeded.
    pub probability: f64,
    /// The load at this quantile.
    pub load: f64,
}

/// The score of a model over approximately the last week.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelStanding {
    /// The name of the model.
    pub model: String,
    /// Its mean pinball loss at the quantile that scaling acts on, in the unit of the load.
    pub loss: f64,
    /// Its weight in the blend, from 0 to 1.
    pub weight: f64,
}

/// The load of a past step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PastLoad {
    /// The begin of the step.
    pub at: String,
    /// The mean load over the step; null when it was not measured.
    pub load: Option<f64>,
}
