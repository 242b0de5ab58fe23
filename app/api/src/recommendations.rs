//! Recommendations from the history of services, in the form of `/v1`.

use control::hindsight::{self, Advice, Benefit};
use knowledge::ServiceState;
use manifest::Change;
use model::name::ServiceName;
use model::quantity::Bytes;
use model::resource::{Metadata, Resource, Service};
use model::settings::Settings;
use model::time::{Time, Wall};
use orchestrator::{DecisionRun, Handle};

use crate::failure::Failure;
use crate::state::State;
use crate::timestamps::rfc3339;
use crate::{history, resources, v1};

/// The period of recommendations by default, in milliseconds: 30 days, as long as decisions are kept.
const DEFAULT_PERIOD_MS: u64 = 30 * 24 * 3_600_000;

/// Runs of decisions per service that are analyzed: about 20 MB; the latest if there are more.
const RUNS_MAX: usize = 10_000;

/// The recommendations since `since` for one service, or for all declared ones.
pub(crate) async fn recommendations(
    state: &State,
    service: Option<ServiceName>,
    since: Option<Wall>,
) -> Result<v1::Recommendations, Failure> {
    let permit = state.open_replay()?;
    state
        .query(move |handle| {
            let until = handle.now().wall;
            let since =
                since.unwrap_or(Wall::from_millis(until.as_millis().saturating_sub(DEFAULT_PERIOD_MS)));
            let names = match service {
                Some(name) => {
                    resources::require_service(handle, &name)?;
                    vec![name]
                }
                None => declared_services(handle)?,
            };
            let mut items = Vec::new();
            for name in &names {
                items.extend(of_service(handle, name, (since, until))?);
            }
            drop(permit);
            Ok(v1::Recommendations { since: rfc3339(since), until: rfc3339(until), items })
        })
        .await
}

fn declared_services(handle: &Handle) -> Result<Vec<ServiceName>, Failure> {
    Ok(handle.query(|control, _| {
        let declared = control.knowledge().services().filter(|service| service.declared.is_some());
        declared.map(|service| service.name.clone()).collect()
    })?)
}

fn of_service(handle: &Handle, name: &ServiceName, within: (Wall, Wall)) -> Result<Vec<v1::Advice>, Failure> {
    let service_name = name.clone();
    let found: Option<(Time, ServiceState, Settings)> = handle.query(move |control, now| {
        Some((now.time, control.knowledge().service(&service_name)?.clone(), control.settings().clone()))
    })?;
    let Some((now, service, settings)) = found else { return Ok(Vec::new()) };
    let history = history::read(handle, name, within, RUNS_MAX)?;
    let runs: Vec<hindsight::DecisionRun> = history.runs.iter().map(summary).collect();
    let advice = hindsight::advice(now, &service, &runs, &settings);
    Ok(advice.iter().map(|advice| recommendation(&service, advice)).collect())
}

/// A run of the history. Only the range of ratios is kept of the decisions after the first, so their proposals are estimated from it.
fn summary(run: &DecisionRun) -> hindsight::DecisionRun {
    let proposal_at = |index: usize, of: fn((f64, f64)) -> f64| {
        let metric = &run.record.metrics[index];
        let extreme = run.ratios.get(index).copied().flatten().map(of);
        let proposal = f64::from(metric.proposal?);
        Some(match extreme.zip(metric.ratio) {
            Some((extreme, first)) if first > 0.0 => proposal * (extreme / first),
            // Zero has no proportion to other ratios; they ask for that many times the replicas that there were.
            Some((extreme, _)) if extreme > 0.0 => extreme * f64::from(run.record.previous),
            Some(_) | None => proposal,
        })
    };
    // A float cast to an integer saturates.
    let wanted = run.record.metrics.iter().enumerate().map(|(index, metric)| {
        let highest = proposal_at(index, |(_, high)| high)?.ceil() as u32;
        Some(highest.max(metric.proposal?))
    });
    let lowest = run.record.metrics.iter().enumerate().map(|(index, metric)| {
        let lowest = proposal_at(index, |(low, _)| low)?.floor() as u32;
        Some(lowest.min(metric.proposal?))
    });
    hindsight::DecisionRun {
        from: run.from.wall,
        to: run.to.wall,
        count: run.count,
        previous: run.record.previous,
        desired: run.record.desired,
        proposals: wanted.collect(),
        lowest_proposal: lowest.collect::<Option<Vec<u32>>>().and_then(|lowest| lowest.into_iter().max()),
        ratios: run.ratios.clone(),
    }
}

fn recommendation(service: &ServiceState, advice: &Advice) -> v1::Advice {
    v1::Advice {
        target: format!("service/{}", service.name),
        kind: advice.kind.name().into(),
        message: advice.note.clone(),
        worth: benefit(advice.benefit),
        changes: changes(service, advice),
    }
}

fn benefit(benefit: Benefit) -> v1::AdviceWorth {
    let none = v1::AdviceWorth::default();
    match benefit {
        Benefit::LackedReplicaHours(hours) => v1::AdviceWorth { lacked_replica_hours: Some(hours), ..none },
        Benefit::SparedReplicaHours(hours) => v1::AdviceWorth { spared_replica_hours: Some(hours), ..none },
        Benefit::SparedCores(cores) => v1::AdviceWorth { spared_cores: Some(cores), ..none },
        Benefit::LackedCores(cores) => v1::AdviceWorth { lacked_cores: Some(cores), ..none },
        Benefit::SparedMemory(Bytes(bytes)) => v1::AdviceWorth { spared_bytes: Some(bytes), ..none },
        Benefit::LackedMemory(Bytes(bytes)) => v1::AdviceWorth { lacked_bytes: Some(bytes), ..none },
        Benefit::SparedStarts(starts) => v1::AdviceWorth { spared_starts: Some(starts), ..none },
        Benefit::Unknown => none,
    }
}

/// The changes of the service's manifest, field by field.
fn changes(service: &ServiceState, advice: &Advice) -> Vec<v1::FieldChange> {
    let Some(declared) = &service.declared else { return Vec::new() };
    let of = |spec| Resource::Service(Service { metadata: Metadata::named(service.name.clone()), spec });
    let mut advised = declared.spec.clone();
    advice.remedy.apply(&mut advised);
    let changes = manifest::diff(&of(declared.spec.clone()), &of(advised));
    changes.into_iter().map(|Change { path, old, new }| v1::FieldChange { path, old, new }).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use control::hindsight::{Kind, Remedy};
    use model::identity::{Epoch, Generation};
    use model::input::Declared;
    use model::resource::{Quantity, Recover};
    use model::time::Now;
    use orchestrator::decision_record::{self, DecisionRecord};
    use serde_json::{Value, json};

    use super::*;

    /// What `remedy` changes of a service, as the API shows it.
    fn changes_of(remedy: Remedy, spec: Value) -> Vec<(String, Option<Value>, Option<Value>)> {
        let name = ServiceName::parse("shop").expect("it is a name");
        let mut service = ServiceState::named(name.clone());
        let declared = Declared {
            name,
            revision: Generation(1),
            generation: Generation(1),
            spec: serde_json::from_value(spec).expect("it is a service"),
            autoscaler: None,
        };
        service.declared = Some(Arc::new(declared));
        let advice = Advice { kind: Kind::NoSpare, note: String::new(), benefit: Benefit::Unknown, remedy };
        let changes = recommendation(&service, &advice).changes;
        changes.into_iter().map(|change| (change.path, change.old, change.new)).collect()
    }

    #[test]
    fn proposals_are_estimated_from_the_range_of_ratios() {
        let proposals = |first: (f64, u32), low: f64, high: f64| {
            let metric = decision_record::Metric {
                name: "queue".into(),
                current: String::new(),
                target: String::new(),
                ratio: Some(first.0),
                proposal: Some(first.1),
                samples: None,
                note: String::new(),
            };
            let record =
                DecisionRecord { previous: 4, desired: 4, metrics: vec![metric], ..Default::default() };
            let (from, to, ratios) = (Now::default(), Now::default(), vec![Some((low, high))]);
            let summary = summary(&DecisionRun { epoch: Epoch(1), from, to, count: 2, ratios, record });
            (summary.proposals[0].unwrap(), summary.lowest_proposal.unwrap())
        };
        assert_eq!(proposals((0.5, 2), 0.25, 0.75), (3, 1));
        assert_eq!(proposals((0.5, 2), 0.0, 0.5), (2, 0));
        assert_eq!(proposals((0.0, 0), 0.0, 0.625), (3, 0), "a run that begins without load");
        assert_eq!(proposals((0.0, 0), 0.0, 0.0), (0, 0));
    }

    #[test]
    fn advice_lists_the_fields_that_change() {
        let run = || json!({"command": ["shop"]});
        let spare = Remedy::Recover(Recover::Standby { spares: 1 });
        let changed = |path: &str, old: Value, new: Value| {
            let known = |value: Value| Some(value).filter(|value| !value.is_null());
            (path.to_owned(), known(old), known(new))
        };
        assert_eq!(
            changes_of(spare, json!({"run": run()})),
            [
                changed("spec.recover.spares", Value::Null, json!(1)),
                changed("spec.recover.strategy", json!("reschedule"), json!("standby")),
            ]
        );
        let low = Remedy::LowWatermark(Quantity::from_milli(30_500));
        let queue = json!({"type": "External", "external": {"metric": {"name": "queue"}, "target": {"type": "AverageValue", "averageValue": 1}}});
        let policy = json!({"watermarks": {"high": 61, "low": 5}});
        let marked =
            json!({"run": run(), "scale": {"min": 1, "max": 9, "metrics": [queue], "policy": policy}});
        assert_eq!(
            changes_of(low, marked),
            [changed("spec.scale.policy.watermarks.low", json!("5"), json!("30500m"))]
        );
    }
}
