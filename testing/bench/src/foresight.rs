//! `foresight`: what policies would have done over recorded loads in steps of one minute, compared with an oracle that knows the load.
//!
//! The model is `fluid`'s simple one: ticks of 15 s, starts of a minute (and of three), and replicas of which 40 serve the 99th percentile of
//! the load at 70 %. Cost is the replica-hours divided by those of an oracle that knows the load one start-up time ahead.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use fluid::policy::Policy;
use fluid::policy::constant::Demands;
use fluid::policy::hpa;
use fluid::policy::oracle::Oracle;
use fluid::ticks::Ticks;
use fluid::world::World;
use fluid::{Run, Score, Service, Share, capacity_for, quantile};
use model::time::Wall;
use study::{Builtin, Candidate, PolicyContext};

use crate::figure::{Findings, Sheet, Target, Unit};
use crate::recorded::{self, Recorded, median};
use crate::spans::Stopwatch;

/// The objective: it may be violated for one request in a thousand.
const OBJECTIVE: f64 = 0.999;

const MINUTE: Duration = Duration::from_mins(1);

/// The time of a start, in seconds; the target for the share of requests that violate the objective, in per cent, and for the cost.
const BARS: [(u64, f64, f64); 2] = [(60, 0.1, 1.20), (180, 0.2, 1.25)];

/// Classes of loads by their difficulty, and the loads of each.
const CLASSES: [(&str, &[&str]); 4] = [
    ("smooth", &["azfn_large_daily", "wc98_group"]),
    ("noisy", &["azfn_noisy_daily", "nasa_jul95"]),
    ("on/off", &["azfn_blocks", "azfn_office"]),
    ("spikes", &["azfn_cron_daily", "azfn_sparse_burst"]),
];

/// The target for the processor time of a year of minutes, in seconds.
const YEAR_MAX: f64 = 1.0;

/// The results of two policies and the oracles over one load.
struct Tried {
    name: String,
    ours: Score,
    hpa: Score,
    exact: Score,
    stable: Score,
    cpu: Duration,
    minutes: usize,
}

/// Tries the policies over every load of one minute in `data`.
pub(crate) fn run(data: Option<&Path>) -> anyhow::Result<Findings> {
    let mut findings = Findings::of("foresight");
    let mut loads = recorded::all(data)?;
    loads.retain(|load| load.interval == MINUTE);
    ensure!(!loads.is_empty(), "no recorded load has a value each minute");
    findings.describe("violated requests in per cent, cost over the oracle's; slo: as production decides, with nothing given but 99.9 % and what a replica carries");
    for (start, violated_max, cost_max) in BARS {
        let start_up = Duration::from_secs(start);
        let tried = loads.iter().map(|load| Tried::of(load, start_up)).collect::<anyhow::Result<Vec<_>>>()?;
        findings.sheets.push(sheet(&tried, start));
        let violated = median(tried.iter().map(|trial| trial.ours.violated_requests_percent()).collect());
        let cost = median(tried.iter().map(Tried::cost).collect());
        findings.compare(
            format!("violated requests in per cent, starts of {start} s, median"),
            violated,
            Unit::Plain,
            Target::AtMost(violated_max),
        );
        findings.compare(
            format!("cost over the oracle's, starts of {start} s, median"),
            cost,
            Unit::Ratio,
            Target::AtMost(cost_max),
        );
        let worse = tried.iter().filter(|trial| trial.is_worse_on_both()).count();
        findings.compare(
            format!("loads on which hpa_rps is better on both, starts of {start} s"),
            worse as f64,
            Unit::Count,
            Target::AtMost(0.0),
        );
        for (class, names) in CLASSES {
            let selected: Vec<&Tried> =
                tried.iter().filter(|trial| names.contains(&trial.name.as_str())).collect();
            let violated =
                median(selected.iter().map(|trial| trial.ours.violated_requests_percent()).collect());
            let cost = median(selected.iter().map(|trial| trial.cost()).collect());
            findings.note(
                format!("{class}, starts of {start} s: violated requests in per cent"),
                violated,
                Unit::Plain,
            );
            findings.note(format!("{class}, starts of {start} s: cost over the oracle's"), cost, Unit::Ratio);
        }
        if start == BARS[0].0 {
            let (cpu, minutes): (Duration, usize) =
                tried.iter().fold((Duration::ZERO, 0), |(cpu, minutes), trial| {
                    (cpu + trial.cpu, minutes + trial.minutes)
                });
            let year = cpu.as_secs_f64() / minutes.max(1) as f64 * 365.0 * 1440.0;
            findings.compare(
                "a year of minutes, processor time",
                year,
                Unit::Seconds,
                Target::AtMost(YEAR_MAX),
            );
        }
    }
    Ok(findings)
}

fn sheet(tried: &[Tried], start: u64) -> Sheet {
    let starts = format!("starts of {start} s");
    let header = [
        starts.as_str(),
        "slo: violated",
        "cost",
        "actions a day",
        "hpa_rps: violated",
        "cost",
        "oracle60_stab300: cost",
    ];
    let row = |trial: &Tried| {
        vec![
            trial.name.clone(),
            format!("{:.3}", trial.ours.violated_requests_percent()),
            format!("{:.2}", trial.cost()),
            format!("{:.0}", trial.ours.actions as f64 / trial.ours.hours() * 24.0),
            format!("{:.3}", trial.hpa.violated_requests_percent()),
            format!("{:.2}", cost_ratio(&trial.hpa, &trial.exact)),
            format!("{:.2}", cost_ratio(&trial.stable, &trial.exact)),
        ]
    };
    Sheet { header: header.map(str::to_owned).to_vec(), rows: tried.iter().map(row).collect() }
}

fn cost_ratio(score: &Score, other: &Score) -> f64 {
    score.replica_hours() / other.replica_hours()
}

impl Tried {
    fn of(load: &Recorded, start_up: Duration) -> anyhow::Result<Self> {
        let ticks = ticks_of(load)?;
        let peak = quantile(&mut ticks.clone(), 0.99).unwrap_or(0.0);
        let target = Share::of(0.7)?;
        let service = Service { start_up, ..Service::with_capacity(capacity_for(peak, 40, target)?) };
        let demands = Demands::of(&service);
        let on = PolicyContext { service: &service, demands: &demands, objective: OBJECTIVE, learned: None };
        let slo = Builtin::named("slo").context("there is no policy slo")?;
        let slo = Candidate::from(slo).policy(&on);
        let watch = Stopwatch::start();
        let ours = score(&service, slo, &ticks);
        let cpu = watch.stop().cpu;
        Ok(Self {
            name: load.name.clone(),
            ours,
            hpa: score(&service, hpa::by_requests(&service), &ticks),
            exact: score(&service, Oracle::exact(&service), &ticks),
            stable: score(&service, Oracle::stable(&service), &ticks),
            cpu,
            minutes: load.values.len(),
        })
    }

    fn cost(&self) -> f64 {
        cost_ratio(&self.ours, &self.exact)
    }

    fn is_worse_on_both(&self) -> bool {
        self.ours.violated_requests_percent() > self.hpa.violated_requests_percent()
            && self.ours.replica_hours() > self.hpa.replica_hours()
    }
}

fn ticks_of(load: &Recorded) -> anyhow::Result<Vec<f64>> {
    let mut ticks = Ticks::new(load.interval, Duration::from_secs(15));
    let mut rates = Vec::new();
    let seconds = load.interval.as_secs_f64();
    for (number, value) in load.values.iter().enumerate() {
        let at = i64::try_from(load.interval.as_millis())? * i64::try_from(number)?;
        ticks.push(at, value / seconds, &mut |rate| rates.push(rate))?;
    }
    ticks.finish(&mut |rate| rates.push(rate));
    Ok(rates)
}

fn score(service: &Service, policy: impl Policy + 'static, ticks: &[f64]) -> Score {
    let mut run = Run::new(service, policy, World::calm(), Wall::default());
    ticks.iter().for_each(|load| run.offer(*load));
    run.finish().score
}
