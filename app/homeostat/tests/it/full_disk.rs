//! A full disk stops decisions but not replicas; decisions resume when there is space again.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde_json::Value;

use crate::instance::{Instance, get, pid_of, text, wait_until};

/// The size of the disk: the store and the first segment of the journal need some 3 MiB.
const DISK_BYTES: u64 = 16 << 20;

/// Size of a write that fills the disk: a page, its smallest unit.
const PAGE: [u8; 4096] = [b'x'; 4096];

#[test]
fn a_full_disk_suspends_only_the_loop_until_there_is_space() {
    let mut instance = Instance::new();
    let port = ports::free();
    let more = format!("  expose: {{listen: \"127.0.0.1:{port}\", port: http}}\n");
    let manifest = instance.write_service("web", &more);
    let Some(disk) = instance.up_on_small_disk(DISK_BYTES, &["-f", text(&manifest)]) else {
        // Not by eprintln!, which the test harness keeps to itself when a test passes.
        let output =
            writeln!(io::stderr(), "homeostat: LEFT OUT: a full disk, for this system lets nobody mount one");
        return output.expect("stderr is writable");
    };
    let before = instance.wait_for_ready("web", 1);
    let url = format!("http://127.0.0.1:{port}/");
    wait_until("the proxy answers", || get(&url).ok());
    assert_eq!(instance.get_api("/readyz"), (200, "ready\n".to_owned()));

    let filler = disk.join("filler");
    fill(&filler);
    let why = wait_until("the loop reports that it is suspended", || {
        // Requests cause reports, which need space.
        get(&url).expect("traffic goes on");
        let (status, why) = instance.get_api("/readyz");
        (status == 503).then_some(why)
    });
    wait_until("it has tried to restart without success", || {
        let (status, why) = instance.get_api("/readyz");
        assert_eq!(status, 503, "there is no room: {why}");
        (!why.contains("could not write the journal")).then_some(())
    });
    assert!(why.contains("could not") && why.contains("No space left on device"), "{why}");
    // What others have freed since is taken, too.
    fill(&filler);
    get(&url).expect("traffic goes on");
    let output = instance.run(&["apply", "-f", text(&large(&instance))]);
    assert_eq!((output.code, output.err.lines().count()), (Some(1), 1), "{output:?}");
    assert!(output.err.starts_with("error: could not") && output.err.contains("space"), "{output:?}");
    assert_eq!(instance.run(&["get", "service/large"]).code, Some(1), "nothing of it is there");
    get(&url).expect("traffic still goes on");
    assert_eq!(instance.wait_for_ready("web", 1)["web-0"]["pid"], before["web-0"]["pid"]);

    fs::remove_file(&filler).expect("the folder is writable");
    wait_until("the loop resumes by itself", || (instance.get_api("/readyz").0 == 200).then_some(()));
    assert_eq!(instance.run(&["scale", "service/web", "--replicas", "2"]).code, Some(0));
    let after = instance.wait_for_ready("web", 2);
    assert_eq!(
        after["web-0"]["pid"], before["web-0"]["pid"],
        "nothing was restarted because of the full disk"
    );
    let events = instance.query(&["events"]);
    let reasons: Vec<&Value> =
        events["items"].as_array().expect("a list").iter().map(|it| &it["reason"]).collect();
    assert!(reasons.contains(&&Value::from("Scaled")), "{events}");
    let journal = disk.join("journal");
    let files = fs::read_dir(&journal).expect("it exists").count();
    assert_eq!(files, 3, "two segments and the events: no attempt that failed has left one behind");
    let replayed = instance.run(&["replay", text(&journal)]);
    assert_eq!(replayed.code, Some(0), "{replayed:?}");
    assert_eq!(instance.end(Signal::INT).code(), Some(0), "{}", instance.log());
}

#[test]
fn a_start_on_a_full_disk_after_a_crash_serves() {
    /// Enough for a reserve.
    const DISK_WITH_RESERVE_BYTES: u64 = 96 << 20;
    let mut instance = Instance::new();
    let port = ports::free();
    let more = format!("  scale: {{replicas: 2}}\n  expose: {{listen: \"127.0.0.1:{port}\", port: http}}\n");
    let manifest = instance.write_service("web", &more);
    let Some(disk) = instance.up_on_small_disk(DISK_WITH_RESERVE_BYTES, &["-f", text(&manifest)]) else {
        let output =
            writeln!(io::stderr(), "homeostat: LEFT OUT: a full disk, for this system lets nobody mount one");
        return output.expect("stderr is writable");
    };
    let before = instance.wait_for_ready("web", 2);
    let url = format!("http://127.0.0.1:{port}/");
    wait_until("the proxy answers", || get(&url).ok());
    wait_until("there is a reserve", || disk.join("reserve").exists().then_some(()));
    fill(&disk.join("filler"));
    let replica = pid_of(&before["web-0"]);
    let refused = instance.up_on_disk_of(replica).output().expect("nsenter runs");
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(disk.join("reserve").exists(), "it belongs to the process that runs");
    instance.end(Signal::KILL);
    let filler = PathBuf::from(format!(
        "/proc/{}/root{}",
        replica.as_raw_nonzero(),
        text(&instance.path("data/filler"))
    ));
    fill(&filler);

    instance.up_again_on_small_disk(replica);
    wait_until("the proxy answers", || get(&url).ok());
    let after = instance.wait_for_ready("web", 2);
    for name in ["web-0", "web-1"] {
        assert_eq!(after[name]["pid"], before[name]["pid"], "it was adopted");
    }
    assert!(instance.log().contains("disk_full_reserve_released"), "{}", instance.log());
    fs::remove_file(&filler).expect("the folder is writable");
    wait_until("the loop decides", || (instance.get_api("/readyz").0 == 200).then_some(()));
    assert_eq!(instance.end(Signal::INT).code(), Some(0), "{}", instance.log());
}

#[test]
fn a_moved_data_folder_suspends_the_loop_until_it_is_back() {
    let mut instance = Instance::new();
    let manifest = instance.write_service("web", "");
    instance.up(&["-f", text(&manifest)]);
    instance.wait_for_ready("web", 1);
    let (data, elsewhere) = (instance.path("data"), instance.path("elsewhere"));
    fs::rename(&data, &elsewhere).expect("the folder is writable");
    let refused = instance.run(&["scale", "service/web", "--replicas", "3"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused.err.contains("moved, deleted or replaced") && refused.err.contains("HS0005"),
        "{refused:?}"
    );
    let why = wait_until("the loop reports that it is suspended", || {
        let (status, why) = instance.get_api("/readyz");
        (status == 503).then_some(why)
    });
    assert!(why.contains("moved or deleted"), "{why}");
    assert!(!data.exists(), "nothing is begun in another folder");
    fs::rename(&elsewhere, &data).expect("the folder is writable");
    wait_until("the loop resumes by itself", || (instance.get_api("/readyz").0 == 200).then_some(()));
    assert_eq!(instance.run(&["scale", "service/web", "--replicas", "2"]).code, Some(0));
    instance.wait_for_ready("web", 2);
}

#[test]
fn what_is_written_after_the_data_folder_was_deleted_is_closed_to_others() {
    let mut instance = Instance::new();
    let manifest = instance.write_service("web", "");
    instance.up(&["-f", text(&manifest)]);
    instance.wait_for_ready("web", 1);
    let data = instance.path("data");
    wait_until("the folder is deleted", || {
        // Homeostat may create a file in between.
        let _ = fs::remove_dir_all(&data);
        (!data.exists()).then_some(())
    });
    let refused = instance.run(&["apply", "-f", text(&instance.write_service("shop", ""))]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.err.contains("HS0005"), "{refused:?}");
    let log = instance.run(&["logs", "replica/web-0"]);
    assert!(log.err.contains("or its log was moved or deleted"), "{log:?}");
    assert_eq!(instance.end(Signal::TERM).code(), Some(0), "{}", instance.log());
    for path in [data.join("replicas/web"), data.join("replicas"), data] {
        if let Ok(found) = fs::metadata(&path) {
            assert_eq!(found.mode() & 0o777, 0o700, "{}", path.display());
        }
    }
}

#[test]
fn a_full_disk_does_not_end_a_replica_that_prints() {
    /// More than the space preallocated for a log, so that it has to delete old records.
    const PRINTED: u64 = 200 << 10;
    let mut instance = Instance::new();
    let line = "x".repeat(1000);
    let talker = format!(
        "apiVersion: homeostat/v1\nkind: Service\nmetadata: {{name: talker}}\nspec:\n  \
         run: {{command: [sh, -c, \"while echo {line}; do sleep 0.05; done; exit 1\"]}}\n"
    );
    let talker = instance.write("talker.yaml", &talker);
    let Some(disk) = instance.up_on_small_disk(DISK_BYTES, &["-f", text(&talker)]) else {
        let output =
            writeln!(io::stderr(), "homeostat: LEFT OUT: a full disk, for this system lets nobody mount one");
        return output.expect("stderr is writable");
    };
    let before = instance.wait_for_ready("talker", 1);
    let log = disk.join("logs/talker/0/output");
    let found = || fs::metadata(&log).expect("it exists");
    wait_until("the log has preallocated space", || {
        (found().blocks() * 512 > found().len() + (32 << 10)).then_some(())
    });
    let filler = disk.join("filler");
    fill(&filler);
    let full_at = found().len();
    wait_until("it prints on", || (found().len() > full_at + PRINTED).then_some(()));
    fs::remove_file(&filler).expect("the folder is writable");
    wait_until("the loop resumes by itself", || (instance.get_api("/readyz").0 == 200).then_some(()));
    let after = instance.wait_for_ready("talker", 1);
    assert_eq!(after["talker-0"]["pid"], before["talker-0"]["pid"], "{}", instance.log());
    assert_eq!(instance.end(Signal::INT).code(), Some(0), "{}", instance.log());
}

#[test]
fn the_log_of_one_replica_does_not_take_space_from_others() {
    /// Twice the kept output of a replica.
    const ROOM: u64 = 80 << 20;
    let mut instance = Instance::new();
    let noisy = instance.write(
        "noisy.yaml",
        "apiVersion: homeostat/v1\nkind: Service\nmetadata: {name: noisy}\nspec:\n  \
         run: {command: [sh, -c, \"yes a line that is printed again and again | head -c 200000000 2>/dev/null; exec sleep 86400\"]}\n",
    );
    let Some(disk) = instance.up_on_small_disk(ROOM, &["-f", text(&noisy)]) else {
        let output =
            writeln!(io::stderr(), "homeostat: LEFT OUT: a full disk, for this system lets nobody mount one");
        return output.expect("stderr is writable");
    };
    let log = disk.join("logs/noisy/0");
    let printed = || fs::metadata(log.join("output")).map_or(0, |file| file.len());
    wait_until("more was printed than is kept", || (printed() > 40 << 20).then_some(()));
    wait_until("old output is deleted", || {
        let files = fs::read_dir(&log).expect("it exists").flatten();
        let held: u64 = files.filter_map(|file| file.metadata().ok()).map(|file| file.blocks() * 512).sum();
        (held <= 41 << 20).then_some(())
    });
    wait_until("the loop runs", || (instance.get_api("/readyz").0 == 200).then_some(()));
    assert_eq!(
        instance.run(&["scale", "service/noisy", "--replicas", "0"]).code,
        Some(0),
        "{}",
        instance.log()
    );
    let lines = instance.run(&["logs", "replica/noisy-0", "-n", "100000"]).out;
    // The disk may have had no space for the end of the last line.
    let is_printed = |line: &str| "a line that is printed again and again".starts_with(line);
    assert!(lines.lines().all(is_printed), "{:?}", lines.lines().find(|line| !is_printed(line)));
    assert_eq!(lines.lines().count(), 100_000);
}

/// A service with a declaration larger than the free pages of the store, which can hold small values on a full disk.
fn large(instance: &Instance) -> PathBuf {
    let filler = "x".repeat(512 * 1024);
    let manifest = format!(
        "apiVersion: homeostat/v1\nkind: Service\nmetadata: {{name: large}}\nspec:\n  run: {{command: [\"true\"], env: {{FILLER: {filler}}}}}\n"
    );
    instance.write("large.yaml", &manifest)
}

/// Writes until the disk is full.
fn fill(path: &Path) {
    let mut file = File::options().create(true).append(true).open(path).expect("the file can be created");
    let error = std::iter::from_fn(|| Some(file.write_all(&PAGE))).find_map(Result::err);
    assert_eq!(error.map(|error| error.kind()), Some(ErrorKind::StorageFull));
}
