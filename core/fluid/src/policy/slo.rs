//! The SLO-first policy of production, told what the model would report.

use std::time::Duration;

use plan::slo::{Limits, Moment, PerReplica, Price, SloFirst};
pub use plan::slo::{Objective, SloError};

use super::{Policy, Sight};
use crate::service::Service;

/// Promises `objective` of the requests, and sizes the service by what replicas carry and what load is ahead.
#[derive(Debug)]
pub struct Slo {
    policy: SloFirst,
    wait_max: Duration,
    /// What was ready in the tick before, in capacities.
    ready: f64,
}

/// What is never undone at once: a tick, so that a lull between two decisions stops nothing.
const STABILIZATION_TICKS: u32 = 1;

impl Slo {
    /// A policy for `service`; without `price`, that follows from the objective.
    ///
    /// # Errors
    ///
    /// When its start takes longer than can be forecast.
    pub fn new(service: &Service, objective: Objective, price: Option<Price>) -> Result<Self, SloError> {
        let limits = Limits {
            stabilization: service.tick * STABILIZATION_TICKS,
            growth: None,
            bounds: (service.bounds.min, service.bounds.max),
        };
        let policy = SloFirst::new(objective, price, (service.start_up, service.tick), limits)?;
        Ok(Self { policy, wait_max: service.wait_max, ready: f64::INFINITY })
    }
}

impl Policy for Slo {
    fn wanted(&mut self, sight: &Sight<'_>) -> u32 {
        let capacity = sight.service.capacity.rate();
        let waiting_max = self.wait_max.as_secs_f64() * self.ready * capacity;
        let is_broken = sight.last.is_some_and(|past| past.dropped > 0.0 || past.queue > waiting_max);
        let moment = Moment {
            now: Duration::from_millis(sight.now.time.as_millis()),
            load: sight.last.map(|past| past.load),
            waiting: sight.last.map_or(0.0, |past| past.queue),
            is_broken,
            wanted: sight.wanted,
        };
        let replicas = self.policy.size(&moment, &PerReplica(capacity)).replicas;
        self.ready = sight.fleet.speed().min(f64::from(replicas));
        replicas
    }
}
