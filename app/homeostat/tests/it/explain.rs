//! Explanations of decisions: their inputs, and what would lead to another outcome.

use rustix::process::Signal;
use serde_json::Value;

use crate::instance::{Instance, text, wait_until};

/// Follows the number in the file `queue`, ten for each replica.
const BY_QUEUE: &str = "  scale:
    min: 1
    max: 6
    behavior: {scaleDown: {stabilizationWindowSeconds: 3600}}
    metrics:
      - type: External
        external: {metric: {name: queue}, target: {type: AverageValue, averageValue: 10}}
---
apiVersion: homeostat/v1
kind: MetricSource
metadata: {name: queue}
spec: {metric: queue, from: {command: {argv: [cat, queue]}}, every: 200ms, staleAfter: 1m}
";

/// A service that has followed a queue of 35.
fn instance_of_four() -> Instance {
    let mut instance = Instance::new();
    instance.write("queue", "35");
    let manifest = instance.write_service("worker", BY_QUEUE);
    instance.up(&["-f", text(&manifest)]);
    instance.wait_for_ready("worker", 4);
    instance
}

fn decisions(history: &Value) -> &[Value] {
    history["items"].as_array().expect("a list")
}

/// The decisions that are kept of a service of which nothing changes any more.
fn settled_history(instance: &Instance) -> Value {
    wait_until("the history has a run of decisions that goes on", || {
        let history = instance.query(&["explain", "service/worker", "--since", "1h"]);
        let lasts = decisions(&history).last()?["count"].as_u64()? > 5;
        lasts.then_some(history)
    })
}

#[test]
fn decisions_are_kept_in_the_history_and_replayed_bit_for_bit() {
    let mut instance = instance_of_four();
    let history = settled_history(&instance);
    let first = decisions(&history).iter().find(|it| it["decision"]["desired"] == 4).expect("it wanted four");
    assert_eq!(first["decision"]["metrics"][0]["current"], "35", "{first}");
    let table = instance.run(&["explain", "service/worker", "--since", "-1h"]).out;
    for part in ["replicas wanted since", "DECISIONS", "1 to 4", "stays at 4"] {
        assert!(table.contains(part), "{part} is missing in {table}");
    }
    let cut = instance.query(&["explain", "service/worker", "--since", "1h", "--limit", "1"]);
    assert_eq!((decisions(&cut).len(), &cut["isCut"]), (1, &true.into()), "{cut}");

    instance.end(Signal::TERM);
    let replayed = instance.run(&["replay", "--data", "data", "-o", "json"]).json();
    assert!(replayed["decisions"].as_u64() >= Some(decisions(&history).len() as u64), "{replayed}");

    // Without the journal, which is deleted after a week, the last decision is still known.
    std::fs::remove_dir_all(instance.path("data/journal")).expect("the folder is writable");
    instance.up(&[]);
    instance.wait_for_ready("worker", 4);
    let at = first["from"].as_str().expect("a time");
    let then = instance.query(&["explain", "service/worker", "--at", at]);
    assert_eq!(then["summary"], first["decision"]["summary"], "{then}");
    assert_eq!(then["kept"]["count"], first["count"], "{then}");
    let output = instance.run(&["explain", "service/worker", "--at", at, "--why-not", "out"]).out;
    assert!(output.contains("the journal no longer holds"), "{output}");
}

fn prospects(explanation: &Value) -> Vec<(String, u64, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let one = |it: &Value| (text(&it["need"]), it["desired"].as_u64().unwrap_or(0), text(&it["message"]));
    explanation["prospects"].as_array().expect("a list").iter().map(one).collect()
}

#[test]
fn an_explanation_predicts_what_would_change_the_decision() {
    let instance = instance_of_four();
    let settled = wait_until("the queue is shared by four", || {
        let output = instance.query(&["explain", "service/worker"]);
        (output["metrics"][0]["current"] == "8.75").then_some(output)
    });
    let (_, more, message) = prospects(&settled).swap_remove(0);
    assert_eq!((more, &*message), (5, "with queue at 11.001 (now 8.75): 5 replicas"), "{settled}");
    let output = instance.run(&["explain", "service/worker"]).out;
    assert!(output.contains("what would change it\n  with queue at 11.001"), "{output}");

    let why = instance.run(&["explain", "service/worker", "--why-not", "8"]);
    assert!(why.out.contains("why not 8? 4 replicas"), "{why:?}");
    assert!(
        why.out.contains("no load within the next hour leads to 8 replicas: the maximum is 6"),
        "{why:?}"
    );
    let fewer = instance.query(&["explain", "service/worker", "--why-not", "in"])["whyNot"].clone();
    assert!(fewer["prospects"][0]["at"].is_string(), "it takes an hour: {fewer}");
    let wrong = instance.run(&["explain", "service/worker", "--why-not", "many"]);
    assert_eq!(wrong.code, Some(2), "{wrong:?}");

    instance.write("queue", "44.001");
    instance.wait_for_ready("worker", 5);
    let held = wait_until("the fall is held", || {
        instance.write("queue", "12");
        let output = instance.query(&["explain", "service/worker"]);
        (output["limits"][0]["name"] == "ScaleDownStabilized").then_some(output)
    });
    assert_eq!(held["evidence"][0]["kind"], "recommended", "{held}");
    assert_eq!(held["evidence"][0]["replicas"], 5, "{held}");
    assert_eq!(prospects(&held)[0].0, "time", "{held}");
}

#[test]
fn a_dry_run_shows_the_decisions_of_a_changed_policy_now_and_over_the_last_hour() {
    let instance = instance_of_four();
    let manifest = instance.path("worker.yaml");
    let smaller = std::fs::read_to_string(&manifest).expect("it was written").replace("max: 6", "max: 2");
    let changed = instance.write("smaller.yaml", &smaller);
    let tried = wait_until("the last hour has decisions", || {
        let tried = instance.query(&["apply", "--dry-run", "-f", text(&changed)])["trials"][0].clone();
        (tried["hour"]["decisions"].as_u64()? > 3).then_some(tried)
    });
    assert_eq!((&tried["wanted"], &tried["desired"]), (&4.into(), &2.into()), "{tried}");
    assert_eq!((&tried["hour"]["holds"]["most"], &tried["hour"]["tried"]["most"]), (&4.into(), &2.into()));
    assert_eq!(instance.query(&["explain", "service/worker"])["desired"], 4, "it has no effect");

    let output = instance.run(&["diff", "-f", text(&changed)]);
    assert_eq!(output.code, Some(1), "{output:?}");
    for part in
        ["spec.scale.max: 2", "with it: 2 replicas now, 4 replicas without", "The recorded load is assumed"]
    {
        assert!(output.out.contains(part), "{part} is missing in {output:?}");
    }
    let same = instance.run(&["diff", "-f", text(&manifest)]);
    assert!(same.code == Some(0) && !same.out.contains("with it"), "{same:?}");
}
