//! What waiting for lost replicas has cost, and what keeping spares costs.

use std::time::Duration;

use knowledge::ServiceState;
use model::memory::{LOSSES_MAX, LossMemory};
use model::resource::Recover;
use model::time::Time;

use super::starts::{WAITED_A_DAY, hours, slow_start};
use super::{Advice, Benefit, HISTORY_MIN, History, Kind, Remedy};

/// The shortest history without enough losses that makes spares superfluous: spares are for rare losses.
const SPARES_HISTORY_MIN: Duration = Duration::from_hours(7 * 24);

/// Losses this close to each other need a spare each, where starts are not known or take no longer.
const AT_ONCE: Duration = Duration::from_secs(60);

impl History<'_> {
    /// Advises a spare where replacements took long in all, or fewer spares where fewer replicas were ever lost at once.
    pub(super) fn losses(&self, now: Time, service: &ServiceState) -> Option<Advice> {
        let observed = observed_for(&service.losses, now)?;
        match self.spec.recover {
            Recover::Reschedule => no_spare(service, observed),
            Recover::Standby { spares } => spare_never_used(service, spares, observed),
            // With these strategies the other replicas take over the load: the owner has chosen not to pay for a spare.
            Recover::MostActive | Recover::Random => None,
        }
    }
}

fn no_spare(service: &ServiceState, observed: Duration) -> Option<Advice> {
    let start = slow_start(service)?;
    let lost = service.losses.at.len();
    let covered = covered(&service.losses.at, start);
    let days = observed.as_secs_f64() / 86_400.0;
    let waited = start * covered;
    if observed < HISTORY_MIN || waited.as_secs_f64() < WAITED_A_DAY.as_secs_f64() * days {
        return None;
    }
    Some(Advice {
        kind: Kind::NoSpare,
        note: format!(
            "{lost} times in {days:.1} days a replica was lost, and its replacement took {:.0} s each time; a spare would have taken over \
             {covered} times and have cost {:.1} replica-hours",
            start.as_secs_f64(),
            hours(observed)
        ),
        benefit: Benefit::LackedReplicaHours(hours(waited)),
        remedy: Remedy::Recover(Recover::Standby { spares: 1 }),
    })
}

fn spare_never_used(service: &ServiceState, spares: u32, observed: Duration) -> Option<Advice> {
    let span = knowledge::start_time(&service.starts).unwrap_or_default().max(AT_ONCE);
    let needed = at_once(&service.losses.at, span);
    if observed < SPARES_HISTORY_MIN || needed >= spares {
        return None;
    }
    let days = observed.as_secs_f64() / 86_400.0;
    let recover = if needed == 0 { Recover::Reschedule } else { Recover::Standby { spares: needed } };
    Some(Advice {
        kind: Kind::SpareNeverUsed,
        note: format!("spares kept: {spares}; most replicas lost at once in {days:.1} days: {needed}"),
        benefit: Benefit::SparedReplicaHours(f64::from(spares - needed) * hours(observed)),
        remedy: Remedy::Recover(recover),
    })
}

/// For how long all losses are remembered; `None` before the service was declared.
fn observed_for(losses: &LossMemory, now: Time) -> Option<Duration> {
    // When the memory is full, older losses may have been forgotten.
    let oldest = losses.at.first().filter(|_| losses.at.len() == LOSSES_MAX).copied();
    Some(now.since(oldest.or(losses.since)?))
}

/// How many losses a single spare would have covered: a new spare must have started before the next loss.
fn covered(losses: &[Time], start: Duration) -> u32 {
    let mut ready = Time::ZERO;
    let mut count = 0;
    for lost in losses {
        if *lost >= ready {
            count += 1;
            ready = *lost + start;
        }
    }
    count
}

/// The most losses within any such span.
fn at_once(losses: &[Time], span: Duration) -> u32 {
    let within =
        |first: &Time| losses.iter().filter(|lost| **lost >= *first && lost.since(*first) < span).count();
    let most = losses.iter().map(within).max().unwrap_or(0);
    u32::try_from(most).unwrap_or(u32::MAX)
}
