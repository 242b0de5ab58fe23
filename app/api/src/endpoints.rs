//! The endpoints and counters of the proxy, as `/v1` shows them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::SocketAddr;

use model::identity::ReplicaId;
use model::name::ServiceName;
use model::time::Wall;
use proxy::{
    AdaptiveState, Counts, Datagrams, Ejection, EndpointState, EndpointTraffic, Histogram, Ramp,
    ServiceTraffic, VersionTraffic, ZonePreference,
};

use crate::timestamps::rfc3339;
use crate::v1;

/// Status classes, in the order of the proxy's counters.
pub(crate) const STATUS_CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// The traffic of each version of a service; empty for a service that the proxy does not know.
pub(crate) fn versions(traffic: &[ServiceTraffic], name: &ServiceName) -> Vec<v1::Version> {
    let service = traffic.iter().find(|it| *it.service == *name.as_str());
    service.map_or_else(Vec::new, |service| service.versions.iter().map(version).collect())
}

fn version(traffic: &VersionTraffic) -> v1::Version {
    v1::Version {
        generation: traffic.version,
        serving_replicas: u32::try_from(traffic.serving).unwrap_or(u32::MAX),
        in_flight: traffic.in_flight,
        counts: request_counts(&traffic.counts),
    }
}

fn request_counts(counts: &Counts) -> v1::RequestCounts {
    let responses = STATUS_CLASSES.iter().zip(counts.status);
    v1::RequestCounts {
        requests: counts.requests,
        responses: responses.map(|(class, count)| ((*class).to_owned(), count)).collect(),
        failures: counts.failures + counts.connect_failures,
        abandoned: counts.abandoned,
        retries: counts.retries,
        request_bytes: counts.bytes_in,
        response_bytes: counts.bytes_out,
        ejections: counts.ejections,
        latency: latency(&counts.durations()),
    }
}

/// The external endpoints of the service `name`, and its preferred zone.
pub(crate) fn external(
    traffic: &[ServiceTraffic],
    name: &ServiceName,
    now: Wall,
) -> (Vec<v1::ElsewhereEndpoint>, Option<v1::PreferredZone>) {
    let service = traffic.iter().find(|it| *it.service == *name.as_str());
    service.map(|service| external_of(service, now)).unwrap_or_default()
}

/// The external endpoints of a service, and its preferred zone.
pub(crate) fn external_of(
    service: &ServiceTraffic,
    now: Wall,
) -> (Vec<v1::ElsewhereEndpoint>, Option<v1::PreferredZone>) {
    let mut all: BTreeMap<SocketAddr, EndpointTraffic> = BTreeMap::new();
    for it in &service.elsewhere {
        // An endpoint that was removed and declared again while its requests drained is shown once.
        match all.entry(it.address) {
            Entry::Vacant(entry) => drop(entry.insert(it.clone())),
            Entry::Occupied(mut entry) => {
                entry.get_mut().in_flight += it.in_flight;
                entry.get_mut().counts.merge(&it.counts);
            }
        }
    }
    let zone = service.preference.as_ref().map(|ZonePreference { zone, share }| v1::PreferredZone {
        name: zone.to_string(),
        share: f64::from(share.hundredths_of_percent()) / 10_000.0,
    });
    (all.values().map(|it| external_endpoint(it, now)).collect(), zone)
}

fn external_endpoint(it: &EndpointTraffic, now: Wall) -> v1::ElsewhereEndpoint {
    let (state, message) = match it.state {
        EndpointState::Serving => serving_state(it, "endpoint", now),
        EndpointState::Draining | EndpointState::Out => ("Out", Some(draining_message(it))),
    };
    v1::ElsewhereEndpoint {
        address: it.address.to_string(),
        zone: it.zone.as_deref().map(str::to_owned),
        weight: it.weight.get().into(),
        state: state.to_owned(),
        message,
        in_flight: it.in_flight,
        counts: request_counts(&it.counts),
    }
}

/// The state of a serving endpoint and why it gets less than its full share. `noun` says what it is: a replica, or an endpoint.
fn serving_state(it: &EndpointTraffic, noun: &str, now: Wall) -> (&'static str, Option<String>) {
    match it.ejection {
        Some(ejected) => ("Ejected", Some(why_ejected(ejected, noun, now))),
        None if it.ramp < Ramp::FULL => {
            ("SlowStart", Some(format!("it is new and gets {} % of its share", it.ramp.percent())))
        }
        None => ("Serving", None),
    }
}

/// The latency of responses and abandoned requests; `None` without any.
pub(crate) fn latency(histogram: &Histogram) -> Option<v1::Latency> {
    let seconds = |quantile| histogram.quantile(quantile).map(|latency| latency.as_secs_f64());
    Some(v1::Latency { p50_seconds: seconds(0.5)?, p90_seconds: seconds(0.9)?, p99_seconds: seconds(0.99)? })
}

/// The proxy's counters of the service `name`; `None` for one that it does not know.
pub(crate) fn counters(traffic: &[ServiceTraffic], name: &ServiceName) -> Option<v1::Proxied> {
    traffic.iter().find(|it| *it.service == *name.as_str()).map(counters_of)
}

/// The proxy's counters of a service.
pub(crate) fn counters_of(traffic: &ServiceTraffic) -> v1::Proxied {
    v1::Proxied {
        refused: v1::Refused {
            no_replica: traffic.unavailable,
            over_limit: traffic.over_limit,
            shed: traffic.shed,
        },
        counts: request_counts(&traffic.counts),
        hedges: traffic.hedges,
        hedges_won: traffic.hedges_won,
        waiting: traffic.waiting,
        datagrams: traffic.datagrams.map(datagrams),
        adaptive: traffic.adaptive.map(adaptive),
    }
}

fn datagrams(counters: Datagrams) -> v1::Datagrams {
    let Datagrams { received, sent, dropped, bytes_received, bytes_sent, sessions } = counters;
    v1::Datagrams { received, bytes_received, sent, bytes_sent, dropped, sessions }
}

fn adaptive(state: AdaptiveState) -> v1::Adaptive {
    let AdaptiveState { limit, awaiting, best } = state;
    v1::Adaptive { limit, awaiting, best_latency_seconds: best.map(|best| best.as_secs_f64()) }
}

/// The state of a replica in the proxy, and why it gets less than its full share of requests.
pub(crate) fn endpoint(
    traffic: &[ServiceTraffic],
    replica: &ReplicaId,
    status: &v1::ReplicaStatus,
    now: Wall,
) -> Option<v1::Endpoint> {
    let service = traffic.iter().find(|it| *it.service == *replica.service.as_str())?;
    let is_this_life =
        |it: &&EndpointTraffic| (it.id.ordinal, it.id.incarnation) == (replica.ordinal.0, status.incarnation);
    let endpoint = service.endpoints.iter().find(is_this_life);
    let (state, message) = match endpoint.map(|it| (it, it.state)) {
        None | Some((_, EndpointState::Out)) => ("Out", Some(why_out(status))),
        Some((it, EndpointState::Draining)) => ("Draining", Some(draining_message(it))),
        Some((it, EndpointState::Serving)) => serving_state(it, "replica", now),
    };
    let counts = endpoint.map(|it| request_counts(&it.counts)).unwrap_or_default();
    Some(v1::Endpoint { state: state.into(), message, counts })
}

fn draining_message(endpoint: &EndpointTraffic) -> String {
    format!("it gets no new requests and still answers {}", endpoint.in_flight)
}

fn why_out(status: &v1::ReplicaStatus) -> String {
    match &status.message {
        _ if status.ready && status.role == "spare" => {
            "it is a spare and gets requests only in place of another replica".into()
        }
        Some(message) => format!("it is not ready: {message}"),
        None if status.ready => "it is ready, and the proxy does not know it yet".into(),
        None => "it is not ready".into(),
    }
}

/// Times are cut to tenths of a second, so that the message is the same in each response.
fn why_ejected(ejected: Ejection, noun: &str, now: Wall) -> String {
    let time = |ms: u128| {
        let tenths = u64::try_from(ms.div_euclid(100)).unwrap_or(u64::MAX);
        rfc3339(Wall::from_millis(tenths.saturating_mul(100)))
    };
    let now_ms = u128::from(now.as_millis());
    let since = time(now_ms.saturating_sub(ejected.ago.as_millis()));
    let until = time(now_ms + ejected.left.as_millis());
    let times = ejected.times;
    let why = ejected.cause;
    format!("{why}: it is ejected from {since} to {until}, ejection {times} of this {noun}")
}

#[cfg(test)]
mod tests {
    use proxy::{EndpointId, Weight};

    use super::*;

    #[test]
    fn a_removed_external_endpoint_is_out_and_still_answers() {
        let removed = EndpointTraffic {
            id: EndpointId { ordinal: 0, incarnation: 1 },
            address: ([10, 0, 0, 7], 80).into(),
            zone: Some("b".into()),
            weight: Weight::ONE,
            state: EndpointState::Out,
            ejection: None,
            ramp: Ramp::FULL,
            in_flight: 2,
            counts: Counts::default(),
        };
        let shown = external_endpoint(&removed, Wall::default());
        assert_eq!((shown.state.as_str(), shown.zone.as_deref()), ("Out", Some("b")));
        assert_eq!(shown.message.as_deref(), Some("it gets no new requests and still answers 2"));
    }
}
