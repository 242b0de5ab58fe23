//! What a forecaster says.

use crate::model::Model;
use crate::settings::Horizon;

/// The load that is expected at one horizon.
#[derive(Clone, Debug, PartialEq)]
pub struct Forecast {
    /// For when.
    pub horizon: Horizon,
    /// One for each level of the settings, in their order.
    pub quantiles: Vec<Quantile>,
}

/// A load that is not exceeded with a certain probability.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantile {
    /// With which.
    pub level: f64,
    /// That load: finite, at least 0, and at most twice the highest that is remembered.
    pub load: f64,
    /// The same as the models share it, moved by nothing that came: sharper far out, and it need not hold what it says. For whoever learns from what
    /// comes of his own decisions.
    pub uncalibrated: f64,
    /// Who says so: [`Model::Blend`], or [`Model::Persistence`] while nothing has beaten it.
    pub by: Model,
}

/// How good the models have been at one horizon and quantile, over about the last week.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// At which horizon.
    pub horizon: Horizon,
    /// At which quantile.
    pub level: f64,
    /// How many forecasts were scored since the beginning.
    pub scored: u64,
    /// The share of outcomes at or below what was forecast; should be near the level.
    pub coverage: f64,
    /// Whether the blend has beaten persistence by enough to be believed.
    pub beats_persistence: bool,
    /// Each model and the blend, the best first.
    pub standings: Vec<Standing>,
}

/// How good what was said has been at one horizon and quantile, over about the last week: what a [`Report`] says of the blend and of the last value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Merit {
    /// How many forecasts were scored since the beginning.
    pub scored: u64,
    /// The share of outcomes at or below what was forecast; should be near the level.
    pub coverage: f64,
    /// The mean pinball loss of the blend, in units of the load.
    pub loss: f64,
    /// That of the last value.
    pub loss_of_last: f64,
}

/// One model in a [`Report`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Standing {
    /// Which.
    pub model: Model,
    /// Its mean pinball loss, in units of the load: too low costs the level, too high the rest.
    pub loss: f64,
    /// Its part in the blend, from 0 to 1; 1 for the blend itself.
    pub weight: f64,
}
