//! The ensemble of models for one horizon: each forecasts, and is scored once the outcome is known.

use std::collections::VecDeque;

use crate::calibration::Calibration;
use crate::deviation::{DeviationDecay, deviation};
use crate::forecast::{Forecast, ModelScore, Quantile, Report, ReportSummary};
use crate::mixture::{MEMBERS, Mixture, Outcome, PADDED_MEMBERS, PerMember};
use crate::model::{Model, POINTS};
use crate::outlook::{INPUT_MAX, INPUTS, Outlook};
use crate::regression::Regression;
use crate::settings::{Horizon, LEVELS_MAX, Settings};
use crate::sketch::Sketch;
use crate::width::{WIDTH_INPUTS, Width, WidthContext};

/// The ensemble of models for one horizon.
#[derive(Clone, Debug)]
pub(crate) struct Ensemble {
    horizon: Horizon,
    levels: Vec<f64>,
    memory: f64,
    /// Forecasts that were scored.
    scored: u64,
    widths: [Width; POINTS],
    regression: Regression<INPUTS>,
    /// How much of a deviation from each profile is left at the horizon.
    decays: [DeviationDecay; 3],
    sketches: Vec<Sketch>,
    /// The quantiles of each sketch, by their levels; refreshed in turn.
    sketch_quantiles: [PerMember; LEVELS_MAX],
    quantile_blends: Vec<QuantileBlend>,
    /// Oldest first. Boxed, so that the next one can reuse the memory of the one that was scored.
    pending: VecDeque<Box<PendingForecast>>,
}

/// One quantile: the weights of the members, and the calibration of the blend and of persistence.
#[derive(Clone, Debug)]
struct QuantileBlend {
    mixture: Mixture,
    losses: PerMember,
    blend: Calibration,
    persistence: Calibration,
}

/// The forecasts of one step, until the outcome is known.
#[derive(Clone, Debug)]
struct PendingForecast {
    points: [f32; POINTS],
    /// Which models had a forecast.
    is_awake: [bool; POINTS],
    /// The same for each member, as 1 and 0.
    awake: PerMember,
    widths: PerMember,
    width_inputs: [[f32; WIDTH_INPUTS]; POINTS],
    inputs: [f32; INPUTS],
    /// The mean load at that step: the unit of the inputs.
    unit: f64,
    deviations: [Option<f32>; 3],
    usual: [Option<f32>; 3],
    quantiles: [PerMember; LEVELS_MAX],
    blends: [f32; LEVELS_MAX],
    calibrated: [f32; LEVELS_MAX],
    persisted: [f32; LEVELS_MAX],
}

/// The share by which the loss of persistence must be undercut before the blend is used.
pub const ADVANTAGE_MIN: f64 = 0.02;

/// Forecasts that must be scored before the blend is used, and how many of them must not overlap: sixty successive forecasts of an hour
/// ahead, in steps of a minute, are scored by nearly the same hour.
const SCORED_MIN: u64 = 30;
const APART_MIN: u64 = 4;

impl Ensemble {
    pub(crate) fn new(horizon: Horizon, settings: &Settings, memory: f64) -> Self {
        let levels = settings.levels();
        let quantile_blend = QuantileBlend {
            mixture: Mixture::new(),
            losses: [0.0; PADDED_MEMBERS],
            blend: Calibration::default(),
            persistence: Calibration::default(),
        };
        Self {
            horizon,
            levels: levels.to_vec(),
            memory,
            scored: 0,
            widths: std::array::from_fn(|_| Width::new(memory)),
            regression: Regression::new([0.0; INPUTS], memory),
            decays: [DeviationDecay::default(); 3],
            sketches: vec![Sketch::new(); MEMBERS],
            sketch_quantiles: [[0.0; PADDED_MEMBERS]; LEVELS_MAX],
            quantile_blends: vec![quantile_blend; levels.len()],
            pending: VecDeque::with_capacity(horizon.steps()),
        }
    }

    /// Scores the forecasts that are due at the latest step of `outlook`, and forecasts again.
    pub(crate) fn advance(&mut self, outlook: &Outlook) {
        let due = if self.pending.len() == self.horizon.steps() { self.pending.pop_front() } else { None };
        if let (Some(pending), Some(actual)) = (&due, self.outcome(outlook)) {
            self.score(pending, actual);
        }
        let pending = self.pending_forecast(outlook, [true; POINTS]);
        self.pending.push_back(match due {
            Some(mut reused) => {
                *reused = pending;
                reused
            }
            None => Box::new(pending),
        });
    }

    /// The outcome of the horizon that ends now; `None` when it was not measured.
    fn outcome(&self, outlook: &Outlook) -> Option<f64> {
        match self.horizon {
            Horizon::At(_) => outlook.history.measured_ago(0),
            Horizon::PeakWithin(steps) => (0..steps)
                .map(|ago| outlook.history.measured_ago(ago))
                .try_fold(0.0f64, |highest, value| value.map(|value| highest.max(value))),
        }
    }

    fn score(&mut self, pending: &PendingForecast, actual: f64) {
        self.scored += 1;
        // How good a model was before it had learnt says little: only the later half of a short past counts.
        let memory = (self.scored as f64 / 2.0).clamp(1.0, self.memory);
        let kept = (1.0 - 1.0 / memory) as f32;
        for (index, decay) in self.decays.iter_mut().enumerate() {
            if let (Some(before), Some(usual)) = (pending.deviations[index], pending.usual[index]) {
                decay.learn(
                    f64::from(before),
                    deviation(actual, f64::from(usual), pending.unit),
                    self.memory,
                );
            }
        }
        let inputs = pending.inputs.map(f64::from);
        let unit = pending.unit.max(f64::MIN_POSITIVE);
        let change = (actual - f64::from(pending.points[0])) / unit;
        self.regression.learn(&inputs, change.clamp(-INPUT_MAX, INPUT_MAX));
        for index in (0..POINTS).filter(|&index| pending.is_awake[index]) {
            let error = actual - f64::from(pending.points[index]);
            self.widths[index].learn(error.abs(), &pending.width_inputs[index], memory, unit);
            for member in [2 * index, 2 * index + 1] {
                self.sketches[member].add(error / f64::from(pending.widths[member]), kept);
                if self.is_turn_of(member) {
                    let sketch_quantiles = &mut self.sketch_quantiles;
                    self.sketches[member].quantiles(&self.levels, |place, quantile| {
                        #[expect(clippy::cast_possible_truncation, reason = "an error needs no more digits")]
                        let quantile = quantile as f32;
                        sketch_quantiles[place][member] = quantile;
                    });
                }
            }
        }
        for (place, quantile_blend) in self.quantile_blends.iter_mut().enumerate() {
            quantile_blend.learn(pending, place, self.levels[place], actual, memory);
        }
    }

    /// Quantiles of errors move slowly: once there are many errors, each is read again at every eighth step.
    fn is_turn_of(&self, member: usize) -> bool {
        self.scored < 256 || (self.scored + member as u64).is_multiple_of(8)
    }

    /// The forecasts of those models that `is_included` selects.
    #[expect(clippy::cast_possible_truncation, reason = "seven digits are more than a forecast has")]
    fn pending_forecast(&self, outlook: &Outlook, is_included: [bool; POINTS]) -> PendingForecast {
        let ceiling = PEAKS_MAX * outlook.history.peak();
        let deviations: [Option<f64>; 3] = std::array::from_fn(|index| outlook.deviation(index));
        let usual: [Option<f64>; 3] = std::array::from_fn(|index| outlook.usual_ahead(index, self.horizon));
        let anchored = self.anchored(outlook, &deviations, &usual);
        let inputs = outlook.inputs(self.horizon, usual, anchored);
        let mut points = self.points_of(outlook, &inputs, anchored);
        for (point, is_included) in points.iter_mut().zip(is_included) {
            *point = point.filter(|_| is_included);
        }
        let mut pending = PendingForecast {
            points: points.map(|point| point.unwrap_or(0.0).clamp(0.0, ceiling) as f32),
            is_awake: points.map(|point| point.is_some()),
            awake: std::array::from_fn(|place| {
                f32::from(u8::from(points.get(place / 2).is_some_and(Option::is_some)))
            }),
            widths: [1.0; PADDED_MEMBERS],
            width_inputs: [[0.0; WIDTH_INPUTS]; POINTS],
            inputs: inputs.map(|input| input as f32),
            unit: outlook.running.mean,
            deviations: deviations.map(|deviation| deviation.map(|deviation| deviation as f32)),
            usual: usual.map(|usual| usual.map(|usual| usual as f32)),
            quantiles: [[0.0; PADDED_MEMBERS]; LEVELS_MAX],
            blends: [0.0; LEVELS_MAX],
            calibrated: [0.0; LEVELS_MAX],
            persisted: [0.0; LEVELS_MAX],
        };
        let context = WidthContext::of(outlook, self.horizon);
        for index in (0..POINTS).filter(|&index| pending.is_awake[index]) {
            let width = &self.widths[index];
            let inputs = width.inputs(&context, f64::from(pending.points[index]));
            [pending.widths[2 * index], pending.widths[2 * index + 1]] = width.widths(&inputs, &context);
            pending.width_inputs[index] = inputs.map(|input| input as f32);
        }
        self.set_quantiles(&mut pending, ceiling as f32);
        pending
    }

    fn set_quantiles(&self, pending: &mut PendingForecast, ceiling: f32) {
        let points: PerMember =
            std::array::from_fn(|place| pending.points.get(place / 2).copied().unwrap_or_default());
        for (place, quantile_blend) in self.quantile_blends.iter().enumerate() {
            let sketch_quantiles = &self.sketch_quantiles[place];
            pending.quantiles[place] = std::array::from_fn(|member| {
                (points[member] + sketch_quantiles[member] * pending.widths[member]).clamp(0.0, ceiling)
            });
            let [blend, width] =
                quantile_blend.mixture.blend([&pending.quantiles[place], &pending.widths], &pending.awake);
            pending.blends[place] = blend;
            let persisted = pending.quantiles[place][0];
            pending.calibrated[place] = quantile_blend.blend.applied(blend, width).clamp(0.0, ceiling);
            pending.persisted[place] =
                quantile_blend.persistence.applied(persisted, pending.widths[0]).clamp(0.0, ceiling);
        }
    }

    /// The usual load over the horizon, with what will be left of the present deviation.
    fn anchored(
        &self,
        outlook: &Outlook,
        deviations: &[Option<f64>; 3],
        usual: &[Option<f64>; 3],
    ) -> [Option<f64>; 3] {
        std::array::from_fn(|index| {
            Some(self.decays[index].anchored(deviations[index]?, usual[index]?, outlook.running.mean))
        })
    }

    fn points_of(
        &self,
        outlook: &Outlook,
        inputs: &[f64; INPUTS],
        anchored: [Option<f64>; 3],
    ) -> [Option<f64>; POINTS] {
        let trend = &outlook.running.trend;
        let trend = match self.horizon {
            Horizon::At(steps) => trend.ahead(steps),
            Horizon::PeakWithin(steps) => trend.ahead(steps).max(trend.level()),
        };
        let regression = outlook.last() + self.regression.predict(inputs) * outlook.running.mean;
        Model::POINTS.map(|model| match model {
            Model::Persistence | Model::Blend => Some(outlook.last()),
            Model::Level => Some(outlook.running.level.level()),
            Model::Trend => Some(trend),
            Model::Season => anchored[0],
            Model::Day => anchored[1],
            Model::Week => anchored[2],
            Model::Regression => self.has_seen_enough().then_some(regression),
        })
    }

    /// The forecast as of the latest step; `None` before the first.
    pub(crate) fn forecast(&self) -> Option<Forecast> {
        self.pending.back().map(|pending| self.forecast_of(pending))
    }

    /// The forecast from `outlook`, whose latest step is only assumed.
    pub(crate) fn forecast_assuming(&self, outlook: &Outlook) -> Forecast {
        self.forecast_of(&self.pending_forecast(outlook, self.weighted_models()))
    }

    /// The models with a weight in any quantile, and persistence, which is the forecast while the blend is not used.
    ///
    /// Without the others the blend is the same, except when all that have a weight are asleep, too: then it is the mean of fewer.
    fn weighted_models(&self) -> [bool; POINTS] {
        std::array::from_fn(|index| {
            let has_weight = |quantile_blend: &QuantileBlend| {
                quantile_blend.mixture.has_weight(2 * index)
                    || quantile_blend.mixture.has_weight(2 * index + 1)
            };
            index == 0 || self.quantile_blends.iter().any(has_weight)
        })
    }

    /// The forecast that consumers get, with quantiles in ascending order.
    ///
    /// Each level has weights and a calibration of its own, so two quantiles may cross; each is therefore raised to at least that of the level
    /// below (Chernozhukov, Fernández-Val and Galichon, "Quantile and probability curves without crossing", 2010, for why that costs nothing;
    /// raised and not sorted, since too high is the cheaper error).
    fn forecast_of(&self, pending: &PendingForecast) -> Forecast {
        let mut lowest = 0.0_f64;
        let quantile = |(place, quantile_blend): (usize, &QuantileBlend)| {
            let (load, uncalibrated, by) = if self.beats_persistence(quantile_blend) {
                (pending.calibrated[place], pending.blends[place], Model::Blend)
            } else {
                (pending.persisted[place], pending.quantiles[place][0], Model::Persistence)
            };
            let level = self.levels[place];
            let load = self.around_last(f64::from(load), level, pending).max(lowest);
            lowest = load;
            Quantile { level, load, uncalibrated: f64::from(uncalibrated), by }
        };
        Forecast {
            horizon: self.horizon,
            quantiles: self.quantile_blends.iter().enumerate().map(quantile).collect(),
        }
    }

    /// The quantile `load` of persistence, on its own side of the last value until enough forecasts have been scored.
    ///
    /// The first errors are often all of one sign, as when a new service gets its first requests: alone they would put the lowest quantile far
    /// above every load that has been seen.
    fn around_last(&self, load: f64, level: f64, pending: &PendingForecast) -> f64 {
        let last = f64::from(pending.points[0]);
        match self.has_seen_enough() {
            true => load,
            false if level <= 0.5 => load.min(last),
            false => load.max(last),
        }
    }

    /// Whether the blend has beaten the last value, and is used.
    fn beats_persistence(&self, quantile_blend: &QuantileBlend) -> bool {
        self.has_seen_enough()
            && quantile_blend.blend.loss < (1.0 - ADVANTAGE_MIN) * quantile_blend.persistence.loss
    }

    fn has_seen_enough(&self) -> bool {
        self.scored >= self.scored_min()
    }

    /// How many forecasts must be scored before the blend may be used.
    fn scored_min(&self) -> u64 {
        SCORED_MIN.max(APART_MIN * self.horizon.steps() as u64)
    }

    /// How good each model has been.
    pub(crate) fn reports(&self) -> impl Iterator<Item = Report> {
        self.quantile_blends
            .iter()
            .zip(&self.levels)
            .map(|(quantile_blend, &level)| self.report_of(quantile_blend, level))
    }

    /// How good the forecasts have been at `level`; `None` when that is not forecast.
    pub(crate) fn summary(&self, level: f64) -> Option<ReportSummary> {
        let place = self.levels.iter().position(|known| *known == level)?;
        let quantile_blend = self.quantile_blends.get(place)?;
        Some(ReportSummary {
            scored: self.scored,
            scored_min: self.scored_min(),
            coverage: self.coverage(quantile_blend),
            loss: quantile_blend.blend.loss,
            persistence_loss: quantile_blend.persistence.loss,
        })
    }

    fn report_of(&self, quantile_blend: &QuantileBlend, level: f64) -> Report {
        Report {
            horizon: self.horizon,
            level,
            scored: self.scored,
            coverage: self.coverage(quantile_blend),
            beats_persistence: self.beats_persistence(quantile_blend),
            scores: self.scores(quantile_blend),
        }
    }

    fn coverage(&self, quantile_blend: &QuantileBlend) -> f64 {
        if self.beats_persistence(quantile_blend) {
            quantile_blend.blend.coverage
        } else {
            quantile_blend.persistence.coverage
        }
    }

    fn scores(&self, quantile_blend: &QuantileBlend) -> Vec<ModelScore> {
        let is_awake = self.pending.back().map_or([false; POINTS], |pending| pending.is_awake);
        let awake = Model::POINTS.into_iter().enumerate().filter(|&(index, _)| is_awake[index]);
        let weights = quantile_blend.mixture.weights();
        let mut scores: Vec<ModelScore> = awake
            .map(|(index, model)| ModelScore {
                model,
                loss: match model {
                    Model::Persistence => quantile_blend.persistence.loss,
                    // tidy: open match: only persistence has a calibration of its own
                    _ => {
                        f64::from(quantile_blend.losses[2 * index].min(quantile_blend.losses[2 * index + 1]))
                    }
                },
                weight: f64::from(weights[2 * index] + weights[2 * index + 1]),
            })
            .collect();
        scores.push(ModelScore { model: Model::Blend, loss: quantile_blend.blend.loss, weight: 1.0 });
        scores.sort_by(|one, other| one.loss.total_cmp(&other.loss));
        scores
    }
}

/// A forecast stays below so many times the highest load that is remembered: nothing is extrapolated wildly.
const PEAKS_MAX: f64 = 2.0;

impl QuantileBlend {
    #[expect(clippy::cast_possible_truncation, reason = "seven digits are more than a score has")]
    fn learn(&mut self, pending: &PendingForecast, place: usize, level: f64, actual: f64, memory: f64) {
        let quantiles = &pending.quantiles[place];
        let outcome = Outcome {
            blended: pending.blends[place],
            actual: actual as f32,
            level: level as f32,
            kept: (1.0 - 1.0 / memory) as f32,
        };
        self.mixture.learn(quantiles, &pending.awake, outcome);
        let newest = (1.0 / memory) as f32;
        for (member, loss) in self.losses.iter_mut().enumerate() {
            let short = outcome.actual - quantiles[member];
            let lost = (outcome.level * short).max((outcome.level - 1.0) * short);
            *loss += pending.awake[member] * newest * (lost - *loss);
        }
        self.blend.learn(actual, f64::from(pending.calibrated[place]), level, memory);
        self.persistence.learn(actual, f64::from(pending.persisted[place]), level, memory);
    }
}
