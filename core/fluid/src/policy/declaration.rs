//! The policy of a manifest, decided by the planner from the measurements of the model.

use std::sync::Arc;
use std::time::Duration;

use model::input::Declared;
use model::quantity::{Milli, MilliRps};
use model::settings::Settings;
pub use plan::learned::{LoadFeature, LoadFeatures};
use plan::scale::reading::Replicas;
use plan::simulated::{Demand, SimulatedService, SimulatedState};

pub use super::meters::Meter;
use super::meters::{Meters, views};
use super::{Policy, PolicyInput};
use crate::service::Service;

/// The policy of a declared service: its bounds, schedules, mode and autoscaler.
///
/// It has no arithmetic of its own: [`SimulatedService::decide`] decides as the control loop does, from the same views of replicas and the
/// same samples. Its first decision follows the first tick, because nothing is measured before that.
#[derive(Clone, Debug)]
pub struct Declaration {
    simulated: SimulatedService,
    meters: Meters,
    /// The replicas as the planner sees them, with the [`Fleet::changes`](crate::fleet::Fleet::changes) that they were computed at.
    cached_views: Option<(u64, Replicas)>,
}

impl Declaration {
    /// The policy of `declared`, with samples that are each measured over `window`.
    pub fn of(declared: Arc<Declared>, settings: Settings, window: Duration) -> Self {
        let request = declared.spec.resources.cpu.map(|request| Milli(request.milli()));
        let meters = declared.autoscaler.as_ref().map(|spec| Meters::of(spec, request, window));
        let meters = meters.unwrap_or_else(|| Meters { meters: Vec::new(), request, window });
        Self { simulated: SimulatedService::of(declared, settings), meters, cached_views: None }
    }

    /// The same, with these meters for its metrics.
    pub(crate) fn with_meters(mut self, meters: Vec<Meter>) -> Self {
        self.meters.meters = meters;
        self
    }

    /// The meter of each metric, in the order of the declaration; empty without an autoscaler.
    pub fn meters(&self) -> &[Meter] {
        &self.meters.meters
    }

    /// The features of a learned policy; `None` without an SLO, and before enough load was observed.
    pub fn features(&self, service: &Service) -> Option<LoadFeatures> {
        self.simulated.features(capacity(service))
    }

    fn views(&mut self, input: &PolicyInput<'_>) -> Replicas {
        let changes = input.fleet.changes();
        match &self.cached_views {
            Some((computed_at, views_then)) if *computed_at == changes => {
                debug_assert_eq!(*views_then, views(input), "views change only with the fleet");
                views_then.clone()
            }
            Some(_) | None => {
                let views = views(input);
                self.cached_views = Some((changes, views.clone()));
                views
            }
        }
    }

    /// The declared service.
    pub fn declared(&self) -> &Declared {
        self.simulated.declared()
    }
}

/// The capacity of one replica.
fn capacity(service: &Service) -> MilliRps {
    MilliRps((service.capacity.rate() * 1000.0) as u64)
}

impl Policy for Declaration {
    fn wanted(&mut self, input: &PolicyInput<'_>) -> u32 {
        let Some(past) = input.last else { return input.wanted };
        let state = SimulatedState {
            desired: Some(input.wanted),
            count: input.fleet.total(),
            replicas: self.views(input),
            measured: self.meters.take(input, past),
            carries: Some(capacity(input.service)),
            demand: Some(Demand { rate: past.load, over: input.service.tick }),
            start_up: Some(input.service.start_up),
        };
        self.simulated.decide(input.now, state)
    }
}
