//! Homeostat: one binary. Arguments are read by crate `cli`; the drivers are named in [`up`], once.

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

/// The C library's allocator puts its small freed pieces together now and then, all at once: milliseconds in a step of
/// the loop. This one does it piece by piece, and is faster on the proxy's small pieces (docs/decisions/0009).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Only the user who runs it may look into the data folder: logs and environments of replicas hold secrets.
const DATA_MODE: u32 = 0o700;

fn main() -> ExitCode {
    let colours = colours();
    cli::run(colours, &|asked| start(asked, colours, search_path()))
}

/// What `NO_COLOR` says; an empty one says nothing (no-color.org).
#[expect(clippy::disallowed_methods, reason = "this is where the environment is read, once")]
fn colours() -> Colours {
    let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if is_unwanted { Colours::Unwanted } else { Colours::Allowed }
}

/// Where replicas look for programs unless they say otherwise: where we do.
#[expect(clippy::disallowed_methods, reason = "this is where the environment is read, once")]
fn search_path() -> Option<String> {
    std::env::var_os("PATH").and_then(|path| path.into_string().ok())
}

/// Where the service manager listens that has started us (sd_notify(3)).
#[expect(clippy::disallowed_methods, reason = "this is where the environment is read, once")]
fn service_manager() -> ServiceManager {
    ServiceManager::at(std::env::var_os("NOTIFY_SOCKET"))
}

fn start(asked: cli::Up, colours: Colours, path: Option<String>) -> anyhow::Result<ExitCode> {
    log(asked.log, colours);
    create_data_folder(&asked.data)?;
    if !asked.listen.ip().is_loopback() {
        let address = asked.listen;
        tracing::warn!(%address, "everybody who reaches this address can run programs on this machine: the API asks nobody who they are");
    }
    let cpu = match asked.cpu {
        Cpu::Share => CpuPolicy::Share,
        Cpu::Quota => CpuPolicy::Quota,
    };
    let (manifests, data, listen, zone) = (asked.manifests, asked.data, asked.listen, asked.zone);
    let (history, settings, take_over) = (asked.history, asked.settings, asked.take_over);
    let manager = service_manager();
    up::up(up::Up { manifests, data, path, listen, zone, cpu, history, settings, take_over, manager })
}

/// One line for each event, on standard error.
fn log(level: LogLevel, colours: Colours) {
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
        // A log that nobody can read any more is no reason to die.
        .log_internal_errors(false)
        .with_writer(io::stderr)
        .init();
}

fn create_data_folder(data: &Path) -> anyhow::Result<()> {
    let created = DirBuilder::new().recursive(true).mode(DATA_MODE).create(data);
    created.with_context(|| {
        format!("could not create the data folder {}; name another with --data", data.display())
    })
}
