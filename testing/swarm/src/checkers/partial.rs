//! Missing is not zero: a service without measurements is not scaled in.

use std::collections::BTreeMap;
use std::time::Duration;

use model::event::EventKind;
use model::input::{Input, Report};
use model::measure::MeasurementResult;
use model::name::ServiceName;
use model::reason::Reason;
use model::time::Time;

use super::{Checker, View};

/// The greatest age of a valid sample: twice what the loop allows, so that a late sample is not counted as a violation.
const SAMPLE_AGE_MAX: Duration = Duration::from_secs(4);

/// A source's measurement is valid for as long as its declaration says, and one period of the loop longer.
const PERIOD: Duration = Duration::from_secs(1);

/// No service is scaled in by its autoscaler while none of its replicas is measured.
#[derive(Debug, Default)]
pub(crate) struct Partial {
    /// Until when the measurements of a service are valid.
    measured: BTreeMap<ServiceName, Time>,
}

impl Partial {
    /// Notes which services a report measures; called for every step.
    pub(crate) fn note_measurements<'a>(&mut self, view: &View<'a>) {
        let now = view.sim.now();
        let mut latest = None;
        let mut measured = |service: &'a ServiceName, valid_for: Duration| {
            // The replicas of a service are next to each other in a report.
            if latest.replace(service) == Some(service) {
                return;
            }
            let until = now + valid_for;
            match self.measured.get_mut(service) {
                Some(known) => *known = until.max(*known),
                None => {
                    self.measured.insert(service.clone(), until);
                }
            }
        };
        match view.input() {
            Some(Input::Report(Report::Usage(samples))) => {
                samples.iter().for_each(|sample| measured(&sample.replica.service, SAMPLE_AGE_MAX));
            }
            Some(Input::Report(Report::Traffic(samples))) => {
                samples.iter().for_each(|sample| measured(&sample.service, SAMPLE_AGE_MAX));
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

    fn check(&mut self, view: &View<'_>) -> Result<(), String> {
        let now = view.sim.now();
        let Some(control) = view.control() else { return Ok(()) };
        for event in view.sim.out().events.iter().filter(|event| event.kind == EventKind::Scaled) {
            let Reason::Autoscaled { from, to, .. } = &event.reason else { continue };
            let settings =
                control.knowledge().service(&event.service).and_then(|service| service.declared.as_ref());
            let max = settings.map(|declared| declared.bounds(view.sim.clock().wall).max);
            // A size above the bounds, or one that is not allowed, has to change even without measurements.
            let sizes = settings.and_then(|declared| declared.spec.scale.sizes.as_ref());
            let is_allowed = sizes.is_none_or(|sizes| sizes.allows(*from));
            let is_choice = to < from && is_allowed && max.is_none_or(|max| *from <= max);
            let measured = self.measured.get(&event.service);
            if is_choice && measured.is_none_or(|until| now > *until) {
                return Err(format!(
                    "{} was scaled in from {from} to {to} while none of it was measured",
                    event.service
                ));
            }
        }
        Ok(())
    }
}
