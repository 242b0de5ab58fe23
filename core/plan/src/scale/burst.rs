//! The burst policy: the number follows the mean of a load over a stable window. While a short panic window needs several times the existing
//! replicas, it follows the larger of both windows, and no replica is removed.
//!
//! Source: knative/serving `pkg/autoscaler/scaling/autoscaler.go`, and `pkg/autoscaler/aggregation/bucketing.go` for the windows. Differences:
//! docs/decisions/0024.

use std::time::Duration;

use model::memory::{
    LOAD_PARTS_MAX, LOAD_PARTS_PER_PANIC, LoadMemory, LoadPart, Panic, PolicyHistory, PolicyMemory,
};
use model::resource::BurstPolicy;
use model::time::Time;

use super::choice::{Choice, NoChoice};
use super::policy_input::{PolicyInput, replicas_at_most, target_of};
use super::reading::Milli;

/// The decision of a burst policy, with its arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BurstDecision {
    /// The metric, by its place in the declaration.
    pub metric: usize,
    /// The mean load of the stable window, in the unit of the metric.
    pub stable: Milli,
    /// How many replicas that needs.
    pub stable_replicas: u32,
    /// The mean load of the panic window.
    pub panic: Milli,
    /// How many replicas that needs.
    pub panic_replicas: u32,
    /// What each replica should carry.
    pub each: Milli,
    /// Replicas that were ready, at least 1.
    pub ready: u32,
    /// How the number came about.
    pub outcome: BurstOutcome,
}

/// How the number of a [`BurstDecision`] came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BurstOutcome {
    /// The stable window determines it.
    Stable {
        /// Replicas in place of unstable ones; 0 when no more are needed.
        replacements: u32,
    },
    /// The load of the stable window is within the tolerance.
    WithinTolerance,
    /// The stable window needs fewer, and is not complete yet.
    WindowIncomplete {
        /// When it will be.
        until: Time,
    },
    /// Some replicas that ought to be measured are not, so that none is removed.
    Partial,
    /// A burst is under way.
    Panic {
        /// Since when.
        since: Time,
        /// When it ends, unless the panic window goes above the threshold again.
        until: Time,
        /// The most replicas that it has needed.
        peak: u32,
        /// Replicas in place of unstable ones.
        replacements: u32,
    },
}

/// Decides by windows; records the current load in `memory`.
pub(super) fn choose(
    policy: &BurstPolicy,
    input: &PolicyInput<'_>,
    memory: &mut PolicyMemory,
) -> Result<Choice<BurstDecision>, NoChoice> {
    let (now, current) = (input.now, input.current);
    let (metric, proposal) = input.only_metric();
    let (Some(proposal), Some(spec)) = (proposal, input.spec.metrics.get(metric)) else {
        return Err(NoChoice::without(metric));
    };
    let mut load = match std::mem::take(&mut memory.history) {
        PolicyHistory::Load(load) => load,
        PolicyHistory::None
        | PolicyHistory::Pending(_)
        | PolicyHistory::Evaluations(_)
        | PolicyHistory::Rises(_) => LoadMemory::default(),
    };
    let carried = i64::try_from(input.load(metric, proposal)).unwrap_or(i64::MAX);
    record_load(&mut load, now, Milli(carried), policy);
    let (stable, panic) = (
        mean(&load, now, policy.stable_window.as_duration()),
        mean(&load, now, policy.panic_window.as_duration()),
    );
    let each = target_of(spec);
    let needed = |mean: Milli| replicas_at_most(i128::from(mean.0), each);
    let (stable_replicas, panic_replicas) = (needed(stable), needed(panic));
    let ready = input.serving().max(1);
    // By the load itself, where Knative rounds it up to replicas first: needing a third replica is not a burst of two.
    let threshold = i128::from(policy.panic_threshold_percent) * i128::from(each.0) * i128::from(ready);
    let is_over = i128::from(panic.0) * 100 >= threshold;
    load.panic = next_panic(load.panic, now, (is_over, stable_replicas.max(panic_replicas)), policy);
    let (replicas, outcome) = match load.panic {
        Some(Panic { since, over, peak }) => {
            let until = over + policy.stable_window.as_duration();
            let replacements = input.replacements(f64::from(peak) / f64::from(ready));
            (
                peak.saturating_add(replacements).max(current),
                BurstOutcome::Panic { since, until, peak, replacements },
            )
        }
        None => by_stable_window(policy, input, &load, (stable, each)),
    };
    memory.history = PolicyHistory::Load(load);
    let decision =
        BurstDecision { metric, stable, stable_replicas, panic, panic_replicas, each, ready, outcome };
    Ok(Choice { replicas, decided_by: decision })
}

/// Adds the current load, and forgets parts that have left the stable window.
fn record_load(memory: &mut LoadMemory, now: Time, load: Milli, policy: &BurstPolicy) {
    if memory.noted == now && !memory.parts.is_empty() {
        return;
    }
    memory.noted = now;
    let width = (policy.panic_window.as_duration() / LOAD_PARTS_PER_PANIC).max(Duration::from_millis(1));
    let begin = now - policy.stable_window.as_duration();
    let over = memory.parts.iter().take_while(|part| part.at + width <= begin).count();
    memory.parts.drain(..over);
    if memory.parts.is_empty() {
        memory.since = now;
    }
    match memory.parts.last_mut() {
        Some(part) if now < part.at + width => {
            part.sum = part.sum.plus(load);
            part.count += 1;
        }
        Some(_) | None => memory.parts.push(LoadPart { at: now, sum: load, count: 1 }),
    }
    debug_assert!(memory.parts.len() <= LOAD_PARTS_MAX, "a part is no shorter than its share of the window");
}

/// The mean of the measurements of the last `window`. Missing ones are left out, where Knative counts them as 0.
fn mean(memory: &LoadMemory, now: Time, window: Duration) -> Milli {
    let begin = now - window;
    let within = memory.parts.iter().filter(|part| part.at > begin);
    let (sum, count) = within.fold((0_i128, 0_i128), |(sum, count), part| {
        (sum + i128::from(part.sum.0), count + i128::from(part.count))
    });
    Milli(i64::try_from(sum.checked_div(count).unwrap_or(0)).unwrap_or(i64::MAX))
}

/// The burst after this decision: it begins and continues while the panic window is over the threshold, and lasts a stable window longer.
fn next_panic(
    before: Option<Panic>,
    now: Time,
    (is_over, needed): (bool, u32),
    policy: &BurstPolicy,
) -> Option<Panic> {
    match before {
        None => is_over.then_some(Panic { since: now, over: now, peak: needed }),
        Some(Panic { since, over, peak }) => {
            let over = if is_over { now } else { over };
            let continues = now < over + policy.stable_window.as_duration();
            continues.then_some(Panic { since, over, peak: peak.max(needed) })
        }
    }
}

/// The number by the stable window alone.
fn by_stable_window(
    policy: &BurstPolicy,
    input: &PolicyInput<'_>,
    memory: &LoadMemory,
    (mean, each): (Milli, Milli),
) -> (u32, BurstOutcome) {
    let (now, current) = (input.now, input.current);
    let ratio = mean.0 as f64 / (each.0 as f64 * f64::from(input.stable(current)));
    let replacements = input.replacements(ratio);
    let needed = replicas_at_most(i128::from(mean.0), each).saturating_add(replacements);
    let until = memory.since + policy.stable_window.as_duration();
    let (_, proposal) = input.only_metric();
    let is_partial = proposal.is_some_and(|proposal| proposal.census.missing() > 0);
    if current > 0 && input.tolerance.includes(ratio) {
        (current, BurstOutcome::WithinTolerance)
    } else if needed < current && is_partial {
        (current, BurstOutcome::Partial)
    } else if needed < current && now < until {
        (current, BurstOutcome::WindowIncomplete { until })
    } else {
        (needed, BurstOutcome::Stable { replacements })
    }
}
