//! `cargo xtask demo`: the main job on real processes under real HTTP load, as a story with a measured end.
//!
//! Homeostat runs the shop of examples/flash-sale; a load rises; the shop scales out; one replica is killed
//! with -9; the load falls; the shop scales in. At the end stands what happened in numbers, and the run fails
//! when a request failed, when the shop did not scale, or when the killed replica had no successor.
//!
//! It looks at Homeostat from outside only, through its command line: what a user's script could do.

mod leftovers;
mod plot;
mod rehearsal;
mod sales;
mod stage;
mod story;
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
    /// Sales that repeat themselves instead, of a shop that is sized by its promise alone: later ones are to be foreseen. Takes five minutes
    #[arg(long, conflicts_with_all = ["short", "trace"])]
    sales: bool,
    /// How many rows of the trace, around its highest [default: 720, or 360 with --short].
    #[arg(long, value_name = "ROWS", requires = "trace")]
    rows: Option<usize>,
    /// How much faster than recorded the trace runs [default: 480].
    #[arg(long, value_name = "FACTOR", requires = "trace")]
    speed: Option<f64>,
    /// What the recorded load is multiplied with [default: 0.1].
    #[arg(long, value_name = "FACTOR", requires = "trace")]
    scale: Option<f64>,
    /// Keep Homeostat's data here instead of in a folder that is deleted at the end.
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
}

impl Options {
    /// The run that CI does.
    pub(crate) fn short() -> Self {
        Self { short: true, ..Self::default() }
    }

    /// The run that CI does with recorded load.
    pub(crate) fn short_trace(trace: PathBuf) -> Self {
        Self { short: true, trace: Some(trace), ..Self::default() }
    }

    /// The arguments of `homeostat load` besides the address; the files that it reads are put into `folder`.
    fn load_arguments(&self, folder: &Path) -> anyhow::Result<Vec<String>> {
        let Some(trace) = &self.trace else {
            let shape = if self.short { &SHORT_SALE } else { &SALE };
            let words = ["--profile", "flash-sale"].iter().chain(shape.iter().flatten());
            return Ok(words.map(|word| (*word).to_owned()).collect());
        };
        let rows = self.rows.unwrap_or(if self.short { TRACE_ROWS / 2 } else { TRACE_ROWS });
        let peak = trace::around_its_peak(trace, rows, folder)?;
        let (speed, scale) = (self.speed.unwrap_or(TRACE_SPEED), self.scale.unwrap_or(TRACE_SCALE));
        let words = [
            ("--trace", peak.display().to_string()),
            ("--speed", speed.to_string()),
            ("--scale", scale.to_string()),
        ];
        Ok(words.into_iter().flat_map(|(key, value)| [key.to_owned(), value]).collect())
    }
}

/// The flash sale: requests a second, and how long each part takes.
///
/// 20 a second is well within two replicas of the shop, 250 is more than four carry and less than two cores
/// do, with room for the proxy and the load generator; examples/flash-sale/README.md has the arithmetic.
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

/// Rows of a trace that are replayed: half a day when they are minutes.
const TRACE_ROWS: usize = 720;

/// How much faster than recorded a trace runs.
///
/// 480: half a day in 90 s, so that a load that doubles in half an hour does so in four seconds.
const TRACE_SPEED: f64 = 480.0;

/// What the load of a trace is multiplied with.
///
/// 0.1: brings the peak of the World Cup of 1998, 2,565 requests a second, to that of [`SALE`].
const TRACE_SCALE: f64 = 0.1;

/// Builds, runs the demo, prints what happened.
///
/// Fails with a sentence when Homeostat did not do its main job; whatever the end, every process it started
/// is stopped and the temporary folder is gone.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let is_interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // The first is reported to us, so that we clean up; a second one ends us at once.
        signal_hook::flag::register_conditional_default(signal, Arc::clone(&is_interrupted))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&is_interrupted)))
            .context("could not listen for Ctrl-C")?;
    }
    let root = cargo::root();
    println!("building homeostat and the shop in release");
    cargo::build_optimized(&root, Profile::Release, &["homeostat", "shop"])?;
    let folder = tempfile::tempdir().context("could not create a temporary folder")?;
    let stage = |example| Stage::set(&root, example, folder.path(), options.data.as_deref(), is_interrupted);
    if options.sales {
        return foresee(stage(sales::EXAMPLE)?);
    }
    let arguments = options.load_arguments(folder.path())?;
    let mut stage = stage(stage::EXAMPLE)?;
    let result = story::tell(&mut stage, &arguments, story::Harm::KillOne).and_then(|run| {
        let agreement = rehearsal::compare(&stage, folder.path(), &run)?;
        Ok((run, agreement))
    });
    let ended = stage.clear();
    let (run, agreement) = result?;
    summary::print(&run, &agreement);
    ended?;
    summary::verdict(&run, &agreement)
}

/// Shows sales that repeat themselves.
fn foresee(mut stage: Stage) -> anyhow::Result<()> {
    let result = story::tell(&mut stage, &sales::load_arguments(), story::Harm::None);
    let ended = stage.clear();
    let run = result?;
    summary::print_load(&run);
    sales::print(&run);
    ended?;
    sales::verdict(&run)
}
