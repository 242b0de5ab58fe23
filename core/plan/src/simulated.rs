//! Decisions on the size of a simulated service, for those who try a declaration before they trust it.

use std::sync::Arc;
use std::time::Duration;

use knowledge::LoadForecast;
use model::input::Declared;
use model::memory::ScalingMemory;
use model::quantity::MilliRps;
use model::resource::ForecastMode;
use model::settings::Settings;
use model::time::Now;

use crate::inputs::SizeInputs;
use crate::learned::LoadFeatures;
pub use crate::measured_metric::{MeasuredMetric, to_carry};
use crate::scale::reading::{Milli, Replicas};
use crate::scale::slo_first;

/// A simulated service that is decided on as a real one is, with the memory of earlier decisions.
///
/// The decision is the one of production, from the same inputs: bounds, schedules, autoscaler and mode. Nobody holds the size by hand, no request
/// fails, and it does not rest: these depend on what only a real service has.
#[derive(Clone, Debug)]
pub struct SimulatedService {
    declared: Arc<Declared>,
    settings: Settings,
    memory: ScalingMemory,
    /// What the inputs of a decision hold in place of `memory`, so that none is copied.
    blank: Arc<ScalingMemory>,
    /// What is forecast of its load; `None` before its first decision, and of a service that is not scaled ahead of it.
    load_forecast: Option<LoadForecast>,
    /// Requests so far.
    requests: f64,
}

/// The state of a simulated service.
#[derive(Clone, Debug, Default)]
pub struct SimulatedState {
    /// Replicas wanted until now; `None` before the first decision.
    pub desired: Option<u32>,
    /// Replicas there are.
    pub count: u32,
    /// The replicas that the metrics are of; shared, as they are the same from one decision to the next but when some come or go.
    pub replicas: Replicas,
    /// What was measured of each metric of the autoscaler, in the order of its declaration.
    pub measured: Vec<MeasuredMetric>,
    /// Requests a second that one replica carries, for a service that is sized by what it promises; `None` goes by what that declares.
    pub carries: Option<MilliRps>,
    /// Requests since the last decision; `None` while that is not known, so that nothing is forecast from it.
    pub demand: Option<Demand>,
    /// How long a replica takes until it is ready; `None` where that is not known.
    pub start_up: Option<Duration>,
}

/// Requests to a service between two decisions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Demand {
    /// Requests a second.
    pub rate: f64,
    /// For so long; after more than a minute it counts as not observed.
    pub over: Duration,
}

impl SimulatedService {
    /// A service about which nothing was decided yet.
    pub fn of(declared: Arc<Declared>, settings: Settings) -> Self {
        let (memory, blank) = (ScalingMemory::default(), Arc::default());
        Self { declared, settings, memory, blank, load_forecast: None, requests: 0.0 }
    }

    /// The service.
    pub fn declared(&self) -> &Declared {
        &self.declared
    }

    /// Replicas wanted from `now` on.
    pub fn decide(&mut self, now: Now, simulated: SimulatedState) -> u32 {
        self.look_ahead(now, &simulated);
        let simulated = (simulated, self.load_forecast.as_ref());
        let kept = (&self.memory, &self.blank, &self.settings);
        let inputs = SizeInputs::simulated(now, Arc::clone(&self.declared), simulated, kept);
        inputs.decide_with(&mut self.memory).desired
    }

    /// What a learned policy goes by, where one replica carries `capacity`; `None` where nothing is promised, and before enough of the load was seen.
    pub fn features(&self, capacity: MilliRps) -> Option<LoadFeatures> {
        let rises = self.memory.policy.history.rises().filter(|rises| !slo_first::is_new(rises))?;
        LoadFeatures::of(rises, Milli(i64::try_from(capacity.0).unwrap_or(i64::MAX)))
    }

    /// Learns from the requests, as the loop does, where a forecast may raise the number.
    fn look_ahead(&mut self, now: Now, simulated: &SimulatedState) {
        let Some(Demand { rate, over }) = simulated.demand else { return };
        if self.load_forecast.is_none() {
            let Some(rule) = self.declared.forecasting().filter(|rule| rule.mode == ForecastMode::On) else {
                return;
            };
            let source = self.declared.load_source();
            let mut load_forecast =
                LoadForecast::simulated(rule, source, simulated.start_up, now.time - over);
            load_forecast.observe_requests(now.time - over, 0);
            self.load_forecast = Some(load_forecast);
        }
        self.requests += rate * over.as_secs_f64();
        let need = knowledge::required_replicas(
            &self.declared,
            &self.memory,
            now.time,
            over.max(self.settings.sample_age_max),
        );
        if let Some(load_forecast) = &mut self.load_forecast {
            load_forecast.observe_requests(now.time, self.requests as u64);
            load_forecast.update(now, need, simulated.start_up, over);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use model::resource::Resource;
    use model::time::{Time, Wall};

    use super::*;
    use crate::scale::reading::{Milli, Phase, Readiness, ReplicaView, Sample};

    fn declared(scale: &serde_json::Value) -> Arc<Declared> {
        let resource: Resource = serde_json::from_value(serde_json::json!({
            "apiVersion": "homeostat/v1", "kind": "Service", "metadata": {"name": "shop"},
            "spec": {"run": {"command": ["shop"]}, "resources": {"cpu": "1"}, "scale": scale},
        }))
        .expect("it is a service");
        let Resource::Service(service) = resource else { panic!("it is a service") };
        Arc::new(Declared {
            name: service.name().clone(),
            revision: model::identity::Generation::default(),
            generation: model::identity::Generation::default(),
            autoscaler: service.autoscaler().expect("it can be one"),
            spec: service.spec,
        })
    }

    /// Two ready replicas that use so much of the processor each.
    fn busy(milli: i64, now: Now) -> SimulatedState {
        let begun = Time::ZERO;
        let view = ReplicaView {
            phase: Phase::Running,
            leaving: false,
            started: Some(begun),
            readiness: Some(Readiness { ready: true, since: begun }),
        };
        let sample = Ok(Sample { value: Milli(milli), at: now.time, window: Duration::ZERO });
        SimulatedState {
            desired: Some(2),
            count: 2,
            replicas: Replicas::of(&[view; 2]),
            measured: vec![MeasuredMetric::Each(vec![sample; 2])],
            ..SimulatedState::default()
        }
    }

    fn at(seconds: u64) -> Now {
        Now { time: Time::from_millis(seconds * 1000), wall: Wall::from_millis(seconds * 1000) }
    }

    #[test]
    fn an_autoscaler_is_asked_and_remembers() {
        let spec = serde_json::json!({"min": 1, "max": 9});
        let mut service = SimulatedService::of(declared(&spec), Settings::default());
        assert_eq!(service.decide(at(1000), busy(1600, at(1000))), 4, "at 80 % it wants double");
        let idle = SimulatedState { desired: Some(4), ..busy(100, at(1010)) };
        assert_eq!(service.decide(at(1010), idle), 4, "five minutes are not over");
    }

    #[test]
    fn schedules_and_modes_hold_as_in_production() {
        let spec = serde_json::json!({
            "min": 1, "max": 9, "mode": "upOnly",
            "schedule": [{"cron": "0 0 * * *", "timezone": "UTC", "duration": "1h", "min": 6}],
        });
        let mut service = SimulatedService::of(declared(&spec), Settings::default());
        assert_eq!(service.decide(at(60), busy(100, at(60))), 6, "it is a minute past midnight");
        let noon = at(12 * 3600);
        assert_eq!(
            service.decide(noon, SimulatedState { desired: Some(6), ..busy(100, noon) }),
            6,
            "and up only"
        );
    }

    #[test]
    fn a_fixed_number_is_what_it_is() {
        let mut service =
            SimulatedService::of(declared(&serde_json::json!({"replicas": 3})), Settings::default());
        assert_eq!(service.decide(at(0), SimulatedState::default()), 3);
    }
}
