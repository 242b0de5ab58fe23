//! Blockers of scaling in: a fall of the load that may not be real, an incident or a rollout, and too many changes of direction.

use std::sync::Arc;
use std::time::Duration;

use knowledge::series::Series;
use knowledge::{Place, ServiceState, Stage};
use model::decision::{Decision, Limit};
use model::fact::Finding;
use model::identity::Ordinal;
use model::memory::{Fall, FlapMemory, LevelMemory, ScaleDirection};
use model::name::ServiceName;
use model::plan::AfterStop;
use model::quantity::Milli;
use model::resource::{AutoscalerSpec, Flaps, ScalePolicy};
use model::settings::Settings;
use model::time::Time;

use crate::context::PlanContext;
use crate::scale::hpa::Verdict;
use crate::scale::proposal::{Arithmetic, Proposal};

/// A reason not to scale in.
#[derive(Clone, Debug)]
pub(crate) enum ScaleInBlocker {
    /// Requests fail, and failed requests may cause less load than served ones.
    Errors(Errors),
    /// The service has a failure, or is being changed.
    Incident(Incident),
    /// A metric has fallen steeply between two decisions; `from` and `to` are totals over all replicas, in thousandths of the target of one.
    Fall {
        from: i64,
        to: i64,
        /// When it is accepted as real, if it lasts.
        until: Time,
    },
    /// A metric is below zero.
    BelowZero { metric: Arc<str>, value: Milli },
    /// Most replicas have no sample of a metric.
    MissingSamples { missing: u32, of: u32 },
    /// The number has changed direction as often as is allowed.
    Flaps { flaps: Flaps, until: Time },
}

/// The requests of the metric window, where too many of them failed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Errors {
    pub(crate) failed: u64,
    pub(crate) requests: u64,
}

/// A failure of a service, its repair, or a rollout.
#[derive(Clone, Debug)]
pub(crate) enum Incident {
    /// A dependency is not ready.
    Dependency(ServiceName),
    /// Many replicas fail their liveness probes together.
    Overload { failing: u32, of: u32 },
    /// A replica ends again and again.
    CrashLoop { ordinal: Ordinal, exits: u32 },
    /// A replica fails its liveness probe.
    Failing(Ordinal),
    /// The proxy has ejected a replica, whose requests failed.
    Ejected(Ordinal),
    /// A replica has ended, and its successor does not serve yet.
    Healing(Ordinal),
    /// Some replicas run an older declaration.
    Rollout { outdated: usize },
}

/// How long a steep fall to nearly zero must last before it is accepted as real.
///
/// 30 s: a source that restarts, or a balancer that is reloaded, is back by then. Longer outages show as errors and missing samples.
const FALL_TO_ZERO_ACCEPTED_AFTER: Duration = Duration::from_secs(30);

/// How long any other steep fall must last.
///
/// 3 s: means are taken over two seconds, so that a fall to zero looks like one to a half at first.
const FALL_ACCEPTED_AFTER: Duration = Duration::from_secs(3);

/// The least ratio to its target, in thousandths, that a metric can fall steeply from: smaller ones are noise.
const FALL_FROM_MIN: i64 = 200;

/// The most that is left after a steep fall, in per cent.
///
/// 75: a mean over two seconds is this high half a second after a fall to zero.
const FALL_TO_PERCENT: i64 = 75;

/// The longest time between two values that are compared: after longer, it is not known whether a metric fell at once.
///
/// 10 s: ten periods.
const COMPARED_WITHIN: Duration = Duration::from_secs(10);

/// The most that is left after a fall to nearly zero, in per cent.
const FALL_TO_ZERO_PERCENT: i64 = 10;

impl Errors {
    /// The failed requests of the metric window; `None` while they are few.
    pub(crate) fn of(places: &[(Ordinal, &Place)], settings: &Settings) -> Option<Self> {
        let growth = |series: &Series| series.growth(settings.metric_window).map_or(0, |growth| growth.by);
        let failed: u64 = places.iter().map(|(_, place)| growth(&place.errors)).sum();
        if failed == 0 {
            return None;
        }
        let requests: u64 = places.iter().map(|(_, place)| growth(&place.requests)).sum();
        let is_many = failed * 100 >= requests * u64::from(settings.error_percent_max);
        is_many.then_some(Self { failed, requests })
    }
}

impl Incident {
    /// The most severe incident; `None` without any.
    pub(crate) fn of(context: PlanContext<'_>) -> Option<Self> {
        let (now, service) = (context.now.time, context.service);
        let found = context.findings.iter().map(|finding| match finding {
            Finding::DependencyDown { needs } => Self::Dependency(needs.clone()),
            Finding::Overload { failing, of } => Self::Overload { failing: *failing, of: *of },
            Finding::CrashLoop { ordinal, exits } => Self::CrashLoop { ordinal: *ordinal, exits: *exits },
            Finding::Unhealthy { ordinal, .. } | Finding::UnhealthyInGrace { ordinal, .. } => {
                Self::Failing(*ordinal)
            }
        });
        let found = found.min_by_key(Self::rank);
        found.or_else(|| ejected(now, service)).or_else(|| healing(service)).or_else(|| rollout(service))
    }

    /// The most severe incident has the lowest rank. Incidents that are not findings rank last.
    fn rank(&self) -> u8 {
        match self {
            Self::Dependency(_) => 0,
            Self::Overload { .. } => 1,
            Self::CrashLoop { .. } => 2,
            Self::Failing(_) => 3,
            Self::Ejected(_) => 4,
            Self::Healing(_) => 5,
            Self::Rollout { .. } => 6,
        }
    }
}

/// An ejected replica, whose requests the others carry.
fn ejected(now: Time, service: &ServiceState) -> Option<Incident> {
    let mut counting = service.counting();
    counting.find(|(_, place)| place.is_ejected(now)).map(|(ordinal, _)| Incident::Ejected(ordinal))
}

/// A replica that was lost and does not serve again yet.
fn healing(service: &ServiceState) -> Option<Incident> {
    let is_healing = |place: &Place| match &place.stage {
        Stage::Empty { exit, .. } => exit.is_some(),
        // The replica before it in its place ended recently.
        Stage::Starting { .. } => !place.restart.recent.is_empty(),
        Stage::Running(health) => !health.ready && !place.restart.recent.is_empty(),
        Stage::Draining { then, .. } | Stage::Stopping { then, .. } => *then == AfterStop::Refill,
    };
    let mut counting = service.counting();
    counting.find(|(_, place)| is_healing(place)).map(|(ordinal, _)| Incident::Healing(ordinal))
}

fn rollout(service: &ServiceState) -> Option<Incident> {
    let outdated = service.counting().filter(|(_, place)| service.is_outdated(place)).count();
    (outdated > 0).then_some(Incident::Rollout { outdated })
}

/// Whether most replicas have no sample of one of the metrics.
pub(crate) fn missing_samples(verdict: &Verdict) -> Option<ScaleInBlocker> {
    let proposals = verdict.metrics.iter().filter_map(|metric| metric.as_ref().ok());
    let mut counts = proposals.map(|proposal| (proposal.census.missing(), proposal.census.ready));
    let (missing, ready) = counts.find(|(missing, ready)| missing > ready)?;
    Some(ScaleInBlocker::MissingSamples { missing, of: missing + ready })
}

/// The first metric that was measured below zero, which a load cannot be. With a formula, metrics need not be loads.
pub(crate) fn below_zero(verdict: &Verdict, spec: &AutoscalerSpec) -> Option<ScaleInBlocker> {
    if matches!(spec.policy, ScalePolicy::Formula(_)) {
        return None;
    }
    let mut metrics = spec.metrics.iter().zip(&verdict.metrics);
    metrics.find_map(|(metric, proposal)| {
        let value = proposal.as_ref().ok()?.level.whole();
        (value < Milli(0)).then(|| ScaleInBlocker::BelowZero { metric: metric.name().into(), value })
    })
}

/// Compares each metric with its value at the last decision, and records the current one.
///
/// A steep fall is accepted once it has lasted, longer when it is one to nearly zero, and ends when the metric has recovered. A metric without a
/// value keeps its last one, with which the next is compared, unless that is older than [`COMPARED_WITHIN`].
pub(crate) fn fall(now: Time, verdict: &Verdict, levels: &mut Vec<LevelMemory>) -> Option<ScaleInBlocker> {
    levels.resize(verdict.metrics.len(), LevelMemory::default());
    let mut blocker: Option<(Time, Fall, i64)> = None;
    for (metric, level) in verdict.metrics.iter().zip(levels) {
        let Ok(proposal) = metric else { continue };
        if !proposal.level.ratio.is_finite() {
            continue;
        }
        let ratio = (proposal.level.ratio * 1000.0) as i64;
        let total = ratio.saturating_mul(i64::from(measured_replicas(proposal)));
        let is_recent = now.since(level.at) <= COMPARED_WITHIN;
        let lasts =
            |fall: &Fall| is_at_most(total, FALL_TO_PERCENT, fall.from) && now < accepted_at(*fall, total);
        let falls = level.ratio >= FALL_FROM_MIN && is_at_most(total, FALL_TO_PERCENT, level.total);
        let fall = match level.fall.filter(|_| is_recent) {
            Some(fall) => Some(fall).filter(lasts),
            None => (is_recent && falls).then_some(Fall { from: level.total, since: now }),
        };
        *level = LevelMemory { at: now, ratio, total, fall };
        let held = fall.map(|fall| (accepted_at(fall, total), fall, total));
        blocker = blocker.into_iter().chain(held).max_by_key(|(until, ..)| *until);
    }
    blocker.map(|(until, Fall { from, .. }, to)| ScaleInBlocker::Fall { from, to, until })
}

/// How many replicas the ratio of a metric is a mean over; 1 for a metric of the whole.
fn measured_replicas(proposal: &Proposal) -> u32 {
    match proposal.arithmetic {
        Arithmetic::Shared { existing, .. } => existing.max(1),
        Arithmetic::WithinTolerance { .. }
        | Arithmetic::Ratio { .. }
        | Arithmetic::DirectionTurned { .. }
        | Arithmetic::AgainstRatio { .. }
        | Arithmetic::FromZero { .. } => proposal.census.ready.max(1),
    }
}

/// Whether `total` is at most `percent` of `from`. Saturates far above any ratio that is measured.
fn is_at_most(total: i64, percent: i64, from: i64) -> bool {
    total.saturating_mul(100) <= from.saturating_mul(percent)
}

fn accepted_at(fall: Fall, total: i64) -> Time {
    let is_zero = is_at_most(total, FALL_TO_ZERO_PERCENT, fall.from);
    fall.since + if is_zero { FALL_TO_ZERO_ACCEPTED_AFTER } else { FALL_ACCEPTED_AFTER }
}

/// The blocker when scaling in would be one change of direction too many.
pub(crate) fn flapping(now: Time, flaps: Flaps, memory: &FlapMemory) -> Option<ScaleInBlocker> {
    let per = flaps.per.as_duration();
    let turns: Vec<Time> = memory.reversals.iter().copied().filter(|turn| now.since(*turn) < per).collect();
    let is_turn = memory.direction == Some(ScaleDirection::Out);
    let decisive = turns.len().checked_sub(flaps.most as usize).and_then(|index| turns.get(index))?;
    is_turn.then(|| ScaleInBlocker::Flaps { flaps, until: *decisive + per })
}

/// Records the direction of a change of the number.
pub(crate) fn record_change(now: Time, flaps: Flaps, (from, to): (u32, u32), memory: &mut FlapMemory) {
    let direction = if to > from { ScaleDirection::Out } else { ScaleDirection::In };
    if memory.direction.is_some_and(|last| last != direction) {
        memory.reversals.retain(|turn| now.since(*turn) < flaps.per.as_duration());
        memory.reversals.push(now);
    }
    memory.direction = Some(direction);
}

impl ScaleInBlocker {
    fn name(&self) -> &'static str {
        match self {
            Self::Errors(_) => "HeldByErrors",
            Self::Incident(_) => "HeldByIncident",
            Self::Fall { .. } => "HeldBySuddenFall",
            Self::BelowZero { .. } => "HeldByNegative",
            Self::MissingSamples { .. } => "HeldBySilence",
            Self::Flaps { .. } => "HeldByFlaps",
        }
    }

    fn note(&self) -> String {
        match self {
            Self::Errors(Errors { failed, requests }) => {
                format!("{failed} of {requests} requests failed, so a fall of the load removes no replica")
            }
            Self::Incident(incident) => format!("no replica is removed while {}", incident.note()),
            Self::Fall { from, to, until } => {
                let left = to.saturating_mul(100) / (*from).max(1);
                format!(
                    "a metric fell to {left} % of its value, and no replica is removed unless that lasts until {until}"
                )
            }
            Self::BelowZero { metric, value: Milli(milli) } => {
                format!(
                    "{metric} is {}, but a load cannot be negative, so no replica is removed",
                    *milli as f64 / 1000.0
                )
            }
            Self::MissingSamples { missing, of } => {
                format!(
                    "{missing} of {of} replicas are not measured, so a fall of the load removes no replica"
                )
            }
            Self::Flaps { flaps: Flaps { most, per }, until } => {
                format!(
                    "the number of replicas changed direction {most} times within {per}, so none is removed before {until}"
                )
            }
        }
    }

    /// The decision held at the previous number.
    pub(crate) fn hold(&self, mut decision: Decision) -> Decision {
        let note = self.note();
        let (from, to) = (decision.desired, decision.previous);
        decision.summary = format!("stays at {to}: {note}").into();
        decision.desired = to;
        decision.limits.push(Limit { name: self.name(), from, to, note: note.into() });
        decision
    }
}

impl Incident {
    fn note(&self) -> String {
        match self {
            Self::Dependency(needs) => format!("its dependency, service {needs}, is not ready"),
            Self::Overload { failing, of } => {
                format!("{failing} of {of} replicas fail their liveness probe at once")
            }
            Self::CrashLoop { ordinal, exits } => {
                format!("replica {ordinal} has exited at least {exits} times in a row")
            }
            Self::Failing(ordinal) => format!("replica {ordinal} fails its liveness probe"),
            Self::Ejected(ordinal) => {
                format!("the proxy has ejected replica {ordinal} because requests to it failed")
            }
            Self::Healing(ordinal) => format!("replica {ordinal} has exited and does not serve again yet"),
            Self::Rollout { outdated } => format!("{outdated} replicas run an older declaration"),
        }
    }
}
