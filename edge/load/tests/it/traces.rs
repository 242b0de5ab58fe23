//! Real traces, when they are there: `HOMEOSTAT_DATA` names the folder that has `traces/*.csv`.

use conformance::data;
use load::rate::{Factor, Rate};
use load::replay::{Replay, Scale};
use load::schedule::Arrivals;
use load::trace::Trace;

#[test]
fn every_real_trace_can_be_replayed_up_to_a_peak() {
    let Some(folder) = data::find("load", "traces") else { return };
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
    let Some(folder) = data::find("load", "traces") else { return };
    let trace = Trace::open(&folder.join("wc98_group.csv")).unwrap();
    assert_eq!(trace.rows().len(), 36_000);
    assert_eq!(trace.interval().unwrap().as_secs(), 60);
    let profile = Replay::default().profile_of(&trace).unwrap();
    assert_eq!(profile.duration().as_secs(), 25 * 24 * 3600);
    // 153,878 requests in its busiest minute.
    assert!((profile.peak().get() - 153_878.0 / 60.0).abs() < 1e-6);
}
