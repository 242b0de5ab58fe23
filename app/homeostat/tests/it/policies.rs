//! Every kind of scaling policy, with real replicas.

use std::fs;

use crate::formulas::write_source;
use crate::instance::{Instance, text, wait_until};

/// A worker that is scaled by one metric, `load`, spread over its replicas, 50 for each.
const BY_LOAD: &str = "
    min: 1
    max: 6
    behavior: {scaleDown: {stabilizationWindowSeconds: 0}}
    metrics:
      - {type: External, external: {metric: {name: load}, target: {type: AverageValue, averageValue: 50}}}
";

/// By two: `load` as above, and `jobs`, 10 for each.
const BY_BOTH: &str = "
    min: 1
    max: 6
    behavior: {scaleDown: {stabilizationWindowSeconds: 0}}
    metrics:
      - {type: External, external: {metric: {name: load}, target: {type: AverageValue, averageValue: 50}}}
      - {type: External, external: {metric: {name: jobs}, target: {type: AverageValue, averageValue: 10}}}
";

/// An instance with a worker scaled by `scale`, with the values of metrics in files of their names.
struct Worker {
    instance: Instance,
}

impl Worker {
    fn up(scale: &str, more: &str, numbers: &[(&str, &str)]) -> Self {
        let mut instance = Instance::new();
        let mut files =
            vec![text(&instance.write_service("worker", &format!("  scale:{scale}{more}"))).to_owned()];
        files.extend(numbers.iter().map(|(metric, number)| write_source(&instance, metric, number)));
        let arguments: Vec<&str> = files.iter().flat_map(|file| ["-f", file]).collect();
        instance.up(&arguments);
        Self { instance }
    }

    fn declare(&self, scale: &str, more: &str) {
        let manifest = self.instance.write_service("worker", &format!("  scale:{scale}{more}"));
        let applied = self.instance.run(&["apply", "-f", text(&manifest)]);
        assert_eq!(applied.code, Some(0), "{applied:?}");
    }

    fn measure(&self, metric: &str, number: &str) {
        fs::write(self.instance.path(metric), number).expect("the folder is writable");
    }

    /// Waits until exactly these replicas exist and are ready.
    fn is(&self, replicas: usize) {
        self.instance.wait_for_ready("worker", replicas);
    }

    /// Waits until `explain` has this line.
    fn wait_for_explanation(&self, part: &str) -> String {
        wait_until(part, || {
            let output = self.instance.run(&["explain", "service/worker"]).out;
            output.contains(part).then_some(output)
        })
    }

    fn names(&self) -> Vec<String> {
        self.instance.replicas("worker").into_keys().collect()
    }
}

#[test]
fn between_watermarks_the_size_stays_and_beyond_them_it_is_corrected() {
    let policy = "    policy: {watermarks: {high: 60, low: 25, outAfter: 1s, inAfter: 1s}}\n";
    let worker = Worker::up(BY_LOAD, policy, &[("load", "150")]);
    worker.is(3);
    worker.wait_for_explanation("load at 50, between the watermarks 25 and 60");
    worker.measure("load", "120");
    worker.wait_for_explanation("load at 40, between the watermarks 25 and 60, so the size stays at 3");
    worker.measure("load", "60");
    worker.is(2);
    let events = worker.instance.run(&["events", "service/worker"]).out;
    assert!(events.contains("load at 150, above the high watermark 60: 150 in total, with"), "{events}");
    assert!(events.contains("load at 20, below the low watermark 25: 60 in total, with"), "{events}");
}

#[test]
fn a_target_is_tracked_and_nothing_is_removed_while_replicas_warm_up() {
    let policy = "    policy: {targetTracking: {warmup: 5s, outAfter: 0s, inAfter: 0s}}\n";
    let worker = Worker::up(BY_LOAD, policy, &[("load", "200")]);
    worker.is(4);
    worker.measure("load", "100");
    worker.wait_for_explanation("warming up until ");
    assert_eq!(worker.names().len(), 4);
    worker.is(2);
}

#[test]
fn unanimous_metrics_scale_out_only_together() {
    let policy = "    policy: unanimous\n";
    let worker = Worker::up(BY_BOTH, policy, &[("load", "200"), ("jobs", "9")]);
    worker.wait_for_explanation("its metrics do not agree on a change: load at 200, target 50");
    worker.is(1);
    worker.measure("jobs", "30");
    worker.is(3);
    worker.measure("jobs", "60");
    worker.is(4);
}

#[test]
fn in_a_composite_metrics_compensate_for_each_other() {
    let policy = "    policy: {composite: {weights: {load: 3, jobs: 1}}}\n";
    // Twice and once what one should have, three to one: 1.75. The most of them would want two as well, but four of 10 jobs.
    let worker = Worker::up(BY_BOTH, policy, &[("load", "100"), ("jobs", "10")]);
    worker.is(2);
    worker.measure("jobs", "40");
    // 1 and 2, three to one: 1.25.
    worker.is(3);
    let output = worker.instance.query(&["explain", "service/worker"]);
    assert_eq!(output["policy"], "composite", "{output}");
}

#[test]
fn a_schedule_sets_bounds_while_it_lasts() {
    let always = |bound: &str| {
        format!("    schedule: [{{cron: \"* * * * *\", timezone: Europe/Berlin, duration: 1m, {bound}}}]\n")
    };
    let worker = Worker::up(BY_LOAD, &always("min: 3"), &[("load", "40")]);
    worker.is(3);
    worker.measure("load", "200");
    worker.is(4);
    worker.declare(BY_LOAD, &always("max: 2"));
    worker.is(2);
    worker.declare(BY_LOAD, "");
    worker.is(4);
}

#[test]
fn a_size_that_is_not_allowed_is_rounded_to_an_allowed_one() {
    let worker = Worker::up(BY_LOAD, "    sizes: {only: odd}\n", &[("load", "80")]);
    worker.is(3);
    worker.measure("load", "40");
    worker.is(1);
    worker.declare(BY_LOAD, "    sizes: {only: powersOfTwo}\n");
    worker.measure("load", "150");
    worker.is(4);
}

#[test]
fn scale_in_stops_once_the_budget_of_reversals_is_spent() {
    let worker = Worker::up(BY_LOAD, "    flaps: {most: 1, per: 10m}\n", &[("load", "200")]);
    worker.is(4);
    worker.measure("load", "100");
    worker.is(2);
    // More are never held back.
    worker.measure("load", "200");
    worker.is(4);
    worker.measure("load", "100");
    worker.wait_for_explanation("HeldByFlaps");
    worker.is(4);
}

#[test]
fn an_autoscaler_in_shadow_mode_has_no_effect_or_only_adds_replicas() {
    let worker = Worker::up(BY_LOAD, "    mode: shadow\n", &[("load", "200")]);
    worker.wait_for_explanation("it would be: from 1 to 4: load at 200, target 50");
    worker.is(1);
    worker.declare(BY_LOAD, "    mode: upOnly\n");
    worker.is(4);
    worker.measure("load", "100");
    worker.wait_for_explanation("0.500");
    worker.is(4);
    worker.declare(BY_LOAD, "    mode: on\n");
    worker.is(2);
}

#[test]
fn the_oldest_replica_is_removed_first_and_a_protected_one_is_not() {
    let worker = Worker::up(BY_LOAD, "    remove: oldest\n", &[("load", "100")]);
    worker.is(2);
    worker.measure("load", "200");
    worker.is(4);
    let protected = worker.instance.run(&["protect", "replica/worker-0", "--for", "1h"]);
    assert_eq!(protected.code, Some(0), "{protected:?}");
    worker.measure("load", "140");
    worker.is(3);
    assert_eq!(worker.names(), ["worker-0", "worker-2", "worker-3"]);
}

/// A manifest that Kubernetes accepts unchanged.
const AUTOSCALER: &str = "apiVersion: autoscaling/v2beta2
kind: HorizontalPodAutoscaler
metadata: {name: worker}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: worker}
  minReplicas: 2
  maxReplicas: 5
  behavior: {scaleDown: {stabilizationWindowSeconds: 0, policies: [{type: Pods, value: 1, periodSeconds: 2}]}}
  metrics:
    - {type: External, external: {metric: {name: load}, target: {type: AverageValue, averageValue: 50}}}
";

#[test]
fn a_kubernetes_hpa_scales_the_service_that_it_targets() {
    let worker = Worker::up(" {replicas: 1}\n", "", &[("load", "170")]);
    worker.is(1);
    let manifest = worker.instance.write("autoscaler.yaml", AUTOSCALER);
    let applied = worker.instance.run(&["apply", "-f", text(&manifest)]);
    assert_eq!(applied.code, Some(0), "{applied:?}");
    worker.is(4);
    worker.measure("load", "100");
    worker.is(2);
    // One in two seconds, as its policy has it.
    let events = worker.instance.run(&["events", "service/worker"]).out;
    assert!(events.contains("from 4 to 3: load at ") && events.contains("from 3 to 2: load at "), "{events}");
}
