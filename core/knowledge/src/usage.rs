//! The usage of replicas, learned from samples, and the recommended size of a replica.
//!
//! Source: Kubernetes' Vertical Pod Autoscaler, `pkg/recommender/model` (samples, memory peaks, running out of memory) and
//! `pkg/recommender/logic/estimator.go` (percentiles, margin, confidence). Unlike there, processor time counts only while a replica
//! is ready: its start is not part of the load.

use std::time::Duration;

use model::histogram::Width;
use model::memory::UsageProfile;
use model::quantity::{Bytes, MilliCpu};
use model::time::Time;

use crate::place::Place;

/// The resolution of processor usage.
const CPU_WIDTH: Width = Width(10);

/// The resolution of memory: 10 MB.
const MEMORY_WIDTH: Width = Width(10_000_000);

/// The time of each sample of the processor usage.
const CPU_SAMPLE: Duration = Duration::from_mins(1);

/// After a longer gap between reports there is no sample.
const CPU_SAMPLE_MAX: Duration = Duration::from_mins(5);

/// The time of each sample of the memory, which is the peak in it.
const MEMORY_PEAK: Duration = Duration::from_hours(24);

/// A replica that ran out of memory is assumed to need this much more or a fifth more, whichever is greater.
const OUT_OF_MEMORY_BUMP: Bytes = Bytes(100 << 20);

/// The margin of a recommendation above the usage, in hundredths.
const MARGIN_PERCENT: u64 = 15;

/// Samples of the processor usage of one replica in a day.
const SAMPLES_A_DAY: f64 = 1440.0;

/// The measurements of a replica that are not part of a sample yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartialSample {
    /// The begin of the current sample: when, and the processor time by then, in microseconds.
    cpu_sample: Option<(Time, u64)>,
    peak: Option<Peak>,
}

/// The peak of the memory in the current sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Peak {
    /// When the sample began.
    begun: Time,
    /// When the peak was measured.
    at: Time,
    bytes: u64,
}

/// The recommended size of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// Processor; `None` before the first sample.
    pub cpu: Option<Range<MilliCpu>>,
    /// Memory; `None` before the first sample.
    pub memory: Option<Range<Bytes>>,
}

/// A recommended amount, with bounds that narrow as samples are added; an amount outside of the bounds is almost certainly wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range<T> {
    /// Less is too little: half of the samples are above.
    pub lower: T,
    /// The 90th percentile of the samples, with a margin.
    pub target: T,
    /// More is wasted.
    pub upper: T,
}

/// Adds a report on the usage of the replica of `place` to `profile`.
pub(crate) fn observe(profile: &mut UsageProfile, place: &mut Place, at: Time, memory: Bytes) {
    let cpu_time = place.cpu.last().filter(|(seen, _)| *seen == at && place.is_ready());
    let partial_sample = partial_sample(place);
    observe_cpu(profile, partial_sample, cpu_time);
    observe_memory(profile, partial_sample, at, memory.0);
}

fn partial_sample(place: &mut Place) -> &mut PartialSample {
    &mut place.measured.get_or_insert_default().partial_sample
}

/// `cpu_time` is the processor time and when it was measured; `None` while the replica is not ready.
fn observe_cpu(
    profile: &mut UsageProfile,
    partial_sample: &mut PartialSample,
    cpu_time: Option<(Time, u64)>,
) {
    let Some((at, used)) = cpu_time else {
        partial_sample.cpu_sample = None;
        return;
    };
    let Some((begun, before)) = partial_sample.cpu_sample else {
        partial_sample.cpu_sample = Some((at, used));
        return;
    };
    let over = at.since(begun);
    if over < CPU_SAMPLE {
        return;
    }
    partial_sample.cpu_sample = Some((at, used));
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
            profile.memory.remove(peak.at, peak.bytes, MEMORY_WIDTH);
            peak.begun
        }
        Some(_) | None => at,
    };
    profile.memory.add(at, bytes, MEMORY_WIDTH);
    profile.since.get_or_insert(at);
    partial_sample.peak = Some(Peak { begun, at, bytes });
}

/// Learns from a replica of `place` that was killed because it ran out of memory; `limit` is its memory limit.
pub(crate) fn observe_out_of_memory(
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

/// The recommended size of a replica according to `profile`, at `now`.
pub fn estimate(profile: &UsageProfile, now: Time) -> Estimate {
    let confidence = confidence(profile, now);
    // As in the recommender of Kubernetes: after a day the upper bound is twice the percentile, after a week 1.14 times; the lower bound is
    // 0.6 times the percentile after five minutes, and nearly all of it after an hour.
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

/// The samples in days of one replica, at most the days that have passed: more replicas do not replace time.
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
            Health { since: BEGIN, started: true, ready: true, ready_changed: BEGIN, unhealthy_since: None };
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
    fn there_is_no_recommendation_before_the_first_sample() {
        assert_eq!(estimate(&UsageProfile::default(), BEGIN), Estimate { cpu: None, memory: None });
    }

    #[test]
    fn a_steady_usage_is_recommended_with_a_margin() {
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
    fn bounds_narrow_with_more_samples() {
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
    fn usage_before_readiness_is_not_counted() {
        let (mut profile, mut place) = (UsageProfile::default(), ready());
        if let Stage::Running(health) = &mut place.stage {
            health.ready = false;
        }
        use_cpu(&mut profile, &mut place, BEGIN, Duration::from_mins(10), 1000);
        assert!(profile.cpu.is_empty());
    }

    #[test]
    fn only_the_memory_peak_of_a_day_is_counted() {
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
    fn after_running_out_of_memory_more_than_the_limit_is_recommended() {
        let (mut profile, mut place) = (UsageProfile::default(), ready());
        observe_memory(&mut profile, partial_sample(&mut place), BEGIN, 900 * MIB);
        observe_out_of_memory(
            &mut profile,
            &mut place,
            BEGIN + Duration::from_secs(1),
            Some(Bytes(1024 * MIB)),
        );
        let memory = estimate(&profile, BEGIN + Duration::from_secs(2)).memory.expect("it was measured");
        assert!(memory.target.0 > 1228 * MIB, "{memory:?}");
    }

    #[test]
    fn a_gap_in_the_reports_is_not_a_sample() {
        let (mut profile, mut place) = (UsageProfile::default(), ready());
        place.cpu.push(BEGIN, 0);
        observe(&mut profile, &mut place, BEGIN, Bytes(0));
        let later = BEGIN + Duration::from_mins(10);
        place.cpu.push(later, 1);
        observe(&mut profile, &mut place, later, Bytes(0));
        assert!(profile.cpu.is_empty());
    }
}
