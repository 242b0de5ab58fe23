//! Ejections by the proxy: events for people, and reports to the loop.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use balance::EndpointId;
use model::event::EventKind;
use model::identity::{Incarnation, Ordinal, ReplicaId};
use model::input::{Ejected, Input, Report};
use model::name::ServiceName;
use model::time::Wall;
use orchestrator::Handle;
use proxy::{Ejection, EndpointState, EndpointTraffic, ServiceTraffic};

use crate::shared::Shared;

/// Reports the ejected replicas, while there are any.
pub(crate) fn report(shared: &Shared, all: &[ServiceTraffic]) {
    let ejected: Vec<Ejected> = all.iter().flat_map(ejected_of).collect();
    if !ejected.is_empty() {
        shared.report(Input::Report(Report::Ejected(ejected)));
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

/// The endpoints that are ejected, replicas and external ones, to notice when that changes.
#[derive(Debug, Default)]
pub(crate) struct EjectedEndpoints(BTreeSet<(Arc<str>, SocketAddr, EndpointId)>);

/// An endpoint that was ejected, or that gets requests again.
struct Change<'a> {
    service: &'a str,
    endpoint: &'a EndpointTraffic,
    is_replica: bool,
    /// `None` when the ejection is over.
    ejection: Option<Ejection>,
}

impl EjectedEndpoints {
    /// Records an event for each endpoint that was ejected since the last call, and for each that gets requests again.
    pub(crate) fn observe(&mut self, all: &[ServiceTraffic], loop_handle: &Handle) {
        for change in self.changes(all) {
            change.record(loop_handle);
        }
    }

    /// The changes since the last call. An ejection that began and ended in between is only counted by the proxy.
    fn changes<'a>(&mut self, all: &'a [ServiceTraffic]) -> Vec<Change<'a>> {
        let (mut now, mut changes) = (BTreeSet::new(), Vec::new());
        for service in all {
            let replicas = service.endpoints.iter().map(|endpoint| (endpoint, true));
            let external = service.elsewhere.iter().map(|endpoint| (endpoint, false));
            for (endpoint, is_replica) in replicas.chain(external) {
                let ejection = endpoint.ejection;
                if ejection.is_none() && self.0.is_empty() {
                    continue;
                }
                let key = (Arc::clone(&service.service), endpoint.address, endpoint.id);
                let was_ejected = self.0.contains(&key);
                // One that is removed meanwhile does not return.
                let has_returned = ejection.is_none() && endpoint.state == EndpointState::Serving;
                if was_ejected && has_returned || !was_ejected && ejection.is_some() {
                    changes.push(Change { service: &service.service, endpoint, is_replica, ejection });
                }
                if ejection.is_some() {
                    now.insert(key);
                }
            }
        }
        self.0 = now;
        changes
    }
}

impl Change<'_> {
    fn record(&self, loop_handle: &Handle) {
        let Self { service, endpoint, is_replica, ejection } = *self;
        // The agent gave this name to the proxy, so it is valid.
        let Ok(name) = ServiceName::parse(service) else { return };
        let (kind, message) = match ejection {
            Some(Ejection { cause, left, .. }) => {
                let left = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
                let until = Wall::from_millis(loop_handle.now().wall.as_millis().saturating_add(left));
                (EventKind::Ejected, format!("{cause}; it gets no requests until {until}"))
            }
            None => (EventKind::Returned, "its ejection is over; it gets requests again".to_owned()),
        };
        if is_replica {
            loop_handle.record_event(&name, Some(Ordinal(endpoint.id.ordinal)), kind, message);
        } else {
            let message = format!("external endpoint {}: {message}", endpoint.address);
            loop_handle.record_event(&name, None, kind, message);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proxy::{Cause, Counts, Ramp, Weight};

    use super::*;

    fn endpoint(ordinal: u32, state: EndpointState, is_ejected: bool) -> EndpointTraffic {
        let second = Duration::from_secs(1);
        let cause = Cause::Failures { in_a_row: 5 };
        EndpointTraffic {
            id: EndpointId { ordinal, incarnation: 1 },
            address: ([127, 0, 0, 1], 80).into(),
            zone: None,
            weight: Weight::ONE,
            state,
            ejection: is_ejected.then_some(Ejection { ago: second, left: second, times: 1, cause }),
            ramp: Ramp::FULL,
            in_flight: 0,
            counts: Counts::default(),
        }
    }

    #[test]
    fn an_ejection_and_a_return_are_noticed_once() {
        let mut ejected = EjectedEndpoints::default();
        let mut turns = |endpoints: &[EndpointTraffic]| {
            let service = ServiceTraffic {
                service: "shop".into(),
                endpoints: endpoints.to_vec(),
                ..ServiceTraffic::default()
            };
            let changes = ejected.changes(std::slice::from_ref(&service));
            changes.iter().map(|it| (it.endpoint.id.ordinal, it.ejection.is_some())).collect::<Vec<_>>()
        };
        let serving = |ordinal, is_ejected| endpoint(ordinal, EndpointState::Serving, is_ejected);
        assert_eq!(turns(&[serving(0, false), serving(1, false)]), []);
        assert_eq!(turns(&[serving(0, true), serving(1, true)]), [(0, true), (1, true)]);
        assert_eq!(turns(&[serving(0, true), serving(1, true)]), []);
        assert_eq!(turns(&[serving(0, false), endpoint(1, EndpointState::Draining, false)]), [(0, false)]);
        assert_eq!(turns(&[serving(0, true)]), [(0, true)], "it is ejected again");
    }
}
