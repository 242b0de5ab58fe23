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

/// A sum in four parts, which a processor adds at once.
fn sum_of<const N: usize>(term: impl Fn(usize) -> f32) -> f32 {
    let mut parts = [0.0; 4];
    for index in 0..N {
        parts[index % 4] += term(index);
    }
    (parts[0] + parts[1]) + (parts[2] + parts[3])
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

    /// The shared forecast of those that are awake, of which `awake` is 1 and that of the others 0; 0 when all sleep.
    pub(crate) fn blend(&self, forecasts: &[f32; N], awake: &[f32; N]) -> f32 {
        let total = sum_of::<N>(|index| awake[index] * self.weights[index]);
        if total > 0.0 {
            return sum_of::<N>(|index| awake[index] * self.weights[index] * forecasts[index]) / total;
        }
        sum_of::<N>(|index| awake[index] * forecasts[index]) / sum_of::<N>(|index| awake[index]).max(1.0)
    }

    /// Learns what came of `forecasts`.
    pub(crate) fn learn(&mut self, forecasts: &[f32; N], awake: &[f32; N], outcome: Outcome) {
        let Outcome { blended, actual, level, kept } = outcome;
        let slope = if actual > blended { -level } else { 1.0 - level };
        let gains: [f32; N] =
            std::array::from_fn(|index| awake[index] * (slope * (blended - forecasts[index])));
        let mut widest = [0.0f32; 4];
        for (index, gain) in gains.iter().enumerate() {
            widest[index % 4] = widest[index % 4].max(gain.abs());
        }
        let widest = widest[0].max(widest[1]).max(widest[2].max(widest[3]));
        self.range = (self.range * kept).max(widest);
        let least = self.range * self.range;
        for (index, gain) in gains.into_iter().enumerate() {
            self.regret[index] = self.regret[index] * kept + gain;
            self.squares[index] = self.squares[index] * kept + gain * gain;
            let rate = 1.0 / (least + self.squares[index]).max(f32::MIN_POSITIVE);
            self.weights[index] = rate * self.regret[index].max(0.0);
        }
        let total = sum_of::<N>(|index| self.weights[index]);
        if total > 0.0 && total.is_finite() {
            let share = 1.0 / total;
            self.weights.iter_mut().for_each(|weight| *weight *= share);
        } else {
            self.weights = [1.0 / N as f32; N];
        }
    }

    /// Whether `index` has any part in the shared forecast.
    pub(crate) fn heeds(&self, index: usize) -> bool {
        self.weights[index] > 0.0
    }

    /// The share of each model, 1 in all once anything was learnt.
    pub(crate) fn weights(&self) -> &[f32; N] {
        &self.weights
    }
}
