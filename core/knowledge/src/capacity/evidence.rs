//! The evidence for and against each rate.
//!
//! A window is evidence about its own rate, and weaker evidence about others: a promise that is kept at one rate is kept at lower
//! ones, and one that is broken is usually broken at higher ones. So the latest windows also count for rates that do not occur any
//! more. Each rate weighs a bounded number of windows; older ones fade as new ones come.

use model::latency::LATENCY_CLASSES;
use model::memory::{CAPACITY_RATES_MAX, RateEvidence, VersionCapacity};
use model::quantity::MilliRps;

use super::Point;

/// The weight of a window at its own rate, in quarters.
const OWN: u32 = 4;

/// The weight of a window that kept the promise at lower rates.
const IMPLIED_WELL: u32 = 1;

/// The weight of a window that broke the promise at higher rates: bad news is believed sooner.
const IMPLIED_LATE: u32 = 2;

/// A window whose latency is at most a quarter of the promise is evidence for rates up to twice its own, so that a rate at which the
/// promise was once broken is tried again.
pub(super) const CLASS_FAR: usize = 4;

/// The most weight at one rate: 64 windows, so that twenty seconds of four replicas outweigh nothing, and two minutes of them do.
const HEARD_MAX: u32 = 64 * OWN;

/// Most windows whose latencies are kept at one rate.
const WINDOWS_MAX: u32 = 64;

/// The least weight at which a rate is judged.
const HEARD_MIN: u32 = 3 * OWN;

/// The promise counts as kept at a rate while at most one window in this many is late: a sixth of them may be late by chance.
const LATE_ONE_IN: u32 = 6;

/// Bits of a rate that distinguish the buckets within a doubling: eight buckets, each at most an eighth wide.
const STEP_BITS: u32 = 3;

/// The bucket of a rate.
fn bucket_of(rate: MilliRps) -> u16 {
    let steps = 1 << STEP_BITS;
    if rate.0 < steps {
        return rate.0 as u16;
    }
    let doubling = rate.0.ilog2() - STEP_BITS;
    // At most 8 × 62 + 7.
    (steps * u64::from(doubling) + (rate.0 >> doubling)) as u16
}

/// Takes the point of a window.
pub(super) fn take(version: &mut VersionCapacity, point: Point) {
    version.windows = version.windows.saturating_add(1);
    let bucket = bucket_of(point.rate);
    let at = match version.rates.binary_search_by_key(&bucket, |rate| rate.bucket) {
        Ok(at) => at,
        Err(at) => {
            version.rates.insert(at, RateEvidence { bucket, ..RateEvidence::default() });
            at
        }
    };
    note(&mut version.rates[at], point);
    hear(&mut version.rates[at], point, OWN);
    // At a rate that keeps the promise, one late window says nothing about other rates.
    let (others, weight) = if !point.is_late() {
        let reached = if point.class <= CLASS_FAR {
            bucket_of(MilliRps(point.rate.0.saturating_mul(2)))
        } else {
            bucket
        };
        let end = version.rates.partition_point(|rate| rate.bucket <= reached);
        (&mut version.rates[..end], IMPLIED_WELL)
    } else if is_kept(&version.rates[at]) {
        (&mut [][..], 0)
    } else {
        (&mut version.rates[at + 1..], IMPLIED_LATE)
    };
    let others = others.iter_mut().filter(|other| other.bucket != bucket);
    others.for_each(|other| hear(other, point, weight));
    if version.rates.len() > CAPACITY_RATES_MAX {
        let least = (0..version.rates.len()).filter(|other| *other != at);
        if let Some(least) = least.min_by_key(|other| version.rates[*other].windows()) {
            version.rates.remove(least);
        }
    }
}

/// Counts the latency of a window at its rate.
fn note(rate: &mut RateEvidence, point: Point) {
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

fn hear(rate: &mut RateEvidence, point: Point, weight: u32) {
    *(if point.is_late() { &mut rate.late } else { &mut rate.well }) += weight;
    if rate.well + rate.late > HEARD_MAX {
        rate.well /= 2;
        rate.late /= 2;
    }
}

fn is_heard(rate: &RateEvidence) -> bool {
    rate.well + rate.late >= HEARD_MIN && rate.windows() > 0
}

fn is_kept(rate: &RateEvidence) -> bool {
    rate.late * LATE_ONE_IN <= rate.well + rate.late
}

/// The highest rate at which the promise was kept.
pub(super) fn kept(version: &VersionCapacity) -> Option<&RateEvidence> {
    version.rates.iter().rev().find(|rate| is_heard(rate) && is_kept(rate))
}

/// The lowest rate above `kept` at which it was broken as often as not.
pub(super) fn broken<'a>(
    version: &'a VersionCapacity,
    kept: Option<&RateEvidence>,
) -> Option<&'a RateEvidence> {
    let is_above = |rate: &&RateEvidence| kept.is_none_or(|kept| rate.bucket > kept.bucket);
    let mut above = version.rates.iter().filter(is_above);
    above.find(|rate| is_heard(rate) && rate.late >= rate.well)
}

/// The mean rate of the windows in a bucket, in requests a second.
pub(super) fn mean_rate(rate: &RateEvidence) -> f64 {
    rate.rates as f64 / f64::from(rate.windows().max(1)) / 1000.0
}

/// The 75th percentile of the latency classes of a rate's windows. The median would be too low: late requests come in clusters, so
/// that all requests together are slower than the median window.
pub(super) fn usual_class(rate: &RateEvidence) -> usize {
    let most = (rate.windows() * 3).div_ceil(4);
    let mut seen = 0;
    let class = rate.classes.iter().position(|count| {
        seen += u32::from(*count);
        seen >= most
    });
    class.unwrap_or(LATENCY_CLASSES - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_an_eighth_wide_at_most_and_in_order() {
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
