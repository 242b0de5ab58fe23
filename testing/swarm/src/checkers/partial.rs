//! Absent is not zero: a service without measurements is not scaled in.

use std::collections::BTreeMap;
use std::time::Duration;

use model::event::EventKind;
use model::input::{Input, Report};
use model::measure::MeasurementResult;
use model::name::ServiceName;
use model::reason::Reason;
use model::time::Time;

use super::{Checker, Look};

/// An older sample does not count: this is twice what the loop itself allows, so that it is not blamed for a late one.
const FRESH: Duration = Duration::from_secs(4);

/// A source's measurement is valid for as long as its declaration says, and one period of the loop longer.
const PERIOD: Duration = Duration::from_secs(1);

/// No service is scaled in by its autoscaler while none of its replicas is measured.
#[derive(Debug, Default)]
pub(crate) struct Partial {
    /// Until when the measurements of a service are valid.
    measured: BTreeMap<ServiceName, Time>,
}

impl Partial {
    /// Notes which replicas a report measures; called for every report.
    pub(crate) fn note<'a>(&mut self, look: &Look<'a>) {
        let now = look.sim.now();
        let mut latest = None;
        let mut measured = |service: &'a ServiceName, stands: Duration| {
            // A report has the replicas of a service together.
            if latest.replace(service) == Some(service) {
                return;
            }
            let until = now + stands;
            match self.measured.get_mut(service) {
                Some(known) => *known = until.max(*known),
                None => {
                    self.measured.insert(service.clone(), until);
                }
            }
        };
        match look.input() {
            Some(Input::Report(Report::Usage(samples))) => {
                samples.iter().for_each(|sample| measured(&sample.replica.service, FRESH));
            }
            Some(Input::Report(Report::Traffic(samples))) => {
                samples.iter().for_each(|sample| measured(&sample.service, FRESH));
            }
            Some(Input::Report(Report::Measured(sources))) => {
                for source in
                    sources.iter().filter(|source| matches!(source.result, MeasurementResult::Series(_)))
                {
                    measured(&source.source, source.stale_after + PERIOD);
                }
            }
            // tidy: open match: only measurements are looked at.
            _ => {}
        }
    }
}

impl Checker for Partial {
    fn name(&self) -> &'static str {
        "partial"
    }

    fn look(&mut self, look: &Look<'_>) -> Result<(), String> {
        let now = look.sim.now();
        let Some(control) = look.control() else { return Ok(()) };
        for event in look.sim.out().events.iter().filter(|event| event.kind == EventKind::Scaled) {
            let Reason::Autoscaled { from, to, .. } = &event.reason else { continue };
            let settings =
                control.knowledge().service(&event.service).and_then(|service| service.declared.as_ref());
            let max = settings.map(|declared| declared.bounds(look.sim.clock().wall).max);
            // It has no choice either if its size is not allowed and there is no larger allowed one within the bounds.
            let sizes = settings.and_then(|declared| declared.spec.scale.sizes.as_ref());
            let is_allowed = sizes.is_none_or(|sizes| sizes.allows(*from));
            let is_choice = to < from && is_allowed && max.is_none_or(|max| *from <= max);
            let measured = self.measured.get(&event.service);
            if is_choice && measured.is_none_or(|until| now > *until) {
                return Err(format!(
                    "{} was scaled in from {from} to {to} while nothing of it was measured",
                    event.service
                ));
            }
        }
        Ok(())
    }
}
