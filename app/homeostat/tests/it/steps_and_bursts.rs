//! Services whose policy remembers the past: steps and bursts.

use rustix::process::Signal;

use crate::instance::{Instance, text, wait_until};

/// An instance with a service that is scaled by the number in the file `load`, spread over its replicas; `policy` is the lines of its policy.
fn instance(load: u32, policy: &str) -> Instance {
    let mut instance = Instance::new();
    instance.write("load", &load.to_string());
    let source = instance.write(
        "load.yaml",
        "apiVersion: homeostat/v1\nkind: MetricSource\nmetadata: {name: load}\nspec:\n  metric: load\n  \
         from: {command: {argv: [cat, load]}}\n  every: 100ms\n  timeout: 5s\n  staleAfter: 20s\n",
    );
    let service = instance.write_service(
        "worker",
        &format!(
            "  scale:\n    min: 1\n    max: 6\n    behavior: {{scaleDown: {{stabilizationWindowSeconds: 0}}}}\n    metrics:\n      \
             - type: External\n        external: {{metric: {{name: load}}, target: {{type: AverageValue, averageValue: 50}}}}\n    \
             policy:\n{policy}"
        ),
    );
    instance.up(&["-f", text(&service), "-f", text(&source)]);
    instance
}

fn explained(instance: &Instance, part: &str) -> String {
    wait_until(part, || {
        let output = instance.run(&["explain", "service/worker"]).out;
        output.contains(part).then_some(output)
    })
}

const STEPS: &str = "      step:
        above:
          - {from: 60, to: 100, replicas: 1}
          - {from: 100, exactly: 3}
        below: [{to: 20, replicas: 1}]
        evaluation: {every: 1s, breaches: 2}
        cooldown: {out: 0s, in: 1h}
";

#[test]
fn a_step_is_taken_and_its_cooldown_survives_a_restart() {
    let mut instance = instance(180, STEPS);
    instance.wait_for_ready("worker", 3);
    let output = instance.run(&["events", "service/worker"]).out;
    assert!(
        output.contains("from 1 to 3: load at 180 in the latest evaluation, and from 60 on in 2 of"),
        "{output}"
    );
    assert!(output.contains("the step from 100 on goes to 3, 1 + 2 is 3"), "{output}");
    explained(&instance, "load at 60 in the latest evaluation, and from 60 on");

    instance.write("load", "200");
    instance.wait_for_ready("worker", 4);
    instance.write("load", "8");
    let rests = "lets no replica be removed before ";
    let until =
        |output: &str| output.split_once(rests).map(|(_, after)| after[.."hh:mm:ss.mmm".len()].to_owned());
    let before = until(&explained(&instance, rests)).expect("it is explained");
    instance.end(Signal::KILL);
    instance.up(&[]);
    assert_eq!(until(&explained(&instance, rests)), Some(before), "the cool-down begins anew");
    instance.wait_for_ready("worker", 4);
}

const BURST: &str = "      burst: {stableWindow: 8s, panicWindow: 1s}\n";

#[test]
fn a_burst_scales_out_immediately_and_nothing_is_removed_before_its_end() {
    let instance = instance(50, BURST);
    instance.wait_for_ready("worker", 1);
    // Once the window has been seen whole.
    explained(&instance, "within the tolerance, so the size stays at 1");
    instance.write("load", "280");
    instance.wait_for_ready("worker", 6);
    instance.write("load", "10");
    let output = explained(&instance, "a burst since ");
    assert!(
        output.contains("replicas at its peak: load at")
            && output.contains("; no replica is removed before "),
        "{output}"
    );
    explained(&instance, "a burst since ");
    assert_eq!(instance.replicas("worker").len(), 6);
    instance.wait_for_ready("worker", 1);
    let output = instance.run(&["events", "service/worker"]).out;
    assert!(output.contains("in total over 8s, which at 50 per replica asks for"), "{output}");
}
