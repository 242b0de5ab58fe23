//! What blocks scaling in although the metrics ask for it: a fall of load that may not be real, and an incident or a change during which no
//! replica is removed.

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
    /// Requests fail, and a failed request may cost less than a served one.
    Errors(Errors),
    /// Something is wrong with the service, or it is being changed.
    Incident(Incident),
    /// A metric has fallen steeply from one look to the next; before and after over all replicas, in thousandths of the target of one.
    Fall {
        from: i64,
        to: i64,
        /// When it is believed, if it lasts.
        until: Time,
    },
    /// A metric is below zero.
    BelowZero { metric: Arc<str>, value: Milli },
    /// Most replicas have no sample of a metric.
    Silence { missing: u32, of: u32 },
    /// The number has changed its direction as often as is allowed.
    Flaps { flaps: Flaps, until: Time },
}

/// Requests over the metric window, of which suspiciously many failed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Errors {
    pub(crate) failed: u64,
    pub(crate) requests: u64,
}

/// What is wrong with a service, or is being done about it.
#[derive(Clone, Debug)]
pub(crate) enum Incident {
    /// Something that it needs is not there.
    Dependency(ServiceName),
    /// Many replicas fail their liveness probes together.
    Overload { failing: u32, of: u32 },
    /// A replica ends again and again.
    CrashLoop { ordinal: Ordinal, exits: u32 },
    /// A replica fails its liveness probe.
    Failing(Ordinal),
    /// The proxy goes around a replica, whose requests failed.
    Ejected(Ordinal),
    /// A replica has ended, and its successor does not serve yet.
    Healing(Ordinal),
    /// Some replicas run an older declaration.
    Rollout { outdated: usize },
}

/// How long a metric must stay down that fell to nearly nothing at once before it is believed.
///
/// 30 s: a source that restarts, or a balancer that is reloaded, is back by then. Longer outages show in errors and in what is missing.
const NOTHING_BELIEVED_AFTER: Duration = Duration::from_secs(30);

/// How long any other steep fall must last.
///
/// 3 s: means are taken over two seconds, so that a fall to nothing looks like one to a half at first.
const FALL_BELIEVED_AFTER: Duration = Duration::from_secs(3);

/// From at least so much of its target a metric falls steeply, in thousandths; below, noise does.
const FALL_FROM_MIN: i64 = 200;

/// What is left after a steep fall, at most, in per cent.
///
/// 75: after a fall to nothing a mean over two seconds is so high when it was read half a second later.
const FALL_TO_PERCENT: i64 = 75;

/// After longer without a look, a metric is looked at anew: nobody knows whether it fell at once.
///
/// 10 s: ten periods.
const LOOK_MAX: Duration = Duration::from_secs(10);

/// What is left after a fall to nearly nothing, at most, in per cent.
const NOTHING_PERCENT: i64 = 10;

impl Errors {
    /// What the proxy counted over the metric window, when it is suspicious.
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
    /// The gravest incident; `None` without any.
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
        found.or_else(|| ejected(now, service)).or_else(|| repair(service)).or_else(|| rollout(service))
    }

    /// Of several findings the one with the lowest rank is reported; incidents that are no findings come after them.
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

/// A replica whose share of the requests the others carry.
fn ejected(now: Time, service: &ServiceState) -> Option<Incident> {
    let mut counting = service.counting();
    counting.find(|(_, place)| place.is_ejected(now)).map(|(ordinal, _)| Incident::Ejected(ordinal))
}

/// A replica that was lost and is not back yet.
fn repair(service: &ServiceState) -> Option<Incident> {
    let is_repaired = |place: &Place| match &place.stage {
        Stage::Empty { exit, .. } => exit.is_some(),
        // Its place was filled anew after an end that was not long ago.
        Stage::Starting { .. } => !place.restart.recent.is_empty(),
        Stage::Running(health) => !health.ready && !place.restart.recent.is_empty(),
        Stage::Draining { then, .. } | Stage::Stopping { then, .. } => *then == AfterStop::Refill,
    };
    let mut counting = service.counting();
    counting.find(|(_, place)| is_repaired(place)).map(|(ordinal, _)| Incident::Healing(ordinal))
}

fn rollout(service: &ServiceState) -> Option<Incident> {
    let outdated = service.counting().filter(|(_, place)| service.is_outdated(place)).count();
    (outdated > 0).then_some(Incident::Rollout { outdated })
}

/// Whether most replicas have no sample of one of the metrics.
pub(crate) fn silence(verdict: &Verdict) -> Option<ScaleInBlocker> {
    let heard = verdict.metrics.iter().filter_map(|said| said.as_ref().ok());
    let mut silent = heard.map(|proposal| (proposal.census.missing(), proposal.census.ready));
    let (missing, ready) = silent.find(|(missing, ready)| missing > ready)?;
    Some(ScaleInBlocker::Silence { missing, of: missing + ready })
}

/// The first metric that was measured below zero, which no load is. A formula says itself what such a number stands for.
pub(crate) fn below_zero(verdict: &Verdict, spec: &AutoscalerSpec) -> Option<ScaleInBlocker> {
    if matches!(spec.policy, ScalePolicy::Formula(_)) {
        return None;
    }
    let mut said = spec.metrics.iter().zip(&verdict.metrics);
    said.find_map(|(metric, said)| {
        let value = said.as_ref().ok()?.level.whole();
        (value < Milli(0)).then(|| ScaleInBlocker::BelowZero { metric: metric.name().into(), value })
    })
}

/// Compares each metric with its value at the last look, and records the present one.
///
/// A steep fall is believed once it has lasted, longer when it is one to nearly nothing, and is over when the metric is back. A metric without
/// a value stays what it was: its next value is compared with that, unless there was none, or nobody looked, for longer than [`LOOK_MAX`].
pub(crate) fn fall(now: Time, verdict: &Verdict, levels: &mut Vec<LevelMemory>) -> Option<ScaleInBlocker> {
    levels.resize(verdict.metrics.len(), LevelMemory::default());
    let mut blocker: Option<(Time, Fall, i64)> = None;
    for (said, level) in verdict.metrics.iter().zip(levels) {
        let Ok(proposal) = said else { continue };
        if !proposal.level.ratio.is_finite() {
            continue;
        }
        let ratio = (proposal.level.ratio * 1000.0) as i64;
        let total = ratio.saturating_mul(i64::from(measured(proposal)));
        let is_known = now.since(level.at) <= LOOK_MAX;
        let lasts =
            |fall: &Fall| is_left(total, FALL_TO_PERCENT, fall.from) && now < believed_at(*fall, total);
        let falls = level.ratio >= FALL_FROM_MIN && is_left(total, FALL_TO_PERCENT, level.total);
        let fall = match level.fall.filter(|_| is_known) {
            Some(fall) => Some(fall).filter(lasts),
            None => (is_known && falls).then_some(Fall { from: level.total, since: now }),
        };
        *level = LevelMemory { at: now, ratio, total, fall };
        let held = fall.map(|fall| (believed_at(fall, total), fall, total));
        blocker = blocker.into_iter().chain(held).max_by_key(|(until, ..)| *until);
    }
    blocker.map(|(until, Fall { from, .. }, to)| ScaleInBlocker::Fall { from, to, until })
}

/// How many replicas the ratio of a metric is a mean over; 1 for a metric of the whole.
fn measured(proposal: &Proposal) -> u32 {
    match proposal.arithmetic {
        Arithmetic::Shared { existing, .. } => existing.max(1),
        Arithmetic::WithinTolerance { .. }
        | Arithmetic::Ratio { .. }
        | Arithmetic::DirectionTurned { .. }
        | Arithmetic::AgainstRatio { .. }
        | Arithmetic::FromZero { .. } => proposal.census.ready.max(1),
    }
}

/// Whether at most so many per cent are left of what there was. Ratios saturate far above any that is measured.
fn is_left(total: i64, percent: i64, from: i64) -> bool {
    total.saturating_mul(100) <= from.saturating_mul(percent)
}

fn believed_at(fall: Fall, total: i64) -> Time {
    let is_nothing = is_left(total, NOTHING_PERCENT, fall.from);
    fall.since + if is_nothing { NOTHING_BELIEVED_AFTER } else { FALL_BELIEVED_AFTER }
}

/// Whether going down would be one change of direction too many.
pub(crate) fn flapping(now: Time, flaps: Flaps, memory: &FlapMemory) -> Option<ScaleInBlocker> {
    let per = flaps.per.as_duration();
    let turns: Vec<Time> = memory.reversals.iter().copied().filter(|turn| now.since(*turn) < per).collect();
    let is_turn = memory.direction == Some(ScaleDirection::Out);
    let decisive = turns.len().checked_sub(flaps.most as usize).and_then(|index| turns.get(index))?;
    is_turn.then(|| ScaleInBlocker::Flaps { flaps, until: *decisive + per })
}

/// Writes down that the number went another direction, or on in its own.
pub(crate) fn note_change(now: Time, flaps: Flaps, (from, to): (u32, u32), memory: &mut FlapMemory) {
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
            Self::Silence { .. } => "HeldBySilence",
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
            Self::Silence { missing, of } => {
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

    /// The decision that would have been made, held.
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
