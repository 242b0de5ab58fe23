//! Weighted shares of requests, exact over time and interleaved as evenly as possible.

use std::num::NonZeroU32;

use model::chance::Stream;

/// The maximum number of picks that a seed skips; among 16 services they take a tenth of a millisecond.
const SKIPPED_MAX: u64 = 1024;

/// Spreads requests in proportion to weights.
///
/// A round has as many requests as the sum of the weights. In each round, each index gets exactly its weight, in runs as short as possible.
/// Source: nginx, "smooth weighted round robin".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightedRoundRobin {
    weights: Box<[u32]>,
    /// nginx's `current_weight`; their sum is 0 between picks.
    credits: Box<[i64]>,
    sum: i64,
}

impl WeightedRoundRobin {
    /// Spreads by these weights; a weight of 0 gets nothing.
    ///
    /// `seed` chooses the position in the round to start from, so that instances with different seeds do not all pick the same index first.
    pub fn new(weights: &[u32], seed: u64) -> Self {
        let sum = weights.iter().map(|weight| i64::from(*weight)).sum();
        let mut round_robin = Self { weights: weights.into(), credits: vec![0; weights.len()].into(), sum };
        let positions = u64::try_from(sum).unwrap_or(0).min(SKIPPED_MAX);
        for _ in 0..seed.checked_rem(positions).unwrap_or(0) {
            round_robin.pick();
        }
        round_robin
    }

    /// The weights.
    pub fn weights(&self) -> &[u32] {
        &self.weights
    }

    /// The index that gets the next request; `None` when all weights are 0.
    pub fn pick(&mut self) -> Option<usize> {
        let mut chosen: Option<usize> = None;
        for at in 0..self.weights.len() {
            self.credits[at] += i64::from(self.weights[at]);
            let has_share = self.weights[at] > 0;
            if has_share && chosen.is_none_or(|best| self.credits[at] > self.credits[best]) {
                chosen = Some(at);
            }
        }
        let at = chosen?;
        self.credits[at] -= self.sum;
        Some(at)
    }
}

/// Samples a share of requests at random, but exactly: of 3 in 8, three of every eight consecutive requests.
///
/// Random within each group, so that requests that alternate are sampled alike. Source: Fan, Muller and Rezucha 1962, selection sampling
/// (Knuth, The Art of Computer Programming, volume 2, 3.4.2, algorithm S).
#[derive(Clone, Debug)]
pub struct Sampler {
    random: Stream,
    /// Requests that are left in the current group.
    left: u64,
    /// How many of these are still to be sampled.
    wanted: u64,
}

impl Sampler {
    /// A sampler whose choices are determined by `seed` and `name`.
    pub fn new(seed: u64, name: &str) -> Self {
        Self { random: Stream::named(seed, name), left: 0, wanted: 0 }
    }

    /// Whether the next request is in the sample. A `numerator` above `denominator` samples all. The share must not change between calls.
    pub fn sample(&mut self, numerator: u32, denominator: NonZeroU32) -> bool {
        if self.left == 0 {
            let wanted = numerator.min(denominator.get());
            let divisor = greatest_common_divisor(wanted, denominator.get());
            (self.left, self.wanted) = (u64::from(denominator.get() / divisor), u64::from(wanted / divisor));
        }
        let is_sampled = self.random.below(self.left) < self.wanted;
        self.left -= 1;
        self.wanted -= u64::from(is_sampled);
        is_sampled
    }
}

/// By Euclid's algorithm; not 0, as `b` is not.
fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if a == 0 { b } else { greatest_common_divisor(b % a, a) }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_largest_weight_is_interleaved_with_the_others() {
        let mut round_robin = WeightedRoundRobin::new(&[5, 1, 1], 0);
        let order: Vec<_> = (0..7).map(|_| round_robin.pick().unwrap()).collect();
        assert_eq!(order, [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn weights_of_zero_get_nothing() {
        assert_eq!(WeightedRoundRobin::new(&[0, 0], 3).pick(), None);
        assert_eq!(WeightedRoundRobin::new(&[], 3).pick(), None);
    }

    #[test]
    fn requests_that_alternate_are_sampled_alike() {
        let mut sampler = Sampler::new(1, "web");
        let mut sampled = [0u32; 2];
        for n in 0..4000 {
            sampled[n % 2] += u32::from(sampler.sample(25, NonZeroU32::new(100).unwrap()));
        }
        assert_eq!(sampled.iter().sum::<u32>(), 1000);
        assert!(sampled.iter().all(|count| (400..600).contains(count)), "{sampled:?}");
    }

    proptest! {
        #[test]
        fn each_round_gives_each_exactly_its_weight(weights in vec(0u32..20, 1..6), seed: u64, rounds in 1usize..4) {
            let mut round_robin = WeightedRoundRobin::new(&weights, seed);
            let sum: u32 = weights.iter().sum();
            for _ in 0..rounds {
                let mut counts = vec![0u32; weights.len()];
                for _ in 0..sum {
                    counts[round_robin.pick().expect("a weight is above 0")] += 1;
                }
                prop_assert_eq!(&counts, &weights);
            }
        }

        #[test]
        fn no_share_deviates_by_more_than_one_request_per_other(weights in vec(0u32..1000, 1..6), count in 1usize..200) {
            let mut round_robin = WeightedRoundRobin::new(&weights, 0);
            let sum: u64 = weights.iter().map(|w| u64::from(*w)).sum();
            prop_assume!(sum > 0);
            let mut counts = vec![0u64; weights.len()];
            for n in 1..=count as u64 {
                counts[round_robin.pick().expect("a weight is above 0")] += 1;
                for (count, weight) in counts.iter().zip(&weights) {
                    let deviation = (count * sum).abs_diff(n * u64::from(*weight));
                    prop_assert!(deviation <= sum * weights.len() as u64, "{counts:?} of {weights:?} after {n}");
                }
            }
        }

        #[test]
        fn a_sample_is_exact(numerator in 0u32..50, more in 1u32..50, rounds in 1u32..4, seed: u64) {
            let denominator = NonZeroU32::new(numerator + more).unwrap();
            let mut sampler = Sampler::new(seed, "web");
            for _ in 0..rounds {
                let sampled = (0..denominator.get()).filter(|_| sampler.sample(numerator, denominator)).count();
                prop_assert_eq!(sampled as u32, numerator);
            }
        }
    }
}
