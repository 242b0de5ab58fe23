//! Errors are one sentence with the right exit code, and change nothing.

use std::net::TcpListener;

use rustix::process::Signal;
use serde_json::Value as Json;
use store::{Commit, Entry, Key, Prefix, Store, Txn, Value};
use store_embedded::EmbeddedStore;

use crate::instance::{CommandOutput, Instance, text, wait_until};

/// One sentence on standard error, and this code.
#[track_caller]
fn assert_refused(output: &CommandOutput, code: i32, parts: &[&str]) {
    assert_eq!(output.code, Some(code), "{output:?}");
    let last = output.err.lines().last().unwrap_or_default();
    assert!(last.starts_with("error: "), "{output:?}");
    for part in parts {
        assert!(output.err.contains(part), "{part:?} is missing: {output:?}");
    }
    assert!(output.out.is_empty(), "{output:?}");
}

#[test]
fn an_invalid_manifest_is_refused_with_its_line_before_anything_starts() {
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
fn a_port_in_use_is_named() {
    let instance = Instance::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it is bound").to_string();
    assert_refused(
        &instance.run(&["up", "--listen", &address]),
        1,
        &["HS0021", &address, "--listen", "in use"],
    );
}

#[test]
fn an_address_is_logged_as_exposed_once_the_proxy_listens_on_it() {
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
fn a_replica_that_cannot_be_started_is_logged_as_a_warning() {
    let mut instance = Instance::new();
    let absent = instance.write(
        "absent.yaml",
        "apiVersion: homeostat/v1\nkind: Service\nmetadata: {name: web}\nspec:\n  run: {command: [./absent]}\n",
    );
    instance.up(&["-f", text(&absent)]);
    let warned = |log: String| {
        log.lines().any(|line| line.contains("WARN ActionFailed") && line.contains("does not exist"))
    };
    wait_until("the log has the reason why nothing runs", || warned(instance.log()).then_some(()));
}

#[test]
fn a_second_homeostat_on_the_same_data_is_refused_and_the_first_continues() {
    let mut instance = Instance::new();
    instance.up(&[]);
    let output = instance.run(&["up", "--data", "data", "--listen", "127.0.0.1:0"]);
    assert_refused(&output, 1, &["HS0020", "data", &instance.pid().to_string()]);
    assert_eq!(instance.run(&["get"]).code, Some(0));
}

#[test]
fn data_of_a_newer_homeostat_is_refused_and_left_unchanged() {
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
    let folders = ["epoch", "holds", "memory", "pauses", "protections", "proven", "services"];
    let found: Vec<&str> = kept.iter().filter_map(|row| row.key.as_str().split('/').next()).collect();
    assert_eq!(found, folders, "each kind of row is tried");

    for row in &kept {
        keep(&instance, &row.key, &newer(&row.value));
        let before = rows(&instance);
        let output = instance.run(&["up", "--data", "data", "--listen", "127.0.0.1:0"]);
        let parts =
            ["HS0022", row.key.as_str(), "a newer homeostat wrote it (format 2, this one reads up to 1)"];
        assert_refused(&output, 1, &parts);
        assert_eq!(rows(&instance), before, "{} was written to", row.key);
        keep(&instance, &row.key, &row.value);
    }

    instance.up(&[]);
    instance.wait_for_ready("web", 1);
}

/// All rows in the store of an instance that does not run.
fn rows(instance: &Instance) -> Vec<Entry> {
    let store = EmbeddedStore::open(&instance.path("data")).expect("no other process has it open");
    store.list(&Prefix::root()).expect("it can be read").entries
}

fn keep(instance: &Instance, key: &Key, value: &Value) {
    let store = EmbeddedStore::open(&instance.path("data")).expect("no other process has it open");
    let done = store.commit(Txn::new().put(key.clone(), value.clone()));
    assert!(matches!(done, Ok(Commit::Applied { .. })), "{done:?}");
}

/// A value as a homeostat with another format writes it: with the known fields and an unknown one.
fn newer(value: &Value) -> Value {
    let mut json: Json = serde_json::from_slice(value).expect("values are JSON");
    json["v"] = 2.into();
    json["later"] = "unknown to us".into();
    Value::new(json.to_string()).expect("it is short")
}

#[test]
fn a_data_folder_that_cannot_be_created_is_named() {
    let instance = Instance::new();
    let file = instance.write("file", "");
    let inside = file.join("data");
    assert_refused(&instance.run(&["up", "--data", text(&inside)]), 1, &["HS0023", text(&inside), "--data"]);
}

#[test]
fn an_unreachable_server_is_named_with_a_hint() {
    let instance = Instance::new();
    let output = instance.run(&["get", "--server", "http://127.0.0.1:1"]);
    assert_refused(&output, 1, &["http://127.0.0.1:1", "homeostat up", "--server", "refused"]);
    assert_eq!(output.err.lines().count(), 1, "{output:?}");
}

#[test]
fn a_load_without_any_response_fails() {
    let instance = Instance::new();
    let output =
        instance.run(&["load", "http://127.0.0.1:1/", "--rate", "20", "--duration", "500ms", "-o", "json"]);
    assert_eq!(output.code, Some(1), "{output:?}");
    assert!(output.err.contains("none of the 10 requests to 127.0.0.1:1 was answered"), "{output:?}");
    assert_eq!(
        (&output.json()["requests"], &output.json()["failed"]),
        (&10.into(), &10.into()),
        "it is reported"
    );
}

#[test]
fn invalid_arguments_exit_with_2() {
    let instance = Instance::new();
    for arguments in [
        &["get", "thing"][..],
        &["scale", "service/web"],
        &["load", "https://shop.local", "--rate", "1", "--duration", "1s"],
        &["get", "--server", "https://shop.local"],
        &["delete", "replica/web-0"],
        &["nonsense"],
    ] {
        let output = instance.run(arguments);
        assert_eq!(output.code, Some(2), "{arguments:?}: {output:?}");
        assert!(output.err.starts_with("error: "), "{arguments:?}: {output:?}");
    }
}

#[test]
fn a_file_that_is_not_a_journal_is_refused() {
    let instance = Instance::new();
    let file = instance.write("1.journal", "no journal at all");
    assert_refused(&instance.run(&["replay", text(&file)]), 1, &["1.journal", "it is not a journal"]);
    assert_refused(&instance.run(&["replay", "--data", "nowhere"]), 1, &["nowhere"]);
}
