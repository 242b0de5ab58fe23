//! Policies that know the load to come: the others are measured against them.

use std::time::Duration;

use super::{Policy, PolicyInput};
use crate::service::{Service, Share};
use crate::window::WindowMax;

/// Knows the load for exactly as long as a replica takes to start, so that it never starts one too late.
#[derive(Clone, Debug)]
pub struct Oracle {
    used: Share,
    foresight: usize,
    hold: WindowMax<u32>,
}

impl Oracle {
    /// Follows the demand at once, both ways.
    pub fn exact(service: &Service) -> Self {
        Self::new(service, service.target, Duration::ZERO)
    }

    /// Holds the largest number of the last five minutes: fair to every policy that must not flap.
    pub fn stable(service: &Service) -> Self {
        Self::new(service, service.target, super::HOLD)
    }

    /// Uses 95 % of each replica: the least cost at which this model has no violation.
    pub fn lean(service: &Service) -> Self {
        Self::new(service, Share::of(0.95).expect("it is a share"), Duration::ZERO)
    }

    /// Uses `used` of each replica, and never goes below what it wanted within the last `hold`.
    pub fn new(service: &Service, used: Share, hold: Duration) -> Self {
        let foresight = usize::try_from(service.start_up_ticks()).unwrap_or(usize::MAX).saturating_add(1);
        Self { used, foresight, hold: WindowMax::of_ticks(service.ticks_in(hold)) }
    }
}

impl Policy for Oracle {
    fn foresight(&self) -> usize {
        self.foresight
    }

    fn wanted(&mut self, input: &PolicyInput<'_>) -> u32 {
        let demand = |load: &f64| input.service.replicas_for(*load, self.used);
        let coming = input.ahead.iter().map(demand).max().unwrap_or(input.wanted);
        self.hold.largest_with(input.tick, coming)
    }
}
