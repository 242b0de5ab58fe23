//! The choice itself.

use rand_core::Rng;

use crate::endpoint::{EndpointId, Seat, Tried};
use crate::load::Load;
use crate::ring::Ring;
use crate::roster::Roster;
use crate::slow_start::Ramp;

#[cfg(test)]
mod tests;

/// How requests are spread over the endpoints of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Balance {
    /// Each in turn, weights ignored but for those in their slow start, which are left out in most rounds.
    RoundRobin,
    /// By chance, in proportion to the weights.
    Random,
    /// In proportion to the weights and evenly interleaved: with 5, 1, 1 it is `a a b a c a a`, never five in a row.
    /// Source: nginx, "smooth weighted round robin".
    Weighted,
    /// The less loaded of two drawn by chance, by (in flight + 1) × recent latency ÷ weight.
    /// Source: Mitzenmacher 2001, "the power of two choices"; the load is Finagle's peak EWMA.
    #[default]
    LeastLoaded,
    /// Equal keys to the same endpoint, unless it has over a quarter more in flight than the mean; then to the next on the ring.
    /// Source: Karger et al. 1997, "Consistent hashing and random trees"; Mirrokni et al. 2016, "… with bounded loads".
    ConsistentHash,
}

/// Why no endpoint was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unpicked {
    /// Every one that may serve has been tried, or there is none.
    Exhausted,
    /// Those that are left have as many requests in flight as they may have.
    Full,
}

/// The state that a way of balancing keeps from request to request.
///
/// It belongs to one [`Roster`]: after a change of endpoints call [`adopt`](Self::adopt) before the next pick.
#[derive(Debug, Clone)]
pub struct Balancer {
    balance: Balance,
    /// Where round robin goes on; an index into the preferred seats.
    cursor: usize,
    /// nginx's `current_weight` of each preferred seat; their sum is 0 between picks. Empty unless weights count.
    credits: Vec<Credit>,
    /// Empty unless it hashes.
    ring: Ring,
}

#[derive(Debug, Clone, Copy)]
struct Credit {
    id: EndpointId,
    amount: i64,
}

impl Balancer {
    /// A balancer that has not chosen yet.
    #[must_use]
    pub fn new(balance: Balance, roster: &Roster) -> Self {
        let mut new = Self { balance, cursor: 0, credits: Vec::new(), ring: Ring::default() };
        new.adopt(balance, roster);
        new
    }

    /// Goes over to a changed roster; endpoints that stay keep their turn.
    ///
    /// O(n²) in the endpoints for [`Balance::Weighted`], O(n log n) for [`Balance::ConsistentHash`]; runs only when endpoints change.
    pub fn adopt(&mut self, balance: Balance, roster: &Roster) {
        self.balance = balance;
        let n = roster.preferred().len();
        self.cursor = if n == 0 { 0 } else { self.cursor % n };
        let old = std::mem::take(&mut self.credits);
        self.ring = Ring::default();
        match balance {
            Balance::Weighted => self.credit(&old, roster),
            Balance::RoundRobin if roster.is_ramping() => self.credit(&old, roster),
            Balance::ConsistentHash => self.ring = Ring::of(roster),
            Balance::RoundRobin | Balance::Random | Balance::LeastLoaded => {}
        }
    }

    fn credit(&mut self, old: &[Credit], roster: &Roster) {
        self.credits = roster
            .preferred()
            .iter()
            .map(|&i| roster.seat(i).id)
            .map(|id| Credit { id, amount: old.iter().find(|c| c.id == id).map_or(0, |c| c.amount) })
            .collect();
        // Those that left took their credit with them; without its return the sum would drift from 0 for ever.
        let drift: i64 = self.credits.iter().map(|c| c.amount).sum();
        if let Some(first) = self.credits.first_mut() {
            first.amount -= drift;
        }
    }

    /// Chooses an endpoint for one request.
    ///
    /// Answers an index into [`Roster::seats`]. `load` is asked by [`Balance::LeastLoaded`], for two seats, by
    /// [`Balance::ConsistentHash`], for all, and by every way where the roster limits what is in flight; `key`, made by
    /// [`hash_key`](crate::hash_key), only by [`Balance::ConsistentHash`].
    /// An ejected endpoint is chosen only when all healthy ones were tried or too many are ejected; a draining one never. That the
    /// healthy ones are full is no reason to burden the sick.
    /// Allocates nothing; O(1), but O(n) for [`Balance::Weighted`], [`Balance::ConsistentHash`], for the further attempts of a request
    /// and while endpoints are full.
    pub fn pick<R: Rng>(
        &mut self,
        roster: &Roster,
        tried: &Tried,
        rng: &mut R,
        key: impl FnOnce() -> u64,
        load: impl Fn(usize) -> Load,
    ) -> Result<usize, Unpicked> {
        self.pick_among(roster, tried, rng, key, load, |_| true)
    }

    /// As [`pick`](Self::pick), among the seats that `may` names; the others are as if they had been tried. O(n) where it leaves some out.
    pub fn pick_among<R: Rng>(
        &mut self,
        roster: &Roster,
        tried: &Tried,
        rng: &mut R,
        key: impl FnOnce() -> u64,
        load: impl Fn(usize) -> Load,
        may: impl Fn(usize) -> bool,
    ) -> Result<usize, Unpicked> {
        let preferred = roster.preferred();
        let is_untried = |&i: &u32| !tried.contains(roster.seat(i).id) && may(i as usize);
        let has_room = |i: u32| !roster.limits_in_flight() || roster.has_room(load(i as usize).in_flight);
        let is_open = |i: &u32| is_untried(i) && has_room(*i);
        let chosen = match self.balance {
            _ if preferred.is_empty() => None,
            Balance::RoundRobin if self.credits.is_empty() => self.next_in_turn(roster, is_open),
            Balance::RoundRobin => self.smoothest(roster, is_open, |seat| seat.ramp.percent().into()),
            Balance::Random => by_chance(roster, is_open, rng),
            Balance::Weighted => self.smoothest(roster, is_open, Seat::ramped_weight),
            Balance::LeastLoaded => less_loaded_of_two(roster, is_open, rng, &load),
            Balance::ConsistentHash => self.ring.pick(roster, is_open, key(), |seat| load(seat).in_flight),
        };
        if let Some(at) = chosen {
            return Ok(preferred[at] as usize);
        }
        let reserve = roster.reserve();
        if preferred.iter().any(is_untried) {
            return Err(Unpicked::Full);
        }
        match roster.open_from(reserve, 0, is_open) {
            Some(at) => Ok(reserve[at] as usize),
            None if reserve.iter().any(is_untried) => Err(Unpicked::Full),
            None => Err(Unpicked::Exhausted),
        }
    }

    fn next_in_turn(&mut self, roster: &Roster, is_open: impl Fn(&u32) -> bool) -> Option<usize> {
        let at = roster.open_from(roster.preferred(), self.cursor, is_open)?;
        self.cursor = (at + 1) % roster.preferred().len();
        Some(at)
    }

    /// Each seat earns its weight; the richest is chosen and pays what all earned together.
    fn smoothest(
        &mut self,
        roster: &Roster,
        is_open: impl Fn(&u32) -> bool,
        weight: impl Fn(&Seat) -> u32,
    ) -> Option<usize> {
        debug_assert_eq!(self.credits.len(), roster.preferred().len(), "adopt the roster first");
        let mut earned = 0i64;
        let mut richest: Option<(usize, i64)> = None;
        for (at, credit) in self.credits.iter_mut().enumerate() {
            let index = roster.preferred()[at];
            if !is_open(&index) {
                continue;
            }
            let weight = i64::from(weight(roster.seat(index)));
            credit.amount += weight;
            earned += weight;
            if richest.is_none_or(|(_, best)| credit.amount > best) {
                richest = Some((at, credit.amount));
            }
        }
        let (at, _) = richest?;
        self.credits[at].amount -= earned;
        Some(at)
    }
}

/// Draws a preferred seat in proportion to the weights; when that is not open, among those that are.
fn by_chance<R: Rng>(roster: &Roster, is_open: impl Fn(&u32) -> bool, rng: &mut R) -> Option<usize> {
    let sums = roster.weight_sums();
    let ticket = below(rng, *sums.last()?);
    let drawn = sums.partition_point(|&sum| sum <= ticket);
    if is_open(&roster.preferred()[drawn]) {
        return Some(drawn);
    }
    let open = || {
        let seats = roster.preferred().iter().enumerate().filter(|(_, i)| is_open(i));
        seats.map(|(at, &i)| (at, roster.seat(i)))
    };
    let total: u64 = open().map(|(_, seat)| u64::from(seat.ramped_weight())).sum();
    if total == 0 {
        return None;
    }
    let mut ticket = below(rng, total);
    let mut last = None;
    for (at, seat) in open() {
        last = Some(at);
        match ticket.checked_sub(u64::from(seat.ramped_weight())) {
            Some(rest) => ticket = rest,
            None => break,
        }
    }
    // The ticket is below the sum of the weights, unless one has filled up since they were added; then the last will do.
    last
}

fn less_loaded_of_two<R: Rng>(
    roster: &Roster,
    is_open: impl Fn(&u32) -> bool,
    rng: &mut R,
    load: impl Fn(usize) -> Load,
) -> Option<usize> {
    let seats = roster.preferred();
    let n = seats.len() as u64;
    let first = roster.open_from(seats, below(rng, n) as usize, &is_open)?;
    if n == 1 {
        return Some(first);
    }
    // One of the n − 1 places after the first: never the first itself, unless all between were tried.
    let start = first + 1 + below(rng, n - 1) as usize;
    let second = roster.open_from(seats, start % seats.len(), &is_open).unwrap_or(first);
    if first == second {
        return Some(first);
    }
    let mut stays = |at: usize| stays_in(roster, roster.seat(seats[at]).ramp, rng);
    match (stays(first), stays(second)) {
        (true, false) => return Some(first),
        (false, true) => return Some(second),
        (true, true) | (false, false) => {}
    }
    let cost = |at: usize| load(seats[at] as usize).cost(roster.seat(seats[at]).weight);
    Some(if cost(second) < cost(first) { second } else { first })
}

/// Says whether a drawn endpoint stays in the draw: always, unless it is in its slow start; then in so many of a hundred cases as it has come.
///
/// Its cost is left as it is: multiplied by the inverse of the ramp it would lose every comparison as long as the others are idle.
fn stays_in<R: Rng>(roster: &Roster, ramp: Ramp, rng: &mut R) -> bool {
    let furthest = roster.furthest();
    ramp == furthest || below(rng, furthest.percent().into()) < u64::from(ramp.percent())
}

/// A number below `n`, which must not be 0; the bias of at most n ÷ 2⁶⁴ is beyond measuring.
/// Source: Lemire 2019, "Fast random integer generation in an interval", without its rejection step.
fn below<R: Rng>(rng: &mut R, n: u64) -> u64 {
    debug_assert!(n > 0, "nothing is below 0");
    ((u128::from(rng.next_u64()) * u128::from(n)) >> 64) as u64
}
