//! `foresight`: what policies would have done over recorded loads in steps of one minute, beside an oracle that knows the load.
//!
//! The model is `fluid`'s plain one: ticks of 15 s, starts of a minute (and of three), and replicas of which 40 carry the 99th percentile of
//! the load at 70 %. Cost is the replica-hours divided by those of an oracle that knows the load for as long ahead as a start takes.

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

/// The promise: it may be violated for one request in a thousand.
const OBJECTIVE: f64 = 0.999;

const MINUTE: Duration = Duration::from_mins(1);

/// How long a start takes, in seconds; for which share of requests the promise may then be violated, in per cent, and at which cost.
const BARS: [(u64, f64, f64); 2] = [(60, 0.1, 1.20), (180, 0.2, 1.25)];

/// Classes of loads by what makes them hard, and the loads of each.
const CLASSES: [(&str, &[&str]); 4] = [
    ("smooth", &["azfn_large_daily", "wc98_group"]),
    ("noisy", &["azfn_noisy_daily", "nasa_jul95"]),
    ("on/off", &["azfn_blocks", "azfn_office"]),
    ("spikes", &["azfn_cron_daily", "azfn_sparse_burst"]),
];

/// The processor time that a year of minutes may take, in seconds.
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
    findings.say("violated requests in per cent, cost over the oracle's; slo: as production decides, with nothing given but 99.9 % and what a replica carries");
    for (start, violated_max, cost_max) in BARS {
        let start_up = Duration::from_secs(start);
        let tried = loads.iter().map(|load| Tried::of(load, start_up)).collect::<anyhow::Result<Vec<_>>>()?;
        findings.sheets.push(sheet(&tried, start));
        let violated = median(tried.iter().map(|one| one.ours.violated_requests_percent()).collect());
        let cost = median(tried.iter().map(Tried::cost).collect());
        findings.hold(
            format!("violated requests in per cent, starts of {start} s, median"),
            violated,
            Unit::Plain,
            Target::AtMost(violated_max),
        );
        findings.hold(
            format!("cost over the oracle's, starts of {start} s, median"),
            cost,
            Unit::Ratio,
            Target::AtMost(cost_max),
        );
        let worse = tried.iter().filter(|one| one.is_worse_on_both()).count();
        findings.hold(
            format!("loads on which hpa_rps is better on both, starts of {start} s"),
            worse as f64,
            Unit::Count,
            Target::AtMost(0.0),
        );
        for (class, names) in CLASSES {
            let those: Vec<&Tried> = tried.iter().filter(|one| names.contains(&one.name.as_str())).collect();
            let violated = median(those.iter().map(|one| one.ours.violated_requests_percent()).collect());
            let cost = median(those.iter().map(|one| one.cost()).collect());
            findings.note(
                format!("{class}, starts of {start} s: violated requests in per cent"),
                violated,
                Unit::Plain,
            );
            findings.note(format!("{class}, starts of {start} s: cost over the oracle's"), cost, Unit::Ratio);
        }
        if start == BARS[0].0 {
            let (cpu, minutes): (Duration, usize) = tried
                .iter()
                .fold((Duration::ZERO, 0), |(cpu, minutes), one| (cpu + one.cpu, minutes + one.minutes));
            let year = cpu.as_secs_f64() / minutes.max(1) as f64 * 365.0 * 1440.0;
            findings.hold("a year of minutes, processor time", year, Unit::Seconds, Target::AtMost(YEAR_MAX));
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
    let row = |one: &Tried| {
        vec![
            one.name.clone(),
            format!("{:.3}", one.ours.violated_requests_percent()),
            format!("{:.2}", one.cost()),
            format!("{:.0}", one.ours.actions as f64 / one.ours.hours() * 24.0),
            format!("{:.3}", one.hpa.violated_requests_percent()),
            format!("{:.2}", over(&one.hpa, &one.exact)),
            format!("{:.2}", over(&one.stable, &one.exact)),
        ]
    };
    Sheet { header: header.map(str::to_owned).to_vec(), rows: tried.iter().map(row).collect() }
}

fn over(one: &Score, other: &Score) -> f64 {
    one.replica_hours() / other.replica_hours()
}

impl Tried {
    fn of(load: &Recorded, start_up: Duration) -> anyhow::Result<Self> {
        let ticks = ticks_of(load)?;
        let peak = quantile(&mut ticks.clone(), 0.99).unwrap_or(0.0);
        let target = Share::of(0.7)?;
        let service = Service { start_up, ..Service::with_capacity(capacity_for(peak, 40, target)?) };
        let demands = Demands::of(&service);
        let on = PolicyContext { service: &service, demands: &demands, promise: OBJECTIVE, learned: None };
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
        over(&self.ours, &self.exact)
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
