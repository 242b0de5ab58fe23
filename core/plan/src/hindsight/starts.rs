//! What slow starts have cost: replicas that the load asked for, and that were not there yet.
//!
//! Which replicas were added, and how many of them the metrics had asked for by then, is in the history; how long each was waited for is what
//! starts and warm-ups usually take. Replicas that a forecast or a schedule had asked for before the metrics did were not waited for.

use std::num::NonZeroU32;
use std::time::Duration;

use forecast::Model;
use knowledge::ServiceState;
use model::resource::{AutoScale, Count, ForecastMode, Probe, Probes, Span};

use super::{Advice, DecisionRun, Kind, Remedy, View, Worth, most};

/// The fewest starts from which the usual time is taken: fewer may be those of a cold machine.
const STARTS_MIN: usize = 3;

/// A start that takes less does not count as waited for: a request may queue for as long.
const SLOW: Duration = Duration::from_secs(10);

/// Replicas that are waited for as long as this in a day, one after the other or at once, are a bottleneck: as for a maximum that was reached.
pub(super) const WAITED_A_DAY: Duration = Duration::from_mins(10);

/// The part of a start that may be spent on waiting for probes: an eighth.
const PROBES_OF_START: u32 = 8;

/// The interval of probes that is advised: the default.
const PROBE_EVERY: Span = model::resource::EVERY_DEFAULT;

/// Replicas that were added at once because the metrics asked for them.
struct Rise {
    from: u32,
    to: u32,
}

impl View<'_> {
    /// Starts that were waited for, where that is much; and probes that made them longer.
    pub(super) fn late_starts(&self, service: &ServiceState) -> Vec<Advice> {
        let Some(start) = slow_start(service) else { return Vec::new() };
        let rises: Vec<Rise> = self.past.iter().filter_map(rise).collect();
        let waited = start * added(&rises);
        let days = self.looked_at().as_secs_f64() / 86_400.0;
        if waited.as_secs_f64() < WAITED_A_DAY.as_secs_f64() * days {
            return Vec::new();
        }
        let probed = self.slow_probe(service, &rises);
        self.slow_starts(service, (start, &rises)).into_iter().chain(probed).collect()
    }

    fn slow_starts(&self, service: &ServiceState, (start, rises): (Duration, &[Rise])) -> Option<Advice> {
        let Count::Auto(auto) = &self.spec.scale.count else { return None };
        let waited = hours(start * added(rises));
        let seen = format!(
            "the load had to wait for new replicas {} times, {:.0} s each time",
            rises.len(),
            start.as_secs_f64()
        );
        if is_foreseeable(service, auto) {
            let note = format!("{seen}; a forecast starts them in advance where the load repeats itself");
            return Some(Advice {
                kind: Kind::SlowStarts,
                note,
                worth: Worth::LackedReplicaHours(waited),
                remedy: Remedy::Forecast,
            });
        }
        self.higher_floor(auto, (start, rises), &seen)
    }

    /// More replicas at the least, where the most was waited for from there.
    fn higher_floor(
        &self,
        auto: &AutoScale,
        (start, rises): (Duration, &[Rise]),
        seen: &str,
    ) -> Option<Advice> {
        let (low, all) = (rises.iter().filter(|rise| rise.from == auto.min), added(rises));
        let mut reached: Vec<u32> = low.clone().map(|rise| rise.to).collect();
        let spared =
            |floor: u32| low.clone().map(|rise| rise.to.min(floor).saturating_sub(rise.from)).sum::<u32>();
        reached.sort_unstable();
        let floor = *reached.get(reached.len().checked_sub(1)? / 2)?;
        if spared(floor) * 2 < all || !self.spec.scale.schedule.is_empty() {
            return None;
        }
        let cost = |run: &DecisionRun| f64::from(floor.saturating_sub(run.desired)) * self.hours(run);
        let note = format!(
            "{seen}, mostly from the minimum of {}; a minimum of {floor} would have cost {:.1} replica-hours",
            auto.min,
            self.past.iter().map(cost).sum::<f64>()
        );
        let worth = Worth::LackedReplicaHours(hours(start * spared(floor)));
        Some(Advice { kind: Kind::SlowStarts, note, worth, remedy: Remedy::Min(floor) })
    }

    fn slow_probe(&self, service: &ServiceState, rises: &[Rise]) -> Option<Advice> {
        let probes = [&self.spec.probes.startup, &self.spec.probes.readiness];
        let late = probes.into_iter().flatten().map(|probe| probe.every.as_duration() / 2).sum::<Duration>();
        let asked_more =
            probes.into_iter().flatten().map(|probe| probe.every.min(PROBE_EVERY).as_duration() / 2);
        let spared = late.saturating_sub(asked_more.sum());
        let start = knowledge::start_time(&service.starts)?;
        if spared * PROBES_OF_START < start {
            return None;
        }
        Some(Advice {
            kind: Kind::SlowProbe,
            note: format!(
                "of the {:.0} s that a start takes, a ready replica waits {:.1} s on average for its next probe",
                start.as_secs_f64(),
                late.as_secs_f64()
            ),
            worth: Worth::LackedReplicaHours(hours(spared * added(rises))),
            remedy: Remedy::ProbesEvery(PROBE_EVERY),
        })
    }
}

/// How long a replica of `service` is waited for; `None` where that is not known well, or not long.
pub(super) fn slow_start(service: &ServiceState) -> Option<Duration> {
    let start = knowledge::start_time(&service.starts).filter(|_| service.starts.took.len() >= STARTS_MIN)?;
    let start = start + knowledge::warmup(&service.starts).unwrap_or_default();
    (start >= SLOW).then_some(start)
}

/// What the first decision of a run added because the metrics asked for it.
fn rise(run: &DecisionRun) -> Option<Rise> {
    let to = run.desired.min(most(run)?);
    (to > run.previous).then_some(Rise { from: run.previous, to })
}

fn added(rises: &[Rise]) -> u32 {
    rises.iter().fold(0, |sum, rise| sum.saturating_add(rise.to - rise.from))
}

/// Whether a forecast may begin to help: it is not on yet, can raise the number, and is not known to be no better than the last value.
fn is_foreseeable(service: &ServiceState, auto: &AutoScale) -> bool {
    let is_on = service
        .declared
        .as_ref()
        .and_then(|declared| declared.forecasting())
        .is_some_and(|rule| rule.mode == ForecastMode::On);
    let said = service.load_forecast.as_ref().and_then(|load_forecast| load_forecast.peak().ok());
    !is_on && auto.policy.has_targets() && said.is_none_or(|said| said.by != Model::Persistence)
}

/// Asks about startup and readiness every `every` at least, and gives up after the same time as before.
pub(super) fn ask_every(every: Span, probes: &mut Probes) {
    for probe in [&mut probes.startup, &mut probes.readiness].into_iter().flatten() {
        let Probe { every: was, failures, .. } = *probe;
        if was > every {
            let patience = was.as_millis().saturating_mul(u64::from(failures.get()));
            let failures = u32::try_from(patience.div_ceil(every.as_millis().max(1))).unwrap_or(u32::MAX);
            probe.every = every;
            probe.failures = NonZeroU32::new(failures).unwrap_or(probe.failures);
        }
    }
}

pub(super) fn hours(span: Duration) -> f64 {
    span.as_secs_f64() / 3600.0
}
