//! Past decisions, from the history.

use axum::http::StatusCode;
use model::decision::AlternativeSize;
use model::name::ServiceName;
use model::time::Wall;
use orchestrator::{DecisionHistory, DecisionRun, Handle};

use crate::decision::asked_text;
use crate::failure::{Code, Failure};
use crate::resources;
use crate::state::State;
use crate::timestamps::rfc3339;
use crate::v1;

/// Runs of decisions per response by default.
pub(crate) const RUNS_DEFAULT: usize = 100;

/// Runs of decisions per response at most: about 2 MB.
pub(crate) const RUNS_MAX: usize = 1000;

/// The decisions on `service` within a period, oldest first.
pub(crate) async fn history(
    state: &State,
    service: ServiceName,
    within: (Wall, Wall),
    limit: usize,
) -> Result<v1::History, Failure> {
    state
        .query(move |handle| {
            let history = read(handle, &service, within, limit.min(RUNS_MAX))?;
            if history.runs.is_empty() {
                resources::require_service(handle, &service)?;
            }
            let item = |run: &DecisionRun| v1::KeptDecision {
                from: rfc3339(run.from.wall),
                to: rfc3339(run.to.wall),
                count: run.count,
                ratios: run
                    .ratios
                    .iter()
                    .map(|ratio| ratio.map(|(low, high)| v1::Range { low, high }))
                    .collect(),
                decision: explanation(&service, run, None),
            };
            Ok(v1::History {
                target: format!("service/{service}"),
                is_cut: history.is_truncated,
                items: history.runs.iter().map(item).collect(),
            })
        })
        .await
}

/// The decision as of `at`; where decisions alternated, the latest one.
pub(crate) fn at(
    handle: &Handle,
    service: &ServiceName,
    at: Wall,
    asked: Option<AlternativeSize>,
) -> Result<Option<v1::Explanation>, Failure> {
    let history = read(handle, service, (Wall::default(), at), RUNS_DEFAULT)?;
    // Runs are ordered by their begin; of overlapping runs, the one with the latest decision counts.
    let last = history.runs.iter().max_by_key(|run| run.to.wall.min(at));
    Ok(last.map(|run| explanation(service, run, asked)))
}

pub(crate) fn read(
    handle: &Handle,
    service: &ServiceName,
    within: (Wall, Wall),
    limit: usize,
) -> Result<DecisionHistory, Failure> {
    handle.history(service, within, limit).map_err(|error| {
        let sentence = format!("could not read the history of service/{service}: {error}");
        Failure::new(StatusCode::INTERNAL_SERVER_ERROR, Code::Journal, sentence)
    })
}

/// The first decision of a run, in the form of `/v1`.
fn explanation(service: &ServiceName, run: &DecisionRun, asked: Option<AlternativeSize>) -> v1::Explanation {
    let record = &run.record;
    let prospects: Vec<v1::Prospect> = record.prospects.iter().map(prospect).collect();
    v1::Explanation {
        target: format!("service/{service}"),
        at: rfc3339(run.from.wall),
        desired: record.desired,
        previous: record.previous,
        policy: record.policy.clone(),
        metrics: record.metrics.iter().map(metric).collect(),
        tolerance: record.tolerance.map(|(up, down)| v1::Tolerance { up, down }),
        limits: record.limits.iter().map(limit).collect(),
        evidence: record.evidence.iter().map(evidence).collect(),
        guard: record.guard.clone(),
        why_not: asked.map(|asked| why_not(run, &prospects, asked)),
        prospects,
        reasons: vec![v1::DecisionReason { code: "summary".into(), message: record.summary.clone() }],
        waits: Vec::new(),
        changes: Vec::new(),
        size_of_replica: None,
        shadows: Vec::new(),
        kept: Some(v1::KeptSpan { from: rfc3339(run.from.wall), to: rfc3339(run.to.wall), count: run.count }),
        summary: record.summary.clone(),
    }
}

/// The recorded reasons and alternatives: the inputs are no longer kept, so the decision cannot be evaluated again.
fn why_not(run: &DecisionRun, prospects: &[v1::Prospect], asked: AlternativeSize) -> v1::WhyNot {
    let decided = run.record.desired;
    let is_same_direction = |desired: u32| match asked {
        AlternativeSize::Larger => desired > decided,
        AlternativeSize::Smaller => desired < decided,
        AlternativeSize::Exactly(wanted) => (desired > decided) == (wanted > decided),
    };
    let limits =
        run.record.limits.iter().map(|it| format!("{} to {}, by {}: {}", it.from, it.to, it.name, it.note));
    let because = [
        "the journal no longer holds the inputs of this decision; this is what the history kept of it"
            .to_owned(),
        run.record.summary.clone(),
    ];
    v1::WhyNot {
        asked: asked_text(asked),
        because: because.into_iter().chain(limits).collect(),
        prospects: prospects.iter().filter(|it| is_same_direction(it.desired)).cloned().collect(),
    }
}

fn metric(it: &orchestrator::decision_record::Metric) -> v1::Metric {
    v1::Metric {
        name: it.name.clone(),
        current: it.current.clone(),
        target: it.target.clone(),
        ratio: it.ratio,
        proposal: it.proposal,
        samples: it.samples.map(|[used, unready, missing, ignored]| v1::SampleCount {
            used,
            unready,
            missing,
            ignored,
        }),
        note: it.note.clone(),
    }
}

fn limit(it: &orchestrator::decision_record::Limit) -> v1::Limit {
    v1::Limit { name: it.name.clone(), from: it.from, to: it.to, note: it.note.clone() }
}

fn evidence(&(at, kind, replicas): &(u64, orchestrator::decision_record::Earlier, u32)) -> v1::Evidence {
    use orchestrator::decision_record::Earlier;
    let kind = match kind {
        Earlier::Recommended => "recommended",
        Earlier::Added => "added",
        Earlier::Removed => "removed",
    };
    v1::Evidence { at: rfc3339(Wall::from_millis(at)), kind: kind.into(), replicas }
}

fn prospect(it: &orchestrator::decision_record::ProspectRecord) -> v1::Prospect {
    let level =
        |(name, level): &(String, String)| v1::MetricLevel { name: name.clone(), level: level.clone() };
    v1::Prospect {
        desired: it.desired,
        need: it.need.clone(),
        levels: it.levels.iter().map(level).collect(),
        at: it.at.map(|at| rfc3339(Wall::from_millis(at))),
        message: it.note.clone(),
    }
}
