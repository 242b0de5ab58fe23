//! Consistent hashing with bounded loads: equal keys meet the same endpoint as long as it is there and not overloaded.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::roster::Roster;
use crate::row::Row;

#[cfg(test)]
mod tests;

/// Points on the ring of the endpoint with the largest weight; the others have their share of it.
///
/// The shares of n equal endpoints scatter by about 1 ÷ √160, 8 %; the bound on loads takes off the rest. 160 is what ketama uses.
/// 4,096 endpoints are 655,360 points of 16 bytes, 10 MiB in the largest case.
const POINTS_MAX: u64 = 160;

/// An endpoint may have at most this share of the mean of requests in flight, in percent, before keys go on to the next one.
///
/// Source: Mirrokni, Thorup and Zadimoghaddam 2016, "Consistent hashing with bounded loads", with ε = 0.25: a quarter more than
/// the mean at most. HAProxy's documentation advises `hash-balance-factor` 125 to 200.
const LOAD_PERCENT_MAX: u64 = 125;

/// Hashes what requests are told apart by; the same on every machine, in every process.
#[must_use]
pub fn hash_key(text: &[u8]) -> u64 {
    xxh3_64(text)
}

/// A number below `n` that is the same for equal keys, and independent of their place on a ring.
#[must_use]
pub(crate) fn ticket(key: u64, n: u64) -> u64 {
    xxh3_64_with_seed(&key.to_le_bytes(), TICKET_SEED) % n
}

/// Differs from the seeds of the points of a ring.
const TICKET_SEED: u64 = u64::MAX;

/// The preferred endpoints of a row on a ring of hashes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ring {
    /// In the order of the hashes.
    points: Vec<Point>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Point {
    hash: u64,
    /// An index into the preferred seats.
    at: u32,
}

impl Ring {
    /// Places the preferred endpoints by their ordinals: the successor of a replica takes over its keys, and no others move.
    pub(crate) fn of(roster: &Roster, row: &Row) -> Self {
        let seats = || row.preferred.iter().map(|&i| roster.seat(i));
        let largest = seats().map(|seat| u64::from(seat.ramped_weight())).max().unwrap_or(1);
        let mut points = Vec::new();
        for (at, seat) in (0u32..).zip(seats()) {
            let share = (POINTS_MAX * u64::from(seat.ramped_weight())).div_ceil(largest);
            let ordinal = seat.id.ordinal.to_le_bytes();
            points.extend((0..share).map(|seed| Point { hash: xxh3_64_with_seed(&ordinal, seed), at }));
        }
        points.sort_unstable();
        Self { points }
    }

    /// The first endpoint from the key's place on that is open and has room below the bound; without room anywhere, the first that is open.
    ///
    /// Returns an index into the preferred seats. O(n) in the endpoints, whose loads are added up, and O(log points) for the place.
    pub(crate) fn pick(
        &self,
        roster: &Roster,
        row: &Row,
        is_open: impl Fn(&u32) -> bool,
        key: u64,
        in_flight: impl Fn(usize) -> u32,
    ) -> Option<usize> {
        let start = self.points.partition_point(|point| point.hash < key);
        let (before, after) = self.points.split_at(start);
        let seats = &row.preferred;
        let open = || {
            let around = after.iter().chain(before).map(|point| point.at as usize);
            around.filter(|&at| is_open(&seats[at]))
        };
        let bound = Bound::of(row, &in_flight);
        let has_room = |at: usize| bound.admits(roster, seats[at], in_flight(seats[at] as usize));
        open().find(|&at| has_room(at)).or_else(|| open().next())
    }
}

/// The requests in flight at all endpoints, including the one to be placed, and the sum of the weights.
struct Bound {
    requests: u64,
    weight: u64,
}

impl Bound {
    fn of(row: &Row, in_flight: impl Fn(usize) -> u32) -> Self {
        let requests = 1 + row.preferred.iter().map(|&i| u64::from(in_flight(i as usize))).sum::<u64>();
        Self { requests, weight: row.weight_sums.last().copied().unwrap_or(1) }
    }

    /// Whether one more request stays within the endpoint's share of the bound, rounded up.
    fn admits(&self, roster: &Roster, seat: u32, in_flight: u32) -> bool {
        let share = self.requests * LOAD_PERCENT_MAX * u64::from(roster.seat(seat).ramped_weight());
        u64::from(in_flight) < share.div_ceil(self.weight * 100)
    }
}
