//! Quantiles that hold what they say.

/// Keeps a forecast at the quantile that it is said to be: each miss raises it, each hit lowers it a little.
///
/// Source: Gibbs and Candès, "Adaptive conformal inference under distribution shift", NeurIPS 2021, on the forecast itself
/// instead of its level (Angelopoulos, Candès and Tibshirani, "Conformal PID control", 2023): whatever comes, the share of misses
/// tends to what it should be.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Calibration {
    /// Added to the forecast, in widths of its band.
    offset: f64,
    /// Mean pinball loss, and share of outcomes at or below: of what was said, so calibrated.
    pub(crate) loss: f64,
    pub(crate) coverage: f64,
}

/// How far one miss moves the calibration, in widths of the band.
const OFFSET_RATE: f64 = 0.03;

/// The calibration moves a forecast by at most so many widths of its band.
const OFFSET_MAX: f64 = 10.0;

impl Calibration {
    #[expect(clippy::cast_possible_truncation, reason = "seven digits are more than a forecast has")]
    /// `forecast`, moved so that it covers what it says.
    pub(crate) fn applied(self, forecast: f32, width: f32) -> f32 {
        forecast + self.offset as f32 * width
    }

    /// Learns that `actual` came where `forecast`, as it was applied, was said.
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
