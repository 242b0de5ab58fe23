//! The fallback for a metric without measurements, and the transition times of an autoscaler's conditions.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use rustix::process::Signal;
use serde_json::Value;

use crate::instance::{Instance, text, wait_until};
use crate::metric_sources::{page, serve};

/// The number of jobs with which the source hangs.
const HANGS: i64 = -1;

/// A metric source over HTTP with the number of waiting jobs; it hangs while that is [`HANGS`].
fn write_jobs(instance: &Instance, jobs: &Arc<AtomicI64>) -> String {
    let jobs = Arc::clone(jobs);
    let port = serve(move |mut socket| match jobs.load(Ordering::SeqCst) {
        HANGS => {
            // Waits until the client closes.
            let _ = socket.read(&mut [0; 1]);
        }
        waiting => page(socket, "application/json", &format!("{{\"waiting\": {waiting}}}")),
    });
    let manifest = format!(
        "apiVersion: homeostat/v1\nkind: MetricSource\nmetadata: {{name: jobs}}\nspec:\n  metric: jobs\n  \
         from: {{http: {{url: \"http://127.0.0.1:{port}/\", value: $.waiting}}}}\n  every: 250ms\n  timeout: 500ms\n  \
         staleAfter: 1s\n"
    );
    text(&instance.write("jobs.yaml", &manifest)).to_owned()
}

/// Scales by the jobs, ten for each replica; the fallback is four replicas after four seconds without a measurement.
const WITH_FALLBACK: &str = "  scale:
    min: 1
    max: 6
    behavior: {scaleDown: {stabilizationWindowSeconds: 0}}
    metrics:
      - type: External
        external:
          metric: {name: jobs}
          target: {type: AverageValue, averageValue: 10}
          fallback: {failureDurationSeconds: 4, replicas: 4}
";

#[test]
fn a_fallback_replaces_a_hanging_source_until_it_responds_again_even_over_a_crash() {
    let mut instance = Instance::new();
    let jobs = Arc::new(AtomicI64::new(14));
    let manifest = instance.write_service("worker", WITH_FALLBACK);
    let source = write_jobs(&instance, &jobs);
    instance.up(&["-f", text(&manifest), "-f", &source]);
    instance.wait_for_ready("worker", 2);

    jobs.store(HANGS, Ordering::SeqCst);
    let announced = wait_until("the time of the fallback is announced", || {
        let output = instance.run(&["explain", "service/worker"]).out;
        output.contains("UTC if the load stays as it is: 4 replicas").then_some(output)
    });
    assert!(announced.contains("stays at 2: jobs gives no number"), "{announced}");

    instance.end(Signal::KILL);
    instance.up(&[]);
    instance.wait_for_ready("worker", 4);
    let output = instance.run(&["explain", "service/worker"]).out;
    assert!(output.contains("so its fallback of 4 replicas is used"), "{output}");
    assert_eq!(instance.query(&["explain", "service/worker"])["metrics"][0]["proposal"], 4);

    jobs.store(14, Ordering::SeqCst);
    instance.wait_for_ready("worker", 2);
    instance.end(Signal::INT);
    let replayed = instance.query(&["replay", "--data", "data"]);
    assert!(replayed["steps"].as_u64() > Some(20), "{replayed}");
}

const HPA: &str = "apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: worker}
spec:
  scaleTargetRef: {apiVersion: homeostat/v1, kind: Service, name: worker}
  minReplicas: 1
  maxReplicas: 3
  metrics:
    - type: External
      external: {metric: {name: jobs}, target: {type: AverageValue, averageValue: 10}}
";

/// The status and the time of each condition, if all three exist.
fn conditions(instance: &Instance) -> Option<BTreeMap<String, (String, String)>> {
    let autoscaler = instance.query(&["get", "hpa/worker"]);
    let all = autoscaler["status"]["conditions"].as_array().expect("a list").clone();
    let word = |value: &Value| value.as_str().unwrap_or_else(|| panic!("a word: {autoscaler}")).to_owned();
    let of = |condition: &Value| {
        assert_eq!(condition["since"], condition["lastTransitionTime"]);
        (word(&condition["type"]), (word(&condition["status"]), word(&condition["lastTransitionTime"])))
    };
    (all.len() == 3).then(|| all.iter().map(of).collect())
}

#[test]
fn conditions_of_an_autoscaler_keep_their_transition_time_over_a_crash() {
    let mut instance = Instance::new();
    let jobs = Arc::new(AtomicI64::new(14));
    let manifest = instance.write_service("worker", "");
    let (source, hpa) = (write_jobs(&instance, &jobs), instance.write("hpa.yaml", HPA));
    instance.up(&["-f", text(&manifest), "-f", &source, "-f", text(&hpa)]);
    instance.wait_for_ready("worker", 2);
    let standing = |limited: &str, active: &str| {
        wait_until("the conditions are so", || {
            let found = conditions(&instance)?;
            let is = |kind: &str, status: &str| found[kind].0 == status;
            (is("ScalingLimited", limited) && is("ScalingActive", active)).then_some(found)
        })
    };
    let calm = standing("False", "True");
    wait_until("the measurement is in the status of the HorizontalPodAutoscaler", || {
        let metric = instance.query(&["get", "hpa/worker"])["status"]["currentMetrics"][0].clone();
        let external = &metric["external"];
        let is_so = external["metric"]["name"] == "jobs" && external["current"]["averageValue"] == "7";
        (is_so && metric["type"] == "External").then_some(())
    });

    jobs.store(900, Ordering::SeqCst);
    let limited = standing("True", "True");
    assert!(limited["ScalingLimited"].1 > calm["ScalingLimited"].1, "{calm:?}, then {limited:?}");
    for kind in ["AbleToScale", "ScalingActive"] {
        assert_eq!(limited[kind], calm[kind], "its status did not change");
    }
    instance.wait_for_ready("worker", 3);

    instance.end(Signal::KILL);
    instance.up(&[]);
    let after = wait_until("all conditions exist", || {
        let found = conditions(&instance)?;
        (found["ScalingActive"].0 == "True").then_some(found)
    });
    assert_eq!(after["AbleToScale"], limited["AbleToScale"]);
    assert_eq!(after["ScalingLimited"], limited["ScalingLimited"]);
    instance.end(Signal::INT);
    let replayed = instance.query(&["replay", "--data", "data"]);
    assert!(replayed["steps"].as_u64() > Some(20), "{replayed}");
}
