//! wrk, the closed-loop client of these benches: how it is run, and its report.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use serde::Deserialize;

use super::client::ClientReport;
use crate::instance;

pub(super) const WRK: &str = "/usr/bin/wrk";

/// The threads of wrk, which share the connections.
const THREADS: u32 = 2;

/// What to request, and how.
#[derive(Clone, Debug)]
pub(super) struct WrkOptions {
    /// The URL, with the scheme.
    pub(super) url: String,
    /// The connections at a time.
    pub(super) connections: u32,
    /// Whether each request uses a connection of its own.
    pub(super) is_closing: bool,
    /// The duration.
    pub(super) span: Duration,
}

/// The report that [`SCRIPT`] prints.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Printed {
    requests: u64,
    duration_micros: f64,
    p50_micros: f64,
    p99_micros: f64,
    failed: u64,
}

impl From<Printed> for ClientReport {
    fn from(printed: Printed) -> Self {
        Self {
            requests: printed.requests,
            per_second: printed.requests as f64 / (printed.duration_micros / 1e6),
            p50: printed.p50_micros / 1e6,
            p99: printed.p99_micros / 1e6,
            failed: printed.failed,
        }
    }
}

/// Makes wrk end with its report as a line of JSON.
const SCRIPT: &str = r#"
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '{"requests":%d,"durationMicros":%d,"p50Micros":%d,"p99Micros":%d,"failed":%d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
"#;

/// A wrk that runs. Ended when dropped.
#[derive(Debug)]
pub(super) struct Running(Child);

/// Starts it; the script is written to `folder`.
pub(super) fn begin(folder: &Path, options: &WrkOptions) -> anyhow::Result<Running> {
    let script = folder.join("report.lua");
    std::fs::write(&script, SCRIPT).context("could not write the script of wrk")?;
    let mut call = instance::in_own_session(WRK);
    call.arg(format!("-t{THREADS}")).arg(format!("-c{}", options.connections));
    call.arg("-d").arg(format!("{}s", options.span.as_secs())).arg("-s").arg(script);
    if options.is_closing {
        call.args(["-H", "Connection: close"]);
    }
    call.arg(&options.url).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    Ok(Running(call.spawn().context("could not start wrk")?))
}

/// Runs it, and waits for the end.
pub(super) fn run(folder: &Path, options: &WrkOptions) -> anyhow::Result<ClientReport> {
    begin(folder, options)?.end()
}

impl Running {
    /// Whether it has exited.
    pub(super) fn is_over(&mut self) -> anyhow::Result<bool> {
        Ok(self.0.try_wait().context("could not get the state of wrk")?.is_some())
    }

    /// Waits for its end and reads its report.
    pub(super) fn end(mut self) -> anyhow::Result<ClientReport> {
        let mut text = String::new();
        let output = self.0.stdout.as_mut().context("wrk has no output")?;
        output.read_to_string(&mut text).context("could not read the output of wrk")?;
        self.0.wait().context("could not wait for wrk")?;
        let line = text.lines().rev().find(|line| line.starts_with('{'));
        let line = line.with_context(|| format!("wrk printed no report; its output: {}", text.trim()))?;
        let printed: Printed = serde_json::from_str(line).context("could not parse the report of wrk")?;
        ensure!(printed.requests > 0, "none of the requests of wrk was answered");
        Ok(printed.into())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
