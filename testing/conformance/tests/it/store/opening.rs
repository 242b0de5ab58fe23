//! Opening a folder: one process at a time, and files that cannot be used are not modified.

use std::fs;
use std::process::Command;

use store::{Key, Prefix, Store, Value};
use store_embedded::{EmbeddedStore, OpenError};
use tempfile::TempDir;

use super::{folder, store_file};

fn with_one_row() -> TempDir {
    let dir = folder();
    let store = EmbeddedStore::open(dir.path()).unwrap();
    store.put(Key::parse("a").unwrap(), Value::new("one").unwrap()).unwrap();
    dir
}

#[test]
fn a_second_open_of_a_folder_fails_with_the_pid_of_the_first() {
    let dir = with_one_row();
    let held = EmbeddedStore::open(dir.path()).unwrap();

    let refused = EmbeddedStore::open(dir.path()).unwrap_err();
    let (pid, shown) = (std::process::id(), dir.path().display());
    assert_eq!(
        refused.to_string(),
        format!("another homeostat (pid {pid}) uses {shown}; stop it or choose another folder")
    );
    let other = Command::new(env!("CARGO_BIN_EXE_store-writer")).arg(dir.path()).output().unwrap();
    assert!(!other.status.success());
    assert_eq!(String::from_utf8(other.stderr).unwrap().trim(), refused.to_string());

    assert!(held.get(&Key::parse("a").unwrap()).unwrap().is_some());
    drop(held);
    EmbeddedStore::open(dir.path()).unwrap();
}

#[test]
fn a_newer_format_is_refused_and_not_modified() {
    let dir = with_one_row();
    let file = store_file(&dir);
    let mut bytes = fs::read(&file).unwrap();
    let at = b"homeostat store\nformat ".len();
    assert_eq!(&bytes[at..at + 2], b"1\n");
    bytes[at] = b'2';
    fs::write(&file, &bytes).unwrap();

    let refused = EmbeddedStore::open(dir.path()).unwrap_err();
    assert!(matches!(refused, OpenError::NewerFormat { found: 2, .. }), "{refused}");
    assert_eq!(fs::read(&file).unwrap(), bytes);
}

#[test]
fn a_file_that_is_not_a_store_is_refused_and_not_modified() {
    for content in [&b""[..], b"hello", &[0; 100_000], b"homeostat store\nformat x\n"] {
        let dir = folder();
        fs::write(store_file(&dir), content).unwrap();
        let refused = EmbeddedStore::open(dir.path()).unwrap_err();
        assert!(matches!(refused, OpenError::NotAStore { .. }), "{refused}");
        assert_eq!(fs::read(store_file(&dir)).unwrap(), content);
    }
}

#[test]
fn a_truncated_store_is_refused_and_not_modified() {
    let dir = with_one_row();
    let bytes = fs::read(store_file(&dir)).unwrap();
    for kept in [4096, 5000, 8192, bytes.len() / 2] {
        fs::write(store_file(&dir), &bytes[..kept]).unwrap();
        let refused = EmbeddedStore::open(dir.path()).map(drop);
        assert!(matches!(refused, Err(OpenError::Damaged { .. })), "{kept} bytes: {refused:?}");
        assert_eq!(fs::read(store_file(&dir)).unwrap(), bytes[..kept], "the file was modified");
    }
}

/// Flips bytes of the file, one at a time, at regular steps: either no row is affected or the store refuses to open.
#[test]
fn a_damaged_byte_is_harmless_or_refused_and_never_a_wrong_row() {
    let dir = folder();
    let store = EmbeddedStore::open(dir.path()).unwrap();
    for row in 0..40 {
        store.put(Key::parse(&format!("k/{row}")).unwrap(), Value::new([row; 300]).unwrap()).unwrap();
    }
    let before = store.list(&Prefix::root()).unwrap();
    drop(store);
    let bytes = fs::read(store_file(&dir)).unwrap();
    let used: Vec<_> = (0..bytes.len()).filter(|&at| bytes[at] != 0).collect();

    let (mut refused, mut harmless) = (0, 0);
    for &at in used.iter().step_by(used.len() / 400 + 1) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0xff;
        fs::write(store_file(&dir), &damaged).unwrap();
        match EmbeddedStore::open(dir.path()) {
            Ok(store) => {
                assert_eq!(store.list(&Prefix::root()).unwrap(), before, "byte {at}");
                harmless += 1;
            }
            Err(OpenError::NotAStore { .. } | OpenError::Damaged { .. } | OpenError::NewerFormat { .. }) => {
                assert_eq!(fs::read(store_file(&dir)).unwrap(), damaged, "the file was modified");
                refused += 1;
            }
            Err(other) => panic!("byte {at}: {other}"),
        }
    }
    eprintln!("{refused} of {} flips refused, {harmless} harmless", refused + harmless);
    assert!(refused > 20);
}

#[test]
fn a_folder_that_cannot_be_created_fails_with_its_path() {
    let dir = folder();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let refused = EmbeddedStore::open(&file.join("data")).unwrap_err();
    assert_eq!(refused.to_string(), format!("could not open the store at {}", file.join("data").display()));
}

#[test]
fn an_interrupted_creation_is_repeated() {
    let dir = folder();
    fs::write(dir.path().join("store.db.new"), [1; 10_000]).unwrap();
    let store = EmbeddedStore::open(dir.path()).unwrap();
    assert_eq!(store.list(&Prefix::root()).unwrap().entries, []);
    assert!(!dir.path().join("store.db.new").exists());
}

/// The kernel refuses to extend the file, as on a full disk (only the number of the error differs).
#[test]
fn a_full_disk_fails_the_write_and_keeps_every_row() {
    let dir = with_one_row();
    let limited =
        format!("trap '' XFSZ; ulimit -f 6000; exec '{}' \"$1\" 65536", env!("CARGO_BIN_EXE_store-writer"));
    let output = Command::new("sh").args(["-c", &limited, "sh"]).arg(dir.path()).output().unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = output.lines().collect();
    let [acknowledged @ .., failed, reads] = &*lines else { panic!("{output}") };

    let file = store_file(&dir).display().to_string();
    assert_eq!(
        *failed,
        format!("failed: could not write to {file}: the disk is full; free some space and try again")
    );
    let rows = 1 + acknowledged.len();
    assert!(rows > 5, "{output}");
    assert_eq!(*reads, format!("reads {rows}"));
    let store = EmbeddedStore::open(dir.path()).unwrap();
    assert_eq!(store.list(&Prefix::root()).unwrap().entries.len(), rows);
}
