//! The measured load of a service and its forecast.
//!
//! The load is averaged over steps of equal length, and the forecaster learns from each step once. Only the load of the steps is
//! stored ([`LoadRecord`]); after a restart the forecaster learns from it again, a few steps at each update, so that no update takes
//! long. There is no forecast until that is done.

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

/// The quantiles that are forecast besides the declared one: the band, the median, and the tail for sizing by an SLO.
const LEVELS: [f64; 6] = [0.05, 0.5, 0.8, 0.95, 0.98, 0.993];

/// The steps ahead that are forecast for display, besides the horizon.
const DISPLAY_STEPS: [usize; 3] = [1, 10, 60];

/// The most steps learned from at one update: 128 take half a millisecond, and a full record takes two minutes of updates.
const LEARNED_PER_UPDATE: u64 = 128;

/// How much of a step must be measured before it is extrapolated, in hundredths.
const EXTRAPOLATED_FROM_PERCENT: u64 = 20;

/// The shortest horizon in steps, the current one included: a daily increase occurs a step sooner or later than the day before, and a
/// forecast of the next step alone would miss half of them.
const HORIZON_MIN: usize = 3;

/// The start time that is assumed before the first start: long enough for programs that load data.
const START_TIME_ASSUMED: Duration = Duration::from_secs(30);

/// The load of one service and its forecast.
#[derive(Clone, Debug)]
pub struct LoadForecast {
    rule: Forecasting,
    meter: Meter,
    /// The start time as of the last update; `None` before the first start.
    start_time: Option<Duration>,
    forecaster: Forecaster,
    /// The odds of the forecast quantiles.
    exceedances: ExceedanceProbabilities,
    /// The horizon of the forecast that is acted on in steps, the current one included.
    horizon: usize,
    /// The number of the next step to learn from.
    next: u64,
    current: Option<CurrentForecast>,
    /// The steps ahead that are forecast for display, besides the horizon.
    display_steps: &'static [usize],
}

/// The forecasts made when the last step ended.
#[derive(Clone, Debug)]
struct CurrentForecast {
    /// The forecast, with known events.
    peak: HorizonForecast,
    /// The same from the current step on, while its load is above that of the last one.
    provisional: Option<ProvisionalForecast>,
    summary: ReportSummary,
    /// The lift by known events within the horizon.
    lift: Lift,
    /// The lift of each forecast step.
    lifts: Vec<Option<Lift>>,
    upcoming: Vec<UpcomingEvent>,
}

/// A forecast as if the current step were over.
#[derive(Clone, Debug)]
struct ProvisionalForecast {
    /// The assumed load of the current step.
    load: f64,
    peak: HorizonForecast,
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
        self.provisional.as_ref().map_or(&self.peak, |provisional| &provisional.peak)
    }
}

/// The forecast of the highest load until a replica that is started now would serve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PeakForecast {
    /// The load at the declared quantile, in the unit of the source.
    pub load: f64,
    /// The model of this forecast.
    pub by: Model,
    /// Whether a known event raises it.
    pub is_lifted: bool,
    /// Its mean loss relative to that of the last value, over about the last week; `None` before the first score.
    pub loss_ratio: Option<f64>,
    /// The share of past loads at or below their forecast.
    pub coverage: f64,
    /// The number of scored forecasts.
    pub scored: u64,
    /// The number of scored forecasts from which on a model may be used instead of the last value.
    pub scored_min: u64,
}

/// Why there is no forecast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoForecast {
    /// The first step is not over yet.
    New,
    /// The load before a restart is being learned again.
    Relearning {
        /// The steps learned from so far.
        done: u64,
        /// All steps.
        of: u64,
    },
}

impl LoadForecast {
    /// Begins without a record, for a simulated service whose replicas have this start time. Forecasts the horizon alone.
    #[must_use]
    pub fn simulated(rule: Forecasting, source: LoadSource, start_time: Option<Duration>, now: Time) -> Self {
        Self::begin(rule, source, (None, start_time), (&[], now))
    }

    /// Begins with what was `remembered`, if it has the same source and the same steps.
    pub(crate) fn new(
        rule: Forecasting,
        source: LoadSource,
        remembered: Option<&Arc<LoadRecord>>,
        (start_time, now): (Option<Duration>, Time),
    ) -> Self {
        Self::begin(rule, source, (remembered, start_time), (&DISPLAY_STEPS, now))
    }

    fn begin(
        rule: Forecasting,
        source: LoadSource,
        (remembered, start_time): (Option<&Arc<LoadRecord>>, Option<Duration>),
        (display_steps, now): (&'static [usize], Time),
    ) -> Self {
        let meter = Meter::begin(source, rule.step.as_duration(), remembered, now);
        let horizon = Self::horizon_for(&rule, start_time, Duration::ZERO);
        Self {
            next: meter.record().first(),
            forecaster: forecaster(&rule, horizon, display_steps),
            exceedances: ExceedanceProbabilities::of(levels(&rule)),
            horizon,
            rule,
            meter,
            start_time,
            current: None,
            display_steps,
        }
    }

    /// Replaces the rule. If the steps or the source differ, the load is learned anew.
    pub(crate) fn set_rule(&mut self, rule: Forecasting, source: LoadSource, now: Time) {
        let is_same_load = rule.step == self.rule.step && source == self.source();
        if !is_same_load {
            *self = Self::new(rule, source, None, (self.start_time, now));
        } else if (rule.quantile, rule.horizon) != (self.rule.quantile, self.rule.horizon)
            || rule.events != self.rule.events
        {
            self.horizon = Self::horizon_for(&rule, self.start_time, Duration::ZERO);
            self.rule = rule;
            self.learn_anew();
        } else {
            self.rule = rule;
        }
    }

    /// Forgets how many replicas a load requires, because the targets of the autoscaler have changed. A load that is measured in replicas
    /// is forgotten as well.
    pub fn forget_targets(&mut self, now: Time) {
        match self.source() {
            LoadSource::Requests => self.meter.forget_demand(),
            LoadSource::Replicas => {
                *self = Self::new(self.rule.clone(), LoadSource::Replicas, None, (self.start_time, now));
            }
        }
    }

    fn learn_anew(&mut self) {
        self.forecaster = forecaster(&self.rule, self.horizon, self.display_steps);
        self.exceedances = ExceedanceProbabilities::of(levels(&self.rule));
        self.next = self.record().first();
        self.current = None;
    }

    /// Observes the proxy's counter of requests.
    pub fn observe_requests(&mut self, at: Time, requests: u64) {
        if self.meter.observe_requests(at, requests) == Continuity::Lost {
            self.learn_anew();
        }
    }

    /// Learns from the steps that are over, and updates the forecast.
    ///
    /// `required` are the thousandths of replicas that the autoscaler's metrics last required, and `interval` is the time until the next
    /// update.
    pub fn update(
        &mut self,
        now: Now,
        required: Option<u64>,
        start_time: Option<Duration>,
        interval: Duration,
    ) {
        self.start_time = start_time;
        if self.meter.update(now.time, required) == Continuity::Lost {
            self.learn_anew();
        }
        self.update_horizon(interval);
        self.learn(now);
        self.meter.renew_record(now.time);
    }

    /// Sets the horizon to the current start time and the time until the next update.
    fn update_horizon(&mut self, interval: Duration) {
        let horizon = Self::horizon_for(&self.rule, self.start_time, interval);
        let is_outdated = match self.rule.horizon {
            Some(_) => horizon != self.horizon,
            None => horizon > self.horizon || horizon * 2 <= self.horizon,
        };
        if is_outdated {
            self.horizon = horizon;
            self.learn_anew();
        }
    }

    /// The horizon in steps: as declared, or the time of a start but at least [`HORIZON_MIN`], rounded up so that a slightly slower start
    /// changes nothing.
    fn horizon_for(rule: &Forecasting, start_time: Option<Duration>, interval: Duration) -> usize {
        let max = forecast::AHEAD_MAX;
        let steps = |ahead| usize::try_from(rule.steps_for(ahead)).unwrap_or(max).min(max);
        match rule.horizon {
            Some(horizon) => steps(horizon.as_duration()),
            None => {
                let steps = steps(start_time.unwrap_or(START_TIME_ASSUMED) + interval).max(HORIZON_MIN);
                let power = steps.next_power_of_two();
                let between = power / 4 * 3;
                (if between >= steps { between } else { power }).min(max)
            }
        }
    }

    fn learn(&mut self, now: Now) {
        let end = self.record().next();
        if self.next < end {
            let steps = Steps { step: self.step(), now };
            self.learn_until(end.min(self.next.saturating_add(LEARNED_PER_UPDATE)), steps);
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

    /// Learns from the steps before this one.
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

    /// Forecasts before the current step is over when its load is already above that of the last one: at its end, replicas would be
    /// started too late. After a decrease, the forecast can wait for the end of the step.
    fn forecast_current_step(&mut self) {
        let enough_ms = step_ms(self.step()) * EXTRAPOLATED_FROM_PERCENT / 100;
        let (source, in_progress) = (self.source(), self.meter.in_progress());
        let (LoadSource::Requests, Some(in_progress), Some(current)) =
            (source, in_progress, &mut self.current)
        else {
            return;
        };
        let has_event = current.lifts.first().is_some_and(Option::is_some);
        if has_event || in_progress.load.over_ms < enough_ms {
            return;
        }
        let (load, last) = (in_progress.load.lower_bound(), self.forecaster.last());
        let Some(load) = load.filter(|load| last.is_some_and(|last| *load > last)) else { return };
        let peak = self.forecaster.forecast_assuming(0, load);
        let peak = peak.map(|peak| HorizonForecast::of(current.lift.apply(peak), &self.exceedances));
        current.provisional = peak.map(|peak| ProvisionalForecast { load, peak });
    }

    fn forecast_from(&self, steps: Steps) -> Option<CurrentForecast> {
        let level = level_of(&self.rule);
        let peak = self.forecaster.forecast(0)?;
        let summary = self.forecaster.summary(0, level)?;
        let (first, events) = (self.next, &self.rule.events);
        let farthest = self.display_steps.iter().copied().fold(self.horizon, usize::max) as u64;
        let lifts = steps.lifts(events, first..first + farthest);
        let lift = greatest(&lifts[..self.horizon]);
        let upcoming = steps.upcoming(events, [first, first + self.horizon as u64, first + farthest]);
        let peak = HorizonForecast::of(lift.apply(peak), &self.exceedances);
        Some(CurrentForecast { peak, provisional: None, summary, lift, lifts, upcoming })
    }

    fn record(&self) -> &Record {
        self.meter.record()
    }

    /// The record that survives a restart; a new one whenever it must be stored again.
    pub fn remembered(&self) -> &Arc<LoadRecord> {
        self.record().stored()
    }

    /// The source of the load.
    pub fn source(&self) -> LoadSource {
        self.meter.source()
    }

    /// The length of a step.
    pub fn step(&self) -> Duration {
        self.meter.step()
    }

    /// The declared rule.
    pub fn rule(&self) -> &Forecasting {
        &self.rule
    }

    /// The horizon of the forecast that is acted on, the current step included.
    pub fn horizon(&self) -> Duration {
        self.step() * u32::try_from(self.horizon).unwrap_or(u32::MAX)
    }

    /// The replicas that `load` requires by the targets of the autoscaler, not rounded; `None` before that was observed.
    pub fn replicas_for(&self, load: f64) -> Option<f64> {
        match self.source() {
            LoadSource::Requests => self.meter.demand().replicas_for(load),
            LoadSource::Replicas => Some(load),
        }
    }

    /// The highest load within the horizon, at the declared quantile.
    ///
    /// # Errors
    ///
    /// Why there is no forecast.
    pub fn peak(&self) -> Result<PeakForecast, NoForecast> {
        let Some(current @ CurrentForecast { summary, lift, .. }) = &self.current else {
            // Steps that were not learned again yet may have been dropped from the record.
            let (done, of) = (self.next.saturating_sub(self.record().first()), self.steps());
            return Err(if done < of { NoForecast::Relearning { done, of } } else { NoForecast::New });
        };
        let level = level_of(&self.rule);
        let quantile = current.latest().forecast.quantiles.iter().find(|quantile| quantile.level == level);
        let quantile = quantile.ok_or(NoForecast::New)?;
        let ratio = summary.loss / summary.persistence_loss;
        Ok(PeakForecast {
            load: quantile.load,
            by: quantile.by,
            is_lifted: lift.is_increase(),
            loss_ratio: (summary.scored > 0 && ratio.is_finite()).then_some(ratio),
            coverage: summary.coverage,
            scored: summary.scored,
            scored_min: summary.scored_min,
        })
    }

    /// The distribution of the highest load within the horizon; `None` while there is no forecast.
    pub fn distribution(&self) -> Option<&Distribution> {
        self.current.as_ref().map(|current| &current.latest().distribution)
    }

    /// The load of the current step that the forecast assumes; `None` while it begins after the last full step.
    pub fn current_step_load(&self) -> Option<f64> {
        self.current.as_ref()?.provisional.as_ref().map(|provisional| provisional.load)
    }

    /// The forecasts for display: of the horizon, then of some times ahead, each with the lift by known events; empty while there is no
    /// forecast.
    ///
    /// All of them begin at the same step as the forecast that is acted on. While that is the current step, they are made by a copy of the
    /// forecaster, which takes a tenth of a millisecond; they are requested rarely.
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

    /// Known events that are in progress or begin within the forecast.
    pub fn upcoming(&self) -> &[UpcomingEvent] {
        self.current.as_ref().map_or(&[], |current| &current.upcoming)
    }

    /// The accuracy of each forecast.
    pub fn reports(&self) -> Vec<Report> {
        self.forecaster.reports()
    }

    /// The seasons of the load, strongest first.
    pub fn seasons(&self) -> Vec<Season> {
        self.forecaster.seasons()
    }

    /// The begin and the load of each of the last `steps` complete steps; the load is `None` where it was not measured.
    pub fn past(&self, steps: usize) -> impl Iterator<Item = (Time, Option<f64>)> {
        let next = self.record().next();
        let from = next.saturating_sub(steps as u64).max(self.record().first());
        let load = |number| self.record().at(number).milli().map(|milli| milli as f64 / 1000.0);
        (from..next).map(move |number| (begin_of(number, self.step()), load(number)))
    }

    /// The number of recorded steps.
    pub fn steps(&self) -> u64 {
        self.record().next() - self.record().first()
    }
}

/// The declared quantile as a level of the forecaster.
fn level_of(rule: &Forecasting) -> f64 {
    rule.quantile.probability()
}

/// The forecast quantiles, in ascending order.
fn levels(rule: &Forecasting) -> Vec<f64> {
    let mut levels: Vec<f64> = LEVELS.into_iter().chain([level_of(rule)]).collect();
    levels.sort_by(f64::total_cmp);
    levels.dedup();
    levels
}

fn forecaster(rule: &Forecasting, horizon: usize, display_steps: &[usize]) -> Forecaster {
    let displayed = display_steps.iter().copied().map(Horizon::At);
    let horizons: Vec<Horizon> = std::iter::once(Horizon::PeakWithin(horizon)).chain(displayed).collect();
    let settings = Settings::new(rule.step.as_duration(), &horizons, &levels(rule)).expect(
        "the declaration was checked: its step and its horizon are within the bounds of a forecaster",
    );
    Forecaster::new(settings)
}

fn number_of(at: Time, step: Duration) -> u64 {
    at.as_millis() / step_ms(step)
}

fn begin_of(number: u64, step: Duration) -> Time {
    Time::from_millis(number.saturating_mul(step_ms(step)))
}

/// The length of a step, as a divisor.
fn step_ms(step: Duration) -> u64 {
    millis(step).max(1)
}

#[cfg(test)]
mod tests;
