//! Recordings as people bring them.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use study::{Extent, Reading, Recording, RecordingError, Source};

/// A file with this text, which lives as long as its folder.
pub(crate) fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = folder.path().join("load.csv");
    let mut file = std::fs::File::create(&path).expect("a file can be made");
    file.write_all(text.as_bytes()).expect("it can be written");
    (folder, path)
}

pub(crate) fn recording(path: &std::path::Path) -> Recording {
    Recording {
        name: "load.csv".to_owned(),
        source: Source::File(path.to_path_buf()),
        reading: Reading::Count,
        interval: None,
        scale: 1.0,
    }
}

fn read(recording: &Recording) -> Result<(Vec<f64>, Extent), RecordingError> {
    let mut loads = Vec::new();
    let extent = recording.each_tick(Duration::from_secs(15), None, &mut |load| loads.push(load))?;
    Ok((loads, extent))
}

fn refusal(text: &str) -> String {
    let (_folder, path) = file(text);
    let error = read(&recording(&path)).expect_err("it cannot be used");
    with_causes(&error)
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[test]
fn counts_become_rates_and_are_scaled() {
    let (_folder, path) = file("timestamp,value\n2024-05-01T12:00:00Z,60\n2024-05-01T12:01:00Z,120\n");
    let counts = recording(&path);
    assert_eq!(read(&counts).unwrap().0, [1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0]);
    let half = Recording { scale: 0.5, ..counts.clone() };
    assert_eq!(read(&half).unwrap().0[7], 1.0);
    let rates = Recording { reading: Reading::Rate, ..counts };
    let (loads, extent) = read(&rates).unwrap();
    assert_eq!(
        (loads[0], loads[7], extent.ticks, extent.begin.to_string().as_str()),
        (60.0, 120.0, 8, "2024-05-01T12:00:00Z")
    );
}

#[test]
fn an_invalid_row_is_named_by_its_line() {
    assert!(
        refusal("60,1\n120,1\n\n60,1\n")
            .contains("load.csv, line 4: 1970-01-01T00:01:00Z does not come after")
    );
    assert!(refusal("60,1\n120,1\n120,2\n").contains("line 3"), "twice the same time");
    assert!(refusal("60,1\n120,-1\n").contains("line 2: \"-1\" is not an amount of load"));
    assert!(refusal("60,1\n120,NaN\n").contains("line 2: \"NaN\" is not an amount of load"));
    assert!(refusal("60,1\n120,inf\n").contains("line 2"));
    let late = refusal("0,1\n60,1\n120,1\n99999999,1\n");
    assert!(late.contains("line 4: no row for 1157 days before it; cut the trace there"), "{late}");
    assert!(refusal("").contains("has no row") && refusal("timestamp,value\n").contains("has no row"));
    assert!(refusal("timestamp,value\n60,1\n").contains("a single row"), "{}", refusal("60,1\n"));
    assert!(refusal("0,1\n900000,1\n").contains("from 1ms to 24h"));
}

#[test]
fn a_single_row_is_enough_with_a_given_interval() {
    let (_folder, path) = file("60,300\n");
    let one = Recording { interval: Some(Duration::from_mins(5)), ..recording(&path) };
    assert_eq!(read(&one).unwrap().0, [1.0; 20]);
}

#[test]
fn a_gap_is_interpolated_and_counted() {
    let (_folder, path) = file("0,60\n60,60\n120,60\n300,240\n360,240\n");
    let (loads, extent) = read(&recording(&path)).unwrap();
    assert_eq!((extent.repairs.gaps, extent.repairs.filled), (1, 2));
    assert_eq!(
        loads.chunks(4).map(|minute| minute[0]).collect::<Vec<_>>(),
        [1.0, 1.0, 1.0, 2.0, 3.0, 4.0, 4.0]
    );
}

#[test]
fn a_missing_file_is_reported() {
    let missing = recording(std::path::Path::new("/nowhere/load.csv"));
    assert!(
        read(&missing)
            .expect_err("it is not there")
            .to_string()
            .contains("could not open the trace /nowhere/load.csv")
    );
}

#[test]
fn a_recording_to_be_held_in_memory_is_refused_where_it_becomes_too_long() {
    // 31 days without a row, of which each would be a second.
    let (_folder, path) = file("0,1\n1,1\n2,3\n\n2678000,1\n2678001,1\n");
    let recording = recording(&path);
    let refused = recording.loads(1000).expect_err("it has more intervals").to_string();
    assert!(refused.contains("load.csv, line 5: up to here there are more than 1000 intervals"), "{refused}");
    let (loads, extent) = recording.loads(2_678_002).expect("it has exactly as many");
    assert_eq!((loads.len(), extent.ticks, loads[2]), (2_678_002, 2_678_002, 3.0));
}
