//! What one replica carries within the promise of its service, learned from what the proxy saw of its replicas.
//!
//! A replica is watched in windows. Each tells a rate and how large the promised quantile of the latency was at it. From the windows
//! of each rate follows at which rates the promise was kept ([`evidence`]), and a curve over them ([`curve`]) says how the latency grows
//! towards rates that were not seen. What is believed of that is bounded by what was seen: see [`mod@estimate`].
//!
//! Counts have no time of their own: how long a window was is told by when they came. One that was held up on its way makes the window that it
//! ends too long, and the one that it begins too short; the answers of twenty seconds would have come in five, and none of them late. So windows begin
//! and end with counts that came about as long after the ones before as they were sent.
//!
//! Whole numbers are kept, and what is computed from them needs nothing but the four operations and the square root, which are the same on
//! every machine.

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

pub use self::estimate::{Ground, Learned, estimate, learned};
use crate::place::Place;

/// From one report of the counts to the next, as the agent sends them.
const REPORTED_EVERY: Duration = Duration::from_secs(1);

/// How much sooner or later one may come: with half of it at each end, a window of five seconds is at most a fifth longer or shorter than it seems.
const REPORTED_OFF_MAX: Duration = Duration::from_millis(500);

/// Shortest window: five seconds of requests say what a steady load does.
const WINDOW_MIN: Duration = Duration::from_secs(5);

/// A window with too few requests for the promised quantile is closed after this time with those that it has.
const WINDOW_FULL: Duration = Duration::from_secs(60);

/// A window that lasted longer says nothing: nobody looked.
const WINDOW_MAX: Duration = Duration::from_secs(75);

/// Fewest requests of which a quantile is taken.
const REQUESTS_MIN: u64 = 10;

/// For so long after a replica has become ready it is not watched: caches and compilers are cold.
const WARM_UP: Duration = Duration::from_secs(10);

/// What was counted of a replica that is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// When the latest counts came.
    heard: Time,
    /// Where the window began; `None` before counts came in time.
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

/// Takes what the proxy has counted of the replica of `place` into what is known of its version.
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

/// Notes what a window of a replica of version `generation` has shown.
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

/// Goes on with the window of a replica; what it has shown, when it is over.
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
    // So many answers that one of them may be late.
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
    // Failures are not well served, and when they are fast they say nothing of what a replica carries.
    let failed = u128::from(seen.failed) * 1_000_000;
    let has_failed = failed > u128::from(answers) * u128::from(promise.quantile.rest_millionths());
    (point.is_late() || !has_failed).then_some(point)
}
