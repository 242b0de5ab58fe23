//! A learned policy: how much a violated request counts, by what is seen of the load.
//!
//! SLO-first keeps replicas for rises as long as they cost less than the requests that they save; what a request costs follows from the objective and from how fast its budget
//! is spent, whatever the load does.
//! A learned policy multiplies that price by powers of three features of the load (its level, its trend, how restless it is), with weights that were searched
//! for over recorded load. So with all weights at 1 it is SLO-first, it never asks for fewer replicas than the load of this moment needs, and never for more
//! than the highest load that was seen or forecast.
//!
//! SLO-first decides in its place, and the [`Fallback`] says why, while too little of the load was seen to compute the features, where a feature is outside what the
//! weights were found on, and when more requests missed the SLO recently than it allows.
//!
//! Source: direct policy search over few weights, as in Mania, Guy and Recht 2018, "Simple random search of static linear policies is competitive for
//! reinforcement learning"; here the logarithm of a price is linear in the logarithms of the features.

use std::fmt;

use model::memory::{ErrorBudgetMemory, LoadPeak, RISE_STEP, RISE_STEPS_MAX, RiseMemory};
use model::quantity::Milli;
use model::resource::{Factor, LearnedPrice, PriceSensitivity, Slo};

use crate::slo;

/// Features of the load that the price depends on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LoadFeatures {
    /// The load of the last minute, in replicas at full use.
    pub level: f64,
    /// How many times it is what it was five minutes ago.
    pub trend: f64,
    /// How many times the larger of two minutes in a row is the smaller one, on the mean of five minutes; at least 1.
    pub unrest: f64,
}

/// What the price of the objective is multiplied by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PriceFactors {
    /// Against observed rises.
    pub rises: f64,
    /// Against the forecast load.
    pub forecast: f64,
    /// The features that the factors follow from.
    pub features: LoadFeatures,
}

/// Why SLO-first decides in place of what was learned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fallback {
    /// Fewer than two minutes of load were seen, or too few rises.
    New,
    /// A feature is outside the range that the weights were found on.
    Outside {
        /// Which feature.
        feature: LoadFeature,
        /// Its value.
        value: f64,
        /// Its range on the load that the search used.
        leaning: PriceSensitivity,
    },
    /// More requests than the SLO allows missed it recently, in millionths.
    Broken {
        /// Millionths of the requests.
        late: u32,
        /// Millionths that may be.
        allowed: u32,
    },
}

/// A feature of the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadFeature {
    /// Its level.
    Level,
    /// Its trend.
    Trend,
    /// Its unrest.
    Unrest,
}

/// The steps of a minute, which is what loads are forecast in.
pub(crate) const STEPS_A_MINUTE: u64 = 60_000 / RISE_STEP.as_millis() as u64;

/// Minutes that are looked at, the current one included.
const MINUTES: usize = RISE_STEPS_MAX / STEPS_A_MINUTE as usize;

/// Loads of less than this part of a replica count as equal: two requests are no hundredfold rise from none.
const NEGLIGIBLE: f64 = 0.05;

/// By how much a feature may be beyond what the weights were found on: a tenth.
const BEYOND: f64 = 1.1;

impl LoadFeatures {
    /// What the latest loads say, where one replica carries `capacity`; `None` before two minutes of them were seen.
    pub fn of(rises: &RiseMemory, capacity: Milli) -> Option<Self> {
        let one = capacity.0.max(1) as f64;
        let last = rises.peaks.last()?.step;
        // The latest minute first; those that nobody saw are left out.
        let mut minutes = [(0.0, 0_u32); MINUTES];
        for LoadPeak { step, load } in &rises.peaks {
            let ago = usize::try_from(last.saturating_sub(*step) / STEPS_A_MINUTE).unwrap_or(usize::MAX);
            if let Some((sum, count)) = minutes.get_mut(ago) {
                *sum += load.0.max(0) as f64 / one;
                *count += 1;
            }
        }
        let means =
            minutes.iter().filter(|(_, count)| *count > 0).map(|(sum, count)| sum / f64::from(*count));
        let means: Vec<f64> = means.map(|mean| mean.max(NEGLIGIBLE)).collect();
        let (latest, oldest) = (*means.first()?, *means.get(1..)?.last()?);
        let changes = means.windows(2).map(|pair| (pair[0] / pair[1]).max(pair[1] / pair[0]));
        Some(Self {
            level: latest,
            trend: latest / oldest,
            unrest: changes.sum::<f64>() / (means.len() - 1) as f64,
        })
    }

    /// Each by its name.
    pub fn each(self) -> [(LoadFeature, f64); 3] {
        [
            (LoadFeature::Level, self.level),
            (LoadFeature::Trend, self.trend),
            (LoadFeature::Unrest, self.unrest),
        ]
    }
}

impl LoadFeature {
    /// What the price leans on it.
    fn leaning(self, learned: &LearnedPrice) -> PriceSensitivity {
        match self {
            Self::Level => learned.level,
            Self::Trend => learned.trend,
            Self::Unrest => learned.unrest,
        }
    }
}

/// How many times the price of the objective counts by what `slo` has learned; `None` for one that has learned nothing.
pub(crate) fn weigh(
    slo: &Slo,
    rises: &RiseMemory,
    capacity: Milli,
    is_new: bool,
) -> Option<Result<PriceFactors, Fallback>> {
    let learned = slo.learned.as_ref()?;
    Some(factors(learned, slo, rises, LoadFeatures::of(rises, capacity).filter(|_| !is_new)))
}

fn factors(
    learned: &LearnedPrice,
    slo: &Slo,
    rises: &RiseMemory,
    features: Option<LoadFeatures>,
) -> Result<PriceFactors, Fallback> {
    let features = features.ok_or(Fallback::New)?;
    kept(&rises.error_budget, slo)?;
    let mut factor = 1.0;
    for (feature, value) in features.each() {
        let leaning = feature.leaning(learned);
        let (from, to) = (f64::from(leaning.from), f64::from(leaning.to));
        if !(from / BEYOND..=to * BEYOND).contains(&value) {
            return Err(Fallback::Outside { feature, value, leaning });
        }
        factor *= f64::from(leaning.factor).powf(place(value, from, to));
    }
    let of = |weight: Factor| f64::from(weight) * factor;
    Ok(PriceFactors { rises: of(learned.rises), forecast: of(learned.forecast), features })
}

/// Where `value` lies between `from` and `to` on a logarithmic scale: -1 at the lower end, 1 at the upper one.
fn place(value: f64, from: f64, to: f64) -> f64 {
    let half = (to / from).ln() / 2.0;
    if half > 0.0 { ((value / from).ln() / half - 1.0).clamp(-1.0, 1.0) } else { 0.0 }
}

/// Such as `learned: a request that violates the SLO costs 0.30 times as much against observed rises and 1.20 times against the forecast, at a load of 12.3
/// replicas, 1.04 times that of five minutes ago, unrest 1.02`.
impl fmt::Display for PriceFactors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rises, forecast, features: LoadFeatures { level, trend, unrest } } = self;
        write!(
            f,
            "learned: a request that violates the SLO costs {rises:.2} times as much against observed rises and {forecast:.2} times against the forecast, at a \
             load of {level:.1} replicas, {trend:.2} times that of five minutes ago, unrest {unrest:.2}"
        )
    }
}

/// Why, to go on after a colon.
impl fmt::Display for Fallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::New => f.write_str("too little load has been seen yet"),
            Self::Outside { feature, value, leaning: PriceSensitivity { from, to, .. } } => {
                let (from, to) = (f64::from(*from), f64::from(*to));
                write!(f, "{feature} is {value:.2}, outside the {from} to {to} that it was learned on")
            }
            Self::Broken { late, allowed } => {
                let [late, allowed] = [late, allowed].map(|millionths| f64::from(*millionths) / 10_000.0);
                write!(
                    f,
                    "recently {late} % of the requests came while it could not carry them, and only {allowed} % may"
                )
            }
        }
    }
}

impl fmt::Display for LoadFeature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Level => "the load in replicas",
            Self::Trend => "the load as a multiple of that of five minutes ago",
            Self::Unrest => "its unrest from minute to minute",
        })
    }
}

/// The fallback when more requests missed the SLO recently than `slo` allows.
fn kept(spent: &ErrorBudgetMemory, slo: &Slo) -> Result<(), Fallback> {
    let late = slo::late_millionths(*spent);
    let allowed = 1_000_000_u32.saturating_sub(slo.objective.millionths());
    if late > allowed { Err(Fallback::Broken { late, allowed }) } else { Ok(()) }
}
