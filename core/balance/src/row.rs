//! The endpoints of one side, near or far: the preferred ones, and the reserve.

use crate::endpoint::{Seat, Standing};
use crate::slow_start::Ramp;
use crate::zone::Health;

/// Below this share of healthy endpoints, ejections are ignored and traffic goes to all that serve.
///
/// When more than half of a service looks ill, the cause is more likely a shared one (a dependency, the network, us) than the endpoints, and the
/// few that are left would be crushed by the load of all. Source: Envoy, "panic threshold", 50 %.
const PANIC_THRESHOLD_PERCENT: usize = 50;

/// Indices into the seats of a [`Roster`](crate::Roster), of one side.
#[derive(Debug, Clone, Default)]
pub(crate) struct Row {
    /// The endpoints to choose from.
    pub(crate) preferred: Box<[u32]>,
    /// Ejected endpoints, for a request that failed on every preferred one.
    pub(crate) reserve: Box<[u32]>,
    /// Running sums of the ramped weights of `preferred`.
    pub(crate) weight_sums: Box<[u64]>,
    /// The highest ramp of a preferred endpoint, which the others are compared with.
    pub(crate) furthest: Ramp,
    /// Whether ejections are ignored.
    pub(crate) is_panicking: bool,
}

impl Row {
    /// Sorts the seats of one side; `may_panic` says that the other side cannot take the requests.
    pub(crate) fn new(seats: &[Seat], is_here: impl Fn(&Seat) -> bool, may_panic: bool) -> Self {
        let here = || (0u32..).zip(seats).filter(|(_, seat)| is_here(seat));
        let count = |standing| here().filter(|(_, seat)| seat.standing == standing).count();
        let (healthy, ejected) = (count(Standing::Serving), count(Standing::Ejected));
        let is_panicking = may_panic && healthy * 100 < (healthy + ejected) * PANIC_THRESHOLD_PERCENT;
        let is_preferred = |seat: &Seat| match seat.standing {
            Standing::Serving => true,
            Standing::Ejected => is_panicking,
            Standing::Draining | Standing::Unready => false,
        };
        let indices = |keep: &dyn Fn(&Seat) -> bool| -> Box<[u32]> {
            here().filter(|(_, seat)| keep(seat)).map(|(i, _)| i).collect()
        };
        let preferred = indices(&is_preferred);
        let reserve = indices(&|seat| seat.standing == Standing::Ejected && !is_preferred(seat));
        let weight_sums = preferred
            .iter()
            .scan(0u64, |sum, &i| {
                *sum += u64::from(seats[i as usize].ramped_weight());
                Some(*sum)
            })
            .collect();
        let ramps = preferred.iter().map(|&i| seats[i as usize].ramp);
        let furthest = ramps.max().unwrap_or(Ramp::FULL);
        Self { preferred, reserve, weight_sums, furthest, is_panicking }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.preferred.is_empty() && self.reserve.is_empty()
    }

    /// Whether a preferred endpoint is less far in its slow start than another. Equally young ones share equally.
    pub(crate) fn is_ramping(&self, seats: &[Seat]) -> bool {
        self.preferred.iter().any(|&i| seats[i as usize].ramp < self.furthest)
    }
}

/// The health of one side. Draining endpoints are on their way out and do not count.
pub(crate) fn health(seats: &[Seat], is_here: impl Fn(&Seat) -> bool) -> Health {
    let mut health = Health::default();
    for seat in seats.iter().filter(|seat| is_here(seat)) {
        match seat.standing {
            Standing::Serving => {
                health.well += 1;
                health.all += 1;
            }
            Standing::Ejected | Standing::Unready => health.all += 1,
            Standing::Draining => {}
        }
    }
    health
}

/// The first of `indices` that is open, from `start` on and around.
pub(crate) fn open_from(indices: &[u32], start: usize, is_open: impl Fn(&u32) -> bool) -> Option<usize> {
    let n = indices.len();
    (0..n).map(|step| (start + step) % n).find(|&at| is_open(&indices[at]))
}
