//! Events are read back after a restart, even if the end of the file is torn.

use std::collections::VecDeque;
use std::fs;
use std::sync::Arc;

use journal::{EVENTS_MAX, EventFile, EventId, EventRecord, OpenedEvents};
use model::identity::{Epoch, Ordinal};
use model::name::ServiceName;
use model::time::Wall;

fn event(number: u64) -> Arc<EventRecord> {
    Arc::new(EventRecord {
        id: EventId { epoch: Epoch(2), number },
        at: Wall::from_millis(1_000 + number),
        service: ServiceName::parse("shop").unwrap(),
        replica: (number.is_multiple_of(2)).then_some(Ordinal(3)),
        kind: "Scaled".to_owned(),
        is_warning: number.is_multiple_of(3),
        message: format!("because of {number}"),
    })
}

fn events(numbers: std::ops::Range<u64>) -> VecDeque<Arc<EventRecord>> {
    numbers.map(event).collect()
}

#[test]
fn appended_events_are_read_by_the_next_run_and_more_can_be_appended() {
    let folder = tempfile::tempdir().unwrap();
    let OpenedEvents { mut file, events: none, .. } = EventFile::open(folder.path()).unwrap();
    assert_eq!(none.len(), 0);
    file.append(&events(0..3), 3).unwrap();
    file.append(&events(0..5), 2).unwrap();

    let OpenedEvents { mut file, events: read, .. } = EventFile::open(folder.path()).unwrap();
    assert_eq!(read, events(0..5));
    file.append(&events(0..6), 1).unwrap();
    assert_eq!(EventFile::open(folder.path()).unwrap().events, events(0..6));
}

#[test]
fn a_torn_file_keeps_its_complete_events_and_can_be_appended_to() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events");
    EventFile::open(folder.path()).unwrap().file.append(&events(0..3), 3).unwrap();
    let whole = fs::read(&path).unwrap();
    for len in 0..whole.len() {
        fs::write(&path, &whole[..len]).unwrap();
        let OpenedEvents { mut file, events: mut read, damage } = EventFile::open(folder.path()).unwrap();
        assert!(damage.is_none(), "{damage:?} of {len} bytes");
        let kept = read.len() as u64;
        assert_eq!(read, events(0..kept), "of {len} bytes");
        read.push_back(event(9));
        file.append(&read, 1).unwrap();
        assert_eq!(EventFile::open(folder.path()).unwrap().events, read, "of {len} bytes and one more event");
    }
}

#[test]
fn a_file_damaged_anywhere_is_kept_under_another_name_and_events_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let (path, kept) = (folder.path().join("events"), folder.path().join("events.damaged"));
    EventFile::open(folder.path()).unwrap().file.append(&events(0..3), 3).unwrap();
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x80;
        fs::write(&path, &damaged).unwrap();
        let OpenedEvents { mut file, events: mut read, damage } = EventFile::open(folder.path()).unwrap();
        match damage {
            Some(_) => assert_eq!(fs::read(&kept).unwrap(), damaged, "byte {at}"),
            // It may be what a crash has left of the record that was written last.
            None => assert_eq!(read, events(0..2), "byte {at}"),
        }
        let mut intact = events(0..3);
        intact.retain(|event| read.contains(event));
        assert_eq!(read, intact, "byte {at}");
        assert!(read.len() >= 2, "only the damaged record is lost, byte {at}");
        read.push_back(event(9));
        file.append(&read, 1).unwrap();
        assert_eq!(EventFile::open(folder.path()).unwrap().events, read, "byte {at}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_kept_under_another_name_and_events_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events");
    fs::create_dir(&path).unwrap();
    let OpenedEvents { mut file, damage, .. } = EventFile::open(folder.path()).unwrap();
    let damage = damage.expect("it is a folder");
    assert!(damage.kept.ends_with("events.damaged") && damage.kept.is_dir(), "{damage}");
    file.append(&events(0..2), 2).unwrap();
    assert_eq!(EventFile::open(folder.path()).unwrap().events, events(0..2));
}

#[test]
fn the_file_is_bounded_and_keeps_the_latest_events() {
    let folder = tempfile::tempdir().unwrap();
    let OpenedEvents { mut file, events: mut recent, .. } = EventFile::open(folder.path()).unwrap();
    let batch = EVENTS_MAX as u64 / 4;
    let mut longest = 0;
    for begin in (0..12).map(|turn| turn * batch) {
        recent.extend(events(begin..begin + batch));
        let excess = recent.len().saturating_sub(EVENTS_MAX);
        recent.drain(..excess);
        file.append(&recent, batch as usize).unwrap();
        longest = longest.max(fs::metadata(folder.path().join("events")).unwrap().len());
        assert_eq!(EventFile::open(folder.path()).unwrap().events, recent);
    }
    assert!(longest < 2 * EVENTS_MAX as u64 * 64, "{longest} bytes");
}

#[test]
fn a_file_of_a_newer_format_is_refused_and_not_modified() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events");
    fs::write(&path, b"HSEVNT02 whatever").unwrap();
    let error = EventFile::open(folder.path()).unwrap_err();
    assert!(error.to_string().contains("newer homeostat"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"HSEVNT02 whatever");
}
