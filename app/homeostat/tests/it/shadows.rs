//! Shadow autoscalers, which decide beside the acting one without effect.

use std::fs;

use rustix::process::Signal;
use serde_json::Value;

use crate::instance::{Instance, text, wait_until};

/// Five jobs for each worker; beside it one that gives each ten, and one that would double the most.
const SCALE: &str = "  scale:
    min: 1
    max: 4
    behavior: {scaleDown: {stabilizationWindowSeconds: 0}}
    metrics: [{type: External, external: {metric: {name: jobs}, target: {type: AverageValue, averageValue: 5}}}]
    shadows:
      - name: leaner
        metrics: [{type: External, external: {metric: {name: jobs}, target: {type: AverageValue, averageValue: 10}}}]
      - name: wider
        max: 8
        policy: {formula: {expression: jobs / 5}}
";

fn shadow(instance: &Instance, name: &str) -> Value {
    let scaling = instance.query(&["get", "scaling", "service/worker"]);
    let shadows = scaling["status"]["shadows"].as_array().expect("a list").clone();
    shadows.into_iter().find(|shadow| shadow["name"] == name).unwrap_or_default()
}

#[test]
fn a_shadow_autoscaler_is_compared_with_the_acting_one_and_the_comparison_survives_a_crash() {
    let mut instance = Instance::new();
    instance.write("jobs", "35");
    let source = instance.write(
        "jobs.yaml",
        "apiVersion: homeostat/v1\nkind: MetricSource\nmetadata: {name: jobs}\nspec:\n  metric: jobs\n  \
         from: {command: {argv: [cat, jobs]}}\n  every: 250ms\n  timeout: 2s\n",
    );
    let manifest = instance.write_service("worker", SCALE);
    instance.up(&["-f", text(&manifest), "-f", text(&source)]);
    // 35 jobs by five are seven, of which four may run; by ten they are four as well.
    instance.wait_for_ready("worker", 4);
    let wants = |instance: &Instance, name: &str, replicas: u64| {
        wait_until(&format!("{name} wants {replicas}"), || {
            let found = shadow(instance, name);
            (found["desiredReplicas"] == replicas).then_some(found)
        })
    };
    wants(&instance, "leaner", 4);
    let wider = wants(&instance, "wider", 7);
    assert_eq!(wider["policy"], "formula", "{wider}");
    let above = wait_until("it is scored", || {
        let found = shadow(&instance, "wider");
        (found["above"]["seconds"].as_f64() > Some(2.0)).then_some(found)
    });
    assert!(above["own"]["replicaHours"].as_f64() > above["acting"]["replicaHours"].as_f64(), "{above}");
    assert_eq!(instance.replicas("worker").len(), 4, "without any effect");
    let explained = instance.run(&["explain", "service/worker"]).out;
    assert!(explained.contains("SHADOW") && explained.contains("jobs / 5 is 7 (jobs 35)"), "{explained}");
    let table = instance.run(&["get", "scaling"]).out;
    for part in ["acting", "leaner", "wider", "REPLICA-H"] {
        assert!(table.contains(part), "{part} is missing in {table}");
    }

    fs::write(instance.path("jobs"), "12").expect("the folder is writable");
    instance.wait_for_ready("worker", 3);
    let leaner = wants(&instance, "leaner", 2);
    assert_eq!(leaner["own"]["scaleIns"], 1, "{leaner}");
    // What it has come to is written down when it wants another number.
    instance.end(Signal::KILL);
    instance.up(&[]);
    let after = wants(&instance, "leaner", 2);
    assert_eq!((&after["since"], &after["changes"][0]), (&leaner["since"], &leaner["changes"][0]), "{after}");
    assert_eq!(instance.run(&["get", "scaling", "service/gone"]).code, Some(1));
}
