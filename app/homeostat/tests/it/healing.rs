//! A replica that dies, or cannot start.

use rustix::process::{Signal, kill_process};
use serde_json::Value;

use crate::formulas::write_source;
use crate::instance::{Instance, get, is_running, pid_of, text, wait_until};

#[test]
fn a_killed_replica_is_replaced_and_the_event_says_why() {
    let mut instance = Instance::new();
    let manifest = instance.write_service("web", "  scale: {replicas: 2}\n");
    instance.up(&["-f", text(&manifest)]);
    let before = instance.wait_for_ready("web", 2);
    let victim = pid_of(&before["web-0"]);

    kill_process(victim, Signal::KILL).expect("it runs");

    let after = wait_until("web-0 has a successor that is ready", || {
        let status = instance.replicas("web").remove("web-0")?;
        (status["ready"] == true && status["pid"].is_number() && pid_of(&status) != victim).then_some(status)
    });
    assert_eq!(after["restarts"], 1);
    assert_eq!(
        instance.replicas("web")["web-1"]["pid"],
        before["web-1"]["pid"],
        "the other one was left alone"
    );
    let events = instance.query(&["events", "service/web"]);
    let is_it = |event: &Value| {
        let message = event["message"].as_str().unwrap_or_default();
        event["reason"] == "Exited" && event["replica"] == "web-0" && message.contains('9')
    };
    assert!(events["items"].as_array().is_some_and(|items| items.iter().any(is_it)), "{events}");
}

#[test]
fn no_request_fails_while_a_replica_is_killed() {
    let mut instance = Instance::new();
    let port = ports::free();
    let more = format!("  scale: {{replicas: 2}}\n  expose: {{listen: \"127.0.0.1:{port}\", port: http}}\n");
    let manifest = instance.write_service("web", &more);
    instance.up(&["-f", text(&manifest)]);
    let victim = pid_of(&instance.wait_for_ready("web", 2)["web-1"]);
    let url = format!("http://127.0.0.1:{port}/");
    wait_until("the proxy answers", || get(&url).ok());

    let load = ["load", &url, "--rate", "50", "--duration", "3s", "--fail-on-error", "-o", "json"];
    let mut load = instance.command(&load);
    let load = load.stdout(std::process::Stdio::piped()).spawn().expect("the binary was built");
    wait_until("some requests were answered", || {
        let traffic = &instance.query(&["get", "service/web"])["status"]["traffic"];
        traffic["requestsPerSecond"].as_f64().filter(|rate| *rate > 1.0)
    });
    kill_process(victim, Signal::KILL).expect("it runs");

    let ended = load.wait_with_output().expect("it is a child");
    let report: Value = serde_json::from_slice(&ended.stdout).expect("a report");
    assert_eq!((report["failed"].as_u64(), report["skipped"].as_u64()), (Some(0), Some(0)), "{report}");
    assert_eq!(report["requests"], 150);
    assert!(ended.status.success(), "--fail-on-error has nothing to fail for");
    assert!(!is_running(victim) || instance.replicas("web")["web-1"]["pid"] != victim.as_raw_nonzero().get());
}

#[test]
fn a_missing_program_is_reported_and_affects_nothing_else() {
    let mut instance = Instance::new();
    let good = instance.write_service("good", "");
    let bad = instance.write(
        "bad.yaml",
        "apiVersion: homeostat/v1\nkind: Service\nmetadata: {name: bad}\nspec:\n  run: {command: [./no-such-program]}\n",
    );
    instance.up(&["-f", text(&good), "-f", text(&bad)]);
    instance.wait_for_ready("good", 1);

    let output = wait_until("the description names the program", || {
        let output = instance.run(&["describe", "service/bad"]);
        output.out.contains("no-such-program").then_some(output)
    });
    assert_eq!(output.code, Some(0));
    let status = instance.query(&["get", "service/bad"])["status"].clone();
    assert_eq!(status["readyReplicas"], 0, "{status}");
    for arguments in [["get", "replicas"].as_slice(), &["explain", "service/bad"]] {
        wait_until("the reason names the program", || {
            instance.run(arguments).out.contains("no-such-program").then_some(())
        });
    }
}

#[test]
fn an_ejected_replica_is_substituted_and_none_is_removed_meanwhile() {
    let mut instance = Instance::new();
    let port = ports::free();
    let metric =
        "{type: External, external: {metric: {name: jobs}, target: {type: AverageValue, averageValue: 10}}}";
    let more = format!(
        "  expose: {{listen: \"127.0.0.1:{port}\", port: http}}\n  scale:\n    min: 1\n    max: 6\n    metrics: [{metric}]\n    \
         behavior: {{scaleDown: {{stabilizationWindowSeconds: 0}}}}\n"
    );
    let manifest = instance.write_service("web", &more);
    let jobs = write_source(&instance, "jobs", "30");
    instance.up(&["-f", text(&manifest), "-f", &jobs]);
    instance.wait_for_ready("web", 3);

    let failing = format!("http://127.0.0.1:{port}/fail");
    for _ in 0..50 {
        assert!(get(&failing).is_err(), "it is a failure");
    }
    instance.wait_for_ready("web", 4);
    let explained = |part: &str| {
        wait_until(part, || instance.run(&["explain", "service/web"]).out.contains(part).then_some(()));
    };
    explained("and 1 in place of unstable ones");
    std::fs::write(instance.path("jobs"), "10").expect("the folder is writable");
    explained("stays at 4: no replica is removed while the proxy has ejected replica");
}

#[test]
fn a_new_version_whose_port_is_in_use_leaves_the_previous_one_serving() {
    let mut instance = Instance::new();
    let port = ports::free();
    let manifest = instance.write_service("db", "  scale: {replicas: 1}\n");
    let fixed = |manifest: &str| manifest.replace("name: http", &format!("name: http, number: {port}"));
    let first = fixed(&std::fs::read_to_string(&manifest).expect("it was just written"));
    std::fs::write(&manifest, &first).expect("it can be written again");
    instance.up(&["-f", text(&manifest)]);
    let serving = pid_of(&instance.wait_for_ready("db", 1)["db-0"]);

    // It would never listen, and the one before would answer for it.
    let command = first.find("command: ").expect("it runs a command");
    let rest = first[command..].find(']').expect("a list in one line");
    let second = format!("{}command: [sleep, \"600\"{}", &first[..command], &first[command + rest..]);
    std::fs::write(&manifest, second).expect("it can be written again");
    assert_eq!(instance.run(&["apply", "-f", text(&manifest)]).code, Some(0));

    wait_until("the reason why the new replica is not started is reported", || {
        let events = instance.query(&["events", "service/db"]);
        let items = events["items"].as_array()?;
        let is_it = |event: &&Value| {
            event["message"].as_str().is_some_and(|message| message.contains("does not share it"))
        };
        items.iter().find(is_it).cloned()
    });
    assert!(is_running(serving), "{}", instance.log());
    assert!(get(&format!("http://127.0.0.1:{port}/")).is_ok());
}
