//! Real traces, when they are there: `HOMEOSTAT_DATA` names the folder that has `traces/*.csv`.

use std::io::Write as _;
use std::path::PathBuf;

use load::rate::{Factor, Rate};
use load::replay::{Replay, Scale};
use load::schedule::Arrivals;
use load::trace::Trace;

/// Returns the folder of the real traces, or says that they were left out.
#[expect(clippy::disallowed_methods, reason = "a test has no command line to be told by")]
fn real_traces() -> Option<PathBuf> {
    let beside_the_workspace = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data");
    let data =
        std::env::var_os("HOMEOSTAT_DATA").map_or_else(|| PathBuf::from(beside_the_workspace), PathBuf::from);
    let traces = data.join("traces");
    if traces.is_dir() {
        return Some(traces);
    }
    // Not by eprintln!, which the test harness keeps to itself when a test passes.
    let said = writeln!(
        std::io::stderr(),
        "load: LEFT OUT: no real traces in {}; set HOMEOSTAT_DATA to the folder that has them",
        traces.display()
    );
    said.expect("standard error takes a line");
    None
}

#[test]
fn every_real_trace_can_be_replayed_up_to_a_peak() {
    let Some(folder) = real_traces() else { return };
    let peak = Rate::per_second(250.0).unwrap();
    let mut read = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "csv") {
            continue;
        }
        let trace = Trace::open(&path).unwrap();
        let replay =
            Replay { speed: Factor::new(10_000.0).unwrap(), scale: Scale::PeakAt(peak), ..Replay::default() };
        let profile = replay.profile_of(&trace).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!((profile.peak().get() - 250.0).abs() < 1e-6, "{}", path.display());
        let sent = profile.schedule(Arrivals::Even).count() as f64;
        assert!((sent - profile.requests()).abs() <= 0.5 + 1e-3, "{}", path.display());
        read += 1;
    }
    assert!(read > 0, "the folder of traces has no CSV");
}

#[test]
fn the_world_cup_is_read_as_it_was_recorded() {
    let Some(folder) = real_traces() else { return };
    let trace = Trace::open(&folder.join("wc98_group.csv")).unwrap();
    assert_eq!(trace.rows().len(), 36_000);
    assert_eq!(trace.interval().unwrap().as_secs(), 60);
    let profile = Replay::default().profile_of(&trace).unwrap();
    assert_eq!(profile.duration().as_secs(), 25 * 24 * 3600);
    // 153,878 requests in its busiest minute.
    assert!((profile.peak().get() - 153_878.0 / 60.0).abs() < 1e-6);
}
