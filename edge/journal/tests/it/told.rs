//! What people were told is there again, whatever became of the file's end.

use std::collections::VecDeque;
use std::fs;
use std::sync::Arc;

use journal::{EVENTS_MAX, EventId, Told, ToldError, ToldFile};
use model::identity::{Epoch, Ordinal};
use model::name::ServiceName;
use model::time::Wall;

fn told(number: u64) -> Arc<Told> {
    Arc::new(Told {
        id: EventId { epoch: Epoch(2), number },
        at: Wall::from_millis(1_000 + number),
        service: ServiceName::parse("shop").unwrap(),
        replica: (number.is_multiple_of(2)).then_some(Ordinal(3)),
        kind: "Scaled".to_owned(),
        is_warning: number.is_multiple_of(3),
        message: format!("because of {number}"),
    })
}

fn all(numbers: std::ops::Range<u64>) -> VecDeque<Arc<Told>> {
    numbers.map(told).collect()
}

#[test]
fn what_was_kept_is_read_back_by_the_next_run_which_adds_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let (mut file, none) = ToldFile::open(folder.path()).unwrap();
    assert_eq!(none.len(), 0);
    file.keep(&all(0..3), 3).unwrap();
    file.keep(&all(0..5), 2).unwrap();

    let (mut file, read) = ToldFile::open(folder.path()).unwrap();
    assert_eq!(read, all(0..5));
    file.keep(&all(0..6), 1).unwrap();
    assert_eq!(ToldFile::open(folder.path()).unwrap().1, all(0..6));
}

#[test]
fn a_file_that_ends_anywhere_gives_what_is_whole_and_takes_more() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events");
    ToldFile::open(folder.path()).unwrap().0.keep(&all(0..3), 3).unwrap();
    let whole = fs::read(&path).unwrap();
    for len in 0..whole.len() {
        fs::write(&path, &whole[..len]).unwrap();
        let (mut file, mut read) = ToldFile::open(folder.path()).unwrap();
        let kept = read.len() as u64;
        assert_eq!(read, all(0..kept), "of {len} bytes");
        read.push_back(told(9));
        file.keep(&read, 1).unwrap();
        assert_eq!(ToldFile::open(folder.path()).unwrap().1, read, "of {len} bytes and one more event");
    }
}

#[test]
fn the_file_is_bounded_and_has_the_latest() {
    let folder = tempfile::tempdir().unwrap();
    let (mut file, mut recent) = ToldFile::open(folder.path()).unwrap();
    let batch = EVENTS_MAX as u64 / 4;
    let mut longest = 0;
    for begin in (0..12).map(|turn| turn * batch) {
        recent.extend(all(begin..begin + batch));
        let excess = recent.len().saturating_sub(EVENTS_MAX);
        recent.drain(..excess);
        file.keep(&recent, batch as usize).unwrap();
        longest = longest.max(fs::metadata(folder.path().join("events")).unwrap().len());
        assert_eq!(ToldFile::open(folder.path()).unwrap().1, recent);
    }
    assert!(longest < 2 * EVENTS_MAX as u64 * 64, "{longest} bytes");
}

#[test]
fn events_of_a_newer_form_are_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events");
    fs::write(&path, b"HSEVNT02 whatever").unwrap();
    let error = ToldFile::open(folder.path()).unwrap_err();
    assert!(matches!(error, ToldError::Version { .. }), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"HSEVNT02 whatever");
}
