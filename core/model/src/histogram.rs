//! A histogram with decaying weights, from which resources are recommended.
//!
//! Source: Kubernetes' Vertical Pod Autoscaler, `pkg/recommender/util/decaying_histogram.go` and `histogram_options.go`: bucket widths grow by
//! 5 %, a percentile is the end of its bucket, and weights halve with each half-life. Differences: weights are integers, so that the result
//! does not depend on the order of samples, and within a half-life weights grow linearly instead of exponentially.

use std::time::Duration;

use crate::time::Time;

/// The number of buckets: the last one begins above 100,000 times the width of the first.
pub const BUCKETS: usize = 176;

/// The weight of a sample at the beginning of a half-life; 2^40 such samples can be counted.
const UNIT: u64 = 1 << 20;

/// The time after which a sample weighs half.
pub const HALF_LIFE: Duration = Duration::from_hours(24);

/// The start of each bucket, in thousandths of the width of the first: bucket `k` starts at `(1.05^k - 1) ÷ 0.05` widths.
const STARTS: [u64; BUCKETS + 1] = {
    let mut starts = [0; BUCKETS + 1];
    // In millionths, so that rounding errors do not accumulate.
    let (mut start, mut width, mut k) = (0_u128, 1_000_000_000_u128, 0);
    while k <= BUCKETS {
        starts[k] = (start / 1_000_000) as u64;
        start += width;
        width = width * 105 / 100;
        k += 1;
    }
    starts
};

/// Weights of samples by size. Sizes are relative to the width of the first bucket: see [`Width`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct DecayingHistogram {
    /// By bucket, without trailing zeros.
    weights: Vec<u64>,
    /// The start of the half-life that weights are relative to.
    reference: Time,
}

/// The width of the first bucket, in the unit of the samples, which is the finest resolution. At least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Width(pub u64);

impl Width {
    /// The end of the bucket with this number.
    pub const fn end_of(self, bucket: usize) -> u64 {
        sized(STARTS[bucket + 1], self)
    }
}

impl DecayingHistogram {
    /// A histogram of the given weights by bucket; weights beyond the last bucket are dropped.
    pub fn from_parts(weights: impl IntoIterator<Item = (usize, u64)>, reference: Time) -> Self {
        let mut all = vec![0; BUCKETS];
        for (bucket, weight) in weights {
            if let Some(kept) = all.get_mut(bucket) {
                *kept = weight;
            }
        }
        let mut histogram = Self { weights: all, reference };
        histogram.trim();
        histogram
    }

    /// The weights by bucket, without trailing zeros.
    #[inline]
    pub fn weights(&self) -> &[u64] {
        &self.weights
    }

    /// The start of the half-life that weights are relative to.
    pub fn reference(&self) -> Time {
        self.reference
    }

    /// Whether no sample has any weight.
    pub fn is_empty(&self) -> bool {
        self.weights.is_empty()
    }

    /// Adds a sample taken at `now`. Samples beyond the last bucket count in the last bucket.
    pub fn add(&mut self, now: Time, sample: u64, width: Width) {
        self.decay(now);
        let weight = self.weight_at(now);
        let bucket = bucket_of(sample, width);
        if self.weights.len() <= bucket {
            self.weights.resize(bucket + 1, 0);
        }
        self.weights[bucket] = self.weights[bucket].saturating_add(weight);
    }

    /// Removes a sample that was added at `at`: what is left of its weight.
    pub fn remove(&mut self, at: Time, sample: u64, width: Width) {
        let weight = self.weight_at(at);
        if let Some(kept) = self.weights.get_mut(bucket_of(sample, width)) {
            *kept = kept.saturating_sub(weight);
        }
        self.trim();
    }

    /// The end and the weight of each non-empty bucket, in ascending order.
    #[inline]
    pub fn sizes(&self, width: Width) -> impl DoubleEndedIterator<Item = (u64, u64)> {
        let sized = move |(bucket, weight): (usize, &u64)| (width.end_of(bucket), *weight);
        self.weights.iter().enumerate().filter(|(_, weight)| **weight > 0).map(sized)
    }

    /// The end of the bucket that contains the given percentile of the weight, 1 to 100. `None` when empty.
    pub fn percentile(&self, percent: u32, width: Width) -> Option<u64> {
        let total: u128 = self.weights.iter().map(|weight| u128::from(*weight)).sum();
        let wanted = total * u128::from(percent);
        let mut seen = 0;
        for (bucket, weight) in self.weights.iter().enumerate() {
            seen += u128::from(*weight) * 100;
            if *weight > 0 && seen >= wanted {
                return Some(width.end_of(bucket));
            }
        }
        None
    }

    /// Applies the half-lives that have passed. Weights below a millionth of a sample are dropped.
    fn decay(&mut self, now: Time) {
        let half_lives = now.since(self.reference).as_millis() / HALF_LIFE.as_millis();
        if half_lives == 0 {
            return;
        }
        let shift = u32::try_from(half_lives).unwrap_or(u32::MAX);
        for weight in &mut self.weights {
            *weight = weight.checked_shr(shift).unwrap_or(0);
        }
        self.trim();
        let passed = HALF_LIFE.saturating_mul(shift);
        self.reference = if self.weights.is_empty() { now } else { self.reference + passed };
    }

    /// The weight of a sample taken at `at`, relative to the reference.
    fn weight_at(&self, at: Time) -> u64 {
        let half_life = u64::try_from(HALF_LIFE.as_millis()).expect("a day in milliseconds fits");
        let (now, reference) = (at.as_millis(), self.reference.as_millis());
        if now >= reference {
            return UNIT + ((now - reference).min(half_life) * UNIT) / half_life;
        }
        let halvings = (reference - now).div_ceil(half_life);
        let into = halvings * half_life - (reference - now);
        let then = UNIT + into * UNIT / half_life;
        u32::try_from(halvings).ok().and_then(|shift| then.checked_shr(shift)).unwrap_or(0)
    }

    fn trim(&mut self) {
        while self.weights.last() == Some(&0) {
            self.weights.pop();
        }
    }
}

fn bucket_of(sample: u64, width: Width) -> usize {
    let width = width.0.max(1);
    // In 64 bits where it fits: this is computed for each bucket in each decision.
    let widths = sample.checked_mul(1000).map_or_else(
        || u64::try_from(u128::from(sample) * 1000 / u128::from(width)).unwrap_or(u64::MAX),
        |thousandths| thousandths / width,
    );
    let after = STARTS.partition_point(|start| *start <= widths);
    after.saturating_sub(1).min(BUCKETS - 1)
}

#[inline]
const fn sized(widths: u64, width: Width) -> u64 {
    if let Some(thousandths) = widths.checked_mul(width.0) {
        return thousandths / 1000;
    }
    let wide = widths as u128 * width.0 as u128 / 1000;
    if wide > u64::MAX as u128 { u64::MAX } else { wide as u64 }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const CPU: Width = Width(10);
    const NOW: Time = Time::from_millis(1_000_000_000);

    fn day(days: u64) -> Time {
        NOW + HALF_LIFE * u32::try_from(days).expect("few")
    }

    #[test]
    fn buckets_are_those_of_the_vertical_pod_autoscaler() {
        // 0.01 × (1.05^k - 1) ÷ 0.05 cores, in thousandths.
        for (bucket, milli) in [(1, 10), (2, 20), (10, 125), (40, 1207), (100, 26_100)] {
            assert_eq!(sized(STARTS[bucket], CPU), milli, "bucket {bucket}");
        }
        assert!(sized(STARTS[BUCKETS], CPU) > 1_000_000, "up to a thousand cores");
    }

    #[test]
    fn a_percentile_is_the_end_of_its_bucket() {
        let mut histogram = DecayingHistogram::default();
        assert_eq!(histogram.percentile(90, CPU), None);
        for sample in [5, 5, 5, 5, 5, 5, 5, 5, 5, 120] {
            histogram.add(NOW, sample, CPU);
        }
        assert_eq!(histogram.percentile(90, CPU), Some(10));
        assert_eq!(histogram.percentile(91, CPU), Some(125));
    }

    #[test]
    fn a_sample_weighs_half_after_a_half_life() {
        let mut histogram = DecayingHistogram::default();
        histogram.add(day(0), 5, CPU);
        histogram.add(day(0), 5, CPU);
        histogram.add(day(1), 120, CPU);
        // Two samples of half the weight against one of full weight.
        assert_eq!(histogram.percentile(50, CPU), Some(10));
        assert_eq!(histogram.percentile(51, CPU), Some(125));
    }

    #[test]
    fn a_removed_sample_leaves_no_weight_days_later() {
        let mut histogram = DecayingHistogram::default();
        let before = NOW + Duration::from_hours(7);
        histogram.add(before, 125, CPU);
        histogram.add(day(3), 5, CPU);
        histogram.remove(before, 125, CPU);
        assert_eq!(histogram.percentile(100, CPU), Some(10));
    }

    #[test]
    fn samples_have_no_weight_after_two_months() {
        let mut histogram = DecayingHistogram::default();
        histogram.add(NOW, 125, CPU);
        histogram.add(day(60), 5, CPU);
        assert_eq!(histogram.percentile(100, CPU), Some(10));
    }

    proptest! {
        #[test]
        fn a_percentile_is_at_or_just_above_the_exact_one(mut samples in vec(0..2_000_000_u64, 1..200), percent in 1..=100_u32) {
            let mut histogram = DecayingHistogram::default();
            for sample in &samples {
                histogram.add(NOW, *sample, CPU);
            }
            let found = histogram.percentile(percent, CPU).expect("there are samples");
            samples.sort_unstable();
            let rank = (samples.len() * percent as usize).div_ceil(100).max(1) - 1;
            let exact = samples[rank].min(sized(STARTS[BUCKETS - 1], CPU));
            prop_assert!(found >= exact && found <= exact + exact / 19 + 11, "{found} for {exact}");
        }

        #[test]
        fn the_64_bit_path_gives_the_same_bucket(sample: u64, shift in 0..64_u32, width in 1..u64::MAX, bucket in 0..=BUCKETS) {
            for (sample, width) in [(sample, width), (sample >> shift, width >> shift), (sample >> shift, 10)] {
                let width = Width(width.max(1));
                let widths = u128::from(sample) * 1000 / u128::from(width.0);
                let last = STARTS[..BUCKETS].iter().rposition(|start| u128::from(*start) <= widths);
                prop_assert_eq!(Some(bucket_of(sample, width)), last);
                let exact = u128::from(STARTS[bucket]) * u128::from(width.0) / 1000;
                prop_assert_eq!(u128::from(sized(STARTS[bucket], width)), exact.min(u128::from(u64::MAX)));
            }
        }

        #[test]
        fn the_order_of_samples_does_not_matter(samples in vec(0..u64::MAX, 1..50), later in 0..10_000_000_u64) {
            let at = Time::from_millis(NOW.as_millis() + later);
            let all = |samples: &mut dyn Iterator<Item = &u64>| {
                let mut histogram = DecayingHistogram::default();
                samples.for_each(|sample| histogram.add(at, *sample, CPU));
                histogram
            };
            prop_assert_eq!(all(&mut samples.iter()), all(&mut samples.iter().rev()));
        }
    }
}
