//! The floor of the number of replicas that a forecast sets.
//!
//! With targets, the floor is the fewest replicas with which the autoscaler would add none if the load were as high as forecast. With an SLO, it is
//! the newsvendor's number over the forecast distribution. It applies before stabilisation, bounds and rates, like one more metric that never
//! proposes fewer. There is no floor until a model has been better than the last value at forecasting the load.

use std::time::Duration;

use forecast::{ADVANTAGE_MIN, Model};
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

/// The name of the limit that shows the forecast, whether it changed the number or not.
pub(crate) const FORECAST: &str = "Forecast";

/// The load that a service is expected to get, and what it needs for it.
#[derive(Clone, Debug)]
pub(crate) struct ExpectedLoad {
    pub(crate) mode: ForecastMode,
    /// The probability that the load does not exceed the expected one.
    quantile: f64,
    /// How far ahead the forecast looks.
    reach: Duration,
    /// How long each of its steps is.
    step: Duration,
    source: LoadSource,
    expected: Result<PeakForecast, NoForecast>,
    /// Forecasts have been scored for [`PROVEN`].
    is_proven: bool,
    /// Known events that are under way or near.
    events: Vec<UpcomingEvent>,
    /// The replicas for the load ahead; `None` while it is not known what a load needs, and where the forecast is not used.
    need: Option<ReplicaNeed>,
}

/// How many replicas the expected load needs.
#[derive(Clone, Copy, Debug)]
enum ReplicaNeed {
    /// By the targets of the autoscaler, for the expected load; not rounded.
    ByTargets(f64),
    /// By the SLO: those that cost least over the whole distribution.
    BySlo { cheapest: Cheapest, carried: f64, price: Price },
}

/// The SLO, and what is known of how much load one replica carries within it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SloInputs<'a> {
    pub(crate) slo: &'a Slo,
    pub(crate) capacity: Option<LearnedCapacity>,
    /// Recent rises of the load; `None` before the first.
    pub(crate) rises: Option<&'a RiseMemory>,
    /// The maximum that the guard allows.
    pub(crate) replicas_max: u32,
}

/// How long forecasts must have been scored before they replace observed rises.
///
/// 48 h: the first day shows most of the patterns of a load, and the second whether they repeat.
const PROVEN: Duration = Duration::from_hours(48);

/// A need below this fraction of a replica counts as none.
const NEGLIGIBLE: f64 = 0.05;

impl ExpectedLoad {
    /// The expected load by `foresight`, sized by the SLO where there is one; `None` for a service whose load is not forecast.
    pub(crate) fn of(
        load_forecast: Option<&LoadForecast>,
        slo_inputs: Option<SloInputs<'_>>,
    ) -> Option<Box<Self>> {
        let load_forecast = load_forecast?;
        let rule = load_forecast.rule();
        let expected = load_forecast.peak();
        let is_proven = expected.as_ref().is_ok_and(|expected| is_proven(load_forecast, expected));
        Some(Box::new(Self {
            mode: rule.mode,
            quantile: rule.quantile.probability(),
            reach: load_forecast.horizon(),
            step: load_forecast.step(),
            source: load_forecast.source(),
            is_proven,
            events: load_forecast.upcoming().iter().filter(|event| event.is_near).cloned().collect(),
            need: expected.as_ref().ok().filter(|expected| is_used(expected)).and_then(|expected| {
                match slo_inputs {
                    Some(slo_inputs) => slo_inputs.need(load_forecast, is_proven),
                    None => load_forecast.replicas_for(expected.load).map(ReplicaNeed::ByTargets),
                }
            }),
            expected,
        }))
    }

    /// The floor, where a ratio up to 1 + `tolerance` adds no replica.
    pub(crate) fn forecast_floor(&self, tolerance: f64) -> ForecastFloor {
        let floor = self.floor(tolerance);
        let beyond = self.reach.saturating_sub(self.step);
        ForecastFloor { floor: floor.unwrap_or(0), proven: floor.filter(|_| self.is_proven).map(|_| beyond) }
    }

    /// The fewest replicas that may be recommended; `None` while the forecast is not used.
    fn floor(&self, tolerance: f64) -> Option<u32> {
        self.need.map(|need| match need {
            // The quantile of a zero load is still above 0, and must not keep a replica for ever.
            ReplicaNeed::ByTargets(needed) if needed < NEGLIGIBLE => 0,
            ReplicaNeed::ByTargets(needed) => replicas_ceil(needed / (1.0 + tolerance)),
            ReplicaNeed::BySlo { cheapest, .. } => cheapest.replicas,
        })
    }

    /// The forecast with its accuracy, or why there is none, and the known events, for people.
    fn note(&self) -> String {
        let events = self.events.iter().map(|UpcomingEvent { name, window, timezone, effect, .. }| {
            let [from, until] = [window.from, window.until].map(|at| timezone.show(at));
            format!("; event {name}: {effect} from {from} to {until}")
        });
        self.forecast_note() + &events.collect::<String>()
    }

    fn forecast_note(&self) -> String {
        let expected = match self.expected {
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
        match (expected.by, expected.loss_ratio, self.need) {
            (Model::Persistence, ratio, _) if !expected.is_lifted => {
                format!("{head}, but {}, so it is not used", unused_because(&expected, ratio))
            }
            (by, _, None) => format!("{head} ({by}), but how many replicas a load needs is not known yet"),
            (by, ratio, Some(need)) => {
                let ratio = ratio
                    .map_or_else(String::new, |ratio| format!(", loss {ratio:.2} times the last value's"));
                let model = format!("{by}{ratio}, covered {:.1} %", expected.coverage * 100.0);
                match need {
                    ReplicaNeed::ByTargets(needed) => {
                        format!("{head} ({model}), which needs {needed:.2} replicas")
                    }
                    ReplicaNeed::BySlo { cheapest: Cheapest { replicas, risk }, carried, price } => {
                        format!(
                            "{} ({model}), which {replicas} carry at the least cost: a request that violates the SLO costs as much as {:.0} that a \
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

    /// Adds the forecast to `decision`; `raised` are the numbers before and after, where it raised the number.
    pub(crate) fn annotate(&self, raised: Option<(u32, u32)>, mut decision: Decision) -> Decision {
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
        // First, as it is applied right after the metrics.
        decision.limits.insert(0, Limit { name: FORECAST, from, to, note: note.into() });
        decision
    }
}

/// Whether the forecast is used: a model has been better than the last value, or a known event is ahead.
fn is_used(expected: &PeakForecast) -> bool {
    expected.by != Model::Persistence || expected.is_lifted
}

/// Why the last value is the forecast, and no model: too few forecasts have been compared with the load that came, or none was better by
/// enough.
fn unused_because(expected: &PeakForecast, loss_ratio: Option<f64>) -> String {
    let PeakForecast { scored, scored_min, .. } = *expected;
    if scored == 0 {
        return "no forecast has been scored yet".to_owned();
    }
    let loss = loss_ratio.map_or_else(String::new, |ratio| format!("loss {ratio:.2} times its, "));
    if scored < scored_min {
        return format!(
            "no model may replace the last value before {scored_min} forecasts have been scored ({loss}over {scored} so far)"
        );
    }
    let percent = (ADVANTAGE_MIN * 100.0).round();
    format!("no model has beaten the last value by {percent} % ({loss}over {scored} forecasts)")
}

/// Whether forecasts have been scored for [`PROVEN`].
fn is_proven(load_forecast: &LoadForecast, expected: &PeakForecast) -> bool {
    load_forecast.step().saturating_mul(u32::try_from(expected.scored).unwrap_or(u32::MAX)) >= PROVEN
}

impl SloInputs<'_> {
    /// The expected load for a shadow with an SLO: the forecast of requests, where the acting autoscaler may use one.
    pub(crate) fn expected_load(self, load_forecast: &LoadForecast) -> Option<Box<ExpectedLoad>> {
        let is_on =
            load_forecast.rule().mode == ForecastMode::On && load_forecast.source() == LoadSource::Requests;
        if is_on { ExpectedLoad::of(Some(load_forecast), Some(self)) } else { None }
    }

    /// `None` while the capacity of a replica is not known, while there is no forecast, and where it is not a forecast of requests.
    fn need(self, load_forecast: &LoadForecast, is_proven: bool) -> Option<ReplicaNeed> {
        let load = load_forecast.distribution().filter(|_| load_forecast.source() == LoadSource::Requests)?;
        let capacity = Capacity(self.capacity?.rate.per_second());
        let price = self.price(is_proven);
        let cheapest = newsvendor::cheapest(load, price, capacity, (0, self.replicas_max));
        Some(ReplicaNeed::BySlo { cheapest, carried: capacity.carried(cheapest.replicas), price })
    }

    /// The price of a violated request: from the objective; from the spent budget, once the forecast is proven; and times the learned factor.
    fn price(self, is_proven: bool) -> Price {
        let objective = Objective::declared(self.slo);
        let spent = self.rises.filter(|_| is_proven).map(|rises| rises.error_budget);
        let price = spent.map_or(objective.price(), |spent| objective.price_after(spent));
        let carried = self.capacity.map(|capacity| i64::try_from(capacity.rate.0).unwrap_or(i64::MAX));
        let factors = self.rises.zip(carried).and_then(|(rises, carried)| {
            learned::price_factors(self.slo, rises, Milli(carried), slo_first::is_new(rises))?.ok()
        });
        factors.map_or(price, |factors| price.times(factors.forecast))
    }
}
