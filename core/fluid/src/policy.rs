//! What a policy is: given the result of a tick, it says how many replicas there shall be.

use std::time::Duration;

use model::time::Now;

use crate::fleet::Fleet;
use crate::service::Service;

pub mod calendar;
pub mod constant;
pub mod declaration;
pub mod hpa;
mod meters;
pub mod oracle;
pub mod peers;
pub mod surge;
pub mod trend;
mod written;

/// How long policies without rules of their own keep the largest number that they wanted: as Kubernetes' autoscaler does.
const HOLD: Duration = Duration::from_secs(300);

/// A rule for the number of replicas.
///
/// It is asked once a tick, before the load of that tick is served, and sees the ticks before it. A policy keeps
/// its own memory. A closure `FnMut(&PolicyInput) -> u32` is a policy.
pub trait Policy {
    /// Ticks whose load it must be shown, the present one included; 0 for every policy that could run in earnest.
    fn foresight(&self) -> usize {
        0
    }

    /// Replicas that are ready before the first tick, whose demand is `demand`; held within the bounds of the service.
    fn begin(&self, demand: u32) -> u32 {
        demand
    }

    /// Replicas that there shall be, starting ones included; held within the bounds of the service.
    fn wanted(&mut self, input: &PolicyInput<'_>) -> u32;
}

/// The input of a policy.
#[derive(Clone, Copy, Debug)]
pub struct PolicyInput<'a> {
    /// The tick to decide on, counted from 0.
    pub tick: u64,
    /// When it begins.
    pub now: Now,
    /// The service.
    pub service: &'a Service,
    /// Its replicas, those included whose start has just ended.
    pub fleet: &'a Fleet,
    /// Replicas wanted until now.
    pub wanted: u32,
    /// The tick before; `None` in the first.
    pub last: Option<&'a TickResult>,
    /// The load of this tick and of those after it, in requests a second, as far as [`Policy::foresight`] asks; fewer at the
    /// end of the trace. Empty for policies without foresight.
    pub ahead: &'a [f64],
}

/// The result of a tick.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TickResult {
    /// Requests that came, per second.
    pub load: f64,
    /// Requests that were served, per second.
    pub served: f64,
    /// Served work ÷ capacity: at most 1. 1 for load without a ready replica, 0 for neither.
    pub utilization: f64,
    /// Requests that wait at its end.
    pub queue: f64,
    /// Requests that were dropped.
    pub dropped: f64,
}

impl<F: FnMut(&PolicyInput<'_>) -> u32> Policy for F {
    fn wanted(&mut self, input: &PolicyInput<'_>) -> u32 {
        self(input)
    }
}

impl Policy for Box<dyn Policy> {
    fn foresight(&self) -> usize {
        (**self).foresight()
    }

    fn begin(&self, demand: u32) -> u32 {
        (**self).begin(demand)
    }

    fn wanted(&mut self, input: &PolicyInput<'_>) -> u32 {
        (**self).wanted(input)
    }
}
