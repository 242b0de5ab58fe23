//! Reports the latencies of replicas whose service has a latency SLO.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::identity::{Incarnation, Ordinal};
use model::input::{Declared, Input, Report};
use model::latency::{LATENCY_CLASS_IN_TIME, LATENCY_CLASSES, Latencies, class_of};
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
    let counts = &endpoint.counts;
    let mut latencies = Latencies {
        service: name.clone(),
        ordinal: Ordinal(endpoint.id.ordinal),
        incarnation: Incarnation(endpoint.id.incarnation),
        threshold,
        failed: counts.failed_attempts(),
        answered: by_class(&counts.latency, threshold),
    };
    add_abandoned(&mut latencies, counts.abandoned_after.iter().flat_map(Histogram::buckets));
    latencies
}

/// Adds abandoned requests, given as buckets of the times that their clients had waited: the latency would have been at least that.
///
/// After the threshold a request is late, whatever would have come. Shortly before, it was likely to become late, so it is no evidence that
/// the replica carries its load: it counts as failed. A request that was abandoned early says nothing about its latency, and is left out:
/// users who leave a page or type on in a search field must not keep a replica from being measured.
fn add_abandoned(latencies: &mut Latencies, waited: impl Iterator<Item = (Duration, u64)>) {
    let threshold = latencies.threshold;
    // The end of a bucket, so that clients that give up at the threshold itself are late.
    for (end, count) in waited.filter(|(_, count)| *count > 0) {
        let class = class_of(end, threshold);
        if class > LATENCY_CLASS_IN_TIME {
            latencies.answered[class] += count;
        } else if end * 2 >= threshold {
            latencies.failed += count;
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    const THRESHOLD: Duration = Duration::from_millis(500);

    /// What is reported of a replica with 100 fast answers and 50 requests that were abandoned after this time.
    fn with_abandoned_after(waited_ms: u64) -> Latencies {
        let mut answered = [0; LATENCY_CLASSES];
        answered[0] = 100;
        let mut latencies = Latencies {
            service: ServiceName::parse("shop").expect("a name"),
            ordinal: Ordinal(0),
            incarnation: Incarnation(1),
            threshold: THRESHOLD,
            failed: 0,
            answered,
        };
        add_abandoned(&mut latencies, [(Duration::from_millis(waited_ms), 50)].into_iter());
        latencies
    }

    #[test]
    fn requests_abandoned_after_the_threshold_are_late() {
        let latencies = with_abandoned_after(2000);
        assert_eq!((latencies.total(), latencies.failed), (150, 0));
        assert!(latencies.class_of_quantile(950_000).is_some_and(|class| class > LATENCY_CLASS_IN_TIME));
    }

    #[test]
    fn requests_abandoned_shortly_before_the_threshold_are_not_carried() {
        let latencies = with_abandoned_after(400);
        assert_eq!((latencies.total(), latencies.failed), (100, 50));
    }

    #[test]
    fn requests_abandoned_early_say_nothing() {
        let latencies = with_abandoned_after(20);
        assert_eq!((latencies.total(), latencies.failed), (100, 0));
    }
}
