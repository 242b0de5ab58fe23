//! `replica_calc.*`: the proposal of one metric, taken from the verdict of a complete reconciliation.

use std::time::Duration;

use model::memory::ScalingMemory;
use model::resource::{AutoscalerSpec, MetricSpec, Quantity, ScalePolicy};
use model::settings::HpaSettings;
use plan::scale::hpa::reconcile;
use plan::scale::proposal::{MetricFault, Proposal};
use plan::scale::reading::{Members, Replicas, ScaleView};
use serde::Deserialize;

use super::compare::{compare, read};
use super::row::{Pod, PodMetric, Row, Target, Tolerances};
use super::source::{
    Source, metric_of_external, metric_of_object, metric_of_pods, metric_of_resource, target_name,
};
use super::translate::{self, NOW, behavior_of};

#[derive(Deserialize)]
struct Input {
    current_replicas: u32,
    tolerance: Tolerances,
    cpu_initialization_period_s: u64,
    initial_readiness_delay_s: u64,
    pods: Vec<Pod>,
    target: Target,
    resource: Option<String>,
    container: Option<String>,
    #[serde(default)]
    metrics: Vec<PodMetric>,
    #[serde(default)]
    metric_values_milli: Vec<i64>,
}

#[derive(Deserialize)]
struct Expected {
    replicas: Option<u32>,
    utilization_percent: Option<i64>,
    raw_average_milli: Option<i64>,
    reported_value_milli: Option<i64>,
    error_contains: Option<String>,
}

/// Runs a row of one of the suites `replica_calc.*`.
pub(super) fn replica_calc(row: &Row) -> Result<(), String> {
    let input: Input = read(&row.input)?;
    let (metric, source) = input.metric(&row.suite)?;
    let part = |tolerance: f64| Some(Quantity::from_milli((tolerance * 1000.0).round() as i64));
    let tolerances = ((0, part(input.tolerance.scale_up)), (0, part(input.tolerance.scale_down)));
    let spec = AutoscalerSpec {
        service: target_name(),
        min: 0,
        max: u32::MAX,
        metrics: vec![metric],
        policy: ScalePolicy::Hpa,
        behavior: Some(behavior_of(tolerances.0, tolerances.1)),
    };
    let settings = HpaSettings {
        cpu_initialization_period: Duration::from_secs(input.cpu_initialization_period_s),
        initial_readiness_delay: Duration::from_secs(input.initial_readiness_delay_s),
        ..HpaSettings::default()
    };
    let replicas = translate::replicas(&input.pods)?;
    let view = ScaleView {
        warmup: None,
        learned_target: None,
        spec_replicas: input.current_replicas,
        status_replicas: input.current_replicas,
        members: Members::Known(&Replicas::of(&replicas)),
    };
    let mut memory = ScalingMemory::default();
    let verdict = reconcile(NOW, &spec, &view, &[source.reading()], &mut memory, &settings);
    compare_proposal(row, verdict.metrics.first().ok_or("the verdict has no metric")?)
}

impl Input {
    fn metric(&self, suite: &str) -> Result<(MetricSpec, Source), String> {
        if suite == "replica_calc.resource" {
            let resource = self.resource.as_deref().ok_or("the row has no resource")?;
            let container = self.container.as_deref();
            let metric = metric_of_resource(resource, container, self.target)?;
            Ok((metric, Source::of_pods(&self.pods, &self.metrics, resource, container)))
        } else if suite == "replica_calc.pods" {
            Ok((metric_of_pods(self.target)?, Source::of_pods(&self.pods, &self.metrics, "", None)))
        } else if suite.starts_with("replica_calc.object") {
            Ok((metric_of_object(self.target)?, Source::of_series(&self.metric_values_milli)))
        } else {
            Ok((metric_of_external(self.target)?, Source::of_series(&self.metric_values_milli)))
        }
    }
}

fn compare_proposal(row: &Row, found: &Result<Proposal, MetricFault>) -> Result<(), String> {
    let expected: Expected = read(&row.expected)?;
    match (found, expected.error_contains) {
        (Err(fault), Some(error)) => {
            let message = kubernetes_message(fault);
            if message.contains(&error) {
                Ok(())
            } else {
                Err(format!("error: expected {error:?}, found {message:?}"))
            }
        }
        (Err(fault), None) => Err(format!("no error is expected, found {fault:?}")),
        (Ok(proposal), Some(error)) => Err(format!("error: expected {error:?}, found {proposal:?}")),
        (Ok(proposal), None) => {
            compare("replicas", &expected.replicas, &Some(proposal.replicas))?;
            compare("utilization", &expected.utilization_percent, &proposal.level.utilization)?;
            let reported = expected.raw_average_milli.or(expected.reported_value_milli);
            compare("reported value", &reported, &Some(proposal.level.average.0))
        }
    }
}

/// Kubernetes' message for this fault: rows quote it, while Homeostat has messages of its own.
fn kubernetes_message(fault: &MetricFault) -> String {
    match fault {
        MetricFault::Unavailable(_) => {
            "unable to get metrics for resource cpu: no metrics returned from resource metrics API".to_owned()
        }
        MetricFault::Mismatch(_) => "no metrics returned matched known pods".to_owned(),
        MetricFault::NoSamples(_) => {
            "did not receive metrics for targeted pods (pods might be unready)".to_owned()
        }
        MetricFault::NoReplicas => "no pods returned by selector while calculating replica count".to_owned(),
        MetricFault::Request(fault) => fault.to_string(),
        MetricFault::NoRequest | MetricFault::Target | MetricFault::Shape => fault.to_string(),
    }
}
