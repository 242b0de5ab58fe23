//! Finds what a failure needs: the smallest part of its seed that still fails in the same way.

use std::time::Duration;

use sim::Fault;

use crate::config::{Config, Cut};
use crate::run::{Failure, run};

/// A failure, and the smallest configuration in which it was found.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// What is left out.
    pub cut: Cut,
    /// How long the world is watched.
    pub span: Duration,
    /// How it fails then.
    pub failure: Failure,
}

/// Leaves out faults, services and the operator one after the other, and keeps each cut with which the same checker still
/// objects. O(faults) runs, none longer than the first failure took.
pub fn shrink(seed: u64, span: Duration, cut: &Cut, failure: &Failure) -> Shrunk {
    let mut least = Shrunk { cut: cut.clone(), span: up_to(failure).min(span), failure: failure.clone() };
    for fault in Fault::ALL {
        if Config::of_seed(seed, span, &least.cut).faults.rate(fault) > 0 {
            let mut cut = least.cut.clone();
            cut.without.push(fault);
            least.try_cut(seed, cut);
        }
    }
    let services = Config::of_seed(seed, span, &least.cut).services.len();
    if let Some(fewest) = (1..services)
        .find(|services| least.clone().try_cut(seed, Cut { services: Some(*services), ..least.cut.clone() }))
    {
        least.try_cut(seed, Cut { services: Some(fewest), ..least.cut.clone() });
    }
    least.try_cut(seed, Cut { no_operator: true, ..least.cut.clone() });
    least
}

impl Shrunk {
    /// Keeps the cut if the same checker still objects.
    fn try_cut(&mut self, seed: u64, cut: Cut) -> bool {
        let config = Config::of_seed(seed, self.span, &cut);
        match run(&config, None).failure {
            Some(failure) if failure.checker == self.failure.checker => {
                self.span = up_to(&failure).min(self.span);
                (self.cut, self.failure) = (cut, failure);
                true
            }
            Some(_) | None => false,
        }
    }
}

/// The time of the failure, rounded up to whole minutes.
fn up_to(failure: &Failure) -> Duration {
    let minutes = failure.at.since(sim::Simulation::begin()).as_secs() / 60 + 1;
    Duration::from_mins(minutes)
}
