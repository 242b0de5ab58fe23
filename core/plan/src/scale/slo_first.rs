//! SLO-first: the number of replicas that keeps a promise at least cost, by what one of them carries.
//!
//! What one carries is learned ([`knowledge::capacity`]) and stands as the target of the one metric, the requests that come. The number is
//! that of a newsvendor, as in `newsvendor.rs`: of replicas, and of the requests that come while the load exceeds what those can carry. How far the load
//! may rise before a replica that is started now can help is what it was seen to rise within as long before, at any time. Once it is foreseen how far it
//! rises at this time, that stands in its place (`expected_load.rs`), and only what no forecast of a minute's mean can know remains here: how far the load rises
//! above the mean within a minute.

use std::time::Duration;

use model::histogram::{BUCKETS, DecayingHistogram, Width};
use model::memory::{LoadPeak, PolicyHistory, PolicyMemory, RISE_STEP, RISE_STEPS_MAX, RiseMemory};
use model::resource::Slo;
use model::time::Time;

use super::combine::{Combined, DecidedBy};
use super::policy_input::{PolicyInput, quotient, replicas_at_most, target_of};
use super::reading::Milli;
use crate::learned::{self, Fallback, PriceFactors, STEPS_A_MINUTE};
use crate::slo::{self, Objective, Price};

/// The decision of SLO-first, with its arithmetic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SloDecision {
    /// The demand on all replicas, in requests a second, with the share of the waiting ones that is to be worked off.
    pub load: Milli,
    /// What one replica carries.
    pub capacity: Milli,
    /// Replicas that carry the load as it is.
    pub needed: u32,
    /// Replicas that cost least, as far as the load may rise.
    pub floor: u32,
    /// In how many millionths of the times seen the load rose past what `floor` carries.
    pub risk: u32,
    /// Where that is fewer than there are: those that would be enough if a replica carried a little less; at most as many as there are.
    pub wary: Option<u32>,
    /// How far ahead was looked.
    pub horizon: Duration,
    /// A forecast covers rises from one minute to another, so that `floor` is for those within a minute.
    pub is_foreseen: bool,
    /// Too few rises were seen, so that a share of the capacity is kept free.
    pub is_new: bool,
    /// Some replicas that ought to be measured are not, so that none is removed.
    pub is_partial: bool,
    /// What was learned of how much a violated request counts, or why the objective alone says so; `None` where nothing was learned.
    pub learned: Option<Result<PriceFactors, Fallback>>,
}

/// Rises that are distinguished: by a hundredth of the load, and by a twentieth of themselves.
const RISE_WIDTH: Width = Width(10);

/// What a rise of each size makes of a load, as a multiple of it.
const GROWN: [f64; BUCKETS] = {
    let (mut grown, mut bucket) = ([0.0; BUCKETS], 0);
    while bucket < BUCKETS {
        grown[bucket] = 1.0 + RISE_WIDTH.end_of(bucket) as f64 / 1000.0;
        bucket += 1;
    }
    grown
};

/// Steps that must be seen, half an hour of them, before the distribution of rises is used.
const RISES_MIN: u64 = 30 * STEPS_A_MINUTE;

/// The share of the capacity that is used until then: what a horizontal pod autoscaler is usually set to.
const USED_WHILE_NEW_PERCENT: i64 = 70;

/// Steps between two looks of whoever looks rarely, at most. Past it nobody sees how the load rises.
const STEPS_APART_MAX: u64 = STEPS_A_MINUTE;

/// The least load that a rise is compared to, one request a second: the first request of all is no rise without end.
const BASE_MIN: Milli = Milli(1000);

/// How long a slow start counts: half of what is beyond a quicker one is forgotten in each such time.
const START_FORGOTTEN: Duration = Duration::from_hours(1);

/// What a capacity asks for.
struct Asked {
    needed: u32,
    floor: u32,
    risk: u32,
}

/// Decides by what one replica carries; notes in `memory` how the load rises.
pub(super) fn choose(slo: &Slo, input: &PolicyInput<'_>, memory: &mut PolicyMemory) -> Combined {
    let (metric, proposal) = input.only_metric();
    let (Some(proposal), Some(spec)) = (proposal, input.spec.metrics.get(metric)) else {
        return Combined::Held { invalid: metric, asked: None };
    };
    let rises = rises_of(&mut memory.history);
    let carried = input.load(metric, proposal);
    let (load, capacity) = (
        Milli(i64::try_from(carried).unwrap_or(i64::MAX)),
        input.learned_target.unwrap_or_else(|| target_of(spec)),
    );
    note_starts(rises, input);
    let horizon = rises.start + RISE_STEP;
    note_load(rises, input.now, load, horizon);
    let is_new = is_new(rises);
    let served = input.replicas.served(rises.error_budget.at, input.now);
    slo::note(&mut rises.error_budget, input.now, load, i128::from(capacity.0) * i128::from(served));
    let learned = learned::weigh(slo, rises, capacity, is_new);
    let weight = learned.and_then(Result::ok).map_or(1.0, |factors| factors.rises);
    let is_foreseen = input.ahead.proven.is_some();
    let objective = Objective::declared(slo);
    // Whoever does not know what comes keeps to the objective: a budget is spent on what is foreseen.
    let price = if is_foreseen { objective.price_after(rises.error_budget) } else { objective.price() };
    let price = price.times(weight);
    let asked_at = |capacity: Milli| {
        let needed = replicas_at_most(carried, capacity);
        let (floor, risk) = match (is_foreseen, is_new) {
            (true, _) => cheapest(&rises.bursts, price, mean_of_minute(rises), capacity),
            (false, true) => (with_reserve(load, capacity), 0),
            (false, false) => cheapest(&rises.rises, price, load, capacity),
        };
        Asked { needed, floor, risk }
    };
    let Asked { needed, floor, risk } = asked_at(capacity);
    // What is learned of a replica goes up and down with every window: fewer are enough only where they are with room for that.
    let wary = (needed.max(floor) < input.current).then(|| {
        let Asked { needed, floor, risk: _ } = asked_at(less(capacity, input.tolerance.down));
        needed.max(floor).min(input.current)
    });
    let asked = wary.unwrap_or(needed.max(floor));
    let is_partial = asked < input.current && proposal.census.missing() > 0;
    let replicas = if is_partial { input.current } else { asked };
    let decision = SloDecision {
        load,
        capacity,
        needed,
        floor,
        risk,
        wary,
        horizon,
        is_foreseen,
        is_new,
        is_partial,
        learned,
    };
    Combined::Chosen { replicas, decided_by: DecidedBy::Slo(decision) }
}

/// What is remembered of rises, where it is: it is too large to be taken out and put back. What another policy remembered is forgotten.
fn rises_of(past: &mut PolicyHistory) -> &mut RiseMemory {
    if past.rises().is_none() {
        *past = PolicyHistory::Rises(RiseMemory::default());
    }
    match past {
        PolicyHistory::Rises(rises) => rises,
        PolicyHistory::None
        | PolicyHistory::Pending(_)
        | PolicyHistory::Evaluations(_)
        | PolicyHistory::Load(_) => unreachable!("it was made so"),
    }
}

/// Whether too few rises were seen to go by.
pub(crate) fn is_new(rises: &RiseMemory) -> bool {
    rises.observed < RISES_MIN
}

/// What a replica is taken to carry where `part` of it may be an error of what was learned; a tenth of it at least.
fn less(capacity: Milli, part: f64) -> Milli {
    Milli(((capacity.0 as f64 * (1.0 - part).max(0.1)) as i64).max(1))
}

/// Keeps how long replicas take to start: as the slowest of those that serve did, and slowly less when they are quicker.
fn note_starts(memory: &mut RiseMemory, input: &PolicyInput<'_>) {
    // A replica that became ready again after a while took no longer to start.
    let most = RISE_STEP * u32::try_from(RISE_STEPS_MAX - 1).unwrap_or(u32::MAX);
    let slowest = input.replicas.slowest_start().min(most);
    if slowest >= memory.start {
        (memory.start, memory.start_at) = (slowest, input.now);
    } else if input.now.since(memory.start_at) >= START_FORGOTTEN {
        memory.start = slowest + (memory.start - slowest) / 2;
        memory.start_at = input.now;
    }
}

/// Keeps the largest load of each step; when one is over, how far the load rose within the horizon that ends with it.
fn note_load(memory: &mut RiseMemory, now: Time, load: Milli, horizon: Duration) {
    let step = now.as_millis() / u64::try_from(RISE_STEP.as_millis()).unwrap_or(u64::MAX);
    match memory.peaks.last_mut() {
        Some(last) if last.step >= step => {
            last.load = last.load.max(load);
            return;
        }
        Some(last) => {
            let is_minute_over = last.step / STEPS_A_MINUTE < step / STEPS_A_MINUTE;
            note_rise(memory, now, horizon);
            if is_minute_over {
                note_burst(memory, now);
            }
        }
        None => {}
    }
    memory.peaks.push(LoadPeak { step, load });
    let excess = memory.peaks.len().saturating_sub(RISE_STEPS_MAX + 2);
    memory.peaks.drain(..excess);
}

/// The load of a step and the largest of the steps that came within the horizon after it. Steps that nobody saw say nothing.
fn note_rise(memory: &mut RiseMemory, now: Time, horizon: Duration) {
    let steps = horizon.as_millis().div_ceil(RISE_STEP.as_millis());
    let steps = u64::try_from(steps).unwrap_or(u64::MAX).clamp(1, RISE_STEPS_MAX as u64);
    let Some(last) = memory.peaks.last().map(|peak| peak.step) else { return };
    // The latest that is a horizon old. Whoever looks more rarely than each step has one that is a little older.
    let after = memory.peaks.partition_point(|peak| peak.step + steps <= last);
    let Some(base) = after.checked_sub(1).map(|base| memory.peaks[base]) else { return };
    let kept = &memory.peaks[after - 1..];
    let is_whole = are_whole(kept, &memory.peaks);
    let Some(most) = kept[1..].iter().map(|peak| peak.load).max().filter(|_| is_whole) else { return };
    let base = base.load.max(BASE_MIN);
    let rise = quotient(i128::from(most.0.saturating_sub(base.0).max(0)) * 1000, base.0);
    memory.rises.add(now, u64::try_from(rise).unwrap_or(u64::MAX), RISE_WIDTH);
    memory.observed = memory.observed.saturating_add(1);
}

/// How far the largest load of the minute that is over was above its mean. One that was looked at once tells nothing of that.
fn note_burst(memory: &mut RiseMemory, now: Time) {
    // What is measured at the beginning of a minute is in part the load of the one before.
    let [_, minute @ ..] = latest_minute(&memory.peaks) else { return };
    let most = minute.iter().map(|peak| peak.load.0.max(0)).max();
    let (Some(most), true) = (most, minute.len() > 1) else { return };
    let mean = mean_of(minute).max(BASE_MIN);
    let burst = quotient(i128::from((most - mean.0).max(0)) * 1000, mean.0);
    memory.bursts.add(now, u64::try_from(burst).unwrap_or(u64::MAX), RISE_WIDTH);
}

/// The mean load of the last minute.
fn mean_of_minute(memory: &RiseMemory) -> Milli {
    let Some(last) = memory.peaks.last().map(|peak| peak.step) else { return Milli(0) };
    let from = memory.peaks.partition_point(|peak| peak.step + STEPS_A_MINUTE <= last);
    mean_of(&memory.peaks[from..])
}

/// The steps of the minute of the clock that the last one is in.
fn latest_minute(peaks: &[LoadPeak]) -> &[LoadPeak] {
    let Some(last) = peaks.last().map(|peak| peak.step / STEPS_A_MINUTE) else { return peaks };
    &peaks[peaks.partition_point(|peak| peak.step / STEPS_A_MINUTE < last)..]
}

fn mean_of(peaks: &[LoadPeak]) -> Milli {
    let sum: i128 = peaks.iter().map(|peak| i128::from(peak.load.0.max(0))).sum();
    Milli(i64::try_from(quotient(sum, peaks.len().max(1) as i64)).unwrap_or(i64::MAX))
}

/// Whether none is missing among the `kept` ones, the last of `peaks`, by how often these were looked at: at each step, or more rarely.
fn are_whole(kept: &[LoadPeak], peaks: &[LoadPeak]) -> bool {
    let most = apart(kept).fold(0, u64::max);
    // Nobody looks more often than at each step.
    if most == 1 {
        return true;
    }
    let pace = apart(peaks).min().filter(|pace| *pace <= STEPS_APART_MAX);
    // Looks that are no multiple of a step apart are a step more or less.
    pace.is_some_and(|pace| most <= pace + u64::from(pace > 1))
}

/// Steps from each to the next.
fn apart(peaks: &[LoadPeak]) -> impl Iterator<Item = u64> {
    peaks.iter().zip(peaks.iter().skip(1)).map(|(one, next)| next.step - one.step)
}

/// Replicas that carry the load with the reserve of a service that is not known yet.
fn with_reserve(load: Milli, capacity: Milli) -> u32 {
    replicas_at_most(quotient(i128::from(load.0) * 100, USED_WHILE_NEW_PERCENT), capacity)
}

/// The number at which replicas and the requests that come while the load exceeds what they carry cost least together, at `price` for such a request, where
/// `load` rises as `seen`; and in how many millionths of the times seen it rose past that.
///
/// The cost falls only where one more of the rises seen is carried, so that no other number need be tried.
fn cheapest(seen: &DecayingHistogram, price: Price, load: Milli, capacity: Milli) -> (u32, u32) {
    let (load, each) = (load.0.max(0) as f64, capacity.0.max(1));
    let one = each as f64;
    // As `replicas_at_most`: of what is not below zero, and no more than 64 bits hold.
    let replicas_of = |loads: f64| {
        let replicas = (loads.min(9e17) as i64).cast_unsigned().div_ceil(each.cast_unsigned());
        u32::try_from(replicas).unwrap_or(u32::MAX).min(i32::MAX.cast_unsigned())
    };
    let all: u64 = seen.weights().iter().sum();
    let share = |weight: u64| weight as f64 / all.max(1) as f64;
    let least = f64::from(replicas_of(load));
    let (mut best, mut violated, mut above) = ((f64::INFINITY, 0, 0.0), 0.0, 0.0);
    // From the largest rise down, so that what is not carried adds up.
    for (grown, weight) in GROWN.iter().zip(seen.weights()).rev().filter(|(_, weight)| **weight > 0) {
        let of_violations = price.requests() * violated / one;
        // Smaller rises leave still more to be violated, and need what carries the load as it is.
        if least + of_violations > best.0 {
            break;
        }
        let risen = load * grown;
        let replicas = replicas_of(risen);
        let cost = f64::from(replicas) + of_violations;
        if cost <= best.0 {
            best = (cost, replicas, above);
        }
        let share = share(*weight);
        violated += share * risen;
        above += share;
    }
    let (_, replicas, risk) = best;
    (replicas, (risk * 1e6) as u32)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same, with every rise tried, in numbers of 128 bits.
    fn cheapest_of_all(seen: &DecayingHistogram, price: Price, load: Milli, capacity: Milli) -> (u32, u32) {
        let (load, one) = (load.0.max(0) as f64, capacity.0.max(1) as f64);
        let all: u64 = seen.sizes(RISE_WIDTH).map(|(_, weight)| weight).sum();
        let (mut best, mut violated, mut above) = ((f64::INFINITY, 0, 0.0), 0.0, 0.0);
        for (rise, weight) in seen.sizes(RISE_WIDTH).rev() {
            let risen = load * (1.0 + rise as f64 / 1000.0);
            let whole = (risen.min(9e17) as i128 + i128::from(capacity.0) - 1) / i128::from(capacity.0);
            let replicas = u32::try_from(whole.clamp(0, i128::from(i32::MAX))).expect("it was clamped");
            let cost = f64::from(replicas) + price.requests() * violated / one;
            if cost <= best.0 {
                best = (cost, replicas, above);
            }
            let share = weight as f64 / all.max(1) as f64;
            (violated, above) = (violated + share * risen, above + share);
        }
        (best.1, (best.2 * 1e6) as u32)
    }

    proptest! {
        #[test]
        fn what_is_not_tried_is_never_cheaper(
            rises in prop::collection::vec((0_u64..200_000, 0_u64..400_000_000), 0..60),
            price in 0.01..300.0_f64, load in -5_i64..3_000_000_000, capacity in 1_i64..40_000_000,
        ) {
            let mut seen = DecayingHistogram::default();
            rises.iter().for_each(|(rise, at)| seen.add(Time::from_millis(*at), *rise, RISE_WIDTH));
            for load in [Milli(load), Milli(load / 1_000_000), Milli(i64::MAX)] {
                let (price, capacity) = (Price::of(price), Milli(capacity));
                let all = cheapest_of_all(&seen, price, load, capacity);
                prop_assert_eq!(cheapest(&seen, price, load, capacity), all);
            }
        }
    }
}
