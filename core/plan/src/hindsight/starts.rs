//! What slow starts have cost: the load needed replicas that were still starting.
//!
//! The history says how many replicas were added, and how many of those the metrics proposed; each took as long as starts and warm-ups
//! usually take. The load did not wait for replicas that a forecast or a schedule added before the metrics proposed them.

use std::time::Duration;

use forecast::Model;
use knowledge::ServiceState;
use model::resource::{AutoScale, Count, ForecastMode, Span};

use super::{Advice, Benefit, DecisionRun, History, Kind, Remedy, highest_proposal};

/// The fewest starts that the usual time is computed from: fewer may all be on a cold machine.
const STARTS_MIN: usize = 3;

/// A shorter start does not count as slow: requests may queue for as long.
const SLOW: Duration = Duration::from_secs(10);

/// Waiting in a day, summed over replicas, that is a bottleneck: the same as for a maximum that was reached.
pub(super) const WAITED_A_DAY: Duration = Duration::from_mins(10);

/// Waiting for probes may take this fraction of a start: an eighth.
const PROBES_OF_START: u32 = 8;

/// The advised interval of probes: the default.
const PROBE_EVERY: Span = model::resource::EVERY_DEFAULT;

/// Replicas that were added at once because the metrics proposed them.
struct Rise {
    from: u32,
    to: u32,
}

impl History<'_> {
    /// Advice where the load waited long for starts, and where probes made them longer.
    pub(super) fn late_starts(&self, service: &ServiceState) -> Vec<Advice> {
        let Some(start) = slow_start(service) else { return Vec::new() };
        let rises: Vec<Rise> = self.past.iter().filter_map(rise).collect();
        let waited = start * added(&rises);
        let days = self.span().as_secs_f64() / 86_400.0;
        if waited.as_secs_f64() < WAITED_A_DAY.as_secs_f64() * days {
            return Vec::new();
        }
        let probed = self.slow_probe(service, &rises);
        self.slow_starts(service, (start, &rises)).into_iter().chain(probed).collect()
    }

    fn slow_starts(&self, service: &ServiceState, (start, rises): (Duration, &[Rise])) -> Option<Advice> {
        let Count::Auto(auto) = &self.spec.scale.count else { return None };
        let waited = hours(start * added(rises));
        let observation = format!(
            "the load had to wait for new replicas {} times, {:.0} s each time",
            rises.len(),
            start.as_secs_f64()
        );
        if may_forecast_help(service, auto) {
            let note =
                format!("{observation}; a forecast starts them in advance where the load repeats itself");
            return Some(Advice {
                kind: Kind::SlowStarts,
                note,
                benefit: Benefit::LackedReplicaHours(waited),
                remedy: Remedy::Forecast,
            });
        }
        self.higher_minimum(auto, (start, rises), &observation)
    }

    /// Advises a higher minimum where most of the waiting was for rises from the minimum.
    fn higher_minimum(
        &self,
        auto: &AutoScale,
        (start, rises): (Duration, &[Rise]),
        observation: &str,
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
            "{observation}, mostly from the minimum of {}; a minimum of {floor} would have cost {:.1} replica-hours",
            auto.min,
            self.past.iter().map(cost).sum::<f64>()
        );
        let benefit = Benefit::LackedReplicaHours(hours(start * spared(floor)));
        Some(Advice { kind: Kind::SlowStarts, note, benefit, remedy: Remedy::Min(floor) })
    }

    fn slow_probe(&self, service: &ServiceState, rises: &[Rise]) -> Option<Advice> {
        let probes = [&self.spec.probes.startup, &self.spec.probes.readiness];
        let wait = probes.into_iter().flatten().map(|probe| probe.every.as_duration() / 2).sum::<Duration>();
        let advised_wait =
            probes.into_iter().flatten().map(|probe| probe.every.min(PROBE_EVERY).as_duration() / 2);
        let spared = wait.saturating_sub(advised_wait.sum());
        let start = knowledge::start_time(&service.starts)?;
        if spared * PROBES_OF_START < start {
            return None;
        }
        Some(Advice {
            kind: Kind::SlowProbe,
            note: format!(
                "of the {:.0} s that a start takes, a ready replica waits {:.1} s on average for its next probe",
                start.as_secs_f64(),
                wait.as_secs_f64()
            ),
            benefit: Benefit::LackedReplicaHours(hours(spared * added(rises))),
            remedy: Remedy::ProbesEvery(PROBE_EVERY),
        })
    }
}

/// How long a new replica of `service` takes to start and warm up; `None` where that is not known well, or not slow.
pub(super) fn slow_start(service: &ServiceState) -> Option<Duration> {
    let start = knowledge::start_time(&service.starts).filter(|_| service.starts.took.len() >= STARTS_MIN)?;
    let start = start + knowledge::warmup(&service.starts).unwrap_or_default();
    (start >= SLOW).then_some(start)
}

/// The replicas that the first decision of a run added because the metrics proposed them.
fn rise(run: &DecisionRun) -> Option<Rise> {
    let to = run.desired.min(highest_proposal(run)?);
    (to > run.previous).then_some(Rise { from: run.previous, to })
}

fn added(rises: &[Rise]) -> u32 {
    rises.iter().fold(0, |sum, rise| sum.saturating_add(rise.to - rise.from))
}

/// Whether a forecast may help: it is not on yet, can raise the number, and is not known to be no better than the last value.
fn may_forecast_help(service: &ServiceState, auto: &AutoScale) -> bool {
    let is_on = service
        .declared
        .as_ref()
        .and_then(|declared| declared.forecasting())
        .is_some_and(|rule| rule.mode == ForecastMode::On);
    let expected = service.load_forecast.as_ref().and_then(|load_forecast| load_forecast.peak().ok());
    !is_on && auto.policy.has_targets() && expected.is_none_or(|expected| expected.by != Model::Persistence)
}

pub(super) fn hours(span: Duration) -> f64 {
    span.as_secs_f64() / 3600.0
}
