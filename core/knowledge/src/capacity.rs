//! The load that one replica carries within the SLO of its service, learned from the proxy's counters.
//!
//! A replica is watched in windows. Each yields one point: a rate, and the promised quantile of the latency at that rate. The
//! points show at which rates the promise was kept ([`evidence`]), and a curve through them ([`curve`]) says how the latency grows
//! towards rates that were not seen. What is believed of the curve is bounded by what was seen: see [`mod@estimate`].
//!
//! Counters carry no time of their own: the length of a window is the time between their arrivals. A report that was held up
//! would make one window seem too long and the next too short, and a rate seem four times what it was. So a window begins and
//! ends only with reports that arrived at their usual interval.
//!
//! Only whole numbers are kept, and only the four operations and the square root are applied to them, which give the same result
//! on every machine.

mod curve;
mod estimate;
mod evidence;
#[cfg(test)]
mod tests;

use std::time::Duration;

use model::identity::Generation;
use model::latency::{LATENCY_CLASS_KEPT, Latencies};
use model::memory::{CAPACITY_VERSIONS_MAX, CapacityMemory, VersionCapacity};
use model::quantity::MilliRps;
use model::resource::LatencySlo;
use model::time::Time;

pub use self::estimate::{CapacityBasis, LearnedCapacity, estimate, learned};
use crate::place::Place;

/// The interval at which the agent reports the counters.
const REPORTED_EVERY: Duration = Duration::from_secs(1);

/// How far a report may be off its interval: if it is off by this much at both ends, a window of five seconds is a fifth longer or
/// shorter than it seems.
const REPORTED_OFF_MAX: Duration = Duration::from_millis(500);

/// Shortest window: five seconds of requests say what a steady load does.
const WINDOW_MIN: Duration = Duration::from_secs(5);

/// A window with too few requests for the promised quantile is closed after this time with the requests that it has.
const WINDOW_FULL: Duration = Duration::from_secs(60);

/// A longer window is dropped: reports were missing.
const WINDOW_MAX: Duration = Duration::from_secs(75);

/// The fewest requests from which a quantile is taken.
const REQUESTS_MIN: u64 = 10;

/// How long a replica is not watched after it became ready, while its caches and compilers are cold.
const WARM_UP: Duration = Duration::from_secs(10);

/// The window of a replica that is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// When the latest report came.
    heard: Time,
    /// The begin of the window: when, and the counters then; `None` before a report came in time.
    begun: Option<(Time, Latencies)>,
}

/// What a window has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Point {
    /// Requests answered a second.
    pub(crate) rate: MilliRps,
    /// The class of the promised quantile of their latencies.
    pub(crate) class: usize,
}

impl Point {
    fn is_late(self) -> bool {
        self.class > LATENCY_CLASS_KEPT
    }
}

/// Takes the proxy's counters of the replica of `place`; the version that it runs learns from them.
pub(crate) fn observe(
    memory: &mut Option<Box<CapacityMemory>>,
    promise: LatencySlo,
    place: &mut Place,
    (at, latencies): (Time, &Latencies),
) {
    if latencies.promised != promise.below.as_duration() {
        place.watch = None;
        return;
    }
    let Some(point) = watch(promise, place, (at, latencies)) else { return };
    let (below, quantile) = (promise.below.as_duration(), promise.quantile);
    let is_of_promise = |memory: &CapacityMemory| (memory.below, memory.quantile) == (below, quantile);
    if !memory.as_ref().is_some_and(|memory| is_of_promise(memory)) {
        *memory = Some(Box::new(CapacityMemory { below, quantile, versions: Vec::new() }));
    }
    if let Some(memory) = memory {
        note(memory, place.generation, at, point);
    }
}

/// Adds the point of one window to what is known of version `generation`.
pub(crate) fn note(memory: &mut CapacityMemory, generation: Generation, at: Time, point: Point) {
    let found = memory.versions.binary_search_by_key(&generation, |version| version.generation);
    let place = found.unwrap_or_else(|place| {
        let blank =
            VersionCapacity { generation, windows: 0, best: MilliRps(0), best_at: at, rates: Vec::new() };
        memory.versions.insert(place, blank);
        place
    });
    evidence::take(&mut memory.versions[place], point);
    estimate::remember_best(&mut memory.versions[place], at);
    if memory.versions.len() > CAPACITY_VERSIONS_MAX {
        memory.versions.remove(0);
    }
}

/// Continues the window of a replica. Returns its point once it is over.
fn watch(promise: LatencySlo, place: &mut Place, (at, counted): (Time, &Latencies)) -> Option<Point> {
    let is_warm =
        place.health().is_some_and(|health| health.ready && at.since(health.ready_changed) >= WARM_UP);
    if !is_warm {
        place.watch = None;
        return None;
    }
    let Some(watch) = &mut place.watch else {
        place.watch = Some(Box::new(Watch { heard: at, begun: None }));
        return None;
    };
    let gap = at.since(std::mem::replace(&mut watch.heard, at));
    if gap.abs_diff(REPORTED_EVERY) > REPORTED_OFF_MAX {
        return None;
    }
    let begun = watch.begun.as_ref();
    let seen = begun.and_then(|(since, before)| Some((at.since(*since), counted.since(before)?)));
    let Some((over, seen)) = seen else {
        watch.begun = Some((at, counted.clone()));
        return None;
    };
    let answers = seen.total();
    // Enough answers for the promise to allow one of them to be late.
    let enough = 1_000_000_u64.div_ceil(u64::from(promise.quantile.rest_millionths()));
    let is_over = over >= WINDOW_FULL || (over >= WINDOW_MIN && answers >= enough.max(REQUESTS_MIN));
    if !is_over {
        return None;
    }
    watch.begun = Some((at, counted.clone()));
    if over > WINDOW_MAX || answers < REQUESTS_MIN {
        return None;
    }
    let class = seen.class_of_quantile(promise.quantile.millionths())?;
    let point = Point { rate: MilliRps::mean(answers, over), class };
    // Failed requests do not count as carried. Where more failed than the promise allows, a low latency says nothing.
    let failed = u128::from(seen.failed) * 1_000_000;
    let has_failed = failed > u128::from(answers) * u128::from(promise.quantile.rest_millionths());
    (point.is_late() || !has_failed).then_some(point)
}
