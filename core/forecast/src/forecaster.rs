//! The whole: samples in, forecasts out.

use std::time::Duration;

use crate::forecast::{Forecast, Merit, Report};
use crate::outlook::Outlook;
use crate::profile::Profile;
use crate::race::Race;
use crate::season::{Season, seasons_of};
use crate::settings::{HISTORY_STEPS, Settings};

/// Forecasts the load of one service.
///
/// Takes samples as they come, learns at the end of each step, and always has a forecast for what comes next. A step with three
/// horizons and one quantile costs a few microseconds; once a day the seasons are looked for again, which costs 1 to 3 ms. It
/// keeps 40 KiB of load, 8 bytes for each step of a day and of a week, 12 KiB a horizon, and 0.8 KiB for each step that a horizon lies ahead.
#[derive(Clone, Debug)]
pub struct Forecaster {
    settings: Settings,
    outlook: Outlook,
    races: Vec<Race>,
    /// The step that is being filled; `None` before the first sample.
    open: Option<OpenStep>,
    until_seasons: usize,
}

#[derive(Clone, Copy, Debug)]
struct OpenStep {
    number: u64,
    sum: f64,
    count: u32,
    is_apart: bool,
}

impl OpenStep {
    fn empty(number: u64) -> Self {
        Self { number, sum: 0.0, count: 0, is_apart: false }
    }

    fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / f64::from(self.count))
    }
}

/// What became of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It counts.
    Counted,
    /// It was no number, infinite or negative: nothing changed.
    NotALoad,
    /// It belongs to a step that is over: nothing changed.
    TooLate,
}

/// The highest load that is believed: beyond it seven digits no longer tell one request from the next.
const LOAD_MAX: f64 = 1e15;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Steps after which seasons are looked for at the latest: a period shows in three of them, and shorter than 20 steps few are.
const SEASONS_FIRST: usize = 64;

impl Forecaster {
    /// Knows nothing yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let memory = settings.steps_in(WEEK).clamp(500, 4000) as f64;
        let races =
            settings.horizons().iter().map(|&horizon| Race::new(horizon, &settings, memory)).collect();
        let until_seasons = (settings.steps_in(DAY) / 4).clamp(1, SEASONS_FIRST);
        Self { settings, outlook: Outlook::new(memory), races, open: None, until_seasons }
    }

    /// Takes the load `value` as of `at`, a time since any fixed moment; several in one step count with their mean.
    ///
    /// A step is learnt from when the first sample of a later one comes. Steps without a sample are gaps.
    pub fn observe(&mut self, at: Duration, value: f64) -> Taken {
        if !(0.0..=LOAD_MAX).contains(&value) {
            return Taken::NotALoad;
        }
        let number = self.number_of(at);
        if self.open.is_some_and(|open| number < open.number) {
            return Taken::TooLate;
        }
        self.close_until(number);
        let open = self.open.get_or_insert(OpenStep::empty(number));
        open.sum += value;
        open.count = open.count.saturating_add(1);
        Taken::Counted
    }

    /// Says that the load of the step at `at` is unlike others, as that of a sale is: whatever it comes to, nothing is learnt from it, no forecast of
    /// it is scored, and what follows is expected as if the usual had come. Too late for a step that is over, as [`Self::observe`] is.
    pub fn set_apart(&mut self, at: Duration) {
        let number = self.number_of(at);
        if self.open.is_some_and(|open| number < open.number) {
            return;
        }
        self.close_until(number);
        self.open.get_or_insert(OpenStep::empty(number)).is_apart = true;
    }

    /// Learns from the steps that are over at `at`, without waiting for a sample of a later one: those without a sample are gaps.
    pub fn close(&mut self, at: Duration) {
        self.close_until(self.number_of(at));
    }

    fn number_of(&self, at: Duration) -> u64 {
        u64::try_from(at.as_millis()).unwrap_or(u64::MAX) / self.settings.step_ms()
    }

    fn close_until(&mut self, number: u64) {
        let Some(open) = self.open else { return };
        if open.number >= number {
            return;
        }
        self.open = Some(OpenStep::empty(number));
        let gap = number - open.number - 1;
        if gap > HISTORY_STEPS as u64 {
            *self = Self::new(self.settings.clone());
            return;
        }
        if open.is_apart {
            self.outlook.push_apart();
            self.advance();
        } else {
            self.learn(open.mean());
        }
        for _ in 0..gap {
            self.learn(None);
        }
    }

    fn learn(&mut self, value: Option<f64>) {
        self.outlook.push(value);
        self.advance();
    }

    /// Goes on after a step that was taken.
    fn advance(&mut self) {
        self.until_seasons -= 1;
        if self.until_seasons == 0 {
            self.find_seasons();
        }
        for race in &mut self.races {
            race.advance(&self.outlook);
        }
    }

    fn find_seasons(&mut self) {
        let day = self.settings.steps_in(DAY);
        let known = self.outlook.history.len();
        // Short periods show early: until a quarter of a day is known, twice as much must be known each time.
        self.until_seasons = match (day / 4).checked_sub(known) {
            Some(left) if left > 0 => left.min(known).max(1),
            Some(_) | None if known < 2 * day => (day / 4).max(1),
            Some(_) | None => day,
        };
        let found = seasons_of(&self.outlook.history, day, self.settings.steps_in(WEEK));
        for (index, season) in found.into_iter().enumerate() {
            self.set_season(index, season);
        }
    }

    /// A profile whose season was found again goes on; a new one learns from the load that is kept.
    fn set_season(&mut self, index: usize, found: Option<Season>) {
        match (found, &mut self.outlook.profiles[index]) {
            (Some(season), Some(profile)) if profile.season().steps == season.steps => {
                profile.set_strength(season.strength);
            }
            (Some(season), profile) => {
                let mut fresh = Profile::new(season);
                let history = &self.outlook.history;
                for ago in (0..history.len()).rev() {
                    if let Some(value) = history.measured_ago(ago) {
                        fresh.learn(history.count() - 1 - ago as u64, value);
                    }
                }
                *profile = Some(fresh);
            }
            (None, profile) => *profile = None,
        }
    }

    /// What is expected at each horizon, in the order of the settings; empty before the first step is over.
    #[must_use]
    pub fn forecasts(&self) -> Vec<Forecast> {
        self.races.iter().filter_map(Race::forecast).collect()
    }

    /// What is expected at the horizon with this place in the settings; `None` before the first step is over, and for a place that is none.
    #[must_use]
    pub fn forecast(&self, place: usize) -> Option<Forecast> {
        self.races.get(place)?.forecast()
    }

    /// What would be expected at the horizon with this place in the settings if another step were over, with `load`: the freshest word there
    /// is while it is not, and a rougher one than [`Self::forecasts`] gives then. Nothing is learnt from it.
    ///
    /// `None` before the first step is over, and for a place or a load that is none.
    #[must_use]
    pub fn forecast_supposing(&mut self, place: usize, load: f64) -> Option<Forecast> {
        let is_load = (0.0..=LOAD_MAX).contains(&load);
        let race = self.races.get(place).filter(|_| is_load && self.outlook.history.count() > 0)?;
        Some(self.outlook.supposing(load, |outlook| race.forecast_supposing(outlook)))
    }

    /// The load of the last step that is over; `None` before that, and where it was not measured.
    #[must_use]
    pub fn last(&self) -> Option<f64> {
        self.outlook.history.measured_ago(0)
    }

    /// How good each model has been at each horizon and quantile.
    #[must_use]
    pub fn reports(&self) -> Vec<Report> {
        self.races.iter().flat_map(Race::reports).collect()
    }

    /// How good what was said has been at `level`, which is one of the settings', at the horizon with this place in them; `None` for what is none.
    #[must_use]
    pub fn merit(&self, place: usize, level: f64) -> Option<Merit> {
        self.races.get(place)?.merit(level)
    }

    /// The seasons that the load has, the strongest first.
    #[must_use]
    pub fn seasons(&self) -> Vec<Season> {
        let mut seasons: Vec<Season> = self.outlook.profiles.iter().flatten().map(Profile::season).collect();
        seasons.sort_by(|one, other| other.strength.total_cmp(&one.strength));
        seasons
    }

    /// How many steps were learnt from, gaps included.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.outlook.history.count()
    }
}
