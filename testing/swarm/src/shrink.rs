//! Finds the smallest part of a seed's configuration that still fails in the same way.

use std::time::Duration;

use sim::Fault;

use crate::config::{Config, Exclusions};
use crate::failure::Failure;
use crate::run::run;

/// A failure, and the smallest configuration in which it was found.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// What is left out.
    pub exclusions: Exclusions,
    /// The simulated time of the run.
    pub span: Duration,
    /// The failure of this configuration.
    pub failure: Failure,
}

/// Leaves out faults, services and the operator one after the other, and keeps each exclusion with which the same checker still
/// fails. O(faults) runs, none longer than the first failure took.
pub fn shrink(seed: u64, span: Duration, exclusions: &Exclusions, failure: &Failure) -> Shrunk {
    let mut least =
        Shrunk { exclusions: exclusions.clone(), span: span_of(failure).min(span), failure: failure.clone() };
    for fault in Fault::ALL {
        if Config::of_seed(seed, span, &least.exclusions).faults.rate(fault) > 0 {
            let mut exclusions = least.exclusions.clone();
            exclusions.without.push(fault);
            least.try_excluding(seed, exclusions);
        }
    }
    let services = Config::of_seed(seed, span, &least.exclusions).services.len();
    if let Some(fewest) = (1..services).find(|services| {
        least
            .clone()
            .try_excluding(seed, Exclusions { services: Some(*services), ..least.exclusions.clone() })
    }) {
        least.try_excluding(seed, Exclusions { services: Some(fewest), ..least.exclusions.clone() });
    }
    least.try_excluding(seed, Exclusions { no_operator: true, ..least.exclusions.clone() });
    least
}

impl Shrunk {
    /// Keeps the exclusions if the same checker still fails.
    fn try_excluding(&mut self, seed: u64, exclusions: Exclusions) -> bool {
        let config = Config::of_seed(seed, self.span, &exclusions);
        match run(&config, None).failure {
            Some(failure) if failure.checker == self.failure.checker => {
                self.span = span_of(&failure).min(self.span);
                (self.exclusions, self.failure) = (exclusions, failure);
                true
            }
            Some(_) | None => false,
        }
    }
}

/// The time of the failure, rounded up to whole minutes.
fn span_of(failure: &Failure) -> Duration {
    let minutes = failure.at.since(sim::Simulation::begin()).as_secs() / 60 + 1;
    Duration::from_mins(minutes)
}
