//! The estimated capacity of one replica, and its bounds.
//!
//! - At most a factor above the highest rate at which the SLO was met ([`extrapolation`]): beyond it the curve may be wrong, and an
//!   overloaded replica serves nothing.
//! - At least a quarter of the best rate at which it was met before: if a service is slow for a reason other than its load, more
//!   replicas do not help, and this bounds their cost.
//! - A new version is assumed to carry most of the load of the last one, until it is measured.

use std::fmt;
use std::time::Duration;

use model::identity::Generation;
use model::latency::LATENCY_SHARES;
use model::memory::{CapacityMemory, RateEvidence, VersionCapacity};
use model::quantity::MilliRps;
use model::resource::Slo;
use model::time::Time;

use super::curve::Curve;
use super::evidence::{highest_met, latency_class, lowest_violated, mean_rate};

/// The share of the latency threshold at which the curve is read; the rest allows for the variance of windows.
const THRESHOLD_SHARE: f64 = 0.75;

/// The part of the lowest rate that violated the SLO which is assumed while no rate has met it reliably.
const OVERLOAD_FACTOR: f64 = 0.7;

/// The estimate is at least the best rate divided by this.
const BEST_DIVISOR: u64 = 4;

/// The assumed capacity of a version before it is measured, in hundredths of that of the last version.
const PREVIOUS_VERSION_PERCENT: u64 = 80;

/// The half-life of the best rate while it is not reached again.
const BEST_HALF_LIFE: Duration = Duration::from_hours(24 * 3);

/// The estimated capacity of one replica: requests a second within the SLO.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LearnedCapacity {
    /// The version; `None` for a declared capacity.
    pub generation: Option<Generation>,
    /// The estimate that is acted on; above 0.
    pub rate: MilliRps,
    /// The lower bound: this rate was carried; at most `rate`.
    pub lower: MilliRps,
    /// The upper bound: a higher rate was not carried, or was not observed; at least `rate`.
    pub upper: MilliRps,
    /// The windows that it was learned from.
    pub windows: u64,
    /// The evidence for it.
    pub basis: CapacityBasis,
}

/// The evidence that a capacity is based on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CapacityBasis {
    /// The rates at which the SLO was met, and the curve of the latency over them.
    Curve,
    /// The rates at which the SLO was met.
    ObservedRates,
    /// Only rates at which the SLO was violated, or not met reliably.
    Overload,
    /// The capacity of another version, usually the previous one.
    PreviousVersion,
    /// The declaration.
    Declared,
}

/// The capacity of each version, from observations of that version alone, oldest first.
pub fn learned(memory: &CapacityMemory) -> impl Iterator<Item = LearnedCapacity> {
    memory.versions.iter().filter_map(|version| of_version(version, memory.below))
}

/// The capacity of a replica of the version `generation`; `None` while nothing is known.
pub fn estimate(
    memory: Option<&CapacityMemory>,
    generation: Generation,
    slo: &Slo,
) -> Option<LearnedCapacity> {
    let is_of_slo = |memory: &&CapacityMemory| {
        (memory.below, memory.quantile) == (slo.latency.below.as_duration(), slo.latency.quantile)
    };
    let memory = memory.filter(is_of_slo);
    let all = || memory.into_iter().flat_map(learned);
    let own = all().find(|learned| learned.generation == Some(generation));
    let before = all().filter(|learned| learned.generation < Some(generation)).last();
    let prior = before.map(LearnedCapacity::for_next_version).or_else(|| declared(slo));
    // After a rollback, all versions that were measured may be newer.
    let newer = || all().next().map(LearnedCapacity::for_next_version);
    match (own, prior) {
        // The capacity of another version does not override a rate at which this one violated the SLO.
        (Some(own), Some(prior)) if prior.rate > own.rate && !own.is_bounded(memory) => {
            Some(LearnedCapacity { windows: own.windows, lower: own.lower.min(prior.rate), ..prior })
        }
        (Some(own), _) => Some(own),
        (None, prior) => prior.or_else(newer),
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

    /// The capacity that the next version is assumed to have.
    fn for_next_version(self) -> Self {
        let rate = MilliRps((self.rate.0 / 100).saturating_mul(PREVIOUS_VERSION_PERCENT).max(1));
        Self { rate, lower: self.lower.min(rate), windows: 0, basis: CapacityBasis::PreviousVersion, ..self }
    }

    /// Whether it is known at which rate the SLO is violated.
    fn is_bounded(self, memory: Option<&CapacityMemory>) -> bool {
        let mut versions = memory.into_iter().flat_map(|memory| &memory.versions);
        let own = versions.find(|version| Some(version.generation) == self.generation);
        own.is_some_and(|version| lowest_violated(version, highest_met(version)).is_some())
    }
}

fn of_version(version: &VersionCapacity, below: Duration) -> Option<LearnedCapacity> {
    let met = highest_met(version);
    let violated = lowest_violated(version, met).map(mean_rate);
    let (rate, lower, upper, basis) = match (met, violated) {
        (Some(met), violated) => bounded(version, met, violated, below),
        (None, Some(violated)) => {
            let rate = violated * OVERLOAD_FACTOR;
            (rate, rate / 2.0, violated, CapacityBasis::Overload)
        }
        (None, None) => return None,
    };
    let least = MilliRps(version.best.0 / BEST_DIVISOR).max(MilliRps(1));
    let rate = milli(rate).max(least);
    let (lower, upper) = (milli(lower).min(rate), milli(upper).max(rate));
    let (generation, windows) = (Some(version.generation), version.windows);
    Some(LearnedCapacity { generation, rate, lower, upper, windows, basis })
}

/// The estimate, its lower and upper bound, and its basis.
fn bounded(
    version: &VersionCapacity,
    met: &RateEvidence,
    violated: Option<f64>,
    below: Duration,
) -> (f64, f64, f64, CapacityBasis) {
    let met_rate = mean_rate(met);
    let highest = met_rate * extrapolation(met);
    let curve = Curve::of(version, below.as_secs_f64());
    let at = |share: f64| curve.map(|curve| curve.rate_at(share).max(met_rate));
    // Without a curve it is the middle, which halves the interval whatever the result.
    let bisected = violated.map_or(highest, |violated| f64::midpoint(met_rate, violated));
    let estimate = at(THRESHOLD_SHARE).unwrap_or(bisected).min(highest);
    let rate = violated.map_or(estimate, |violated| estimate.min(violated)).max(met_rate);
    let upper = violated.or(at(1.0).filter(|upper| *upper < highest)).unwrap_or(highest);
    (
        rate,
        met_rate,
        upper.max(rate),
        if curve.is_some() { CapacityBasis::Curve } else { CapacityBasis::ObservedRates },
    )
}

/// The factor up to which the capacity may exceed a rate at which the SLO was met: the lower the latency there, the greater.
fn extrapolation(met: &RateEvidence) -> f64 {
    match LATENCY_SHARES.get(latency_class(met)) {
        Some(..=250) => 2.0,
        Some(251..=500) => 1.5,
        Some(_) | None => 1.2,
    }
}

/// Updates the best rate at which the SLO was met.
pub(super) fn update_best(version: &mut VersionCapacity, at: Time) {
    let passed = at.since(version.best_at).min(BEST_HALF_LIFE);
    let decayed = u128::from(version.best.0) * passed.as_millis() / (2 * BEST_HALF_LIFE.as_millis());
    let decayed = u64::try_from(decayed).unwrap_or(u64::MAX);
    // Small steps would all be rounded to zero.
    if decayed > 0 || version.best.0 == 0 {
        version.best.0 -= decayed;
        version.best_at = at;
    }
    let met_rate = highest_met(version).map_or(MilliRps(0), |met| milli(mean_rate(met)));
    version.best = version.best.max(met_rate);
}

fn milli(rate: f64) -> MilliRps {
    // Rates are means of whole thousandths, and at least one thousandth.
    MilliRps(((rate * 1000.0) as u64).max(1))
}

/// Such as `41.2/s (38.0/s to 44.1/s, learned from 312 windows of version 3)`.
impl fmt::Display for LearnedCapacity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rate, lower, upper, windows, generation, basis } = *self;
        let version = generation.map_or(0, |generation| generation.0);
        write!(f, "{rate} ")?;
        match basis {
            CapacityBasis::Curve | CapacityBasis::ObservedRates => {
                write!(f, "({lower} to {upper}, learned from {windows} windows of version {version})")
            }
            CapacityBasis::Overload => {
                write!(
                    f,
                    "(assumed: no rate in {windows} windows of version {version} has met the SLO reliably yet, and from {upper} on it was violated)"
                )
            }
            CapacityBasis::PreviousVersion => {
                write!(f, "(most of what version {version} carries, until more is known of the new one)")
            }
            CapacityBasis::Declared => f.write_str("(as declared, until more is known)"),
        }
    }
}
