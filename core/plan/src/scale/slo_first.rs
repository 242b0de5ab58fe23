//! SLO-first: the number of replicas that keeps an SLO at the least cost, by the capacity of one replica.
//!
//! The capacity is learned ([`knowledge::capacity`]) and is the target of the only metric, the incoming requests. The number is the
//! newsvendor's, as in `newsvendor.rs`: it weighs the cost of replicas against that of requests that arrive while the load exceeds what the
//! replicas carry. How far the load may rise before a replica that is started now can help is taken from the rises that were observed over the
//! same time span. A proven forecast replaces these rises (`expected_load.rs`); what a forecast of the mean of a minute cannot know remains
//! here: how far the load rises above the mean within a minute.

use std::time::Duration;

use model::histogram::{BUCKETS, DecayingHistogram, Width};
use model::memory::{LoadPeak, PolicyHistory, PolicyMemory, RISE_STEP, RISE_STEPS_MAX, RiseMemory};
use model::resource::Slo;
use model::time::Time;

use super::choice::{Choice, NoChoice};
use super::policy_input::{PolicyInput, quotient, replicas_at_most, target_of};
use super::reading::Milli;
use crate::learned::{self, Fallback, PriceFactors, STEPS_A_MINUTE};
use crate::slo::{self, Objective, Price};

/// The decision of SLO-first, with its arithmetic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SloDecision {
    /// The demand on all replicas, in requests a second, with the share of the waiting ones that is to be worked off.
    pub load: Milli,
    /// The load that one replica carries.
    pub capacity: Milli,
    /// Replicas that carry the current load.
    pub needed: u32,
    /// Replicas that cost least, considering how far the load may rise.
    pub floor: u32,
    /// The observed frequency, in millionths, of rises beyond what `floor` carries.
    pub risk: u32,
    /// When scaling in: the replicas that would be enough if each carried a little less than learned; at most the current number.
    pub scale_in_floor: Option<u32>,
    /// The time span of the rises that were considered.
    pub horizon: Duration,
    /// A forecast covers rises from one minute to another, so that `floor` is only for rises within a minute.
    pub is_forecast: bool,
    /// Too few rises were observed, so that a share of the capacity is kept free.
    pub is_new: bool,
    /// Some replicas that should be measured are not, so that none is removed.
    pub is_partial: bool,
    /// The learned factors of the price, or why they are not used; `None` where nothing was learned.
    pub learned: Option<Result<PriceFactors, Fallback>>,
}

/// The resolution of rises: a hundredth of the load, or a twentieth of the rise.
const RISE_WIDTH: Width = Width(10);

/// The load after a rise of each size, as a multiple of the load before.
const RISEN: [f64; BUCKETS] = {
    let (mut risen, mut bucket) = ([0.0; BUCKETS], 0);
    while bucket < BUCKETS {
        risen[bucket] = 1.0 + RISE_WIDTH.end_of(bucket) as f64 / 1000.0;
        bucket += 1;
    }
    risen
};

/// Steps that must be observed before the distribution of rises is used: half an hour.
const RISES_MIN: u64 = 30 * STEPS_A_MINUTE;

/// The share of the capacity that is used until then: a usual target of horizontal pod autoscalers.
const UTILIZATION_WHILE_NEW_PERCENT: i64 = 70;

/// The longest interval between observations, in steps, from which rises are learned.
const INTERVAL_MAX: u64 = STEPS_A_MINUTE;

/// The least load that a rise is relative to, one request a second, so that the first request is not an infinite rise.
const BASE_MIN: Milli = Milli(1000);

/// The half-life of the part of a slow start that exceeds later, faster ones.
const START_HALF_LIFE: Duration = Duration::from_hours(1);

/// The replicas for a capacity.
struct Sizing {
    needed: u32,
    floor: u32,
    risk: u32,
}

/// Decides by the capacity of one replica; records in `memory` how the load rises.
pub(super) fn choose(
    slo: &Slo,
    input: &PolicyInput<'_>,
    memory: &mut PolicyMemory,
) -> Result<Choice<SloDecision>, NoChoice> {
    let (metric, proposal) = input.only_metric();
    let (Some(proposal), Some(spec)) = (proposal, input.spec.metrics.get(metric)) else {
        return Err(NoChoice::without(metric));
    };
    let rises = rises_of(&mut memory.history);
    let carried = input.load(metric, proposal);
    let (load, capacity) = (
        Milli(i64::try_from(carried).unwrap_or(i64::MAX)),
        input.learned_target.unwrap_or_else(|| target_of(spec)),
    );
    record_starts(rises, input);
    let horizon = rises.start + RISE_STEP;
    record_load(rises, input.now, load, horizon);
    let is_new = is_new(rises);
    let served = input.replicas.served(rises.error_budget.at, input.now);
    slo::record(&mut rises.error_budget, input.now, load, i128::from(capacity.0) * i128::from(served));
    let learned = learned::price_factors(slo, rises, capacity, is_new);
    let weight = learned.and_then(Result::ok).map_or(1.0, |factors| factors.rises);
    let is_forecast = input.forecast.proven.is_some();
    let objective = Objective::declared(slo);
    // The budget is spent only on the basis of a forecast; without one the price is that of the objective.
    let price = if is_forecast { objective.price_after(rises.error_budget) } else { objective.price() };
    let price = price.times(weight);
    let size_for = |capacity: Milli| {
        let needed = replicas_at_most(carried, capacity);
        let (floor, risk) = match (is_forecast, is_new) {
            (true, _) => cheapest(&rises.bursts, price, mean_of_minute(rises), capacity),
            (false, true) => (with_reserve(load, capacity), 0),
            (false, false) => cheapest(&rises.rises, price, load, capacity),
        };
        Sizing { needed, floor, risk }
    };
    let Sizing { needed, floor, risk } = size_for(capacity);
    // The learned capacity varies from window to window, so fewer replicas must be enough with a margin.
    let scale_in_floor = (needed.max(floor) < input.current).then(|| {
        let Sizing { needed, floor, risk: _ } = size_for(reduced(capacity, input.tolerance.down));
        needed.max(floor).min(input.current)
    });
    let wanted = scale_in_floor.unwrap_or(needed.max(floor));
    let is_partial = wanted < input.current && proposal.census.missing() > 0;
    let replicas = if is_partial { input.current } else { wanted };
    let decision = SloDecision {
        load,
        capacity,
        needed,
        floor,
        risk,
        scale_in_floor,
        horizon,
        is_forecast,
        is_new,
        is_partial,
        learned,
    };
    Ok(Choice { replicas, decided_by: decision })
}

/// The memory of rises, in place, as it is too large to be moved. Replaces the memory of another policy.
fn rises_of(past: &mut PolicyHistory) -> &mut RiseMemory {
    if past.rises().is_none() {
        *past = PolicyHistory::Rises(RiseMemory::default());
    }
    match past {
        PolicyHistory::Rises(rises) => rises,
        PolicyHistory::None
        | PolicyHistory::Pending(_)
        | PolicyHistory::Evaluations(_)
        | PolicyHistory::Load(_) => {
            unreachable!("it was set above")
        }
    }
}

/// Whether too few rises were observed to decide by them.
pub(crate) fn is_new(rises: &RiseMemory) -> bool {
    rises.observed < RISES_MIN
}

/// The capacity without `part` of it, which may be an error of learning; at least a tenth of it.
fn reduced(capacity: Milli, part: f64) -> Milli {
    Milli(((capacity.0 as f64 * (1.0 - part).max(0.1)) as i64).max(1))
}

/// Records how long replicas take to start: the slowest of the serving ones, decaying when later ones are faster.
fn record_starts(memory: &mut RiseMemory, input: &PolicyInput<'_>) {
    // Longer rises are not recorded.
    let most = RISE_STEP * u32::try_from(RISE_STEPS_MAX - 1).unwrap_or(u32::MAX);
    let slowest = input.replicas.slowest_start().min(most);
    if slowest >= memory.start {
        (memory.start, memory.start_at) = (slowest, input.now);
    } else if input.now.since(memory.start_at) >= START_HALF_LIFE {
        memory.start = slowest + (memory.start - slowest) / 2;
        memory.start_at = input.now;
    }
}

/// Records the largest load of each step, and at the end of a step how far the load rose within the horizon that ends with it.
fn record_load(memory: &mut RiseMemory, now: Time, load: Milli, horizon: Duration) {
    let step = now.as_millis() / u64::try_from(RISE_STEP.as_millis()).unwrap_or(u64::MAX);
    match memory.peaks.last_mut() {
        Some(last) if last.step >= step => {
            last.load = last.load.max(load);
            return;
        }
        Some(last) => {
            let is_minute_over = last.step / STEPS_A_MINUTE < step / STEPS_A_MINUTE;
            record_rise(memory, now, horizon);
            if is_minute_over {
                record_burst(memory, now);
            }
        }
        None => {}
    }
    memory.peaks.push(LoadPeak { step, load });
    let excess = memory.peaks.len().saturating_sub(RISE_STEPS_MAX + 2);
    memory.peaks.drain(..excess);
}

/// Records how far the largest load of the horizon was above the load before it. Nothing is recorded where steps were not observed.
fn record_rise(memory: &mut RiseMemory, now: Time, horizon: Duration) {
    let steps = horizon.as_millis().div_ceil(RISE_STEP.as_millis());
    let steps = u64::try_from(steps).unwrap_or(u64::MAX).clamp(1, RISE_STEPS_MAX as u64);
    let Some(last) = memory.peaks.last().map(|peak| peak.step) else { return };
    // The latest peak that is at least a horizon old; with rarer observations it is a little older.
    let after = memory.peaks.partition_point(|peak| peak.step + steps <= last);
    let Some(base) = after.checked_sub(1).map(|base| memory.peaks[base]) else { return };
    let kept = &memory.peaks[after - 1..];
    let is_complete = is_complete(kept, &memory.peaks);
    let Some(most) = kept[1..].iter().map(|peak| peak.load).max().filter(|_| is_complete) else { return };
    let base = base.load.max(BASE_MIN);
    let rise = quotient(i128::from(most.0.saturating_sub(base.0).max(0)) * 1000, base.0);
    memory.rises.add(now, u64::try_from(rise).unwrap_or(u64::MAX), RISE_WIDTH);
    memory.observed = memory.observed.saturating_add(1);
}

/// Records how far the largest load of the last minute was above its mean. Nothing is recorded with a single observation.
fn record_burst(memory: &mut RiseMemory, now: Time) {
    // The first measurement of a minute is partly of the minute before.
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

/// The steps of the clock minute of the last one.
fn latest_minute(peaks: &[LoadPeak]) -> &[LoadPeak] {
    let Some(last) = peaks.last().map(|peak| peak.step / STEPS_A_MINUTE) else { return peaks };
    &peaks[peaks.partition_point(|peak| peak.step / STEPS_A_MINUTE < last)..]
}

fn mean_of(peaks: &[LoadPeak]) -> Milli {
    let sum: i128 = peaks.iter().map(|peak| i128::from(peak.load.0.max(0))).sum();
    Milli(i64::try_from(quotient(sum, peaks.len().max(1) as i64)).unwrap_or(i64::MAX))
}

/// Whether no observation is missing among `kept`, the last of `peaks`, at the interval at which `peaks` were observed.
fn is_complete(kept: &[LoadPeak], peaks: &[LoadPeak]) -> bool {
    let longest = intervals(kept).fold(0, u64::max);
    // There is at most one peak for each step.
    if longest == 1 {
        return true;
    }
    let usual = intervals(peaks).min().filter(|usual| *usual <= INTERVAL_MAX);
    // Intervals that are not a multiple of a step vary by one step.
    usual.is_some_and(|usual| longest <= usual + u64::from(usual > 1))
}

/// The steps from each peak to the next.
fn intervals(peaks: &[LoadPeak]) -> impl Iterator<Item = u64> {
    peaks.iter().zip(peaks.iter().skip(1)).map(|(one, next)| next.step - one.step)
}

/// Replicas that carry the load with a reserve, while the rises of the service are not known.
fn with_reserve(load: Milli, capacity: Milli) -> u32 {
    replicas_at_most(quotient(i128::from(load.0) * 100, UTILIZATION_WHILE_NEW_PERCENT), capacity)
}

/// The number at which replicas and violated requests cost least together, at `price` for a violation, where `load` rises as `observed`; and the
/// observed frequency, in millionths, of rises beyond it.
///
/// The cost falls only where one more of the observed rises is carried, so only these numbers are tried.
fn cheapest(observed: &DecayingHistogram, price: Price, load: Milli, capacity: Milli) -> (u32, u32) {
    let (load, each) = (load.0.max(0) as f64, capacity.0.max(1));
    let carried = each as f64;
    // Like `replicas_at_most`, for loads from 0 to the range of 64 bits.
    let replicas_of = |loads: f64| {
        let replicas = (loads.min(9e17) as i64).cast_unsigned().div_ceil(each.cast_unsigned());
        u32::try_from(replicas).unwrap_or(u32::MAX).min(i32::MAX.cast_unsigned())
    };
    let all: u64 = observed.weights().iter().sum();
    let share = |weight: u64| weight as f64 / all.max(1) as f64;
    let least = f64::from(replicas_of(load));
    let (mut best, mut violated, mut above) = ((f64::INFINITY, 0, 0.0), 0.0, 0.0);
    // From the largest rise down, adding up the load that is not carried.
    for (factor, weight) in RISEN.iter().zip(observed.weights()).rev().filter(|(_, weight)| **weight > 0) {
        let violation_cost = price.requests() * violated / carried;
        // For smaller rises more is violated, and at least the replicas for the current load are needed.
        if least + violation_cost > best.0 {
            break;
        }
        let risen = load * factor;
        let replicas = replicas_of(risen);
        let cost = f64::from(replicas) + violation_cost;
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

    /// Like [`cheapest`], but tries every rise, with numbers of 128 bits.
    fn cheapest_of_all(
        observed: &DecayingHistogram,
        price: Price,
        load: Milli,
        capacity: Milli,
    ) -> (u32, u32) {
        let (load, carried) = (load.0.max(0) as f64, capacity.0.max(1) as f64);
        let all: u64 = observed.sizes(RISE_WIDTH).map(|(_, weight)| weight).sum();
        let (mut best, mut violated, mut above) = ((f64::INFINITY, 0, 0.0), 0.0, 0.0);
        for (rise, weight) in observed.sizes(RISE_WIDTH).rev() {
            let risen = load * (1.0 + rise as f64 / 1000.0);
            let whole = (risen.min(9e17) as i128 + i128::from(capacity.0) - 1) / i128::from(capacity.0);
            let replicas = u32::try_from(whole.clamp(0, i128::from(i32::MAX)))
                .expect("clamped to the range of the type");
            let cost = f64::from(replicas) + price.requests() * violated / carried;
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
        fn numbers_that_are_not_tried_are_never_cheaper(
            rises in prop::collection::vec((0_u64..200_000, 0_u64..400_000_000), 0..60),
            price in 0.01..300.0_f64, load in -5_i64..3_000_000_000, capacity in 1_i64..40_000_000,
        ) {
            let mut observed = DecayingHistogram::default();
            rises.iter().for_each(|(rise, at)| observed.add(Time::from_millis(*at), *rise, RISE_WIDTH));
            for load in [Milli(load), Milli(load / 1_000_000), Milli(i64::MAX)] {
                let (price, capacity) = (Price::of(price), Milli(capacity));
                let all = cheapest_of_all(&observed, price, load, capacity);
                prop_assert_eq!(cheapest(&observed, price, load, capacity), all);
            }
        }
    }
}
