//! The public interface of `os`.

use std::path::Path;

use os::{Durability, FileLock, LockError, Signals, StopSignal, write_atomically};

fn names_in(folder: &Path) -> Vec<String> {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn an_atomic_write_replaces_the_whole_content_and_leaves_nothing_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    for (content, durability) in
        [("much longer than the next", Durability::Machine), ("short", Durability::Process)]
    {
        write_atomically(&path, content.as_bytes(), durability).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
    }
    assert_eq!(names_in(folder.path()), ["state"]);
}

#[test]
fn a_failed_atomic_write_keeps_the_old_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    std::fs::create_dir(&path).unwrap();
    let error = write_atomically(&path, b"new", Durability::Machine).unwrap_err();
    assert!(error.to_string().contains("state"), "{error}");
    assert_eq!(names_in(folder.path()), ["state"]);
}

#[test]
fn a_secret_is_readable_only_by_its_owner_whatever_the_old_file_was() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let safe = folder.path().join("a/safe");
    std::fs::create_dir_all(&safe).unwrap();
    std::fs::set_permissions(&safe, std::fs::Permissions::from_mode(0o755)).unwrap();
    os::create_secret_folder(&safe).unwrap();
    os::create_secret_folder(&safe).unwrap();
    let path = safe.join("key");
    // What a crash of a less careful writer may have left.
    std::fs::write(safe.join("key.new"), "x").unwrap();
    std::fs::write(&path, "old").unwrap();
    os::write_secret(&path, b"new").unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(&safe)), (0o600, 0o700));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
    assert_eq!(names_in(&safe), ["key"]);
}

#[test]
fn a_lock_has_one_holder_who_is_named_in_the_refusal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lock");
    let held = FileLock::take(&path).unwrap();
    let Err(LockError::Held { holder, .. }) = FileLock::take(&path) else { panic!("taken twice") };
    assert_eq!(holder, format!("process {}", std::process::id()));
    drop(held);
    FileLock::take(&path).unwrap();
}

#[tokio::test]
async fn a_signal_to_stop_is_received_and_does_not_end_the_process() {
    let mut signals = Signals::listen().unwrap();
    let this = rustix::process::getpid();
    rustix::process::kill_process(this, rustix::process::Signal::TERM).unwrap();
    assert_eq!(signals.next().await, StopSignal::Terminate);
    rustix::process::kill_process(this, rustix::process::Signal::INT).unwrap();
    assert_eq!(signals.next().await, StopSignal::Interrupt);
}
