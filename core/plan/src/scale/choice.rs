//! The number that several metrics give together, and the default way to choose it: the largest proposal.

use super::combined_value::NoNumber;

/// A number of replicas, and what determined it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice<D> {
    /// The number.
    pub replicas: u32,
    /// What determined it.
    pub decided_by: D,
}

/// Why the metrics give no number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum NoChoice {
    /// No metric is valid, or some are not and the others would scale in.
    Held {
        /// The first metric that is not valid, by its place in the declaration.
        invalid: usize,
        /// The combined proposal of the valid ones, when there are any.
        proposal: Option<u32>,
    },
    /// The metrics were combined, and the combination has no result.
    NoResult(NoNumber),
}

impl<D> Choice<D> {
    /// The same number, with `wrap` applied to what determined it.
    pub(super) fn map<T>(self, wrap: impl FnOnce(D) -> T) -> Choice<T> {
        Choice { replicas: self.replicas, decided_by: wrap(self.decided_by) }
    }
}

impl NoChoice {
    /// The metric at `invalid` is not valid, and there is no proposal without it.
    pub(super) fn without(invalid: usize) -> Self {
        Self::Held { invalid, proposal: None }
    }
}

/// The largest of the `proposals`, determined by the first metric that made it. While a metric is not valid, the others may scale out, never
/// in.
///
/// Source: Kubernetes `pkg/controller/podautoscaler/horizontal.go`, `computeReplicasForMetrics`.
pub(super) fn largest(
    proposals: impl Iterator<Item = Option<u32>>,
    current: u32,
) -> Result<Choice<usize>, NoChoice> {
    let mut largest: Option<(u32, usize)> = None;
    let mut first_invalid = None;
    for (index, proposal) in proposals.enumerate() {
        match proposal {
            Some(proposal) if largest.is_none_or(|(replicas, _)| proposal > replicas) => {
                largest = Some((proposal, index));
            }
            Some(_) => {}
            None => first_invalid = first_invalid.or(Some(index)),
        }
    }
    match (largest, first_invalid) {
        (Some((replicas, _)), Some(invalid)) if replicas < current => {
            Err(NoChoice::Held { invalid, proposal: Some(replicas) })
        }
        (Some((replicas, metric)), Some(_) | None) => Ok(Choice { replicas, decided_by: metric }),
        (None, invalid) => Err(NoChoice::without(invalid.unwrap_or(0))),
    }
}
