//! The capacity of one replica as it is believed, and how what was seen bounds it.
//!
//! - At most a factor above the highest rate at which the promise was kept ([`reach`]): beyond it the curve may be wrong, and an
//!   overloaded replica carries nothing.
//! - At least a quarter of what was carried well before: if a service is slow for another reason than load, more replicas do not
//!   help, and this bounds their cost.
//! - A new version is believed to carry most of what the last one did, until it has shown something else.

use std::fmt;
use std::time::Duration;

use model::identity::Generation;
use model::latency::LATENCY_SHARES;
use model::memory::{CapacityMemory, RateEvidence, VersionCapacity};
use model::quantity::MilliRps;
use model::resource::Slo;
use model::time::Time;

use super::curve::Curve;
use super::evidence::{broken, kept, mean_rate, usual_class};

/// The share of the promised latency that the curve may reach; the rest allows for the spread of windows.
const SHARE_USED: f64 = 0.75;

/// The part of the rate that is believed when replicas were only ever seen overloaded.
const OF_OVERLOAD: f64 = 0.7;

/// At least one part in this many of what was carried well before is believed.
const OF_BEST: u64 = 4;

/// What a version is believed to carry before it has shown anything, in hundredths of the last version's capacity.
const OF_BEFORE_PERCENT: u64 = 80;

/// The half-life of the best rate, if it does not come again.
const BEST_HALF_LIFE: Duration = Duration::from_hours(24 * 3);

/// The capacity of one replica as it is believed: requests a second within the promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LearnedCapacity {
    /// Of which version; `None` for what was declared.
    pub generation: Option<Generation>,
    /// The rate that is acted on; above 0.
    pub rate: MilliRps,
    /// The lower bound: this much was carried; at most `rate`.
    pub lower: MilliRps,
    /// The upper bound: more was not carried, or it is not known whether it would be; at least `rate`.
    pub upper: MilliRps,
    /// Windows that it was learned from.
    pub windows: u64,
    /// What it is based on.
    pub basis: CapacityBasis,
}

/// The evidence that a capacity is based on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CapacityBasis {
    /// The rates at which the promise was kept, and the curve of the latency over them.
    Curve,
    /// The rates at which the promise was kept.
    Kept,
    /// Only rates at which the promise was broken.
    Overload,
    /// The capacity of the last version.
    Before,
    /// The declaration.
    Declared,
}

/// The capacity of each version, by observations of that version alone, oldest first.
pub fn learned(memory: &CapacityMemory) -> impl Iterator<Item = LearnedCapacity> {
    memory.versions.iter().filter_map(|version| of_version(version, memory.below))
}

/// The capacity of a replica of version `generation`; `None` while nothing is known.
pub fn estimate(
    memory: Option<&CapacityMemory>,
    generation: Generation,
    slo: &Slo,
) -> Option<LearnedCapacity> {
    let is_meant = |memory: &&CapacityMemory| {
        (memory.below, memory.quantile) == (slo.latency.below.as_duration(), slo.latency.quantile)
    };
    let memory = memory.filter(is_meant);
    let all = || memory.into_iter().flat_map(learned);
    let own = all().find(|learned| learned.generation == Some(generation));
    let before = all().filter(|learned| learned.generation < Some(generation)).last();
    let prior = before.map(LearnedCapacity::passed_on).or_else(|| declared(slo));
    match (own, prior) {
        // The capacity of another version cannot outvote a rate at which this one was seen to break the promise.
        (Some(own), Some(prior)) if prior.rate > own.rate && !own.is_bounded(memory) => {
            Some(LearnedCapacity { windows: own.windows, lower: own.lower.min(prior.rate), ..prior })
        }
        (Some(own), _) => Some(own),
        (None, prior) => prior,
    }
}

fn declared(slo: &Slo) -> Option<LearnedCapacity> {
    let rate = slo.capacity.and_then(|capacity| u64::try_from(capacity.milli()).ok())?;
    Some(LearnedCapacity::simulated(MilliRps(rate)))
}

impl LearnedCapacity {
    /// A capacity that was declared.
    pub fn simulated(rate: MilliRps) -> Self {
        let (rate, basis) = (rate.max(MilliRps(1)), CapacityBasis::Declared);
        Self { generation: None, rate, lower: rate, upper: rate, windows: 0, basis }
    }

    /// The capacity that the next version is believed to have.
    fn passed_on(self) -> Self {
        let rate = MilliRps((self.rate.0 / 100).saturating_mul(OF_BEFORE_PERCENT).max(1));
        Self { rate, lower: self.lower.min(rate), windows: 0, basis: CapacityBasis::Before, ..self }
    }

    /// Whether it was seen where the promise breaks.
    fn is_bounded(self, memory: Option<&CapacityMemory>) -> bool {
        let mut versions = memory.into_iter().flat_map(|memory| &memory.versions);
        let own = versions.find(|version| Some(version.generation) == self.generation);
        own.is_some_and(|version| broken(version, kept(version)).is_some())
    }
}

fn of_version(version: &VersionCapacity, below: Duration) -> Option<LearnedCapacity> {
    let kept = kept(version);
    let broken = broken(version, kept).map(mean_rate);
    let (rate, lower, upper, basis) = match (kept, broken) {
        (Some(kept), broken) => between(version, kept, broken, below),
        (None, Some(broken)) => {
            let rate = broken * OF_OVERLOAD;
            (rate, rate / 2.0, broken, CapacityBasis::Overload)
        }
        (None, None) => return None,
    };
    let least = MilliRps(version.best.0 / OF_BEST).max(MilliRps(1));
    let rate = milli(rate).max(least);
    let (lower, upper) = (milli(lower).min(rate), milli(upper).max(rate));
    let (generation, windows) = (Some(version.generation), version.windows);
    Some(LearnedCapacity { generation, rate, lower, upper, windows, basis })
}

/// The rate that is acted on, the least and the most that it may truly be, and what that rests on.
fn between(
    version: &VersionCapacity,
    kept: &RateEvidence,
    broken: Option<f64>,
    below: Duration,
) -> (f64, f64, f64, CapacityBasis) {
    let well = mean_rate(kept);
    let reached = well * reach(kept);
    let curve = Curve::of(version, below.as_secs_f64());
    let at = |share: f64| curve.map(|curve| curve.rate_at(share).max(well));
    // Without a curve the middle is tried: half of the gap is closed whichever way that goes.
    let tried = broken.map_or(reached, |broken| f64::midpoint(well, broken));
    let believed = at(SHARE_USED).unwrap_or(tried).min(reached);
    let rate = broken.map_or(believed, |broken| believed.min(broken)).max(well);
    let upper = broken.or(at(1.0).filter(|upper| *upper < reached)).unwrap_or(reached);
    (rate, well, upper.max(rate), if curve.is_some() { CapacityBasis::Curve } else { CapacityBasis::Kept })
}

/// How far beyond a rate at which the promise was kept another may be believed, as a factor: the further the latency was from the promise,
/// the further.
fn reach(kept: &RateEvidence) -> f64 {
    match LATENCY_SHARES.get(usual_class(kept)) {
        Some(..=250) => 2.0,
        Some(251..=500) => 1.5,
        Some(_) | None => 1.2,
    }
}

/// Keeps the best rate that was carried well.
pub(super) fn remember_best(version: &mut VersionCapacity, at: Time) {
    let passed = at.since(version.best_at).min(BEST_HALF_LIFE);
    let fallen = u128::from(version.best.0) * passed.as_millis() / (2 * BEST_HALF_LIFE.as_millis());
    let fallen = u64::try_from(fallen).unwrap_or(u64::MAX);
    // Small steps would all be rounded to nothing.
    if fallen > 0 || version.best.0 == 0 {
        version.best.0 -= fallen;
        version.best_at = at;
    }
    let well = kept(version).map_or(MilliRps(0), |kept| milli(mean_rate(kept)));
    version.best = version.best.max(well);
}

fn milli(rate: f64) -> MilliRps {
    // Rates are means of whole thousandths, and not below one of them.
    MilliRps(((rate * 1000.0) as u64).max(1))
}

/// Such as `41.2/s (38.0/s to 44.1/s, learned from 312 windows of version 3)`.
impl fmt::Display for LearnedCapacity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rate, lower, upper, windows, generation, basis } = *self;
        let version = generation.map_or(0, |generation| generation.0);
        write!(f, "{rate} ")?;
        match basis {
            CapacityBasis::Curve | CapacityBasis::Kept => {
                write!(f, "({lower} to {upper}, learned from {windows} windows of version {version})")
            }
            CapacityBasis::Overload => {
                write!(
                    f,
                    "(version {version} was only seen overloaded, at {upper} and above, in {windows} windows)"
                )
            }
            CapacityBasis::Before => {
                write!(f, "(most of what version {version} carries, until more is known of the new one)")
            }
            CapacityBasis::Declared => f.write_str("(as declared, until more is known)"),
        }
    }
}
