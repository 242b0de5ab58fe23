//! Bounds that were too tight or never reached, and metrics that made no difference.

use std::time::Duration;

use model::quantity::Replicas;
use model::resource::{AutoScale, ScalePolicy};

use super::{Advice, DecisionRun, Kind, Remedy, View, Worth, most};

/// Time at the most replicas, with more asked for, that is a bottleneck: ten minutes of a day are a burst.
const CAPPED_MIN: Duration = Duration::from_mins(10);

impl View<'_> {
    /// A higher maximum, where more replicas were asked for than are allowed.
    pub(super) fn max_reached(&self, auto: &AutoScale) -> Option<Advice> {
        let lacking = |run: &&DecisionRun| run.desired == auto.max && most(run) > Some(auto.max);
        let capped: Vec<&DecisionRun> = self.past.iter().filter(lacking).collect();
        let hours: f64 = capped.iter().map(|run| self.hours(run)).sum();
        let asked = capped.iter().filter_map(|run| most(run)).max()?;
        let to = asked.min(self.settings.guard.replicas_max);
        if hours * 3600.0 < CAPPED_MIN.as_secs_f64() || to <= auto.max {
            return None;
        }
        let lacked =
            |run: &&DecisionRun| f64::from(most(run).unwrap_or(0).saturating_sub(auto.max)) * self.hours(run);
        Some(Advice {
            kind: Kind::MaxReached,
            note: format!(
                "for {hours:.1} h its metrics asked for more than the maximum of {}, at most for {asked}",
                Replicas(auto.max)
            ),
            worth: Worth::LackedReplicaHours(capped.iter().map(lacked).sum()),
            remedy: Remedy::Max(to),
        })
    }

    /// A lower minimum, where fewer replicas would always have done.
    pub(super) fn min_never_left(&self, auto: &AutoScale) -> Option<Advice> {
        if self.past.iter().any(|run| run.desired != auto.min) {
            return None;
        }
        // A metric that was not measured might have asked for anything.
        let asked = self.past.iter().map(most).collect::<Option<Vec<u32>>>()?;
        let to = asked.into_iter().max()?.max(1);
        if to >= auto.min {
            return None;
        }
        let hours: f64 = self.past.iter().map(|run| self.hours(run)).sum();
        Some(Advice {
            kind: Kind::MinNeverLeft,
            note: format!(
                "for {hours:.1} h it ran its minimum of {}, and its metrics never asked for more than {to}",
                Replicas(auto.min)
            ),
            worth: Worth::SparedReplicaHours(f64::from(auto.min - to) * hours),
            remedy: Remedy::Min(to),
        })
    }

    /// Metrics that have never made a difference, or always the same one.
    pub(super) fn idle_metrics(&self, auto: &AutoScale) -> Vec<Advice> {
        if auto.metrics.len() < 2 || !matches!(auto.policy, ScalePolicy::Hpa) {
            return Vec::new();
        }
        let asked: Vec<&Vec<Option<u32>>> =
            self.past.iter().map(|it| &it.asked).filter(|it| it.len() == auto.metrics.len()).collect();
        if asked.is_empty() {
            return Vec::new();
        }
        let idle = |index: usize| {
            let others = |row: &Vec<Option<u32>>| {
                let others = row.iter().enumerate().filter(|(other, _)| *other != index);
                others.filter_map(|(_, asked)| *asked).max()
            };
            let (kind, what) = if asked.iter().all(|row| row[index].is_none()) {
                (Kind::MetricUnmeasured, "was never measured, and an unmeasured metric prevents scaling in")
            } else if asked.iter().all(|row| row[index] < others(row)) {
                (Kind::MetricNeverDecided, "never decided: another metric always asked for more")
            } else {
                return None;
            };
            let note = format!("metric {} of {} {what}", index + 1, auto.metrics.len());
            Some(Advice { kind, note, worth: Worth::Uncounted, remedy: Remedy::WithoutMetric(index) })
        };
        (0..auto.metrics.len()).filter_map(idle).collect()
    }
}
