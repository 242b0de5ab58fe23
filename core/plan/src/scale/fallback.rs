//! Fallbacks: numbers of replicas in place of metrics that have had no value for long.
//!
//! Source: Kubernetes KEP-5679, "HPA External Metrics Fallback": the metric counts as valid and proposes the declared number.

use std::fmt;

use model::memory::FailingMemory;
use model::quantity::Replicas;
use model::resource::{Fallback, MetricSpec};
use model::time::Time;

use super::proposal::{MetricFault, Proposal};

/// A metric whose fallback is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActiveFallback {
    /// The metric, by its place in the declaration.
    pub metric: usize,
    /// The number of replicas that it proposes.
    pub replicas: u32,
    /// Since when the metric has had no value.
    pub since: Time,
}

/// Records in `failing` which of the metrics with a fallback have no value, and returns the fallbacks that are used by now.
pub(super) fn active_fallbacks(
    now: Time,
    metrics: &[MetricSpec],
    proposals: &[Result<Proposal, MetricFault>],
    failing: &mut Vec<FailingMemory>,
) -> Vec<ActiveFallback> {
    let (mut still_failing, mut active) = (Vec::new(), Vec::new());
    for (place, (metric, proposal)) in metrics.iter().zip(proposals).enumerate() {
        let (Some(Fallback { after, replicas }), Err(MetricFault::Unavailable(_))) =
            (metric.fallback(), proposal)
        else {
            continue;
        };
        let metric = u32::try_from(place).expect("a declaration has at most a hundred metrics");
        let since = failing.iter().find(|known| known.metric == metric).map_or(now, |known| known.since);
        still_failing.push(FailingMemory { metric, since });
        if now.since(since) >= after {
            active.push(ActiveFallback { metric: place, replicas, since });
        }
    }
    *failing = still_failing;
    active
}

impl ActiveFallback {
    /// The fault of the metric, and the fallback that is used instead.
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
