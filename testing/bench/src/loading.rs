//! HTTP load from a separate thread.

use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, anyhow};
use load::profile::Profile;
use load::rate::Rate;
use load::{LoadPlan, Progress, Report, Target};
use tokio_util::sync::CancellationToken;

/// Load that is being sent.
#[derive(Debug)]
pub(crate) struct LoadRun {
    thread: JoinHandle<anyhow::Result<Report>>,
    stop: CancellationToken,
}

impl LoadRun {
    /// Starts to request `/` from `address` at a constant rate, for at most `longest`.
    pub(crate) fn begin(address: SocketAddr, per_second: f64, longest: Duration) -> anyhow::Result<Self> {
        let target = Target::parse(&format!("http://{address}/"))?;
        let plan = LoadPlan::new(target, Profile::constant(Rate::per_second(per_second)?, longest)?);
        let stop = CancellationToken::new();
        let until = stop.clone();
        let run = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let (progress, _receiver) = tokio::sync::watch::channel(Progress::default());
            Ok(runtime.block_on(load::run(plan, until, progress))?)
        };
        let thread = std::thread::Builder::new().name("loading".into()).spawn(run);
        Ok(Self { thread: thread.context("could not start a thread")?, stop })
    }

    /// Waits until all requests were sent and answered, and returns the report.
    pub(crate) fn finish(self) -> anyhow::Result<Report> {
        self.thread.join().map_err(|_| anyhow!("the load generator panicked"))?
    }

    /// Stops the load, waits for the outstanding answers, and returns the report.
    pub(crate) fn end(self) -> anyhow::Result<Report> {
        self.stop.cancel();
        self.finish()
    }
}
