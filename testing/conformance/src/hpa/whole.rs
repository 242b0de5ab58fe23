//! The suites about whole passes: each row is a target with its pods and metrics, and one call of `reconcile`.

use std::time::Duration;

use model::memory::ScalingMemory;
use model::name::ServiceName;
use model::resource::hpa::shapes::CrossVersionObjectReference;
use model::resource::{
    AutoscalerSpec, Behavior, MeteredResource, MetricIdentifier, MetricSpec, Percent, Quantity,
    ResourceTarget, TotalTarget,
};
use model::settings::HpaSettings;
use plan::scale::explain::Carried;
use plan::scale::hpa::{Verdict, reconcile};
use plan::scale::proposal::{MetricFault, Proposal};
use plan::scale::reading::{
    Gap, Members, MetricReading, Milli, Phase, Readiness, ReplicaView, Requests, Sample, Samples, ScaleView,
    SelectorFault, Unavailable,
};
use plan::scale::request::RequestFault;
use serde::Deserialize;
use serde_json::Value;

use super::row::{BehaviorRow, ConditionRow, Pod, PodMetric, RecommendationRow, Row, Target, Tolerances};
use super::suites::{read, same};
use super::translate::{self, NOW, ago, behavior_of};

/// A row's metric is of a type that nobody knows.
const NO_SOURCE: Source = Source::Unavailable(Unavailable::NoSource);

/// What the source of one metric says; owns what a [`MetricReading`] borrows.
enum Source {
    Each { by_replica: Vec<Result<Sample, Gap>>, strangers: u32, requests: Result<Vec<Milli>, RequestFault> },
    Series(Vec<Milli>),
    Unavailable(Unavailable),
}

impl Source {
    fn reading(&self) -> MetricReading<'_> {
        match self {
            Self::Each { by_replica, strangers, requests } => MetricReading::Each(Samples {
                by_replica,
                strangers: *strangers,
                requests: match requests {
                    Ok(requests) => Requests::Each(requests),
                    Err(fault) => Requests::Unknown(fault),
                },
            }),
            Self::Series(series) => MetricReading::Series(series),
            Self::Unavailable(why) => MetricReading::Unavailable(why.clone()),
        }
    }

    /// Of pods; a source that has nothing of any pod is silent.
    fn of_pods(pods: &[Pod], metrics: &[PodMetric], resource: &str, container: Option<&str>) -> Self {
        if metrics.is_empty() {
            return Self::Unavailable(Unavailable::Absent);
        }
        let (by_replica, strangers) = translate::samples(pods, metrics, container);
        let requests = translate::requests(pods, resource, container, false);
        Self::Each { by_replica, strangers, requests }
    }

    fn of_series(values: &[i64]) -> Self {
        Self::Series(values.iter().map(|value| Milli(*value)).collect())
    }
}

/// `replica_calc.*`: what one metric proposes.
pub(super) fn replica_calc(row: &Row) -> Result<(), String> {
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
    let input: Input = read(&row.input)?;
    let (metric, source) = if row.suite == "replica_calc.resource" {
        let resource = input.resource.as_deref().ok_or("the row names no resource")?;
        let container = input.container.as_deref();
        let metric = metric_of_resource(resource, container, input.target)?;
        (metric, Source::of_pods(&input.pods, &input.metrics, resource, container))
    } else if row.suite == "replica_calc.pods" {
        (metric_of_pods(input.target)?, Source::of_pods(&input.pods, &input.metrics, "", None))
    } else if row.suite.starts_with("replica_calc.object") {
        (metric_of_object(input.target)?, Source::of_series(&input.metric_values_milli))
    } else {
        (metric_of_external(input.target)?, Source::of_series(&input.metric_values_milli))
    };
    let part = |tolerance: f64| Some(Quantity::from_milli((tolerance * 1000.0).round() as i64));
    let spec = AutoscalerSpec {
        service: target_name(),
        min: 0,
        max: u32::MAX,
        metrics: vec![metric],
        behavior: Some(behavior_of(
            (0, part(input.tolerance.scale_up)),
            (0, part(input.tolerance.scale_down)),
        )),
    };
    let settings = HpaSettings {
        cpu_initialization_period: Duration::from_secs(input.cpu_initialization_period_s),
        initial_readiness_delay: Duration::from_secs(input.initial_readiness_delay_s),
        ..HpaSettings::default()
    };
    let replicas = translate::replicas(&input.pods)?;
    let view = ScaleView {
        spec_replicas: input.current_replicas,
        status_replicas: input.current_replicas,
        members: Members::Known(&replicas),
    };
    let mut memory = ScalingMemory::default();
    let verdict = reconcile(NOW, &spec, &view, &[source.reading()], &mut memory, &settings);
    same_proposal(row, verdict.metrics.first().ok_or("no metric was asked")?)
}

fn same_proposal(row: &Row, found: &Result<Proposal, MetricFault>) -> Result<(), String> {
    #[derive(Deserialize)]
    struct Expected {
        replicas: Option<u32>,
        utilization_percent: Option<i64>,
        raw_average_milli: Option<i64>,
        reported_value_milli: Option<i64>,
        error_contains: Option<String>,
    }
    let expected: Expected = read(&row.expected)?;
    match (found, expected.error_contains) {
        (Err(fault), Some(error)) => {
            let said = kubernetes_says(fault);
            if said.contains(&error) {
                Ok(())
            } else {
                Err(format!("error: expected {error:?}, found {said:?}"))
            }
        }
        (Err(fault), None) => Err(format!("no error is expected, found {fault:?}")),
        (Ok(proposal), Some(error)) => Err(format!("error: expected {error:?}, found {proposal:?}")),
        (Ok(proposal), None) => {
            same("replicas", &expected.replicas, &Some(proposal.replicas))?;
            same("utilization", &expected.utilization_percent, &proposal.level.utilization)?;
            let reported = expected.raw_average_milli.or(expected.reported_value_milli);
            same("reported value", &reported, &Some(proposal.level.average.0))
        }
    }
}

/// What Kubernetes says where the production code has this fault: rows quote its words, our operators read ours.
fn kubernetes_says(fault: &MetricFault) -> String {
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

/// `reconcile`: the number that comes out and all conditions.
pub(super) fn reconcile_row(row: &Row) -> Result<(), String> {
    #[derive(Deserialize)]
    struct Input {
        spec: SpecRow,
        scale: ScaleRow,
        pods: Vec<Pod>,
        resource_metrics: Vec<PodMetric>,
        custom_metric_levels_milli: Vec<i64>,
        #[serde(default)]
        metric_source_errors: Vec<String>,
        prior_recommendations: Option<Vec<RecommendationRow>>,
        constants: Constants,
    }
    #[derive(Deserialize)]
    struct SpecRow {
        min_replicas: u32,
        max_replicas: u32,
        metrics: Vec<Value>,
        behavior: Option<BehaviorRow>,
    }
    #[derive(Deserialize)]
    struct ScaleRow {
        spec_replicas: u32,
        status_replicas: u32,
    }
    #[derive(Deserialize)]
    struct Constants {
        tolerance: f64,
        cpu_initialization_period_s: u64,
        initial_readiness_delay_s: u64,
        downscale_stabilization_window_s: u64,
    }
    #[derive(Deserialize)]
    struct Expected {
        desired_replicas: u32,
        conditions: Vec<ConditionRow>,
        reported_cpu_utilization_percent: Option<i64>,
    }
    let input: Input = read(&row.input)?;
    let expected: Expected = read(&row.expected)?;
    let settings = HpaSettings {
        tolerance: input.constants.tolerance,
        cpu_initialization_period: Duration::from_secs(input.constants.cpu_initialization_period_s),
        initial_readiness_delay: Duration::from_secs(input.constants.initial_readiness_delay_s),
        downscale_stabilization: Duration::from_secs(input.constants.downscale_stabilization_window_s),
    };
    let world = World {
        pods: &input.pods,
        resource_metrics: &input.resource_metrics,
        custom_milli: &input.custom_metric_levels_milli,
        failing: &input.metric_source_errors,
    };
    let (metrics, sources): (Vec<_>, Vec<_>) =
        input.spec.metrics.iter().map(|metric| world.metric(metric)).collect::<Result<_, _>>()?;
    let window_s = input.constants.downscale_stabilization_window_s;
    let behavior = input.spec.behavior.map(|rows| {
        Ok::<_, String>(Behavior {
            scale_up: translate::rules(&rows.scale_up, 0, None)?,
            scale_down: translate::rules(&rows.scale_down, window_s, None)?,
        })
    });
    let spec = AutoscalerSpec {
        service: target_name(),
        min: input.spec.min_replicas,
        max: input.spec.max_replicas,
        metrics,
        behavior: behavior.transpose()?,
    };
    let replicas = translate::replicas(&input.pods)?;
    let view = ScaleView {
        spec_replicas: input.scale.spec_replicas,
        status_replicas: input.scale.status_replicas,
        members: Members::Known(&replicas),
    };
    let mut memory = memory_after(input.prior_recommendations);
    let readings: Vec<_> = sources.iter().map(Source::reading).collect();
    let verdict = reconcile(NOW, &spec, &view, &readings, &mut memory, &settings);
    same("desired", &expected.desired_replicas, &verdict.desired)?;
    same_conditions(expected.conditions, &verdict, &spec, &Carried::Out)?;
    match (expected.reported_cpu_utilization_percent, verdict.metrics.first()) {
        (None, _) => Ok(()),
        (reported, Some(Ok(proposal))) => same("utilization", &reported, &proposal.level.utilization),
        (Some(_), Some(Err(_)) | None) => Err("no utilization was reported".to_owned()),
    }
}

/// The memory of a row. None: the autoscaler has decided nothing yet. A log that exists and is empty is, here, one whose
/// only recommendation is too old to count.
fn memory_after(recommendations: Option<Vec<RecommendationRow>>) -> ScalingMemory {
    const LONG_AGO: RecommendationRow = RecommendationRow { replicas: 0, age_s: 1_000_000_000 };
    let recommendations = match recommendations.as_deref() {
        None => Vec::new(),
        Some([]) => translate::recommendations(&[LONG_AGO]),
        Some(rows) => translate::recommendations(rows),
    };
    ScalingMemory { recommendations, ..ScalingMemory::default() }
}

fn same_conditions(
    mut expected: Vec<ConditionRow>,
    verdict: &Verdict,
    spec: &AutoscalerSpec,
    carried: &Carried,
) -> Result<(), String> {
    let status = |holds| if holds { "True" } else { "False" }.to_owned();
    let mut found: Vec<_> = verdict
        .conditions(spec, carried)
        .into_iter()
        .map(|condition| ConditionRow {
            kind: condition.kind.to_owned(),
            status: status(condition.holds),
            reason: condition.reason.to_owned(),
        })
        .collect();
    expected.sort();
    found.sort();
    same("conditions", &expected, &found)
}

/// What the metrics of a `reconcile` row are read from.
struct World<'a> {
    pods: &'a [Pod],
    resource_metrics: &'a [PodMetric],
    custom_milli: &'a [i64],
    failing: &'a [String],
}

impl World<'_> {
    fn metric(&self, written: &Value) -> Result<(MetricSpec, Source), String> {
        #[derive(Deserialize)]
        struct MetricRow {
            #[serde(rename = "type")]
            kind: String,
            resource: Option<SourceRow>,
            #[serde(rename = "containerResource")]
            container_resource: Option<SourceRow>,
            pods: Option<SourceRow>,
            object: Option<SourceRow>,
            external: Option<SourceRow>,
        }
        #[derive(Deserialize)]
        struct SourceRow {
            #[serde(default)]
            name: String,
            container: Option<String>,
            target: Target,
        }
        let row: MetricRow = read(written)?;
        let source = row.resource.or(row.container_resource).or(row.pods).or(row.object).or(row.external);
        let Some(SourceRow { name, container, target }) = source else {
            // The types of this house cannot say a metric of no known type: it is one that has no source.
            let target =
                Target { average_utilization: None, average_value_milli: None, value_milli: Some(1) };
            return Ok((metric_of_external(target)?, NO_SOURCE));
        };
        let container = container.as_deref();
        let (metric, source) = match row.kind.as_str() {
            "Resource" | "ContainerResource" => (
                metric_of_resource(&name, container, target)?,
                Source::of_pods(self.pods, self.resource_metrics, &name, container),
            ),
            "Pods" => (metric_of_pods(target)?, self.custom_of_pods()),
            "Object" => {
                (metric_of_object(target)?, Source::of_series(self.custom_milli.get(..1).unwrap_or_default()))
            }
            "External" => (metric_of_external(target)?, Source::of_series(self.custom_milli)),
            other => return Err(format!("no metric type {other:?}")),
        };
        if self.failing.contains(&row.kind) {
            return Ok((metric, Source::Unavailable(Unavailable::Failed("it does not answer".into()))));
        }
        Ok((metric, source))
    }

    /// One value for each pod, in their order.
    fn custom_of_pods(&self) -> Source {
        let sample =
            |value: &i64| Ok(Sample { value: Milli(*value), at: NOW, window: Duration::from_secs(60) });
        let by_replica = self.custom_milli.iter().map(sample).collect();
        Source::Each { by_replica, strangers: 0, requests: Ok(Vec::new()) }
    }
}

/// `condition_reason`: one situation each, told in a sentence.
pub(super) fn condition_reason(row: &Row) -> Result<(), String> {
    #[derive(Deserialize)]
    struct Expected {
        conditions: Vec<ConditionRow>,
    }
    const CPU: Target =
        Target { average_utilization: Some(100), average_value_milli: None, value_milli: None };
    const AVERAGE: Target =
        Target { average_utilization: None, average_value_milli: Some(1000), value_milli: None };
    const VALUE: Target =
        Target { average_utilization: None, average_value_milli: None, value_milli: Some(1000) };
    let ready = Readiness { ready: true, since: ago(3600) };
    let replica = ReplicaView {
        phase: Phase::Running,
        leaving: false,
        started: Some(ago(3600)),
        readiness: Some(ready),
    };
    let replicas = [replica; 3];
    let busy = || Source::Each {
        by_replica: vec![Ok(Sample { value: Milli(150), at: NOW, window: Duration::from_secs(60) }); 3],
        strangers: 0,
        requests: Ok(vec![Milli(100); 3]),
    };
    let failed = || Source::Unavailable(Unavailable::Failed("it does not answer".into()));
    let known = Members::Known(&replicas);
    let cpu = || metric_of_resource("cpu", None, CPU);
    let (spec_replicas, members, metric, source) = match row.name.as_str() {
        "selector missing" => (3, Members::Unknown(SelectorFault::Missing), cpu()?, busy()),
        "selector unparsable" => (3, Members::Unknown(SelectorFault::Unreadable), cpu()?, busy()),
        "resource metric unavailable" => (3, known, cpu()?, failed()),
        "pods metric unavailable" => (3, known, metric_of_pods(AVERAGE)?, failed()),
        "object metric unavailable" => (3, known, metric_of_object(VALUE)?, failed()),
        "external metric unavailable" => (3, known, metric_of_external(VALUE)?, failed()),
        "unknown metric type" => (3, known, metric_of_external(VALUE)?, NO_SOURCE),
        "scale not readable" | "scale not writable" => (3, known, cpu()?, busy()),
        "autoscaling disabled by zero replicas" => (0, known, cpu()?, busy()),
        other => return Err(format!("no situation {other:?} is known")),
    };
    let spec =
        AutoscalerSpec { service: target_name(), min: 1, max: 5, metrics: vec![metric], behavior: None };
    let view = ScaleView { spec_replicas, status_replicas: spec_replicas, members };
    let mut memory = ScalingMemory::default();
    let settings = HpaSettings::default();
    let verdict = match row.name.as_str() {
        "scale not readable" => Verdict::unreadable(spec_replicas),
        _ => reconcile(NOW, &spec, &view, &[source.reading()], &mut memory, &settings),
    };
    let carried = match row.name.as_str() {
        "scale not writable" => Carried::Failed("it does not answer".into()),
        _ => Carried::Out,
    };
    same_conditions(read::<Expected>(&row.expected)?.conditions, &verdict, &spec, &carried)
}

fn target_name() -> ServiceName {
    ServiceName::parse("target").expect("a valid name")
}

fn metric_of_resource(name: &str, container: Option<&str>, target: Target) -> Result<MetricSpec, String> {
    let resource = match name {
        "cpu" => MeteredResource::Cpu,
        "memory" => MeteredResource::Memory,
        other => return Err(format!("no resource {other:?}")),
    };
    let target = match (target.average_utilization, target.average_value_milli) {
        (Some(percent), _) => ResourceTarget::Utilization(Percent(percent)),
        (None, Some(milli)) => ResourceTarget::Average(Quantity::from_milli(milli)),
        (None, None) => return Err("the row has no target".to_owned()),
    };
    Ok(match container {
        None => MetricSpec::Resource { resource, target },
        Some(container) => {
            MetricSpec::ContainerResource { container: container.to_owned(), resource, target }
        }
    })
}

fn metric_of_pods(target: Target) -> Result<MetricSpec, String> {
    let milli = target.average_value_milli.ok_or("the row has no target")?;
    Ok(MetricSpec::Pods { metric: qps(), average: Quantity::from_milli(milli) })
}

fn metric_of_object(target: Target) -> Result<MetricSpec, String> {
    let object = CrossVersionObjectReference {
        kind: "Deployment".to_owned(),
        name: "some-deployment".to_owned(),
        api_version: Some("apps/v1".to_owned()),
    };
    Ok(MetricSpec::Object { object, metric: qps(), target: total_target(target)? })
}

fn metric_of_external(target: Target) -> Result<MetricSpec, String> {
    Ok(MetricSpec::External { metric: qps(), target: total_target(target)? })
}

fn total_target(target: Target) -> Result<TotalTarget, String> {
    match (target.average_value_milli, target.value_milli) {
        (Some(milli), _) => Ok(TotalTarget::Average(Quantity::from_milli(milli))),
        (None, Some(milli)) => Ok(TotalTarget::Value(Quantity::from_milli(milli))),
        (None, None) => Err("the row has no target".to_owned()),
    }
}

fn qps() -> MetricIdentifier {
    MetricIdentifier { name: "qps".to_owned(), selector: None }
}
