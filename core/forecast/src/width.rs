//! The width of the band around a forecast.

use crate::outlook::Outlook;
use crate::regression::Regression;
use crate::settings::Horizon;

/// Inputs of the width of a band.
pub(crate) const WIDTH_INPUTS: usize = 5;

/// The size of the errors of a model, and what it depends on.
///
/// The steady width is the mean error. The learnt width is that times a factor from a regression of the logarithm of errors over the
/// expected level, the recent errors and changes, and the usual spread at that time of day. Quantiles of errors in units of such a width
/// are conditional (Lei et al., "Distribution-free predictive inference for regression", 2018, locally weighted).
#[derive(Clone, Debug)]
pub(crate) struct Width {
    /// Mean absolute error, over the memory and over recent forecasts.
    error: f64,
    recent_error: f64,
    /// The logarithm of the ratio of recent errors to usual ones.
    recent_ratio: f64,
    scored: u32,
    learnt: Regression<WIDTH_INPUTS>,
}

/// The least width of a band, as a share of the mean load, so that a constant load has a band as well.
const WIDTH_MIN: f64 = 1e-4;

/// The largest factor by which a learnt width may differ from the steady one.
const WIDTH_RANGE: f64 = 16.0;

/// Scored forecasts after which the mean error weighs as much as the width of a random walk.
const TRUST_HALF: u32 = 20;

/// Forecasts whose errors count as recent.
const RECENT: f64 = 8.0;

/// The weights before anything is learnt: wider with the square root of the level, and after large recent errors.
const WEIGHTS_START: [f64; WIDTH_INPUTS] = [0.0, 0.5, 0.5, 0.0, 0.0];

impl Width {
    /// Forgets over `memory` forecasts.
    pub(crate) fn new(memory: f64) -> Self {
        Self {
            error: 0.0,
            recent_error: 0.0,
            recent_ratio: 0.0,
            scored: 0,
            learnt: Regression::new(WEIGHTS_START, memory),
        }
    }

    /// The inputs of the width around `point`.
    pub(crate) fn inputs(&self, context: &WidthContext, point: f64) -> [f64; WIDTH_INPUTS] {
        let WidthContext { mean, volatility, usual_spread, .. } = *context;
        let steady = self.steady(mean);
        let level = ratio_in_logs(point, mean, 0.01 * mean);
        let usual = usual_spread.map_or(0.0, |spread| ratio_in_logs(spread, steady, 0.01 * steady));
        [1.0, level, self.recent_ratio, volatility, usual]
    }

    /// The steady and the learnt width, each above 0.
    #[expect(clippy::cast_possible_truncation, reason = "seven digits are more than a width has")]
    pub(crate) fn widths(&self, inputs: &[f64; WIDTH_INPUTS], context: &WidthContext) -> [f32; 2] {
        let trust = f64::from(self.scored) / f64::from(self.scored.saturating_add(TRUST_HALF));
        let steady = trust * self.steady(context.mean) + (1.0 - trust) * context.random_walk_width;
        let learnt = steady * exp(self.learnt.predict(inputs)).clamp(1.0 / WIDTH_RANGE, WIDTH_RANGE);
        // Smaller widths would be 0 as an f32, and errors divided by them not be finite.
        [steady, learnt].map(|width| width.max(1e-30) as f32)
    }

    /// Learns that the absolute error of a forecast was `error`; forgets over `memory` forecasts.
    pub(crate) fn learn(&mut self, error: f64, inputs: &[f32; WIDTH_INPUTS], memory: f64, mean: f64) {
        if self.error > 0.0 {
            let steady = self.steady(mean);
            self.learnt.learn(&inputs.map(f64::from), ratio_in_logs(error, steady, 0.02 * steady));
        }
        self.scored = self.scored.saturating_add(1);
        self.error += (error - self.error) / memory;
        self.recent_error += (error - self.recent_error) / memory.min(RECENT);
        let steady = self.steady(mean);
        self.recent_ratio = ratio_in_logs(self.recent_error, steady, 0.01 * steady);
    }

    fn steady(&self, mean: f64) -> f64 {
        self.error.max(mean * WIDTH_MIN).max(f64::MIN_POSITIVE)
    }
}

/// The state of the load that a width depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WidthContext {
    mean: f64,
    /// The logarithm of the ratio of recent changes from step to step to usual ones.
    volatility: f64,
    usual_spread: Option<f64>,
    /// The error of persistence if the load were a random walk; used until enough was scored.
    random_walk_width: f64,
}

/// The least width before anything was scored, as a share of the mean load: a width of 0 cannot be a unit.
const WIDTH_START: f64 = 0.1;

impl WidthContext {
    pub(crate) fn of(outlook: &Outlook, horizon: Horizon) -> Self {
        let mean = outlook.running.mean.max(f64::MIN_POSITIVE);
        let walk = outlook.running.change_slow * (horizon.steps() as f64).sqrt();
        Self {
            mean,
            random_walk_width: walk.max(WIDTH_START * mean),
            volatility: ratio_in_logs(
                outlook.running.change_fast,
                outlook.running.change_slow,
                WIDTH_MIN * mean,
            ),
            usual_spread: [1, 2, 0].into_iter().find_map(|index| outlook.spread_ahead(index, horizon)),
        }
    }
}

/// The logarithm of a ratio, of which seven digits are more than an error has.
#[expect(clippy::cast_possible_truncation, reason = "see above")]
fn ratio_in_logs(of: f64, to: f64, floor: f64) -> f64 {
    f64::from((((of + floor) / (to + floor)) as f32).ln().clamp(-6.0, 6.0))
}

#[expect(clippy::cast_possible_truncation, reason = "seven digits are more than a width has")]
fn exp(power: f64) -> f64 {
    f64::from((power as f32).exp())
}
