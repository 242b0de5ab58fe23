//! Shadow autoscalers, which decide beside the acting one without effect.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::hpa::v2;
use super::{AutoscalerSpec, MIN_REPLICAS_DEFAULT, MetricSpec, ObjectName, Problem, Problems, ScalePolicy};
use crate::name::ServiceName;

/// Most shadows of a service: each costs as much as an autoscaler, and a larger table is hard to read.
pub const SHADOWS_MAX: usize = 8;

/// An autoscaler that decides beside the acting one, without any effect: it is recorded and compared.
///
/// What it does not say is as the acting one has it, be that the service's own or a HorizontalPodAutoscaler's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Shadow {
    /// Its name, which no other shadow of the service has.
    pub name: ObjectName,
    /// How the number of replicas follows from what is measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<ScalePolicy>,
    /// What is measured, as in `autoscaling/v2`. Without an acting autoscaler the default is cpu utilization at 80 %.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<v2::MetricSpec>,
    /// How fast the number may change, as in `autoscaling/v2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behavior: Option<v2::Behavior>,
    /// Fewest replicas, up to `max`. Without an acting autoscaler the default is 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 1_000_000))]
    pub min: Option<u32>,
    /// Most replicas, 1 to 1000000. Required without an acting autoscaler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max: Option<u32>,
}

impl Shadow {
    /// The shadow in its normal form. Omitted fields are those of `acting`, if `service` has an acting autoscaler.
    ///
    /// Fails with all of its problems; paths are relative to the shadow, such as `metrics[0]`.
    pub fn to_spec(
        &self,
        service: &ServiceName,
        acting: Option<&AutoscalerSpec>,
    ) -> Result<AutoscalerSpec, Problems> {
        let Some(max) = self.max.or(acting.map(|acting| acting.max)) else {
            let text = "the service has no autoscaler from which it could take max: add max";
            return Err(Problems::of(Problem::at("max", text)));
        };
        let min = self.min.or(acting.map(|acting| acting.min)).unwrap_or(MIN_REPLICAS_DEFAULT);
        // Whether 0 replicas are allowed depends on the final metrics, and is checked below.
        let bounds = (min.max(1), max);
        let own =
            v2::normalize(service.clone(), bounds, &self.metrics, self.behavior.as_ref(), &ScalePolicy::Hpa);
        let mut spec = own.map_err(|problems| problems.map_paths(|path| within(path).to_owned()))?;
        if let Some(acting) = acting {
            // The metric of an SLO has no target that another policy could use.
            let is_shared = acting.policy.slo().is_none() || self.policy.is_none();
            if self.metrics.is_empty() && is_shared {
                spec.metrics.clone_from(&acting.metrics);
            }
            if self.behavior.is_none() {
                spec.behavior.clone_from(&acting.behavior);
            }
            spec.policy = acting.policy.clone();
        }
        if let Some(policy) = &self.policy {
            spec.policy = policy.clone();
        }
        let mut problems = Vec::new();
        if let ScalePolicy::Slo(slo) = &spec.policy {
            if !self.metrics.is_empty() {
                let text = "an slo is kept by the rate of requests, without metrics: remove them";
                problems.push(Problem::at("metrics", text));
            }
            spec.metrics = vec![slo.metric()];
        }
        spec.min = min;
        problems.extend(spec.policy.problems("spec.scale", &spec.metrics));
        problems.iter_mut().for_each(|problem| problem.path = within(&problem.path).to_owned());
        if min == 0 && !spec.metrics.iter().any(is_of_the_whole) {
            let text =
                "0 replicas need a metric that exists without replicas: one of type Object or External";
            problems.push(Problem::at("min", text));
        }
        Problems::or(problems, spec)
    }
}

fn within(path: &str) -> &str {
    path.strip_prefix("spec.scale.").unwrap_or(path)
}

fn is_of_the_whole(metric: &MetricSpec) -> bool {
    match metric {
        MetricSpec::Object { .. } | MetricSpec::External { .. } => true,
        MetricSpec::Resource { .. } | MetricSpec::ContainerResource { .. } | MetricSpec::Pods { .. } => false,
    }
}
