//! Endpoints as the balancer sees them.

use std::fmt;
use std::num::NonZeroU16;

use crate::retry::TRIES_MAX;
use crate::slow_start::Ramp;
use crate::zone::Nearness;

/// Identifies one endpoint of a service: the ordinal of a replica and its incarnation.
///
/// A restarted replica keeps its ordinal and gets a new incarnation, so that it inherits neither the connections nor the record of the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointId {
    /// The ordinal of the replica in its service.
    pub ordinal: u32,
    /// Grows with each start of the replica.
    pub incarnation: u32,
}

impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.ordinal, self.incarnation)
    }
}

/// The share of traffic of an endpoint, relative to the others of its service; 1 to 65,535.
///
/// 16 bits keep every sum of weights exact: 65,535 × 100,000 endpoints is far below 2⁶³.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(NonZeroU16);

impl Weight {
    /// The default weight.
    pub const ONE: Self = Self(NonZeroU16::MIN);

    /// A weight; `None` for 0: an endpoint that is to get no traffic is drained instead.
    #[must_use]
    pub const fn new(weight: u16) -> Option<Self> {
        match NonZeroU16::new(weight) {
            Some(weight) => Some(Self(weight)),
            None => None,
        }
    }

    /// The weight as a number, at least 1.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

/// Whether an endpoint may get new requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// It is healthy and gets requests.
    Serving,
    /// It failed or was slow, and gets requests only as a last resort.
    Ejected,
    /// It finishes its requests and gets no new ones.
    Draining,
    /// It is temporarily not ready: it gets no requests, and counts as unhealthy when requests are divided between zones.
    Unready,
}

impl Status {
    /// Whether it may get a request, be it as a last resort.
    #[must_use]
    pub const fn may_get(self) -> bool {
        match self {
            Self::Serving | Self::Ejected => true,
            Self::Draining | Self::Unready => false,
        }
    }
}

/// An endpoint that may be chosen, for an [`EndpointSet`](crate::EndpointSet).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// The identity of the endpoint.
    pub id: EndpointId,
    /// Its share of the traffic.
    pub weight: Weight,
    /// The part of its weight that it has during slow start.
    pub ramp: Ramp,
    /// Whether it may get new requests.
    pub status: Status,
    /// Whether it is in the preferred zone.
    pub nearness: Nearness,
}

impl Candidate {
    /// A near endpoint that serves at its full weight.
    #[must_use]
    pub const fn new(id: EndpointId, weight: Weight) -> Self {
        Self { id, weight, ramp: Ramp::FULL, status: Status::Serving, nearness: Nearness::Near }
    }

    /// The weight with the slow-start ramp applied, in hundredths; at least 10.
    pub(crate) const fn ramped_weight(&self) -> u32 {
        self.weight.get() as u32 * self.ramp.percent() as u32
    }
}

/// The endpoints on which a request has already failed.
///
/// Holds up to [`TRIES_MAX`] ids, as many as a request may use; a further one replaces the oldest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tried {
    ids: [Option<EndpointId>; TRIES_MAX as usize],
    next: u8,
}

impl Tried {
    /// The first attempt of a request: nothing is excluded.
    pub const NONE: Self = Self { ids: [None; TRIES_MAX as usize], next: 0 };

    /// Excludes an endpoint from further attempts of this request.
    pub fn add(&mut self, id: EndpointId) {
        self.ids[usize::from(self.next)] = Some(id);
        self.next = (self.next + 1) % TRIES_MAX;
    }

    /// Whether the endpoint was tried.
    #[must_use]
    pub fn contains(&self, id: EndpointId) -> bool {
        self.ids[0].is_some() && self.ids.contains(&Some(id))
    }

    /// Whether nothing was tried yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids[0].is_none()
    }
}
