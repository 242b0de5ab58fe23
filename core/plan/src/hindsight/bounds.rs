//! Bounds that were too tight or never reached, and metrics that made no difference.

use std::time::Duration;

use model::quantity::Replicas;
use model::resource::{AutoScale, ScalePolicy};

use super::{Advice, Benefit, DecisionRun, History, Kind, Remedy, highest_proposal};

/// How long a service must have wanted more than its maximum: less than ten minutes in a day is a burst.
const CAPPED_MIN: Duration = Duration::from_mins(10);

impl History<'_> {
    /// Advises a higher maximum where the metrics proposed more replicas than it allows.
    pub(super) fn max_reached(&self, auto: &AutoScale) -> Option<Advice> {
        let is_capped =
            |run: &&DecisionRun| run.desired == auto.max && highest_proposal(run) > Some(auto.max);
        let capped: Vec<&DecisionRun> = self.past.iter().filter(is_capped).collect();
        let hours: f64 = capped.iter().map(|run| self.hours(run)).sum();
        let highest = capped.iter().filter_map(|run| highest_proposal(run)).max()?;
        let to = highest.min(self.settings.guard.replicas_max);
        if hours * 3600.0 < CAPPED_MIN.as_secs_f64() || to <= auto.max {
            return None;
        }
        let lacked = |run: &&DecisionRun| {
            f64::from(highest_proposal(run).unwrap_or(0).saturating_sub(auto.max)) * self.hours(run)
        };
        Some(Advice {
            kind: Kind::MaxReached,
            note: format!(
                "for {hours:.1} h its metrics asked for more than the maximum of {}, at most for {highest}",
                Replicas(auto.max)
            ),
            benefit: Benefit::LackedReplicaHours(capped.iter().map(lacked).sum()),
            remedy: Remedy::Max(to),
        })
    }

    /// Advises a lower minimum where fewer replicas would always have been enough.
    pub(super) fn min_never_left(&self, auto: &AutoScale) -> Option<Advice> {
        if self.past.iter().any(|run| run.desired != auto.min) {
            return None;
        }
        // A metric that was not measured might have proposed any number.
        let proposals = self.past.iter().map(highest_proposal).collect::<Option<Vec<u32>>>()?;
        let to = proposals.into_iter().max()?.max(1);
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
            benefit: Benefit::SparedReplicaHours(f64::from(auto.min - to) * hours),
            remedy: Remedy::Min(to),
        })
    }

    /// Advises to remove metrics that were never measured, or never decided.
    pub(super) fn idle_metrics(&self, auto: &AutoScale) -> Vec<Advice> {
        if auto.metrics.len() < 2 || !matches!(auto.policy, ScalePolicy::Hpa) {
            return Vec::new();
        }
        let rows: Vec<&Vec<Option<u32>>> = self
            .past
            .iter()
            .map(|run| &run.proposals)
            .filter(|row| row.len() == auto.metrics.len())
            .collect();
        if rows.is_empty() {
            return Vec::new();
        }
        let idle = |index: usize| {
            let others = |row: &Vec<Option<u32>>| {
                let others = row.iter().enumerate().filter(|(other, _)| *other != index);
                others.filter_map(|(_, proposal)| *proposal).max()
            };
            let (kind, what) = if rows.iter().all(|row| row[index].is_none()) {
                (Kind::MetricUnmeasured, "was never measured, and an unmeasured metric prevents scaling in")
            } else if rows.iter().all(|row| row[index] < others(row)) {
                (Kind::MetricNeverDecided, "never decided: another metric always asked for more")
            } else {
                return None;
            };
            let note = format!("metric {} of {} {what}", index + 1, auto.metrics.len());
            Some(Advice { kind, note, benefit: Benefit::Unknown, remedy: Remedy::WithoutMetric(index) })
        };
        (0..auto.metrics.len()).filter_map(idle).collect()
    }
}
