//! Scaling ahead of the load by a forecast.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{AutoscalerSpec, KnownEvent, ScalePolicy, Span};

/// The most steps ahead of a forecast: each forecast is kept until it can be scored.
pub const STEPS_AHEAD_MAX: u64 = 512;

/// The name of the shadow that shows what a forecast in mode `shadow` would have done.
pub const FORECAST_SHADOW: &str = "forecast";

/// The forecast of the load of a service, and its use.
///
/// The load is the rate of requests at its proxy, in requests a second; for a service that is not exposed, the replicas that its
/// autoscaler's metrics require. Source: predictive scaling of clouds (Amazon EC2 Auto Scaling, Google Compute Engine), whose forecast is a
/// floor as well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Forecasting {
    /// What the forecast is used for.
    pub mode: ForecastMode,
    /// The probability with which the load ahead is at or below the forecast that the service is sized for, 0.5 to 0.999. With `slo` that
    /// probability follows from the SLO, and this one only serves to score the forecast. Default: 0.95.
    #[serde(default)]
    #[schemars(range(min = 0.5, max = 0.999))]
    pub quantile: Quantile,
    /// How far ahead the load is forecast, at most 511 times `step`. Default: the measured start time
    /// of replicas, plus one planning interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub horizon: Option<Span>,
    /// The time over which the load is averaged, 1s to 1h. The last 16384 steps are remembered: below 6s they cover less
    /// than a day, below 1m less than a week. Default: 1m.
    #[serde(default = "Forecasting::step_default", skip_serializing_if = "Forecasting::is_step_default")]
    pub step: Span,
    /// Known events, such as a sale: their load is expected while they last, and nothing is learned from it. Of several at once the
    /// greatest factor and the highest load count. At most 32. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<KnownEvent>,
}

/// The use of a forecast.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ForecastMode {
    /// Nothing is learned, and what was learned is forgotten.
    #[default]
    Off,
    /// The load is forecast and the forecast is scored, without effect.
    Shadow,
    /// The number of replicas does not fall below what the forecast load requires.
    On,
}

/// A probability in thousandths, written as a number such as 0.95.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "f64", into = "f64")]
pub struct Quantile(#[schemars(with = "f64")] u16);

/// Why a number is not a probability of a quantile.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("{0} is not a probability; write a number from 0.001 to 0.999, such as 0.95")]
pub struct QuantileError(f64);

impl Forecasting {
    const fn step_default() -> Span {
        Span::from_secs(60)
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "required by serde")]
    fn is_step_default(step: &Span) -> bool {
        *step == Self::step_default()
    }

    /// The defaults with this mode.
    #[must_use]
    pub const fn of_mode(mode: ForecastMode) -> Self {
        Self { mode, quantile: Quantile(950), horizon: None, step: Self::step_default(), events: Vec::new() }
    }

    /// The steps of a forecast of `ahead`: the current one, and all that it overlaps.
    #[must_use]
    pub fn steps_for(&self, ahead: std::time::Duration) -> u64 {
        let step = u128::from(self.step.as_millis().max(1));
        u64::try_from(ahead.as_millis().div_ceil(step)).unwrap_or(u64::MAX).max(1).saturating_add(1)
    }
}

impl AutoscalerSpec {
    /// Whether its size is proportional to its metrics, so that the replicas that a load requires can be computed.
    #[must_use]
    pub fn has_targets(&self) -> bool {
        self.policy.has_targets()
    }
}

impl ScalePolicy {
    /// Whether its size is proportional to the ratios of metrics to their targets.
    #[must_use]
    pub fn has_targets(&self) -> bool {
        match self {
            // The target of an SLO is the capacity of a replica.
            Self::Hpa | Self::Unanimous | Self::TargetTracking(_) | Self::Burst(_) | Self::Slo(_) => true,
            Self::Step(_) | Self::Watermarks(_) | Self::Formula(_) | Self::Composite(_) => false,
        }
    }
}

impl Quantile {
    /// The probability.
    #[must_use]
    pub fn probability(self) -> f64 {
        f64::from(self.0) / 1000.0
    }
}

impl Default for Quantile {
    fn default() -> Self {
        Self(950)
    }
}

/// Rounded to the nearest thousandth.
impl TryFrom<f64> for Quantile {
    type Error = QuantileError;

    fn try_from(probability: f64) -> Result<Self, QuantileError> {
        let milli = (probability * 1000.0).round();
        if (1.0..=999.0).contains(&milli) { Ok(Self(milli as u16)) } else { Err(QuantileError(probability)) }
    }
}

impl From<Quantile> for f64 {
    fn from(quantile: Quantile) -> Self {
        quantile.probability()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_quantile_is_serialized_as_written() {
        for written in [0.5, 0.95, 0.999, 0.001] {
            let read = serde_json::from_value::<Quantile>(written.into()).expect("it is one");
            assert_eq!(serde_json::to_value(read).expect("it is a number"), serde_json::json!(written));
        }
        for wrong in [0.0, 1.0, -0.5, 95.0] {
            let error =
                serde_json::from_value::<Quantile>(wrong.into()).expect_err("it is not a probability");
            assert!(error.to_string().contains("is not a probability"), "{error}");
        }
    }

    #[test]
    fn the_current_step_counts_in_addition_to_those_ahead() {
        let minutes = Forecasting::of_mode(ForecastMode::On);
        let steps = |ms| minutes.steps_for(Duration::from_millis(ms));
        assert_eq!([0, 1, 60_000, 60_001, 180_000].map(steps), [2, 2, 2, 3, 4]);
    }
}
