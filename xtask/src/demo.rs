//! `cargo xtask demo`: Homeostat scales and heals real processes under real HTTP load.
//!
//! Homeostat runs the shop of examples/flash-sale; the load rises; the shop scales out; one replica is killed with
//! -9; the load falls; the shop scales in. The result is printed in numbers, and the run fails if a request failed, the
//! shop did not scale, or the killed replica was not replaced.
//!
//! The demo uses only the command line of Homeostat, as a script of a user would.

mod leftovers;
mod plot;
mod rehearsal;
mod sales;
mod scenario;
mod stage;
mod summary;
mod trace;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context;

use crate::cargo::{self, Profile};
use stage::Stage;

#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Options {
    /// A shorter run, for CI.
    #[arg(long)]
    short: bool,
    /// Replay the peak of a recorded load (CSV `timestamp,value`) instead of the flash sale.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Repeat a sale every half minute instead, with a shop that is scaled by its SLO alone: later sales are anticipated. Takes five minutes
    #[arg(long, conflicts_with_all = ["short", "trace"])]
    sales: bool,
    /// Number of rows of the trace, around its peak [default: 720, or 360 with --short].
    #[arg(long, value_name = "ROWS", requires = "trace")]
    rows: Option<usize>,
    /// Speed of the replay as a multiple of recorded time [default: 480].
    #[arg(long, value_name = "FACTOR", requires = "trace")]
    speed: Option<f64>,
    /// Factor of the recorded load [default: 0.1].
    #[arg(long, value_name = "FACTOR", requires = "trace")]
    scale: Option<f64>,
    /// Data folder of Homeostat, which is kept [default: a temporary folder].
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
}

impl Options {
    /// The run of CI.
    pub(crate) fn short() -> Self {
        Self { short: true, ..Self::default() }
    }

    /// The run of CI with recorded load.
    pub(crate) fn short_trace(trace: PathBuf) -> Self {
        Self { short: true, trace: Some(trace), ..Self::default() }
    }

    /// The arguments of `homeostat load` besides the address; its input files are written to `folder`.
    fn load_arguments(&self, folder: &Path) -> anyhow::Result<Vec<String>> {
        let Some(trace) = &self.trace else {
            let shape = if self.short { &SHORT_SALE } else { &SALE };
            let arguments = ["--profile", "flash-sale"].iter().chain(shape.iter().flatten());
            return Ok(arguments.map(|argument| (*argument).to_owned()).collect());
        };
        let rows = self.rows.unwrap_or(if self.short { TRACE_ROWS / 2 } else { TRACE_ROWS });
        let peak = trace::around_its_peak(trace, rows, folder)?;
        let (speed, scale) = (self.speed.unwrap_or(TRACE_SPEED), self.scale.unwrap_or(TRACE_SCALE));
        let options = [
            ("--trace", peak.display().to_string()),
            ("--speed", speed.to_string()),
            ("--scale", scale.to_string()),
        ];
        Ok(options.into_iter().flat_map(|(key, value)| [key.to_owned(), value]).collect())
    }
}

/// The flash sale: requests a second, and the duration of each part.
///
/// 20 a second is well within two replicas of the shop. 250 is more than four replicas can serve and less than two
/// cores can, with the proxy and the load generator; examples/flash-sale/README.md has the calculation.
const SALE: [[&str; 2]; 7] = [
    ["--base", "20"],
    ["--peak", "250"],
    ["--lead", "10s"],
    ["--rise", "10s"],
    ["--hold", "40s"],
    ["--fall", "5s"],
    ["--tail", "15s"],
];

/// The same sale in half the time.
const SHORT_SALE: [[&str; 2]; 7] = [
    ["--base", "20"],
    ["--peak", "250"],
    ["--lead", "4s"],
    ["--rise", "8s"],
    ["--hold", "20s"],
    ["--fall", "3s"],
    ["--tail", "5s"],
];

/// Replayed rows of a trace: half a day if they are minutes.
const TRACE_ROWS: usize = 720;

/// Speed of the replay of a trace.
///
/// 480: half a day in 90 s, so that a load that doubles in half an hour doubles in four seconds.
const TRACE_SPEED: f64 = 480.0;

/// Factor of the load of a trace.
///
/// 0.1: scales the peak of the World Cup of 1998, 2,565 requests a second, to that of [`SALE`].
const TRACE_SCALE: f64 = 0.1;

/// Builds, runs the demo, and prints the result.
///
/// Fails when Homeostat did not scale or heal the shop. In any case every started process is stopped and the temporary
/// folder removed.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let is_interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // The first signal only sets the flag, so that the demo can clean up; a second one ends it at once.
        signal_hook::flag::register_conditional_default(signal, Arc::clone(&is_interrupted))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&is_interrupted)))
            .context("could not listen for Ctrl-C")?;
    }
    let root = cargo::root();
    println!("building homeostat and the shop in release");
    cargo::build_optimized(&root, Profile::Release, &["homeostat", "shop"])?;
    let folder = tempfile::tempdir().context("could not create a temporary folder")?;
    let stage =
        |example| Stage::start(&root, example, folder.path(), options.data.as_deref(), is_interrupted);
    if options.sales {
        return run_sales(stage(sales::EXAMPLE)?);
    }
    let arguments = options.load_arguments(folder.path())?;
    let mut stage = stage(stage::EXAMPLE)?;
    let result = scenario::run(&mut stage, &arguments, scenario::Fault::KillOne).and_then(|run| {
        let agreement = rehearsal::compare(&stage, folder.path(), &run)?;
        Ok((run, agreement))
    });
    let ended = stage.stop();
    let (run, agreement) = result?;
    summary::print(&run, &agreement);
    ended?;
    summary::verdict(&run, &agreement)
}

/// Runs the demo with repeated sales.
fn run_sales(mut stage: Stage) -> anyhow::Result<()> {
    let result = scenario::run(&mut stage, &sales::load_arguments(), scenario::Fault::None);
    let ended = stage.stop();
    let run = result?;
    summary::print_load(&run);
    sales::print(&run);
    ended?;
    sales::verdict(&run)
}
