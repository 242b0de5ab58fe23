//! What replicas use, learned sample by sample, and how large a replica should therefore be.
//!
//! Source: Kubernetes' Vertical Pod Autoscaler, `pkg/recommender/model` (samples, memory peaks, running out of memory) and
//! `pkg/recommender/logic/estimator.go` (percentiles, margin, confidence). Unlike there, processor time counts only while a replica
//! is ready: a start is no load that it must carry.

use std::time::Duration;

use model::histogram::Width;
use model::memory::UsageProfile;
use model::quantity::{Bytes, MilliCpu};
use model::time::Time;

use crate::place::Place;

/// The finest difference in processor usage that is kept.
const CPU_WIDTH: Width = Width(10);

/// The finest difference in memory that is kept: 10 MB.
const MEMORY_WIDTH: Width = Width(10_000_000);

/// The time over which a mean of the processor usage is taken.
const CPU_SAMPLE: Duration = Duration::from_mins(1);

/// After a longer gap between reports no mean is taken.
const CPU_SAMPLE_MAX: Duration = Duration::from_mins(5);

/// The peak of memory in each such time of a life is one sample.
const MEMORY_PEAK: Duration = Duration::from_hours(24);

/// A replica that ran out of memory is assumed to need this much more, or a fifth more, whichever is greater.
const OUT_OF_MEMORY_BUMP: Bytes = Bytes(100 << 20);

/// The margin of a recommendation above what was used, in hundredths.
const MARGIN_PERCENT: u64 = 15;

/// Samples of the processor in a day of one replica.
const SAMPLES_A_DAY: f64 = 1440.0;

/// What was measured of a life and is not part of a sample yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartialSample {
    /// The begin of the minute that is being measured: when, and the processor time by then, in microseconds.
    minute: Option<(Time, u64)>,
    peak: Option<Peak>,
}

/// The peak of memory within a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Peak {
    /// When the time began.
    begun: Time,
    /// When it was seen.
    at: Time,
    bytes: u64,
}

/// How large a replica should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// Processor; `None` before the first sample.
    pub cpu: Option<Range<MilliCpu>>,
    /// Memory; `None` before the first sample.
    pub memory: Option<Range<Bytes>>,
}

/// An amount that should suffice, and bounds that close in on it as samples come; an amount outside of them is almost certainly wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range<T> {
    /// Less is too little: half of the samples need more.
    pub lower: T,
    /// Covers nine of ten samples, with a margin.
    pub target: T,
    /// More is waste.
    pub upper: T,
}

/// Takes a report of what the replica of `place` uses into `profile`.
pub(crate) fn observe(profile: &mut UsageProfile, place: &mut Place, at: Time, memory: Bytes) {
    let spent = place.cpu.last().filter(|(seen, _)| *seen == at && place.is_ready());
    let partial_sample = partial_sample(place);
    observe_cpu(profile, partial_sample, spent);
    observe_memory(profile, partial_sample, at, memory.0);
}

fn partial_sample(place: &mut Place) -> &mut PartialSample {
    &mut place.measured.get_or_insert_default().partial_sample
}

/// `spent` is when, and the processor time by then; `None` while the replica is not ready.
fn observe_cpu(profile: &mut UsageProfile, partial_sample: &mut PartialSample, spent: Option<(Time, u64)>) {
    let Some((at, used)) = spent else {
        partial_sample.minute = None;
        return;
    };
    let Some((begun, before)) = partial_sample.minute else {
        partial_sample.minute = Some((at, used));
        return;
    };
    let over = at.since(begun);
    if over < CPU_SAMPLE {
        return;
    }
    partial_sample.minute = Some((at, used));
    if over <= CPU_SAMPLE_MAX {
        let mean = MilliCpu::mean(Duration::from_micros(used.saturating_sub(before)), over);
        profile.cpu.add(at, mean.0, CPU_WIDTH);
        profile.samples = profile.samples.saturating_add(1);
        profile.since.get_or_insert(at);
    }
}

fn observe_memory(profile: &mut UsageProfile, partial_sample: &mut PartialSample, at: Time, bytes: u64) {
    let begun = match partial_sample.peak {
        Some(peak) if at.since(peak.begun) < MEMORY_PEAK => {
            if bytes <= peak.bytes {
                return;
            }
            profile.memory.take_back(peak.at, peak.bytes, MEMORY_WIDTH);
            peak.begun
        }
        Some(_) | None => at,
    };
    profile.memory.add(at, bytes, MEMORY_WIDTH);
    profile.since.get_or_insert(at);
    partial_sample.peak = Some(Peak { begun, at, bytes });
}

/// Learns from a replica of `place` that was killed because it ran out of memory; `limit` is what it had.
pub(crate) fn ran_out_of_memory(
    profile: &mut UsageProfile,
    place: &mut Place,
    at: Time,
    limit: Option<Bytes>,
) {
    let partial_sample = partial_sample(place);
    let peak = partial_sample.peak.map_or(0, |peak| peak.bytes);
    let used = limit.map_or(0, |limit| limit.0).max(peak);
    let needed = used.saturating_add(OUT_OF_MEMORY_BUMP.0).max(used.saturating_add(used / 5));
    observe_memory(profile, partial_sample, at, needed);
}

/// How large a replica should be, by what `profile` has seen up to `now`.
pub fn estimate(profile: &UsageProfile, now: Time) -> Estimate {
    let confidence = confidence(profile, now);
    // As the recommender of Kubernetes has it: after a day the upper bound is twice what was seen, after a week 1.14 times; the lower
    // bound is 0.6 times after five minutes and all of it after an hour.
    let (low, high) = if confidence > 0.0 {
        let low = 1.0 + 0.001 / confidence;
        (1.0 / (low * low), 1.0 + 1.0 / confidence)
    } else {
        (0.0, f64::INFINITY)
    };
    let of = |percentile: &dyn Fn(u32) -> Option<u64>| {
        let with_margin = |percent| Some(percentile(percent)?.saturating_mul(100 + MARGIN_PERCENT) / 100);
        let (lower, target, upper) = (with_margin(50)?, with_margin(90)?, with_margin(95)?);
        let lower = ((lower as f64 * low) as u64).min(target);
        let upper = ((upper as f64 * high) as u64).max(target);
        Some((lower, target, upper))
    };
    let cpu = of(&|percent| profile.cpu.percentile(percent, CPU_WIDTH));
    let memory = of(&|percent| profile.memory.percentile(percent, MEMORY_WIDTH));
    Estimate {
        cpu: cpu.map(|(lower, target, upper)| Range {
            lower: MilliCpu(lower),
            target: MilliCpu(target),
            upper: MilliCpu(upper),
        }),
        memory: memory.map(|(lower, target, upper)| Range {
            lower: Bytes(lower),
            target: Bytes(target),
            upper: Bytes(upper),
        }),
    }
}

/// Days' worth of samples, at most as many as days have passed: more replicas do not replace time.
pub fn confidence(profile: &UsageProfile, now: Time) -> f64 {
    let Some(since) = profile.since else { return 0.0 };
    let days = now.since(since).as_secs_f64() / 86_400.0;
    days.min(profile.samples as f64 / SAMPLES_A_DAY)
}

#[cfg(test)]
mod tests {
    use model::identity::{ActionId, Generation, Incarnation};
    use model::plan::Role;

    use super::*;
    use crate::place::{Health, Stage};

    const BEGIN: Time = Time::from_millis(1_000_000_000);
    const MIB: u64 = 1 << 20;

    fn ready() -> Place {
        let mut place = Place::empty(Role::Active, BEGIN);
        let health =
            Health { since: BEGIN, begun: true, ready: true, ready_changed: BEGIN, sick_since: None };
        place.begin(BEGIN, Incarnation(1), Generation(1), (ActionId::default(), Stage::Running(health)));
        place
    }

    /// A report each half second for some time, of a usage in thousandths of a core.
    fn use_cpu(
        profile: &mut UsageProfile,
        place: &mut Place,
        from: Time,
        over: Duration,
        milli: u64,
    ) -> Time {
        let mut at = from;
        let mut used = place.cpu.last().map_or(0, |(_, used)| used);
        while at < from + over {
            at = at + Duration::from_millis(500);
            used += milli * 500;
            place.cpu.push(at, used);
            observe(profile, place, at, Bytes(50 * MIB));
        }
        at
    }

    #[test]
    fn nothing_is_recommended_before_anything_was_seen() {
        assert_eq!(estimate(&UsageProfile::default(), BEGIN), Estimate { cpu: None, memory: None });
    }

    #[test]
    fn a_steady_replica_needs_what_it_uses_and_a_margin() {
        let (mut profile, mut place) = (UsageProfile::default(), ready());
        let end = use_cpu(&mut profile, &mut place, BEGIN, Duration::from_hours(24), 200);
        assert_eq!(profile.samples, 1440 - 1);
        let estimate = estimate(&profile, end);
        let cpu = estimate.cpu.expect("it was measured");
        assert!((240..=250).contains(&cpu.target.0), "15 % above the end of the bucket of 200: {cpu:?}");
        assert!(cpu.lower.0 > 200 && cpu.lower <= cpu.target, "{cpu:?}");
        assert!(
            (cpu.target.0 * 2..=cpu.target.0 * 21 / 10).contains(&cpu.upper.0),
            "twice after a day: {cpu:?}"
        );
        let memory = estimate.memory.expect("it was measured");
        assert!((60 * MIB..=66 * MIB).contains(&memory.target.0), "{memory:?}");
    }

    #[test]
    fn bounds_close_in_as_samples_come() {
        let (mut profile, mut place) = (UsageProfile::default(), ready());
        let mut end = BEGIN;
        let mut width = u64::MAX;
        for _ in 0..4 {
            end = use_cpu(&mut profile, &mut place, end, Duration::from_hours(2), 200);
            let cpu = estimate(&profile, end).cpu.expect("it was measured");
            let now = cpu.upper.0 - cpu.lower.0;
            assert!(now < width, "{cpu:?}");
            width = now;
        }
    }

    #[test]
    fn a_start_is_no_load() {
        let (mut profile, mut place) = (UsageProfile::default(), ready());
        if let Stage::Running(health) = &mut place.stage {
            health.ready = false;
        }
        use_cpu(&mut profile, &mut place, BEGIN, Duration::from_mins(10), 1000);
        assert!(profile.cpu.is_empty());
    }

    #[test]
    fn of_each_day_the_most_memory_counts_once() {
        let (mut profile, mut place) = (UsageProfile::default(), ready());
        for (minute, mib) in [50, 300, 80].into_iter().enumerate() {
            let at = BEGIN + Duration::from_mins(minute as u64);
            observe_memory(&mut profile, partial_sample(&mut place), at, mib * MIB);
        }
        let only = |percent| profile.memory.percentile(percent, MEMORY_WIDTH);
        assert_eq!(only(1), only(100));
        assert!(only(1).is_some_and(|bytes| (300 * MIB..330 * MIB).contains(&bytes)));
    }

    #[test]
    fn after_memory_ran_out_more_is_recommended_than_there_was() {
        let (mut profile, mut place) = (UsageProfile::default(), ready());
        observe_memory(&mut profile, partial_sample(&mut place), BEGIN, 900 * MIB);
        ran_out_of_memory(&mut profile, &mut place, BEGIN + Duration::from_secs(1), Some(Bytes(1024 * MIB)));
        let memory = estimate(&profile, BEGIN + Duration::from_secs(2)).memory.expect("it was measured");
        assert!(memory.target.0 > 1228 * MIB, "{memory:?}");
    }

    #[test]
    fn a_gap_in_the_reports_is_no_sample() {
        let (mut profile, mut place) = (UsageProfile::default(), ready());
        place.cpu.push(BEGIN, 0);
        observe(&mut profile, &mut place, BEGIN, Bytes(0));
        let later = BEGIN + Duration::from_mins(10);
        place.cpu.push(later, 1);
        observe(&mut profile, &mut place, later, Bytes(0));
        assert!(profile.cpu.is_empty());
    }
}
