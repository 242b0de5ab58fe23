//! The choice itself.

use rand_core::Rng;

use crate::endpoint::{EndpointId, Tried};
use crate::load::Load;
use crate::roster::Roster;

#[cfg(test)]
mod tests;

/// How requests are spread over the endpoints of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Balance {
    /// Each in turn, weights ignored.
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
}

/// The state that a way of balancing keeps from request to request.
///
/// It belongs to one [`Roster`]: after a change of endpoints call [`adopt`](Self::adopt) before the next pick.
#[derive(Debug, Clone)]
pub struct Balancer {
    balance: Balance,
    /// Where round robin goes on; an index into the preferred seats.
    cursor: usize,
    /// nginx's `current_weight` of each preferred seat; their sum is 0 between picks.
    credits: Vec<Credit>,
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
        let mut new = Self { balance, cursor: 0, credits: Vec::new() };
        new.adopt(balance, roster);
        new
    }

    /// Goes over to a changed roster; endpoints that stay keep their turn.
    ///
    /// O(n²) in the endpoints for [`Balance::Weighted`]; runs only when endpoints change.
    pub fn adopt(&mut self, balance: Balance, roster: &Roster) {
        self.balance = balance;
        let n = roster.preferred().len();
        self.cursor = if n == 0 { 0 } else { self.cursor % n };
        let old = std::mem::take(&mut self.credits);
        if balance != Balance::Weighted {
            return;
        }
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

    /// Chooses an endpoint for one request; `None` when every one that may serve has been tried.
    ///
    /// Answers an index into [`Roster::seats`]. `load` is asked only by [`Balance::LeastLoaded`], for two seats.
    /// An ejected endpoint is chosen only when all healthy ones were tried or too many are ejected; a draining one never.
    /// Allocates nothing; O(1), but O(n) for [`Balance::Weighted`] and for the further attempts of a request.
    pub fn pick<R: Rng>(
        &mut self,
        roster: &Roster,
        tried: &Tried,
        rng: &mut R,
        load: impl Fn(usize) -> Load,
    ) -> Option<usize> {
        let preferred = roster.preferred();
        let chosen = match self.balance {
            _ if preferred.is_empty() => None,
            Balance::RoundRobin => self.next_in_turn(roster, tried),
            Balance::Random => by_chance(roster, tried, rng),
            Balance::Weighted => self.smoothest(roster, tried),
            Balance::LeastLoaded => less_loaded_of_two(roster, tried, rng, load),
        };
        if let Some(at) = chosen {
            return Some(preferred[at] as usize);
        }
        let reserve = roster.reserve();
        let at = roster.untried_from(reserve, 0, tried)?;
        Some(reserve[at] as usize)
    }

    fn next_in_turn(&mut self, roster: &Roster, tried: &Tried) -> Option<usize> {
        let at = roster.untried_from(roster.preferred(), self.cursor, tried)?;
        self.cursor = (at + 1) % roster.preferred().len();
        Some(at)
    }

    /// Each seat earns its weight; the richest is chosen and pays what all earned together.
    fn smoothest(&mut self, roster: &Roster, tried: &Tried) -> Option<usize> {
        debug_assert_eq!(self.credits.len(), roster.preferred().len(), "adopt the roster first");
        let mut earned = 0i64;
        let mut richest: Option<(usize, i64)> = None;
        for (at, credit) in self.credits.iter_mut().enumerate() {
            let seat = roster.seat(roster.preferred()[at]);
            if tried.contains(seat.id) {
                continue;
            }
            let weight = i64::from(seat.weight.get());
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

/// Draws a preferred seat in proportion to the weights; on further attempts among the untried ones.
fn by_chance<R: Rng>(roster: &Roster, tried: &Tried, rng: &mut R) -> Option<usize> {
    let sums = roster.weight_sums();
    if tried.is_empty() {
        let ticket = below(rng, *sums.last()?);
        return Some(sums.partition_point(|&sum| sum <= ticket));
    }
    let open = || {
        let seats = roster.preferred().iter().map(|&i| roster.seat(i));
        seats.enumerate().filter(|(_, seat)| !tried.contains(seat.id))
    };
    let total: u64 = open().map(|(_, seat)| u64::from(seat.weight.get())).sum();
    if total == 0 {
        return None;
    }
    let mut ticket = below(rng, total);
    for (at, seat) in open() {
        match ticket.checked_sub(u64::from(seat.weight.get())) {
            Some(rest) => ticket = rest,
            None => return Some(at),
        }
    }
    unreachable!("the ticket is below the sum of the weights it walks over")
}

fn less_loaded_of_two<R: Rng>(
    roster: &Roster,
    tried: &Tried,
    rng: &mut R,
    load: impl Fn(usize) -> Load,
) -> Option<usize> {
    let seats = roster.preferred();
    let n = seats.len() as u64;
    let first = roster.untried_from(seats, below(rng, n) as usize, tried)?;
    if n == 1 {
        return Some(first);
    }
    // One of the n − 1 places after the first: never the first itself, unless all between were tried.
    let start = first + 1 + below(rng, n - 1) as usize;
    let second = roster.untried_from(seats, start % seats.len(), tried)?;
    if first == second {
        return Some(first);
    }
    let cost = |at: usize| load(seats[at] as usize).cost(roster.seat(seats[at]).weight);
    Some(if cost(second) < cost(first) { second } else { first })
}

/// A number below `n`, which must not be 0; the bias of at most n ÷ 2⁶⁴ is beyond measuring.
/// Source: Lemire 2019, "Fast random integer generation in an interval", without its rejection step.
fn below<R: Rng>(rng: &mut R, n: u64) -> u64 {
    debug_assert!(n > 0, "nothing is below 0");
    ((u128::from(rng.next_u64()) * u128::from(n)) >> 64) as u64
}
