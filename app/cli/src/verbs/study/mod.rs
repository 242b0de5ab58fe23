//! Scaling policies over recorded load: `simulate`, `backtest` and `tune`.

pub(crate) mod backtest;
pub(crate) mod simulate;
pub(crate) mod tune;

mod learned;
mod load;
mod recorded;
mod show;
mod subject;
#[cfg(test)]
mod tests;
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

use crate::context::CommandContext;
use crate::failure::Failure;
use crate::output::{Format, Output};
use learned::Learned;
use show::ProgressLine;
use world::WorldArguments;

const POLICIES: &str = "\
Policies:
  hpa              the autoscaler of Kubernetes, by CPU
  hpa-requests     the autoscaler of Kubernetes, by request rate
  step             step scaling by CPU over the last minute, as in EC2 Auto Scaling
  target-tracking  CPU above its target for three minutes, or below it for fifteen, as in EC2 Auto Scaling
  burst            request rate over a minute, and over seconds while that needs twice the ready replicas, as in Knative
  slo              SLO-first: meets --slo at the lowest cost, by the load forecast
  learned          SLO-first as in production, with prices learned on the first two thirds; all are then scored on the rest
  schedule         the largest demand at this time of day in the last week
  schedule+hpa     the larger of schedule and hpa-requests
  trend            Holt's linear trend over the last minutes, two minutes ahead
  surge            the load plus its rise within a start-up in 95 of 100 cases
  surge-lean       the same for 99 of 100 cases, at 90 % utilization
  peak, p95        constant: enough for the peak, or for 95 % of the time
  oracle           knows the load for the start-up time ahead; always shown
  oracle-stable    the same, holding the largest number of five minutes; always shown
  oracle-lean      the same at 95 % utilization: the lowest cost without a violation";

/// The policies to compare.
#[derive(Clone, Debug, Args)]
struct CompareArguments {
    /// Policies to compare with, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = builtin, default_value = "hpa,hpa-requests,schedule,surge")]
    compare: Vec<String>,
}

/// The replicas.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "The replicas")]
struct ReplicaArguments {
    /// The capacity of one replica, in requests per second; by default, the learned one, the one implied by its autoscaler, or the one
    /// implied by --peak-replicas
    #[arg(long, value_name = "RATE", value_parser = capacity, conflicts_with = "peak_replicas")]
    capacity: Option<Capacity>,
    /// The number of replicas that the 99th percentile of the load needs; by default, 40, or 70 % of a smaller maximum
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    peak_replicas: Option<u32>,
    /// The target utilization of the capacity, 1% to 100%
    #[arg(long, value_name = "SHARE", default_value = "0.7", value_parser = target)]
    target: Share,
    /// The time from start to ready of a replica; by default, the learned one, or 60s
    #[arg(long, value_name = "DURATION")]
    start_up: Option<Span>,
    /// The interval of decisions, 1s to 1h
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = tick)]
    tick: Span,
}

/// The measure of success.
#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "What counts")]
struct MeasureArguments {
    /// The SLO: the percentage of requests that should succeed in time; the cheapest policy that meets it is the best
    #[arg(long = "slo", alias = "promise", value_name = "PERCENT", default_value = "99.9%", value_parser = world::part)]
    objective: f64,
    /// The price of a replica-hour
    #[arg(long, value_name = "PRICE", value_parser = price)]
    price: Option<f64>,
}

/// How the result is shown.
#[derive(Clone, Debug, Args)]
struct ShowArguments {
    /// Write an HTML page with plots to this file
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// Draw the load and the capacity of the best policy
    #[arg(long)]
    plot: bool,
    #[command(flatten)]
    output: Output,
}

/// The results over several traces, for JSON and YAML.
#[derive(Serialize)]
struct Summaries<'a> {
    items: &'a [Summary],
}

/// The policies to compare, and the simulated service.
struct Comparison<'a> {
    candidates: Vec<Candidate>,
    setting: Setting,
    measure: Measure,
    /// The assumptions, each as a sentence.
    notes: Vec<String>,
    show: &'a ShowArguments,
}

impl Comparison<'_> {
    /// Runs all policies over each of `recordings`, and shows the results.
    fn run(&self, context: &CommandContext, recordings: &[Recording]) -> Result<(), Failure> {
        let mut compared: Vec<(Findings, Summary)> = Vec::new();
        for recording in recordings {
            compared.push(self.compare(recording)?);
        }
        self.show.print(context, &compared)?;
        self.show.report(&compared, self.measure)
    }

    /// Runs all policies over `recording`.
    fn compare(&self, recording: &Recording) -> Result<(Findings, Summary), Failure> {
        let gauge = ProgressLine::new(&recording.name);
        let findings = study::compare(recording, &self.setting, &self.candidates, &mut |progress| {
            gauge.show(progress);
        });
        gauge.end();
        let findings = findings.context("could not simulate (HS0016)")?;
        let summary = Summary::of(&findings, self.measure, self.notes.clone());
        Ok((findings, summary))
    }
}

impl ShowArguments {
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

impl CompareArguments {
    /// The declared policy, the named ones, and the oracles.
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

impl MeasureArguments {
    fn measure(self) -> Measure {
        Measure { objective: self.objective, price: self.price }
    }
}

/// What is known about the simulated service besides the arguments.
#[derive(Clone, Copy, Debug, Default)]
struct Known<'a> {
    /// Its declaration.
    declared: Option<&'a Arc<Declared>>,
    /// Bounds on the number of replicas, if there is no declaration.
    bounds: Option<Bounds>,
    /// What was learned from observing it.
    learned: Option<&'a Learned>,
}

/// The default start-up time, as in the published figures.
const START_UP: Duration = Duration::from_secs(60);

impl ReplicaArguments {
    /// The simulated service.
    fn setting(
        &self,
        known: Known<'_>,
        world: &WorldArguments,
        measure: MeasureArguments,
    ) -> Result<Setting, Failure> {
        let bounds = known.declared.map(|declared| study::widest_bounds(declared)).or(known.bounds);
        let bounds = bounds.unwrap_or(Bounds { min: 1, max: 200 });
        // A given time applies to all starts.
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
            objective: measure.objective,
        })
    }

    fn capacity(&self, known: Known<'_>, bounds: Bounds) -> CapacityRule {
        let derived = || known.declared.and_then(|declared| study::declared_capacity(declared, self.target));
        match (self.capacity, self.peak_replicas) {
            (Some(capacity), _) => CapacityRule::Given(capacity),
            (None, Some(replicas)) => CapacityRule::ForPeak(replicas),
            (None, None) => known
                .learned
                .and_then(Learned::capacity)
                .or_else(|| derived().map(CapacityRule::Given))
                // Leaves room above the 99th percentile; the published figures use 40 of 200.
                .unwrap_or_else(|| CapacityRule::ForPeak((bounds.max.saturating_mul(7) / 10).clamp(1, 40))),
        }
    }

    /// The assumptions about the service and its replicas.
    fn notes(&self, known: Known<'_>, capacity: CapacityRule) -> Vec<String> {
        let mut notes = known.declared.map(study::assumptions).unwrap_or_default();
        let is_given = self.capacity.is_some() || self.peak_replicas.is_some();
        if let Some(learned) = known.learned {
            notes.extend((!is_given).then(|| learned.note_on_capacity()));
            notes.extend(self.start_up.is_none().then(|| learned.note_on_starts(START_UP)));
        }
        let is_given = is_given || known.learned.is_some_and(|learned| learned.capacity().is_some());
        match capacity {
            CapacityRule::Given(capacity) if !is_given => notes.push(format!(
                "the capacity of a replica is assumed to be {} requests per second, so that its autoscaler aims at the target utilization; give \
                 --capacity if it is known",
                show::rate(capacity.rate())
            )),
            CapacityRule::ForPeak(replicas) if !is_given => notes.push(format!(
                "the capacity of a replica is not known; it is assumed such that the 99th percentile of the load needs {replicas} replicas; give --capacity"
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
    let wrong = || format!("{text:?} is not a price; write a number of zero or more, such as 0.04");
    text.parse().ok().filter(|price: &f64| *price >= 0.0 && price.is_finite()).ok_or_else(wrong)
}

fn capacity(text: &str) -> Result<Capacity, String> {
    let rate =
        text.parse().map_err(|_| format!("{text:?} is not a rate; write requests per second, such as 50"))?;
    Capacity::per_second(rate).map_err(|error| error.to_string())
}

/// Parses a target utilization. A lower one than 1 % would be nothing when it is rounded to the digits that a manifest has.
fn target(text: &str) -> Result<Share, String> {
    let wrong = || format!("a target utilization of {text} is out of range; give 1% to 100%");
    let target = Share::of(world::part(text)?).map_err(|_| wrong())?;
    if target.part() >= 0.01 { Ok(target) } else { Err(wrong()) }
}

fn tick(text: &str) -> Result<Span, String> {
    let span = Span::parse(text).map_err(|error| error.to_string())?;
    let is_sound = (Span::from_secs(1)..=Span::from_secs(3600)).contains(&span);
    if is_sound { Ok(span) } else { Err(format!("a tick of {text} is out of range; give 1s to 1h")) }
}
