//! Reports of what the proxy counts: traffic and ejections of replicas, demand of services.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::identity::{Incarnation, Ordinal, ReplicaId};
use model::input::{Declared, Demand, Ejected, Input, Report, Traffic};
use model::name::ServiceName;
use model::resource::{ForecastMode, ServiceSpec};
use proxy::{EndpointTraffic, Histogram, ServiceLoad, ServiceTraffic};

use crate::agent::Inner;
use crate::balancers::Elsewhere;
use crate::latency;
use crate::report::{beat, tell};

/// From one report of traffic to the next: the loop sees a rise within this time.
const TRAFFIC_EVERY: Duration = Duration::from_millis(250);

/// An unchanged report is left out at most so many times in a row: silence must not look like a broken sensor.
const TRAFFIC_SILENCE_MAX: u32 = 3;

/// From one report of latencies to the next, in beats: a second, so that a window of five seconds ends on time to a fifth.
const LATENCIES_EVERY: u32 = 4;

/// From one report of ejected replicas to the next, in beats, while there are any.
const EJECTED_EVERY: u32 = 4;

/// Reports what the proxy counts, until the agent ends.
pub(crate) async fn run(inner: Arc<Inner>) {
    let mut beat = beat(TRAFFIC_EVERY);
    let (mut last, mut beats) = (Last::default(), 0_u32);
    loop {
        // Both are cancel safe: a beat or a notice that was not waited for comes with the next call.
        let is_beat = tokio::select! {
            _ = beat.tick() => true,
            () = inner.table.until_request_waits() => false,
        };
        let demand = read_demand(&inner);
        if !is_beat {
            // The first request that wakes a resting service is reported at once, others with the next beat.
            if last.demand.wakes(&demand) {
                tell_demand(&inner, &mut last.demand, demand);
            }
            continue;
        }
        beats = beats.wrapping_add(1);
        if beats.is_multiple_of(LATENCIES_EVERY) {
            latency::report(&inner);
        }
        if last.demand.is_due(&demand) {
            tell_demand(&inner, &mut last.demand, demand);
        }
        let all = inner.table.traffic();
        if beats.is_multiple_of(EJECTED_EVERY) {
            tell_ejected(&inner, &all);
        }
        let report = read_traffic(&inner, &mut last, all);
        let is_news = report.iter().map(counters).ne(last.report.iter().map(counters));
        last.silent_for = if is_news { 0 } else { last.silent_for + 1 };
        if report.is_empty() || (last.silent_for > 0 && last.silent_for <= TRAFFIC_SILENCE_MAX) {
            continue;
        }
        last.silent_for = 0;
        last.report.clone_from(&report);
        tell(&inner, Input::Report(Report::Traffic(report)));
    }
}

/// The last reports, to tell a change from none.
#[derive(Default)]
struct Last {
    latency: BTreeMap<(Arc<str>, balance::EndpointId), Histogram>,
    report: Vec<Traffic>,
    silent_for: u32,
    demand: LastDemand,
}

/// The demand that was reported last.
#[derive(Default)]
struct LastDemand {
    report: Vec<Demand>,
    silent_for: u32,
}

impl LastDemand {
    /// Whether a request waits where none did.
    fn wakes(&self, demand: &[Demand]) -> bool {
        let waited = |service: &ServiceName| {
            self.report.iter().any(|before| before.service == *service && before.waiting > 0)
        };
        demand.iter().any(|now| now.waiting > 0 && !waited(&now.service))
    }

    /// Whether it is to be reported with this beat: when it has changed, or has been silent for long enough.
    fn is_due(&mut self, demand: &[Demand]) -> bool {
        self.silent_for += 1;
        !demand.is_empty() && (self.report != demand || self.silent_for > TRAFFIC_SILENCE_MAX)
    }
}

fn tell_demand(inner: &Inner, last: &mut LastDemand, demand: Vec<Demand>) {
    *last = LastDemand { report: demand.clone(), silent_for: 0 };
    tell(inner, Input::Report(Report::Demand(demand)));
}

/// The demand of services that may rest, and of those whose load is forecast.
fn read_demand(inner: &Inner) -> Vec<Demand> {
    let is_told = |declared: &Arc<Declared>| {
        declared.spec.scale.to_zero.is_some() || declared.forecast_mode() != ForecastMode::Off
    };
    let names: Vec<ServiceName> = {
        let node = inner.known();
        let may_rest = |spec: &Arc<ServiceSpec>| spec.scale.to_zero.is_some();
        let told = node.services.iter().filter(|(_, service)| {
            service.exposed.as_ref().is_some_and(is_told) || service.routed.as_ref().is_some_and(may_rest)
        });
        told.map(|(name, _)| name.clone()).collect()
    };
    let demand = |name: ServiceName| {
        let load = inner.table.load(name.as_str())?;
        let ServiceLoad { requests, waiting, in_flight } = load;
        Some(Demand { service: name, requests, waiting, in_flight })
    };
    names.into_iter().filter_map(demand).collect()
}

fn counters(traffic: &Traffic) -> (&ServiceName, Ordinal, Incarnation, u64, u64, u32) {
    let Traffic { service, ordinal, incarnation, requests, errors, in_flight, .. } = traffic;
    (service, *ordinal, *incarnation, *requests, *errors, *in_flight)
}

/// Reports the ejected replicas, while there are any.
fn tell_ejected(inner: &Inner, all: &[ServiceTraffic]) {
    let ejected: Vec<Ejected> = all.iter().flat_map(ejected_of).collect();
    if !ejected.is_empty() {
        tell(inner, Input::Report(Report::Ejected(ejected)));
    }
}

fn ejected_of(service: &ServiceTraffic) -> impl Iterator<Item = Ejected> {
    let name = ServiceName::parse(&service.service).ok();
    let endpoints = service.endpoints.iter().filter(|endpoint| endpoint.is_ejected());
    endpoints.filter_map(move |endpoint| {
        let replica = ReplicaId { service: name.clone()?, ordinal: Ordinal(endpoint.id.ordinal) };
        Some(Ejected { replica, incarnation: Incarnation(endpoint.id.incarnation) })
    })
}

fn read_traffic(inner: &Inner, last: &mut Last, all: Vec<ServiceTraffic>) -> Vec<Traffic> {
    let mut latency = BTreeMap::new();
    let mut elsewhere = Elsewhere::default();
    let mut report = Vec::new();
    let now = inner.loop_handle.now().time;
    inner.errors().take(now, all.iter().map(|service| (&service.service, service.errors())));
    let routes = inner.table.route_traffic();
    inner.route_rates().take(now, routes.iter().map(|route| (&route.route, route.requests)));
    for service in all {
        // The proxy's names are those that the agent gave it.
        let Ok(name) = ServiceName::parse(&service.service) else { continue };
        for endpoint in service.endpoints {
            let key = (Arc::clone(&service.service), endpoint.id);
            let window = match last.latency.get(&key) {
                Some(earlier) => endpoint.counts.latency.since(earlier),
                None => endpoint.counts.latency.clone(),
            };
            report.push(Traffic {
                in_flight: endpoint.in_flight + elsewhere.under_way(inner, &name, &endpoint),
                ..sample(name.clone(), &endpoint, &window)
            });
            latency.insert(key, endpoint.counts.latency);
        }
    }
    last.latency = latency;
    report
}

/// Reports the counters of one service between two beats, so that a drained replica is stopped without waiting for the next.
pub(crate) fn report_service(inner: &Inner, name: &ServiceName) {
    let all = inner.table.traffic();
    let mut elsewhere = Elsewhere::default();
    let samples: Vec<Traffic> = all
        .iter()
        .filter(|service| *service.service == *name.as_str())
        .flat_map(|service| &service.endpoints)
        .map(|endpoint| Traffic {
            in_flight: endpoint.in_flight + elsewhere.under_way(inner, name, endpoint),
            ..sample(name.clone(), endpoint, &Histogram::default())
        })
        .collect();
    if !samples.is_empty() {
        tell(inner, Input::Report(Report::Traffic(samples)));
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
