//! The binary `homeostat`. Crate `cli` parses the command line; [`up`] is the only place that names the drivers.

mod log;
mod up;

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use cli::{Colours, Cpu, LogLevel};
use platform_process::CpuPolicy;
use succession::ServiceManager;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use log::Log;
use up::start_error;

/// The C library's allocator now and then merges all small freed blocks at once, which takes milliseconds within a step of the loop.
/// mimalloc merges them one by one, and is faster for the proxy's small allocations (docs/decisions/0009).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Only the user who runs homeostat may read the data folder: logs and environments of replicas hold secrets.
const DATA_MODE: u32 = 0o700;

fn main() -> ExitCode {
    let colours = colours();
    cli::run(colours, &|up| start(up, colours, search_path()))
}

/// Whether `NO_COLOR` forbids colours; an empty value does not (no-color.org).
#[expect(clippy::disallowed_methods, reason = "this is where the environment is read, once")]
fn colours() -> Colours {
    let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if is_unwanted { Colours::Unwanted } else { Colours::Allowed }
}

/// The default `$PATH` of replicas: that of this process.
#[expect(clippy::disallowed_methods, reason = "this is where the environment is read, once")]
fn search_path() -> Option<String> {
    std::env::var_os("PATH").and_then(|path| path.into_string().ok())
}

/// The socket of the service manager that started this process (sd_notify(3)).
#[expect(clippy::disallowed_methods, reason = "this is where the environment is read, once")]
fn service_manager() -> ServiceManager {
    ServiceManager::at(std::env::var_os("NOTIFY_SOCKET"))
}

fn start(up: cli::Up, colours: Colours, path: Option<String>) -> anyhow::Result<ExitCode> {
    let log = start_log(up.log, colours)?;
    let result = run(up, path);
    log.finish();
    result
}

fn run(up: cli::Up, path: Option<String>) -> anyhow::Result<ExitCode> {
    create_data_folder(&up.data)?;
    if !up.listen.ip().is_loopback() {
        let risk = "anyone who can reach this address can run programs on this machine: the API has no authentication";
        tracing::warn!(address = %up.listen, risk, "api_not_on_loopback");
    }
    let cpu = match up.cpu {
        Cpu::Share => CpuPolicy::Share,
        Cpu::Quota => CpuPolicy::Quota,
    };
    let (manifests, data, listen, zone) = (up.manifests, up.data, up.listen, up.zone);
    let (history, settings, take_over) = (up.history, up.settings, up.take_over);
    let manager = service_manager();
    up::run(up::Options { manifests, data, path, listen, zone, cpu, history, settings, take_over, manager })
}

/// Logs one line per event, to standard error.
fn start_log(level: LogLevel, colours: Colours) -> anyhow::Result<Log> {
    let log = Log::start(io::stderr()).context("could not create the thread of the log")?;
    let writer = log.clone();
    let level = match level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    tracing_subscriber::fmt()
        .compact()
        .with_target(false)
        .with_max_level(level)
        .with_ansi(colours.on_stderr())
        // A closed standard error is no reason to exit.
        .log_internal_errors(false)
        .with_writer(move || writer.clone())
        .finish()
        .with(log_filter(level))
        .init();
    Ok(log)
}

/// What is logged. The HTTP libraries warn of what clients send, once for each connection and without naming it; the proxy counts that.
fn log_filter(level: LevelFilter) -> Targets {
    let of_libraries = if level > LevelFilter::INFO { level } else { level.min(LevelFilter::ERROR) };
    Targets::new().with_default(level).with_target("h2", of_libraries).with_target("hyper", of_libraries)
}

fn create_data_folder(data: &Path) -> anyhow::Result<()> {
    let created = DirBuilder::new().recursive(true).mode(DATA_MODE).create(data);
    created.map_err(|error| {
        let code = start_error::of_data_folder(&error);
        let attempted =
            format!("could not create the data folder {}; name another with --data", data.display());
        code.explain(anyhow::Error::from(error).context(attempted))
    })
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn clients_cannot_fill_the_log_with_warnings_of_the_http_libraries() {
        for (level, is_logged) in
            [(LevelFilter::WARN, false), (LevelFilter::INFO, false), (LevelFilter::DEBUG, true)]
        {
            let filter = log_filter(level);
            assert_eq!(filter.would_enable("h2::proto::streams::recv", &Level::WARN), is_logged, "{level}");
            assert!(filter.would_enable("h2::server", &Level::ERROR), "{level}");
            assert!(filter.would_enable("proxy", &Level::WARN), "{level}");
        }
        assert!(!log_filter(LevelFilter::OFF).would_enable("h2::server", &Level::ERROR));
    }
}
