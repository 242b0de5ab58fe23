//! Replicas go on when Homeostat is killed, and end with it when it is stopped.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use crate::instance::{Instance, get, is_running, pid_of, text, wait_until};

#[test]
fn replicas_survive_a_killed_homeostat_and_are_adopted_without_a_restart() {
    let mut instance = Instance::new();
    let manifest = instance.write_service("web", "  scale: {replicas: 2}\n");
    instance.up(&["-f", text(&manifest)]);
    let before = instance.wait_for_ready("web", 2);

    instance.end(Signal::KILL);
    for status in before.values() {
        let pid = pid_of(status);
        let answer = get(&format!("http://127.0.0.1:{}/", status["ports"]["http"])).expect("it serves");
        assert_eq!(answer, pid.as_raw_nonzero().get().to_string(), "it serves while no Homeostat runs");
    }

    instance.up(&[]);
    let after = instance.wait_for_ready("web", 2);
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
fn an_interrupt_stops_replicas_and_the_journal_replays() {
    let mut instance = Instance::new();
    let manifest = instance.write_service("web", "  scale: {replicas: 2}\n");
    instance.up(&["-f", text(&manifest)]);
    let pids: Vec<_> = instance.wait_for_ready("web", 2).values().map(pid_of).collect();

    let ended = instance.end(Signal::INT);

    assert_eq!(ended.code(), Some(0), "{}", instance.log());
    for pid in pids {
        wait_until("a replica is gone", || (!is_running(pid)).then_some(()));
    }
    let replayed = instance.query(&["replay", "--data", "data"]);
    assert!(replayed["steps"].as_u64() > Some(5), "{replayed}");
    assert!(replayed["actions"].as_u64() >= Some(2), "{replayed}");
}

#[test]
fn a_damaged_journal_prevents_neither_a_start_nor_the_replay_of_the_rest() {
    let mut instance = Instance::new();
    let manifest = instance.write_service("web", "  scale: {replicas: 1}\n");
    instance.up(&["-f", text(&manifest)]);
    instance.wait_for_ready("web", 1);
    instance.end(Signal::INT);
    instance.write("data/journal/0000000000.journal", "no journal");
    let events = instance.path("data/journal/events");
    let mut damaged = fs::read(&events).unwrap();
    damaged[20] ^= 1;
    fs::write(&events, &damaged).unwrap();

    instance.up(&[]);
    instance.wait_for_ready("web", 1);
    assert!(instance.log().contains("events_damaged"), "{}", instance.log());
    assert_eq!(fs::read(instance.path("data/journal/events.damaged")).unwrap(), damaged);
    instance.end(Signal::INT);
    let replayed = instance.run(&["replay", "--data", "data", "-o", "json"]);
    assert_eq!(replayed.code, Some(1), "{replayed:?}");
    assert!(replayed.err.contains("HS0011") && replayed.err.contains("0000000000.journal"), "{replayed:?}");
    assert_eq!(replayed.json()["segments"], 2, "{replayed:?}");
}

#[test]
fn while_it_stops_the_api_refuses_changes_and_a_second_signal_kills_the_replicas() {
    let mut instance = Instance::new();
    let manifest = instance.write(
        "web.yaml",
        &format!(
            "apiVersion: homeostat/v1\nkind: Service\nmetadata: {{name: web}}\nspec:\n  run:\n    \
             command: [sh, -c, \"trap '' TERM; echo patient; touch patient; exec sleep 600\"]\n    env: {{{}}}\n  \
             stop: {{grace: 10m}}\n",
            instance.mark()
        ),
    );
    instance.up(&["-f", text(&manifest)]);
    wait_until("the replica ignores SIGTERM", || instance.path("patient").exists().then_some(()));
    let replica = pid_of(&instance.wait_for_ready("web", 1)["web-0"]);

    instance.signal(Signal::TERM);
    wait_until("its replica is stopped", || instance.log().contains("stopping_replicas").then_some(()));
    assert_eq!(instance.get_api("/healthz").0, 200);
    let (status, why) = instance.get_api("/readyz");
    assert_eq!((status, why.as_str()), (503, "not ready: Homeostat is stopping\n"));
    let (status, why) = instance.get_api("/v1/services");
    assert!(status == 503 && why.contains("Homeostat is stopping") && why.contains("HS0006"), "{why}");
    let refused = instance.run(&["scale", "service/web", "--replicas", "2"]);
    assert!(refused.code == Some(1) && refused.err.contains("Homeostat is stopping"), "{refused:?}");
    let logs = instance.run(&["logs", "replica/web-0"]);
    assert!(logs.code == Some(0) && logs.out.contains("patient"), "{logs:?}");
    assert!(is_running(replica), "its grace is not over");

    assert_eq!(instance.end(Signal::TERM).code(), Some(0), "{}", instance.log());
    assert!(instance.log().contains("stopping_at_once"), "{}", instance.log());
    assert_eq!(instance.processes(), [], "{}", instance.log());
}

#[test]
fn signals_without_a_meaning_do_not_end_it() {
    let mut instance = Instance::new();
    instance.up(&[]);
    for signal in [Signal::USR1, Signal::USR2, Signal::ALARM] {
        instance.signal(signal);
        assert_eq!(instance.run(&["get"]).code, Some(0), "{signal:?}: {}", instance.log());
    }
    assert_eq!(instance.end(Signal::TERM).code(), Some(0), "{}", instance.log());
}

#[test]
fn an_interrupt_also_stops_adopted_replicas() {
    let mut instance = Instance::new();
    let manifest = instance.write_service("web", "  scale: {replicas: 3}\n");
    instance.up(&["-f", text(&manifest)]);
    instance.wait_for_ready("web", 3);
    instance.end(Signal::KILL);

    instance.up(&[]);
    instance.wait_for_ready("web", 3);
    // A stop by the second run: from then on the platform refuses actions of the first.
    instance.query(&["scale", "service/web", "--replicas", "2"]);
    let pids: Vec<_> = wait_until("two are left", || {
        let left = instance.replicas("web");
        (left.len() == 2).then(|| left.values().map(pid_of).collect())
    });
    let ended = instance.end(Signal::INT);

    assert_eq!(ended.code(), Some(0), "{}", instance.log());
    for pid in pids {
        wait_until("an adopted replica is gone", || (!is_running(pid)).then_some(()));
    }
}

#[test]
fn replicas_are_started_with_a_store_that_is_older_than_what_the_node_has_seen() {
    let mut instance = Instance::new();
    let manifest = instance.write_service("web", "  scale: {replicas: 1}\n");
    for _ in 0..3 {
        instance.up(&["-f", text(&manifest)]);
        instance.wait_for_ready("web", 1);
        instance.end(Signal::INT);
    }
    // As the message about a damaged store advises.
    fs::rename(instance.path("data/store.db"), instance.path("store.db.damaged")).unwrap();

    instance.up(&["-f", text(&manifest)]);
    instance.wait_for_ready("web", 1);
}

#[test]
fn a_copy_of_the_data_folder_takes_no_replica_from_the_running_homeostat() {
    let mut instance = Instance::new();
    let manifest = instance.write_service("web", "  scale: {replicas: 2}\n");
    instance.up(&["-f", text(&manifest)]);
    let before = instance.wait_for_ready("web", 2);
    let copied = Command::new("cp").arg("-a").args([instance.path("data"), instance.path("copy")]).status();
    assert!(copied.expect("cp runs").success());

    let output = instance.run(&["up", "--data", "copy", "--listen", "127.0.0.1:0"]);

    assert_eq!(output.code, Some(1), "{output:?}");
    let why = format!("run by another homeostat (process {})", instance.pid());
    for part in ["HS0024", why.as_str(), "copy/replicas"] {
        assert!(output.err.contains(part), "{output:?}");
    }
    let after = instance.wait_for_ready("web", 2);
    let pids = |replicas: &BTreeMap<String, Value>| replicas.values().map(pid_of).collect::<Vec<_>>();
    assert_eq!(pids(&after), pids(&before), "nothing has happened to them");
}

#[test]
fn a_failed_start_leaves_adopted_replicas_running() {
    let mut instance = Instance::new();
    let manifest = instance.write_service("web", "  scale: {replicas: 2}\n");
    instance.up(&["-f", text(&manifest)]);
    let before: Vec<_> = instance.wait_for_ready("web", 2).values().map(pid_of).collect();
    instance.end(Signal::KILL);

    let exposed = format!(
        "  scale: {{replicas: 2}}\n  expose: {{listen: \"127.0.0.1:{}\", port: http, tls: {{certificate: no.pem, key: no.key}}}}\n",
        ports::free()
    );
    let refused = instance.write_service("web", &exposed);
    let output = instance.run(&["up", "--data", "data", "--listen", "127.0.0.1:0", "-f", text(&refused)]);

    assert_eq!(output.code, Some(1), "{output:?}");
    for pid in before {
        assert!(is_running(pid), "a replica was stopped: {output:?}");
    }
    instance.up(&[]);
    instance.wait_for_ready("web", 2);
    instance.end(Signal::INT);
}

#[test]
fn a_failed_start_stops_the_replicas_that_it_started() {
    let mut instance = Instance::new();
    let exposed = format!("  expose: {{listen: \"127.0.0.1:{}\", port: http}}\n", ports::free());
    let manifest = instance.write_service("web", &exposed);
    instance.up(&["-f", text(&manifest)]);
    instance.wait_for_ready("web", 1);
    instance.end(Signal::TERM);

    // What is kept is started at once, and only then it is found that another service may not listen where it does.
    let refused = instance.write_service("shop", &exposed);
    let output = instance.run(&["up", "--data", "data", "--listen", "127.0.0.1:0", "-f", text(&refused)]);

    assert_eq!(output.code, Some(1), "{output:?}");
    assert_eq!(instance.processes(), [], "a replica was left: {output:?}");
}

#[test]
fn applied_resources_are_restored_at_the_next_start() {
    let mut instance = Instance::new();
    let manifest = instance.write_service("web", "");
    instance.up(&["-f", text(&manifest)]);
    instance.wait_for_ready("web", 1);
    instance.end(Signal::TERM);

    instance.up(&[]);
    let status = &instance.wait_for_ready("web", 1)["web-0"];
    assert_eq!(status["adopted"], false, "it was stopped with the first, and started by the second");
}

#[test]
fn events_survive_a_killed_homeostat_in_order_and_with_unique_ids() {
    let mut instance = Instance::new();
    let manifest = instance.write_service("web", "");
    instance.up(&["-f", text(&manifest)]);
    instance.wait_for_ready("web", 1);
    let before = events(&instance);
    assert!(before.iter().any(|event| event["reason"] == "Ready"), "{before:?}");
    instance.end(Signal::KILL);

    instance.up(&[]);
    // Adopted and ready again: then there are no more events between the two queries below.
    let after = wait_until("the new run has reported everything", || {
        let found = events(&instance);
        (found.len() > before.len() + 1 && found.last()?["reason"] == "Ready").then_some(found)
    });
    assert!(after.iter().any(|event| event["reason"] == "Adopted"), "{after:?}");

    assert_eq!(after[..before.len()], before, "earlier events come first, in order");
    let names: BTreeSet<&str> = after.iter().filter_map(|event| event["id"].as_str()).collect();
    assert_eq!(names.len(), after.len(), "each has a name of its own: {after:?}");
    let described = instance.query(&["describe", "service/web"]);
    assert_eq!(described["events"].as_array(), Some(&after), "{described}");
}

fn events(instance: &Instance) -> Vec<Value> {
    instance.query(&["events"])["items"].as_array().expect("a list has items").clone()
}
