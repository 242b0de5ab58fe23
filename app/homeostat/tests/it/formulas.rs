//! Services that are scaled by a formula of several metrics.

use std::fs;

use crate::instance::{Instance, text, wait_until};

/// A source of `metric` that reads its number from a file of that name.
pub(crate) fn write_source(instance: &Instance, metric: &str, number: &str) -> String {
    instance.write(metric, number);
    let manifest = format!(
        "apiVersion: homeostat/v1\nkind: MetricSource\nmetadata: {{name: {}}}\nspec:\n  metric: {metric}\n  \
         from: {{command: {{argv: [cat, {metric}]}}}}\n  every: 250ms\n  timeout: 2s\n  staleAfter: 2s\n",
        metric.replace('_', "-")
    );
    text(&instance.write(&format!("{metric}.yaml"), &manifest)).to_owned()
}

fn by_formula(expression: &str) -> String {
    let external = |name: &str| {
        format!(
            "      - {{type: External, external: {{metric: {{name: {name}}}, target: {{type: Value, value: 1}}}}}}\n"
        )
    };
    format!(
        "  scale:\n    min: 1\n    max: 6\n    behavior: {{scaleDown: {{stabilizationWindowSeconds: 0}}}}\n    metrics:\n{}{}    \
         policy:\n      formula:\n        expression: {expression}\n",
        external("jobs"),
        external("jobs_each"),
    )
}

#[test]
fn a_formula_over_metrics_scales_a_service_and_a_missing_value_holds_it() {
    let mut instance = Instance::new();
    let manifest = instance.write_service("worker", &by_formula("jobs / jobs_each + 1"));
    let jobs = write_source(&instance, "jobs", "30");
    let each = write_source(&instance, "jobs_each", "10");
    instance.up(&["-f", text(&manifest), "-f", &jobs, "-f", &each]);
    instance.wait_for_ready("worker", 4);
    let explained = instance.query(&["explain", "service/worker"]);
    assert_eq!(explained["policy"], "formula", "{explained}");
    let wait_for = |instance: &Instance, part: &str| {
        wait_until(part, || {
            let output = instance.run(&["explain", "service/worker"]).out;
            output.contains(part).then_some(output)
        })
    };
    wait_for(&instance, "jobs / jobs_each + 1 is 4 (jobs 30, jobs_each 10): rounded up, 4 replicas");

    fs::write(instance.path("jobs_each"), "0").expect("the folder is writable");
    wait_for(
        &instance,
        "stays at 4: the formula jobs / jobs_each + 1 gives no number, because it divides by zero",
    );
    fs::remove_file(instance.path("jobs_each")).expect("it exists");
    wait_for(&instance, "stays at 4: jobs_each gives no number, because reading it failed");

    // The new formula has a default, and a crash loses nothing of it.
    instance.write_service("worker", &by_formula("jobs / jobs_each | default(15)"));
    let applied = instance.run(&["apply", "-f", text(&manifest)]);
    assert_eq!(applied.code, Some(0), "{applied:?}");
    instance.wait_for_ready("worker", 2);
    instance.end(rustix::process::Signal::KILL);
    instance.up(&[]);
    wait_for(&instance, "(jobs 30, jobs_each missing): rounded up, 2 replicas");
    instance.wait_for_ready("worker", 2);
}

#[test]
fn an_invalid_formula_is_refused_with_its_position() {
    let instance = Instance::new();
    for (expression, parts) in [
        ("jobs / (jobs_each", ["worker.yaml:19:21", "at column 9 of the formula: unexpected end of input"]),
        ("jobs > jobs_each", ["worker.yaml:19:21", "a number is expected here, not a condition"]),
        (
            "jobs / job_each",
            ["worker.yaml:19:21", "there is no metric \"job_each\"; did you mean jobs_each?"],
        ),
        ("replicas * 2", ["worker.yaml:19:21", "it names no metric"]),
    ] {
        let manifest = instance.write_service("worker", &by_formula(expression));
        let result = instance.run(&["validate", "-f", text(&manifest)]);
        assert_eq!(result.code, Some(2), "{result:?}");
        for part in parts {
            assert!(result.err.contains(part), "{part:?} is missing: {}", result.err);
        }
    }
}
