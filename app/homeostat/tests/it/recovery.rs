//! How replicas are promoted, probed, drained and replaced.

use std::fs;
use std::process::{Child, Stdio};

use rustix::process::{Signal, kill_process};
use serde_json::Value;

use crate::instance::{Instance, get, pid_of, text, wait_until};

/// Lines of a spec that expose a service, and where.
fn exposed() -> (String, String) {
    let port = ports::free();
    let lines = format!("  expose: {{listen: \"127.0.0.1:{port}\", port: http}}\n");
    (lines, format!("http://127.0.0.1:{port}/"))
}

/// Begins to send fifty requests a second, and returns once they are answered.
fn begin_load(instance: &Instance, service: &str, url: &str) -> Child {
    wait_until("the proxy answers", || get(url).ok());
    let mut load = instance.command(&["load", url, "--rate", "50", "--duration", "8s", "-o", "json"]);
    let load = load.stdout(Stdio::piped()).spawn().expect("the binary was built");
    wait_until("requests are answered", || {
        let traffic = &instance.query(&["get", &format!("service/{service}")])["status"]["traffic"];
        traffic["requestsPerSecond"].as_f64().filter(|rate| *rate > 10.0)
    });
    load
}

/// Waits for the end of the load, of which no request may have failed.
fn assert_none_failed(load: Child) {
    let ended = load.wait_with_output().expect("it is a child");
    let report: Value = serde_json::from_slice(&ended.stdout).expect("a report");
    assert_eq!((report["failed"].as_u64(), report["requests"].as_u64()), (Some(0), Some(400)), "{report}");
}

#[test]
fn a_warm_spare_takes_the_place_of_a_dead_replica_and_a_new_spare_is_started() {
    let mut instance = Instance::new();
    let manifest =
        instance.write_service("web", "  scale: {replicas: 2}\n  recover: {strategy: standby, spares: 1}\n");
    instance.up(&["-f", text(&manifest)]);
    let with_role = |replicas: &std::collections::BTreeMap<String, Value>, role: &str| -> Vec<i64> {
        let all = replicas.values().filter(|status| status["role"] == role && status["ready"] == true);
        all.filter_map(|status| status["pid"].as_i64()).collect()
    };
    let before = instance.wait_for_ready("web", 3);
    let (actives, spares) = (with_role(&before, "active"), with_role(&before, "spare"));
    assert_eq!((actives.len(), spares.len()), (2, 1), "{before:?}");

    let victim = before.values().find(|status| status["pid"] == actives[0]).map(pid_of).expect("it exists");
    kill_process(victim, Signal::KILL).expect("it runs");

    let after = wait_until("two are active again, and one is a new spare", || {
        let now = instance.replicas("web");
        let new_spares = with_role(&now, "spare");
        let is_whole = with_role(&now, "active").len() == 2 && new_spares.len() == 1;
        (is_whole && new_spares != spares).then_some(now)
    });
    let actives_now = with_role(&after, "active");
    assert!(actives_now.contains(&spares[0]), "the spare was promoted: {after:?}");
    assert!(actives_now.contains(&actives[1]), "the other one was left alone: {after:?}");
}

#[test]
fn replicas_that_take_over_the_load_of_another_lose_no_request() {
    for strategy in ["mostActive", "random"] {
        let mut instance = Instance::new();
        let (expose, url) = exposed();
        let more = format!("  scale: {{replicas: 3}}\n  recover: {{strategy: {strategy}}}\n{expose}");
        let manifest = instance.write_service("web", &more);
        instance.up(&["-f", text(&manifest)]);
        let victim = pid_of(&instance.wait_for_ready("web", 3)["web-1"]);
        let load = begin_load(&instance, "web", &url);

        kill_process(victim, Signal::KILL).expect("it runs");

        assert_none_failed(load);
        let after = instance.wait_for_ready("web", 3);
        assert_ne!(pid_of(&after["web-1"]), victim, "{strategy}");
    }
}

#[test]
fn a_replica_that_fails_a_command_probe_gets_no_requests_and_is_restarted_later() {
    let mut instance = Instance::new();
    let alive = instance.write("alive", "");
    let probe = "  scale: {replicas: 1}\n";
    let manifest = instance.write_service("web", probe);
    let probes = "  probes: {readiness: {";
    let liveness = "  probes: {liveness: {command: [test, -e, alive], every: 100ms}, readiness: {";
    let written = fs::read_to_string(&manifest).unwrap().replace(probes, liveness);
    let manifest = instance.write("web.yaml", &written);
    instance.up(&["-f", text(&manifest)]);
    let sick = pid_of(&instance.wait_for_ready("web", 1)["web-0"]);

    fs::remove_file(&alive).unwrap();
    wait_until("it is out of the traffic, and still runs", || {
        let status = instance.replicas("web").remove("web-0")?;
        (status["ready"] == false && pid_of(&status) == sick).then_some(())
    });

    instance.write("alive", "");
    wait_until("it is well again, and was not restarted", || {
        let status = instance.replicas("web").remove("web-0")?;
        (status["ready"] == true && pid_of(&status) == sick).then_some(())
    });

    fs::remove_file(&alive).unwrap();
    wait_until("it is restarted, since it does not get well", || {
        let status = instance.replicas("web").remove("web-0")?;
        (status["pid"].is_number() && pid_of(&status) != sick).then_some(())
    });
}

#[test]
fn a_service_starts_once_its_dependency_is_ready() {
    let mut instance = Instance::new();
    let database = instance.write_service("db", "");
    let closed = fs::read_to_string(&database).unwrap();
    let changed = closed
        .replace("{http: {path: /}, every: 100ms, timeout: 5s}", "{command: [test, -e, open], every: 100ms}");
    assert_ne!(changed, closed);
    let database = instance.write("db.yaml", &changed);
    let web = instance.write_service("web", "  dependsOn: [{service: db, when: ready}]\n");
    instance.up(&["-f", text(&web), "-f", text(&database)]);
    wait_until("the database runs", || instance.replicas("db").remove("db-0")?["pid"].as_i64());
    let why = wait_until("the waiting service has the reason", || {
        let output = instance.run(&["describe", "service/web"]);
        output.out.contains("db").then_some(output.out)
    });
    assert!(instance.replicas("web").values().all(|status| status["pid"].is_null()), "{why}");

    instance.write("open", "");
    instance.wait_for_ready("db", 1);
    instance.wait_for_ready("web", 1);
}

#[test]
fn no_request_fails_during_scale_in_and_a_rolling_update() {
    let mut instance = Instance::new();
    let (expose, url) = exposed();
    let manifest = instance.write_service("web", &format!("  scale: {{replicas: 4}}\n{expose}"));
    instance.up(&["-f", text(&manifest)]);
    let before = instance.wait_for_ready("web", 4);
    let load = begin_load(&instance, "web", &url);

    assert_eq!(instance.run(&["scale", "service/web", "--replicas", "2"]).code, Some(0));
    instance.wait_for_ready("web", 2);
    let written = fs::read_to_string(&manifest).unwrap().replace("    env: {", "    env: {CHANGED: \"1\", ");
    let manifest = instance.write("web.yaml", &written);
    assert_eq!(instance.run(&["apply", "-f", text(&manifest)]).code, Some(0));
    wait_until("every replica is a new one", || {
        let now = instance.replicas("web");
        let is_new = |(name, status): (&String, &Value)| {
            status["ready"] == true && before[name]["pid"] != status["pid"]
        };
        (now.len() == 2 && now.iter().all(is_new)).then_some(())
    });

    assert_none_failed(load);
    let status = &instance.query(&["get", "service/web"])["status"];
    let versions = status["versions"].as_array().expect("a list");
    let requests: Vec<u64> =
        versions.iter().filter_map(|version| version["responses"]["2xx"].as_u64()).collect();
    assert_eq!(requests.len(), 2, "the one that is gone, and the one that runs: {status}");
    assert!(requests.iter().all(|count| *count > 0), "{status}");
    assert_eq!(
        (versions[0]["servingReplicas"].as_u64(), versions[1]["servingReplicas"].as_u64()),
        (Some(0), Some(2))
    );
    let described = instance.run(&["describe", "service/web"]).out;
    assert!(described.contains("requests by version"), "{described}");
    let generation = versions[1]["generation"].as_u64().expect("a number");
    let (_, metrics) = instance.get_api("/metrics");
    let line = format!(
        "homeostat_version_requests_total{{service=\"web\",generation=\"{generation}\",status=\"2xx\"}} "
    );
    assert!(metrics.contains(&line), "{metrics}");
}

#[test]
fn a_version_that_does_not_start_leaves_the_service_serving_and_incomplete() {
    let mut instance = Instance::new();
    let manifest = instance.write_service("web", "  scale: {replicas: 2}\n");
    instance.up(&["-f", text(&manifest)]);
    let before = instance.wait_for_ready("web", 2);

    let broken = "apiVersion: homeostat/v1\nkind: Service\nmetadata: {name: web}\nspec:\n  run: {command: [\"false\"]}\n  \
                  ports: [{name: http, protocol: http}]\n  probes: {readiness: {http: {path: /}, every: 100ms}}\n  \
                  scale: {replicas: 2}\n";
    instance.query(&["apply", "-f", text(&instance.write("broken.yaml", broken))]);

    let complete = wait_until("the new version is known to fail", || {
        let status = instance.query(&["get", "service/web"])["status"].clone();
        let conditions = status["conditions"].as_array()?.clone();
        let complete = conditions.into_iter().find(|condition| condition["type"] == "Complete")?;
        complete["message"].as_str()?.contains(": ").then_some(complete)
    });
    assert_eq!(
        (&complete["status"], &complete["reason"]),
        (&"False".into(), &"Updating".into()),
        "{complete}"
    );
    assert!(
        complete["message"].as_str().unwrap().starts_with("2 of 2 replicas run an older version"),
        "{complete}"
    );
    for (name, status) in &before {
        assert_eq!(instance.replicas("web")[name]["pid"], status["pid"], "{name} goes on");
    }
}

#[test]
fn until_a_version_starts_the_one_before_it_is_restarted_and_scaled_out() {
    let mut instance = Instance::new();
    let manifest = instance.write_service("web", "  scale: {replicas: 2}\n");
    instance.up(&["-f", text(&manifest)]);
    instance.wait_for_ready("web", 2);
    let good = fs::read_to_string(&manifest).unwrap();
    let command = good.lines().find(|line| line.contains("command:")).expect("it has a command");
    let broken = good.replace(command, "    command: [\"false\"]");
    instance.query(&["apply", "-f", text(&instance.write("broken.yaml", &broken))]);
    // Whatever Homeostat knows of the version before is known after its restart.
    instance.end(Signal::KILL);
    instance.up(&[]);

    let ready_at_first = || {
        let ready = |status: &&Value| status["ready"] == true && status["generation"] == 1;
        instance.replicas("web").values().filter(ready).count()
    };
    wait_until("both serve", || (ready_at_first() == 2).then_some(()));
    let victim = pid_of(&instance.replicas("web")["web-0"]);
    kill_process(victim, Signal::KILL).expect("it runs");
    wait_until("it is restarted as the version before", || {
        let status = instance.replicas("web").remove("web-0")?;
        (status["ready"] == true && status["generation"] == 1 && pid_of(&status) != victim).then_some(())
    });
    instance.query(&["scale", "service/web", "--replicas", "4"]);
    wait_until("the version before is scaled out", || (ready_at_first() == 4).then_some(()));
    let events = instance.run(&["events", "service/web"]).out;
    let why = "generation 2 has not become ready; generation 1 goes on serving and is started until it has";
    assert!(events.contains(why), "{events}");
}
