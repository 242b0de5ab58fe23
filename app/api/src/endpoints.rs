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

/// Classes of statuses, in the order of the proxy's counters.
pub(crate) const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// The traffic of each version of a service; empty for a service that the proxy does not know.
pub(crate) fn versions(traffic: &[ServiceTraffic], name: &ServiceName) -> Vec<v1::Version> {
    let service = traffic.iter().find(|it| *it.service == *name.as_str());
    service.map_or_else(Vec::new, |service| service.versions.iter().map(version).collect())
}

fn version(traffic: &VersionTraffic) -> v1::Version {
    let counts = &traffic.counts;
    v1::Version {
        generation: traffic.version,
        serving_replicas: u32::try_from(traffic.serving).unwrap_or(u32::MAX),
        requests: counts.requests,
        responses: responses(counts),
        failures: counts.failures + counts.connect_failures,
        latency: latency(&counts.latency),
    }
}

fn responses(counts: &Counts) -> BTreeMap<String, u64> {
    CLASSES.iter().zip(counts.status).map(|(class, count)| ((*class).to_owned(), count)).collect()
}

/// The external endpoints of a service, and the preferred zone.
pub(crate) fn elsewhere(
    traffic: &[ServiceTraffic],
    name: &ServiceName,
    now: Wall,
) -> (Vec<v1::ElsewhereEndpoint>, Option<v1::PreferredZone>) {
    let service = traffic.iter().find(|it| *it.service == *name.as_str());
    service.map(|service| others(service, now)).unwrap_or_default()
}

/// The same, of this service.
pub(crate) fn others(
    service: &ServiceTraffic,
    now: Wall,
) -> (Vec<v1::ElsewhereEndpoint>, Option<v1::PreferredZone>) {
    let mut all: BTreeMap<SocketAddr, EndpointTraffic> = BTreeMap::new();
    for it in &service.elsewhere {
        // One that was declared again while it still answered what came before is one to people.
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
    (all.values().map(|it| other(it, now)).collect(), zone)
}

fn other(it: &EndpointTraffic, now: Wall) -> v1::ElsewhereEndpoint {
    let (state, message) = match it.state {
        EndpointState::Serving => serving(it, "endpoint", now),
        EndpointState::Draining | EndpointState::Out => {
            ("Out", Some(format!("it gets no new requests and still answers {}", it.in_flight)))
        }
    };
    v1::ElsewhereEndpoint {
        address: it.address.to_string(),
        zone: it.zone.as_deref().map(str::to_owned),
        weight: it.weight.get().into(),
        state: state.to_owned(),
        message,
        in_flight: it.in_flight,
        requests: it.counts.requests,
        responses: responses(&it.counts),
        failures: it.counts.failures + it.counts.connect_failures,
        latency: latency(&it.counts.latency),
    }
}

/// An endpoint as the proxy sees it: a replica, or an external one.
fn serving(it: &EndpointTraffic, whose: &str, now: Wall) -> (&'static str, Option<String>) {
    match it.ejection {
        Some(ejected) => ("Ejected", Some(why_ejected(ejected, whose, now))),
        None if it.ramp < Ramp::FULL => {
            ("SlowStart", Some(format!("it is new and gets {} % of its share", it.ramp.percent())))
        }
        None => ("Serving", None),
    }
}

/// The latencies of responses; `None` without any.
pub(crate) fn latency(histogram: &Histogram) -> Option<v1::Latency> {
    let seconds = |quantile| histogram.quantile(quantile).map(|latency| latency.as_secs_f64());
    Some(v1::Latency { p50_seconds: seconds(0.5)?, p90_seconds: seconds(0.9)?, p99_seconds: seconds(0.99)? })
}

/// The proxy's counters of a service; `None` for one that it does not know.
pub(crate) fn service(traffic: &[ServiceTraffic], name: &ServiceName) -> Option<v1::Proxied> {
    traffic.iter().find(|it| *it.service == *name.as_str()).map(of)
}

/// The proxy's counters of this service.
pub(crate) fn of(traffic: &ServiceTraffic) -> v1::Proxied {
    v1::Proxied {
        refused: v1::Refused {
            no_replica: traffic.unavailable,
            over_limit: traffic.over_limit,
            shed: traffic.shed,
        },
        retries: traffic.counts.retries,
        hedges: traffic.hedges,
        hedges_won: traffic.hedges_won,
        waiting: traffic.waiting,
        datagrams: traffic.datagrams.map(datagrams),
        adaptive: traffic.adaptive.map(adaptive),
    }
}

fn datagrams(found: Datagrams) -> v1::Datagrams {
    let Datagrams { received, sent, dropped, bytes_received, bytes_sent, sessions } = found;
    v1::Datagrams { received, bytes_received, sent, bytes_sent, dropped, sessions }
}

fn adaptive(found: AdaptiveState) -> v1::Adaptive {
    let AdaptiveState { limit, awaiting, best } = found;
    v1::Adaptive { limit, awaiting, best_latency_seconds: best.map(|best| best.as_secs_f64()) }
}

/// A replica as the proxy sees it, and why it does not get its whole share of requests.
pub(crate) fn endpoint(
    traffic: &[ServiceTraffic],
    replica: &ReplicaId,
    status: &v1::ReplicaStatus,
    now: Wall,
) -> Option<v1::Endpoint> {
    let service = traffic.iter().find(|it| *it.service == *replica.service.as_str())?;
    let is_it =
        |it: &&EndpointTraffic| (it.id.ordinal, it.id.incarnation) == (replica.ordinal.0, status.incarnation);
    let said = |state: &str, message: Option<String>| v1::Endpoint { state: state.into(), message };
    let endpoint = match service.endpoints.iter().find(is_it) {
        None => said("Out", Some(why_out(status))),
        Some(it) => match it.state {
            EndpointState::Out => said("Out", Some(why_out(status))),
            EndpointState::Draining => {
                let left = it.in_flight;
                said("Draining", Some(format!("it gets no new requests and still answers {left}")))
            }
            EndpointState::Serving => {
                let (state, message) = serving(it, "replica", now);
                said(state, message)
            }
        },
    };
    Some(endpoint)
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

/// In tenths of seconds, so that an ejection reads the same in each response.
fn why_ejected(ejected: Ejection, whose: &str, now: Wall) -> String {
    let at = |ms: u128| {
        let tenths = u64::try_from(ms.div_euclid(100)).unwrap_or(u64::MAX);
        rfc3339(Wall::from_millis(tenths.saturating_mul(100)))
    };
    let now_ms = u128::from(now.as_millis());
    let since = at(now_ms.saturating_sub(ejected.ago.as_millis()));
    let until = at(now_ms + ejected.left.as_millis());
    let times = ejected.times;
    let why = ejected.cause;
    format!("{why}: it is ejected from {since} to {until}, ejection {times} of this {whose}")
}

#[cfg(test)]
mod tests {
    use proxy::{EndpointId, Weight};

    use super::*;

    #[test]
    fn one_that_has_left_is_said_to_answer_on_whatever_the_reason() {
        let left = EndpointTraffic {
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
        let shown = other(&left, Wall::default());
        assert_eq!((shown.state.as_str(), shown.zone.as_deref()), ("Out", Some("b")));
        assert_eq!(shown.message.as_deref(), Some("it gets no new requests and still answers 2"));
    }
}
