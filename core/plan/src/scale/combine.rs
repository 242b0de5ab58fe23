//! Several metrics, one number: the largest proposal, and no scale-in on partial data.
//!
//! Source: Kubernetes `pkg/controller/podautoscaler/horizontal.go`, `computeReplicasForMetrics`.

use super::proposal::{MetricFault, Proposal};

/// What the metrics of an autoscaler come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Combined {
    /// This many replicas.
    Chosen {
        /// The largest proposal.
        replicas: u32,
        /// Whose it is; the first of equals.
        metric: usize,
    },
    /// No number: no metric is valid, or some are not and the others would scale in.
    Held {
        /// The first metric that is not valid.
        invalid: usize,
        /// What the valid ones ask for, when there are any.
        asked: Option<u32>,
    },
}

/// Combines what the metrics say, in their order. A fault among them may let the service grow, never shrink.
pub fn combine(metrics: &[Result<Proposal, MetricFault>], current: u32) -> Combined {
    let mut chosen: Option<(u32, usize)> = None;
    let mut first_invalid = None;
    for (index, verdict) in metrics.iter().enumerate() {
        match verdict {
            Ok(proposal) if chosen.is_none_or(|(replicas, _)| proposal.replicas > replicas) => {
                chosen = Some((proposal.replicas, index));
            }
            Ok(_) => {}
            Err(_) => first_invalid = first_invalid.or(Some(index)),
        }
    }
    match (chosen, first_invalid) {
        (Some((replicas, _)), Some(invalid)) if replicas < current => {
            Combined::Held { invalid, asked: Some(replicas) }
        }
        (Some((replicas, metric)), Some(_) | None) => Combined::Chosen { replicas, metric },
        (None, invalid) => Combined::Held { invalid: invalid.unwrap_or(0), asked: None },
    }
}
