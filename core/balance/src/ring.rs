//! Consistent hashing with bounded loads: equal keys get the same endpoint as long as it exists and is not overloaded.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::endpoint_set::EndpointSet;
use crate::group::Group;

#[cfg(test)]
mod tests;

/// The number of points on the ring of the endpoint with the largest weight; the others have points in proportion to their weights.
///
/// The shares of equal endpoints deviate by about 1 ÷ √160, 8 %; the bound on loads corrects the rest. 160 is what ketama uses.
/// 4,096 endpoints are 655,360 points of 16 bytes, 10 MiB in the largest case.
const POINTS_MAX: u64 = 160;

/// The requests in flight at which keys go on to the next endpoint, in percent of the mean.
///
/// Source: Mirrokni, Thorup and Zadimoghaddam 2016, "Consistent hashing with bounded loads", with ε = 0.25: a quarter more than
/// the mean at most. HAProxy's documentation advises `hash-balance-factor` 125 to 200.
const LOAD_PERCENT_MAX: u64 = 125;

/// Hashes the key of a request; the same on every machine, in every process.
#[must_use]
pub fn hash_key(text: &[u8]) -> u64 {
    xxh3_64(text)
}

/// A number below `n` that is the same for equal keys and independent of their points on a ring.
#[must_use]
pub(crate) fn hash_below(key: u64, n: u64) -> u64 {
    xxh3_64_with_seed(&key.to_le_bytes(), BELOW_SEED) % n
}

/// A seed that no point of a ring uses.
const BELOW_SEED: u64 = u64::MAX;

/// The preferred endpoints of a group on a ring of hashes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ring {
    /// Sorted by hash.
    points: Vec<Point>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Point {
    hash: u64,
    /// An index into the preferred endpoints of the group.
    at: u32,
}

impl Ring {
    /// Places the preferred endpoints by their ordinals, so that a restarted replica keeps its keys and no other keys move.
    pub(crate) fn of(endpoints: &EndpointSet, group: &Group) -> Self {
        let candidates = || group.preferred.iter().map(|&i| endpoints.candidate(i));
        let largest = candidates().map(|candidate| u64::from(candidate.ramped_weight())).max().unwrap_or(1);
        let mut points = Vec::new();
        for (at, candidate) in (0u32..).zip(candidates()) {
            let share = (POINTS_MAX * u64::from(candidate.ramped_weight())).div_ceil(largest);
            let ordinal = candidate.id.ordinal.to_le_bytes();
            points.extend((0..share).map(|seed| Point { hash: xxh3_64_with_seed(&ordinal, seed), at }));
        }
        points.sort_unstable();
        Self { points }
    }

    /// The first endpoint from the key's point on that is open and below the bound; if all are at the bound, the first that is open.
    ///
    /// Returns an index into the preferred endpoints; `None` if none is open. O(n) to add up the loads of the endpoints, and O(log points) for the
    /// lookup.
    pub(crate) fn pick(
        &self,
        endpoints: &EndpointSet,
        group: &Group,
        is_open: impl Fn(&u32) -> bool,
        key: u64,
        in_flight: impl Fn(usize) -> u32,
    ) -> Option<usize> {
        let candidates = &group.preferred;
        // Otherwise a request that is to be refused would cost a look at every point.
        if !candidates.iter().any(&is_open) {
            return None;
        }
        let start = self.points.partition_point(|point| point.hash < key);
        let (before, after) = self.points.split_at(start);
        let open = || {
            let around = after.iter().chain(before).map(|point| point.at as usize);
            around.filter(|&at| is_open(&candidates[at]))
        };
        let bound = Bound::of(group, &in_flight);
        let has_room =
            |at: usize| bound.admits(endpoints, candidates[at], in_flight(candidates[at] as usize));
        open().find(|&at| has_room(at)).or_else(|| open().next())
    }
}

/// The bound on the requests in flight at one endpoint.
struct Bound {
    /// The requests in flight at all endpoints, including the one to be placed.
    requests: u64,
    /// The sum of the weights.
    weight: u64,
}

impl Bound {
    fn of(group: &Group, in_flight: impl Fn(usize) -> u32) -> Self {
        let requests = 1 + group.preferred.iter().map(|&i| u64::from(in_flight(i as usize))).sum::<u64>();
        Self { requests, weight: group.weight_sums.last().copied().unwrap_or(1) }
    }

    /// Whether one more request stays within the endpoint's share of the bound, rounded up.
    fn admits(&self, endpoints: &EndpointSet, candidate: u32, in_flight: u32) -> bool {
        let share =
            self.requests * LOAD_PERCENT_MAX * u64::from(endpoints.candidate(candidate).ramped_weight());
        u64::from(in_flight) < share.div_ceil(self.weight * 100)
    }
}
