//! Logs as their readers see them.

use std::fs::OpenOptions;
use std::io::Write as _;

use model::identity::Ordinal;
use model::name::ServiceName;

use super::*;
use crate::log::rotate::rotate;
use crate::settings::LogLimits;

struct World {
    logs: tempfile::TempDir,
    replica: ReplicaId,
}

impl World {
    fn new() -> Self {
        let replica = ReplicaId { service: ServiceName::parse("shop").unwrap(), ordinal: Ordinal(0) };
        Self { logs: tempfile::tempdir().unwrap(), replica }
    }

    fn print(&self, text: &str) {
        crate::log::open_for_writing(self.logs.path(), &self.replica)
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
    }

    fn rotate(&self, current_bytes_max: u64, chunks_max: usize) {
        let folder = folder_of(self.logs.path(), &self.replica);
        rotate(&folder, &LogLimits { current_bytes_max, chunks_max }).unwrap();
    }

    fn read(&self, last_lines: usize) -> Box<dyn LogLines> {
        read(self.logs.path(), &self.replica, last_lines).unwrap()
    }
}

async fn present(lines: &mut dyn LogLines) -> Vec<String> {
    let mut texts = Vec::new();
    while let Some(line) = lines.next_present().await.unwrap() {
        texts.push(line.text);
    }
    texts
}

/// The lines that a follower gets without waiting.
fn available(lines: &mut dyn LogLines) -> Vec<String> {
    std::iter::from_fn(|| lines.next().now_or_never()).map(|line| line.unwrap().text).collect()
}

fn numbered(range: std::ops::Range<u32>) -> String {
    range.map(|number| format!("line {number}\n")).collect()
}

#[tokio::test]
async fn the_last_lines_are_given_across_numbered_files() {
    let world = World::new();
    for start in (0..100).step_by(10) {
        world.print(&numbered(start..start + 10));
        world.rotate(100, 100);
    }
    world.print("no end");
    assert!(chunks(&folder_of(world.logs.path(), &world.replica)).unwrap().len() > 2);
    for last in [1, 2, 11, 50, 101] {
        let texts = present(&mut *world.read(last)).await;
        assert_eq!(texts.len(), last);
        assert_eq!(texts.last().unwrap(), "no end");
        if last > 1 {
            assert_eq!(texts[0], format!("line {}", 101 - last));
        }
    }
    assert_eq!(present(&mut *world.read(1000)).await.len(), 101);
    assert!(present(&mut *world.read(0)).await.is_empty());
}

#[tokio::test]
async fn the_last_lines_are_given_when_they_fill_several_numbered_files() {
    let world = World::new();
    let line = format!("{}\n", "x".repeat(9999));
    for _ in 0..60 {
        world.print(&line);
    }
    world.rotate(3 * BLOCK as u64, 100);
    assert!(chunks(&folder_of(world.logs.path(), &world.replica)).unwrap().len() > 2);
    for last in [1, 20, 40, 60] {
        let texts = present(&mut *world.read(last)).await;
        assert_eq!(texts.len(), last);
        assert!(texts.iter().all(|text| text.len() == 9999));
    }
}

#[tokio::test]
async fn the_last_lines_end_where_the_log_ended_when_it_was_opened() {
    let world = World::new();
    world.print(&numbered(0..10));
    world.print("half a");
    let mut lines = world.read(3);
    world.print(" line\n");
    let mut texts = Vec::new();
    while let Some(line) = lines.next_present().await.unwrap() {
        texts.push(line.text);
        assert!(
            texts.len() < 10,
            "a replica that prints as fast as it is read keeps the reader busy: {texts:?}"
        );
        world.print("printed meanwhile\n");
    }
    assert_eq!(texts, ["line 8", "line 9", "half a line"]);
    assert_eq!(available(&mut *lines), ["printed meanwhile"; 3]);
    assert!(present(&mut *world.read(0)).await.is_empty());
}

#[tokio::test]
async fn a_reader_gets_complete_lines_without_gaps() {
    let world = World::new();
    world.print("gone\n");
    let mut lines = world.read(10);
    world.print(&numbered(0..10_000));
    world.rotate(4096, 3);
    let texts = available(&mut *lines);
    assert_eq!(texts.last().unwrap(), "line 9999");
    assert!(
        texts.len() < 10_000 && texts.iter().all(|text| text.starts_with("line ")),
        "{:?}",
        texts.first()
    );
    assert_eq!(present(&mut *world.read(100_000)).await, texts);
}

#[tokio::test]
async fn a_follower_meets_each_line_once_across_rotation() {
    let world = World::new();
    world.print("first\n");
    let mut lines = world.read(10);
    let mut expected = vec!["first".to_owned()];
    let mut texts = vec![lines.next().await.unwrap().text];
    for start in (0..300).step_by(30) {
        world.print(&numbered(start..start + 30));
        expected.extend((start..start + 30).map(|number| format!("line {number}")));
        world.rotate(100, 100);
        // Some are read before the next rotation, some after it.
        for _ in 0..20 {
            texts.push(lines.next().await.unwrap().text);
        }
    }
    while texts.len() < expected.len() {
        texts.push(lines.next().await.unwrap().text);
    }
    assert_eq!(texts, expected);
}

#[tokio::test]
async fn a_reader_that_fell_behind_continues_with_the_oldest_kept_line() {
    let world = World::new();
    world.print("gone\n");
    let mut lines = world.read(10);
    for start in (0..100).step_by(10) {
        world.print(&numbered(start..start + 10));
        world.rotate(50, 1);
    }
    let texts = available(&mut *lines);
    assert_eq!(texts.last().unwrap(), "line 99");
    assert!(texts.len() < 100 && !texts.contains(&"gone".to_owned()), "{texts:?}");
    assert!(texts.iter().all(|text| text.starts_with("line ")), "{texts:?}");
}

#[tokio::test]
async fn a_long_line_is_read_in_parts_and_invalid_utf8_is_replaced() {
    let world = World::new();
    world.print(&"x".repeat(LINE_LEN_MAX * 2 + 5));
    world.print("\n");
    let folder = folder_of(world.logs.path(), &world.replica);
    let mut file = OpenOptions::new().append(true).open(folder.join(CURRENT)).unwrap();
    file.write_all(b"\xff\xfe\nend\r\n").unwrap();
    let texts = present(&mut *world.read(100)).await;
    assert_eq!(texts.iter().map(String::len).collect::<Vec<_>>(), [LINE_LEN_MAX, LINE_LEN_MAX, 5, 6, 3]);
}

#[test]
fn a_place_that_never_ran_has_no_log() {
    let world = World::new();
    assert!(matches!(read(world.logs.path(), &world.replica, 1), Err(LogError::NoLog { .. })));
}
