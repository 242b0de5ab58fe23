//! The driver is killed with -9, at any moment: no replica ends, none is lost, none runs twice.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use model::action::Outcome;
use model::identity::Incarnation;
use model::input::{Exit, ExitStatus};
use platform::{Event, LifeState, Platform as _, StopRequest, Support};
use platform_process::ProcessPlatform;

use crate::world::{DEADLINE, action, end, open, shop, until};

/// Replicas that a driver is to start before it is killed; more than it gets to.
const REPLICAS: u32 = 20;

/// Kills at different moments; the start of one replica takes some milliseconds, so that each of its steps is met.
const KILLS: u64 = 60;

struct DriverProcess {
    process: Child,
    folder: tempfile::TempDir,
    mark: String,
}

impl DriverProcess {
    fn start(count: u32, script: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().display().to_string();
        let process = Command::new(env!("CARGO_BIN_EXE_platform-process-driver"))
            .arg(folder.path().join("data"))
            .arg(&mark)
            .arg(count.to_string())
            .arg(script)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self { process, folder, mark }
    }

    /// Waits until it has started `count` replicas.
    fn wait_for(&mut self, count: usize) {
        let output = BufReader::new(self.process.stdout.as_mut().unwrap());
        let lines: Vec<String> = output.lines().take(count).map(Result::unwrap).collect();
        assert!(lines.len() == count && lines.iter().all(|line| line.ends_with("Applied")), "{lines:?}");
    }

    /// Kills it with -9 and waits until it is gone.
    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// The main processes that carry the mark, wherever they are.
fn marked(mark: &str) -> BTreeSet<u32> {
    let entry = format!("MARK={mark}");
    let mut found = BTreeSet::new();
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let environment = std::fs::read(process.path().join("environ")).unwrap_or_default();
        if environment.split(|byte| *byte == 0).any(|variable| variable == entry.as_bytes()) {
            found.insert(pid);
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_outlive_a_killed_driver_and_are_adopted_without_a_restart() {
    let mut driver = DriverProcess::start(3, "exec sleep 50");
    driver.wait_for(3);
    // A shell that is just becoming `sleep` has no environment to be known by.
    let before = until("three processes", || Some(marked(&driver.mark)).filter(|all| all.len() == 3)).await;
    driver.kill();
    let platform = open(&driver.folder);
    let lives = platform.inventory().await.unwrap();
    let pids: BTreeSet<u32> = lives.iter().filter_map(|life| life.pid).collect();
    assert_eq!(pids, before, "the same processes");
    assert!(
        lives.iter().all(|life| life.adopted && life.state == LifeState::Running && life.ports.len() == 1)
    );
    let mut events = platform.events();
    let victim = rustix::process::Pid::from_raw(i32::try_from(lives[1].pid.unwrap()).unwrap()).unwrap();
    rustix::process::kill_process(victim, rustix::process::Signal::KILL).unwrap();
    let Event::Ended(ended) = tokio::time::timeout(DEADLINE, events.recv()).await.unwrap().unwrap();
    assert_eq!(ended.replica, shop(1));
    let LifeState::Exited(exit) = ended.state else { panic!("{ended:?}") };
    assert_eq!(exit.status, ExitStatus::Unknown, "who is no parent cannot know");
    let stop =
        |replica| StopRequest { action: action(2, 1), replica, incarnation: Incarnation(1), grace: DEADLINE };
    assert_eq!(platform.stop(stop(shop(0))).await, Outcome::Applied);
    assert_eq!(marked(&driver.mark).len(), 1);
    end(platform).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_driver_killed_at_any_moment_leaves_no_process_that_the_next_does_not_find() {
    let mut met_between_process_and_record = 0;
    for round in 0..KILLS {
        let mut driver = DriverProcess::start(REPLICAS, "exec sleep 50");
        driver.wait_for(1);
        // Not a wait for anything: the moment of the kill is what differs from round to round.
        // tidy: slow on purpose
        tokio::time::sleep(Duration::from_micros(round * 700)).await;
        driver.kill();
        let unrecorded =
            std::fs::read_dir(driver.folder.path().join("data/replicas/intents")).unwrap().count();
        let before = marked(&driver.mark);
        let platform = open(&driver.folder);
        let lives = platform.inventory().await.unwrap();
        let running: Vec<u32> = lives
            .iter()
            .filter(|life| life.state == LifeState::Running)
            .filter_map(|life| life.pid)
            .collect();
        let known: BTreeSet<u32> = running.iter().copied().collect();
        assert_eq!(known.len(), running.len(), "round {round}: one process, one place");
        let lost: Vec<u32> = marked(&driver.mark).difference(&known).copied().collect();
        assert!(lost.is_empty(), "round {round}: processes {lost:?} are not in the inventory");
        assert!(known.is_superset(&before), "round {round}: a running replica was ended");
        let recorded = recorded(driver.folder.path());
        if unrecorded > 0 && recorded == known.len() {
            met_between_process_and_record += 1;
        }
        end(platform).await;
        let mark = driver.mark.clone();
        until("the end of all replicas", || marked(&mark).is_empty().then_some(())).await;
    }
    eprintln!("{met_between_process_and_record} of {KILLS} kills met a start that was not acknowledged");
}

/// How the first replica ended, as soon as the inventory says so.
async fn exit_in_inventory(platform: &ProcessPlatform) -> Exit {
    let looking = async {
        loop {
            if let LifeState::Exited(exit) = platform.inventory().await.unwrap()[0].state {
                return exit;
            }
            // tidy: pause between looks
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, looking).await.expect("its end is in the inventory")
}

fn recorded(folder: &Path) -> usize {
    std::fs::read_dir(folder.join("data/replicas/shop")).map_or(0, Iterator::count)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_an_older_copy_of_the_folder_does_not_know_are_reported() {
    let mut driver = DriverProcess::start(2, "exec sleep 50");
    driver.wait_for(2);
    let all = until("two processes", || Some(marked(&driver.mark)).filter(|all| all.len() == 2)).await;
    driver.kill();
    // As it was before the second was started.
    std::fs::remove_file(driver.folder.path().join("data/replicas/shop/1.json")).unwrap();
    let platform = open(&driver.folder);
    let adopted = platform.inventory().await.unwrap()[0].pid.unwrap();
    let [unrecorded] = platform.unrecorded() else { panic!("{:?}", platform.unrecorded()) };
    assert_eq!((&*unrecorded.replica, BTreeSet::from([adopted, unrecorded.pid])), ("shop-1", all));

    let stray = rustix::process::Pid::from_raw(i32::try_from(unrecorded.pid).unwrap()).unwrap();
    rustix::process::kill_process(stray, rustix::process::Signal::KILL).unwrap();
    end(platform).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_whose_record_was_never_written_is_found_by_its_token() {
    let mut driver = DriverProcess::start(1, "exec sleep 50");
    driver.wait_for(1);
    // A shell that is just becoming `sleep` has no environment to be known by.
    let before = until("a process", || Some(marked(&driver.mark)).filter(|all| all.len() == 1)).await;
    driver.kill();
    // What a crash between the start of the process and its record leaves: the intent, which knows no process.
    let records = driver.folder.path().join("data/replicas");
    let mut record: serde_json::Value =
        serde_json::from_slice(&std::fs::read(records.join("shop/0.json")).unwrap()).unwrap();
    record["process"] = serde_json::Value::Null;
    let token = record["token"].as_str().unwrap();
    std::fs::write(records.join(format!("intents/{token}.json")), record.to_string()).unwrap();
    std::fs::remove_file(records.join("shop/0.json")).unwrap();
    for _ in 0..2 {
        let platform = open(&driver.folder);
        let lives = platform.inventory().await.unwrap();
        let pids: BTreeSet<u32> = lives.iter().filter_map(|life| life.pid).collect();
        assert_eq!(pids, before);
        assert!(lives.iter().all(|life| life.state == LifeState::Running && life.adopted));
        platform.close().await;
    }
    end(open(&driver.folder)).await;
    assert!(marked(&driver.mark).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_children_of_a_replica_that_ended_without_a_driver_are_killed_at_the_next_start() {
    let mut driver = DriverProcess::start(1, "sleep 50 & sleep 50 & exec sleep 50");
    driver.wait_for(1);
    let mark = driver.mark.clone();
    until("three processes", || (marked(&mark).len() == 3).then_some(())).await;
    driver.kill();
    let platform = open(&driver.folder);
    let main = platform.inventory().await.unwrap()[0].pid.unwrap();
    platform.close().await;
    let main = rustix::process::Pid::from_raw(i32::try_from(main).unwrap()).unwrap();
    rustix::process::kill_process(main, rustix::process::Signal::KILL).unwrap();
    until("the end of the main process", || (marked(&mark).len() == 2).then_some(())).await;
    let platform = open(&driver.folder);
    until("the end of its children", || marked(&mark).is_empty().then_some(())).await;
    let exit = exit_in_inventory(&platform).await;
    assert_eq!(exit.status, ExitStatus::Unknown);
    platform.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn that_a_replica_ran_out_of_memory_while_no_driver_ran_is_known_to_the_next() {
    let mut driver =
        DriverProcess::start(1, "while [ ! -e $MARK/go ]; do sleep 0.05; done; exec tail /dev/zero");
    driver.wait_for(1);
    driver.kill();
    let platform = open(&driver.folder);
    let is_limited = platform.capabilities().memory == Support::Full;
    platform.close().await;
    if !is_limited {
        return end(open(&driver.folder)).await;
    }
    std::fs::write(driver.folder.path().join("go"), "").unwrap();
    let mark = driver.mark.clone();
    until("the end of it", || marked(&mark).is_empty().then_some(())).await;
    let platform = open(&driver.folder);
    let exit = exit_in_inventory(&platform).await;
    assert_eq!((exit.status, exit.out_of_memory), (ExitStatus::Unknown, true));
    platform.close().await;
}

#[tokio::test]
async fn a_second_driver_of_the_same_folder_is_refused_with_the_name_of_the_first() {
    let mut driver = DriverProcess::start(1, "exec sleep 50");
    driver.wait_for(1);
    let settings = platform_process::Settings::new(driver.folder.path().join("data"), "/");
    let error = platform_process::ProcessPlatform::open(settings).unwrap_err();
    let holder = format!("process {}", driver.process.id());
    assert!(error.to_string().contains(&holder), "{error}");
    driver.kill();
    end(open(&driver.folder)).await;
}
