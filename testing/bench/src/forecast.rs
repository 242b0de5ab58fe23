//! `forecast`: the accuracy of forecasts over recorded loads, compared with the last value plus a quantile of its errors.
//!
//! Each load is averaged to a base step of five minutes (its own if that is longer, 15 seconds for the recordings of one hour) and fed
//! to one forecaster from the first step to the last. Forecasts are judged over the last 40 % of the load, at every step, and again at 80
//! or 48 evenly spaced steps, the protocol by which other models' published figures were measured. A forecast is made before the
//! load that it is judged by is fed.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use forecast::{Forecaster, Horizon, Model, Settings, pinball};

use crate::figure::{Findings, Sheet, Target, Unit};
use crate::recorded::{self, Recorded, median};
use crate::spans::Stopwatch;

/// The quantile that is judged.
const LEVEL: f64 = 0.95;

/// Loads that were held back while models and constants were chosen; evaluated once, at the end.
const HELD_BACK: [&str; 5] =
    ["llm_azure_code", "llm_deepseek_r1", "llm_mooncake_conv", "llm_qwen_small", "nyc_taxi"];

/// Minutes ahead, and the target for the pinball loss, as a share of the last value's.
const TARGETS: [(u64, f64); 3] = [(5, 0.85), (15, 0.80), (60, 0.60)];

/// The target range of the coverage.
const COVERAGE: (f64, f64) = (0.93, 0.97);

const FIVE_MINUTES: Duration = Duration::from_mins(5);

/// The results for one load at one horizon.
struct HorizonScore {
    name: String,
    base: Duration,
    minutes: u64,
    /// Loss as a share of the last value's, at every step.
    ratio: f64,
    /// The same, at the steps of the protocol.
    spaced: f64,
    /// Loss as a share of the mean load.
    loss: f64,
    coverage: f64,
    naive_coverage: f64,
    /// How often the forecast was that of the blend instead of the last value.
    acting: f64,
}

/// Evaluates forecasts of every recorded load in `data`.
pub(crate) fn run(data: Option<&Path>) -> anyhow::Result<Findings> {
    let mut findings = Findings::of("forecast");
    let loads = recorded::all(data)?;
    findings.describe("each load from its beginning, judged over its last 40 %; naive is the last value plus the quantile of its own errors of 7 days");
    findings.describe(format!("while choosing, never looked at: {}", HELD_BACK.join(", ")));
    let mut scores = Vec::new();
    let (mut steps, mut cpu, mut highest_cost) = (0usize, Duration::ZERO, Duration::ZERO);
    for load in &loads {
        let trial = Trial::of(load)?;
        steps += trial.values.len();
        cpu += trial.cpu;
        highest_cost = highest_cost.max(trial.highest_cost);
        scores.extend(trial.judge());
    }
    findings.sheets.push(sheet(&scores));
    for (minutes, target) in TARGETS {
        let of = |read: fn(&HorizonScore) -> f64| -> f64 {
            let selected =
                scores.iter().filter(|score| score.base == FIVE_MINUTES && score.minutes == minutes);
            median(selected.map(read).collect())
        };
        let name = format!("loss at 0.95 over naive's, {minutes} min, median, 5-minute base");
        findings.compare(
            format!("{name}, protocol's steps"),
            of(|score| score.spaced),
            Unit::Ratio,
            Target::AtMost(target),
        );
        findings.compare(
            format!("{name}, every step"),
            of(|score| score.ratio),
            Unit::Ratio,
            Target::AtMost(target),
        );
        let coverage = of(|score| score.coverage);
        findings.compare(
            format!("coverage of 0.95, {minutes} min, median"),
            coverage,
            Unit::Ratio,
            Target::AtLeast(COVERAGE.0),
        );
        findings.compare(
            format!("the same, {minutes} min"),
            coverage,
            Unit::Ratio,
            Target::AtMost(COVERAGE.1),
        );
    }
    let within = scores.iter().filter(|score| (COVERAGE.0..=COVERAGE.1).contains(&score.coverage)).count();
    findings.note("loads and horizons whose coverage is within 0.93 and 0.97", within as f64, Unit::Count);
    findings.note("loads and horizons", scores.len() as f64, Unit::Count);
    let step = cpu.as_secs_f64() / steps.max(1) as f64;
    findings.compare(
        "a step with its horizons, mean processor time",
        step,
        Unit::Seconds,
        Target::AtMost(5e-6),
    );
    findings.compare(
        "the dearest, which looks for seasons",
        highest_cost.as_secs_f64(),
        Unit::Seconds,
        Target::AtMost(5e-3),
    );
    Ok(findings)
}

fn sheet(scores: &[HorizonScore]) -> Sheet {
    let header = [
        "load",
        "base",
        "ahead",
        "loss / naive",
        "spaced",
        "loss, % of mean",
        "coverage",
        "naive's",
        "acting",
    ];
    let row = |score: &HorizonScore| {
        vec![
            score.name.clone(),
            format!("{} s", score.base.as_secs()),
            format!("{} min", score.minutes),
            format!("{:.2}", score.ratio),
            format!("{:.2}", score.spaced),
            format!("{:.2}", 100.0 * score.loss),
            format!("{:.3}", score.coverage),
            format!("{:.3}", score.naive_coverage),
            format!("{:.0} %", 100.0 * score.acting),
        ]
    };
    Sheet { header: header.map(str::to_owned).to_vec(), rows: scores.iter().map(row).collect() }
}

/// One load, forecast from its first step to its last.
struct Trial {
    name: String,
    base: Duration,
    values: Vec<f64>,
    /// Minutes and steps ahead.
    horizons: Vec<(u64, usize)>,
    /// For each horizon, the forecast at each step, and whether it was that of the blend.
    forecasts: Vec<Vec<(f64, bool)>>,
    cpu: Duration,
    highest_cost: Duration,
}

impl Trial {
    fn of(load: &Recorded) -> anyhow::Result<Self> {
        let is_short =
            load.values.len() as u128 * load.interval.as_millis() < Duration::from_hours(6).as_millis();
        let step = if is_short { Duration::from_secs(15) } else { FIVE_MINUTES };
        let (base, values) = load.averaged(step);
        let mut horizons: Vec<(u64, usize)> = Vec::new();
        for (minutes, _) in TARGETS {
            let steps = (minutes * 60).div_ceil(base.as_secs()).max(1) as usize;
            if horizons.iter().all(|&(_, known)| known != steps) && (minutes < 60 || !is_short) {
                horizons.push((steps as u64 * base.as_secs() / 60, steps));
            }
        }
        let horizons_at: Vec<Horizon> = horizons.iter().map(|&(_, steps)| Horizon::At(steps)).collect();
        let settings = Settings::new(base, &horizons_at, &[LEVEL]).with_context(|| load.name.clone())?;
        let mut forecaster = Forecaster::new(settings);
        let mut trial = Self {
            name: load.name.clone(),
            base,
            forecasts: vec![Vec::new(); horizons.len()],
            horizons,
            values,
            cpu: Duration::ZERO,
            highest_cost: Duration::ZERO,
        };
        for (number, &value) in trial.values.iter().enumerate() {
            let number = u32::try_from(number)?;
            let watch = Stopwatch::start();
            forecaster.observe(base * number, value);
            forecaster.close(base * (number + 1));
            let cost = watch.stop().cpu;
            trial.cpu += cost;
            trial.highest_cost = trial.highest_cost.max(cost);
            for (history, forecast) in trial.forecasts.iter_mut().zip(forecaster.forecasts()) {
                let quantile = forecast.quantiles[0];
                history.push((quantile.load, quantile.by == Model::Blend));
            }
        }
        Ok(trial)
    }

    fn judge(&self) -> Vec<HorizonScore> {
        let horizons = 0..self.horizons.len();
        horizons.map(|horizon| self.judge_at(horizon)).collect()
    }

    fn judge_at(&self, horizon: usize) -> HorizonScore {
        let (minutes, ahead) = self.horizons[horizon];
        let from = self.values.len() * 6 / 10;
        let until = self.values.len() - ahead;
        let mean = self.values[from..].iter().sum::<f64>() / (self.values.len() - from) as f64;
        let origins = if self.name.starts_with("azfn") { 80 } else { 48 };
        let spaced: Vec<usize> =
            (0..origins).map(|origin| from + (until - 1 - from) * origin / (origins - 1)).collect();
        // Summed losses by both protocols: at every step, and at the spaced steps.
        let (mut ours, mut naive) = ([0.0; 2], [0.0; 2]);
        let (mut covered, mut naive_covered, mut acting) = (0.0, 0.0, 0.0);
        for now in from..until {
            let actual = self.values[now + ahead];
            let (forecast, is_blend) = self.forecasts[horizon][now];
            let last = self.naive(now, ahead);
            let weights = [1.0, spaced.iter().filter(|&&origin| origin == now).count() as f64];
            for (protocol, weight) in weights.into_iter().enumerate() {
                ours[protocol] += weight * pinball(actual, forecast, LEVEL);
                naive[protocol] += weight * pinball(actual, last, LEVEL);
            }
            covered += f64::from(u8::from(actual <= forecast));
            naive_covered += f64::from(u8::from(actual <= last));
            acting += f64::from(u8::from(is_blend));
        }
        let count = (until - from) as f64;
        HorizonScore {
            name: self.name.clone(),
            base: self.base,
            minutes,
            ratio: ours[0] / naive[0],
            spaced: ours[1] / naive[1],
            loss: ours[0] / count / mean,
            coverage: covered / count,
            naive_coverage: naive_covered / count,
            acting: acting / count,
        }
    }

    /// The last value plus a quantile of how far it fell short of the load that came, over the last 7 days; linear between two errors.
    fn naive(&self, now: usize, ahead: usize) -> f64 {
        let week = (Duration::from_hours(7 * 24).as_secs() / self.base.as_secs()) as usize;
        let mut errors: Vec<f64> = (now.saturating_sub(week + ahead)..=now.saturating_sub(ahead))
            .map(|then| self.values[then + ahead] - self.values[then])
            .collect();
        let rank = (errors.len() - 1) as f64 * LEVEL;
        let (_, &mut low, above) = errors.select_nth_unstable_by(rank as usize, f64::total_cmp);
        let high = above.iter().copied().reduce(f64::min).unwrap_or(low);
        (self.values[now] + low + rank.fract() * (high - low)).max(0.0)
    }
}
