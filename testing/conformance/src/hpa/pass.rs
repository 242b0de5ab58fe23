//! `reconcile`: complete reconciliations, from a target with its pods and metrics to the desired number and all conditions.

use std::time::Duration;

use model::memory::ScalingMemory;
use model::resource::{AutoscalerSpec, Behavior, ScalePolicy};
use model::settings::HpaSettings;
use plan::scale::explain::RescaleResult;
use plan::scale::hpa::{Verdict, reconcile};
use plan::scale::reading::{Members, Replicas, ScaleView};
use serde::Deserialize;
use serde_json::Value;

use super::compare::{compare, read};
use super::row::{BehaviorRow, ConditionRow, Pod, PodMetric, RecommendationRow, Row};
use super::source::{Source, World, target_name};
use super::translate::{self, NOW};

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

/// Runs a row of the suite `reconcile`.
pub(super) fn reconcile_row(row: &Row) -> Result<(), String> {
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
        policy: ScalePolicy::Hpa,
        behavior: behavior.transpose()?,
    };
    let replicas = translate::replicas(&input.pods)?;
    let view = ScaleView {
        warmup: None,
        learned_target: None,
        spec_replicas: input.scale.spec_replicas,
        status_replicas: input.scale.status_replicas,
        members: Members::Known(&Replicas::of(&replicas)),
    };
    let mut memory = memory_of(input.prior_recommendations.as_deref());
    let readings: Vec<_> = sources.iter().map(Source::reading).collect();
    let verdict = reconcile(NOW, &spec, &view, &readings, &mut memory, &settings);
    compare("desired", &expected.desired_replicas, &verdict.desired)?;
    compare_conditions(expected.conditions, &verdict, &spec, &RescaleResult::Done)?;
    match (expected.reported_cpu_utilization_percent, verdict.metrics.first()) {
        (None, _) => Ok(()),
        (reported, Some(Ok(proposal))) => compare("utilization", &reported, &proposal.level.utilization),
        (Some(_), Some(Err(_)) | None) => Err("no utilization was reported".to_owned()),
    }
}

/// The memory of a row. `None` means before the first decision. An empty log is represented by one whose only
/// recommendation is too old to count.
fn memory_of(recommendations: Option<&[RecommendationRow]>) -> ScalingMemory {
    const LONG_AGO: RecommendationRow = RecommendationRow { replicas: 0, age_s: 1_000_000_000 };
    let recommendations = match recommendations {
        None => Vec::new(),
        Some([]) => translate::recommendations(&[LONG_AGO]),
        Some(rows) => translate::recommendations(rows),
    };
    ScalingMemory { recommendations, ..ScalingMemory::default() }
}

/// Compares all conditions, in any order.
pub(super) fn compare_conditions(
    mut expected: Vec<ConditionRow>,
    verdict: &Verdict,
    spec: &AutoscalerSpec,
    rescale: &RescaleResult,
) -> Result<(), String> {
    let status = |holds| if holds { "True" } else { "False" }.to_owned();
    let mut found: Vec<_> = verdict
        .conditions(spec, rescale)
        .into_iter()
        .map(|condition| ConditionRow {
            kind: condition.kind.name().to_owned(),
            status: status(condition.holds),
            reason: condition.reason.to_owned(),
        })
        .collect();
    expected.sort();
    found.sort();
    compare("conditions", &expected, &found)
}
