//! Chooses an endpoint.

use rand_core::Rng;

use crate::endpoint::{EndpointId, Seat, Tried};
use crate::load::Load;
use crate::ring::{Ring, ticket};
use crate::roster::Roster;
use crate::row::{Row, open_from};
use crate::slow_start::Ramp;
use crate::zone::{Nearness, Share};

#[cfg(test)]
mod tests;

/// How requests are spread over the endpoints of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Balance {
    /// Each in turn. Weights are ignored, but endpoints in their slow start are left out of some rounds.
    RoundRobin,
    /// At random, in proportion to the weights.
    Random,
    /// In proportion to the weights and evenly interleaved: with 5, 1, 1 it is `a a b a c a a`, never five in a row.
    /// Source: nginx, "smooth weighted round robin".
    Weighted,
    /// The less loaded of two drawn at random, by (in flight + 1) × recent latency ÷ weight.
    /// Source: Mitzenmacher 2001, "the power of two choices"; the load is Finagle's peak EWMA.
    #[default]
    LeastLoaded,
    /// Equal keys to the same endpoint, unless that has over a quarter more in flight than the mean; then to the next on the ring.
    /// Source: Karger et al. 1997, "Consistent hashing and random trees"; Mirrokni et al. 2016, "… with bounded loads".
    ConsistentHash,
}

/// Why no endpoint was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unpicked {
    /// All that may serve were tried, or there are none.
    Exhausted,
    /// The remaining ones have as many requests in flight as they may.
    Full,
}

/// What is remembered from request to request to balance them.
///
/// It belongs to one [`Roster`]: after a change of endpoints call [`adopt`](Self::adopt) before the next pick.
#[derive(Debug, Clone)]
pub struct Balancer {
    balance: Balance,
    near: Turns,
    far: Turns,
}

/// The same for the endpoints of one side, near or far.
#[derive(Debug, Clone, Default)]
struct Turns {
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
        let mut new = Self { balance, near: Turns::default(), far: Turns::default() };
        new.adopt(balance, roster);
        new
    }

    /// Goes over to a changed roster. Endpoints that stay keep their turn.
    ///
    /// O(n²) in the endpoints for [`Balance::Weighted`], O(n log n) for [`Balance::ConsistentHash`]; runs only when endpoints change.
    pub fn adopt(&mut self, balance: Balance, roster: &Roster) {
        self.balance = balance;
        self.near.adopt(balance, roster, roster.row(Nearness::Near));
        self.far.adopt(balance, roster, roster.row(Nearness::Far));
    }

    /// Chooses an endpoint for one request.
    ///
    /// Returns an index into [`Roster::seats`]. `load` is called by [`Balance::LeastLoaded`] for two seats, by [`Balance::ConsistentHash`] for all,
    /// and by the others only if the roster limits requests in flight. `key`, made by [`hash_key`](crate::hash_key), is called only by
    /// [`Balance::ConsistentHash`].
    ///
    /// It is drawn first whether the request stays near, with the probability of the roster's share; if no endpoint of that side is open, the
    /// other side is used. An ejected endpoint is chosen only when all healthy ones were tried or too many are ejected, but not because
    /// the healthy ones are full. A draining one is never chosen.
    ///
    /// Allocates nothing. O(1), but O(n) for [`Balance::Weighted`] and [`Balance::ConsistentHash`], for further attempts of a request, and while
    /// endpoints are full.
    pub fn pick<R: Rng>(
        &mut self,
        roster: &Roster,
        tried: &Tried,
        rng: &mut R,
        key: impl Fn() -> u64,
        load: impl Fn(usize) -> Load,
    ) -> Result<usize, Unpicked> {
        self.pick_among(roster, tried, rng, key, load, |_| true)
    }

    /// As [`pick`](Self::pick), among the seats that `may` allows; the others count as tried. O(n) if it leaves some out.
    pub fn pick_among<R: Rng>(
        &mut self,
        roster: &Roster,
        tried: &Tried,
        rng: &mut R,
        key: impl Fn() -> u64,
        load: impl Fn(usize) -> Load,
        may: impl Fn(usize) -> bool,
    ) -> Result<usize, Unpicked> {
        let is_untried = |&i: &u32| !tried.contains(roster.seat(i).id) && may(i as usize);
        let has_room = |i: u32| !roster.limits_in_flight() || roster.has_room(load(i as usize).in_flight);
        let is_open = |i: &u32| is_untried(i) && has_room(*i);
        let sides = self.first_side(roster, rng, &key).and_other();
        for side in sides {
            let row = roster.row(side);
            if let Some(at) = self.choose(roster, side, is_open, rng, &key, &load) {
                return Ok(row.preferred[at] as usize);
            }
        }
        let rows = sides.map(|side| roster.row(side));
        if rows.iter().any(|row| row.preferred.iter().any(is_untried)) {
            return Err(Unpicked::Full);
        }
        let mut reserve = rows.iter().flat_map(|row| &row.reserve);
        match reserve.clone().find(|i| is_open(i)) {
            Some(&index) => Ok(index as usize),
            None if reserve.any(is_untried) => Err(Unpicked::Full),
            None => Err(Unpicked::Exhausted),
        }
    }

    /// The side that a request goes to first. Equal keys go to the same side as long as the share does not change.
    fn first_side<R: Rng>(&self, roster: &Roster, rng: &mut R, key: impl Fn() -> u64) -> Nearness {
        let share = roster.near_share();
        let whole = u64::from(Share::WHOLE.hundredths_of_percent());
        let stays = match share {
            Share::WHOLE => true,
            Share::NONE => false,
            share => {
                let drawn = match self.balance {
                    Balance::ConsistentHash => ticket(key(), whole),
                    Balance::RoundRobin | Balance::Random | Balance::Weighted | Balance::LeastLoaded => {
                        below(rng, whole)
                    }
                };
                drawn < u64::from(share.hundredths_of_percent())
            }
        };
        if stays { Nearness::Near } else { Nearness::Far }
    }

    /// Chooses among the preferred endpoints of one side; returns an index into these.
    fn choose<R: Rng>(
        &mut self,
        roster: &Roster,
        side: Nearness,
        is_open: impl Fn(&u32) -> bool,
        rng: &mut R,
        key: impl Fn() -> u64,
        load: impl Fn(usize) -> Load,
    ) -> Option<usize> {
        let row = roster.row(side);
        let turns = match side {
            Nearness::Near => &mut self.near,
            Nearness::Far => &mut self.far,
        };
        match self.balance {
            _ if row.preferred.is_empty() => None,
            Balance::RoundRobin if turns.credits.is_empty() => turns.next(row, is_open),
            Balance::RoundRobin => turns.smoothest(roster, row, is_open, |seat| seat.ramp.percent().into()),
            Balance::Random => by_chance(roster, row, is_open, rng),
            Balance::Weighted => turns.smoothest(roster, row, is_open, Seat::ramped_weight),
            Balance::LeastLoaded => less_loaded_of_two(roster, row, is_open, rng, load),
            Balance::ConsistentHash => {
                turns.ring.pick(roster, row, is_open, key(), |seat| load(seat).in_flight)
            }
        }
    }
}

impl Turns {
    fn adopt(&mut self, balance: Balance, roster: &Roster, row: &Row) {
        let n = row.preferred.len();
        self.cursor = if n == 0 { 0 } else { self.cursor % n };
        let old = std::mem::take(&mut self.credits);
        self.ring = Ring::default();
        match balance {
            Balance::Weighted => self.credit(&old, roster, row),
            Balance::RoundRobin if row.is_ramping(roster.seats()) => self.credit(&old, roster, row),
            Balance::ConsistentHash => self.ring = Ring::of(roster, row),
            Balance::RoundRobin | Balance::Random | Balance::LeastLoaded => {}
        }
    }

    fn credit(&mut self, old: &[Credit], roster: &Roster, row: &Row) {
        self.credits = row
            .preferred
            .iter()
            .map(|&i| roster.seat(i).id)
            .map(|id| Credit { id, amount: old.iter().find(|c| c.id == id).map_or(0, |c| c.amount) })
            .collect();
        // Endpoints that left took their credit with them. It is made up for, or the sum would never be 0 again.
        let drift: i64 = self.credits.iter().map(|c| c.amount).sum();
        if let Some(first) = self.credits.first_mut() {
            first.amount -= drift;
        }
    }

    fn next(&mut self, row: &Row, is_open: impl Fn(&u32) -> bool) -> Option<usize> {
        let at = open_from(&row.preferred, self.cursor, is_open)?;
        self.cursor = (at + 1) % row.preferred.len();
        Some(at)
    }

    /// Each seat earns its weight; the richest is chosen and pays what all earned together.
    fn smoothest(
        &mut self,
        roster: &Roster,
        row: &Row,
        is_open: impl Fn(&u32) -> bool,
        weight: impl Fn(&Seat) -> u32,
    ) -> Option<usize> {
        debug_assert_eq!(self.credits.len(), row.preferred.len(), "adopt the roster first");
        let mut earned = 0i64;
        let mut richest: Option<(usize, i64)> = None;
        for (at, credit) in self.credits.iter_mut().enumerate() {
            let index = row.preferred[at];
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

/// Draws a preferred seat in proportion to the weights; if it is not open, draws again among those that are.
fn by_chance<R: Rng>(
    roster: &Roster,
    row: &Row,
    is_open: impl Fn(&u32) -> bool,
    rng: &mut R,
) -> Option<usize> {
    let sums = &row.weight_sums;
    let ticket = below(rng, *sums.last()?);
    let drawn = sums.partition_point(|&sum| sum <= ticket);
    if is_open(&row.preferred[drawn]) {
        return Some(drawn);
    }
    let open = || {
        let seats = row.preferred.iter().enumerate().filter(|(_, i)| is_open(i));
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
    // The ticket is below the sum of the weights, unless an endpoint has filled up since they were added. Then the last one will do.
    last
}

fn less_loaded_of_two<R: Rng>(
    roster: &Roster,
    row: &Row,
    is_open: impl Fn(&u32) -> bool,
    rng: &mut R,
    load: impl Fn(usize) -> Load,
) -> Option<usize> {
    let seats = &row.preferred;
    let n = seats.len() as u64;
    let first = open_from(seats, below(rng, n) as usize, &is_open)?;
    if n == 1 {
        return Some(first);
    }
    // One of the n − 1 places after the first: never the first itself, unless all others are not open.
    let start = first + 1 + below(rng, n - 1) as usize;
    let second = open_from(seats, start % seats.len(), &is_open).unwrap_or(first);
    if first == second {
        return Some(first);
    }
    let mut stays = |at: usize| stays_in(row, roster.seat(seats[at]).ramp, rng);
    match (stays(first), stays(second)) {
        (true, false) => return Some(first),
        (false, true) => return Some(second),
        (true, true) | (false, false) => {}
    }
    let cost = |at: usize| load(seats[at] as usize).cost(roster.seat(seats[at]).weight);
    Some(if cost(second) < cost(first) { second } else { first })
}

/// Whether a drawn endpoint stays in the draw: always, unless it is in its slow start; then with the probability of its ramp.
///
/// Its cost is not changed instead: multiplied by the inverse of the ramp, it would lose every comparison while the others are idle.
fn stays_in<R: Rng>(row: &Row, ramp: Ramp, rng: &mut R) -> bool {
    let furthest = row.furthest;
    ramp == furthest || below(rng, furthest.percent().into()) < u64::from(ramp.percent())
}

/// A number below `n`, which must not be 0; the bias of at most n ÷ 2⁶⁴ is beyond measuring.
/// Source: Lemire 2019, "Fast random integer generation in an interval", without its rejection step.
fn below<R: Rng>(rng: &mut R, n: u64) -> u64 {
    debug_assert!(n > 0, "nothing is below 0");
    ((u128::from(rng.next_u64()) * u128::from(n)) >> 64) as u64
}
