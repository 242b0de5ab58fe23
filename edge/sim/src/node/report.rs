//! What the agent and the proxy count, measure and report.

use std::time::Duration;

use model::identity::Ordinal;
use model::input::Report;
use model::time::Time;

use super::{Node, observed};
use crate::environment::Environment;
use crate::site::Site;

/// How long an ended life is in inventories, and refuses starts with its number: as on the platform of processes.
const ENDED_KEPT: Duration = Duration::from_hours(24);

/// An outage of measurements.
#[derive(Clone, Copy, Debug)]
pub(super) struct MetricsOutage {
    until: Time,
    /// Only every second replica is missing.
    is_partial: bool,
}

impl MetricsOutage {
    fn hides(self, ordinal: Ordinal) -> bool {
        !self.is_partial || !ordinal.0.is_multiple_of(2)
    }
}

impl Node {
    /// Counts, measures and reports what is due.
    pub(crate) fn tick(&mut self, environment: &mut Environment) {
        self.ticks += 1;
        for site in &mut self.sites {
            site.tick(environment.now, &mut environment.effects);
        }
        let blind = self.blind.filter(|blind| environment.now < blind.until);
        self.report_traffic(environment, blind);
        if self.ticks.is_multiple_of(2) {
            self.report_usage(environment, blind);
        }
        // Every second.
        if self.ticks.is_multiple_of(4) {
            self.report_latencies(environment, blind);
            self.report_ejected(environment, blind);
            self.report_measured(environment, blind);
        }
        // Every 10 s.
        if self.ticks.is_multiple_of(40) {
            self.sites.iter_mut().for_each(|site| site.forget_ended(environment.now, ENDED_KEPT));
            self.report_inventory(environment);
        }
    }

    /// Nothing is measured for a while, or not of every second replica.
    pub(crate) fn blind(&mut self, until: Time, is_partial: bool) {
        self.blind = Some(MetricsOutage { until, is_partial });
    }

    fn report_traffic(&self, environment: &mut Environment, blind: Option<MetricsOutage>) {
        let traffic = self.sites.iter().flat_map(Site::traffic);
        report(environment, Report::Traffic, traffic.filter(|sample| is_seen(blind, sample.ordinal)));
        if blind.is_none() {
            report(environment, Report::Demand, self.sites.iter().filter_map(Site::demand));
        }
    }

    fn report_usage(&self, environment: &mut Environment, blind: Option<MetricsOutage>) {
        let usage = self.sites.iter().flat_map(Site::usage);
        report(environment, Report::Usage, usage.filter(|sample| is_seen(blind, sample.replica.ordinal)));
    }

    fn report_latencies(&self, environment: &mut Environment, blind: Option<MetricsOutage>) {
        let latencies = self.sites.iter().flat_map(Site::latencies);
        report(environment, Report::Latencies, latencies.filter(|sample| is_seen(blind, sample.ordinal)));
    }

    fn report_ejected(&self, environment: &mut Environment, blind: Option<MetricsOutage>) {
        if blind.is_none() {
            let now = environment.now;
            report(environment, Report::Ejected, self.sites.iter().flat_map(|site| site.ejected(now)));
        }
    }

    /// Sources fail during a partial outage of measurements, and report nothing during a complete one.
    fn report_measured(&self, environment: &mut Environment, blind: Option<MetricsOutage>) {
        if blind.is_none_or(|blind| blind.is_partial) {
            let (now, sees) = (environment.now, blind.is_none());
            let sources = self.sites.iter().filter_map(|site| site.measured(now, sees));
            let outside = self.gauges.iter().map(|gauge| gauge.measured(now, sees));
            report(environment, Report::Measured, sources.chain(outside));
        }
    }

    pub(super) fn report_inventory(&self, environment: &mut Environment) {
        let mut replicas = Vec::new();
        for site in &self.sites {
            replicas.extend(site.places().map(|(ordinal, life)| observed(site, ordinal, life)));
        }
        environment.report(Report::Inventory { node: self.name.clone(), up_to: self.up_to, replicas });
        report(environment, Report::Allotted, self.sites.iter().flat_map(Site::allotted));
    }
}

fn is_seen(blind: Option<MetricsOutage>, ordinal: Ordinal) -> bool {
    blind.is_none_or(|blind| !blind.hides(ordinal))
}

/// Reports the samples, if there are any.
fn report<T>(environment: &mut Environment, kind: fn(Vec<T>) -> Report, samples: impl Iterator<Item = T>) {
    let samples: Vec<T> = samples.collect();
    if !samples.is_empty() {
        environment.report(kind(samples));
    }
}
