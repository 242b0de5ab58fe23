//! The same run in simulated time: the load that was really sent, the replica that was really killed, and what the loop makes of both on a
//! simulated machine. So far as the two agree, what `homeostat rehearse` says beforehand can be believed.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;

use super::stage::{self, Stage};
use super::story::{Run, Sample};
use super::watch::Rehearsal;

/// What a page of the example should cost: `--work` of examples/flash-sale/service.yaml, with the sockets.
pub(super) const COST_EXPECTED: Duration = Duration::from_micros(2650);

/// How long a replica takes until it answers: `--startup` of the same, with the first probe.
const START_UP: &str = "300ms";

/// How far the rehearsal and what really happened may be apart in replica-seconds before that is a fault.
///
/// 40 %: a few per cent of measured processor time decide between eight and ten replicas of the example, which is a quarter; what is beyond that was
/// simulated wrongly. docs/rehearse.md has what was seen.
pub(super) const APART_PERCENT_MAX: f64 = 40.0;

/// How far what was rehearsed and what happened are apart.
#[derive(Debug)]
pub(super) struct Agreement {
    /// Processor time of a request that was rehearsed with.
    pub(super) cost: Duration,
    /// Replicas times how long they ran, in seconds.
    pub(super) real: f64,
    /// The same in the rehearsal.
    pub(super) rehearsed: f64,
    /// Of the moments that were looked at, those in which the numbers of replicas differ by one at most, in per cent.
    pub(super) near_percent: f64,
    /// The ready replicas of the rehearsal, over seconds.
    pub(super) ready: Vec<(f64, f64)>,
}

impl Agreement {
    /// How far apart the replica-seconds are, in per cent of the real ones.
    pub(super) fn apart_percent(&self) -> f64 {
        (self.rehearsed - self.real).abs() / self.real * 100.0
    }
}

/// Rehearses what happened in `run`, and compares.
pub(super) fn compare(stage: &Stage, folder: &Path, run: &Run) -> anyhow::Result<Agreement> {
    let trace = folder.join("sent.csv");
    std::fs::write(&trace, sent(run)).with_context(|| format!("could not write {}", trace.display()))?;
    let load = format!("shop={}", trace.display());
    let cost = cost_of_a_request(run).unwrap_or(COST_EXPECTED);
    let cost_word = format!("{}us", cost.as_micros());
    let kill = run.killed.as_ref().map(|killed| format!("{}@{}ms", killed.name, killed.at.as_millis()));
    let mut arguments = vec!["rehearse", "-f", stage::EXAMPLE, "--load", &load, "--unit", "rate"];
    arguments.extend(["--cost", &cost_word, "--start-up", START_UP]);
    arguments.extend(kill.iter().flat_map(|kill| ["--kill", kill]));
    let rehearsal: Rehearsal = stage.ask(&arguments)?;
    let service = rehearsal.services.first().context("homeostat rehearse tells of no service")?;
    let points = |of: fn(&super::watch::RehearsedSample) -> u32| -> Vec<(f64, f64)> {
        service.samples.iter().map(|sample| (sample.at_seconds, f64::from(of(sample)))).collect()
    };
    let ready = points(|sample| sample.ready);
    Ok(agreement(cost, &run.samples, &points(|sample| sample.running), ready))
}

/// The processor time that a request really took, with its share of probes: a few per cent more or less decide over a replica or two, and depend
/// on the machine. `None` when nothing was measured or sent.
fn cost_of_a_request(run: &Run) -> Option<Duration> {
    let used: f64 = spans(&run.samples)
        .filter_map(|(sample, seconds)| {
            Some(f64::from(sample.status.usage.cpu_millicores?) / 1000.0 * seconds)
        })
        .sum();
    let cost = Duration::try_from_secs_f64(used / run.load.requests as f64).ok()?;
    (!cost.is_zero()).then_some(cost)
}

/// Each look, and for how long it stands: until the next.
fn spans(samples: &[Sample]) -> impl Iterator<Item = (&Sample, f64)> {
    let nexts = samples.iter().skip(1);
    samples.iter().zip(nexts).map(|(sample, next)| (sample, next.at.saturating_sub(sample.at).as_secs_f64()))
}

/// What was really sent, a row a second, up to the last look.
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
    let then = |at: f64| rehearsed.iter().take_while(|(since, _)| *since <= at).last().map_or(0.0, |it| it.1);
    let (mut real, mut sum, mut near) = (0.0, 0.0, 0_usize);
    for (sample, seconds) in spans(samples) {
        let (was, would_be) = (f64::from(sample.status.replicas), then(sample.at.as_secs_f64()));
        real += was * seconds;
        sum += would_be * seconds;
        near += usize::from((was - would_be).abs() <= 1.0);
    }
    let moments = samples.len().saturating_sub(1).max(1);
    Agreement { cost, real, rehearsed: sum, near_percent: near as f64 / moments as f64 * 100.0, ready }
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
        assert!((agreed.near_percent - 200.0 / 3.0).abs() < 1e-9, "in the last moment they are five apart");
        assert!((agreed.apart_percent() - 600.0 / 14.0).abs() < 1e-9);
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

        assert_eq!(cost(700), Some(Duration::from_millis(2)), "1.4 s of processor");
        assert_eq!(cost(0), None);
    }
}
