//! The forecasts of a forecaster, and how good they have been.

use crate::model::Model;
use crate::settings::Horizon;

/// The load that is expected at one horizon.
#[derive(Clone, Debug, PartialEq)]
pub struct Forecast {
    /// The time that it is for.
    pub horizon: Horizon,
    /// One for each level of the settings, in their order.
    pub quantiles: Vec<Quantile>,
}

/// The load that is not exceeded with a certain probability.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantile {
    /// That probability.
    pub level: f64,
    /// That load: finite, at least 0, and at most twice the highest in the history.
    pub load: f64,
    /// The load before calibration: sharper in the tails, but its coverage need not be the level. For a consumer that learns from the outcome
    /// of its own decisions.
    pub uncalibrated: f64,
    /// Who forecasts it: [`Model::Blend`], or [`Model::Persistence`] while nothing has beaten that.
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
    /// Whether the blend has beaten persistence by enough to be believed.
    pub beats_persistence: bool,
    /// Each model and the blend, the best first.
    pub scores: Vec<ModelScore>,
}

/// A short [`Report`]: only the blend and the last value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReportSummary {
    /// How many forecasts were scored since the beginning.
    pub scored: u64,
    /// The share of outcomes at or below the forecast; it should be near the level.
    pub coverage: f64,
    /// The mean pinball loss of the blend, in units of the load.
    pub loss: f64,
    /// The mean pinball loss of the last value.
    pub loss_of_last: f64,
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
