//! Who may be chosen: built when endpoints change, read for every request.

use std::num::NonZeroU32;

use crate::endpoint::{Seat, Standing};
use crate::slow_start::Ramp;

/// Below this share of healthy endpoints, ejections are ignored and traffic goes to all that serve.
///
/// When more than half of a service looks ill, the cause is more likely shared (a dependency, the network, us) than
/// the endpoints, and the few left would be crushed by the load of all. Source: Envoy, "panic threshold", 50 %.
pub const PANIC_THRESHOLD_PERCENT: usize = 50;

/// The endpoints of a service, sorted into those to use, those for need, and those to leave alone.
#[derive(Debug, Clone, Default)]
pub struct Roster {
    seats: Box<[Seat]>,
    /// Indices into `seats`: those to choose from.
    preferred: Box<[u32]>,
    /// Indices into `seats`: ejected ones, for a request that failed on every preferred one.
    reserve: Box<[u32]>,
    /// Running sums of the ramped weights of `preferred`.
    weight_sums: Box<[u64]>,
    /// The furthest ramp of `preferred`.
    furthest: Ramp,
    /// Requests that one endpoint may have in flight at once; `None` for any number.
    in_flight_max: Option<NonZeroU32>,
    panicking: bool,
}

impl Roster {
    /// Sorts the endpoints of a service; the order of `seats` is kept, and [`pick`](crate::Balancer::pick) answers in it.
    #[must_use]
    pub fn new(seats: &[Seat]) -> Self {
        let count = |standing| seats.iter().filter(|s| s.standing == standing).count();
        let (healthy, ejected) = (count(Standing::Serving), count(Standing::Ejected));
        let panicking = healthy * 100 < (healthy + ejected) * PANIC_THRESHOLD_PERCENT;
        let is_preferred = |seat: &Seat| match seat.standing {
            Standing::Serving => true,
            Standing::Ejected => panicking,
            Standing::Draining => false,
        };
        let indices = |keep: &dyn Fn(&Seat) -> bool| -> Box<[u32]> {
            (0u32..).zip(seats).filter(|(_, s)| keep(s)).map(|(i, _)| i).collect()
        };
        let preferred = indices(&is_preferred);
        let reserve = indices(&|s| s.standing == Standing::Ejected && !is_preferred(s));
        let weight_sums = preferred
            .iter()
            .scan(0u64, |sum, &i| {
                *sum += u64::from(seats[i as usize].ramped_weight());
                Some(*sum)
            })
            .collect();
        let ramps = preferred.iter().map(|&i| seats[i as usize].ramp);
        let furthest = ramps.max().unwrap_or(Ramp::FULL);
        let seats = seats.into();
        Self { seats, preferred, reserve, weight_sums, furthest, in_flight_max: None, panicking }
    }

    /// The same endpoints, of which none is chosen while it has so many requests in flight; `None` for any number.
    ///
    /// Source: the circuit breaker of Envoy (`max_requests`) and the bulkhead of Nygard 2007, "Release It!".
    #[must_use]
    pub fn with_in_flight_max(self, in_flight_max: Option<NonZeroU32>) -> Self {
        Self { in_flight_max, ..self }
    }

    /// Says whether an endpoint with so many requests in flight may get one more.
    #[must_use]
    pub fn has_room(&self, in_flight: u32) -> bool {
        self.in_flight_max.is_none_or(|max| in_flight < max.get())
    }

    pub(crate) fn limits_in_flight(&self) -> bool {
        self.in_flight_max.is_some()
    }

    /// The endpoints, in the order they were given.
    #[must_use]
    pub fn seats(&self) -> &[Seat] {
        &self.seats
    }

    /// Says whether ejections are ignored because too many endpoints are ejected.
    #[must_use]
    pub fn is_panicking(&self) -> bool {
        self.panicking
    }

    /// Says whether no endpoint may get a request, not even in need.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.preferred.is_empty() && self.reserve.is_empty()
    }

    pub(crate) fn preferred(&self) -> &[u32] {
        &self.preferred
    }

    pub(crate) fn reserve(&self) -> &[u32] {
        &self.reserve
    }

    pub(crate) fn weight_sums(&self) -> &[u64] {
        &self.weight_sums
    }

    /// Says whether a preferred endpoint is less far in its slow start than another: equally young ones share as equals.
    pub(crate) fn is_ramping(&self) -> bool {
        self.preferred.iter().any(|&i| self.seat(i).ramp < self.furthest)
    }

    /// The ramp of the endpoint that is furthest, against which the others' are held.
    pub(crate) fn furthest(&self) -> Ramp {
        self.furthest
    }

    pub(crate) fn seat(&self, index: u32) -> &Seat {
        &self.seats[index as usize]
    }

    /// The first of `indices`, from `start` on and around, that is open.
    pub(crate) fn open_from(
        &self,
        indices: &[u32],
        start: usize,
        is_open: impl Fn(&u32) -> bool,
    ) -> Option<usize> {
        let n = indices.len();
        (0..n).map(|step| (start + step) % n).find(|&at| is_open(&indices[at]))
    }
}
