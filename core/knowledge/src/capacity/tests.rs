//! Learned capacities of queues whose true capacity is known.

use std::time::Duration;

use model::identity::Generation;
use model::latency::{LATENCY_CLASSES, LATENCY_SHARES};
use model::memory::CapacityMemory;
use model::quantity::MilliRps;
use model::resource::{Fraction, LatencySlo, Quantity, Slo, Span};
use model::time::Time;
use proptest::prelude::*;

use super::{CapacityBasis, LearnedCapacity, Point, add_point, estimate};

const BELOW: f64 = 0.2;
const BEGIN: Time = Time::from_millis(1_000_000_000);
const FIRST: Generation = Generation(1);
const SECOND: Generation = Generation(2);

fn slo() -> Slo {
    let below = Span::from_millis(200);
    let latency = LatencySlo { quantile: Fraction::from_millionths(990_000), below };
    Slo { latency, objective: Fraction::from_millionths(999_000), capacity: None, learned: None }
}

fn no_memory() -> CapacityMemory {
    CapacityMemory {
        below: Duration::from_millis(200),
        quantile: Fraction::from_millionths(990_000),
        versions: Vec::new(),
    }
}

/// Numbers between 0 and 1 from a seed (Lehmer, "Mathematical methods in large-scale computing units", 1951).
struct Random(u64);

impl Random {
    fn roll(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    fn exponential(&mut self, rate: f64) -> f64 {
        -self.roll().ln() / rate
    }
}

/// A replica: random requests wait in one queue and are answered by a number of servers.
struct Queue {
    /// Answers a second of one server.
    speed: f64,
    /// The slowdown by each concurrent request: contention for shared resources.
    contention: f64,
    free_at: Vec<f64>,
    /// Requests that are not answered yet: when they will be, and their latency.
    in_flight: Vec<(f64, f64)>,
    now: f64,
    dice: Random,
}

impl Queue {
    fn new(servers: usize, speed: f64, contention: f64, seed: u64) -> Self {
        let free_at = vec![0.0; servers];
        Self { speed, contention, free_at, in_flight: Vec::new(), now: 0.0, dice: Random(seed) }
    }

    /// The latencies of the answers to this many requests at this rate.
    fn answers(&mut self, rate: f64, requests: usize) -> Vec<f64> {
        for _ in 0..requests {
            self.now += self.dice.exponential(rate);
            let next = (0..self.free_at.len()).min_by(|a, b| self.free_at[*a].total_cmp(&self.free_at[*b]));
            let busy = self.free_at.iter().filter(|at| **at > self.now).count() as f64;
            let free_at = &mut self.free_at[next.expect("a server")];
            *free_at =
                free_at.max(self.now) + self.dice.exponential(self.speed / (1.0 + self.contention * busy));
            self.in_flight.push((*free_at, *free_at - self.now));
        }
        let now = self.now;
        let (done, left) = self.in_flight.drain(..).partition(|(at, _)| *at <= now);
        self.in_flight = left;
        let done: Vec<(f64, f64)> = done;
        done.into_iter().map(|(_, latency)| latency).collect()
    }

    /// The point of a window of about four seconds.
    fn window(&mut self, rate: f64) -> Point {
        let begin = self.now;
        let answers = self.answers(rate, (rate * 4.0).max(150.0) as usize);
        point(answers.len() as f64 / (self.now - begin), quantile(answers) / BELOW)
    }

    /// The rate at which the 99th percentile equals the threshold, from many requests.
    fn true_capacity(&self) -> f64 {
        let (mut low, mut high) = (0.0, self.speed * self.free_at.len() as f64);
        for _ in 0..9 {
            let rate = f64::midpoint(low, high);
            let mut queue = Self::new(self.free_at.len(), self.speed, self.contention, 7);
            let is_met = quantile(queue.answers(rate, 20_000)) <= BELOW;
            *(if is_met { &mut low } else { &mut high }) = rate;
        }
        low
    }
}

fn quantile(mut latencies: Vec<f64>) -> f64 {
    latencies.sort_by(f64::total_cmp);
    latencies.get((latencies.len() * 99).div_ceil(100).saturating_sub(1)).copied().unwrap_or(0.0)
}

fn point(rate: f64, share: f64) -> Point {
    let above = LATENCY_SHARES.partition_point(|bound| f64::from(*bound) < share * 1000.0);
    Point { rate: MilliRps((rate * 1000.0) as u64), class: above.min(LATENCY_CLASSES - 1) }
}

fn at(seconds: u32) -> Time {
    BEGIN + Duration::from_secs(u64::from(seconds))
}

/// Adds windows at each of the rates in each round.
fn add_windows(
    memory: &mut CapacityMemory,
    generation: Generation,
    queue: &mut Queue,
    rates: &[f64],
    rounds: u32,
) {
    for round in 0..rounds {
        for rate in rates {
            add_point(memory, generation, at(round * 60), queue.window(*rate));
        }
    }
}

fn of(memory: &CapacityMemory, generation: Generation) -> LearnedCapacity {
    estimate(Some(memory), generation, &slo()).expect("it was observed for long enough")
}

fn parts(truth: f64, parts: &[u32]) -> Vec<f64> {
    parts.iter().map(|percent| truth * f64::from(*percent) / 100.0).collect()
}

const DAY: [u32; 12] = [10, 20, 35, 50, 65, 80, 95, 110, 90, 70, 45, 25];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    /// In most of five runs: each sees only a sample, and one in fifty misses by more.
    #[test]
    fn the_true_capacity_lies_within_the_bounds_once_both_sides_were_observed(
        servers in 1_usize..5, speed in 38.0..60.0_f64, contention in prop_oneof![Just(0.0), 0.0..0.1_f64], seed: u64,
    ) {
        let truth = Queue::new(servers, speed, contention, seed).true_capacity();
        prop_assume!(truth > 3.0);
        let learned: Vec<LearnedCapacity> = (0..5)
            .map(|nth| {
                let mut queue = Queue::new(servers, speed, contention, seed.wrapping_add(nth));
                let mut memory = no_memory();
                add_windows(&mut memory, FIRST, &mut queue, &parts(truth, &DAY), 8);
                of(&memory, FIRST)
            })
            .collect();
        let is_correct = |learned: &&LearnedCapacity| {
            let of_truth = |rate: MilliRps| rate.per_second() / truth;
            of_truth(learned.lower) <= 1.15
                && of_truth(learned.upper) >= 0.85
                && (0.6..=1.15).contains(&of_truth(learned.rate))
        };
        prop_assert!(learned.iter().filter(is_correct).count() >= 3, "{truth} {learned:?}");
    }

    #[test]
    fn the_estimate_is_bounded_by_the_highest_rate_that_met_the_slo(
        servers in 1_usize..5, speed in 40.0..60.0_f64, seed: u64, most in 5_u32..60,
    ) {
        let mut queue = Queue::new(servers, speed, 0.0, seed);
        let truth = queue.true_capacity();
        prop_assume!(truth > 3.0);
        let mut memory = no_memory();
        let seen = parts(truth, &[most / 4 + 1, most / 2 + 1, most]);
        add_windows(&mut memory, FIRST, &mut queue, &seen, 10);
        let learned = of(&memory, FIRST);
        let highest = truth * f64::from(most) / 100.0;
        prop_assert!(learned.rate.per_second() <= 2.0 * 1.2 * highest, "{highest} {learned:?}");
        prop_assert!(learned.rate.per_second() <= truth * 1.2, "{truth} {learned:?}");
    }

    #[test]
    fn the_bounds_are_ordered_and_positive_for_any_observations(
        points in proptest::collection::vec((0_u64..u64::MAX, 0..LATENCY_CLASSES, 0_u64..4), 1..400),
    ) {
        let mut memory = no_memory();
        for (i, (rate, class, generation)) in points.iter().enumerate() {
            let point = Point { rate: MilliRps(*rate), class: *class };
            add_point(&mut memory, Generation(*generation), at(i as u32), point);
        }
        for generation in 0..5 {
            if let Some(learned) = estimate(Some(&memory), Generation(generation), &slo()) {
                prop_assert!(learned.rate > MilliRps(0));
                prop_assert!(learned.lower <= learned.rate && learned.rate <= learned.upper, "{learned:?}");
            }
        }
    }
}

/// A replica with four servers of 50 a second each, and its truth.
fn known() -> (Queue, f64) {
    let queue = Queue::new(4, 50.0, 0.0, 11);
    let truth = queue.true_capacity();
    (queue, truth)
}

#[test]
fn there_is_no_estimate_before_the_third_window() {
    let (mut queue, truth) = known();
    let mut memory = no_memory();
    for _ in 0..2 {
        add_point(&mut memory, FIRST, BEGIN, queue.window(truth / 2.0));
    }
    assert_eq!(estimate(Some(&memory), FIRST, &slo()), None);
    let declared = Slo { capacity: Some(Quantity::from_milli(25_000)), ..slo() };
    let learned = estimate(Some(&memory), FIRST, &declared).expect("declared");
    assert_eq!((learned.rate, learned.basis), (MilliRps(25_000), CapacityBasis::Declared));
}

#[test]
fn the_estimate_is_below_an_observed_overload() {
    let (mut queue, truth) = known();
    let mut memory = no_memory();
    add_windows(&mut memory, FIRST, &mut queue, &[truth * 3.0], 10);
    let learned = of(&memory, FIRST);
    assert_eq!(learned.basis, CapacityBasis::Overload);
    assert!(
        learned.rate.per_second() < truth * 1.1 && learned.rate.per_second() > truth / 3.0,
        "{learned:?}"
    );
}

#[test]
fn windows_that_met_the_slo_may_be_outweighed_by_an_overload_and_the_text_does_not_deny_them() {
    let mut memory = no_memory();
    let mut add = |windows: std::ops::Range<u32>, rate, class| {
        windows.for_each(|n| add_point(&mut memory, FIRST, at(n * 5), Point { rate: MilliRps(rate), class }));
    };
    add(0..5, 500, 0);
    // What is answered of an overload is less than what was carried before.
    add(5..40, 400, LATENCY_CLASSES - 1);
    let learned = of(&memory, FIRST);
    assert_eq!(learned.basis, CapacityBasis::Overload);
    let text = learned.to_string();
    assert!(
        text.contains("no rate in 40 windows of version 1 has met the SLO reliably yet, and from 0.4/s on it was violated"),
        "{text}"
    );
}

#[test]
fn low_load_does_not_change_the_estimate() {
    let (mut queue, truth) = known();
    let mut memory = no_memory();
    add_windows(&mut memory, FIRST, &mut queue, &parts(truth, &DAY), 10);
    let before = of(&memory, FIRST);
    for night in 0..1000 {
        add_point(&mut memory, FIRST, at(1000 + night * 60), queue.window(truth / 50.0));
    }
    let after = of(&memory, FIRST);
    assert!(
        after.rate.0 * 10 >= before.rate.0 * 9 && after.rate.0 <= before.rate.0 * 11 / 10,
        "{before:?} {after:?}"
    );
}

#[test]
fn outliers_do_not_change_the_estimate() {
    let (mut queue, truth) = known();
    let mut memory = no_memory();
    add_windows(&mut memory, FIRST, &mut queue, &parts(truth, &DAY), 12);
    let before = of(&memory, FIRST);
    // One window in ten is an outlier.
    for round in 0..20 {
        for (i, percent) in DAY.iter().enumerate() {
            let rate = truth * f64::from(*percent) / 100.0;
            let outlier = (i + round as usize).is_multiple_of(10);
            let point = if outlier { point(rate, 8.0) } else { queue.window(rate) };
            add_point(&mut memory, FIRST, at(round * 60), point);
        }
    }
    let after = of(&memory, FIRST);
    assert!(after.rate.0 * 4 >= before.rate.0 * 3, "{before:?} {after:?}");
}

#[test]
fn latency_that_is_independent_of_load_lowers_the_estimate_by_a_bounded_factor() {
    let (mut queue, truth) = known();
    let mut memory = no_memory();
    add_windows(&mut memory, FIRST, &mut queue, &parts(truth, &DAY), 12);
    let before = of(&memory, FIRST);
    // Requests are late at any rate, so that more replicas do not help: rarely at first, then always.
    for window in 0..3000_u32 {
        let is_late = window % 3000 < window;
        let rate = truth / f64::from(1 + window / 300);
        let point = if is_late && window.is_multiple_of(1 + 5 / (1 + window / 200)) {
            point(rate, 3.0)
        } else {
            queue.window(rate)
        };
        add_point(&mut memory, FIRST, at(720 + window), point);
    }
    let after = of(&memory, FIRST);
    assert!(after.rate.0 * 5 >= before.rate.0, "{before:?} {after:?}");
    // Once that is over, the capacity is learned again.
    add_windows(&mut memory, FIRST, &mut queue, &parts(truth, &DAY), 40);
    let recovered = of(&memory, FIRST);
    assert!(recovered.rate.0 * 4 >= before.rate.0 * 3, "{before:?} {recovered:?}");
}

#[test]
fn a_lasting_change_is_learned_within_minutes() {
    let (mut queue, truth) = known();
    let mut memory = no_memory();
    add_windows(&mut memory, FIRST, &mut queue, &parts(truth, &DAY), 30);
    // A dependency has become slow, and three quarters of the capacity are gone. Two replicas report for three minutes.
    let mut slow = Queue::new(1, 50.0, 0.0, 5);
    for window in 0..72 {
        add_point(&mut memory, FIRST, at(1800 + window * 5 / 2), slow.window(truth / 2.0));
    }
    let after = of(&memory, FIRST);
    assert!(after.rate.per_second() <= truth * 0.5, "{truth} {after:?}");
}

#[test]
fn a_new_version_inherits_most_of_the_capacity_until_it_is_measured() {
    let (mut queue, truth) = known();
    let mut memory = no_memory();
    add_windows(&mut memory, FIRST, &mut queue, &parts(truth, &DAY), 12);
    let before = of(&memory, FIRST);
    let inherited = of(&memory, SECOND);
    assert_eq!(
        (inherited.rate.0, inherited.basis),
        (before.rate.0 / 100 * 80, CapacityBasis::PreviousVersion)
    );
    // It is half as fast, which is observed at rates at which the first one still met the SLO.
    let mut slower = Queue::new(2, 50.0, 0.0, 3);
    let truth_after = slower.true_capacity();
    add_windows(&mut memory, SECOND, &mut slower, &parts(truth_after, &[40, 90, 130, 160]), 6);
    let own = of(&memory, SECOND);
    assert!(
        own.rate.per_second() <= truth_after * 1.12 && own.generation == Some(SECOND),
        "{truth_after} {own:?}"
    );
    // The first one is remembered: it may come back.
    assert_eq!(of(&memory, FIRST), before);
}

#[test]
fn a_version_is_learned_after_a_rollback_to_it_although_all_others_are_newer() {
    let (mut queue, truth) = known();
    let mut memory = no_memory();
    for generation in 2..6 {
        add_windows(&mut memory, Generation(generation), &mut queue, &parts(truth, &[60]), 12);
    }
    let inherited = of(&memory, FIRST);
    assert_eq!(
        (inherited.generation, inherited.basis),
        (Some(Generation(3)), CapacityBasis::PreviousVersion)
    );
    add_windows(&mut memory, FIRST, &mut queue, &parts(truth, &[60]), 12);
    let learned = of(&memory, FIRST);
    assert_eq!((learned.generation, memory.versions.len()), (Some(FIRST), 3));
}

#[test]
fn memory_is_bounded() {
    let mut memory = no_memory();
    for i in 0..20_000_u64 {
        let point = Point { rate: MilliRps(i * i), class: (i % 16) as usize };
        add_point(&mut memory, Generation(i / 2000), at(i as u32), point);
    }
    assert_eq!(memory.versions.len(), model::memory::CAPACITY_VERSIONS_MAX);
    assert!(memory.versions.iter().all(|version| version.rates.len() <= model::memory::CAPACITY_RATES_MAX));
}
