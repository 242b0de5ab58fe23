//! What a manifest declares, decided by the planner itself from what the model reports.

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
/// Nothing of its arithmetic is here: [`SimulatedService::decide`] decides as the loop does, from the same views of replicas and the same samples. Its first
/// decision comes after the first tick: before that nothing was measured.
#[derive(Clone, Debug)]
pub struct Declaration {
    simulated: SimulatedService,
    meters: Meters,
    /// The replicas as the planner sees them, and at which change of the fleet that was so.
    seen: Option<(u64, Replicas)>,
}

impl Declaration {
    /// The policy that `declared` has, with samples that are each measured over `window`.
    pub fn of(declared: Arc<Declared>, settings: Settings, window: Duration) -> Self {
        let request = declared.spec.resources.cpu.map(|request| Milli(request.milli()));
        let meters = declared.autoscaler.as_ref().map(|spec| Meters::of(spec, request, window));
        let meters = meters.unwrap_or_else(|| Meters { meters: Vec::new(), request, window });
        Self { simulated: SimulatedService::of(declared, settings), meters, seen: None }
    }

    /// The same, with these meters for its metrics.
    pub(crate) fn metered(mut self, meters: Vec<Meter>) -> Self {
        self.meters.meters = meters;
        self
    }

    /// What the model reports for each metric, in the order of the declaration; empty without an autoscaler.
    pub fn meters(&self) -> &[Meter] {
        &self.meters.meters
    }

    /// What a learned policy goes by; `None` where nothing is promised, and before enough of the load was seen.
    pub fn features(&self, service: &Service) -> Option<LoadFeatures> {
        self.simulated.features(carried(service))
    }

    fn views(&mut self, input: &PolicyInput<'_>) -> Replicas {
        let changes = input.fleet.changes();
        match &self.seen {
            Some((then, seen)) if *then == changes => {
                debug_assert_eq!(*seen, views(input), "they change with the fleet only");
                seen.clone()
            }
            Some(_) | None => {
                let views = views(input);
                self.seen = Some((changes, views.clone()));
                views
            }
        }
    }

    /// The service.
    pub fn declared(&self) -> &Declared {
        self.simulated.declared()
    }
}

/// What one replica carries.
fn carried(service: &Service) -> MilliRps {
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
            carries: Some(carried(input.service)),
            demand: Some(Demand { rate: past.load, over: input.service.tick }),
            start_up: Some(input.service.start_up),
        };
        self.simulated.decide(input.now, state)
    }
}
