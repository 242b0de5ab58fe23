//! `load`: sends HTTP load of any shape and reports the result.

mod shape;
mod show;

use std::num::NonZeroU16;
use std::process::ExitCode;

use anyhow::Context;
use bytes::Bytes;
use clap::Args;
use hyper::Method;
use load::schedule::Arrivals;
use load::{LoadPlan, Progress, Report, RequestTemplate, Target};
use model::resource::Span;
use os::Signals;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::context::CommandContext;
use crate::failure::Failure;
use crate::output::{Format, Output};
use shape::ShapeArguments;
use show::ProgressLine;

/// Send HTTP load of any shape, open loop, and measure latencies from when each request was due
///
/// If the service stalls, the latencies include the waiting time of every request that was due in that time. A request that falls due
/// while all connections are busy is not sent and counts as skipped. Ctrl-C ends the load early and reports the result.
#[derive(Clone, Debug, Args)]
pub(crate) struct Arguments {
    /// The URL, such as http://127.0.0.1:8080/path
    #[arg(value_parser = Target::parse)]
    url: Target,
    #[command(flatten)]
    shape: ShapeArguments,
    #[command(flatten)]
    request: RequestArguments,
    /// Send at random times (a Poisson process with this seed, like independent users) instead of evenly
    #[arg(long, value_name = "SEED")]
    poisson: Option<u64>,
    /// The number of connections, and so the maximum of requests in flight
    #[arg(long, value_name = "N", default_value_t = LoadPlan::CONNECTIONS_DEFAULT)]
    connections: NonZeroU16,
    /// How long to wait for a response
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    timeout: Span,
    /// Exit with 1 if a request failed or was not sent; by default, any load that ran is a success
    #[arg(long)]
    fail_on_error: bool,
    #[command(flatten)]
    output: Output,
}

/// The request to send.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "The request")]
struct RequestArguments {
    /// The method
    #[arg(long, default_value = "GET")]
    method: Method,
    /// A header, such as 'Accept: text/html'; may be given several times
    #[arg(long, value_name = "NAME: VALUE")]
    header: Vec<String>,
    /// The body
    #[arg(long, value_name = "TEXT")]
    body: Option<String>,
}

impl Arguments {
    fn plan(&self) -> Result<LoadPlan, Failure> {
        let profile = self.shape.profile()?;
        let mut template = RequestTemplate::get(self.url.path().clone());
        template.method = self.request.method.clone();
        template.body = Bytes::from(self.request.body.clone().unwrap_or_default());
        for header in &self.request.header {
            template.add_header(header).map_err(Failure::usage)?;
        }
        if self.timeout == Span::ZERO {
            return Err(Failure::usage("--timeout is zero, so every request would fail; give a longer one"));
        }
        let arrivals = self.poisson.map_or(Arrivals::Even, |seed| Arrivals::Poisson { seed });
        Ok(LoadPlan {
            requests: vec![template],
            arrivals,
            connections: self.connections,
            timeout: self.timeout.as_duration(),
            ..LoadPlan::new(self.url.clone(), profile)
        })
    }
}

pub(crate) async fn run(context: &CommandContext, arguments: Arguments) -> Result<ExitCode, Failure> {
    let plan = arguments.plan()?;
    let address = format!("{}:{}", arguments.url.host(), arguments.url.port());
    os::raise_open_files();
    let report = run_shown(plan).await?;
    match arguments.output.output {
        Format::Table => context.printer.text(&show::summary(context.printer, &report))?,
        Format::Json => context.printer.json(&report)?,
        Format::Yaml => context.printer.yaml(&report)?,
    }
    if report.skipped > 0 {
        show::warn_of_skipped(context.colours, &report);
    }
    if report.requests > 0 && report.statuses.is_empty() {
        return Err(Failure::failed(format!(
            "none of the {} requests to {address} was answered; check the address, and whether something listens there",
            report.requests
        )));
    }
    let has_failed = report.failed + report.skipped > 0;
    Ok(if arguments.fail_on_error && has_failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Runs the load and shows its progress. A signal ends it early; a second one does not wait for responses.
async fn run_shown(plan: LoadPlan) -> Result<Report, Failure> {
    let mut signals = Signals::listen()?;
    let gauge = ProgressLine::new(&plan);
    let stop = CancellationToken::new();
    let (progress, mut shown) = watch::channel(Progress::default());
    let mut run = std::pin::pin!(load::run(plan, stop.clone(), progress));
    loop {
        // All are cancel safe: the run is only polled, and signals and changes are not lost.
        tokio::select! {
            report = &mut run => {
                gauge.end();
                return Ok(report.context("could not run the load (HS0015)")?);
            }
            _ = signals.next() => {
                if stop.is_cancelled() {
                    gauge.end();
                    return Err(Failure::failed("the load was interrupted twice: its report is lost"));
                }
                stop.cancel();
            }
            Ok(()) = shown.changed() => gauge.show(&shown.borrow_and_update()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn plan(arguments: &str) -> Result<LoadPlan, String> {
        let line = ["load", "http://127.0.0.1:1/a"].into_iter().chain(arguments.split_whitespace());
        let line = Line::try_parse_from(line).map_err(|error| error.to_string())?;
        line.arguments.plan().map_err(|failure| format!("{failure:?}"))
    }

    #[test]
    fn the_arguments_of_the_demo_are_a_flash_sale() {
        let plan = plan(
            "--profile flash-sale --base 20 --peak 250 --lead 10s --rise 10s --hold 40s --fall 5s --tail 15s -o json",
        )
        .unwrap();
        assert_eq!(plan.profile.duration(), Duration::from_secs(80));
        assert_eq!(plan.profile.peak().get(), 250.0);
    }

    #[test]
    fn a_rate_for_a_time_is_the_simplest_load() {
        let plan = plan("--rate 50 --duration 30s").unwrap();
        assert_eq!((plan.profile.requests(), plan.requests[0].path.as_str()), (1500.0, "/a"));
    }

    #[test]
    fn steps_follow_each_other() {
        let plan = plan("--step 10:5s --step 20:1m").unwrap();
        assert_eq!(plan.profile.duration(), Duration::from_secs(65));
        assert_eq!(plan.profile.requests(), 1250.0);
    }

    #[test]
    fn a_trace_is_replayed_at_a_speed_and_a_scale() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("t.csv");
        std::fs::write(&file, "timestamp,value\n0,600\n60,1200\n120,1200\n180,600\n").unwrap();
        let trace = format!("--trace {}", file.display());
        let whole = plan(&format!("{trace} --speed 60 --scale 0.1 -o json")).unwrap().profile;
        assert_eq!((whole.duration(), whole.peak().get()), (Duration::from_secs(4), 2.0));
        let part = plan(&format!("{trace} --rows 1..3")).unwrap().profile;
        assert_eq!((part.duration(), part.rate_at(Duration::ZERO).get()), (Duration::from_secs(120), 20.0));
        let same = plan(&format!("{trace} --skip 1m --take 2m")).unwrap().profile;
        assert_eq!(part, same);
        assert_eq!(plan(&format!("{trace} --unit rate --peak-at 40")).unwrap().profile.peak().get(), 40.0);
    }

    #[test]
    fn contradictory_arguments_are_refused() {
        for wrong in [
            "",
            "--rate 5",
            "--rate 5 --duration 5s --step 1:1s",
            "--rate 5 --duration 0s",
            "--profile flash-sale --rate 5",
            "--speed 5 --rate 5 --duration 5s",
            "--trace /nonexistent.csv --scale 2 --peak-at 5",
            "--trace /nonexistent.csv",
            "--rate 5 --duration 5s --header nonsense",
            "--rate 5 --duration 5s --timeout 0s",
            "--step 5",
        ] {
            assert!(plan(wrong).is_err(), "{wrong:?}");
        }
    }
}
