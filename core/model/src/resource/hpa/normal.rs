//! Validates an autoscaler given in the fields of `autoscaling/v2`, and fills in its defaults.
//!
//! Source: `pkg/apis/autoscaling/validation/validation.go` and `pkg/apis/autoscaling/v2/defaults.go`.

use std::time::Duration;

use super::shapes::{
    HPAScalingPolicy, HPAScalingPolicyType, MetricIdentifier as WrittenMetric, MetricSourceType,
    MetricTarget, MetricTargetType, ScalingPolicySelect,
};
use super::v2::{self, ExternalMetricFallback, HPAScalingRules};
use crate::name::ServiceName;
use crate::resource::autoscaler::{
    AutoscalerSpec, Behavior, CPU_UTILIZATION_DEFAULT, Fallback, MIN_REPLICAS_DEFAULT, MeteredResource,
    MetricIdentifier, MetricSpec, Percent, PolicyChange, ResourceTarget, SCALE_IN_STABILIZATION_DEFAULT,
    ScalingPolicy, ScalingRules, SelectPolicy, TotalTarget,
};
use crate::resource::scale::REPLICAS_MAX;
use crate::resource::{Problem, Problems, Quantity, ScalePolicy};

/// The longest stabilization window, in seconds (Kubernetes `MaxStabilizationWindowSeconds`).
const STABILIZATION_SECS_MAX: i32 = 3600;

/// The longest period of a policy, in seconds (Kubernetes `MaxPeriodSeconds`).
const PERIOD_SECS_MAX: i32 = 1800;

/// The default of `failureDurationSeconds`: how long an external metric must have failed before its fallback is used (KEP-5679).
const FAILURE_SECS_DEFAULT: i32 = 180;

/// The smallest `failureDurationSeconds` of a HorizontalPodAutoscaler: twelve periods of Kubernetes' loop (KEP-5679).
const FAILURE_SECS_MIN_OF_HPA: i32 = 180;

/// The smallest `failureDurationSeconds` of a Service: one period of the loop. A metric fails only once its `staleAfter` is over.
const FAILURE_SECS_MIN_OF_SERVICE: i32 = 1;

/// The most metrics of one autoscaler. Kubernetes has no limit; more than a few dozen are an error, and each is evaluated in every step.
const METRICS_MAX: usize = 100;

/// The most policies per direction. Each costs a pass over the scale events in every step.
const POLICIES_MAX: usize = 100;

pub(super) fn of_manifest(spec: &v2::HorizontalPodAutoscalerSpec) -> Result<AutoscalerSpec, Problems> {
    let mut found = Normalizer::of(FAILURE_SECS_MIN_OF_HPA);
    let target = &spec.scale_target_ref;
    if target.kind.is_empty() {
        found.add("spec.scaleTargetRef.kind", "the kind of the target must not be empty");
    }
    let service = ServiceName::parse(&target.name);
    if let Err(error) = &service {
        found.add(
            "spec.scaleTargetRef.name",
            format!("the name of the target must be that of a service: {error}"),
        );
    }
    let min =
        found.replicas("spec.minReplicas", spec.min_replicas.unwrap_or(MIN_REPLICAS_DEFAULT.cast_signed()));
    let max = found.replicas("spec.maxReplicas", spec.max_replicas);
    let bounds = Bounds { min, max, min_path: "spec.minReplicas", max_path: "spec.maxReplicas" };
    match service {
        Ok(service) => found.complete(service, &bounds, "spec", &spec.metrics, spec.behavior.as_ref()),
        Err(_) => {
            // A placeholder, so that the rest is validated too. The problem above prevents that it is returned.
            let placeholder = ServiceName::parse("unnamed").expect("a valid name");
            found.complete(placeholder, &bounds, "spec", &spec.metrics, spec.behavior.as_ref())
        }
    }
}

/// The autoscaler of `service` between `bounds` (least, most), as the `scale` of a Service declares it.
///
/// Fails with everything that Kubernetes would reject, and everything that Homeostat cannot measure. Paths begin at `spec.scale`.
pub fn normalize(
    service: ServiceName,
    bounds: (u32, u32),
    metrics: &[v2::MetricSpec],
    behavior: Option<&v2::Behavior>,
    policy: &ScalePolicy,
) -> Result<AutoscalerSpec, Problems> {
    let (min, max) = bounds;
    let bounds = Bounds { min, max, min_path: "spec.scale.min", max_path: "spec.scale.max" };
    let mut spec = Normalizer::of(FAILURE_SECS_MIN_OF_SERVICE).complete(
        service,
        &bounds,
        "spec.scale",
        metrics,
        behavior,
    )?;
    let mut problems = policy.problems("spec.scale", &spec.metrics);
    if let Some(slo) = policy.slo() {
        if !metrics.is_empty() {
            let text = "an slo is kept by the rate of requests, without metrics: remove them, or slo";
            problems.push(Problem::at("spec.scale.metrics", text));
        }
        spec.metrics = vec![slo.metric()];
    }
    Problems::or(problems, AutoscalerSpec { policy: policy.clone(), ..spec })
}

struct Bounds {
    min: u32,
    max: u32,
    min_path: &'static str,
    max_path: &'static str,
}

/// Builds the normal form, and collects the problems on the way.
struct Normalizer {
    problems: Vec<Problem>,
    /// The least `failureDurationSeconds` of a fallback.
    failure_secs_min: i32,
}

impl Normalizer {
    fn of(failure_secs_min: i32) -> Self {
        Self { problems: Vec::new(), failure_secs_min }
    }

    fn add(&mut self, path: impl Into<String>, text: impl Into<String>) {
        self.problems.push(Problem::at(path, text));
    }

    fn complete(
        mut self,
        service: ServiceName,
        bounds: &Bounds,
        base: &str,
        metrics: &[v2::MetricSpec],
        behavior: Option<&v2::Behavior>,
    ) -> Result<AutoscalerSpec, Problems> {
        if metrics.len() > METRICS_MAX {
            let text =
                format!("an autoscaler has at most {METRICS_MAX} metrics, this one has {}", metrics.len());
            self.add(format!("{base}.metrics"), text);
        }
        let written = metrics.iter().take(METRICS_MAX).enumerate();
        let mut specs: Vec<MetricSpec> =
            written.filter_map(|(i, metric)| self.metric(&format!("{base}.metrics[{i}]"), metric)).collect();
        if metrics.is_empty() {
            let target = ResourceTarget::Utilization(CPU_UTILIZATION_DEFAULT);
            specs.push(MetricSpec::Resource { resource: MeteredResource::Cpu, target });
        }
        self.bounds(bounds, metrics);
        let behavior = behavior.map(|behavior| self.behavior(&format!("{base}.behavior"), behavior));
        let (min, max, policy) = (bounds.min, bounds.max, ScalePolicy::Hpa);
        Problems::or(self.problems, AutoscalerSpec { service, min, max, metrics: specs, policy, behavior })
    }

    fn bounds(&mut self, bounds: &Bounds, metrics: &[v2::MetricSpec]) {
        let Bounds { min, max, min_path, max_path } = bounds;
        if *max == 0 {
            self.add(*max_path, "the most replicas must be at least 1");
        } else if min > max {
            self.add(
                *min_path,
                format!("the fewest replicas ({min}) must not be more than the most ({max})"),
            );
        }
        let works_at_zero = metrics
            .iter()
            .any(|metric| matches!(metric.kind, MetricSourceType::Object | MetricSourceType::External));
        if *min == 0 && !works_at_zero {
            let text = "0 replicas need a metric that exists without replicas: one of type Object or External; \
                        scale.toZero needs no minimum of 0";
            self.add(*min_path, text);
        }
    }

    fn replicas(&mut self, path: &str, written: i32) -> u32 {
        let replicas = u32::try_from(written).ok().filter(|n| *n <= REPLICAS_MAX);
        replicas.unwrap_or_else(|| {
            self.add(
                path,
                format!("a number of replicas must be between 0 and {REPLICAS_MAX}, not {written}"),
            );
            // Within all bounds, so that one wrong number is reported once.
            1
        })
    }

    fn metric(&mut self, path: &str, metric: &v2::MetricSpec) -> Option<MetricSpec> {
        let given = [
            (MetricSourceType::Object, metric.object.is_some()),
            (MetricSourceType::Pods, metric.pods.is_some()),
            (MetricSourceType::Resource, metric.resource.is_some()),
            (MetricSourceType::ContainerResource, metric.container_resource.is_some()),
            (MetricSourceType::External, metric.external.is_some()),
        ];
        for (other, _) in given.into_iter().filter(|(kind, is_given)| *is_given && *kind != metric.kind) {
            let text = format!("a metric of type {:?} has no field {}", metric.kind, other.field());
            self.add(format!("{path}.{}", other.field()), text);
        }
        let field = metric.kind.field();
        let path = format!("{path}.{field}");
        let spec = match metric.kind {
            MetricSourceType::Resource => metric.resource.as_ref().map(|source| {
                let (resource, target) = self.metered(&path, &source.name, &source.target)?;
                Some(MetricSpec::Resource { resource, target })
            }),
            MetricSourceType::ContainerResource => metric.container_resource.as_ref().map(|source| {
                let (resource, target) = self.metered(&path, &source.name, &source.target)?;
                Some(MetricSpec::ContainerResource { container: source.container.clone(), resource, target })
            }),
            MetricSourceType::Pods => metric.pods.as_ref().map(|source| {
                let metric = self.identifier(&path, &source.metric);
                let average = self.pods_target(&path, &source.target)?;
                Some(MetricSpec::Pods { metric: metric?, average })
            }),
            MetricSourceType::Object => metric.object.as_ref().map(|source| {
                let metric = self.identifier(&path, &source.metric);
                let target = self.object_target(&path, &source.target)?;
                Some(MetricSpec::Object { object: source.described_object.clone(), metric: metric?, target })
            }),
            MetricSourceType::External => metric.external.as_ref().map(|source| {
                let metric = self.identifier(&path, &source.metric);
                let target = self.external_target(&path, &source.target)?;
                let fallback = source.fallback.map(|written| self.fallback(&path, written));
                Some(MetricSpec::External { metric: metric?, target, fallback })
            }),
        };
        spec.unwrap_or_else(|| {
            self.add(path, format!("a metric of type {:?} needs the field {field}", metric.kind));
            None
        })
    }

    fn metered(
        &mut self,
        path: &str,
        name: &str,
        target: &MetricTarget,
    ) -> Option<(MeteredResource, ResourceTarget)> {
        let resource = match name {
            "cpu" => Some(MeteredResource::Cpu),
            "memory" => Some(MeteredResource::Memory),
            other => {
                self.add(format!("{path}.name"), format!("only cpu and memory are measured, not {other:?}"));
                None
            }
        };
        let at = format!("{path}.target");
        let target = match (target.average_utilization, target.average_value) {
            (Some(percent), None) => match u32::try_from(percent).ok().filter(|percent| *percent > 0) {
                Some(percent) => Some(ResourceTarget::Utilization(Percent(percent))),
                None => {
                    self.add(
                        format!("{at}.averageUtilization"),
                        format!("a target must be above 0, not {percent}"),
                    );
                    None
                }
            },
            (None, Some(average)) => {
                self.positive(&format!("{at}.averageValue"), average).map(ResourceTarget::Average)
            }
            (Some(_), Some(_)) => {
                self.add(at, "a target is either averageUtilization or averageValue, not both");
                None
            }
            (None, None) => {
                self.add(at, "a target of this metric needs averageUtilization or averageValue");
                None
            }
        };
        Some((resource?, target?))
    }

    fn identifier(&mut self, path: &str, written: &WrittenMetric) -> Option<MetricIdentifier> {
        if written.name.is_empty() {
            self.add(format!("{path}.metric.name"), "the name of a metric must not be empty");
            return None;
        }
        Some(MetricIdentifier { name: written.name.clone(), selector: written.selector.clone() })
    }

    fn pods_target(&mut self, path: &str, target: &MetricTarget) -> Option<Quantity> {
        let Some(average) = target.average_value else {
            self.add(format!("{path}.target"), "a target of this metric needs averageValue");
            return None;
        };
        self.positive(&format!("{path}.target.averageValue"), average)
    }

    /// The type determines which value is used; the other one may be given too, and is ignored.
    fn object_target(&mut self, path: &str, target: &MetricTarget) -> Option<TotalTarget> {
        let at = format!("{path}.target");
        let (field, value, target): (_, _, fn(Quantity) -> TotalTarget) = match target.kind {
            MetricTargetType::Value => ("value", target.value, TotalTarget::Value),
            MetricTargetType::AverageValue => ("averageValue", target.average_value, TotalTarget::Average),
            MetricTargetType::Utilization => {
                self.add(
                    format!("{at}.type"),
                    "utilization is of a resource; this metric has Value or AverageValue",
                );
                return None;
            }
        };
        let Some(value) = value else {
            self.add(at, format!("a target of this type needs {field}"));
            return None;
        };
        self.positive(&format!("{at}.{field}"), value).map(target)
    }

    /// The average is used when both are given.
    fn external_target(&mut self, path: &str, target: &MetricTarget) -> Option<TotalTarget> {
        let at = format!("{path}.target");
        match (target.average_value, target.value) {
            (Some(average), _) => {
                self.positive(&format!("{at}.averageValue"), average).map(TotalTarget::Average)
            }
            (None, Some(value)) => self.positive(&format!("{at}.value"), value).map(TotalTarget::Value),
            (None, None) => {
                self.add(at, "a target of this metric needs value or averageValue");
                None
            }
        }
    }

    fn fallback(&mut self, path: &str, written: ExternalMetricFallback) -> Fallback {
        let at = format!("{path}.fallback");
        let secs = written.failure_duration_seconds.unwrap_or(FAILURE_SECS_DEFAULT);
        let least = self.failure_secs_min;
        let after = self.seconds(&format!("{at}.failureDurationSeconds"), secs, least, i32::MAX);
        let at = format!("{at}.replicas");
        if written.replicas == 0 {
            self.add(&at, "a fallback needs at least 1 replica, not 0");
        }
        Fallback { after, replicas: self.replicas(&at, written.replicas) }
    }

    fn positive(&mut self, path: &str, value: Quantity) -> Option<Quantity> {
        if value > Quantity::ZERO {
            return Some(value);
        }
        self.add(path, format!("a target must be above 0, not {value}"));
        None
    }

    fn behavior(&mut self, path: &str, behavior: &v2::Behavior) -> Behavior {
        let unset = HPAScalingRules::default();
        let up = behavior.scale_up.as_ref().unwrap_or(&unset);
        let down = behavior.scale_down.as_ref().unwrap_or(&unset);
        Behavior {
            scale_up: self.rules(&format!("{path}.scaleUp"), up, scale_up_defaults()),
            scale_down: self.rules(&format!("{path}.scaleDown"), down, scale_down_defaults()),
        }
    }

    fn rules(&mut self, path: &str, written: &HPAScalingRules, defaults: ScalingRules) -> ScalingRules {
        let mut rules = defaults;
        if let Some(secs) = written.stabilization_window_seconds {
            let at = format!("{path}.stabilizationWindowSeconds");
            rules.stabilization = self.seconds(&at, secs, 0, STABILIZATION_SECS_MAX);
        }
        match written.select_policy {
            Some(ScalingPolicySelect::Max) => rules.select = SelectPolicy::Max,
            Some(ScalingPolicySelect::Min) => rules.select = SelectPolicy::Min,
            Some(ScalingPolicySelect::Disabled) => rules.select = SelectPolicy::Disabled,
            None => {}
        }
        if let Some(policies) = &written.policies {
            let at = format!("{path}.policies");
            if policies.is_empty() || policies.len() > POLICIES_MAX {
                self.add(&at, format!("1 to {POLICIES_MAX} policies can be given, not {}", policies.len()));
            }
            let written = policies.iter().take(POLICIES_MAX).enumerate();
            rules.policies = written.map(|(i, policy)| self.policy(&format!("{at}[{i}]"), policy)).collect();
        }
        if let Some(tolerance) = written.tolerance {
            if tolerance < Quantity::ZERO {
                self.add(
                    format!("{path}.tolerance"),
                    format!("a tolerance must be at least 0, not {tolerance}"),
                );
            }
            rules.tolerance = Some(tolerance);
        }
        rules
    }

    fn policy(&mut self, path: &str, written: &HPAScalingPolicy) -> ScalingPolicy {
        let value = u32::try_from(written.value).ok().filter(|value| *value > 0).unwrap_or_else(|| {
            self.add(
                format!("{path}.value"),
                format!("the value of a policy must be above 0, not {}", written.value),
            );
            1
        });
        let change = match written.kind {
            HPAScalingPolicyType::Pods => PolicyChange::Pods(value),
            HPAScalingPolicyType::Percent => PolicyChange::Percent(Percent(value)),
        };
        let period =
            self.seconds(&format!("{path}.periodSeconds"), written.period_seconds, 1, PERIOD_SECS_MAX);
        ScalingPolicy { change, period }
    }

    fn seconds(&mut self, path: &str, secs: i32, min: i32, max: i32) -> Duration {
        if !(min..=max).contains(&secs) {
            self.add(path, format!("must be between {min} and {max} seconds, not {secs}"));
        }
        Duration::from_secs(u64::from(secs.clamp(min, max).unsigned_abs()))
    }
}

/// Default rules for scaling out: 4 replicas or 100 %, whichever is more, in 15 s.
fn scale_up_defaults() -> ScalingRules {
    let period = Duration::from_secs(15);
    ScalingRules {
        stabilization: Duration::ZERO,
        select: SelectPolicy::Max,
        policies: vec![
            ScalingPolicy { change: PolicyChange::Pods(4), period },
            ScalingPolicy { change: PolicyChange::Percent(Percent(100)), period },
        ],
        tolerance: None,
    }
}

/// Default rules for scaling in: all replicas in 15 s, after the stabilization window.
fn scale_down_defaults() -> ScalingRules {
    let change = PolicyChange::Percent(Percent(100));
    ScalingRules {
        stabilization: SCALE_IN_STABILIZATION_DEFAULT,
        select: SelectPolicy::Max,
        policies: vec![ScalingPolicy { change, period: Duration::from_secs(15) }],
        tolerance: None,
    }
}
