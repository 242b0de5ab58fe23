//! The inventory after a restart lists every life whose number is refused.

use std::time::Duration;

use model::action::{Outcome, Refusal};
use model::identity::Incarnation;
use platform::{Life, LifeState, Platform as _, StopRequest};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::world::{action, end, open, shop, start, start_request, until};

/// Far longer than any control loop is away, and far shorter than an end is remembered.
const HOUR: Duration = Duration::from_hours(1);

fn sleeper() -> Value {
    json!({"run": {"command": ["sleep", "50"]}})
}

/// Moves the recorded begin of the last life of `shop-0` into the past, as far as the machine has run.
fn age_record(folder: &TempDir, by: Duration) {
    let path = folder.path().join("data/replicas/shop/0.json");
    let mut record: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let begin = record["startedSinceBootMs"].as_u64().unwrap();
    let by = u64::try_from(by.as_millis()).unwrap();
    record["startedSinceBootMs"] = begin.saturating_sub(by).into();
    std::fs::write(&path, record.to_string()).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_inventory_lists_a_life_that_ended_an_hour_ago_because_its_number_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let platform = open(&folder);
    let life = start(&platform, 7, sleeper()).await;
    let (replica, incarnation) = (life.replica, life.incarnation);
    let stop = StopRequest { action: action(2, 8), replica, incarnation, grace: Duration::ZERO };
    assert_eq!(platform.stop(stop).await, Outcome::Applied);
    platform.close().await;
    age_record(&folder, HOUR);

    let platform = open(&folder);
    let lives = platform.inventory().await.unwrap();
    let [Life { replica, incarnation, state: LifeState::Exited(_), .. }] = lives.as_slice() else {
        panic!("one ended life must be listed: {lives:?}");
    };
    assert_eq!((replica, *incarnation), (&shop(0), Incarnation(7)));
    let reused = start_request(3, 7, sleeper());
    assert_eq!(platform.start(reused).await.outcome, Outcome::Refused(Refusal::OtherIncarnation));
    let next = start_request(4, 8, sleeper());
    assert_eq!(platform.start(next).await.outcome, Outcome::Applied);
    end(platform).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_life_that_is_remembered_after_its_end_keeps_no_descriptor() {
    let folder = tempfile::tempdir().unwrap();
    let platform = open(&folder);
    let life = start(&platform, 1, sleeper()).await;
    let pid = life.pid.unwrap();
    platform.usage().await.unwrap();
    let cells = own_cells(pid);
    let counters = if cells.is_empty() { 0 } else { 1 };
    assert!(descriptors_of(&format!("Pid:\t{pid}\n"), &cells) > counters);
    let (replica, incarnation) = (life.replica, life.incarnation);
    let stop = StopRequest { action: action(2, 2), replica, incarnation, grace: Duration::ZERO };
    assert_eq!(platform.stop(stop).await, Outcome::Applied);
    // The task that waited for the end closes its descriptor a moment after the others.
    let is_closed = || descriptors_of("Pid:\t-1\n", &cells) == 0;
    until("the end of all descriptors", || is_closed().then_some(())).await;
    end(platform).await;
}

/// The control groups of a process in which this process is not.
fn own_cells(pid: u32) -> Vec<String> {
    let groups = |pid: &str| std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let ours = groups("self");
    let theirs = groups(&pid.to_string());
    let own = theirs.lines().filter(|line| !ours.lines().any(|our| our == *line));
    own.filter_map(|line| line.splitn(3, ':').nth(2)).map(str::to_owned).collect()
}

/// The descriptors of this process that have `pid_line` in their information, or are files of these control groups.
fn descriptors_of(pid_line: &str, cells: &[String]) -> usize {
    let numbers = std::fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap().file_name());
    // Some are closed meanwhile.
    let is_one = |number: &std::ffi::OsString| {
        let number = number.to_string_lossy();
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap_or_default();
        let target = std::fs::read_link(format!("/proc/self/fd/{number}")).unwrap_or_default();
        info.contains(pid_line) || cells.iter().any(|cell| target.to_string_lossy().contains(cell.as_str()))
    };
    numbers.filter(is_one).count()
}
