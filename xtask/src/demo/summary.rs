//! The end of the demo: what happened, in numbers and a picture, and whether Homeostat did its job.

use anyhow::{bail, ensure};

use super::plot;
use super::story::Run;

/// Columns of a plot: what fits beside its labels on the narrowest usual terminal.
const PLOT_WIDTH: usize = 70;

/// Prints the run: numbers, plots, the killed replica, the decisions with their reasons.
pub(super) fn print(run: &Run) {
    let load = &run.load;
    println!();
    println!(
        "requests   {:>10}   {:.0} a second over {:.0} s",
        load.requests, load.achieved_rate, load.duration_seconds
    );
    println!("failed     {:>10}", load.failed);
    if load.skipped > 0 {
        println!(
            "not sent   {:>10}   every connection was busy: latencies are those of a lower load",
            load.skipped
        );
    }
    println!("p50        {:>10}", milliseconds(load.latency_seconds.p50));
    println!("p99        {:>10}", milliseconds(load.latency_seconds.p99));
    println!();
    print_plots(run);
    if let Some(killed) = &run.killed {
        let ending = killed.successor_after.map_or("and had no successor".to_owned(), |after| {
            format!("and a successor was seen ready {:.1} s later", after.as_secs_f64())
        });
        println!();
        println!(
            "{} (process {}) was killed with -9 at {:.0} s {ending}",
            killed.name,
            killed.pid,
            killed.at.as_secs_f64()
        );
    }
    println!();
    println!("decisions");
    for decision in &run.decisions {
        println!("  {}  {} -> {}  {}", decision.at, decision.previous, decision.desired, decision.summary);
        for reason in decision.reasons_in_words().iter().filter(|reason| **reason != decision.summary) {
            println!("      {reason}");
        }
    }
    println!();
}

fn print_plots(run: &Run) {
    let until = run.samples.last().map_or(0.0, |sample| sample.at.as_secs_f64());
    let mut load: Vec<(f64, f64)> = run
        .load
        .series
        .iter()
        .filter(|point| point.seconds > 0.0)
        .map(|point| (point.at_seconds, point.sent as f64 / point.seconds))
        .collect();
    load.extend(run.load.series.last().map(|point| (point.at_seconds + point.seconds, 0.0)));
    let ready: Vec<(f64, f64)> = run
        .samples
        .iter()
        .map(|sample| (sample.at.as_secs_f64(), f64::from(sample.status.ready_replicas)))
        .collect();
    println!("load, requests a second");
    plot::columns(&load, until, PLOT_WIDTH, 5).iter().for_each(|row| println!("{row}"));
    println!("ready replicas");
    plot::columns(&ready, until, PLOT_WIDTH, 5).iter().for_each(|row| println!("{row}"));
    println!("       └{}", "─".repeat(PLOT_WIDTH));
    println!("        0 s{:>width$}", format!("{until:.0} s"), width = PLOT_WIDTH - 3);
}

fn milliseconds(seconds: Option<f64>) -> String {
    seconds.map_or("-".to_owned(), |seconds| format!("{:.1} ms", seconds * 1000.0))
}

/// Whether Homeostat did its main job; fails with the first thing that it did not do.
pub(super) fn verdict(run: &Run) -> anyhow::Result<()> {
    ensure!(run.load.requests > 0, "the load sent no request, so nothing was shown");
    ensure!(run.load.failed == 0, "{} of {} requests failed; none may", run.load.failed, run.load.requests);
    let start = run.at_start.ready_replicas;
    let most = run.samples.iter().map(|sample| sample.status.ready_replicas).max().unwrap_or(start);
    ensure!(most > start, "the shop did not scale out: it stayed at {start} ready replicas under the load");
    let Some(killed) = &run.killed else {
        bail!("the load ended before a replica could be killed: it was over too soon after the scale-out");
    };
    ensure!(killed.successor_after.is_some(), "the killed replica {} had no successor", killed.name);
    let end = run.samples.last().map_or(run.at_start, |sample| sample.status);
    let (before, after) = (run.at_start.desired_replicas, end.desired_replicas);
    ensure!(
        after <= before,
        "the shop did not scale in: {after} replicas are wanted, {before} were before the load"
    );
    println!("the shop scaled from {start} to {most} replicas and back to {after}, and no request failed");
    Ok(())
}
