//! Reports the proxy's counters: traffic and ejections of replicas, and demand of services.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::identity::{Incarnation, Ordinal};
use model::input::{Declared, Demand, Input, Report, Traffic};
use model::name::ServiceName;
use model::resource::{ForecastMode, ServiceSpec};
use proxy::{EndpointTraffic, Histogram, ServiceLoad, ServiceTraffic};

use crate::balancers::ExternalRequests;
use crate::ejections::{self, EjectedEndpoints};
use crate::latency;
use crate::reports::ticker;
use crate::shared::Shared;

/// The interval of traffic reports: the loop sees a rise within this time.
const TRAFFIC_INTERVAL: Duration = Duration::from_millis(250);

/// How many unchanged reports in a row are left out. A longer silence would look like a broken sensor.
const TRAFFIC_SILENCE_MAX: u32 = 3;

/// The interval of latency reports in ticks: a second, so that a window of five seconds is accurate to a fifth.
const LATENCY_TICKS: u32 = 4;

/// The interval of reports of ejected replicas, in ticks, while there are any.
const EJECTED_TICKS: u32 = 4;

/// Reports the counters of the proxy until the agent ends.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut ticker = ticker(TRAFFIC_INTERVAL);
    let (mut last, mut ticks) = (LastReports::default(), 0_u32);
    let mut ejected = EjectedEndpoints::default();
    loop {
        // Both are cancel safe: a tick or a notification that was missed comes with the next call.
        let is_tick = tokio::select! {
            _ = ticker.tick() => true,
            () = shared.table.until_request_waits() => false,
        };
        let demand = read_demand(&shared);
        if !is_tick {
            // The first request that waits for a service without replicas is reported at once, others with the next tick.
            if last.demand.is_urgent(&demand) {
                report_demand(&shared, &mut last.demand, demand);
            }
            continue;
        }
        ticks = ticks.wrapping_add(1);
        if ticks.is_multiple_of(LATENCY_TICKS) {
            latency::report(&shared);
        }
        if last.demand.is_due(&demand) {
            report_demand(&shared, &mut last.demand, demand);
        }
        let all = shared.table.traffic();
        ejected.observe(&all, &shared.loop_handle);
        if ticks.is_multiple_of(EJECTED_TICKS) {
            ejections::report(&shared, &all);
        }
        let report = read_traffic(&shared, &mut last, all);
        let has_changed = report.iter().map(counters).ne(last.report.iter().map(counters));
        last.silent_for = if has_changed { 0 } else { last.silent_for + 1 };
        if report.is_empty() || (last.silent_for > 0 && last.silent_for <= TRAFFIC_SILENCE_MAX) {
            continue;
        }
        last.silent_for = 0;
        last.report.clone_from(&report);
        shared.report(Input::Report(Report::Traffic(report)));
    }
}

/// The latest reports, to detect changes.
#[derive(Default)]
struct LastReports {
    latency: BTreeMap<(Arc<str>, balance::EndpointId), Histogram>,
    report: Vec<Traffic>,
    silent_for: u32,
    demand: LastDemand,
}

/// The latest report of demand.
#[derive(Default)]
struct LastDemand {
    report: Vec<Demand>,
    silent_for: u32,
}

impl LastDemand {
    /// Whether a request waits for a service for which none waited before.
    fn is_urgent(&self, demand: &[Demand]) -> bool {
        let waited = |service: &ServiceName| {
            self.report.iter().any(|before| before.service == *service && before.waiting > 0)
        };
        demand.iter().any(|now| now.waiting > 0 && !waited(&now.service))
    }

    /// Whether demand is to be reported with this tick: when it has changed, or has been left out often enough.
    fn is_due(&mut self, demand: &[Demand]) -> bool {
        self.silent_for += 1;
        !demand.is_empty() && (self.report != demand || self.silent_for > TRAFFIC_SILENCE_MAX)
    }
}

fn report_demand(shared: &Shared, last: &mut LastDemand, demand: Vec<Demand>) {
    *last = LastDemand { report: demand.clone(), silent_for: 0 };
    shared.report(Input::Report(Report::Demand(demand)));
}

/// The demand of services that may scale to zero, and of those whose load is forecast.
fn read_demand(shared: &Shared) -> Vec<Demand> {
    let needs_demand = |declared: &Arc<Declared>| {
        declared.spec.scale.to_zero.is_some() || declared.forecast_mode() != ForecastMode::Off
    };
    let names: Vec<ServiceName> = {
        let node = shared.known();
        let may_scale_to_zero = |spec: &Arc<ServiceSpec>| spec.scale.to_zero.is_some();
        let reported = node.services.iter().filter(|(_, service)| {
            service.exposed.as_ref().is_some_and(needs_demand)
                || service.routed.as_ref().is_some_and(may_scale_to_zero)
        });
        reported.map(|(name, _)| name.clone()).collect()
    };
    let demand = |name: ServiceName| {
        let load = shared.table.load(name.as_str())?;
        let ServiceLoad { requests, waiting, in_flight } = load;
        Some(Demand { service: name, requests, waiting, in_flight })
    };
    names.into_iter().filter_map(demand).collect()
}

fn counters(traffic: &Traffic) -> (&ServiceName, Ordinal, Incarnation, u64, u64, u32) {
    let Traffic { service, ordinal, incarnation, requests, errors, in_flight, .. } = traffic;
    (service, *ordinal, *incarnation, *requests, *errors, *in_flight)
}

fn read_traffic(shared: &Shared, last: &mut LastReports, all: Vec<ServiceTraffic>) -> Vec<Traffic> {
    let mut latency = BTreeMap::new();
    let mut external = ExternalRequests::default();
    let mut report = Vec::new();
    let now = shared.loop_handle.now().time;
    shared.errors().record(now, all.iter().map(|service| (&service.service, service.errors())));
    let routes = shared.table.route_traffic();
    shared.route_rates().record(now, routes.iter().map(|route| (&route.route, route.requests)));
    for service in all {
        // The agent gave these names to the proxy, so they are valid.
        let Ok(name) = ServiceName::parse(&service.service) else { continue };
        for endpoint in service.endpoints {
            let key = (Arc::clone(&service.service), endpoint.id);
            let durations = endpoint.counts.durations();
            let window = match last.latency.get(&key) {
                Some(earlier) => durations.since(earlier),
                None => durations.clone(),
            };
            report.push(Traffic {
                in_flight: endpoint.in_flight + external.in_flight(shared, &name, &endpoint),
                ..sample(name.clone(), &endpoint, &window)
            });
            latency.insert(key, durations);
        }
    }
    last.latency = latency;
    report
}

/// Reports the counters of one service immediately, so that a drained replica is stopped without waiting for the next tick.
pub(crate) fn report_service(shared: &Shared, name: &ServiceName) {
    let Some(traffic) = shared.table.traffic_of(name.as_str()) else { return };
    let mut external = ExternalRequests::default();
    let sample_of = |endpoint: &EndpointTraffic| Traffic {
        in_flight: endpoint.in_flight + external.in_flight(shared, name, endpoint),
        ..sample(name.clone(), endpoint, &Histogram::default())
    };
    let samples: Vec<Traffic> = traffic.endpoints.iter().map(sample_of).collect();
    if !samples.is_empty() {
        shared.report(Input::Report(Report::Traffic(samples)));
    }
}

fn sample(service: ServiceName, endpoint: &EndpointTraffic, window: &Histogram) -> Traffic {
    let counts = &endpoint.counts;
    Traffic {
        service,
        ordinal: Ordinal(endpoint.id.ordinal),
        incarnation: Incarnation(endpoint.id.incarnation),
        requests: counts.requests.saturating_sub(u64::from(endpoint.in_flight)),
        errors: counts.failed_attempts(),
        in_flight: endpoint.in_flight,
        latency_p99: window.quantile(0.99).unwrap_or_default(),
    }
}
