//! The forecaster: samples in, forecasts out.

use std::time::Duration;

use crate::ensemble::Ensemble;
use crate::forecast::{Forecast, Report, ReportSummary};
use crate::outlook::Outlook;
use crate::profile::Profile;
use crate::season::{Season, seasons_of};
use crate::settings::{HISTORY_STEPS, Settings};

/// Forecasts the load of one service.
///
/// Takes samples as they come, learns at the end of each step, and always has a forecast of what comes next. A step with three
/// horizons and one quantile costs a few microseconds; once a day the seasons are looked for again, which costs 1 to 3 ms.
///
/// It keeps at most 80 KiB of load, 12 bytes for each step of a season, 15 KiB for each horizon, and 0.9 KiB for each step that a
/// horizon lies ahead.
#[derive(Clone, Debug)]
pub struct Forecaster {
    settings: Settings,
    outlook: Outlook,
    ensembles: Vec<Ensemble>,
    /// The step that is being filled; `None` before the first sample.
    open: Option<OpenStep>,
    /// Steps until seasons are looked for again.
    until_seasons: usize,
}

#[derive(Clone, Copy, Debug)]
struct OpenStep {
    number: u64,
    sum: f64,
    count: u32,
    is_exceptional: bool,
}

impl OpenStep {
    fn empty(number: u64) -> Self {
        Self { number, sum: 0.0, count: 0, is_exceptional: false }
    }

    fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / f64::from(self.count))
    }
}

/// Whether a sample counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SampleOutcome {
    /// It counts.
    Counted,
    /// It was `NaN`, infinite, negative or above 10¹⁵: nothing changed.
    NotALoad,
    /// It belongs to a step that is over: nothing changed.
    TooLate,
}

/// The highest load that counts; a higher one is taken for an error of its source.
const LOAD_MAX: f64 = 1e15;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Steps after which seasons are looked for at the latest: a period shows once it has come three times, and few have less than 20 steps.
const SEASONS_FIRST: usize = 64;

impl Forecaster {
    /// A forecaster without samples.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let memory = settings.steps_in(WEEK).clamp(500, 4000) as f64;
        let ensembles =
            settings.horizons().iter().map(|&horizon| Ensemble::new(horizon, &settings, memory)).collect();
        let until_seasons = (settings.steps_in(DAY) / 4).clamp(1, SEASONS_FIRST);
        Self { settings, outlook: Outlook::new(memory), ensembles, open: None, until_seasons }
    }

    /// Takes the load `value` at the time `at` since any fixed moment; several samples in one step count as their mean.
    ///
    /// A step is learnt from when the first sample of a later one arrives. Steps without a sample are gaps.
    pub fn observe(&mut self, at: Duration, value: f64) -> SampleOutcome {
        if !(0.0..=LOAD_MAX).contains(&value) {
            return SampleOutcome::NotALoad;
        }
        let number = self.number_of(at);
        if self.open.is_some_and(|open| number < open.number) {
            return SampleOutcome::TooLate;
        }
        self.close_until(number);
        let open = self.open.get_or_insert(OpenStep::empty(number));
        open.sum += value;
        open.count = open.count.saturating_add(1);
        SampleOutcome::Counted
    }

    /// Marks the step at `at` as exceptional, such as a sale.
    ///
    /// Nothing is learnt from its load, no forecast of it is scored, and forecasts go on as if the load had been as usual. A step that is
    /// over is not changed.
    pub fn mark_exceptional(&mut self, at: Duration) {
        let number = self.number_of(at);
        if self.open.is_some_and(|open| number < open.number) {
            return;
        }
        self.close_until(number);
        self.open.get_or_insert(OpenStep::empty(number)).is_exceptional = true;
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
        if open.is_exceptional {
            self.outlook.push_exceptional();
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

    /// Scores the due forecasts and makes new ones after a step.
    fn advance(&mut self) {
        self.until_seasons -= 1;
        if self.until_seasons == 0 {
            self.find_seasons();
        }
        for ensemble in &mut self.ensembles {
            ensemble.advance(&self.outlook);
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

    /// Sets the season of a profile. One that was found again goes on; a new one learns from the history.
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

    /// The forecast at each horizon, in the order of the settings; empty before the first step is over.
    #[must_use]
    pub fn forecasts(&self) -> Vec<Forecast> {
        self.ensembles.iter().filter_map(Ensemble::forecast).collect()
    }

    /// The forecast at the horizon with this index in the settings; `None` before the first step is over, or if there is no such horizon.
    #[must_use]
    pub fn forecast(&self, place: usize) -> Option<Forecast> {
        self.ensembles.get(place)?.forecast()
    }

    /// The forecast at the horizon with this index in the settings as if the open step ended now with `load`.
    ///
    /// Fresher than [`Self::forecast`], and rougher than that will be once the step is over. Nothing is learnt from it. `None` before the
    /// first step is over, if there is no such horizon, or if `load` is not a load.
    #[must_use]
    pub fn forecast_assuming(&mut self, place: usize, load: f64) -> Option<Forecast> {
        let is_load = (0.0..=LOAD_MAX).contains(&load);
        let ensemble = self.ensembles.get(place).filter(|_| is_load && self.outlook.history.count() > 0)?;
        Some(self.outlook.assuming(load, |outlook| ensemble.forecast_assuming(outlook)))
    }

    /// The load of the last step that is over; `None` before the first, or if it was not measured.
    #[must_use]
    pub fn last(&self) -> Option<f64> {
        self.outlook.history.measured_ago(0)
    }

    /// How good each model has been at each horizon and quantile.
    #[must_use]
    pub fn reports(&self) -> Vec<Report> {
        self.ensembles.iter().flat_map(Ensemble::reports).collect()
    }

    /// How good the forecasts have been at `level` and the horizon with this index in the settings; `None` if the settings have no such level or
    /// horizon.
    #[must_use]
    pub fn summary(&self, place: usize, level: f64) -> Option<ReportSummary> {
        self.ensembles.get(place)?.summary(level)
    }

    /// The seasons that the load has, the strongest first.
    #[must_use]
    pub fn seasons(&self) -> Vec<Season> {
        let mut seasons: Vec<Season> = self.outlook.profiles.iter().flatten().map(Profile::season).collect();
        seasons.sort_by(|one, other| other.strength.total_cmp(&one.strength));
        seasons
    }

    /// How many steps are over, gaps included.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.outlook.history.count()
    }
}
