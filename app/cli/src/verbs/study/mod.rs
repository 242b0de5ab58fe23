//! Policies over recorded load: what would have been done, over which history, and which settings would have done better.

pub(crate) mod backtest;
pub(crate) mod simulate;
pub(crate) mod tune;

mod learned;
mod load;
mod recorded;
mod show;
mod subject;
mod world;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use fluid::{Capacity, Share};
use model::input::Declared;
use model::resource::{Bounds, Span};
use serde::Serialize;
use study::{
    BUILTINS, Builtin, Candidate, CapacityRule, Findings, Measure, ORACLES, Recording, Setting, Summary,
};

use crate::arguments::CommandContext;
use crate::failure::Failure;
use crate::output::{Format, Output};
use learned::Learned;
use show::ProgressLine;
use world::WorldWords;

const POLICIES: &str = "\
Policies:
  hpa              Kubernetes' autoscaler by processor time
  hpa-requests     Kubernetes' autoscaler by the rate of requests
  step             steps over the processor time of the last minute, as EC2 Auto Scaling
  target-tracking  processor time above its target for three minutes, or below it for fifteen, as EC2 Auto Scaling
  burst            the rate of requests of a minute, and of seconds while that asks for twice what is ready, as Knative
  slo              SLO-first: what keeps --promise at least cost, by the load ahead
  learned          SLO-first as in production, with prices learned on the first two thirds; all are judged on the rest then
  schedule         the largest demand at this time of the day in the last week
  schedule+hpa     the larger of schedule and hpa-requests
  trend            Holt's line over the last minutes, two minutes on
  surge            the load and what it rises by within a start-up in 95 of 100 cases
  surge-lean       the same for 99 of 100 cases, with 90 % of each replica used
  peak, p95        always as many as the peak needs, or as suffice for 95 % of the time
  oracle           knows the load for as long as a replica takes to start; always shown
  oracle-stable    the same, and holds the largest number of five minutes; always shown
  oracle-lean      the same with 95 % of each replica used: the least cost without a violation";

/// Which policies.
#[derive(Clone, Debug, Args)]
struct CompareWords {
    /// Policies to compare with, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = builtin, default_value = "hpa,hpa-requests,schedule,surge")]
    compare: Vec<String>,
}

/// The replicas.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "The replicas")]
struct ReplicaWords {
    /// Requests a second that one replica carries at most; without it, what was learned, what its autoscaler aims at, or what
    /// follows from --peak-replicas
    #[arg(long, value_name = "RATE", value_parser = capacity, conflicts_with = "peak_replicas")]
    capacity: Option<Capacity>,
    /// Replicas that the 99th percentile of the load needs; without it, 40 or 70 % of a smaller max
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    peak_replicas: Option<u32>,
    /// The share of the capacity that should be used
    #[arg(long, value_name = "SHARE", default_value = "0.7", value_parser = share)]
    target: Share,
    /// The time from a start to the first request served; without it, what was learned, or 60s
    #[arg(long, value_name = "DURATION")]
    start_up: Option<Span>,
    /// The time from one decision to the next, 1s to 1h
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = tick)]
    tick: Span,
}

/// What counts.
#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "What counts")]
struct MeasureWords {
    /// The percentage of the requests that should be answered well; the cheapest policy that keeps it is the best
    #[arg(long, value_name = "PERCENT", default_value = "99.9%", value_parser = world::part)]
    promise: f64,
    /// What an hour of a replica costs
    #[arg(long, value_name = "PRICE", value_parser = price)]
    price: Option<f64>,
}

/// How it is shown.
#[derive(Clone, Debug, Args)]
struct ShowWords {
    /// Write an HTML page with plots to this file
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// Draw the load and the capacity of the best policy
    #[arg(long)]
    plot: bool,
    #[command(flatten)]
    output: Output,
}

/// Several traces, in the form that scripts read.
#[derive(Serialize)]
struct Summaries<'a> {
    items: &'a [Summary],
}

/// What is tried, and on what.
struct Comparison<'a> {
    candidates: Vec<Candidate>,
    setting: Setting,
    measure: Measure,
    /// What had to be assumed, each as a sentence.
    notes: Vec<String>,
    show: &'a ShowWords,
}

impl Comparison<'_> {
    /// Tries everything on each of `recordings`, and shows what came of it.
    fn over(&self, context: &CommandContext, recordings: &[Recording]) -> Result<(), Failure> {
        let mut compared: Vec<(Findings, Summary)> = Vec::new();
        for recording in recordings {
            let gauge = ProgressLine::new(&recording.name);
            let findings = study::compare(recording, &self.setting, &self.candidates, &mut |progress| {
                gauge.show(progress);
            });
            gauge.end();
            let findings = findings.context("could not simulate (HS0016)")?;
            let summary = Summary::of(&findings, self.measure, self.notes.clone());
            compared.push((findings, summary));
        }
        self.show.print(context, &compared)?;
        self.show.report(&compared, self.measure)
    }
}

impl ShowWords {
    fn print(&self, context: &CommandContext, compared: &[(Findings, Summary)]) -> Result<(), Failure> {
        let printer = context.printer;
        if self.output.output == Format::Table {
            for (number, (findings, summary)) in compared.iter().enumerate() {
                let gap = if number > 0 { "\n" } else { "" };
                printer.text(&format!("{gap}{}", show::summary(printer, summary)))?;
                if self.plot {
                    printer.text(&format!("\n{}", show::plot(findings, summary)))?;
                }
            }
            return Ok(());
        }
        let summaries: Vec<Summary> = compared.iter().map(|(_, summary)| summary.clone()).collect();
        match (self.output.output, summaries.as_slice()) {
            (Format::Yaml, [summary]) => printer.yaml(summary),
            (Format::Yaml, items) => printer.yaml(&Summaries { items }),
            (Format::Json | Format::Table, [summary]) => printer.json(summary),
            (Format::Json | Format::Table, items) => printer.json(&Summaries { items }),
        }
    }

    fn report(&self, compared: &[(Findings, Summary)], measure: Measure) -> Result<(), Failure> {
        let Some(path) = &self.report else { return Ok(()) };
        let written = std::fs::write(path, study::page(compared, measure));
        written.with_context(|| {
            format!("could not write the report {}; check its folder and its permissions", path.display())
        })?;
        Ok(())
    }
}

impl CompareWords {
    /// The declared policy, those that were named, and the oracles.
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
}

impl MeasureWords {
    fn measure(self) -> Measure {
        Measure { promise: self.promise, price: self.price }
    }
}

/// What is known of the service that is tried, besides the arguments.
#[derive(Clone, Copy, Debug, Default)]
struct Known<'a> {
    /// What is declared of it.
    declared: Option<&'a Arc<Declared>>,
    /// Fewest and most replicas, where no manifest says.
    bounds: Option<Bounds>,
    /// What was learned of it as it runs.
    learned: Option<&'a Learned>,
}

/// What a start is taken to take where nobody says, as in the published figures.
const START_UP: Duration = Duration::from_secs(60);

impl ReplicaWords {
    /// What is tried on.
    fn setting(
        &self,
        known: Known<'_>,
        world: &WorldWords,
        measure: MeasureWords,
    ) -> Result<Setting, Failure> {
        let bounds = known.declared.map(|declared| study::widest_bounds(declared)).or(known.bounds);
        let bounds = bounds.unwrap_or(Bounds { min: 1, max: 200 });
        // A time that is given is that of all starts.
        let learned = known.learned.filter(|_| self.start_up.is_none());
        let start_up = self.start_up.map(Span::as_duration).or(learned.and_then(Learned::start_up));
        Ok(Setting {
            tick: self.tick.as_duration(),
            capacity: self.capacity(known, bounds),
            target: self.target,
            start_up: start_up.unwrap_or(START_UP),
            bounds,
            noise: world.noise,
            disturbance: world.disturbance(learned)?,
            seed: world.seed,
            promise: measure.promise,
        })
    }

    fn capacity(&self, known: Known<'_>, bounds: Bounds) -> CapacityRule {
        let derived = || known.declared.and_then(|declared| study::capacity_told(declared, self.target));
        match (self.capacity, self.peak_replicas) {
            (Some(capacity), _) => CapacityRule::Given(capacity),
            (None, Some(replicas)) => CapacityRule::ForPeak(replicas),
            (None, None) => known
                .learned
                .and_then(Learned::capacity)
                .or_else(|| derived().map(CapacityRule::Given))
                // Room above the 99th percentile: what the published figures have is 40 of 200.
                .unwrap_or_else(|| CapacityRule::ForPeak((bounds.max.saturating_mul(7) / 10).clamp(1, 40))),
        }
    }

    /// What has to be assumed of the service and its replicas.
    fn notes(&self, known: Known<'_>, capacity: CapacityRule) -> Vec<String> {
        let mut notes = known.declared.map(study::notes_on).unwrap_or_default();
        let is_given = self.capacity.is_some() || self.peak_replicas.is_some();
        if let Some(learned) = known.learned {
            notes.extend((!is_given).then(|| learned.note_on_capacity()));
            notes.extend(self.start_up.is_none().then(|| learned.note_on_starts(START_UP)));
        }
        let is_given = is_given || known.learned.is_some_and(|learned| learned.capacity().is_some());
        match capacity {
            CapacityRule::Given(capacity) if !is_given => notes.push(format!(
                "a replica is taken to carry {} requests a second, of which its autoscaler aims at the target share; give --capacity where that \
                 is known",
                show::rate(capacity.rate())
            )),
            CapacityRule::ForPeak(replicas) if !is_given => notes.push(format!(
                "what a replica carries is not known, and is assumed such that the 99th percentile of the load needs {replicas} of them; give --capacity"
            )),
            CapacityRule::Given(_) | CapacityRule::ForPeak(_) | CapacityRule::Learned { .. } => {}
        }
        notes
    }
}

fn builtin(name: &str) -> Result<String, String> {
    let name = name.trim();
    let names = || BUILTINS.map(|builtin| builtin.name).join(", ");
    let found = Builtin::named(name).map(|builtin| builtin.name.to_owned());
    found.ok_or_else(|| format!("there is no policy {name:?}; the policies are {}", names()))
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

fn tick(text: &str) -> Result<Span, String> {
    let span = Span::parse(text).map_err(|error| error.to_string())?;
    let is_sound = (1..=3600).contains(&span.as_duration().as_secs());
    if is_sound { Ok(span) } else { Err(format!("a tick of {text} is not possible; give 1s to 1h")) }
}
