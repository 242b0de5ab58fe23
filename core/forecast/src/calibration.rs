//! Calibration: quantiles whose coverage is what they claim.

/// Keeps a forecast at the quantile that it claims to be: each miss raises it, each hit lowers it a little.
///
/// Source: Gibbs and Candès, "Adaptive conformal inference under distribution shift", NeurIPS 2021, on the forecast itself
/// instead of its level (Angelopoulos, Candès and Tibshirani, "Conformal PID control", 2023). Whatever comes, the share of misses
/// tends to what it should be.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Calibration {
    /// Added to the forecast, in widths of its band.
    offset: f64,
    /// Mean pinball loss of the calibrated forecast.
    pub(crate) loss: f64,
    /// Share of outcomes at or below the calibrated forecast.
    pub(crate) coverage: f64,
}

/// How far one miss moves the calibration, in widths of the band.
const OFFSET_RATE: f64 = 0.03;

/// How far the calibration may move a forecast, in widths of its band.
const OFFSET_MAX: f64 = 10.0;

impl Calibration {
    /// `forecast`, moved so that its coverage is what it claims.
    #[expect(clippy::cast_possible_truncation, reason = "seven digits are more than a forecast has")]
    pub(crate) fn applied(self, forecast: f32, width: f32) -> f32 {
        forecast + self.offset as f32 * width
    }

    /// Learns that the load was `actual` when the calibrated forecast was `forecast`.
    pub(crate) fn learn(&mut self, actual: f64, forecast: f64, level: f64, memory: f64) {
        let is_covered = actual <= forecast;
        self.loss += (pinball(actual, forecast, level) - self.loss) / memory;
        self.coverage += (f64::from(u8::from(is_covered)) - self.coverage) / memory;
        let step = if is_covered { level - 1.0 } else { level };
        self.offset = (self.offset + OFFSET_RATE * step).clamp(-OFFSET_MAX, OFFSET_MAX);
    }
}

/// The loss of `forecast` as the quantile `level` of `actual`: too low costs `level`, too high the rest (Koenker and Bassett 1978).
#[must_use]
pub fn pinball(actual: f64, forecast: f64, level: f64) -> f64 {
    let short = actual - forecast;
    (level * short).max((level - 1.0) * short)
}
