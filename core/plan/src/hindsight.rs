//! What a service's past shows: where it had too little, where it had too much, and the declaration that would avoid that.
//!
//! The decisions come from the history, whose runs say which number was wanted, how often, and what each metric asked for. Each piece of
//! advice stands for itself, and is worth what it would have been worth in the time that was looked at.

mod advice;
mod bounds;
mod flapping;
mod losses;
mod sizes;
mod starts;
mod thresholds;
mod throttling;

use std::time::Duration;

use knowledge::ServiceState;
use model::resource::{Count, ServiceSpec};
use model::settings::Settings;
use model::time::{Time, Wall};

pub use self::advice::{Advice, Kind, Remedy, Worth};

/// The least past that is judged: not every day of a service is busy, but hardly one goes by without any use of it.
const LOOKED_AT_MIN: Duration = Duration::from_hours(24);

/// Decisions of one outcome and one reason, one after the other.
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
    /// The most that each metric asked for, in the order of the declaration; `None` for one that was not measured.
    pub asked: Vec<Option<u32>>,
    /// The least that the metrics asked for at any time, of which the highest counts; `None` when one was not measured.
    pub asked_least: Option<u32>,
    /// The lowest and the highest that each metric was, in parts of its target, in the order of the declaration; `None` for one that was not
    /// measured.
    pub ratios: Vec<Option<(f64, f64)>>,
}

/// What `past`, oldest first, and what was learned of its replicas say about `service` at `now`; bottlenecks first. Nothing of a service
/// that is not declared. O(n log n) in the runs.
pub fn advice(now: Time, service: &ServiceState, past: &[DecisionRun], settings: &Settings) -> Vec<Advice> {
    let Some(declared) = &service.declared else { return Vec::new() };
    let view = View { spec: &declared.spec, past, settings };
    let mut found = view.of_sizes(now, service);
    found.extend(view.losses(now, service));
    if view.looked_at() >= LOOKED_AT_MIN {
        found.extend(view.flapping());
        found.extend(view.late_starts(service));
        found.extend(view.idle_floors());
        found.extend(view.idle_steps());
        // Bounds that a schedule changes were reached or not for reasons of the calendar.
        if let (Count::Auto(auto), true) =
            (&declared.spec.scale.count, declared.spec.scale.schedule.is_empty())
        {
            found.extend(view.max_reached(auto));
            found.extend(view.min_never_left(auto));
            found.extend(view.idle_metrics(auto));
            found.extend(declared.autoscaler.as_ref().and_then(|scaler| view.idle_low(scaler)));
        }
    }
    found.sort_by_key(|advice| advice.kind);
    found
}

/// A service and the decisions on it that are looked back at.
struct View<'a> {
    spec: &'a ServiceSpec,
    past: &'a [DecisionRun],
    settings: &'a Settings,
}

impl View<'_> {
    /// From the first decision to the last.
    fn looked_at(&self) -> Duration {
        let first = self.past.iter().map(|run| run.from).min().unwrap_or_default();
        let last = self.past.iter().map(|run| run.to).max().unwrap_or_default();
        between(first, last)
    }

    /// Hours that the decisions of a run stood.
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

/// The most that any metric asked for; `None` when one of them was not measured.
fn most(run: &DecisionRun) -> Option<u32> {
    run.asked.iter().copied().collect::<Option<Vec<u32>>>()?.into_iter().max()
}

fn between(from: Wall, to: Wall) -> Duration {
    Duration::from_millis(to.as_millis().saturating_sub(from.as_millis()))
}

#[cfg(test)]
mod tests;
