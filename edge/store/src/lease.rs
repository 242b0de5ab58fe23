//! The deadlines of leases, kept in memory and counted in the caller's time.

use std::collections::BTreeMap;
use std::time::Duration;

use model::time::Time;

use crate::entry::LeaseId;

/// The most leases of a store at one time.
///
/// 10,000: ten for each of 1,000 nodes; each takes some 100 bytes of memory.
pub const LEASES_MAX: usize = 10_000;

/// The shortest time to live of a lease: a shorter one could end with one slow fsync on the holder's machine.
pub const LEASE_TTL_MIN: Duration = Duration::from_millis(100);

/// The longest time to live of a lease. Rows that should stay for longer than a day should not depend on one.
pub const LEASE_TTL_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The deadlines of a store's leases.
///
/// Only the time to live of a lease is stored. Its deadline is kept in memory, so keeping a lease alive costs no write. A reopened store
/// gives each lease its full time to live again, from the first call that passes the time (as etcd does when its leader changes). So a
/// lease may end late, but never early.
#[derive(Debug, Default)]
pub struct LeaseClock {
    terms: BTreeMap<LeaseId, Term>,
}

#[derive(Clone, Copy, Debug)]
struct Term {
    ttl: Duration,
    deadline: Deadline,
}

#[derive(Clone, Copy, Debug)]
enum Deadline {
    /// The store was reopened and has not been passed the time since.
    OneTtlFromFirstTick,
    At(Time),
}

impl LeaseClock {
    /// The clock of a store that was opened with these leases.
    pub fn reopened(leases: impl IntoIterator<Item = (LeaseId, Duration)>) -> Self {
        let term = |(lease, ttl)| (lease, Term { ttl, deadline: Deadline::OneTtlFromFirstTick });
        Self { terms: leases.into_iter().map(term).collect() }
    }

    /// Adds a lease that was granted at `now`.
    pub fn insert(&mut self, lease: LeaseId, ttl: Duration, now: Time) {
        self.terms.insert(lease, Term { ttl, deadline: Deadline::At(now + ttl) });
    }

    /// Forgets a lease that was revoked.
    pub fn remove(&mut self, lease: LeaseId) {
        self.terms.remove(&lease);
    }

    /// Gives the lease its full time to live from `now`, and returns its new deadline; `None` when it has ended.
    ///
    /// A deadline never moves back, even if `now` does.
    pub fn keep_alive(&mut self, lease: LeaseId, now: Time) -> Option<Time> {
        let term = self.terms.get_mut(&lease)?;
        let fresh = now + term.ttl;
        let deadline = match term.deadline {
            Deadline::OneTtlFromFirstTick => fresh,
            Deadline::At(deadline) => deadline.max(fresh),
        };
        term.deadline = Deadline::At(deadline);
        Some(deadline)
    }

    /// Removes and returns the leases whose deadline is at or before `now`.
    ///
    /// From here on they cannot be kept alive: a holder must not get a renewal of a lease that is about to end.
    /// When they cannot be removed from the store, [`LeaseClock::put_back`] lets the next tick try again.
    pub fn take_lapsed(&mut self, now: Time) -> Vec<(LeaseId, Duration)> {
        let mut lapsed = Vec::new();
        self.terms.retain(|lease, term| match term.deadline {
            Deadline::OneTtlFromFirstTick => {
                term.deadline = Deadline::At(now + term.ttl);
                true
            }
            Deadline::At(deadline) if deadline <= now => {
                lapsed.push((*lease, term.ttl));
                false
            }
            Deadline::At(_) => true,
        });
        lapsed
    }

    /// Takes back lapsed leases that could not be ended; they lapse again at `now`.
    pub fn put_back(&mut self, leases: impl IntoIterator<Item = (LeaseId, Duration)>, now: Time) {
        for (lease, ttl) in leases {
            self.terms.insert(lease, Term { ttl, deadline: Deadline::At(now) });
        }
    }

    /// When the next lease ends; [`Time::ZERO`], which means now, while a lease waits for its first tick.
    pub fn next_deadline(&self) -> Option<Time> {
        let deadline = |term: &Term| match term.deadline {
            Deadline::OneTtlFromFirstTick => Time::ZERO,
            Deadline::At(deadline) => deadline,
        };
        self.terms.values().map(deadline).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: LeaseId = LeaseId(1);
    const TTL: Duration = Duration::from_secs(10);

    fn at(seconds: u64) -> Time {
        Time::from_millis(seconds * 1000)
    }

    #[test]
    fn a_lease_ends_at_its_deadline_and_not_before() {
        let mut clock = LeaseClock::default();
        clock.insert(LEASE, TTL, at(5));
        assert_eq!(clock.next_deadline(), Some(at(15)));
        assert_eq!(clock.take_lapsed(Time::from_millis(14_999)), []);
        assert_eq!(clock.take_lapsed(at(15)), [(LEASE, TTL)]);
        assert_eq!(clock.keep_alive(LEASE, at(15)), None);
        assert_eq!(clock.next_deadline(), None);
    }

    #[test]
    fn a_reopened_store_restarts_the_ttl_at_the_first_tick() {
        let mut clock = LeaseClock::reopened([(LEASE, TTL)]);
        assert_eq!(clock.next_deadline(), Some(Time::ZERO));
        assert_eq!(clock.take_lapsed(at(1000)), []);
        assert_eq!(clock.next_deadline(), Some(at(1010)));
        assert_eq!(clock.take_lapsed(at(1010)), [(LEASE, TTL)]);
    }

    #[test]
    fn keeping_alive_at_an_earlier_time_does_not_shorten_a_lease() {
        let mut clock = LeaseClock::default();
        clock.insert(LEASE, TTL, at(100));
        assert_eq!(clock.keep_alive(LEASE, at(50)), Some(at(110)));
    }

    #[test]
    fn a_lapsed_lease_whose_end_failed_lapses_again() {
        let mut clock = LeaseClock::default();
        clock.insert(LEASE, TTL, at(0));
        let lapsed = clock.take_lapsed(at(10));
        clock.put_back(lapsed, at(10));
        assert_eq!(clock.take_lapsed(at(10)), [(LEASE, TTL)]);
    }
}
