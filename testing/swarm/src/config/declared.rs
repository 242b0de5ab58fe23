//! The declaration of a service.

use std::sync::Arc;
use std::time::Duration;

use model::identity::Generation;
use model::input::Declared;
use model::resource::hpa::shapes::CrossVersionObjectReference;
use model::resource::{
    AutoscalerSpec, Behavior, Count, Dependency, Expose, ListenAddress, MeteredResource, MetricIdentifier,
    MetricSpec, Percent, PolicyChange, PortName, Probes, Quantity, REQUEST_RATE_METRIC, ResourceTarget,
    Resources, Run, Scale, ScalePolicy, ScalingPolicy, ScalingRules, SelectPolicy, ServiceSpec, Slo,
    TotalTarget, Update,
};
use sim::OFFERED_LOAD_METRIC;

use super::{Kind, ServiceConfig};

impl ServiceConfig {
    /// Its declaration, at `revision`, running `generation`.
    pub fn declared(&self, revision: Generation, generation: Generation) -> Arc<Declared> {
        let port = PortName::parse("http").expect("a name in the code is a name");
        let listen = ListenAddress::parse("127.0.0.1:8080").expect("an address in the code is an address");
        let milli = |milli: u64| Quantity::from_milli(i64::try_from(milli).unwrap_or(i64::MAX));
        let expose = || Expose::new(listen, port.clone());
        let spec = ServiceSpec {
            run: Run {
                command: vec!["./sim".to_owned()],
                env: Default::default(),
                working_directory: None,
                user: None,
            },
            resources: Resources { cpu: Some(milli(self.program.cpu_limit_milli)), memory: None },
            ports: Vec::new(),
            probes: Probes::default(),
            scale: self.scale(),
            recover: self.recover,
            update: Update::default(),
            depends_on: self
                .needs
                .iter()
                .map(|(service, when)| Dependency { service: service.clone(), when: *when })
                .collect(),
            expose: self.is_exposed.then(expose),
            stop: self.stop,
        };
        Arc::new(Declared {
            name: self.name.clone(),
            revision,
            generation,
            spec,
            autoscaler: self.autoscaler(),
        })
    }

    fn scale(&self) -> Scale {
        let (Kind::Fixed { replicas: min }
        | Kind::Cpu { min, .. }
        | Kind::RequestRate { min, .. }
        | Kind::OfferedLoad { min, .. }) = self.kind;
        Scale {
            count: Count::Fixed(min),
            mode: self.mode,
            schedule: self.schedule.clone(),
            to_zero: self.to_zero,
            sizes: self.sizes.clone(),
            remove: self.remove.clone(),
            protect: None,
            flaps: self.flaps,
            shadows: self.shadows.clone(),
            vertical: self.vertical.clone(),
            forecast: self.forecast.clone(),
        }
    }

    fn autoscaler(&self) -> Option<AutoscalerSpec> {
        let (min, max, metric, behavior) = match &self.kind {
            Kind::Fixed { .. } => return None,
            Kind::Cpu { min, max, percent, behavior } => {
                let target = ResourceTarget::Utilization(Percent(*percent));
                (min, max, MetricSpec::Resource { resource: MeteredResource::Cpu, target }, behavior.clone())
            }
            Kind::RequestRate { min, max, average } => {
                let metric = MetricIdentifier { name: REQUEST_RATE_METRIC.to_owned(), selector: None };
                let average = Quantity::from_milli(i64::from(*average) * 1000);
                (min, max, MetricSpec::Pods { metric, average }, None)
            }
            Kind::OfferedLoad { min, max, average } => {
                let metric = MetricIdentifier { name: OFFERED_LOAD_METRIC.to_owned(), selector: None };
                let target = TotalTarget::Average(Quantity::from_milli(i64::from(*average) * 1000));
                let object = CrossVersionObjectReference {
                    kind: "Service".to_owned(),
                    name: self.name.to_string(),
                    api_version: None,
                };
                (min, max, MetricSpec::Object { object, metric, target }, None)
            }
        };
        let policy = self.policy.clone();
        let metric = policy.slo().map_or(metric, Slo::metric);
        let (min, max, metrics) = (*min, *max, vec![metric]);
        // Scaling one step at a time, with minutes of stabilization each, takes longer than the time for convergence.
        let behavior =
            if matches!(policy, ScalePolicy::Step(_)) { Some(immediate_behavior()) } else { behavior };
        Some(AutoscalerSpec { service: self.name.clone(), min, max, metrics, policy, behavior })
    }
}

/// Without stabilization or rate limits.
fn immediate_behavior() -> Behavior {
    let change = PolicyChange::Percent(Percent(100));
    let policies = vec![ScalingPolicy { change, period: Duration::from_secs(15) }];
    let rules =
        ScalingRules { stabilization: Duration::ZERO, select: SelectPolicy::Max, policies, tolerance: None };
    Behavior { scale_up: rules.clone(), scale_down: rules }
}
