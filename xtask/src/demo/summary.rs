//! The summary of the demo: numbers, plots, and the verdict.

use anyhow::{bail, ensure};

use super::plot;
use super::rehearsal::{Agreement, DIFFERENCE_PERCENT_MAX};
use super::scenario::Run;

/// Columns of a plot: fits with its labels on a terminal of 80 columns.
const PLOT_WIDTH: usize = 70;

/// Prints the results of the requests.
pub(super) fn print_load(run: &Run) {
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
}

/// Prints the run: numbers, plots, the killed replica, and the decisions with their reasons.
pub(super) fn print(run: &Run, agreement: &Agreement) {
    print_load(run);
    print_plots(run, agreement);
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
    println!(
        "rehearsed with this load, and {:.2} ms of processor for each request: {:.0} replica-seconds where {:.0} were used, {:.0} % apart; within one \
         replica in {:.0} % of the moments",
        agreement.cost.as_secs_f64() * 1e3,
        agreement.rehearsed,
        agreement.real,
        agreement.difference_percent(),
        agreement.near_percent
    );
    println!();
    println!("decisions");
    for decision in &run.decisions {
        println!("  {}  {} -> {}  {}", decision.at, decision.previous, decision.desired, decision.summary);
        for reason in decision.reason_messages().iter().filter(|reason| **reason != decision.summary) {
            println!("      {reason}");
        }
    }
    println!();
}

fn print_plots(run: &Run, agreement: &Agreement) {
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
    println!("ready replicas, as homeostat rehearse has them");
    plot::columns(&agreement.ready, until, PLOT_WIDTH, 5).iter().for_each(|row| println!("{row}"));
    println!("       └{}", "─".repeat(PLOT_WIDTH));
    println!("        0 s{:>width$}", format!("{until:.0} s"), width = PLOT_WIDTH - 3);
}

fn milliseconds(seconds: Option<f64>) -> String {
    seconds.map_or("-".to_owned(), |seconds| format!("{:.1} ms", seconds * 1000.0))
}

/// Checks that Homeostat scaled and healed the shop; fails with the first problem.
pub(super) fn verdict(run: &Run, agreement: &Agreement) -> anyhow::Result<()> {
    ensure!(run.load.requests > 0, "the load sent no requests, so the demo shows nothing");
    ensure!(run.load.failed == 0, "{} of {} requests failed; none may", run.load.failed, run.load.requests);
    let start = run.at_start.ready_replicas;
    let most = run.samples.iter().map(|sample| sample.status.ready_replicas).max().unwrap_or(start);
    ensure!(most > start, "the shop did not scale out: it stayed at {start} ready replicas under the load");
    let Some(killed) = &run.killed else {
        bail!("the load ended before a replica could be killed: too soon after the scale-out");
    };
    ensure!(killed.successor_after.is_some(), "the killed replica {} was not replaced", killed.name);
    let end = run.samples.last().map_or(run.at_start, |sample| sample.status);
    let (before, after) = (run.at_start.desired_replicas, end.desired_replicas);
    ensure!(
        after <= before,
        "the shop did not scale in: {after} replicas are desired, but {before} were before the load"
    );
    ensure!(
        agreement.difference_percent() <= DIFFERENCE_PERCENT_MAX,
        "the replica-seconds of the rehearsal differ by {:.0} % from those of the run; at most {DIFFERENCE_PERCENT_MAX} % are allowed",
        agreement.difference_percent()
    );
    println!("the shop scaled from {start} to {most} replicas and back to {after}, and no request failed");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::demo::rehearsal::COST_EXPECTED;
    use crate::demo::scenario::{KilledReplica, Sample};
    use crate::demo::watch::{LoadReport, Quantiles, ServiceStatus, Usage};

    fn status(replicas: u32) -> ServiceStatus {
        ServiceStatus {
            desired_replicas: replicas,
            replicas,
            ready_replicas: replicas,
            usage: Usage::default(),
        }
    }

    fn good_run() -> Run {
        let killed = KilledReplica {
            name: "shop-1".to_owned(),
            pid: 42,
            at: Duration::from_secs(9),
            served_before: vec![42],
            successor_after: Some(Duration::from_secs(1)),
        };
        let sample = |at, replicas| Sample { at: Duration::from_secs(at), status: status(replicas) };
        Run {
            at_start: status(2),
            samples: vec![sample(0, 2), sample(5, 6), sample(30, 2)],
            decisions: Vec::new(),
            killed: Some(killed),
            load: LoadReport {
                requests: 100,
                failed: 0,
                skipped: 0,
                duration_seconds: 20.0,
                achieved_rate: 5.0,
                latency_seconds: Quantiles { p50: Some(0.01), p99: Some(0.1) },
                series: Vec::new(),
            },
        }
    }

    fn good_agreement() -> Agreement {
        let (real, rehearsed, near_percent) = (100.0, 90.0, 95.0);
        Agreement { cost: COST_EXPECTED, real, rehearsed, near_percent, ready: Vec::new() }
    }

    fn complaint(change: fn(&mut Run)) -> String {
        let mut run = good_run();
        change(&mut run);
        verdict(&run, &good_agreement()).expect_err("something is wrong with it").to_string()
    }

    #[test]
    fn a_run_that_scaled_out_healed_and_scaled_in_is_good() {
        assert!(verdict(&good_run(), &good_agreement()).is_ok());
    }

    #[test]
    fn a_rehearsal_that_differs_from_the_run_is_reported() {
        for far in [141.0, 59.0].map(|rehearsed| Agreement { rehearsed, ..good_agreement() }) {
            let output = verdict(&good_run(), &far).expect_err("it is far off").to_string();
            assert!(output.contains("differ by"), "{output}");
        }
    }

    #[test]
    fn each_missing_result_is_reported() {
        assert_eq!(complaint(|run| run.load.failed = 3), "3 of 100 requests failed; none may");
        assert!(complaint(|run| run.load.requests = 0).contains("sent no requests"));
        assert!(complaint(|run| run.samples[1].status = status(2)).contains("did not scale out"));
        assert!(complaint(|run| run.samples[2].status = status(5)).contains("did not scale in"));
        assert!(complaint(|run| run.killed = None).contains("before a replica could be killed"));
        assert!(
            complaint(|run| run.killed.as_mut().expect("it was").successor_after = None)
                .contains("was not replaced")
        );
    }
}
