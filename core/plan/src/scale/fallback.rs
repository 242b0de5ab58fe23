//! What stands in for a metric that has given nothing for long.
//!
//! Source: Kubernetes KEP-5679, "HPA External Metrics Fallback": the metric counts as valid and proposes the declared number.

use std::fmt;

use model::memory::FailingMemory;
use model::quantity::Replicas;
use model::resource::{Fallback, MetricSpec};
use model::time::Time;

use super::proposal::{MetricFault, Proposal};

/// A metric whose fallback stands in for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActiveFallback {
    /// Which, by its place in the declaration.
    pub metric: usize,
    /// What it asks for.
    pub replicas: u32,
    /// Since when it has given nothing.
    pub since: Time,
}

/// Notes in `failing` which of the metrics with a fallback cannot be had, and returns those for which it stands in by now.
pub(super) fn note(
    now: Time,
    metrics: &[MetricSpec],
    said: &[Result<Proposal, MetricFault>],
    failing: &mut Vec<FailingMemory>,
) -> Vec<ActiveFallback> {
    let (mut noted, mut active) = (Vec::new(), Vec::new());
    for (place, (metric, said)) in metrics.iter().zip(said).enumerate() {
        let (Some(Fallback { after, replicas }), Err(MetricFault::Unavailable(_))) =
            (metric.fallback(), said)
        else {
            continue;
        };
        let metric = u32::try_from(place).expect("a declaration has at most a hundred metrics");
        let since = failing.iter().find(|it| it.metric == metric).map_or(now, |it| it.since);
        noted.push(FailingMemory { metric, since });
        if now.since(since) >= after {
            active.push(ActiveFallback { metric: place, replicas, since });
        }
    }
    *failing = noted;
    active
}

impl ActiveFallback {
    /// Why it stands in, and with what.
    pub(super) fn instead_of(&self, fault: &MetricFault) -> String {
        format!("{fault}; {self}")
    }
}

/// Such as `it has had no value since 12:00:07.000, so its fallback of 4 replicas is used`.
impl fmt::Display for ActiveFallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { since, replicas, .. } = self;
        write!(f, "it has had no value since {since}, so its fallback of {} is used", Replicas(*replicas))
    }
}
