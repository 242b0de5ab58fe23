//! The endpoints of a service, guarded by its lock, and the snapshot that is made from them.

use std::sync::Arc;
use std::time::Duration;

use balance::{Candidate, EndpointSet, Nearness, Outliers, Ramp, Status, Weight};

use super::Snapshot;
use crate::endpoint::Endpoint;
use crate::latency_windows::LatencyWindows;
use crate::route::{ConnectionSpec, EndpointRoute, EndpointState, Origin, ServiceRoute};
use crate::traffic::{Ejection, EndpointTraffic};
use crate::versions::Versions;

/// The endpoints of a service, with their state.
#[derive(Debug)]
pub(super) struct Members {
    pub(super) route: ServiceRoute,
    pub(super) current: Vec<Member>,
    /// No longer in the route, but with requests in flight.
    leaving: Vec<Member>,
    /// The counters of endpoints that were dropped.
    pub(super) gone: Versions,
    pub(super) outliers: Outliers,
    /// `None` where endpoints are not ejected for being slow.
    pub(super) latency_windows: Option<LatencyWindows>,
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) endpoint: Arc<Endpoint>,
    weight: Weight,
    zone: Option<Arc<str>>,
    /// When it last began to serve; `None` before it first did.
    serving_since: Option<Duration>,
}

impl Member {
    pub(super) fn set_state(&mut self, state: EndpointState, now: Duration) {
        if state == EndpointState::Serving && self.endpoint.state() != state {
            self.serving_since = Some(now);
        }
        self.endpoint.set_state(state);
    }

    pub(super) fn is_replica(&self) -> bool {
        self.endpoint.origin == Origin::Replica
    }
}

impl Members {
    pub(super) fn new(route: &ServiceRoute, now: Duration, workers: usize) -> Self {
        let mut members = Self {
            route: route.clone(),
            current: Vec::new(),
            leaving: Vec::new(),
            gone: Versions::default(),
            outliers: Outliers::new(route.outliers),
            latency_windows: None,
        };
        members.update(route, now, workers);
        members
    }

    /// Applies a changed route.
    pub(super) fn update(&mut self, route: &ServiceRoute, now: Duration, workers: usize) {
        let old = std::mem::take(&mut self.current);
        let find = |route: &EndpointRoute| {
            let known = old.iter().find(|m| m.endpoint.matches(route));
            known.map_or_else(
                || (Arc::new(Endpoint::new(route, workers)), None),
                |m| (Arc::clone(&m.endpoint), m.serving_since),
            )
        };
        let declared = ConnectionSpec { protocol: route.protocol, proxy_header: route.proxy_protocol.send };
        self.current = route
            .endpoints
            .iter()
            .map(|e| {
                let (endpoint, serving_since) = find(e);
                endpoint.set_connection(e.connection.unwrap_or(declared));
                let mut member = Member { endpoint, weight: e.weight, zone: e.zone.clone(), serving_since };
                member.set_state(e.state, now);
                member
            })
            .collect();
        let is_current = |old: &Member| self.current.iter().any(|m| Arc::ptr_eq(&m.endpoint, &old.endpoint));
        let gone = old.into_iter().filter(|m| !is_current(m));
        self.leaving.extend(gone.inspect(|m| m.endpoint.set_state(EndpointState::Out)));
        self.remove_drained();
        if self.route.outliers != route.outliers {
            self.outliers = Outliers::new(route.outliers);
            self.latency_windows = None;
        }
        self.outliers.retain_and_add(now, route.endpoints.iter().map(|e| e.id));
        let watched = || self.current.iter().map(|m| &m.endpoint);
        if let (Some(policy), None) = (route.outliers.slow, &self.latency_windows) {
            self.latency_windows = Some(LatencyWindows::begin(&policy, now, watched()));
        }
        self.route = route.clone();
    }

    /// Drops endpoints that have left the route and have no request in flight; their counts stay with their versions.
    pub(super) fn remove_drained(&mut self) {
        let Self { leaving, gone, .. } = self;
        let left = leaving.extract_if(.., |m| m.endpoint.in_flight() == 0);
        left.filter(Member::is_replica).for_each(|m| gone.absorb(&m.endpoint));
    }

    /// All members that may have requests in flight.
    pub(super) fn with_leaving(&self) -> impl Iterator<Item = &Member> {
        self.current.iter().chain(&self.leaving)
    }

    /// The endpoints of [`with_leaving`](Self::with_leaving).
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.with_leaving().map(|m| &m.endpoint)
    }

    /// Requests in flight.
    pub(super) fn in_flight(&self) -> u32 {
        self.all().map(|e| e.in_flight()).sum()
    }

    /// The traffic of an endpoint.
    pub(super) fn traffic(&self, member: &Member, now: Duration) -> EndpointTraffic {
        let e = &member.endpoint;
        EndpointTraffic {
            id: e.id,
            address: e.address,
            zone: member.zone.clone(),
            weight: member.weight,
            state: e.state(),
            ejection: self.outliers.ejection(now, e.id).map(|it| Ejection {
                ago: now.saturating_sub(it.since),
                left: it.until.saturating_sub(now),
                times: it.times,
                cause: it.cause,
            }),
            ramp: self.ramp(member, now),
            in_flight: e.in_flight(),
            counts: e.counts(),
        }
    }

    /// Whether connections to any endpoint begin with a PROXY header, or would to a new one.
    fn sends_proxy_headers(&self) -> bool {
        let expects = |m: &Member| m.endpoint.connection().proxy_header.is_some();
        self.route.proxy_protocol.send.is_some() || self.current.iter().any(expects)
    }

    fn ramp(&self, member: &Member, now: Duration) -> Ramp {
        member.serving_since.map_or(Ramp::FULL, |since| self.route.slow_start.ramp(since, now))
    }

    /// When a new snapshot is due even if nothing changes.
    pub(super) fn next_deadline(&self, now: Duration) -> Option<Duration> {
        let serving = self.current.iter().filter(|m| m.endpoint.state() == EndpointState::Serving);
        let steps = serving.filter_map(|m| self.route.slow_start.next_step(m.serving_since?, now));
        steps
            .chain(self.outliers.next_deadline())
            .chain(self.latency_windows.as_ref().map(LatencyWindows::ends_at))
            .min()
    }

    pub(super) fn snapshot(&self, now: Duration) -> Snapshot {
        let mut endpoints = Vec::with_capacity(self.current.len());
        let mut candidates = Vec::with_capacity(self.current.len());
        for member in &self.current {
            let Member { endpoint, weight, zone, serving_since } = member;
            let status = match endpoint.state() {
                EndpointState::Serving if self.outliers.is_ejected(now, endpoint.id) => Status::Ejected,
                EndpointState::Serving => Status::Serving,
                EndpointState::Draining => Status::Draining,
                // An endpoint that has never served does not count as missing.
                EndpointState::Out if serving_since.is_some() => Status::Unready,
                EndpointState::Out => continue,
            };
            let preferred = &self.route.preferred_zone;
            let is_near = preferred.is_none() || preferred == zone;
            candidates.push(Candidate {
                id: endpoint.id,
                weight: *weight,
                ramp: self.ramp(member, now),
                status,
                nearness: if is_near { Nearness::Near } else { Nearness::Far },
            });
            endpoints.push(Arc::clone(endpoint));
        }
        Snapshot {
            accepts_proxy_headers: self.route.proxy_protocol.accept,
            sends_proxy_headers: self.sends_proxy_headers(),
            protocol: self.route.protocol,
            balance: self.route.balance,
            hash_key: self.route.hash_key.clone(),
            outliers: self.route.outliers,
            limits: self.route.limits,
            hedge: self.route.hedge,
            timeouts: self.route.timeouts,
            forwarded: self.route.forwarded,
            waiting_max: self.route.waiting_max,
            endpoints: endpoints.into(),
            endpoint_set: EndpointSet::new(&candidates)
                .with_in_flight_max(self.route.limits.in_flight_per_endpoint),
        }
    }
}
