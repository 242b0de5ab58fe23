//! A learned policy: how much a violated request counts, by features of the load.
//!
//! SLO-first keeps replicas for rises of the load as long as they cost less than the requests that they save. The price of a request follows
//! from the objective and from how fast its error budget is spent, whatever the load does. A learned policy multiplies that price by powers of
//! three features of the load (level, trend and unrest), with weights that were searched for over recorded load. With all weights at 1 it is
//! SLO-first. It never wants fewer replicas than the current load needs, and never more than the highest load that was observed or forecast
//! needs.
//!
//! SLO-first decides instead, and the [`Fallback`] says why, while too little load was observed to compute the features, where a feature is
//! outside the range that the weights were found on, and after more requests than allowed missed the SLO recently.
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
    /// The load of the last minute ÷ that of five minutes ago.
    pub trend: f64,
    /// The larger ÷ the smaller of two successive minutes, as a mean over five minutes; at least 1.
    pub unrest: f64,
}

/// The factors by which the price of the objective is multiplied.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PriceFactors {
    /// The factor against observed rises.
    pub rises: f64,
    /// The factor against the forecast load.
    pub forecast: f64,
    /// The features that the factors follow from.
    pub features: LoadFeatures,
}

/// Why SLO-first decides without the learned factors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fallback {
    /// Fewer than two minutes of load were observed, or too few rises.
    New,
    /// A feature is outside the range that the weights were found on.
    Outside {
        /// Which feature.
        feature: LoadFeature,
        /// Its value.
        value: f64,
        /// The range that the weights were found on.
        leaning: PriceSensitivity,
    },
    /// More requests than the SLO allows missed it recently.
    Broken {
        /// Requests that missed it, in millionths of all.
        late: u32,
        /// Requests that may miss it, in millionths of all.
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

/// Steps of a rise in a minute, which is the step of forecasts.
pub(crate) const STEPS_A_MINUTE: u64 = 60_000 / RISE_STEP.as_millis() as u64;

/// Minutes of observed load, including the current one.
const MINUTES: usize = RISE_STEPS_MAX / STEPS_A_MINUTE as usize;

/// The least load in replicas: smaller ones count as this, as a rise from almost nothing is not a hundredfold one.
const NEGLIGIBLE: f64 = 0.05;

/// The factor by which a feature may be outside the range that the weights were found on.
const RANGE_MARGIN: f64 = 1.1;

impl LoadFeatures {
    /// The features of the observed load, where one replica carries `capacity`; `None` before two minutes were observed.
    pub fn of(rises: &RiseMemory, capacity: Milli) -> Option<Self> {
        let carried = capacity.0.max(1) as f64;
        let last = rises.peaks.last()?.step;
        // The latest minute first; unobserved ones are left out.
        let mut minutes = [(0.0, 0_u32); MINUTES];
        for LoadPeak { step, load } in &rises.peaks {
            let ago = usize::try_from(last.saturating_sub(*step) / STEPS_A_MINUTE).unwrap_or(usize::MAX);
            if let Some((sum, count)) = minutes.get_mut(ago) {
                *sum += load.0.max(0) as f64 / carried;
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

    /// Each feature with its value.
    pub fn each(self) -> [(LoadFeature, f64); 3] {
        [
            (LoadFeature::Level, self.level),
            (LoadFeature::Trend, self.trend),
            (LoadFeature::Unrest, self.unrest),
        ]
    }
}

impl LoadFeature {
    /// How the price depends on this feature.
    fn leaning(self, learned: &LearnedPrice) -> PriceSensitivity {
        match self {
            Self::Level => learned.level,
            Self::Trend => learned.trend,
            Self::Unrest => learned.unrest,
        }
    }
}

/// The learned factors of the price of `slo`, or why they are not used; `None` where nothing was learned.
pub(crate) fn price_factors(
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
    check_budget(&rises.error_budget, slo)?;
    let mut factor = 1.0;
    for (feature, value) in features.each() {
        let leaning = feature.leaning(learned);
        let (from, to) = (f64::from(leaning.from), f64::from(leaning.to));
        if !(from / RANGE_MARGIN..=to * RANGE_MARGIN).contains(&value) {
            return Err(Fallback::Outside { feature, value, leaning });
        }
        factor *= f64::from(leaning.factor).powf(log_position(value, from, to));
    }
    let weighted = |weight: Factor| f64::from(weight) * factor;
    Ok(PriceFactors { rises: weighted(learned.rises), forecast: weighted(learned.forecast), features })
}

/// Where `value` lies between `from` and `to` on a logarithmic scale: -1 at the lower end, 1 at the upper one.
fn log_position(value: f64, from: f64, to: f64) -> f64 {
    let half = (to / from).ln() / 2.0;
    if half > 0.0 { ((value / from).ln() / half - 1.0).clamp(-1.0, 1.0) } else { 0.0 }
}

/// Such as `learned: a request that violates the SLO costs 0.30 times as much against observed rises and 1.20 times against the forecast, at a
/// load of 12.3 replicas, 1.04 times that of five minutes ago, unrest 1.02`.
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

/// The cause, as the part of a sentence after a colon.
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

/// Fails when more requests missed the SLO recently than `slo` allows.
fn check_budget(spent: &ErrorBudgetMemory, slo: &Slo) -> Result<(), Fallback> {
    let late = slo::late_millionths(*spent);
    let allowed = 1_000_000_u32.saturating_sub(slo.objective.millionths());
    if late > allowed { Err(Fallback::Broken { late, allowed }) } else { Ok(()) }
}
