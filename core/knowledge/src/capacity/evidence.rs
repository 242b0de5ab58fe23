//! The evidence for and against each rate.
//!
//! A window is evidence about its own rate, and weaker evidence about others: an SLO that is met at one rate is met at lower ones, and
//! one that is violated is usually violated at higher ones. Thus the latest windows also count for rates that no longer occur. The
//! weight at each rate is bounded; older windows fade as new ones are added.

use model::latency::LATENCY_CLASSES;
use model::memory::{CAPACITY_RATES_MAX, RateEvidence, VersionCapacity};
use model::quantity::MilliRps;

use super::Point;

/// The weight of a window at its own rate, in quarters.
const OWN_WEIGHT: u32 = 4;

/// The weight of a window that met the SLO at lower rates.
const IMPLIED_MET_WEIGHT: u32 = 1;

/// The weight of a window that violated the SLO at higher rates: it counts for more, to react sooner.
const IMPLIED_LATE_WEIGHT: u32 = 2;

/// The class of latencies up to a quarter of the threshold. Such a window is evidence for rates up to twice its own, so that a rate that
/// once violated the SLO is tried again.
const CLASS_QUARTER: usize = 4;

/// The most weight at one rate: 64 windows, which twenty seconds of four replicas do not outweigh, and two minutes do.
const WEIGHT_MAX: u32 = 64 * OWN_WEIGHT;

/// The most windows whose latencies are kept at one rate.
const WINDOWS_MAX: u32 = 64;

/// The least weight for a verdict on a rate.
const WEIGHT_MIN: u32 = 3 * OWN_WEIGHT;

/// The SLO counts as met at a rate while at most one window in this many is late: a sixth of them may be late by chance.
const LATE_ONE_IN: u32 = 6;

/// The bits of a rate that select the bucket within an octave: eight buckets, each at most an eighth wide.
const STEP_BITS: u32 = 3;

/// The bucket of a rate.
fn bucket_of(rate: MilliRps) -> u16 {
    let steps = 1 << STEP_BITS;
    if rate.0 < steps {
        return rate.0 as u16;
    }
    let octave = rate.0.ilog2() - STEP_BITS;
    // At most 8 × 62 + 7.
    (steps * u64::from(octave) + (rate.0 >> octave)) as u16
}

/// Adds the point of a window.
pub(super) fn add_point(version: &mut VersionCapacity, point: Point) {
    version.windows = version.windows.saturating_add(1);
    let bucket = bucket_of(point.rate);
    let at = match version.rates.binary_search_by_key(&bucket, |rate| rate.bucket) {
        Ok(at) => at,
        Err(at) => {
            version.rates.insert(at, RateEvidence { bucket, ..RateEvidence::default() });
            at
        }
    };
    count_latency(&mut version.rates[at], point);
    add_weight(&mut version.rates[at], point, OWN_WEIGHT);
    // At a rate that meets the SLO, one late window is no evidence about other rates.
    let (others, weight) = if !point.is_late() {
        let highest = if point.class <= CLASS_QUARTER {
            bucket_of(MilliRps(point.rate.0.saturating_mul(2)))
        } else {
            bucket
        };
        let end = version.rates.partition_point(|rate| rate.bucket <= highest);
        (&mut version.rates[..end], IMPLIED_MET_WEIGHT)
    } else if meets_slo(&version.rates[at]) {
        (&mut [][..], 0)
    } else {
        (&mut version.rates[at + 1..], IMPLIED_LATE_WEIGHT)
    };
    let others = others.iter_mut().filter(|other| other.bucket != bucket);
    others.for_each(|other| add_weight(other, point, weight));
    if version.rates.len() > CAPACITY_RATES_MAX {
        let least = (0..version.rates.len()).filter(|other| *other != at);
        if let Some(least) = least.min_by_key(|other| version.rates[*other].windows()) {
            version.rates.remove(least);
        }
    }
}

/// Counts the latency of a window at its rate.
fn count_latency(rate: &mut RateEvidence, point: Point) {
    if rate.windows() >= WINDOWS_MAX {
        let mean = rate.rates / u64::from(rate.windows());
        rate.classes.iter_mut().for_each(|count| *count /= 2);
        rate.rates = mean.saturating_mul(u64::from(rate.windows()));
    }
    if let Some(count) = rate.classes.get_mut(point.class.min(LATENCY_CLASSES - 1)) {
        *count += 1;
        rate.rates = rate.rates.saturating_add(point.rate.0);
    }
}

fn add_weight(rate: &mut RateEvidence, point: Point, weight: u32) {
    *(if point.is_late() { &mut rate.late } else { &mut rate.in_time }) += weight;
    if rate.in_time + rate.late > WEIGHT_MAX {
        rate.in_time /= 2;
        rate.late /= 2;
    }
}

fn is_significant(rate: &RateEvidence) -> bool {
    rate.in_time + rate.late >= WEIGHT_MIN && rate.windows() > 0
}

fn meets_slo(rate: &RateEvidence) -> bool {
    rate.late * LATE_ONE_IN <= rate.in_time + rate.late
}

/// The highest rate at which the SLO was met.
pub(super) fn highest_met(version: &VersionCapacity) -> Option<&RateEvidence> {
    version.rates.iter().rev().find(|rate| is_significant(rate) && meets_slo(rate))
}

/// The lowest rate above `met` at which it was violated at least as often as met.
pub(super) fn lowest_violated<'a>(
    version: &'a VersionCapacity,
    met: Option<&RateEvidence>,
) -> Option<&'a RateEvidence> {
    let is_above = |rate: &&RateEvidence| met.is_none_or(|met| rate.bucket > met.bucket);
    let mut above = version.rates.iter().filter(is_above);
    above.find(|rate| is_significant(rate) && rate.late >= rate.in_time)
}

/// The mean rate of the windows in a bucket, in requests a second.
pub(super) fn mean_rate(rate: &RateEvidence) -> f64 {
    rate.rates as f64 / f64::from(rate.windows().max(1)) / 1000.0
}

/// The 75th percentile of the latency classes of a rate's windows. The median would be too low: late requests are clustered, so that all
/// requests together are slower than the median window.
pub(super) fn latency_class(rate: &RateEvidence) -> usize {
    let rank = (rate.windows() * 3).div_ceil(4);
    let mut seen = 0;
    let class = rate.classes.iter().position(|count| {
        seen += u32::from(*count);
        seen >= rank
    });
    class.unwrap_or(LATENCY_CLASSES - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_ordered_and_at_most_an_eighth_wide() {
        let mut before = None;
        for rate in (1..200_000).chain([u64::MAX / 2, u64::MAX]) {
            let bucket = bucket_of(MilliRps(rate));
            assert!(before.is_none_or(|before| bucket >= before), "{rate}");
            before = Some(bucket);
        }
        assert!(bucket_of(MilliRps(9000)) < bucket_of(MilliRps(10_200)));
        assert!(u64::from(bucket_of(MilliRps(u64::MAX))) < 8 * 62 + 8);
    }
}
