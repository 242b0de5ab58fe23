//! Vertical scaling: recommended resources of a replica, learned from its usage.

use crate::instance::{Instance, text, wait_until};

#[test]
fn the_resource_usage_of_replicas_is_learned_and_shown() {
    let mut instance = Instance::new();
    let manifest = instance.write_service(
        "worker",
        "  resources: {memory: 512Mi}\n  scale: {replicas: 1, vertical: {mode: initial, memory: {min: 24Mi}}}\n",
    );
    instance.up(&["-f", text(&manifest)]);
    let found = wait_until("memory was measured", || {
        let worker = instance.query(&["get", "service/worker"]);
        let found = worker.pointer("/status/recommendation")?.clone();
        found["memoryBytes"]["target"].is_u64().then_some(found)
    });
    const MIB: u64 = 1 << 20;
    let memory = &found["memoryBytes"];
    let target = memory["target"].as_u64().expect("it is a number");
    assert!(
        (24 * MIB..256 * MIB).contains(&target),
        "as declared at least, and far less than asked for: {found}"
    );
    assert_eq!(memory["declared"], 512 * MIB);
    assert!(
        found["cpuMillicores"].is_null() && memory["given"].is_null(),
        "a minute has not passed: {found}"
    );

    let output = instance.run(&["describe", "service/worker"]).out;
    assert!(
        output.contains("size of a replica") && output.contains("minutes of a replica have been measured"),
        "{output}"
    );
}

/// A service of at most one replica, with a metric in a file that asks for more.
fn crowded(instance: &Instance) -> [std::path::PathBuf; 2] {
    instance.write("jobs", "10");
    let source = instance.write(
        "source.yaml",
        "apiVersion: homeostat/v1\nkind: MetricSource\nmetadata: {name: jobs}\nspec:\n  metric: jobs\n  \
         from: {command: {argv: [cat, jobs]}}\n  every: 250ms\n  timeout: 2s\n  staleAfter: 2s\n",
    );
    let external =
        "{type: External, external: {metric: {name: jobs}, target: {type: AverageValue, averageValue: 10}}}";
    let scale = format!(
        "  resources: {{cpu: 100m, memory: 256Mi}}\n  scale:\n    min: 1\n    max: 1\n    metrics: [{external}]\n    \
         vertical: {{mode: auto, cpu: {{max: 250m}}}}\n"
    );
    [instance.write_service("worker", &scale), source]
}

#[test]
fn a_service_at_its_maximum_resizes_replicas_in_place_and_shows_it() {
    let mut instance = Instance::new();
    let [service, source] = crowded(&instance);
    instance.up(&["-f", text(&service), "-f", text(&source)]);
    instance.wait_for_ready("worker", 1);
    let wait_for = |instance: &Instance, verb: &[&str], part: &str| {
        wait_until(part, || {
            let output = instance.run(verb).out;
            output.contains(part).then_some(output)
        })
    };
    instance.write("jobs", "30");
    let grown = "cpu changes from 100m to 250m: the metrics ask for 3 replicas, but only 1 may run";
    wait_for(&instance, &["events", "service/worker"], grown);
    let told_why = wait_for(&instance, &["explain", "service/worker"], "size of a replica");
    let why = "auto: the metrics ask for 3 replicas, but only 1 may run, so each gets cpu 250m until that changes; running replicas are changed in place";
    assert!(told_why.contains(why), "{told_why}");
    let replica = instance.query(&["get", "replica/worker-0"]);
    assert_eq!(replica.pointer("/status/restarts").and_then(serde_json::Value::as_u64), Some(0), "{replica}");
}

#[test]
fn throttling_by_a_cpu_quota_is_shown_with_the_cpu_usage() {
    let mut instance = Instance::new();
    // It would use a whole processor.
    let manifest = instance.write(
        "busy.yaml",
        &format!(
            "apiVersion: homeostat/v1\nkind: Service\nmetadata: {{name: busy}}\nspec:\n  run:\n    \
             command: [sh, -c, 'while :; do :; done']\n    env: {{{}}}\n  resources: {{cpu: 100m}}\n",
            instance.mark()
        ),
    );
    instance.up(&["--cpu", "quota", "-f", text(&manifest)]);
    let nodes = instance.query(&["get", "nodes"]);
    // A reason is only reported if the platform does not support it.
    if nodes.pointer("/items/0/status/capabilities/cpu").is_none_or(|why| !why.is_null()) {
        return;
    }
    let usage = wait_until("it had to wait", || {
        let replica = instance.query(&["get", "replica/busy-0"]);
        replica.pointer("/status/usage/throttledShare").filter(|share| share.as_f64() > Some(0.5))?;
        Some(replica["status"].clone())
    });
    let counted = |name: &str| usage["throttling"][name].as_f64().expect("it is a number");
    assert!(counted("throttledWindows") <= counted("windows") && counted("waitedSeconds") > 0.0, "{usage}");
    let output = instance.run(&["describe", "service/busy"]).out;
    assert!(
        output.contains("m (throttled ") && output.contains("limit of the processor\nREPLICA"),
        "{output}"
    );
    let (_, metrics) = instance.get_api("/metrics");
    for name in ["periods", "throttled_periods", "throttled_seconds"] {
        let line = format!("homeostat_replica_cpu_{name}_total{{service=\"busy\",replica=\"busy-0\"}} ");
        assert!(metrics.contains(&line), "{metrics}");
    }
}

#[test]
fn contradictory_bounds_are_refused() {
    let instance = Instance::new();
    let scale = "  scale: {replicas: 1, vertical: {cpu: {min: 2, max: 1}, memory: {min: 0}}}\n";
    let manifest = instance.write_service("worker", scale);
    let result = instance.run(&["validate", "-f", text(&manifest)]);
    assert_eq!(result.code, Some(2), "{result:?}");
    assert!(result.err.contains("spec.scale.vertical.cpu.min: min (2) is above max (1)"), "{result:?}");
    assert!(
        result.err.contains("spec.scale.vertical.memory.min: an amount of a resource must be above 0"),
        "{result:?}"
    );
}
