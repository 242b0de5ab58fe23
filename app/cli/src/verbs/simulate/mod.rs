//! `simulate`: what a policy would have done over recorded load, beside others.

mod show;
mod world;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::{Args, ValueEnum};
use fluid::{Capacity, Share};
use load::trace::Trace;
use model::input::Declared;
use model::resource::{Bounds, Span};
use serde::Serialize;
use study::{
    BUILTINS, Builtin, Candidate, CapacityRule, Findings, Measure, ORACLES, Reading, Recording, Setting,
    Source, Summary,
};

use crate::failure::Failure;
use crate::manifests::{self, Warnings};
use crate::output::{Format, Output};
use crate::words::Desk;
use show::Gauge;
use world::WorldWords;

/// Show what a scaling policy would have done with recorded load, beside others and beside those who know the future
///
/// With -f the policy of the declared service is tried, by the code that decides in production. Nothing runs and nothing is changed. Each tick of
/// 15 s the policy sees the one before and says how many replicas there shall be; they take --start-up to start; load that does not fit
/// waits. The promise is broken while more than half a second of work waits. The first day of more than two is not counted.
#[derive(Clone, Debug, Args)]
#[command(after_help = POLICIES)]
pub(crate) struct Words {
    /// A manifest with the service or its HorizontalPodAutoscaler, a folder of them, or - for standard input; may be given several times
    #[arg(short, long = "file", value_name = "FILE")]
    file: Vec<PathBuf>,
    /// Which service, when the manifests declare several
    #[arg(long, value_name = "NAME", requires = "file")]
    service: Option<String>,
    /// Policies to try beside it, with commas between
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = builtin, default_value = "hpa,hpa-requests,schedule,surge")]
    compare: Vec<String>,
    #[command(flatten)]
    load: LoadWords,
    #[command(flatten)]
    replica: ReplicaWords,
    #[command(flatten)]
    world: WorldWords,
    #[command(flatten)]
    measure: MeasureWords,
    /// Write a page with pictures to this file
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// Draw the load and the capacity of the best policy
    #[arg(long)]
    plot: bool,
    #[command(flatten)]
    output: Output,
}

const POLICIES: &str = "\
Policies:
  hpa              Kubernetes' autoscaler by processor time
  hpa-requests     Kubernetes' autoscaler by the rate of requests
  step             steps over the processor time of the last minute, as EC2 Auto Scaling
  target-tracking  processor time above its target for three minutes, or below it for fifteen, as EC2 Auto Scaling
  burst            the rate of requests of a minute, and of seconds while that asks for twice what is ready, as Knative
  slo              SLO-first: what keeps --promise at least cost, by the load ahead
  schedule         the largest demand at this time of the day in the last week
  schedule+hpa     the larger of schedule and hpa-requests
  trend            Holt's line over the last minutes, two minutes on
  surge            the load and what it rises by within a start-up in 95 of 100 cases
  surge-lean       the same for 99 of 100 cases, with 90 % of each replica used
  peak,            p95      always as many as the peak, or 95 % of the time, need
  oracle           knows the load for as long as a replica takes to start; always shown
  oracle-stable    the same, and holds the largest number of five minutes; always shown
  oracle-lean      the same with 95 % of each replica used: the least cost without a violation";

/// The load.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "The load")]
struct LoadWords {
    /// Recorded load: CSV, one `timestamp,value` a line, or - for standard input; may be given several times
    #[arg(long, value_name = "CSV", required = true, num_args = 1..)]
    trace: Vec<PathBuf>,
    /// What the values are
    #[arg(long, value_enum, default_value = "count")]
    unit: Unit,
    /// The time that each value stands for, where the rows do not tell
    #[arg(long, value_name = "DURATION")]
    interval: Option<Span>,
    /// What the load is multiplied with
    #[arg(long, value_name = "FACTOR", default_value = "1", value_parser = factor)]
    scale_load: f64,
}

/// What the values of a trace are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Unit {
    /// Requests in the time from row to row
    Count,
    /// Requests a second
    Rate,
}

/// The replicas.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "The replicas")]
struct ReplicaWords {
    /// Requests a second that one replica carries at most; without it, what its autoscaler aims at or --peak-replicas says
    #[arg(long, value_name = "RATE", value_parser = capacity, conflicts_with = "peak_replicas")]
    capacity: Option<Capacity>,
    /// Replicas that the 99th percentile of the load needs; 40 without it, or 70 % of a smaller max
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    peak_replicas: Option<u32>,
    /// The share of the capacity that is to be used
    #[arg(long, value_name = "SHARE", default_value = "0.7", value_parser = share)]
    target: Share,
    /// From a start to the first request served
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    start_up: Span,
    /// Fewest and most replicas, where no manifest says; 1..200 without it
    #[arg(long, value_name = "MIN..MAX", value_parser = bounds, conflicts_with = "file")]
    replicas: Option<Bounds>,
    /// How often is decided, 1s to 1h
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = tick)]
    tick: Span,
}

/// What counts.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "What counts")]
struct MeasureWords {
    /// Requests of which so many are to be well; the cheapest policy that keeps it is the best
    #[arg(long, value_name = "PERCENT", default_value = "99.9%", value_parser = world::part)]
    promise: f64,
    /// What an hour of a replica costs
    #[arg(long, value_name = "PRICE", value_parser = price)]
    price: Option<f64>,
}

/// Several traces, in the form that scripts read.
#[derive(Serialize)]
struct Summaries<'a> {
    items: &'a [Summary],
}

pub(crate) fn run(desk: &Desk, words: &Words) -> Result<ExitCode, Failure> {
    let declared = words.declared(desk)?;
    let setting = words.setting(declared.as_ref())?;
    let candidates = words.candidates(declared.as_ref());
    let measure = Measure { promise: words.measure.promise, price: words.measure.price };
    let notes = words.notes(declared.as_ref(), setting.capacity);
    let mut compared: Vec<(Findings, Summary)> = Vec::new();
    for path in &words.load.trace {
        let recording = words.recording(path)?;
        let gauge = Gauge::new(&recording.name);
        let findings =
            study::compare(&recording, &setting, &candidates, &mut |progress| gauge.show(progress));
        gauge.end();
        let findings = findings.context("could not simulate (HS0016)")?;
        let summary = Summary::of(&findings, measure, notes.clone());
        compared.push((findings, summary));
    }
    print(desk, words, &compared)?;
    if let Some(path) = &words.report {
        let page = study::page(&compared, measure);
        let written = std::fs::write(path, page);
        written.with_context(|| {
            format!("could not write the report {}; check its folder and its permissions", path.display())
        })?;
    }
    Ok(ExitCode::SUCCESS)
}

fn print(desk: &Desk, words: &Words, compared: &[(Findings, Summary)]) -> Result<(), Failure> {
    let printer = desk.printer;
    if words.output.output == Format::Table {
        for (number, (findings, summary)) in compared.iter().enumerate() {
            let gap = if number > 0 { "\n" } else { "" };
            printer.text(&format!("{gap}{}", show::summary(printer, summary)))?;
            if words.plot {
                printer.text(&format!("\n{}", show::plot(findings, summary)))?;
            }
        }
        return Ok(());
    }
    let summaries: Vec<Summary> = compared.iter().map(|(_, summary)| summary.clone()).collect();
    match (words.output.output, summaries.as_slice()) {
        (Format::Yaml, [summary]) => printer.yaml(summary),
        (Format::Yaml, items) => printer.yaml(&Summaries { items }),
        (Format::Json | Format::Table, [summary]) => printer.json(summary),
        (Format::Json | Format::Table, items) => printer.json(&Summaries { items }),
    }
}

impl Words {
    /// The service whose policy is tried; `None` when no manifest is named.
    fn declared(&self, desk: &Desk) -> Result<Option<Arc<Declared>>, Failure> {
        if self.file.is_empty() {
            return Ok(None);
        }
        let manifests = manifests::read(&self.file, Warnings::Shown, desk.colours)?;
        let declared = study::declared(manifests.resources(), self.service.as_deref());
        Ok(Some(Arc::new(declared.map_err(Failure::words)?)))
    }

    fn candidates(&self, declared: Option<&Arc<Declared>>) -> Vec<Candidate> {
        let mut names: Vec<&str> = self.compare.iter().map(String::as_str).collect();
        names.extend(ORACLES);
        let mut candidates: Vec<Candidate> = declared.map(Candidate::declared).into_iter().collect();
        for builtin in names.into_iter().filter_map(Builtin::named) {
            if !candidates.iter().any(|candidate| candidate.name == builtin.name) {
                candidates.push(Candidate::from(builtin));
            }
        }
        candidates
    }

    fn setting(&self, declared: Option<&Arc<Declared>>) -> Result<Setting, Failure> {
        let bounds = declared.map(|declared| study::widest_bounds(declared)).or(self.replica.replicas);
        let bounds = bounds.unwrap_or(Bounds { min: 1, max: 200 });
        Ok(Setting {
            tick: self.replica.tick.as_duration(),
            capacity: self.capacity(declared, bounds),
            target: self.replica.target,
            start_up: self.replica.start_up.as_duration(),
            bounds,
            noise: self.world.noise,
            disturbance: self.world.disturbance()?,
            seed: self.world.seed,
            promise: self.measure.promise,
        })
    }

    fn capacity(&self, declared: Option<&Arc<Declared>>, bounds: Bounds) -> CapacityRule {
        let told = || declared.and_then(|declared| study::capacity_told(declared, self.replica.target));
        match (self.replica.capacity, self.replica.peak_replicas) {
            (Some(capacity), _) => CapacityRule::Given(capacity),
            (None, Some(replicas)) => CapacityRule::ForPeak(replicas),
            (None, None) => told().map_or_else(
                // Room above the 99th percentile: what the published figures have is 40 of 200.
                || CapacityRule::ForPeak((bounds.max.saturating_mul(7) / 10).clamp(1, 40)),
                CapacityRule::Given,
            ),
        }
    }

    fn notes(&self, declared: Option<&Arc<Declared>>, capacity: CapacityRule) -> Vec<String> {
        let mut notes = declared.map(study::notes_on).unwrap_or_default();
        let is_given = self.replica.capacity.is_some() || self.replica.peak_replicas.is_some();
        match capacity {
            CapacityRule::Given(capacity) if !is_given => notes.push(format!(
                "a replica is taken to carry {} requests a second, of which its autoscaler aims at the target share; give --capacity where that \
                 is known",
                show::rate(capacity.rate())
            )),
            CapacityRule::ForPeak(replicas) if !is_given => notes.push(format!(
                "what a replica carries is not known: so much that the 99th percentile of the load needs {replicas} of them; give --capacity"
            )),
            CapacityRule::Given(_) | CapacityRule::ForPeak(_) => {}
        }
        notes
    }

    fn recording(&self, path: &Path) -> Result<Recording, Failure> {
        let is_stdin = path == Path::new("-");
        let source = if is_stdin {
            let trace = Trace::read(std::io::stdin().lock(), "standard input");
            Source::Rows(trace.context("could not simulate (HS0016)")?.rows().to_vec())
        } else {
            Source::File(path.to_path_buf())
        };
        Ok(Recording {
            name: if is_stdin { "standard input".to_owned() } else { path.display().to_string() },
            source,
            reading: match self.load.unit {
                Unit::Count => Reading::Count,
                Unit::Rate => Reading::Rate,
            },
            interval: self.load.interval.map(Span::as_duration),
            scale: self.load.scale_load,
        })
    }
}

fn builtin(name: &str) -> Result<String, String> {
    let name = name.trim();
    let names = || BUILTINS.map(|builtin| builtin.name).join(", ");
    let found = Builtin::named(name).map(|builtin| builtin.name.to_owned());
    found.ok_or_else(|| format!("there is no policy {name:?}; there are {}", names()))
}

fn factor(text: &str) -> Result<f64, String> {
    let wrong = || format!("{text:?} is no factor; write a number above 0, such as 1.5");
    text.parse().ok().filter(|factor: &f64| *factor > 0.0 && factor.is_finite()).ok_or_else(wrong)
}

fn price(text: &str) -> Result<f64, String> {
    let wrong = || format!("{text:?} is no price; write a number of zero or more, such as 0.04");
    text.parse().ok().filter(|price: &f64| *price >= 0.0 && price.is_finite()).ok_or_else(wrong)
}

fn capacity(text: &str) -> Result<Capacity, String> {
    let rate =
        text.parse().map_err(|_| format!("{text:?} is no rate; write requests a second, such as 50"))?;
    Capacity::per_second(rate).map_err(|error| error.to_string())
}

fn share(text: &str) -> Result<Share, String> {
    Share::of(world::part(text)?).map_err(|error| error.to_string())
}

fn bounds(text: &str) -> Result<Bounds, String> {
    let wrong = || format!("{text:?} are no bounds; write them as MIN..MAX, such as 2..20");
    let (min, max) = text.split_once("..").ok_or_else(wrong)?;
    let (min, max) = (min.trim().parse().map_err(|_| wrong())?, max.trim().parse().map_err(|_| wrong())?);
    let is_sound = min <= max && (1..=model::resource::REPLICAS_MAX).contains(&max);
    if is_sound { Ok(Bounds { min, max }) } else { Err(wrong()) }
}

fn tick(text: &str) -> Result<Span, String> {
    let span = Span::parse(text).map_err(|error| error.to_string())?;
    let is_sound = (1..=3600).contains(&span.as_duration().as_secs());
    if is_sound {
        Ok(span)
    } else {
        Err(format!("a tick of {text} is none that can be tried; give 1s to 1h"))
    }
}
