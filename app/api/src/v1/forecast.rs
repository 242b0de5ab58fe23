//! What is forecast of the load of a service.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The load of a service ahead, how sure that is, and how good it has been.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Forecast {
    /// Such as `service/shop`.
    pub target: String,
    /// When this is said.
    pub at: String,
    /// `on` or `shadow`.
    pub mode: String,
    /// What the load is: `requests/s`, as asked of the proxy, or `replicas`, as the metrics ask for, not rounded.
    pub unit: String,
    /// The load is its mean over such steps.
    pub step_seconds: f64,
    /// Steps of load that are remembered.
    pub steps: u64,
    /// The probability with which the load that is sized for is not exceeded.
    pub quantile: f64,
    /// How far ahead the forecast looks that is acted on, the step that is under way included.
    pub reach_seconds: f64,
    /// What nine of ten starts of a replica have not exceeded; null before one was seen.
    pub start_seconds: Option<f64>,
    /// The periods after which the load repeats itself, the strongest first.
    pub seasons: Vec<Season>,
    /// What was forecast, what follows from it for the number of replicas, or why nothing does.
    pub message: String,
    /// Replicas that the load expected needs by the targets of the autoscaler, not rounded; null before that is known.
    pub replicas_needed: Option<f64>,
    /// What is known to come, or holds now, as `spec.scale.forecast.events` has it, within what is looked ahead at.
    #[serde(default)]
    pub events: Vec<KnownEvent>,
    /// What the step that is under way is taken for, where it is above the last one and the forecasts begin behind it; null where they begin behind the
    /// last one.
    #[serde(default)]
    pub under_way: Option<f64>,
    /// The forecasts, that which is acted on first; empty while nothing is forecast.
    pub forecasts: Vec<Ahead>,
    /// The load of the latest steps, oldest first.
    pub past: Vec<PastLoad>,
}

/// A period after which the load repeats itself.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Season {
    /// How long it is.
    pub seconds: f64,
    /// The correlation of the load with itself one period before, 0 to 1.
    pub strength: f64,
}

/// The load at one horizon.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ahead {
    /// Whether it is the highest load until then, or that of the step which ends then.
    pub is_peak: bool,
    /// How far ahead that is, from the end of the last step, or of that which is under way (`underWay`).
    pub seconds: f64,
    /// The loads that are not exceeded with some probabilities, the least first; with what is known to come.
    pub quantiles: Vec<LoadQuantile>,
    /// The same as it would be usual; empty where no known event changes it.
    #[serde(default)]
    pub usual: Vec<LoadQuantile>,
    /// Who says that at the probability which is sized for: `blend`, or `persistence` while nothing has beaten the last value.
    pub by: String,
    /// The blend's mean loss at that probability, divided by the last value's; null before one was scored.
    pub loss_ratio: Option<f64>,
    /// The share of what came that lay at or below what was said; should be near the probability.
    pub coverage: f64,
    /// Forecasts that were scored.
    pub scored: u64,
    /// Each model, the best first.
    pub models: Vec<ModelStanding>,
}

/// A time that is known to be unlike others, and the load that it brings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KnownEvent {
    /// What it is called.
    pub name: String,
    /// When it begins or began.
    pub from: String,
    /// When it is over.
    pub until: String,
    /// So many times what is usual is expected of it; null for one that has a load of its own.
    pub factor: Option<f64>,
    /// At least so much load is expected of it; null for one that has a factor.
    pub load: Option<f64>,
}

/// A load that is not exceeded with some probability.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LoadQuantile {
    /// With which.
    pub probability: f64,
    /// That load.
    pub load: f64,
}

/// How good a model has been over about the last week.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelStanding {
    /// Which.
    pub model: String,
    /// Its mean pinball loss at the probability which is sized for, in the unit of the load.
    pub loss: f64,
    /// Its part in the blend, 0 to 1.
    pub weight: f64,
}

/// The load of a step that is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PastLoad {
    /// When the step began.
    pub at: String,
    /// Its mean load; null where it was not measured.
    pub load: Option<f64>,
}
