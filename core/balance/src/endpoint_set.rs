//! The endpoints to choose from: built when endpoints change, read for every request.

use std::num::NonZeroU32;

use crate::endpoint::Candidate;
use crate::group::{Group, health};
use crate::zone::{Nearness, Share, Split, split};

/// The endpoints of a service, divided on each side, near and far, into preferred ones, fallbacks, and those that get no requests.
#[derive(Debug, Clone)]
pub struct EndpointSet {
    candidates: Box<[Candidate]>,
    near: Group,
    far: Group,
    near_share: Share,
    /// Requests that one endpoint may have in flight at once; `None` for any number.
    in_flight_max: Option<NonZeroU32>,
}

impl Default for EndpointSet {
    fn default() -> Self {
        Self::new(&[])
    }
}

impl EndpointSet {
    /// Divides the endpoints of a service. [`pick`](crate::Balancer::pick) returns an index into `candidates`, whose order is kept.
    #[must_use]
    pub fn new(candidates: &[Candidate]) -> Self {
        let is_on = |side: Nearness| move |candidate: &Candidate| candidate.nearness == side;
        let health = |side| health(candidates, is_on(side));
        let Split { near: near_share, is_insufficient } =
            split(health(Nearness::Near), health(Nearness::Far));
        let group = |side| Group::new(candidates, is_on(side), is_insufficient);
        Self {
            candidates: candidates.into(),
            near: group(Nearness::Near),
            far: group(Nearness::Far),
            near_share,
            in_flight_max: None,
        }
    }

    /// The same endpoints, with a limit on the requests in flight at each; `None` for no limit.
    ///
    /// Source: the circuit breaker of Envoy (`max_requests`) and the bulkhead of Nygard 2007, "Release It!".
    #[must_use]
    pub fn with_in_flight_max(self, in_flight_max: Option<NonZeroU32>) -> Self {
        Self { in_flight_max, ..self }
    }

    /// Whether an endpoint with this many requests in flight may get one more.
    #[must_use]
    pub fn has_room(&self, in_flight: u32) -> bool {
        self.in_flight_max.is_none_or(|max| in_flight < max.get())
    }

    pub(crate) fn limits_in_flight(&self) -> bool {
        self.in_flight_max.is_some()
    }

    /// The endpoints, in the order that they were passed in.
    #[must_use]
    pub fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }

    /// The share of the requests that stays near; [`Share::WHOLE`] if all endpoints are near.
    #[must_use]
    pub fn near_share(&self) -> Share {
        self.near_share
    }

    /// Whether ejections are ignored, on at least one side, because too many endpoints are ejected.
    #[must_use]
    pub fn is_panicking(&self) -> bool {
        self.near.is_panicking || self.far.is_panicking
    }

    /// Whether no endpoint may get a request, not even as a last resort.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.near.is_empty() && self.far.is_empty()
    }

    pub(crate) fn group(&self, side: Nearness) -> &Group {
        match side {
            Nearness::Near => &self.near,
            Nearness::Far => &self.far,
        }
    }

    pub(crate) fn candidate(&self, index: u32) -> &Candidate {
        &self.candidates[index as usize]
    }
}
