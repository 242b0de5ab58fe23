//! The choice of an endpoint for a request.

use rand_core::Rng;

use crate::endpoint::{EndpointId, Tried};
use crate::endpoint_set::EndpointSet;
use crate::group::{Group, open_from};
use crate::load::Load;
use crate::ring::{Ring, hash_below};
use crate::slow_start::Ramp;
use crate::zone::{Nearness, Share};

#[cfg(test)]
mod tests;

/// The load balancing policy of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Balance {
    /// Each in turn. With different weights, or while endpoints are in their slow start, as [`Weighted`](Self::Weighted).
    RoundRobin,
    /// At random, in proportion to the weights.
    Random,
    /// In proportion to the weights and evenly interleaved: with 5, 1, 1 it is `a a b a c a a`, never five in a row.
    /// Source: nginx, "smooth weighted round robin".
    Weighted,
    /// The less loaded of two drawn at random, by (in flight + 1) × recent latency ÷ weight.
    /// Source: Mitzenmacher 2001, "the power of two choices"; the latency is Finagle's peak EWMA.
    #[default]
    LeastLoaded,
    /// Equal keys to the same endpoint, unless it has over a quarter more in flight than the mean; then to the next one on the ring.
    /// Source: Karger et al. 1997, "Consistent hashing and random trees"; Mirrokni et al. 2016, "… with bounded loads".
    ConsistentHash,
}

/// Why no endpoint was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PickError {
    /// All endpoints that may get the request were tried, or there are none.
    Exhausted,
    /// Every endpoint that is left has as many requests in flight as allowed.
    Full,
}

/// The load balancing state of a service, kept from request to request.
///
/// It belongs to one [`EndpointSet`]: after a change of endpoints call [`adopt`](Self::adopt) before the next pick.
#[derive(Debug, Clone)]
pub struct Balancer {
    balance: Balance,
    near: PickState,
    far: PickState,
}

/// The load balancing state of one side, near or far.
#[derive(Debug, Clone, Default)]
struct PickState {
    /// Where round robin continues: an index into the preferred endpoints.
    cursor: usize,
    /// nginx's `current_weight` of each preferred endpoint; their sum is 0 between picks. Empty unless the policy is weighted, or is round
    /// robin and the shares differ.
    credits: Vec<Credit>,
    /// Empty unless the policy is consistent hashing.
    ring: Ring,
}

#[derive(Debug, Clone, Copy)]
struct Credit {
    id: EndpointId,
    amount: i64,
}

impl Balancer {
    /// A balancer before its first pick.
    #[must_use]
    pub fn new(balance: Balance, endpoints: &EndpointSet) -> Self {
        let mut new = Self { balance, near: PickState::default(), far: PickState::default() };
        new.adopt(balance, endpoints);
        new
    }

    /// Adopts a changed set of endpoints. Remaining endpoints keep their credit.
    ///
    /// O(n²) in the endpoints where picks follow weights ([`Balance::Weighted`], and [`Balance::RoundRobin`] with different ones), O(n log n) for [`Balance::ConsistentHash`]; runs only when endpoints change.
    pub fn adopt(&mut self, balance: Balance, endpoints: &EndpointSet) {
        self.balance = balance;
        self.near.adopt(balance, endpoints, endpoints.group(Nearness::Near));
        self.far.adopt(balance, endpoints, endpoints.group(Nearness::Far));
    }

    /// Chooses an endpoint for one request.
    ///
    /// Returns an index into [`EndpointSet::candidates`]. `load` is called by [`Balance::LeastLoaded`] for two of them, by
    /// [`Balance::ConsistentHash`] for all, and by the others only if the set limits requests in flight. `key`, made by
    /// [`hash_key`](crate::hash_key), is called only by [`Balance::ConsistentHash`].
    ///
    /// First a random draw decides whether the request stays near, with the probability of [`EndpointSet::near_share`]; if no endpoint of that
    /// side is open, the other side is used. An ejected endpoint is chosen only when all healthy ones were tried or too many are ejected, but not
    /// because the healthy ones are full. A draining one is never chosen.
    ///
    /// Allocates nothing. O(1), but O(n) for [`Balance::Weighted`], [`Balance::ConsistentHash`] and [`Balance::RoundRobin`] with different shares,
    /// for further attempts of a request, and while endpoints are full.
    pub fn pick<R: Rng>(
        &mut self,
        endpoints: &EndpointSet,
        tried: &Tried,
        rng: &mut R,
        key: impl Fn() -> u64,
        load: impl Fn(usize) -> Load,
    ) -> Result<usize, PickError> {
        self.pick_among(endpoints, tried, rng, key, load, |_| true)
    }

    /// Like [`pick`](Self::pick), but only among the candidates that satisfy `is_allowed`; the others count as tried. O(n) if some are excluded.
    pub fn pick_among<R: Rng>(
        &mut self,
        endpoints: &EndpointSet,
        tried: &Tried,
        rng: &mut R,
        key: impl Fn() -> u64,
        load: impl Fn(usize) -> Load,
        is_allowed: impl Fn(usize) -> bool,
    ) -> Result<usize, PickError> {
        let is_untried = |&i: &u32| !tried.contains(endpoints.candidate(i).id) && is_allowed(i as usize);
        let has_room =
            |i: u32| !endpoints.limits_in_flight() || endpoints.has_room(load(i as usize).in_flight);
        let is_open = |i: &u32| is_untried(i) && has_room(*i);
        let sides = self.first_side(endpoints, rng, &key).then_other();
        for side in sides {
            let group = endpoints.group(side);
            if let Some(at) = self.choose(endpoints, side, is_open, rng, &key, &load) {
                return Ok(group.preferred[at] as usize);
            }
        }
        let groups = sides.map(|side| endpoints.group(side));
        if groups.iter().any(|group| group.preferred.iter().any(is_untried)) {
            return Err(PickError::Full);
        }
        let mut fallback = groups.iter().flat_map(|group| &group.fallback);
        match fallback.clone().find(|i| is_open(i)) {
            Some(&index) => Ok(index as usize),
            None if fallback.any(is_untried) => Err(PickError::Full),
            None => Err(PickError::Exhausted),
        }
    }

    /// The side to which a request goes first. Equal keys go to the same side as long as the share does not change.
    fn first_side<R: Rng>(&self, endpoints: &EndpointSet, rng: &mut R, key: impl Fn() -> u64) -> Nearness {
        let share = endpoints.near_share();
        let whole = u64::from(Share::WHOLE.hundredths_of_percent());
        let is_near = match share {
            Share::WHOLE => true,
            Share::NONE => false,
            share => {
                let drawn = match self.balance {
                    Balance::ConsistentHash => hash_below(key(), whole),
                    Balance::RoundRobin | Balance::Random | Balance::Weighted | Balance::LeastLoaded => {
                        below(rng, whole)
                    }
                };
                drawn < u64::from(share.hundredths_of_percent())
            }
        };
        if is_near { Nearness::Near } else { Nearness::Far }
    }

    /// Chooses among the preferred endpoints of one side; returns an index into these.
    fn choose<R: Rng>(
        &mut self,
        endpoints: &EndpointSet,
        side: Nearness,
        is_open: impl Fn(&u32) -> bool,
        rng: &mut R,
        key: impl Fn() -> u64,
        load: impl Fn(usize) -> Load,
    ) -> Option<usize> {
        let group = endpoints.group(side);
        let state = match side {
            Nearness::Near => &mut self.near,
            Nearness::Far => &mut self.far,
        };
        match self.balance {
            _ if group.preferred.is_empty() => None,
            Balance::RoundRobin if state.credits.is_empty() => state.next(group, is_open),
            Balance::Random => pick_random(endpoints, group, is_open, rng),
            Balance::RoundRobin | Balance::Weighted => state.next_weighted(endpoints, group, is_open),
            Balance::LeastLoaded => less_loaded_of_two(endpoints, group, is_open, rng, load),
            Balance::ConsistentHash => {
                state.ring.pick(endpoints, group, is_open, key(), |candidate| load(candidate).in_flight)
            }
        }
    }
}

impl PickState {
    fn adopt(&mut self, balance: Balance, endpoints: &EndpointSet, group: &Group) {
        let n = group.preferred.len();
        self.cursor = if n == 0 { 0 } else { self.cursor % n };
        let old = std::mem::take(&mut self.credits);
        self.ring = Ring::default();
        match balance {
            Balance::Weighted => self.credit(&old, endpoints, group),
            Balance::RoundRobin if !group.shares_equally(endpoints.candidates()) => {
                self.credit(&old, endpoints, group);
            }
            Balance::ConsistentHash => self.ring = Ring::of(endpoints, group),
            Balance::RoundRobin | Balance::Random | Balance::LeastLoaded => {}
        }
    }

    fn credit(&mut self, old: &[Credit], endpoints: &EndpointSet, group: &Group) {
        self.credits = group
            .preferred
            .iter()
            .map(|&i| endpoints.candidate(i).id)
            .map(|id| Credit { id, amount: old.iter().find(|c| c.id == id).map_or(0, |c| c.amount) })
            .collect();
        // The credit of removed endpoints is missing; without compensation the sum would never be 0 again.
        let drift: i64 = self.credits.iter().map(|c| c.amount).sum();
        if let Some(first) = self.credits.first_mut() {
            first.amount -= drift;
        }
    }

    fn next(&mut self, group: &Group, is_open: impl Fn(&u32) -> bool) -> Option<usize> {
        let at = open_from(&group.preferred, self.cursor, is_open)?;
        self.cursor = (at + 1) % group.preferred.len();
        Some(at)
    }

    /// Smooth weighted round robin: each open endpoint earns its weight; the one with the most credit is chosen and pays the sum of the weights.
    fn next_weighted(
        &mut self,
        endpoints: &EndpointSet,
        group: &Group,
        is_open: impl Fn(&u32) -> bool,
    ) -> Option<usize> {
        debug_assert_eq!(self.credits.len(), group.preferred.len(), "adopt the endpoints first");
        let mut earned = 0i64;
        let mut best: Option<(usize, i64)> = None;
        for (at, credit) in self.credits.iter_mut().enumerate() {
            let index = group.preferred[at];
            if !is_open(&index) {
                continue;
            }
            let weight = i64::from(endpoints.candidate(index).ramped_weight());
            credit.amount += weight;
            earned += weight;
            if best.is_none_or(|(_, amount)| credit.amount > amount) {
                best = Some((at, credit.amount));
            }
        }
        let (at, _) = best?;
        self.credits[at].amount -= earned;
        Some(at)
    }
}

/// Draws a preferred endpoint in proportion to the weights; if it is not open, draws again among those that are.
fn pick_random<R: Rng>(
    endpoints: &EndpointSet,
    group: &Group,
    is_open: impl Fn(&u32) -> bool,
    rng: &mut R,
) -> Option<usize> {
    let sums = &group.weight_sums;
    let drawn_weight = below(rng, *sums.last()?);
    let drawn = sums.partition_point(|&sum| sum <= drawn_weight);
    if is_open(&group.preferred[drawn]) {
        return Some(drawn);
    }
    let open = || {
        let candidates = group.preferred.iter().enumerate().filter(|(_, i)| is_open(i));
        candidates.map(|(at, &i)| (at, endpoints.candidate(i)))
    };
    let total: u64 = open().map(|(_, candidate)| u64::from(candidate.ramped_weight())).sum();
    if total == 0 {
        return None;
    }
    let mut drawn_weight = below(rng, total);
    let mut last = None;
    for (at, candidate) in open() {
        last = Some(at);
        match drawn_weight.checked_sub(u64::from(candidate.ramped_weight())) {
            Some(remaining) => drawn_weight = remaining,
            None => break,
        }
    }
    // The drawn weight is below the sum, unless an endpoint has become full since the weights were added up. Then the last one is used.
    last
}

fn less_loaded_of_two<R: Rng>(
    endpoints: &EndpointSet,
    group: &Group,
    is_open: impl Fn(&u32) -> bool,
    rng: &mut R,
    load: impl Fn(usize) -> Load,
) -> Option<usize> {
    let candidates = &group.preferred;
    let n = candidates.len() as u64;
    let first = open_from(candidates, below(rng, n) as usize, &is_open)?;
    if n == 1 {
        return Some(first);
    }
    // Starts at one of the n − 1 others, and ends at the first one only if no other is open.
    let start = first + 1 + below(rng, n - 1) as usize;
    let second = open_from(candidates, start % candidates.len(), &is_open).unwrap_or(first);
    if first == second {
        return Some(first);
    }
    let mut passes = |at: usize| passes_slow_start(group, endpoints.candidate(candidates[at]).ramp, rng);
    match (passes(first), passes(second)) {
        (true, false) => return Some(first),
        (false, true) => return Some(second),
        (true, true) | (false, false) => {}
    }
    let cost = |at: usize| load(candidates[at] as usize).cost(endpoints.candidate(candidates[at]).weight);
    Some(if cost(second) < cost(first) { second } else { first })
}

/// Whether a drawn endpoint may compete: during its slow start with the probability of its ramp, else always.
///
/// Increasing its cost instead would not work: it would lose every comparison while the others are idle.
fn passes_slow_start<R: Rng>(group: &Group, ramp: Ramp, rng: &mut R) -> bool {
    let highest_ramp = group.highest_ramp;
    ramp == highest_ramp || below(rng, highest_ramp.percent().into()) < u64::from(ramp.percent())
}

/// A random number below `n`, which must not be 0; its bias of at most n ÷ 2⁶⁴ is negligible.
/// Source: Lemire 2019, "Fast random integer generation in an interval", without its rejection step.
fn below<R: Rng>(rng: &mut R, n: u64) -> u64 {
    debug_assert!(n > 0, "no number is below 0");
    ((u128::from(rng.next_u64()) * u128::from(n)) >> 64) as u64
}
