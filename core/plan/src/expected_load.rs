//! The floor that the expected load puts under the number that the metrics ask for.
//!
//! By targets, the floor is the fewest replicas with which the autoscaler would not add any, were the load as high as forecast. By a promise, it is the
//! newsvendor's number over the distribution that is forecast. It joins the metrics before stabilisation, bounds and rates, as if it were one more of
//! them that never asks for fewer. While nothing has been better at forecasting the load than its last value, there is no floor.

use std::time::Duration;

use forecast::Model;
use knowledge::capacity::LearnedCapacity;
use knowledge::{LoadForecast, NoForecast, PeakForecast, UpcomingEvent};
use model::decision::{Decision, Limit};
use model::memory::{LoadSource, RiseMemory};
use model::resource::{ForecastMode, Slo};

use crate::learned;
use crate::newsvendor::{self, Cheapest};
use crate::scale::policy_input::ForecastFloor;
use crate::scale::ratio::replicas_ceil;
use crate::scale::reading::Milli;
use crate::scale::slo_first;
use crate::slo::{Capacity, Objective, Price};

/// The limit that says what is expected, whether that changed the number or not.
pub(crate) const FORECAST: &str = "Forecast";

/// The load that a service is expected to get, and what it needs for it.
#[derive(Clone, Debug)]
pub(crate) struct ExpectedLoad {
    pub(crate) mode: ForecastMode,
    /// The probability that the load does not exceed what is expected.
    quantile: f64,
    /// How far ahead the forecast looks.
    reach: Duration,
    /// How long each of its steps is.
    step: Duration,
    source: LoadSource,
    said: Result<PeakForecast, NoForecast>,
    /// Forecasts were compared with the load that came for as long as [`PROVEN`].
    is_proven: bool,
    /// Known events that are on or ahead.
    coming: Vec<UpcomingEvent>,
    /// What the load ahead needs; `None` before it was seen what a load needs, and where nothing is acted on.
    needed: Option<ReplicaNeed>,
}

/// How many replicas the expected load needs.
#[derive(Clone, Copy, Debug)]
enum ReplicaNeed {
    /// So many replicas for the load that is expected, by the targets of the autoscaler and not rounded.
    ByTargets(f64),
    /// Those that cost least over the whole distribution, by what is promised.
    ByPromise { cheapest: Cheapest, carried: f64, price: Price },
}

/// The SLO, and what is known of how much load one replica carries within it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SloInputs<'a> {
    pub(crate) slo: &'a Slo,
    pub(crate) capacity: Option<LearnedCapacity>,
    /// Recent rises of the load; `None` before the first.
    pub(crate) rises: Option<&'a RiseMemory>,
    /// Most replicas that there may be.
    pub(crate) replicas_max: u32,
}

/// A day shows most of what a load does, and the next one whether it comes again: until both were forecast, rises that were seen at any time are
/// provided for beside the forecast.
const PROVEN: Duration = Duration::from_hours(48);

/// Less of a replica is no load to be ahead of.
const NEGLIGIBLE: f64 = 0.05;

impl ExpectedLoad {
    /// `None` for a service of which nothing is forecast.
    pub(crate) fn of(
        load_forecast: Option<&LoadForecast>,
        promise: Option<SloInputs<'_>>,
    ) -> Option<Box<Self>> {
        let load_forecast = load_forecast?;
        let rule = load_forecast.rule();
        let said = load_forecast.peak();
        let is_proven = said.as_ref().is_ok_and(|said| is_proven(load_forecast, said));
        Some(Box::new(Self {
            mode: rule.mode,
            quantile: rule.quantile.probability(),
            reach: load_forecast.horizon(),
            step: load_forecast.step(),
            source: load_forecast.source(),
            is_proven,
            coming: load_forecast.upcoming().iter().filter(|coming| coming.is_near).cloned().collect(),
            needed: said.as_ref().ok().filter(|said| is_acted_on(said)).and_then(|said| match promise {
                Some(promise) => promise.needed(load_forecast, is_proven),
                None => load_forecast.replicas_for(said.load).map(ReplicaNeed::ByTargets),
            }),
            said,
        }))
    }

    /// What it asks for.
    pub(crate) fn ahead(&self, tolerance: f64) -> ForecastFloor {
        let floor = self.floor(tolerance);
        let beyond = self.reach.saturating_sub(self.step);
        ForecastFloor { floor: floor.unwrap_or(0), proven: floor.filter(|_| self.is_proven).map(|_| beyond) }
    }

    /// The fewest replicas that may be recommended, where a ratio up to 1 + `tolerance` asks for no more; `None` while the forecast stays out of the way.
    fn floor(&self, tolerance: f64) -> Option<u32> {
        self.needed.map(|needed| match needed {
            // A quantile of no load at all is still above 0, and must not keep a replica for ever.
            ReplicaNeed::ByTargets(needed) if needed < NEGLIGIBLE => 0,
            ReplicaNeed::ByTargets(needed) => replicas_ceil(needed / (1.0 + tolerance)),
            ReplicaNeed::ByPromise { cheapest, .. } => cheapest.replicas,
        })
    }

    /// What is forecast and what is known to come, and how good that is, or why nothing is.
    fn note(&self) -> String {
        let known = self.coming.iter().map(|UpcomingEvent { name, window, timezone, effect, .. }| {
            let [from, until] = [window.from, window.until].map(|at| timezone.show(at));
            format!("; event {name}: {effect} from {from} to {until}")
        });
        self.forecast_note() + &known.collect::<String>()
    }

    fn forecast_note(&self) -> String {
        let expected = match self.said {
            Ok(expected) => expected,
            Err(NoForecast::New) => {
                return "there is no forecast yet: the first step of load is not complete".to_owned();
            }
            Err(NoForecast::Relearning { done, of }) => {
                return format!(
                    "there is no forecast yet: {done} of {of} stored steps of load are learned again"
                );
            }
        };
        let head = self.at_most(expected.load, self.quantile);
        match (expected.by, expected.loss_ratio, self.needed) {
            (Model::Persistence, Some(ratio), _) if !expected.is_lifted => {
                format!(
                    "{head}, but no model has beaten the last value (loss {ratio:.2} times its, over {} forecasts), so it is not used",
                    expected.scored
                )
            }
            (Model::Persistence, None, _) if !expected.is_lifted => {
                format!("{head}, but no forecast has been scored yet, so it is not used")
            }
            (by, _, None) => format!("{head} ({by}), but how many replicas a load needs is not known yet"),
            (by, ratio, Some(needed)) => {
                let ratio = ratio
                    .map_or_else(String::new, |ratio| format!(", loss {ratio:.2} times the last value's"));
                let who = format!("{by}{ratio}, covered {:.1} %", expected.coverage * 100.0);
                match needed {
                    ReplicaNeed::ByTargets(needed) => {
                        format!("{head} ({who}), which needs {needed:.2} replicas")
                    }
                    ReplicaNeed::ByPromise { cheapest: Cheapest { replicas, risk }, carried, price } => {
                        format!(
                            "{} ({who}), which {replicas} carry at the least cost: a request that violates the SLO costs as much as {:.0} that a \
                         replica could have served",
                            self.at_most(carried, 1.0 - risk),
                            price.requests()
                        )
                    }
                }
            }
        }
    }

    /// Such as `with 95 % probability the load is at most 120.0 requests/s within 60 s`.
    fn at_most(&self, load: f64, probability: f64) -> String {
        let (percent, ahead) = ((probability * 1000.0).round() / 10.0, self.reach.as_secs());
        let load = match self.source {
            LoadSource::Requests => format!("{load:.1} requests/s"),
            LoadSource::Replicas => format!("{load:.2} replicas"),
        };
        format!("with {percent} % probability the load is at most {load} within {ahead} s")
    }

    /// The decision with what was forecast, and whether that `raised` its number, from one to the other.
    pub(crate) fn tell(&self, raised: Option<(u32, u32)>, mut decision: Decision) -> Decision {
        let note = self.note();
        let (from, to, note) = match (raised, self.mode) {
            (Some((from, to)), _) => (from, to, note),
            (None, ForecastMode::Shadow) => (
                decision.desired,
                decision.desired,
                format!("{note}; its mode is shadow, so it has no effect"),
            ),
            (None, ForecastMode::On | ForecastMode::Off) => {
                (decision.desired, decision.desired, format!("{note}; it changes nothing"))
            }
        };
        // The first of the limits: it comes right after the metrics.
        decision.limits.insert(0, Limit { name: FORECAST, from, to, note: note.into() });
        decision
    }
}

/// Whether what was said is acted on: something has been better at forecasting the load than its last value, or is known to come.
fn is_acted_on(said: &PeakForecast) -> bool {
    said.by != Model::Persistence || said.is_lifted
}

/// Whether forecasts were compared with the load that came for as long as [`PROVEN`].
fn is_proven(load_forecast: &LoadForecast, said: &PeakForecast) -> bool {
    load_forecast.step().saturating_mul(u32::try_from(said.scored).unwrap_or(u32::MAX)) >= PROVEN
}

impl SloInputs<'_> {
    /// What a policy beside the acting one would look ahead at: the forecast of requests, where one is acted on.
    pub(crate) fn acted_on(self, load_forecast: &LoadForecast) -> Option<Box<ExpectedLoad>> {
        let is_acted_on =
            load_forecast.rule().mode == ForecastMode::On && load_forecast.source() == LoadSource::Requests;
        if is_acted_on { ExpectedLoad::of(Some(load_forecast), Some(self)) } else { None }
    }

    /// `None` while it is not known what a replica carries, while nothing is forecast, and where it is no requests that are.
    fn needed(self, load_forecast: &LoadForecast, is_proven: bool) -> Option<ReplicaNeed> {
        let load = load_forecast.distribution().filter(|_| load_forecast.source() == LoadSource::Requests)?;
        let capacity = Capacity(self.capacity?.rate.per_second());
        let price = self.price(is_proven);
        let cheapest = newsvendor::cheapest(load, price, capacity, (0, self.replicas_max));
        Some(ReplicaNeed::ByPromise { cheapest, carried: capacity.carried(cheapest.replicas), price })
    }

    /// What a violated request costs: as the objective says, and what was spent of its budget when the forecast is proven, and as was learned beside them.
    fn price(self, is_proven: bool) -> Price {
        let objective = Objective::declared(self.slo);
        let spent = self.rises.filter(|_| is_proven).map(|rises| rises.error_budget);
        let price = spent.map_or(objective.price(), |spent| objective.price_after(spent));
        let one = self.capacity.map(|capacity| i64::try_from(capacity.rate.0).unwrap_or(i64::MAX));
        let factors = self.rises.zip(one).and_then(|(rises, one)| {
            learned::weigh(self.slo, rises, Milli(one), slo_first::is_new(rises))?.ok()
        });
        factors.map_or(price, |factors| price.times(factors.forecast))
    }
}
