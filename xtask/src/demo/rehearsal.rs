//! Repeats the run with `homeostat rehearse`: the load that was sent and the kill, on a simulated machine. The comparison shows how
//! accurate rehearsals are.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;

use super::scenario::{Run, Sample};
use super::stage::{self, Stage};
use super::watch::Rehearsal;

/// Expected CPU time of a page: `--work` in examples/flash-sale/service.yaml, and the system calls of a request.
pub(super) const COST_EXPECTED: Duration = Duration::from_micros(2650);

/// Time until a replica is ready: `--startup` in the same file, and the first probe.
const START_UP: &str = "300ms";

/// Largest allowed difference in replica-seconds between the rehearsal and the run.
///
/// 40 %: a few per cent of CPU time decide between eight and ten replicas of the example, which is a quarter; a larger difference is an
/// error of the simulation. docs/rehearse.md has measurements.
pub(super) const DIFFERENCE_PERCENT_MAX: f64 = 40.0;

/// The comparison of the rehearsal with the run.
#[derive(Debug)]
pub(super) struct Agreement {
    /// CPU time of a request in the rehearsal.
    pub(super) cost: Duration,
    /// Replica-seconds of the run.
    pub(super) real: f64,
    /// Replica-seconds of the rehearsal.
    pub(super) rehearsed: f64,
    /// Share of samples in which the numbers of replicas differ by at most one, in per cent.
    pub(super) near_percent: f64,
    /// The ready replicas of the rehearsal: time in seconds, number.
    pub(super) ready: Vec<(f64, f64)>,
}

impl Agreement {
    /// The difference of the replica-seconds, in per cent of those of the run.
    pub(super) fn difference_percent(&self) -> f64 {
        (self.rehearsed - self.real).abs() / self.real * 100.0
    }
}

/// Rehearses the load and the kill of `run`, and compares the results.
pub(super) fn compare(stage: &Stage, folder: &Path, run: &Run) -> anyhow::Result<Agreement> {
    let trace = folder.join("sent.csv");
    std::fs::write(&trace, sent(run)).with_context(|| format!("could not write {}", trace.display()))?;
    let load = format!("shop={}", trace.display());
    let cost = cost_of_a_request(run).unwrap_or(COST_EXPECTED);
    let cost_argument = format!("{}us", cost.as_micros());
    let kill = run.killed.as_ref().map(|killed| format!("{}@{}ms", killed.name, killed.at.as_millis()));
    let mut arguments = vec!["rehearse", "-f", stage::EXAMPLE, "--load", &load, "--unit", "rate"];
    arguments.extend(["--cost", &cost_argument, "--start-up", START_UP]);
    arguments.extend(kill.iter().flat_map(|kill| ["--kill", kill]));
    let rehearsal: Rehearsal = stage.query(&arguments)?;
    let service = rehearsal.services.first().context("the rehearsal has no service")?;
    let points = |of: fn(&super::watch::RehearsedSample) -> u32| -> Vec<(f64, f64)> {
        service.samples.iter().map(|sample| (sample.at_seconds, f64::from(of(sample)))).collect()
    };
    let ready = points(|sample| sample.ready);
    Ok(agreement(cost, &run.samples, &points(|sample| sample.running), ready))
}

/// The measured CPU time of a request, with its share of probes. It depends on the machine, and a few per cent decide about one or two
/// replicas. `None` when nothing was measured or sent.
fn cost_of_a_request(run: &Run) -> Option<Duration> {
    let used: f64 = spans(&run.samples)
        .filter_map(|(sample, seconds)| {
            Some(f64::from(sample.status.usage.cpu_millicores?) / 1000.0 * seconds)
        })
        .sum();
    let cost = Duration::try_from_secs_f64(used / run.load.requests as f64).ok()?;
    (!cost.is_zero()).then_some(cost)
}

/// Each sample with its duration in seconds, until the next one.
fn spans(samples: &[Sample]) -> impl Iterator<Item = (&Sample, f64)> {
    let nexts = samples.iter().skip(1);
    samples.iter().zip(nexts).map(|(sample, next)| (sample, next.at.saturating_sub(sample.at).as_secs_f64()))
}

/// The load that was sent as a trace with a row for each second, up to the last sample.
fn sent(run: &Run) -> String {
    let seconds = run.samples.last().map_or(0, |sample| sample.at.as_secs()) + 1;
    let mut text = "timestamp,value\n".to_owned();
    for second in 0..seconds {
        let (begin, end) = (second as f64, (second + 1) as f64);
        let within = run.load.series.iter().map(|point| {
            let overlap = (point.at_seconds + point.seconds).min(end) - point.at_seconds.max(begin);
            point.sent as f64 * overlap.max(0.0) / point.seconds.max(f64::MIN_POSITIVE)
        });
        let _ = writeln!(text, "{second},{}", within.sum::<f64>());
    }
    text
}

fn agreement(
    cost: Duration,
    samples: &[Sample],
    rehearsed: &[(f64, f64)],
    ready: Vec<(f64, f64)>,
) -> Agreement {
    let rehearsed_at =
        |at: f64| rehearsed.iter().take_while(|(since, _)| *since <= at).last().map_or(0.0, |it| it.1);
    let (mut real, mut sum, mut near) = (0.0, 0.0, 0_usize);
    for (sample, seconds) in spans(samples) {
        let (running, running_rehearsed) =
            (f64::from(sample.status.replicas), rehearsed_at(sample.at.as_secs_f64()));
        real += running * seconds;
        sum += running_rehearsed * seconds;
        near += usize::from((running - running_rehearsed).abs() <= 1.0);
    }
    let count = samples.len().saturating_sub(1).max(1);
    Agreement { cost, real, rehearsed: sum, near_percent: near as f64 / count as f64 * 100.0, ready }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::watch::{LoadReport, Quantiles, ServiceStatus, Usage};

    fn sample(seconds: u64, replicas: u32) -> Sample {
        let usage = Usage { cpu_millicores: Some(replicas * 100) };
        let status = ServiceStatus { desired_replicas: replicas, replicas, ready_replicas: replicas, usage };
        Sample { at: Duration::from_secs(seconds), status }
    }

    const REAL: fn() -> [Sample; 4] = || [sample(0, 2), sample(1, 4), sample(2, 8), sample(3, 8)];

    #[test]
    fn agreement_is_measured_by_sums_and_by_moments() {
        let agreed = agreement(COST_EXPECTED, &REAL(), &[(0.0, 2.0), (0.9, 3.0), (2.5, 8.0)], Vec::new());

        assert_eq!((agreed.real, agreed.rehearsed), (14.0, 8.0));
        assert!((agreed.near_percent - 200.0 / 3.0).abs() < 1e-9, "the last sample differs by five");
        assert!((agreed.difference_percent() - 600.0 / 14.0).abs() < 1e-9);
    }

    #[test]
    fn the_cost_of_a_request_is_the_mean_over_all() {
        let load = |requests| LoadReport {
            requests,
            failed: 0,
            skipped: 0,
            duration_seconds: 3.0,
            achieved_rate: 0.0,
            latency_seconds: Quantiles { p50: None, p99: None },
            series: Vec::new(),
        };
        let cost = |requests| {
            let at_start = REAL()[0].status;
            let samples = REAL().to_vec();
            cost_of_a_request(&Run {
                at_start,
                samples,
                decisions: Vec::new(),
                killed: None,
                load: load(requests),
            })
        };

        assert_eq!(cost(700), Some(Duration::from_millis(2)), "1.4 s of CPU time");
        assert_eq!(cost(0), None);
    }
}
