//! Counters that are written without contention and read without a lock: each worker has a shard of its own.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::histogram::{BUCKETS, bucket_of};
use super::{Counts, Histogram, RouteTraffic};

/// A counter that only one thread writes: adding costs no locked instruction.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Answers by their class and latency.
#[derive(Debug)]
struct Answers {
    status: [Counter; 5],
    latency: [Counter; BUCKETS],
}

impl Default for Answers {
    fn default() -> Self {
        Self { status: Default::default(), latency: std::array::from_fn(|_| Counter::default()) }
    }
}

impl Answers {
    fn count(&self, status: u16, latency: Duration) {
        let class = usize::from(status / 100).clamp(1, 5) - 1;
        self.status[class].add(1);
        self.latency[bucket_of(latency.as_micros() as u64)].add(1);
    }

    fn add_to(&self, status: &mut [u64; 5], latency: &mut Histogram) {
        status.iter_mut().zip(&self.status).for_each(|(sum, count)| *sum += count.get());
        add_buckets(latency, &self.latency);
    }
}

fn add_buckets(sum: &mut Histogram, buckets: &[Counter; BUCKETS]) {
    sum.counts.iter_mut().zip(buckets).for_each(|(sum, count)| *sum += count.get());
}

/// The part of the counters of a service or an endpoint that one worker writes.
///
/// Aligned to two cache lines, the unit in which processors fetch ahead, so that workers do not disturb each other.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Shard {
    pub(crate) requests: Counter,
    pub(crate) bytes_in: Counter,
    pub(crate) bytes_out: Counter,
    pub(crate) retries: Counter,
    pub(crate) connect_failures: Counter,
    pub(crate) failures: Counter,
    abandoned: Counter,
    /// How long the abandoned requests had taken. Allocated with the first, because most shards never have one.
    abandoned_after: OnceLock<Box<[Counter; BUCKETS]>>,

    // Of UDP only.
    /// Of clients.
    pub(crate) datagrams_in: Counter,
    /// Of endpoints.
    pub(crate) datagrams_out: Counter,

    // Of services only.
    /// Datagrams of both sides.
    pub(crate) datagrams_dropped: Counter,
    pub(crate) unavailable: Counter,
    pub(crate) over_limit: Counter,
    pub(crate) shed: Counter,
    pub(crate) hedges: Counter,
    pub(crate) hedges_won: Counter,
    pub(crate) malformed: Counter,
    pub(crate) proxy_header_failures: Counter,
    pub(crate) handshake_failures: Counter,
    pub(crate) broken_off: Counter,
    /// Requests that went first to an external endpoint.
    pub(crate) elsewhere: Counter,

    answers: Answers,
}

impl Shard {
    pub(crate) fn per_worker(workers: usize) -> Box<[Self]> {
        (0..workers).map(|_| Self::default()).collect()
    }

    /// Counts an answer.
    pub(crate) fn answered(&self, status: u16, latency: Duration) {
        self.answers.count(status, latency);
    }

    /// Counts a request that its client abandoned after this time; `None` if the client itself had taken the time, to send the request.
    pub(crate) fn abandoned(&self, after: Option<Duration>) {
        self.abandoned.add(1);
        if let Some(after) = after {
            let new = || Box::new(std::array::from_fn(|_| Counter::default()));
            self.abandoned_after.get_or_init(new)[bucket_of(after.as_micros() as u64)].add(1);
        }
    }

    fn add_to(&self, sum: &mut Counts) {
        sum.requests += self.requests.get();
        sum.bytes_in += self.bytes_in.get();
        sum.bytes_out += self.bytes_out.get();
        sum.retries += self.retries.get();
        sum.connect_failures += self.connect_failures.get();
        sum.failures += self.failures.get();
        sum.abandoned += self.abandoned.get();
        if let Some(buckets) = self.abandoned_after.get() {
            add_buckets(sum.abandoned_after.get_or_insert_default(), buckets);
        }
        self.answers.add_to(&mut sum.status, &mut sum.latency);
    }
}

/// The sum over all workers.
pub(crate) fn sum(shards: &[Shard]) -> Counts {
    let mut counts = Counts::default();
    shards.iter().for_each(|shard| shard.add_to(&mut counts));
    counts
}

/// The part of a route's counters that one worker writes.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct RouteShard {
    pub(crate) requests: Counter,
    pub(crate) over_rate: Counter,
    pub(crate) copies: Counter,
    pub(crate) copies_left_out: Counter,
    answers: Answers,
}

impl RouteShard {
    pub(crate) fn per_worker(workers: usize) -> Arc<[Self]> {
        (0..workers).map(|_| Self::default()).collect()
    }

    /// Counts an answer.
    pub(crate) fn answered(&self, status: u16, latency: Duration) {
        self.answers.count(status, latency);
    }

    /// The sum over all workers.
    pub(crate) fn sum(route: &Arc<str>, shards: &[Self]) -> RouteTraffic {
        let mut sum = RouteTraffic { route: Arc::clone(route), ..RouteTraffic::default() };
        for shard in shards {
            sum.requests += shard.requests.get();
            sum.over_rate += shard.over_rate.get();
            sum.copies += shard.copies.get();
            sum.copies_left_out += shard.copies_left_out.get();
            shard.answers.add_to(&mut sum.status, &mut sum.latency);
        }
        sum
    }
}
