//! h2load, the closed-loop client of HTTP/2 of these benches: how it is run, and its report.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};

use super::client::ClientReport;
use crate::instance;

pub(super) const H2LOAD: &str = "/usr/bin/h2load";

/// The threads of h2load, which share the connections.
const THREADS: u32 = 2;

/// What to request, and how.
#[derive(Clone, Debug)]
pub(super) struct H2loadOptions {
    /// The URL; with `https`, HTTP/2 is negotiated by ALPN.
    pub(super) url: String,
    /// The connections at a time.
    pub(super) connections: u32,
    /// The requests at a time on each connection.
    pub(super) streams: u32,
    /// The duration.
    pub(super) span: Duration,
}

/// Runs it, and waits for the end. Its log of requests is written to `folder`.
pub(super) fn run(folder: &Path, options: &H2loadOptions) -> anyhow::Result<ClientReport> {
    let log = folder.join("h2load.log");
    // It appends to a log that is there.
    if log.exists() {
        std::fs::remove_file(&log).with_context(|| format!("could not remove {}", log.display()))?;
    }
    let mut call = instance::in_own_session(H2LOAD);
    call.arg(format!("--threads={THREADS}")).arg(format!("--clients={}", options.connections));
    call.arg(format!("--max-concurrent-streams={}", options.streams));
    call.arg(format!("--duration={}", options.span.as_secs()));
    call.arg(format!("--log-file={}", log.display())).arg(&options.url);
    call.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let status = call.status().context("could not start h2load")?;
    ensure!(status.success(), "h2load failed: {status}");
    let text = std::fs::read_to_string(&log).with_context(|| format!("could not read {}", log.display()))?;
    report_of(&text, options.span)
}

/// The report of a run that lasted for `span`, from its log: a line for each request, with its start, its status and the microseconds
/// until the end of the answer, separated by tabs.
fn report_of(log: &str, span: Duration) -> anyhow::Result<ClientReport> {
    let mut latencies = Vec::new();
    let mut failed = 0;
    for line in log.lines() {
        let mut columns = line.split('\t').skip(1);
        let mut next = || -> anyhow::Result<i64> {
            let column = columns.next().with_context(|| format!("a column is missing in {line:?}"))?;
            column.parse().with_context(|| format!("{column:?} in {line:?} is no number"))
        };
        // Without an answer both are -1.
        let (status, micros) = (next()?, next()?);
        if (200..400).contains(&status) {
            latencies.push(micros as f64 / 1e6);
        } else {
            failed += 1;
        }
    }
    ensure!(!latencies.is_empty(), "none of the requests of h2load was answered");
    latencies.sort_by(f64::total_cmp);
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
    Ok(ClientReport {
        requests: latencies.len() as u64,
        per_second: latencies.len() as f64 / span.as_secs_f64(),
        p50: at(0.5),
        p99: at(0.99),
        failed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_summed_up_by_status_and_latency() {
        let log = "1701339600000001\t200\t1000\n1701339600000002\t200\t3000\n1701339600000003\t503\t9000\n1701339600000004\t-1\t-1\n";

        let report = report_of(log, Duration::from_secs(2)).expect("two were answered");
        assert_eq!((report.requests, report.failed), (2, 2));
        assert!((report.per_second - 1.0).abs() < 1e-9);
        assert!((report.p50 - 0.001).abs() < 1e-9);
    }

    #[test]
    fn a_log_without_answers_is_an_error() {
        assert!(report_of("1\t-1\t-1\n", Duration::from_secs(1)).is_err());
        assert!(report_of("1\tx\n", Duration::from_secs(1)).is_err());
    }
}
