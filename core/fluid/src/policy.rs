//! The interface of policies, which choose the number of replicas from the result of the previous tick.

use std::time::Duration;

use model::time::Now;

use crate::fleet::Fleet;
use crate::service::Service;

pub mod calendar;
pub mod constant;
pub mod declaration;
pub mod hpa;
mod manifests;
mod meters;
pub mod oracle;
pub mod other_autoscalers;
pub mod surge;
pub mod trend;

/// The stabilization window of policies that have no scale-in rule of their own: that of Kubernetes' HPA.
const SCALE_IN_WINDOW: Duration = Duration::from_secs(300);

/// A rule for the number of replicas.
///
/// It is called once a tick, before the load of that tick is served, and sees the tick before. A policy keeps its own history.
/// A closure `FnMut(&PolicyInput) -> u32` is a policy.
pub trait Policy {
    /// The number of upcoming ticks whose load it must know, the current one included; 0 for every policy that could run in production.
    fn foresight(&self) -> usize {
        0
    }

    /// The number of ready replicas before the first tick, whose demand is `demand`; clamped to the bounds of the service.
    fn initial(&self, demand: u32) -> u32 {
        demand
    }

    /// The desired number of replicas, starting ones included; clamped to the bounds of the service.
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
    /// Its replicas; those whose start ends in this tick are ready.
    pub fleet: &'a Fleet,
    /// The current desired number of replicas.
    pub wanted: u32,
    /// The result of the previous tick; `None` in the first.
    pub last: Option<&'a TickResult>,
    /// The load of this tick and of those after it, in requests a second: [`Policy::foresight`] many, fewer at the end of the trace.
    pub upcoming: &'a [f64],
}

/// The result of a tick.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TickResult {
    /// Requests that arrived, per second.
    pub load: f64,
    /// Requests that were served, per second.
    pub served: f64,
    /// Served work ÷ capacity, at most 1; without a ready replica 1 if there is load, else 0.
    pub utilization: f64,
    /// Requests queued at its end.
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

    fn initial(&self, demand: u32) -> u32 {
        (**self).initial(demand)
    }

    fn wanted(&mut self, input: &PolicyInput<'_>) -> u32 {
        (**self).wanted(input)
    }
}
