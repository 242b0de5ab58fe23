//! The forecasts of a forecaster, and how good they have been.

use crate::model::Model;
use crate::settings::Horizon;

/// The load that is expected at one horizon.
#[derive(Clone, Debug, PartialEq)]
pub struct Forecast {
    /// The time that is forecast.
    pub horizon: Horizon,
    /// One for each level of the settings, in their order.
    pub quantiles: Vec<Quantile>,
}

/// The load that is not exceeded with a certain probability.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantile {
    /// The probability that the load does not exceed `load`.
    pub level: f64,
    /// Requests a second, or whatever unit was observed: finite, at least 0, and at most twice the highest in the history.
    pub load: f64,
    /// The load before calibration: sharper in the tails, but its coverage need not be the level. For consumers that
    /// learn from the outcome of their own decisions.
    pub uncalibrated: f64,
    /// The model that forecasts it: [`Model::Blend`], or [`Model::Persistence`] while nothing has beaten that.
    pub by: Model,
}

/// How good the models have been at one horizon and quantile, over about the last week.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The horizon.
    pub horizon: Horizon,
    /// The level of the quantile.
    pub level: f64,
    /// How many forecasts were scored since the beginning.
    pub scored: u64,
    /// The share of outcomes at or below the forecast; it should be near the level.
    pub coverage: f64,
    /// Whether the blend has beaten persistence by enough to be used.
    pub beats_persistence: bool,
    /// Each model and the blend, the best first.
    pub scores: Vec<ModelScore>,
}

/// A short [`Report`]: only the blend and persistence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReportSummary {
    /// How many forecasts were scored since the beginning.
    pub scored: u64,
    /// How many must be scored before the blend may be used.
    pub scored_min: u64,
    /// The share of outcomes at or below the forecast; it should be near the level.
    pub coverage: f64,
    /// The mean pinball loss of the blend, in units of the load.
    pub loss: f64,
    /// The mean pinball loss of persistence, in units of the load.
    pub persistence_loss: f64,
}

/// One model in a [`Report`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ModelScore {
    /// The model.
    pub model: Model,
    /// Its mean pinball loss, in units of the load: too low costs the level, too high the rest.
    pub loss: f64,
    /// Its weight in the blend, from 0 to 1; 1 for the blend itself.
    pub weight: f64,
}
