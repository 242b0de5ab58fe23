//! The load that one replica carries within the SLO of its service, learned from the proxy's counters.
//!
//! A replica is measured in windows. Each yields one point: a rate, and the SLO's quantile of the latency at that rate. The points show
//! at which rates the SLO was met ([`evidence`]), and a curve through them ([`curve`]) estimates the latency at rates that were not
//! observed. The observations bound the estimate: see [`mod@estimate`].
//!
//! Counters have no timestamps: the length of a window is the time between their arrivals. A delayed report would make one window
//! too long and the next too short, so that a rate could appear four times too high. Therefore a window begins and ends only with
//! reports that arrived at their usual interval.
//!
//! Only integers are kept, and only the four operations and the square root are applied to them, which give the same result on every
//! machine.

mod curve;
mod estimate;
mod evidence;
#[cfg(test)]
mod tests;

use std::time::Duration;

use model::identity::Generation;
use model::latency::{LATENCY_CLASS_IN_TIME, Latencies};
use model::memory::{CAPACITY_VERSIONS_MAX, CapacityMemory, VersionCapacity};
use model::quantity::MilliRps;
use model::resource::LatencySlo;
use model::time::Time;

pub use self::estimate::{CapacityBasis, LearnedCapacity, estimate, learned};
use crate::place::Place;

/// The interval at which the agent reports the counters.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// The most by which a report may deviate from its interval: at both ends, this makes a window of five seconds a fifth longer or shorter
/// than measured.
const REPORT_JITTER_MAX: Duration = Duration::from_millis(500);

/// The shortest window: five seconds are enough for a steady load.
const WINDOW_MIN: Duration = Duration::from_secs(5);

/// A window with too few requests for the SLO's quantile is closed after this time.
const WINDOW_TIMEOUT: Duration = Duration::from_secs(60);

/// A longer window is discarded: reports were missing.
const WINDOW_MAX: Duration = Duration::from_secs(75);

/// The fewest requests for a quantile.
const REQUESTS_MIN: u64 = 10;

/// The time after a replica becomes ready in which it is not measured: its caches and compilers are cold.
const WARM_UP: Duration = Duration::from_secs(10);

/// The window in which a replica is measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapacityWindow {
    /// When the latest report arrived.
    last_report: Time,
    /// The begin of the window: when, and the counters then; `None` before a report arrived in time.
    begin: Option<(Time, Latencies)>,
}

/// The result of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Point {
    /// Requests answered a second.
    pub(crate) rate: MilliRps,
    /// The class of the SLO's quantile of their latencies.
    pub(crate) class: usize,
}

impl Point {
    fn is_late(self) -> bool {
        self.class > LATENCY_CLASS_IN_TIME
    }
}

/// Observes the proxy's counters of the replica of `place`, and adds to what is known about its version.
pub(crate) fn observe(
    memory: &mut Option<Box<CapacityMemory>>,
    slo: LatencySlo,
    place: &mut Place,
    (at, latencies): (Time, &Latencies),
) {
    if latencies.threshold != slo.below.as_duration() {
        place.capacity_window = None;
        return;
    }
    let Some(point) = advance(slo, place, (at, latencies)) else { return };
    let (below, quantile) = (slo.below.as_duration(), slo.quantile);
    let is_of_slo = |memory: &CapacityMemory| (memory.below, memory.quantile) == (below, quantile);
    if !memory.as_ref().is_some_and(|memory| is_of_slo(memory)) {
        *memory = Some(Box::new(CapacityMemory { below, quantile, versions: Vec::new() }));
    }
    if let Some(memory) = memory {
        add_point(memory, place.generation, at, point);
    }
}

/// Adds the point of one window to what is known about the version `generation`.
pub(crate) fn add_point(memory: &mut CapacityMemory, generation: Generation, at: Time, point: Point) {
    let found = memory.versions.binary_search_by_key(&generation, |version| version.generation);
    let place = found.unwrap_or_else(|place| {
        let empty =
            VersionCapacity { generation, windows: 0, best: MilliRps(0), best_at: at, rates: Vec::new() };
        memory.versions.insert(place, empty);
        place
    });
    evidence::add_point(&mut memory.versions[place], point);
    estimate::update_best(&mut memory.versions[place], at);
    if memory.versions.len() > CAPACITY_VERSIONS_MAX {
        // The oldest of the others: after a rollback, this version may be the oldest.
        memory.versions.remove(usize::from(place == 0));
    }
}

/// Advances the window of a replica. Returns its point once it is over.
fn advance(slo: LatencySlo, place: &mut Place, (at, counted): (Time, &Latencies)) -> Option<Point> {
    let is_warm =
        place.health().is_some_and(|health| health.ready && at.since(health.ready_changed) >= WARM_UP);
    if !is_warm {
        place.capacity_window = None;
        return None;
    }
    let Some(window) = &mut place.capacity_window else {
        place.capacity_window = Some(Box::new(CapacityWindow { last_report: at, begin: None }));
        return None;
    };
    let gap = at.since(std::mem::replace(&mut window.last_report, at));
    if gap.abs_diff(REPORT_INTERVAL) > REPORT_JITTER_MAX {
        return None;
    }
    let begin = window.begin.as_ref();
    let observed = begin.and_then(|(since, before)| Some((at.since(*since), counted.since(before)?)));
    let Some((over, observed)) = observed else {
        window.begin = Some((at, counted.clone()));
        return None;
    };
    let answers = observed.total();
    // Enough answers that the SLO allows one of them to be late.
    let enough = 1_000_000_u64.div_ceil(u64::from(slo.quantile.complement_millionths()));
    let is_over = over >= WINDOW_TIMEOUT || (over >= WINDOW_MIN && answers >= enough.max(REQUESTS_MIN));
    if !is_over {
        return None;
    }
    window.begin = Some((at, counted.clone()));
    if over > WINDOW_MAX || answers < REQUESTS_MIN {
        return None;
    }
    let class = observed.class_of_quantile(slo.quantile.millionths())?;
    let point = Point { rate: MilliRps::mean(answers, over), class };
    // Failed requests do not count as carried. If more failed than the SLO allows, a low latency means nothing.
    let failed = u128::from(observed.failed) * 1_000_000;
    let failed_too_often = failed > u128::from(answers) * u128::from(slo.quantile.complement_millionths());
    (point.is_late() || !failed_too_often).then_some(point)
}
