//! Advice from the history of a service: where it had too few resources or too many, and the declaration that would avoid that.
//!
//! Decisions come as runs of equal ones: which number was wanted, how often, and what each metric proposed. Each piece of advice is
//! independent of the others, and says what it would have saved in the time that it is based on.

mod advice;
mod bounds;
mod flapping;
mod losses;
mod remedy;
mod sizes;
mod starts;
mod thresholds;
mod throttling;

use std::time::Duration;

use knowledge::ServiceState;
use model::resource::{Count, ServiceSpec};
use model::settings::Settings;
use model::time::{Time, Wall};

pub use self::advice::{Advice, Benefit, Kind};
pub use self::remedy::Remedy;

/// The shortest history that advice is based on: not every day is busy, but a service is rarely unused for a whole day.
const HISTORY_MIN: Duration = Duration::from_hours(24);

/// A run of decisions with the same outcome and the same reason.
#[derive(Clone, Debug, PartialEq)]
pub struct DecisionRun {
    /// When the first was made.
    pub from: Wall,
    /// When the last was made.
    pub to: Wall,
    /// How many there were; others may have been made between them.
    pub count: u64,
    /// Replicas wanted before the first.
    pub previous: u32,
    /// Replicas wanted.
    pub desired: u32,
    /// The most replicas that each metric proposed, in the order of the declaration; `None` for one that was not measured.
    pub proposals: Vec<Option<u32>>,
    /// The lowest that the highest proposal of all metrics ever was; `None` when a metric was not measured.
    pub lowest_proposal: Option<u32>,
    /// The lowest and the highest ratio of each metric to its target, in the order of the declaration; `None` for one that was not measured.
    pub ratios: Vec<Option<(f64, f64)>>,
}

/// The advice for `service` at `now` from its `past`, oldest first, and from what was learned of its replicas; bottlenecks first.
///
/// Empty for a service that is not declared. O(n log n) in the number of runs.
pub fn advice(now: Time, service: &ServiceState, past: &[DecisionRun], settings: &Settings) -> Vec<Advice> {
    let Some(declared) = &service.declared else { return Vec::new() };
    let history = History { spec: &declared.spec, past, settings };
    let mut found = history.sizes(now, service);
    found.extend(history.losses(now, service));
    if history.span() >= HISTORY_MIN {
        found.extend(history.flapping());
        found.extend(history.late_starts(service));
        found.extend(history.idle_floors());
        found.extend(history.idle_steps());
        // Where a schedule changes the bounds, reaching them says nothing about the declared ones.
        if let (Count::Auto(auto), true) =
            (&declared.spec.scale.count, declared.spec.scale.schedule.is_empty())
        {
            found.extend(history.max_reached(auto));
            found.extend(history.min_never_left(auto));
            found.extend(history.idle_metrics(auto));
            found.extend(declared.autoscaler.as_ref().and_then(|scaler| history.idle_low(scaler)));
        }
    }
    found.sort_by_key(|advice| advice.kind);
    found
}

/// A service and the decisions on its size that advice is based on.
struct History<'a> {
    spec: &'a ServiceSpec,
    past: &'a [DecisionRun],
    settings: &'a Settings,
}

impl History<'_> {
    /// The time from the first decision to the last.
    fn span(&self) -> Duration {
        let first = self.past.iter().map(|run| run.from).min().unwrap_or_default();
        let last = self.past.iter().map(|run| run.to).max().unwrap_or_default();
        between(first, last)
    }

    /// Hours for which the decisions of a run held.
    fn hours(&self, run: &DecisionRun) -> f64 {
        run.count as f64 * self.settings.period.as_secs_f64() / 3600.0
    }

    /// Replicas wanted on average; `None` without a past.
    fn mean(&self) -> Option<f64> {
        let hours: f64 = self.past.iter().map(|run| self.hours(run)).sum();
        let replica_hours = self.past.iter().map(|run| self.hours(run) * f64::from(run.desired)).sum::<f64>();
        (hours > 0.0).then(|| replica_hours / hours)
    }

    /// Replicas wanted on average; what is wanted now, without a past.
    fn replicas(&self, service: &ServiceState) -> f64 {
        self.mean().unwrap_or_else(|| f64::from(service.desired.unwrap_or(0)))
    }
}

/// The highest proposal of any metric; `None` when one of them was not measured.
fn highest_proposal(run: &DecisionRun) -> Option<u32> {
    run.proposals.iter().copied().collect::<Option<Vec<u32>>>()?.into_iter().max()
}

fn between(from: Wall, to: Wall) -> Duration {
    Duration::from_millis(to.as_millis().saturating_sub(from.as_millis()))
}

#[cfg(test)]
mod tests;
