//! The load of a service, as it was measured and as it is forecast.
//!
//! Load is averaged over steps of equal length, and the forecaster learns from each step once. Only the load of the steps is
//! written down ([`LoadRecord`]); after a restart the forecaster learns from it again, a few steps at each look, so that no look
//! takes long. Until that is done nothing is forecast.

mod known;
mod load_meter;
mod record;

use std::sync::Arc;
use std::time::Duration;

use forecast::{
    Distribution, ExceedanceProbabilities, Forecast, Forecaster, Horizon, Model, Report, ReportSummary,
    Season, Settings,
};
use model::memory::{LoadRecord, LoadSource};
use model::resource::Forecasting;
use model::time::{Now, Time, millis};

pub use self::known::{Lift, UpcomingEvent};
use self::known::{Steps, greatest};
use self::load_meter::{Continuity, Meter};
use self::record::Record;

/// The quantiles that are forecast besides the declared one: the band, the median, and the tail that an SLO is sized by.
const LEVELS: [f64; 6] = [0.05, 0.5, 0.8, 0.95, 0.98, 0.993];

/// How many steps ahead is forecast for people, besides the reach.
const LOOKS_AHEAD: [usize; 3] = [1, 10, 60];

/// Steps learned from at one look: 128 cost half a millisecond, and all that may be remembered takes two minutes of looks.
const LEARNED_AT_ONCE: u64 = 128;

/// How much of a step must have been measured, in hundredths, before its end is extrapolated.
const EXTRAPOLATED_FROM_PERCENT: u64 = 20;

/// The fewest steps that a forecast covers, the current one included: a daily rise comes a step sooner or later than the day
/// before, and a forecast of the next step alone would miss half of such rises.
const REACH_MIN: usize = 3;

/// How long a start is assumed to take before one was seen: long enough for programs that load something.
const START_ASSUMED: Duration = Duration::from_secs(30);

/// The load of one service and its forecast.
#[derive(Clone, Debug)]
pub struct Foresight {
    rule: Forecasting,
    meter: Meter,
    /// How long a start takes, as of the last look; `None` before one was seen.
    start: Option<Duration>,
    forecaster: Forecaster,
    /// The exceedance probabilities of the forecast quantiles.
    exceedances: ExceedanceProbabilities,
    /// How many steps the forecast covers that is acted on, the current one included.
    reach: usize,
    /// The number of the next step to learn from.
    next: u64,
    current: Option<CurrentForecast>,
    /// How many steps ahead is forecast for people, besides the reach.
    looks: &'static [usize],
}

/// The forecasts made when the last step ended.
#[derive(Clone, Debug)]
struct CurrentForecast {
    /// The forecast, with known events.
    ahead: HorizonForecast,
    /// The same from the current step on, while that is above the last one.
    provisional: Option<ProvisionalForecast>,
    summary: ReportSummary,
    /// By how much known events raise the load within the reach.
    lift: Lift,
    /// The same for each step that is forecast for people.
    lifts: Vec<Option<Lift>>,
    upcoming: Vec<UpcomingEvent>,
}

/// A forecast as if the current step were over.
#[derive(Clone, Debug)]
struct ProvisionalForecast {
    /// The assumed load of the current step.
    load: f64,
    ahead: HorizonForecast,
}

/// A forecast, and the distribution that interpolates its quantiles.
#[derive(Clone, Debug)]
struct HorizonForecast {
    forecast: Forecast,
    distribution: Distribution,
}

impl HorizonForecast {
    fn of(forecast: Forecast, exceedances: &ExceedanceProbabilities) -> Self {
        Self { distribution: Distribution::of(&forecast, exceedances), forecast }
    }
}

impl CurrentForecast {
    /// The forecast that is acted on.
    fn latest(&self) -> &HorizonForecast {
        self.provisional.as_ref().map_or(&self.ahead, |provisional| &provisional.ahead)
    }
}

/// The load that is expected until a replica started now would carry some.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Expected {
    /// The load at the declared quantile, in the unit of the source.
    pub load: f64,
    /// The model that says so.
    pub by: Model,
    /// Whether a known event raises it.
    pub is_lifted: bool,
    /// Its mean loss ÷ that of the last value, over about the last week; `None` before any was scored.
    pub loss_ratio: Option<f64>,
    /// The share of past loads that lay at or below their forecast.
    pub coverage: f64,
    /// How many forecasts were scored.
    pub scored: u64,
}

/// Why there is no forecast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoForecast {
    /// Not one step is over yet.
    New,
    /// What was known before a restart is being learned again.
    Relearning {
        /// Steps learned from so far.
        done: u64,
        /// All steps.
        of: u64,
    },
}

impl Foresight {
    /// Begins without a past, for a simulated service whose replicas take `start` to become ready. Forecasts the reach alone.
    #[must_use]
    pub fn simulated(rule: Forecasting, source: LoadSource, start: Option<Duration>, now: Time) -> Self {
        Self::begin(rule, source, (None, start), (&[], now))
    }

    /// Begins with what was `remembered`, as far as it has the same source and the same steps. A start takes `start`.
    pub(crate) fn new(
        rule: Forecasting,
        source: LoadSource,
        remembered: Option<&Arc<LoadRecord>>,
        (start, now): (Option<Duration>, Time),
    ) -> Self {
        Self::begin(rule, source, (remembered, start), (&LOOKS_AHEAD, now))
    }

    fn begin(
        rule: Forecasting,
        source: LoadSource,
        (remembered, start): (Option<&Arc<LoadRecord>>, Option<Duration>),
        (looks, now): (&'static [usize], Time),
    ) -> Self {
        let meter = Meter::begin(source, rule.step.as_duration(), remembered, now);
        let reach = Self::fitting_reach(&rule, start, Duration::ZERO);
        Self {
            next: meter.record().first(),
            forecaster: forecaster(&rule, reach, looks),
            exceedances: ExceedanceProbabilities::of(levels(&rule)),
            reach,
            rule,
            meter,
            start,
            current: None,
            looks,
        }
    }

    /// Replaces the rule. With other steps or another source the load is learned anew.
    pub(crate) fn set_rule(&mut self, rule: Forecasting, source: LoadSource, now: Time) {
        let is_same_load = rule.step == self.rule.step && source == self.source();
        if !is_same_load {
            *self = Self::new(rule, source, None, (self.start, now));
        } else if (rule.quantile, rule.horizon) != (self.rule.quantile, self.rule.horizon)
            || rule.events != self.rule.events
        {
            self.reach = Self::fitting_reach(&rule, self.start, Duration::ZERO);
            self.rule = rule;
            self.learn_anew();
        } else {
            self.rule = rule;
        }
    }

    /// Forgets how many replicas a load needs, because the targets of the autoscaler have changed. A load that is measured in replicas
    /// is forgotten altogether.
    pub fn retarget(&mut self, now: Time) {
        match self.source() {
            LoadSource::Requests => self.meter.forget_exchange(),
            LoadSource::Need => {
                *self = Self::new(self.rule.clone(), LoadSource::Need, None, (self.start, now));
            }
        }
    }

    fn learn_anew(&mut self) {
        self.forecaster = forecaster(&self.rule, self.reach, self.looks);
        self.exceedances = ExceedanceProbabilities::of(levels(&self.rule));
        self.next = self.record().first();
        self.current = None;
    }

    /// Takes the proxy's counter: the requests that had come by `at`.
    pub fn asked(&mut self, at: Time, requests: u64) {
        if self.meter.asked(at, requests) == Continuity::Lost {
            self.learn_anew();
        }
    }

    /// Learns from the steps that are over, and forecasts anew.
    ///
    /// `need` are the thousandths of replicas that the autoscaler's metrics last asked for, `start` is how long a start usually takes,
    /// and `interval` the time until the next look.
    pub fn look(&mut self, moment: Now, need: Option<u64>, start: Option<Duration>, interval: Duration) {
        self.start = start;
        if self.meter.look(moment.time, need) == Continuity::Lost {
            self.learn_anew();
        }
        self.reach_out(interval);
        self.learn(moment);
        self.meter.keep(moment.time);
    }

    /// Sets the reach to the time that a start takes by now, and the time until the next look.
    fn reach_out(&mut self, interval: Duration) {
        let reach = Self::fitting_reach(&self.rule, self.start, interval);
        let is_far_off = reach > self.reach || reach * 2 <= self.reach;
        let is_other = self.rule.horizon.is_none() && is_far_off;
        if is_other || (self.rule.horizon.is_some() && reach != self.reach) {
            self.reach = reach;
            self.learn_anew();
        }
    }

    /// The number of steps to look ahead: as declared, or as many as a start takes but at least [`REACH_MIN`], rounded up so that a
    /// slightly slower start changes nothing.
    fn fitting_reach(rule: &Forecasting, start: Option<Duration>, interval: Duration) -> usize {
        let most = forecast::AHEAD_MAX;
        let steps = |ahead| usize::try_from(rule.steps_for(ahead)).unwrap_or(most).min(most);
        match rule.horizon {
            Some(horizon) => steps(horizon.as_duration()),
            None => {
                let steps = steps(start.unwrap_or(START_ASSUMED) + interval).max(REACH_MIN);
                let power = steps.next_power_of_two();
                let between = power / 4 * 3;
                (if between >= steps { between } else { power }).min(most)
            }
        }
    }

    fn learn(&mut self, now: Now) {
        let end = self.record().next();
        if self.next < end {
            let steps = Steps { step: self.step(), now };
            self.learn_until(end.min(self.next.saturating_add(LEARNED_AT_ONCE)), steps);
            if self.next == end {
                self.current = self.forecast_from(steps);
            }
        }
        if let Some(current) = &mut self.current {
            current.provisional = None;
        }
        if self.next == end {
            self.forecast_current_step();
        }
    }

    /// Learns from the steps before the one with this number.
    fn learn_until(&mut self, until: u64, steps: Steps) {
        let step = steps.step;
        let known = steps.lifts(&self.rule.events, self.next..until);
        for (number, lift) in (self.next..until).zip(known) {
            let at = Duration::from_millis(begin_of(number, step).as_millis());
            if lift.is_some() {
                self.forecaster.mark_exceptional(at);
            } else if let Some(milli) = self.record().at(number).milli() {
                self.forecaster.observe(at, milli as f64 / 1000.0);
            }
            self.forecaster.close(at + step);
        }
        self.next = until;
    }

    /// Forecasts before the current step is over when that is already above the last one: at its end, replicas would start too late.
    /// A falling load can wait for the end of the step.
    fn forecast_current_step(&mut self) {
        let enough = step_ms(self.step()) * EXTRAPOLATED_FROM_PERCENT / 100;
        let (source, in_progress) = (self.source(), self.meter.in_progress());
        let (LoadSource::Requests, Some(in_progress), Some(current)) =
            (source, in_progress, &mut self.current)
        else {
            return;
        };
        let is_apart = current.lifts.first().is_some_and(Option::is_some);
        if is_apart || in_progress.load.over_ms < enough {
            return;
        }
        let (load, last) = (in_progress.load.beyond_chance(), self.forecaster.last());
        let Some(load) = load.filter(|load| last.is_some_and(|last| *load > last)) else { return };
        let ahead = self.forecaster.forecast_assuming(0, load);
        let ahead = ahead.map(|ahead| HorizonForecast::of(current.lift.lifted(ahead), &self.exceedances));
        current.provisional = ahead.map(|ahead| ProvisionalForecast { load, ahead });
    }

    fn forecast_from(&self, steps: Steps) -> Option<CurrentForecast> {
        let level = level_of(&self.rule);
        let ahead = self.forecaster.forecast(0)?;
        let summary = self.forecaster.summary(0, level)?;
        let (first, events) = (self.next, &self.rule.events);
        let farthest = self.looks.iter().copied().fold(self.reach, usize::max) as u64;
        let lifts = steps.lifts(events, first..first + farthest);
        let lift = greatest(&lifts[..self.reach]);
        let upcoming = steps.upcoming(events, [first, first + self.reach as u64, first + farthest]);
        let ahead = HorizonForecast::of(lift.lifted(ahead), &self.exceedances);
        Some(CurrentForecast { ahead, provisional: None, summary, lift, lifts, upcoming })
    }

    fn record(&self) -> &Record {
        self.meter.record()
    }

    /// The record that is to survive a restart; a new one whenever it must be written again.
    pub fn remembered(&self) -> &Arc<LoadRecord> {
        self.record().kept()
    }

    /// What is taken for the load.
    pub fn source(&self) -> LoadSource {
        self.meter.source()
    }

    /// How long a step is.
    pub fn step(&self) -> Duration {
        self.meter.step()
    }

    /// The rule that was declared.
    pub fn rule(&self) -> &Forecasting {
        &self.rule
    }

    /// How far ahead the forecast looks that is acted on, the current step included.
    pub fn reach(&self) -> Duration {
        self.step() * u32::try_from(self.reach).unwrap_or(u32::MAX)
    }

    /// The replicas that `load` needs by the targets of the autoscaler, not rounded; `None` before that was seen.
    pub fn replicas_for(&self, load: f64) -> Option<f64> {
        match self.source() {
            LoadSource::Requests => self.meter.exchange().replicas_for(load),
            LoadSource::Need => Some(load),
        }
    }

    /// The highest load within the reach, at the declared quantile.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub fn expected(&self) -> Result<Expected, NoForecast> {
        let Some(current @ CurrentForecast { summary, lift, .. }) = &self.current else {
            // Steps that were not learned again yet may have left the record meanwhile.
            let (done, of) = (self.next.saturating_sub(self.record().first()), self.steps());
            return Err(if done < of { NoForecast::Relearning { done, of } } else { NoForecast::New });
        };
        let level = level_of(&self.rule);
        let quantile = current.latest().forecast.quantiles.iter().find(|quantile| quantile.level == level);
        let quantile = quantile.ok_or(NoForecast::New)?;
        let ratio = summary.loss / summary.persistence_loss;
        Ok(Expected {
            load: quantile.load,
            by: quantile.by,
            is_lifted: lift.is_more(),
            loss_ratio: (summary.scored > 0 && ratio.is_finite()).then_some(ratio),
            coverage: summary.coverage,
            scored: summary.scored,
        })
    }

    /// The distribution of the highest load within the reach; `None` while nothing is forecast.
    pub fn distribution(&self) -> Option<&Distribution> {
        self.current.as_ref().map(|current| &current.latest().distribution)
    }

    /// The load that the forecast assumes of the current step; `None` while it starts from the last full step.
    pub fn under_way(&self) -> Option<f64> {
        self.current.as_ref()?.provisional.as_ref().map(|provisional| provisional.load)
    }

    /// The forecasts for people: of the reach, then of some moments ahead, each with the lift by known events; empty while nothing is
    /// forecast.
    ///
    /// All of them start from the same step as the forecast that is acted on. While that is the current step, a copy of the
    /// forecaster is asked, which takes a tenth of a millisecond: only people ask.
    pub fn forecasts(&self) -> Vec<(Forecast, Lift)> {
        let Some(current) = &self.current else { return Vec::new() };
        let lift = |horizon: Horizon| {
            let steps = horizon.range();
            current.lifts.get(steps.start() - 1..*steps.end()).map_or(Lift::NONE, greatest)
        };
        let forecasts = match &current.provisional {
            None => self.forecaster.forecasts(),
            Some(ProvisionalForecast { load, .. }) => {
                let mut forecaster = self.forecaster.clone();
                (0..).map_while(|place| forecaster.forecast_assuming(place, *load)).collect()
            }
        };
        forecasts.into_iter().map(|it| (lift(it.horizon), it)).map(|(lift, it)| (it, lift)).collect()
    }

    /// Known events that are on, or begin within what is forecast.
    pub fn upcoming(&self) -> &[UpcomingEvent] {
        self.current.as_ref().map_or(&[], |current| &current.upcoming)
    }

    /// How good each forecast has been.
    pub fn reports(&self) -> Vec<Report> {
        self.forecaster.reports()
    }

    /// The seasons of the load, the strongest first.
    pub fn seasons(&self) -> Vec<Season> {
        self.forecaster.seasons()
    }

    /// The begin of each of the last `steps` steps that are over, and its load; `None` where that was not measured.
    pub fn past(&self, steps: usize) -> impl Iterator<Item = (Time, Option<f64>)> {
        let next = self.record().next();
        let from = next.saturating_sub(steps as u64).max(self.record().first());
        let load = |number| self.record().at(number).milli().map(|milli| milli as f64 / 1000.0);
        (from..next).map(move |number| (begin_of(number, self.step()), load(number)))
    }

    /// Steps that are remembered.
    pub fn steps(&self) -> u64 {
        self.record().next() - self.record().first()
    }
}

/// The declared quantile as a level of the forecaster.
fn level_of(rule: &Forecasting) -> f64 {
    rule.quantile.probability()
}

/// The quantiles that are forecast, in ascending order.
fn levels(rule: &Forecasting) -> Vec<f64> {
    let mut levels: Vec<f64> = LEVELS.into_iter().chain([level_of(rule)]).collect();
    levels.sort_by(f64::total_cmp);
    levels.dedup();
    levels
}

fn forecaster(rule: &Forecasting, reach: usize, looks: &[usize]) -> Forecaster {
    let looks = looks.iter().copied().map(Horizon::At);
    let horizons: Vec<Horizon> = std::iter::once(Horizon::PeakWithin(reach)).chain(looks).collect();
    let settings = Settings::new(rule.step.as_duration(), &horizons, &levels(rule))
        .expect("the declaration was checked: its step and its reach are within the bounds of a forecaster");
    Forecaster::new(settings)
}

fn number_of(at: Time, step: Duration) -> u64 {
    at.as_millis() / step_ms(step)
}

fn begin_of(number: u64, step: Duration) -> Time {
    Time::from_millis(number.saturating_mul(step_ms(step)))
}

/// The length of a step, which is divided by.
fn step_ms(step: Duration) -> u64 {
    millis(step).max(1)
}

#[cfg(test)]
mod tests;
