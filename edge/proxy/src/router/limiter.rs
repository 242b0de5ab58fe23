//! Rate limits of requests, over all workers: token buckets.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use model::resource::route::{LimitBy, RequestLimit};
use route::{Decision, RateLimit};

/// Shards that the clients are divided into, so that workers seldom contend for a lock.
const SHARDS: usize = 16;

/// Clients that are kept in each shard: 16 × 4,096 are 65,536, at some 40 bytes each 2.5 MiB.
const CLIENTS_MAX: usize = 4096;

/// A rate limit, and its token buckets.
#[derive(Debug)]
pub(super) struct Limiter {
    declared: RequestLimit,
    rate_limit: RateLimit,
    /// The bucket of all clients; if each has its own, the bucket of those beyond the maximum.
    all: Bucket,
    clients: Box<[Mutex<Clients>]>,
}

/// A token bucket, as the time in nanoseconds at which it will be full.
#[derive(Debug, Default)]
struct Bucket(AtomicU64);

#[derive(Debug, Default)]
struct Clients {
    /// By [address](key_of). A full bucket need not be kept.
    full_at_ns: BTreeMap<u64, u64>,
    /// When the first bucket is full, as of the last scan of all of them.
    first_full_at_ns: u64,
}

impl Limiter {
    pub(super) fn new(declared: RequestLimit) -> Self {
        let burst = declared.burst.unwrap_or(declared.per_second);
        let shards = match declared.by {
            LimitBy::All => 0,
            LimitBy::Client => SHARDS,
        };
        Self {
            declared,
            rate_limit: RateLimit::new(declared.per_second, burst),
            all: Bucket::default(),
            clients: (0..shards).map(|_| Mutex::default()).collect(),
        }
    }

    /// Whether it was created from this declaration.
    pub(super) fn is(&self, declared: &RequestLimit) -> bool {
        self.declared == *declared
    }

    /// Admits a request of a client; `Err` says how long to wait. `now` counts from any fixed moment.
    pub(super) fn take(&self, client: IpAddr, now: Duration) -> Result<(), Duration> {
        let now_ns = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let key = key_of(client);
        let wait_ns = match self.clients.get(shard_of(key)) {
            None => self.all.take(self.rate_limit, now_ns),
            Some(clients) => {
                // Each bucket is one number, so a poisoned lock does no harm.
                let mut clients = clients.lock().unwrap_or_else(PoisonError::into_inner);
                match clients.take(key, self.rate_limit, now_ns) {
                    Some(wait_ns) => wait_ns,
                    None => self.all.take(self.rate_limit, now_ns),
                }
            }
        };
        wait_ns.map_err(Duration::from_nanos)
    }
}

impl Bucket {
    fn take(&self, rate_limit: RateLimit, now_ns: u64) -> Result<(), u64> {
        let take = |state: u64| match rate_limit.check(state, now_ns) {
            Decision::Allow { full_at_ns } => Some(full_at_ns),
            Decision::Wait { .. } => None,
        };
        let updated = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        updated.map(drop).map_err(|state| match rate_limit.check(state, now_ns) {
            Decision::Wait { ns } => ns,
            Decision::Allow { .. } => 0,
        })
    }
}

impl Clients {
    /// `None` when there are as many clients as allowed.
    fn take(&mut self, key: u64, rate_limit: RateLimit, now_ns: u64) -> Option<Result<(), u64>> {
        if !self.full_at_ns.contains_key(&key) && self.full_at_ns.len() >= CLIENTS_MAX {
            self.evict_full(now_ns);
            if self.full_at_ns.len() >= CLIENTS_MAX {
                return None;
            }
        }
        let state = self.full_at_ns.entry(key).or_default();
        Some(match rate_limit.check(*state, now_ns) {
            Decision::Allow { full_at_ns } => {
                *state = full_at_ns;
                Ok(())
            }
            Decision::Wait { ns } => Err(ns),
        })
    }

    /// Drops full buckets. Cheap while none can be full, so that masses of new clients do not cost a scan each.
    fn evict_full(&mut self, now_ns: u64) {
        if now_ns >= self.first_full_at_ns {
            self.full_at_ns.retain(|_, full_at_ns| *full_at_ns > now_ns);
            self.first_full_at_ns = self.full_at_ns.values().copied().min().unwrap_or(0);
        }
    }
}

/// The key of a client: its IPv4 address, or the first half of its IPv6 address, which belongs to one customer.
fn key_of(client: IpAddr) -> u64 {
    match client.to_canonical() {
        IpAddr::V4(four) => u64::from(four.to_bits()),
        // Keys below 2^32 are not those of routed IPv6 addresses.
        IpAddr::V6(six) => (six.to_bits() >> 64) as u64,
    }
}

/// Spreads neighbouring keys by Fibonacci hashing (Knuth, vol. 3, 6.4).
fn shard_of(key: u64) -> usize {
    (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60) as usize
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn limiter(by: LimitBy) -> Limiter {
        let number = |n| NonZeroU32::new(n).unwrap();
        Limiter::new(RequestLimit { per_second: number(1), burst: Some(number(2)), by })
    }

    fn client(n: u32) -> IpAddr {
        std::net::Ipv4Addr::from_bits(n).into()
    }

    const NOW: Duration = Duration::from_secs(100);

    #[test]
    fn clients_share_one_bucket_or_have_one_each() {
        let (all, each) = (limiter(LimitBy::All), limiter(LimitBy::Client));
        for n in 0..2 {
            assert_eq!(all.take(client(n), NOW), Ok(()));
        }
        assert_eq!(all.take(client(2), NOW), Err(Duration::from_secs(1)));
        for n in (0..9).chain(0..9) {
            assert_eq!(each.take(client(n), NOW), Ok(()));
        }
        assert_eq!(each.take(client(0), NOW), Err(Duration::from_secs(1)));
        assert_eq!(each.take(client(0), NOW + Duration::from_secs(1)), Ok(()));
    }

    #[test]
    fn an_ipv6_prefix_is_one_client() {
        let each = limiter(LimitBy::Client);
        let of = |text: &str| each.take(text.parse().unwrap(), NOW).is_ok();
        assert!(of("2001:db8::1") && of("2001:db8::2") && !of("2001:db8::3"));
        assert!(of("2001:db8:0:1::1"));
        assert!(
            of("::ffff:10.0.0.1") && of("10.0.0.1") && !of("10.0.0.1"),
            "one address, written in two ways"
        );
    }

    #[test]
    fn clients_beyond_the_maximum_share_a_bucket_until_others_are_full() {
        let each = limiter(LimitBy::Client);
        let many = (SHARDS * CLIENTS_MAX * 2) as u32;
        let let_in = (0..many).filter(|n| each.take(client(*n), NOW).is_ok()).count();
        assert_eq!(
            let_in,
            SHARDS * CLIENTS_MAX + 2,
            "the maximum number of clients, and a burst of the others"
        );
        let kept: usize = each.clients.iter().map(|part| part.lock().unwrap().full_at_ns.len()).sum();
        assert_eq!(kept, SHARDS * CLIENTS_MAX);
        let later = NOW + Duration::from_secs(1);
        assert_eq!(each.take(client(many), later), Ok(()));
        assert_eq!(each.take(client(many), later), Ok(()));
    }
}
