//! How much of a deviation from the usual load lasts.

/// The share of a deviation that is left at the horizon, by regression through the origin.
///
/// Deviations are logarithms of ratios: a day that is twice as busy in the morning is twice as busy in the evening.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DeviationDecay {
    product: f64,
    square: f64,
}

/// The share of the mean load that is added to both sides of a ratio: at night, three requests instead of one do not make a day three
/// times as busy.
const FLOOR: f64 = 0.05;

/// How far `load` deviates from the usual one, as the logarithm of their ratio; `mean` is the mean load.
pub(crate) fn deviation(load: f64, usual: f64, mean: f64) -> f64 {
    let floor = FLOOR * mean + f64::MIN_POSITIVE;
    ((load + floor) / (usual + floor)).ln()
}

/// The load that deviates so far from the usual one: the inverse of [`deviation`].
pub(crate) fn deviated(deviation: f64, usual: f64, mean: f64) -> f64 {
    let floor = FLOOR * mean + f64::MIN_POSITIVE;
    ((usual + floor) * deviation.exp() - floor).max(0.0)
}

impl DeviationDecay {
    /// The load to expect where `usual` is usual, when the load deviates by `deviation` now.
    pub(crate) fn anchored(self, deviation: f64, usual: f64, mean: f64) -> f64 {
        let floor = FLOOR * mean + f64::MIN_POSITIVE;
        (usual + floor) * (self.share() * deviation).exp() - floor
    }

    /// Learns that a deviation of `before` became one of `after`; forgets over `memory` observations.
    pub(crate) fn learn(&mut self, before: f64, after: f64, memory: f64) {
        let kept = 1.0 - 1.0 / memory;
        // Weighted by their size and not by its square: a burst must not decide alone what becomes of ordinary deviations.
        let size = (before * before + after * after).sqrt().max(f64::MIN_POSITIVE);
        self.product = self.product * kept + before * after / size;
        self.square = self.square * kept + before * before / size;
    }

    fn share(self) -> f64 {
        if self.square > 0.0 { (self.product / self.square).clamp(0.0, 1.0) } else { 1.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_a_deviation_is_left_when_half_was_left_before() {
        let mut decay = DeviationDecay::default();
        for step in 0..100 {
            let before = f64::from(step % 7) / 10.0;
            decay.learn(before, before / 2.0, 50.0);
        }
        let expected = decay.anchored(deviation(200.0, 100.0, 0.0), 100.0, 0.0);
        assert!((expected - 100.0 * 2f64.sqrt()).abs() < 1e-6, "{expected}");
    }

    #[test]
    fn all_of_a_deviation_is_left_before_anything_is_learnt() {
        let expected = DeviationDecay::default().anchored(deviation(200.0, 100.0, 10.0), 100.0, 10.0);
        assert!((expected - 200.0).abs() < 1e-9, "{expected}");
    }
}
