//! Models that share one forecast by what each has been worth.

/// Weights of `N` models by their regrets: ML-Poly with forgetting.
///
/// Source: Gaillard, Stoltz and van Erven, "A second-order bound with excess losses", COLT 2014, on the gradient of the
/// pinball loss. A model that is asleep neither gains nor loses. There is no rate to choose.
#[derive(Clone, Debug)]
pub(crate) struct Mixture<const N: usize> {
    regret: [f32; N],
    squares: [f32; N],
    weights: [f32; N],
    /// The largest regret of late, so that no unit matters.
    range: f32,
}

/// The mean of those that are awake; 0 when all sleep.
fn mean_of<const N: usize>(forecasts: &[f32; N], is_awake: &[bool; N]) -> f32 {
    let awake = forecasts.iter().zip(is_awake).filter(|(_, is_awake)| **is_awake);
    let (sum, count) = awake.fold((0.0, 0.0), |(sum, count), (forecast, _)| (sum + forecast, count + 1.0));
    sum / f32::max(count, 1.0)
}

/// What came of a shared forecast.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    /// The shared forecast.
    pub(crate) blended: f32,
    /// What came.
    pub(crate) actual: f32,
    /// Of which quantile it was the forecast.
    pub(crate) level: f32,
    /// The share of what was learnt before that still counts.
    pub(crate) kept: f32,
}

impl<const N: usize> Mixture<N> {
    pub(crate) fn new() -> Self {
        Self { regret: [0.0; N], squares: [0.0; N], weights: [1.0; N], range: 0.0 }
    }

    /// The shared forecast of those that are awake; 0 when all sleep.
    pub(crate) fn blend(&self, forecasts: &[f32; N], is_awake: &[bool; N]) -> f32 {
        let (mut sum, mut total) = (0.0, 0.0);
        for (index, weight) in self.weights.iter().enumerate().filter(|&(index, _)| is_awake[index]) {
            sum += weight * forecasts[index];
            total += weight;
        }
        if total > 0.0 { sum / total } else { mean_of(forecasts, is_awake) }
    }

    /// Learns what came of `forecasts`.
    pub(crate) fn learn(&mut self, forecasts: &[f32; N], is_awake: &[bool; N], outcome: Outcome) {
        let Outcome { blended, actual, level, kept } = outcome;
        let slope = if actual > blended { -level } else { 1.0 - level };
        let gain_of = |index: usize| if is_awake[index] { slope * (blended - forecasts[index]) } else { 0.0 };
        let gains: [f32; N] = std::array::from_fn(gain_of);
        let widest = gains.iter().fold(0.0f32, |widest, gain| widest.max(gain.abs()));
        self.range = (self.range * kept).max(widest);
        for (index, gain) in gains.into_iter().enumerate() {
            self.regret[index] = self.regret[index] * kept + gain;
            self.squares[index] = self.squares[index] * kept + gain * gain;
            let rate = 1.0 / (self.range * self.range + self.squares[index]).max(f32::MIN_POSITIVE);
            self.weights[index] = rate * self.regret[index].max(0.0);
        }
        let total: f32 = self.weights.iter().sum();
        if total > 0.0 && total.is_finite() {
            self.weights.iter_mut().for_each(|weight| *weight /= total);
        } else {
            self.weights = [1.0 / N as f32; N];
        }
    }

    /// The share of each model, 1 in all once anything was learnt.
    pub(crate) fn weights(&self) -> &[f32; N] {
        &self.weights
    }
}
