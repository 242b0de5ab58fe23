//! What is known of the load of a service, and what is forecast of it.
//!
//! Load comes in as amounts over stretches of time, is averaged to steps, and each step is learned from once. Only what was measured, step by
//! step, is written down ([`LoadRecord`]); what a forecaster knows is a function of that, and is learned again after a restart, a few steps at
//! each look, so that no look takes long. Until that is done nothing is forecast.

mod known;
mod meter;
mod record;

use std::sync::Arc;
use std::time::Duration;

use forecast::{Distribution, Forecast, Forecaster, Horizon, Merit, Model, Odds, Report, Season, Settings};
use model::memory::{LoadRecord, LoadSource};
use model::resource::Forecasting;
use model::time::{Now, Time};

pub use self::known::{Coming, Lift};
use self::known::{Steps, greatest};
use self::meter::{Continuity, Meter};
use self::record::Record;

/// The quantiles that are forecast besides the one that is asked for: the band, the middle, and the tail that a promise is sized by.
const LEVELS: [f64; 6] = [0.05, 0.5, 0.8, 0.95, 0.98, 0.993];

/// Steps ahead that are forecast for people, besides the reach.
const LOOKS_AHEAD: [usize; 3] = [1, 10, 60];

/// Steps learned from at one look: 128 cost half a millisecond, and all that may be remembered takes two minutes of looks.
const LEARNED_AT_ONCE: u64 = 128;

/// So much of a step must have been measured before it is asked how it will end.
const SUPPOSED_FROM_PERCENT: u64 = 20;

/// Steps that a forecast covers at least, the one that is under way included: what comes each day comes a step sooner or later, and whoever looks no
/// further than the next step is surprised by half of it.
const REACH_MIN: usize = 3;

/// What a start is taken for before one was seen: a guess on the side of programs that load something.
const START_ASSUMED: Duration = Duration::from_secs(30);

/// The load of one service and its forecast.
#[derive(Clone, Debug)]
pub struct Foresight {
    rule: Forecasting,
    meter: Meter,
    /// How long a start takes, as of the last look; `None` before one was seen.
    start: Option<Duration>,
    forecaster: Forecaster,
    /// Those of the quantiles that are forecast.
    odds: Odds,
    /// Steps that the forecast which is acted on covers, from the one that is under way on.
    reach: usize,
    /// The number of the next step to learn from.
    next: u64,
    said: Option<Said>,
    /// Moments ahead that are forecast for people, besides the reach.
    looks: &'static [usize],
}

/// What was forecast when the last step was over.
#[derive(Clone, Debug)]
struct Said {
    /// With what is known to come.
    ahead: Ahead,
    /// The same with the step that is under way, while that is above the last one.
    rising: Option<Rising>,
    merit: Merit,
    /// What known events make of the load until then.
    lift: Lift,
    /// What they make of each of the steps that people look ahead at.
    lifts: Vec<Option<Lift>>,
    coming: Vec<Coming>,
}

/// What is forecast as if the step that is under way were over.
#[derive(Clone, Debug)]
struct Rising {
    /// What it is taken for.
    load: f64,
    ahead: Ahead,
}

/// A forecast, and what it says between its quantiles and beyond them.
#[derive(Clone, Debug)]
struct Ahead {
    forecast: Forecast,
    distribution: Distribution,
}

impl Ahead {
    fn of(forecast: Forecast, odds: &Odds) -> Self {
        Self { distribution: Distribution::of(&forecast, odds), forecast }
    }
}

impl Said {
    /// What is acted on.
    fn latest(&self) -> &Ahead {
        self.rising.as_ref().map_or(&self.ahead, |rising| &rising.ahead)
    }
}

/// What is expected until a replica that is started now would carry load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Expected {
    /// The load that is not exceeded with the probability of the rule, in the unit of the source.
    pub load: f64,
    /// Who says so.
    pub by: Model,
    /// Whether a known event brings more than would be usual.
    pub is_lifted: bool,
    /// Its mean loss ÷ that of the last value, over about the last week; `None` before any was scored.
    pub loss_ratio: Option<f64>,
    /// The share of what came that lay at or below what was said.
    pub coverage: f64,
    /// Forecasts that were scored.
    pub scored: u64,
}

/// Why nothing is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unforeseen {
    /// Not one step is over.
    New,
    /// What was known before a restart is being learned again.
    Relearning {
        /// Steps that are learned from.
        done: u64,
        /// Steps that there are.
        of: u64,
    },
}

impl Foresight {
    /// That of a service which is only supposed, whose replicas take `start` until they are ready: nobody looks at more than its reach.
    #[must_use]
    pub fn supposed(rule: Forecasting, source: LoadSource, start: Option<Duration>, now: Time) -> Self {
        Self::begin(rule, source, (None, start), (&[], now))
    }

    /// Begins with what was `remembered`, as far as it is of the same load in the same steps; a `start` takes so long.
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
            odds: Odds::of(levels(&rule)),
            reach,
            rule,
            meter,
            start,
            said: None,
            looks,
        }
    }

    /// Goes on under another rule. Load in other steps, or of another source, is not known.
    pub(crate) fn ruled(&mut self, rule: Forecasting, source: LoadSource, now: Time) {
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

    /// Forgets how many replicas a load needs: the targets of the autoscaler have changed. What is measured in replicas is forgotten whole.
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
        self.odds = Odds::of(levels(&self.rule));
        self.next = self.record().first();
        self.said = None;
    }

    /// Takes what the proxy counts: so many requests had come by `at`.
    pub fn asked(&mut self, at: Time, requests: u64) {
        if self.meter.asked(at, requests) == Continuity::Lost {
            self.learn_anew();
        }
    }

    /// Looks at what has come by `now`, with the replicas that the autoscaler's metrics asked for last, in thousandths and not rounded, and
    /// learns from the steps that are over. A `start` usually takes so long, and `interval` is the time to the next look.
    pub fn look(&mut self, moment: Now, need: Option<u64>, start: Option<Duration>, interval: Duration) {
        self.start = start;
        if self.meter.look(moment.time, need) == Continuity::Lost {
            self.learn_anew();
        }
        self.reach_out(interval);
        self.learn(moment);
        self.meter.keep(moment.time);
    }

    /// Looks as far ahead as a start takes by now, and the time until the next look.
    fn reach_out(&mut self, interval: Duration) {
        let reach = Self::fitting_reach(&self.rule, self.start, interval);
        let is_far_off = reach > self.reach || reach * 2 <= self.reach;
        let is_other = self.rule.horizon.is_none() && is_far_off;
        if is_other || (self.rule.horizon.is_some() && reach != self.reach) {
            self.reach = reach;
            self.learn_anew();
        }
    }

    /// Steps to look ahead: as declared, or as many as a start takes but [`REACH_MIN`] at least, rounded up so that a start a little slower changes
    /// nothing.
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
                self.said = self.say(steps);
            }
        }
        if let Some(said) = &mut self.said {
            said.rising = None;
        }
        if self.next == end {
            self.suppose();
        }
    }

    /// Learns from the steps before the one with this number.
    fn learn_until(&mut self, until: u64, steps: Steps) {
        let step = steps.step;
        let known = steps.lifts(&self.rule.events, self.next..until);
        for (number, lift) in (self.next..until).zip(known) {
            let at = Duration::from_millis(begin_of(number, step).as_millis());
            if lift.is_some() {
                self.forecaster.set_apart(at);
            } else if let Some(milli) = self.record().at(number).milli() {
                self.forecaster.observe(at, milli as f64 / 1000.0);
            }
            self.forecaster.close(at + step);
        }
        self.next = until;
    }

    /// Asks once more before the step that is under way is over, where it is already above the last one: whoever waits for its end starts replicas
    /// so much later. A step that falls has time.
    fn suppose(&mut self) {
        let enough = millis(self.step()) * SUPPOSED_FROM_PERCENT / 100;
        let (source, filling) = (self.source(), self.meter.filling());
        let (LoadSource::Requests, Some(filling), Some(said)) = (source, filling, &mut self.said) else {
            return;
        };
        let is_apart = said.lifts.first().is_some_and(Option::is_some);
        if is_apart || filling.load.over_ms < enough {
            return;
        }
        let (load, last) = (filling.load.beyond_chance(), self.forecaster.last());
        let Some(load) = load.filter(|load| last.is_some_and(|last| *load > last)) else { return };
        let ahead = self.forecaster.forecast_supposing(0, load);
        let ahead = ahead.map(|ahead| Ahead::of(said.lift.lifted(ahead), &self.odds));
        said.rising = ahead.map(|ahead| Rising { load, ahead });
    }

    fn say(&self, steps: Steps) -> Option<Said> {
        let level = level_of(&self.rule);
        let ahead = self.forecaster.forecast(0)?;
        let merit = self.forecaster.merit(0, level)?;
        let (first, events) = (self.next, &self.rule.events);
        let farthest = self.looks.iter().copied().fold(self.reach, usize::max) as u64;
        let lifts = steps.lifts(events, first..first + farthest);
        let lift = greatest(&lifts[..self.reach]);
        let coming = steps.coming(events, [first, first + self.reach as u64, first + farthest]);
        let ahead = Ahead::of(lift.lifted(ahead), &self.odds);
        Some(Said { ahead, rising: None, merit, lift, lifts, coming })
    }

    fn record(&self) -> &Record {
        self.meter.record()
    }

    /// What is to be written down of it; another one each time that it is to be written anew.
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

    /// By what it was declared.
    pub fn rule(&self) -> &Forecasting {
        &self.rule
    }

    /// How far ahead the forecast that is acted on looks, the step that is under way included.
    pub fn reach(&self) -> Duration {
        self.step() * u32::try_from(self.reach).unwrap_or(u32::MAX)
    }

    /// Replicas that `load` needs by the targets of the autoscaler, not rounded; `None` before that was seen.
    pub fn replicas_for(&self, load: f64) -> Option<f64> {
        match self.source() {
            LoadSource::Requests => self.meter.exchange().replicas_for(load),
            LoadSource::Need => Some(load),
        }
    }

    /// The highest load of the steps from the one under way until a replica that is started now would carry some, at the probability of
    /// the rule.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub fn expected(&self) -> Result<Expected, Unforeseen> {
        let Some(said @ Said { merit, lift, .. }) = &self.said else {
            // What was not learned again yet may have been forgotten meanwhile.
            let (done, of) = (self.next.saturating_sub(self.record().first()), self.steps());
            return Err(if done < of { Unforeseen::Relearning { done, of } } else { Unforeseen::New });
        };
        let level = level_of(&self.rule);
        let quantile = said.latest().forecast.quantiles.iter().find(|quantile| quantile.level == level);
        let quantile = quantile.ok_or(Unforeseen::New)?;
        let ratio = merit.loss / merit.loss_of_last;
        Ok(Expected {
            load: quantile.load,
            by: quantile.by,
            is_lifted: lift.is_more(),
            loss_ratio: (merit.scored > 0 && ratio.is_finite()).then_some(ratio),
            coverage: merit.coverage,
            scored: merit.scored,
        })
    }

    /// The distribution of the same load; `None` while nothing is forecast.
    pub fn distribution(&self) -> Option<&Distribution> {
        self.said.as_ref().map(|said| &said.latest().distribution)
    }

    /// What the step that is under way is taken for in what is forecast; `None` while that is as of the end of the last one.
    pub fn under_way(&self) -> Option<f64> {
        self.said.as_ref()?.rising.as_ref().map(|rising| rising.load)
    }

    /// What is forecast for people: the reach first, then some moments ahead; empty while nothing is forecast. Each as it would be usual, and what is
    /// known to come makes of it.
    ///
    /// All of them begin behind the same step as what is acted on. While that one is under way, a copy of the forecaster is asked: it takes a
    /// tenth of a millisecond, and only people ask.
    pub fn forecasts(&self) -> Vec<(Forecast, Lift)> {
        let Some(said) = &self.said else { return Vec::new() };
        let lift = |horizon: Horizon| {
            let steps = horizon.range();
            said.lifts.get(steps.start() - 1..*steps.end()).map_or(Lift::NONE, greatest)
        };
        let forecasts = match &said.rising {
            None => self.forecaster.forecasts(),
            Some(Rising { load, .. }) => {
                let mut forecaster = self.forecaster.clone();
                (0..).map_while(|place| forecaster.forecast_supposing(place, *load)).collect()
            }
        };
        forecasts.into_iter().map(|it| (lift(it.horizon), it)).map(|(lift, it)| (it, lift)).collect()
    }

    /// The times of known events that hold now, or begin within the reach or what people look ahead at.
    pub fn coming(&self) -> &[Coming] {
        self.said.as_ref().map_or(&[], |said| &said.coming)
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

/// The level of the settings that is the quantile of the rule.
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
    at.as_millis() / millis(step)
}

fn begin_of(number: u64, step: Duration) -> Time {
    Time::from_millis(number.saturating_mul(millis(step)))
}

fn millis(step: Duration) -> u64 {
    u64::try_from(step.as_millis()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests;
