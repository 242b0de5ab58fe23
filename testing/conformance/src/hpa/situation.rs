//! `condition_reason`: each row names a situation and the conditions that follow from it.

use std::time::Duration;

use model::memory::ScalingMemory;
use model::resource::{AutoscalerSpec, ScalePolicy};
use model::settings::HpaSettings;
use plan::scale::explain::RescaleResult;
use plan::scale::hpa::{Verdict, reconcile};
use plan::scale::reading::{
    Members, Milli, Phase, Readiness, ReplicaView, Replicas, Sample, ScaleView, SelectorFault, Unavailable,
};
use serde::Deserialize;

use super::compare::read;
use super::pass::compare_conditions;
use super::row::{ConditionRow, Row, Target};
use super::source::{
    NO_SOURCE, Source, metric_of_external, metric_of_object, metric_of_pods, metric_of_resource, target_name,
};
use super::translate::{NOW, ago};

/// Runs a row of the suite `condition_reason`.
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
    let measured = || Source::Each {
        by_replica: vec![Ok(Sample { value: Milli(150), at: NOW, window: Duration::from_secs(60) }); 3],
        unmatched: 0,
        requests: Ok(vec![Milli(100); 3]),
    };
    let failed = || Source::Unavailable(Unavailable::Failed("it does not answer".into()));
    let known = Members::Known(&Replicas::of(&replicas));
    let cpu = || metric_of_resource("cpu", None, CPU);
    let (spec_replicas, members, metric, source) = match row.name.as_str() {
        "selector missing" => (3, Members::Unknown(SelectorFault::Missing), cpu()?, measured()),
        "selector unparsable" => (3, Members::Unknown(SelectorFault::Unreadable), cpu()?, measured()),
        "resource metric unavailable" => (3, known, cpu()?, failed()),
        "pods metric unavailable" => (3, known, metric_of_pods(AVERAGE)?, failed()),
        "object metric unavailable" => (3, known, metric_of_object(VALUE)?, failed()),
        "external metric unavailable" => (3, known, metric_of_external(VALUE)?, failed()),
        "unknown metric type" => (3, known, metric_of_external(VALUE)?, NO_SOURCE),
        "scale not readable" | "scale not writable" => (3, known, cpu()?, measured()),
        "autoscaling disabled by zero replicas" => (0, known, cpu()?, measured()),
        other => return Err(format!("unknown situation {other:?}")),
    };
    let spec = AutoscalerSpec {
        service: target_name(),
        min: 1,
        max: 5,
        metrics: vec![metric],
        policy: ScalePolicy::Hpa,
        behavior: None,
    };
    let view = ScaleView {
        spec_replicas,
        status_replicas: spec_replicas,
        members,
        warmup: None,
        learned_target: None,
    };
    let mut memory = ScalingMemory::default();
    let settings = HpaSettings::default();
    let verdict = match row.name.as_str() {
        "scale not readable" => Verdict::unreadable(spec_replicas),
        _ => reconcile(NOW, &spec, &view, &[source.reading()], &mut memory, &settings),
    };
    let rescale = match row.name.as_str() {
        "scale not writable" => RescaleResult::Failed("it does not answer".into()),
        _ => RescaleResult::Done,
    };
    compare_conditions(read::<Expected>(&row.expected)?.conditions, &verdict, &spec, &rescale)
}
