//! A histogram of latencies.

use std::time::Duration;

/// Counts of latencies in buckets whose width grows with the value: at most 6.25 % of it.
///
/// Buckets are 1 µs wide below 16 µs and then 16 to each doubling, up to [`Histogram::TOP`]; what is above is counted in
/// the last. Source: the log-linear layout of HdrHistogram and Circonus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram {
    pub(super) counts: Box<[u64; BUCKETS]>,
}

/// Steps within one doubling, as a power of two.
const STEP_BITS: u32 = 4;
const STEPS: usize = 1 << STEP_BITS;
/// Doublings above the linear part: 16 µs × 2²³ = 134 s.
const DOUBLINGS: usize = 23;
pub(super) const BUCKETS: usize = STEPS * (DOUBLINGS + 1);

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: Box::new([0; BUCKETS]) }
    }
}

impl Histogram {
    /// The end of the range, about 134 s.
    pub const TOP: Duration = Duration::from_micros((STEPS as u64) << DOUBLINGS);

    /// How many latencies were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The counts since an earlier reading of the same counters.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut counts = self.counts.clone();
        counts.iter_mut().zip(earlier.counts.iter()).for_each(|(now, then)| *now = now.saturating_sub(*then));
        Self { counts }
    }

    /// Adds the counts of another histogram.
    pub fn merge(&mut self, other: &Self) {
        self.counts.iter_mut().zip(other.counts.iter()).for_each(|(sum, more)| *sum += more);
    }

    /// The latency that a share `quantile` (0 to 1) of the requests did not exceed, to within 6.25 %, never too low.
    /// `None` while nothing was counted.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> Option<Duration> {
        let count = self.count();
        let rank = (quantile.clamp(0.0, 1.0) * count as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        let buckets = self.buckets();
        buckets.filter(|_| count > 0).find_map(|(upper, n)| {
            seen += n;
            (seen >= rank).then_some(upper)
        })
    }

    /// The upper bound (exclusive) and the count of each bucket, in rising order.
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        self.counts.iter().enumerate().map(|(i, &n)| (Duration::from_micros(lower_us(i + 1)), n))
    }
}

/// The bucket of a latency in microseconds.
pub(super) fn bucket_of(us: u64) -> usize {
    if us < STEPS as u64 {
        return us as usize;
    }
    let doubling = us.ilog2() - STEP_BITS;
    let step = (us >> doubling) as usize - STEPS;
    (STEPS * (doubling as usize + 1) + step).min(BUCKETS - 1)
}

/// The lower bound of a bucket in microseconds.
pub(super) fn lower_us(bucket: usize) -> u64 {
    match (bucket / STEPS).checked_sub(1) {
        None => bucket as u64,
        Some(doubling) => ((STEPS + bucket % STEPS) as u64) << doubling,
    }
}
