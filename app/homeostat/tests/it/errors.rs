//! Errors are one sentence with the right exit code, and change nothing.

use std::net::TcpListener;

use rustix::process::Signal;
use serde_json::Value as Json;
use store::{Commit, Entry, Key, Prefix, Store, Txn, Value};
use store_embedded::EmbeddedStore;

use crate::instance::{CommandOutput, Instance, text, wait_until};

/// One sentence on standard error, and this code.
#[track_caller]
fn assert_refused(said: &CommandOutput, code: i32, parts: &[&str]) {
    assert_eq!(said.code, Some(code), "{said:?}");
    let last = said.err.lines().last().unwrap_or_default();
    assert!(last.starts_with("error: "), "{said:?}");
    for part in parts {
        assert!(said.err.contains(part), "{part:?} is missing: {said:?}");
    }
    assert!(said.out.is_empty(), "{said:?}");
}

#[test]
fn a_broken_manifest_is_refused_with_its_line_before_anything_begins() {
    let instance = Instance::new();
    let broken = instance.write(
        "broken.yaml",
        "apiVersion: homeostat/v1\nkind: Service\nmetadata: {name: web}\nspec:\n  run: {comand: [sleep, \"60\"]}\n",
    );
    let parts = ["broken.yaml:5", "comand", "did you mean command"];
    for verb in ["up", "validate", "apply", "diff"] {
        assert_refused(&instance.run(&[verb, "-f", text(&broken)]), 2, &parts);
    }
    assert!(!instance.path(".homeostat").exists(), "nothing was begun");
}

#[test]
fn a_taken_port_is_named() {
    let instance = Instance::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it is bound").to_string();
    assert_refused(&instance.run(&["up", "--listen", &address]), 1, &[&address, "--listen", "in use"]);
}

#[test]
fn an_address_is_logged_as_exposed_once_it_is_listened_on() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let [taken_at, free_at] = [taken.local_addr().expect("it is bound").port(), ports::free()];
    let mut instance = Instance::new();
    let expose = |port| format!("  expose: {{listen: \"127.0.0.1:{port}\", port: http}}\n");
    let manifests = [("web", free_at), ("late", taken_at)]
        .map(|(name, port)| instance.write_service(name, &expose(port)));
    instance.up(&["-f", text(&manifests[0]), "-f", text(&manifests[1])]);
    let is_logged = |part: &str| instance.log().lines().any(|line| line.contains(part));
    wait_until("one is exposed", || is_logged("exposed service=web").then_some(()));
    wait_until("the other cannot be", || is_logged("WARN ActionFailed service=late").then_some(()));
    assert!(!is_logged("exposed service=late"), "{}", instance.log());
    drop(taken);
    wait_until("now it is", || is_logged("exposed service=late").then_some(()));
}

#[test]
fn what_keeps_a_replica_from_running_is_logged_as_a_warning() {
    let mut instance = Instance::new();
    let absent = instance.write(
        "absent.yaml",
        "apiVersion: homeostat/v1\nkind: Service\nmetadata: {name: web}\nspec:\n  run: {command: [./absent]}\n",
    );
    instance.up(&["-f", text(&absent)]);
    let warned = |log: String| {
        log.lines().any(|line| line.contains("WARN ActionFailed") && line.contains("does not exist"))
    };
    wait_until("the log says why nothing runs", || warned(instance.log()).then_some(()));
}

#[test]
fn a_second_homeostat_on_the_same_data_is_refused_and_the_first_goes_on() {
    let mut instance = Instance::new();
    instance.up(&[]);
    let said = instance.run(&["up", "--data", "data", "--listen", "127.0.0.1:0"]);
    assert_refused(&said, 1, &["data", &instance.pid().to_string()]);
    assert_eq!(instance.run(&["get"]).code, Some(0));
}

#[test]
fn what_a_newer_homeostat_has_kept_is_refused_whatever_it_is_and_left_as_it_is() {
    let mut instance = Instance::new();
    instance.up(&[
        "-f",
        text(&instance.write_service("web", "  resources: {cpu: \"1\"}\n  scale: {min: 1, max: 2}\n")),
    ]);
    instance.wait_for_ready("web", 1);
    for order in [
        &["scale", "service/web", "--replicas", "1"][..],
        &["pause", "service/web"],
        &["protect", "replica/web-0", "--for", "10m"],
    ] {
        assert_eq!(instance.run(order).code, Some(0), "{order:?}");
    }
    instance.end(Signal::TERM);
    let kept = rows(&instance);
    let folders = ["epoch", "holds", "memory", "pauses", "protections", "services"];
    let found: Vec<&str> = kept.iter().filter_map(|row| row.key.as_str().split('/').next()).collect();
    assert_eq!(found, folders, "each kind of row is tried");

    for row in &kept {
        keep(&instance, &row.key, &newer(&row.value));
        let before = rows(&instance);
        let said = instance.run(&["up", "--data", "data", "--listen", "127.0.0.1:0"]);
        let parts = [row.key.as_str(), "a newer homeostat wrote it (form 2, this one reads up to 1)"];
        assert_refused(&said, 1, &parts);
        assert_eq!(rows(&instance), before, "{} was written to", row.key);
        keep(&instance, &row.key, &row.value);
    }

    instance.up(&[]);
    instance.wait_for_ready("web", 1);
}

/// All rows in the store of an instance that does not run.
fn rows(instance: &Instance) -> Vec<Entry> {
    let store = EmbeddedStore::open(&instance.path("data")).expect("nobody else has it");
    store.list(&Prefix::root()).expect("it can be read").entries
}

fn keep(instance: &Instance, key: &Key, value: &Value) {
    let store = EmbeddedStore::open(&instance.path("data")).expect("nobody else has it");
    let done = store.commit(Txn::new().put(key.clone(), value.clone()));
    assert!(matches!(done, Ok(Commit::Applied { .. })), "{done:?}");
}

/// A value as a homeostat with another format would write it: with our fields, and one that we do not know.
fn newer(value: &Value) -> Value {
    let mut json: Json = serde_json::from_slice(value).expect("values are JSON");
    json["v"] = 2.into();
    json["later"] = "unknown to us".into();
    Value::new(json.to_string()).expect("it is short")
}

#[test]
fn a_data_folder_that_cannot_be_made_is_named() {
    let instance = Instance::new();
    let file = instance.write("file", "");
    let inside = file.join("data");
    assert_refused(&instance.run(&["up", "--data", text(&inside)]), 1, &[text(&inside), "--data"]);
}

#[test]
fn a_server_that_is_not_there_is_named_with_what_to_try() {
    let instance = Instance::new();
    let said = instance.run(&["get", "--server", "http://127.0.0.1:1"]);
    assert_refused(&said, 1, &["http://127.0.0.1:1", "homeostat up", "--server", "refused"]);
    assert_eq!(said.err.lines().count(), 1, "{said:?}");
}

#[test]
fn a_load_that_nobody_answers_has_failed() {
    let instance = Instance::new();
    let said =
        instance.run(&["load", "http://127.0.0.1:1/", "--rate", "20", "--duration", "500ms", "-o", "json"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.contains("none of the 10 requests to 127.0.0.1:1 was answered"), "{said:?}");
    assert_eq!(
        (&said.json()["requests"], &said.json()["failed"]),
        (&10.into(), &10.into()),
        "it is reported"
    );
}

#[test]
fn words_that_are_wrong_end_with_two() {
    let instance = Instance::new();
    for words in [
        &["get", "thing"][..],
        &["scale", "service/web"],
        &["load", "https://shop.local", "--rate", "1", "--duration", "1s"],
        &["get", "--server", "https://shop.local"],
        &["delete", "replica/web-0"],
        &["nonsense"],
    ] {
        let said = instance.run(words);
        assert_eq!(said.code, Some(2), "{words:?}: {said:?}");
        assert!(said.err.starts_with("error: "), "{words:?}: {said:?}");
    }
}

#[test]
fn a_journal_that_is_none_is_refused() {
    let instance = Instance::new();
    let file = instance.write("1.journal", "no journal at all");
    assert_refused(&instance.run(&["replay", text(&file)]), 1, &["1.journal", "no journal"]);
    assert_refused(&instance.run(&["replay", "--data", "nowhere"]), 1, &["nowhere"]);
}
