//! The input of every model: the load up to the latest step, and what was learnt from it.

use crate::deviation::{deviated, deviation};
use crate::history::History;
use crate::profile::Profile;
use crate::settings::Horizon;
use crate::smoothing::Smoothing;

/// Everything that the models depend on, as of the latest step.
#[derive(Clone, Debug)]
pub(crate) struct Outlook {
    pub(crate) history: History,
    pub(crate) running: RunningState,
    /// One for a period of the load itself, one for the day, and one for the week; in the order of [`Model`](crate::Model).
    pub(crate) profiles: [Option<Profile>; 3],
    memory: f64,
    /// How far the level deviated from the usual when an exceptional time began; `None` in ordinary times.
    exceptional: Option<[Option<f64>; 3]>,
}

/// The statistics that change with each step. Small enough to be saved while a step is only assumed.
#[derive(Clone, Debug)]
pub(crate) struct RunningState {
    pub(crate) level: Smoothing<5>,
    pub(crate) trend: Smoothing<4>,
    /// The mean load over the memory: the unit of the inputs of the regression.
    pub(crate) mean: f64,
    /// Mean absolute change from step to step: of the last few steps, and over the memory.
    pub(crate) change_fast: f64,
    pub(crate) change_slow: f64,
}

impl RunningState {
    fn learn(&mut self, value: f64, change: f64, weight: f64) {
        self.level.learn(value);
        self.trend.learn(value);
        self.mean += weight * (value - self.mean);
        self.change_fast += CHANGE_FAST_WEIGHT * (change - self.change_fast);
        self.change_slow += weight * (change - self.change_slow);
    }
}

/// The weight of the newest change in `change_fast`: about the last ten count.
const CHANGE_FAST_WEIGHT: f64 = 0.15;

/// Inputs of the regression.
pub(crate) const INPUTS: usize = 13;

impl Outlook {
    pub(crate) fn new(memory: f64) -> Self {
        let running = RunningState {
            level: Smoothing::of_level(memory),
            trend: Smoothing::of_trend(memory),
            mean: 0.0,
            change_fast: 0.0,
            change_slow: 0.0,
        };
        Self { history: History::new(), running, profiles: [const { None }; 3], memory, exceptional: None }
    }

    /// Takes an exceptional step: the usual load replaces it, and no profile learns.
    ///
    /// The usual load is that of the strongest season, with the deviation from before the exceptional time; without a season, the last value.
    pub(crate) fn push_exceptional(&mut self) {
        let deviations =
            self.exceptional.unwrap_or_else(|| std::array::from_fn(|index| self.deviation(index)));
        self.exceptional = Some(deviations);
        let next = self.history.count();
        let usual = self
            .profiles
            .iter()
            .zip(deviations)
            .filter_map(|(profile, deviation)| Some((profile.as_ref()?, deviation?)))
            .max_by(|(one, _), (other, _)| one.season().strength.total_cmp(&other.season().strength))
            .and_then(|(profile, deviation)| {
                Some(deviated(deviation, profile.usual(next)?, self.running.mean))
            })
            .unwrap_or_else(|| self.last());
        self.history.push_gap(usual);
        self.running.level.learn(usual);
        self.running.trend.learn(usual);
    }

    /// Takes the next step; nothing is learnt from `None`, a gap.
    pub(crate) fn push(&mut self, value: Option<f64>) {
        self.exceptional = None;
        let number = self.history.count();
        self.advance(value);
        if let Some(value) = value {
            for profile in self.profiles.iter_mut().flatten() {
                profile.learn(number, value);
            }
        }
    }

    /// Calls `look` as if the next step had the load `value`, and undoes that step: nothing is learnt from it.
    pub(crate) fn assuming<T>(&mut self, value: f64, look: impl FnOnce(&Self) -> T) -> T {
        let (running, overwritten) = (self.running.clone(), self.history.next_overwritten());
        self.advance(Some(value));
        let result = look(self);
        self.history.take_back(&overwritten);
        self.running = running;
        result
    }

    fn advance(&mut self, value: Option<f64>) {
        let weight = 1.0 / self.memory.min(self.history.count() as f64 + 1.0);
        let before = self.history.ago(0);
        self.history.push(value);
        if let Some(value) = value {
            let change = before.map_or(0.0, |before| (value - before).abs());
            self.running.learn(value, change, weight);
        }
    }

    pub(crate) fn last(&self) -> f64 {
        self.history.ago(0).unwrap_or(0.0)
    }

    /// The number of the latest step.
    pub(crate) fn now(&self) -> u64 {
        self.history.count().saturating_sub(1)
    }

    /// The usual load over the horizon, by the profile at `index`.
    pub(crate) fn usual_ahead(&self, index: usize, horizon: Horizon) -> Option<f64> {
        self.profiles[index].as_ref()?.usual_ahead(self.now(), horizon.range())
    }

    /// How far the load usually is from [`Self::usual_ahead`].
    pub(crate) fn spread_ahead(&self, index: usize, horizon: Horizon) -> Option<f64> {
        self.profiles[index].as_ref()?.spread_ahead(self.now(), horizon.range())
    }

    /// How far the level deviates from the usual load now, by the profile at `index`.
    pub(crate) fn deviation(&self, index: usize) -> Option<f64> {
        let usual = self.profiles[index].as_ref()?.usual(self.now())?;
        Some(deviation(self.running.level.level(), usual, self.running.mean))
    }

    /// The highest that was measured one period before the horizon.
    fn period_ago(&self, index: usize, horizon: Horizon) -> Option<f64> {
        let period = self.profiles[index].as_ref()?.season().steps;
        let range = horizon.range();
        let values = range.filter(|&steps| steps <= period).map(|steps| self.history.ago(period - steps));
        values.flatten().reduce(f64::max)
    }

    /// The inputs of the regression, in units of the mean load: the load, and the distance of everything else from it; 0 for what is not
    /// known.
    pub(crate) fn inputs(
        &self,
        horizon: Horizon,
        usual: [Option<f64>; 3],
        anchored: [Option<f64>; 3],
    ) -> [f64; INPUTS] {
        let last = self.last();
        let difference = |load: Option<f64>| load.map_or(0.0, |load| load - last);
        let loads = [
            last,
            difference(self.history.ago(1)),
            difference(self.history.ago(2)),
            self.running.level.level() - last,
            self.running.trend.ahead(horizon.steps()) - last,
            difference(usual[0]),
            difference(usual[1]),
            difference(usual[2]),
            difference(anchored[1]),
            difference(anchored[2]),
            difference(self.period_ago(1, horizon)),
            difference(self.period_ago(2, horizon)),
        ];
        let unit = self.running.mean.max(f64::MIN_POSITIVE);
        let mut inputs = [1.0; INPUTS];
        for (input, load) in inputs[1..].iter_mut().zip(loads) {
            *input = (load / unit).clamp(-INPUT_MAX, INPUT_MAX);
        }
        inputs
    }
}

/// Inputs are cut at so many times the mean load: a burst must not overturn the regression.
pub(crate) const INPUT_MAX: f64 = 100.0;
