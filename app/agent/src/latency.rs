//! Reports the latencies of replicas whose service has a latency SLO.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::identity::{Incarnation, Ordinal};
use model::input::{Declared, Input, Report};
use model::latency::{LATENCY_CLASSES, Latencies, class_of};
use model::name::ServiceName;
use proxy::{EndpointTraffic, Histogram};

use crate::shared::Shared;

/// Reports the latencies of each replica since it was started.
pub(crate) fn report(shared: &Shared) {
    let thresholds = thresholds(shared);
    if thresholds.is_empty() {
        return;
    }
    let mut latencies = Vec::new();
    for traffic in shared.table.traffic() {
        let Some((name, threshold)) = thresholds.get(&traffic.service) else { continue };
        let of_endpoints = traffic.endpoints.iter().map(|endpoint| latencies_of(name, *threshold, endpoint));
        latencies.extend(of_endpoints);
    }
    if !latencies.is_empty() {
        shared.report(Input::Report(Report::Latencies(latencies)));
    }
}

/// The latency of the SLO of each service that has one, by its name in the proxy.
fn thresholds(shared: &Shared) -> BTreeMap<Arc<str>, (ServiceName, Duration)> {
    let node = shared.known();
    let thresholds = node.services.iter().filter_map(|(name, service)| {
        let exposed = service.exposed.as_deref().and_then(Declared::slo);
        let slo = exposed.or_else(|| service.routed.as_ref()?.scale.slo())?;
        Some((Arc::from(name.as_str()), (name.clone(), slo.latency.below.as_duration())))
    });
    thresholds.collect()
}

fn latencies_of(name: &ServiceName, threshold: Duration, endpoint: &EndpointTraffic) -> Latencies {
    Latencies {
        service: name.clone(),
        ordinal: Ordinal(endpoint.id.ordinal),
        incarnation: Incarnation(endpoint.id.incarnation),
        threshold,
        failed: endpoint.counts.failed_attempts(),
        answered: by_class(&endpoint.counts.latency, threshold),
    }
}

/// Counts each bucket of the histogram in the class of its middle. The bounds of a bucket are at most an eighth apart.
fn by_class(histogram: &Histogram, threshold: Duration) -> [u64; LATENCY_CLASSES] {
    let (mut answered, mut begin) = ([0; LATENCY_CLASSES], Duration::ZERO);
    for (end, count) in histogram.buckets() {
        if count > 0 {
            answered[class_of((begin + end) / 2, threshold)] += count;
        }
        begin = end;
    }
    answered
}
