//! Work outlives its keeper, and ends with it when it is asked to.

use rustix::process::Signal;

use crate::house::{House, answer_of, is_running, pid_of, text, wait_until};

#[test]
fn replicas_outlive_a_killed_homeostat_and_are_adopted_without_a_restart() {
    let mut house = House::new();
    let manifest = house.write_service("web", "  scale: {replicas: 2}\n");
    house.up(&["-f", text(&manifest)]);
    let before = house.wait_for_ready("web", 2);

    house.end(Signal::KILL);
    for status in before.values() {
        let pid = pid_of(status);
        let answer = answer_of(&format!("http://127.0.0.1:{}/", status["ports"]["http"])).expect("it serves");
        assert_eq!(answer, pid.as_raw_nonzero().get().to_string(), "it serves while nobody keeps it");
    }

    house.up(&[]);
    let after = house.wait_for_ready("web", 2);
    for (name, status) in &after {
        assert_eq!(status["pid"], before[name]["pid"], "{name} is the same process");
        assert_eq!(
            (status["adopted"].as_bool(), status["restarts"].as_u64()),
            (Some(true), Some(0)),
            "{status}"
        );
    }
}

#[test]
fn an_interrupt_stops_what_was_started_and_the_journal_replays() {
    let mut house = House::new();
    let manifest = house.write_service("web", "  scale: {replicas: 2}\n");
    house.up(&["-f", text(&manifest)]);
    let pids: Vec<_> = house.wait_for_ready("web", 2).values().map(pid_of).collect();

    let ended = house.end(Signal::INT);

    assert_eq!(ended.code(), Some(0), "{}", house.log());
    for pid in pids {
        wait_until("a replica is gone", || (!is_running(pid)).then_some(()));
    }
    let replayed = house.ask(&["replay", "--data", "data"]);
    assert!(replayed["steps"].as_u64() > Some(5), "{replayed}");
    assert!(replayed["actions"].as_u64() >= Some(2), "{replayed}");
}

#[test]
fn what_was_applied_is_there_again_at_the_next_start() {
    let mut house = House::new();
    let manifest = house.write_service("web", "");
    house.up(&["-f", text(&manifest)]);
    house.wait_for_ready("web", 1);
    house.end(Signal::TERM);

    house.up(&[]);
    let status = &house.wait_for_ready("web", 1)["web-0"];
    assert_eq!(status["adopted"], false, "it was stopped with the first, and started by the second");
}
