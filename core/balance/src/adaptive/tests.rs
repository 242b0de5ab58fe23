use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use proptest::prelude::*;
use rand_core::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::*;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A service with a number of servers, random service times and a queue, behind a limit.
struct World {
    limit: AdaptiveLimit,
    /// Whether requests above the limit are refused.
    is_shedding: bool,
    rng: Xoshiro256PlusPlus,
    now: Duration,
    servers: u32,
    mean: Duration,
    /// How random the service time is, from 0 (constant) to 1 (exponentially distributed).
    spread: f64,
    busy: u32,
    queue: VecDeque<Duration>,
    /// Requests in service: when each will be done, and when it arrived.
    done: BinaryHeap<Reverse<(Duration, Duration)>>,
    next_arrival: Duration,
}

/// The outcomes of requests.
#[derive(Debug, Default)]
struct Results {
    latencies: Vec<Duration>,
    refused: u32,
}

impl Results {
    fn median(&mut self) -> Duration {
        self.latencies.sort_unstable();
        self.latencies[self.latencies.len() / 2]
    }

    fn answered_within(&self, longest: Duration) -> usize {
        self.latencies.iter().filter(|&&latency| latency <= longest).count()
    }
}

impl World {
    fn new(servers: u32, mean: Duration, spread: f64) -> Self {
        Self {
            limit: AdaptiveLimit::new(AdaptivePolicy::default(), Duration::ZERO),
            is_shedding: true,
            rng: Xoshiro256PlusPlus::seed_from_u64(11),
            now: Duration::ZERO,
            servers,
            mean,
            spread,
            busy: 0,
            queue: VecDeque::new(),
            done: BinaryHeap::new(),
            next_arrival: Duration::ZERO,
        }
    }

    /// The capacity in requests per second.
    fn capacity(&self) -> f64 {
        f64::from(self.servers) / self.mean.as_secs_f64()
    }

    fn awaiting(&self) -> u32 {
        self.busy + self.queue.len() as u32
    }

    fn exponential(&mut self, mean: Duration) -> Duration {
        let share = (self.rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        mean.mul_f64(-(1.0 - share).ln())
    }

    fn begin(&mut self, arrived: Duration) {
        let random = self.exponential(self.mean);
        let service_time = self.mean.mul_f64(1.0 - self.spread) + random.mul_f64(self.spread);
        self.busy += 1;
        self.done.push(Reverse((self.now + service_time, arrived)));
    }

    /// Runs for `time` with a load of `load` × capacity.
    fn run(&mut self, time: Duration, load: f64) -> Results {
        let end = self.now + time;
        let interval = Duration::from_secs_f64(1.0 / (load * self.capacity()));
        self.next_arrival = self.now;
        let mut results = Results::default();
        loop {
            let done = self.done.peek().map_or(Duration::MAX, |Reverse((at, _))| *at);
            self.now = done.min(self.next_arrival);
            if self.now >= end {
                self.now = end;
                return results;
            }
            if done <= self.next_arrival {
                let Reverse((_, arrived)) = self.done.pop().expect("a request is in service");
                self.limit.observe(self.now, self.now - arrived, self.awaiting());
                results.latencies.push(self.now - arrived);
                self.busy -= 1;
            } else {
                self.next_arrival = self.now + self.exponential(interval);
                if self.is_shedding && self.awaiting() >= self.limit.get() {
                    results.refused += 1;
                } else {
                    self.queue.push_back(self.now);
                }
            }
            while self.busy < self.servers {
                let Some(arrived) = self.queue.pop_front() else { break };
                self.begin(arrived);
            }
        }
    }
}

#[test]
fn a_saturated_service_keeps_its_goodput_and_answers_in_time() {
    for (servers, mean, spread) in
        [(1, ms(20), 0.5), (4, ms(20), 0.2), (16, ms(50), 1.0), (200, ms(100), 0.5)]
    {
        let mut shedding = World::new(servers, mean, spread);
        let mut unlimited = World::new(servers, mean, spread);
        unlimited.is_shedding = false;
        let case = format!("{servers} servers of {mean:?}, spread {spread}");
        shedding.run(ms(60_000), 2.0);
        unlimited.run(ms(60_000), 2.0);
        let (mut limited, overloaded) = (shedding.run(ms(60_000), 2.0), unlimited.run(ms(60_000), 2.0));
        let possible = shedding.capacity() * 60.0;
        let limit = shedding.limit.get();
        assert!(
            limited.latencies.len() as f64 > 0.9 * possible,
            "{case}: {} of {possible}",
            limited.latencies.len()
        );
        assert!(limited.median() < 5 * mean, "{case}: {:?} at limit {limit}", limited.median());
        assert_eq!(overloaded.answered_within(10 * mean), 0, "{case}: without a limit all answers are late");
    }
}

#[test]
fn a_healthy_service_sheds_no_request() {
    for (servers, mean, spread) in [(2, ms(5), 0.3), (50, ms(20), 1.0), (400, ms(100), 1.0)] {
        let mut world = World::new(servers, mean, spread);
        // The load grows gradually.
        for load in [0.05, 0.1, 0.2, 0.3, 0.4] {
            world.run(ms(10_000), load);
        }
        let results = world.run(ms(600_000), 0.5);
        let case = format!("{servers} servers of {mean:?}, limit {}", world.limit.get());
        assert_eq!(results.refused, 0, "{case} refused of {}", results.latencies.len());
    }
}

#[test]
fn a_limit_that_starts_under_overload_converges() {
    let mut world = World::new(2, ms(10), 0.3);
    world.is_shedding = false;
    world.run(ms(2_000), 3.0);
    world.is_shedding = true;
    // The limit has observed only overload.
    world.limit = AdaptiveLimit::new(AdaptivePolicy::default(), world.now);
    world.run(ms(20_000), 3.0);
    let mut results = world.run(ms(10_000), 3.0);
    assert!(results.median() < ms(60), "{:?} at limit {}", results.median(), world.limit.get());
}

#[test]
fn a_service_that_becomes_slower_without_overload_regains_its_limit() {
    let mut world = World::new(100, ms(10), 0.5);
    world.run(ms(30_000), 0.6);
    world.mean = ms(40);
    // As many requests in flight as before, with four times the latency.
    let change = world.run(ms(20_000), 0.6);
    let after = world.run(ms(60_000), 0.6);
    assert!(change.refused > 0, "the change is not recognized at once");
    assert_eq!(after.refused, 0, "limit {}, best {:?}", world.limit.get(), world.limit.best());
}

#[test]
fn the_limit_follows_the_number_of_servers() {
    let mut world = World::new(4, ms(10), 0.2);
    world.run(ms(60_000), 2.0);
    let small = world.limit.get();
    world.servers = 40;
    world.run(ms(30_000), 2.0);
    let results = world.run(ms(30_000), 2.0);
    assert!(results.latencies.len() as f64 > 0.9 * world.capacity() * 30.0, "{}", world.limit.get());
    world.servers = 4;
    world.run(ms(30_000), 2.0);
    let mut results = world.run(ms(30_000), 2.0);
    assert!(
        results.median() < ms(60),
        "{:?} at limit {}, at first {small}",
        results.median(),
        world.limit.get()
    );
}

#[test]
fn slow_failures_lower_the_limit() {
    let mut limit = AdaptiveLimit::new(AdaptivePolicy::default(), Duration::ZERO);
    let mut now = Duration::ZERO;
    let mut run = |limit: &mut AdaptiveLimit, windows: u32, observe: fn(&mut AdaptiveLimit, Duration)| {
        for _ in 0..windows * 500 {
            now += ms(2);
            observe(limit, now);
        }
    };
    run(&mut limit, 8, |limit, now| limit.observe(now, ms(1), limit.get()));
    let healthy = limit.get();
    run(&mut limit, 8, |limit, now| limit.observe_failure(now, Duration::ZERO, limit.get()));
    assert_eq!(limit.get(), healthy, "instant failures are ignored");
    // Each client gives up after the time that all requests before it take.
    run(&mut limit, 8, |limit, now| limit.observe_failure(now, ms(limit.get().into()), limit.get()));
    assert!(limit.get() < healthy / 4, "{} of {healthy}", limit.get());
}

proptest! {
    #[test]
    fn the_limit_stays_within_its_bounds_and_is_deterministic(
        (min, max, tolerance_percent) in (1u32..2_000, 1u32..2_000, 0u32..2_000),
        steps in prop::collection::vec((0u64..200, 0u64..200_000_000, 0u32..5_000, any::<bool>()), 0..2_000),
    ) {
        let [low, high] = [min, max].map(|n| NonZeroU32::new(n).unwrap());
        let policy = AdaptivePolicy { min: low, max: high, tolerance_percent };
        let run = || {
            let mut limit = AdaptiveLimit::new(policy, Duration::ZERO);
            let mut now = Duration::ZERO;
            let mut limits = Vec::new();
            for &(millis, latency_us, awaiting, is_answer) in &steps {
                now += ms(millis);
                let latency = Duration::from_micros(latency_us);
                match is_answer {
                    true => limit.observe(now, latency, awaiting),
                    false => limit.observe_failure(now, latency, awaiting),
                }
                limits.push(limit.get());
            }
            limits
        };
        let limits = run();
        prop_assert!(limits.iter().all(|&limit| limit >= min && limit <= max.max(min)));
        prop_assert_eq!(limits, run());
    }

    #[test]
    fn with_constant_latency_the_limit_falls_at_most_once_for_a_probe(
        latency_us in 1u64..1_000_000,
        concurrencies in prop::collection::vec(1u32..400, 1..40),
    ) {
        let mut limit = AdaptiveLimit::new(AdaptivePolicy::default(), Duration::ZERO);
        let latency = Duration::from_micros(latency_us);
        let mut now = latency;
        let (mut before, mut falls) = (limit.get(), 0);
        for concurrency in concurrencies {
            for _ in 0..200 {
                now += Duration::from_millis(1) + latency;
                limit.observe(now, latency, concurrency.min(limit.get()));
                falls += u32::from(limit.get() < before);
                before = limit.get();
            }
        }
        prop_assert!(falls <= 1, "{falls} times");
    }

    #[test]
    fn an_unused_limit_does_not_grow(awaiting in 1u32..10, latency_us in 1u64..100_000) {
        let mut limit = AdaptiveLimit::new(AdaptivePolicy::default(), Duration::ZERO);
        let mut now = Duration::ZERO;
        for _ in 0..2_000 {
            now += ms(200);
            limit.observe(now, Duration::from_micros(latency_us), awaiting);
        }
        prop_assert_eq!(limit.get(), 20);
    }
}
