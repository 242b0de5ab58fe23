//! Decisions on the size of a simulated service, for trying a declaration before it is used.

use std::sync::Arc;
use std::time::Duration;

use knowledge::LoadForecast;
use knowledge::capacity::LearnedCapacity;
use model::input::Declared;
use model::memory::ScalingMemory;
use model::quantity::MilliRps;
use model::resource::ForecastMode;
use model::settings::Settings;
use model::time::Now;

use crate::effective_bounds::EffectiveBounds;
use crate::expected_load::{ExpectedLoad, SloInputs};
use crate::inputs::{Observations, SizeInputs, current_size};
use crate::learned::LoadFeatures;
pub use crate::measured_metric::{MeasuredMetric, load_to_carry};
use crate::scale::reading::{Milli, Replicas};
use crate::scale::slo_first;

/// A simulated service, with the memory of its earlier decisions.
///
/// The decisions are those of production, from the same inputs: bounds, schedules, autoscaler and mode. There are no holds by hand, no failed
/// requests and no scaling to zero, as these depend on what only a real service has.
#[derive(Clone, Debug)]
pub struct SimulatedService {
    declared: Arc<Declared>,
    settings: Settings,
    memory: ScalingMemory,
    /// In the inputs of a decision instead of `memory`, so that this need not be copied.
    blank: Arc<ScalingMemory>,
    /// The forecaster of its load; `None` before its first decision, and where no forecast is declared.
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
    /// The replicas that the metrics are of; shared, as most decisions see the same ones.
    pub replicas: Replicas,
    /// The measurement of each metric of the autoscaler, in the order of its declaration.
    pub measured: Vec<MeasuredMetric>,
    /// Requests a second that one replica carries, for a service with an SLO; `None` uses the declared target.
    pub carries: Option<MilliRps>,
    /// Requests since the last decision; `None` while they are not known, so that no forecast learns from them.
    pub demand: Option<Demand>,
    /// How long a replica takes until it is ready; `None` where that is not known.
    pub start_up: Option<Duration>,
}

/// Requests to a service between two decisions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Demand {
    /// Requests a second.
    pub rate: f64,
    /// The time between the decisions; more than a minute counts as not observed.
    pub over: Duration,
}

impl SimulatedService {
    /// A service before its first decision.
    pub fn of(declared: Arc<Declared>, settings: Settings) -> Self {
        let (memory, blank) = (ScalingMemory::default(), Arc::default());
        Self { declared, settings, memory, blank, load_forecast: None, requests: 0.0 }
    }

    /// Its declaration.
    pub fn declared(&self) -> &Declared {
        &self.declared
    }

    /// Replicas wanted from `now` on.
    pub fn decide(&mut self, now: Now, state: SimulatedState) -> u32 {
        self.observe_demand(now, &state);
        let inputs = self.inputs(now, state);
        inputs.decide_with(&mut self.memory).desired
    }

    /// The inputs of a decision, with a blank memory: see [`SizeInputs::decide_with`].
    fn inputs(&self, now: Now, state: SimulatedState) -> SizeInputs {
        let Self { declared, settings, memory, .. } = self;
        let SimulatedState { desired, count, replicas, measured, carries, .. } = state;
        let replicas_max = settings.guard.replicas_max;
        let effective_bounds = EffectiveBounds::of(now.wall, declared, replicas_max);
        let capacity = carries.map(LearnedCapacity::simulated);
        let slo = declared.autoscaler.as_ref().and_then(|acting| acting.policy.slo());
        let slo_inputs =
            slo.map(|slo| SloInputs { slo, capacity, rises: memory.policy.history.rises(), replicas_max });
        SizeInputs {
            now,
            desired,
            current: current_size(desired, memory, (declared, &effective_bounds)),
            hold: None,
            to_zero: None,
            pause: None,
            protected: None,
            observed: Observations {
                count,
                replicas,
                measured,
                warmup: None,
                capacity,
                memory: Arc::clone(&self.blank),
                errors: None,
                incident: None,
            },
            expected_load: ExpectedLoad::of(self.load_forecast.as_ref(), slo_inputs),
            hpa: settings.hpa.clone(),
            period: settings.period,
            shadows: Vec::new(),
            replicas_max,
            declared: Arc::clone(declared),
            effective_bounds,
        }
    }

    /// The features of a learned policy, where one replica carries `capacity`; `None` without an SLO, and before enough load was observed.
    pub fn features(&self, capacity: MilliRps) -> Option<LoadFeatures> {
        let rises = self.memory.policy.history.rises().filter(|rises| !slo_first::is_new(rises))?;
        LoadFeatures::of(rises, Milli(i64::try_from(capacity.0).unwrap_or(i64::MAX)))
    }

    /// Has the forecaster learn from the requests, as the loop does, where a forecast may raise the number.
    fn observe_demand(&mut self, now: Now, state: &SimulatedState) {
        let Some(Demand { rate, over }) = state.demand else { return };
        if self.load_forecast.is_none() {
            let Some(rule) = self.declared.forecasting().filter(|rule| rule.mode == ForecastMode::On) else {
                return;
            };
            let source = self.declared.load_source();
            let mut load_forecast = LoadForecast::simulated(rule, source, state.start_up, now.time - over);
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
            load_forecast.update(now, need, state.start_up, over);
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
    fn an_autoscaler_decides_and_remembers() {
        let spec = serde_json::json!({"min": 1, "max": 9});
        let mut service = SimulatedService::of(declared(&spec), Settings::default());
        assert_eq!(service.decide(at(1000), busy(1600, at(1000))), 4, "at 80 % it wants double");
        let idle = SimulatedState { desired: Some(4), ..busy(100, at(1010)) };
        assert_eq!(service.decide(at(1010), idle), 4, "the stabilisation window of five minutes is not over");
    }

    #[test]
    fn schedules_and_modes_apply_as_in_production() {
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
            "its mode is upOnly"
        );
    }

    #[test]
    fn a_fixed_number_is_wanted_as_declared() {
        let mut service =
            SimulatedService::of(declared(&serde_json::json!({"replicas": 3})), Settings::default());
        assert_eq!(service.decide(at(0), SimulatedState::default()), 3);
    }
}
