//! Policies that know the upcoming load, as a bound for all others.

use std::time::Duration;

use super::{Policy, PolicyInput};
use crate::service::{Service, Share};
use crate::window::WindowMax;

/// Knows the load for exactly as long as a replica takes to start, so that it never starts one too late.
#[derive(Clone, Debug)]
pub struct Oracle {
    used: Share,
    foresight: usize,
    scale_in_window: WindowMax<u32>,
}

impl Oracle {
    /// Follows the demand without delay in both directions.
    pub fn exact(service: &Service) -> Self {
        Self::new(service, service.target, Duration::ZERO)
    }

    /// Keeps the largest number of the last five minutes: the bound for policies that must not flap.
    pub fn stable(service: &Service) -> Self {
        Self::new(service, service.target, super::SCALE_IN_WINDOW)
    }

    /// Uses 95 % of each replica: the lowest cost at which this model has no violation.
    pub fn lean(service: &Service) -> Self {
        Self::new(service, Share::of(0.95).expect("it is a share"), Duration::ZERO)
    }

    /// Uses the share `used` of each replica, and stays at the largest number of the last `scale_in_window`.
    pub fn new(service: &Service, used: Share, scale_in_window: Duration) -> Self {
        let foresight = usize::try_from(service.start_up_ticks()).unwrap_or(usize::MAX).saturating_add(1);
        Self { used, foresight, scale_in_window: WindowMax::of_ticks(service.ticks_in(scale_in_window)) }
    }
}

impl Policy for Oracle {
    fn foresight(&self) -> usize {
        self.foresight
    }

    fn wanted(&mut self, input: &PolicyInput<'_>) -> u32 {
        let demand = |load: &f64| input.service.replicas_for(*load, self.used);
        let largest = input.upcoming.iter().map(demand).max().unwrap_or(input.wanted);
        self.scale_in_window.largest_with(input.tick, largest)
    }
}
