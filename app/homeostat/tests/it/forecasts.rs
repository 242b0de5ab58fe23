//! Forecasts: scaling ahead of the load, with real requests.

use std::process::{Child, Stdio};

use rustix::process::Signal;
use serde_json::Value;

use crate::instance::{Instance, text, wait_until};

/// Requests that come for three seconds and are gone for three, over and over, until it is dropped.
struct Waves(Child);

impl Waves {
    fn roll(instance: &Instance, url: &str) -> Self {
        let mut arguments = vec!["load", url, "--profile", "steps"];
        arguments.extend(["--step", "4:3s", "--step", "100:3s"].repeat(100));
        let mut command = instance.command(&arguments);
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary was built"))
    }
}

impl Drop for Waves {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Few requests for each: waves as short as what a mean is taken over reach the metrics late, and what a step of load is learned to need is too little by
/// as much as the waves are out of step with the clock, three quarters at the worst.
fn scale(port: u16) -> String {
    format!(
        "  scale:\n    min: 1\n    max: 5\n    metrics: [{{type: Pods, pods: {{metric: {{name: http_requests_per_second}}, \
         target: {{type: AverageValue, averageValue: 5}}}}}}]\n    forecast: {{mode: on, step: 1s, horizon: 3s}}\n  \
         expose: {{listen: \"127.0.0.1:{port}\", port: http}}\n"
    )
}

/// Steps that the load is remembered for.
fn steps(result: &Value) -> u64 {
    result["steps"].as_u64().unwrap_or(0)
}

/// Waits until this many steps were observed; learning depends on them, and they are bound to the clock.
fn wait_for_steps(instance: &Instance, number: u64) {
    let what = format!("{number} steps were seen");
    wait_until(&what, || (steps(&instance.query(&["forecast", "service/web"])) > number).then_some(()));
}

/// The prediction of the blend of all models, once it is accepted.
fn believed(instance: &Instance) -> Value {
    wait_until("the forecast is believed", || {
        let result = instance.query(&["forecast", "service/web"]);
        (result["forecasts"][0]["by"] == "blend" && result["replicasNeeded"].as_f64() > Some(2.0))
            .then_some(result)
    })
}

#[test]
fn a_recurring_load_keeps_replicas_between_its_peaks_and_after_a_crash() {
    let mut instance = Instance::new();
    let port = ports::free();
    let manifest = instance.write_service("web", &scale(port));
    instance.up(&["-f", text(&manifest)]);
    instance.wait_for_ready("web", 1);
    let url = format!("http://127.0.0.1:{port}/");
    let waves = Waves::roll(&instance, &url);

    // Seasons are detected from 64 steps on, and it takes a while until their predictions have outweighed earlier errors.
    [55, 110].into_iter().for_each(|steps| wait_for_steps(&instance, steps));
    let result = believed(&instance);
    assert!(result["forecasts"][0]["lossRatio"].as_f64() < Some(0.98), "{result}");
    assert!(result["startSeconds"].as_f64() > Some(0.0), "{result}");
    let raised = wait_until("it asks for more than the metrics", || {
        let output = instance.query(&["explain", "service/web"]);
        let limits = output["limits"].as_array()?;
        let forecast = limits.iter().find(|limit| limit["name"] == "Forecast")?;
        (forecast["to"].as_u64() > forecast["from"].as_u64()).then(|| forecast.clone())
    });
    let why = raised["why"].as_str().or(raised["note"].as_str()).unwrap_or_default();
    assert!(why.contains("requests/s within 4 s (blend, loss 0."), "{raised}");
    let shown = instance.run(&["forecast", "service/web", "--plot"]).out;
    assert!(shown.contains("mode on, steps of 1s") && shown.contains("within 4s"), "{shown}");
    assert!(shown.contains("50 % ahead"), "{shown}");

    // What was learned is written down after half a minute.
    wait_for_steps(&instance, 40);
    instance.end(Signal::KILL);
    instance.up(&[]);
    let again = wait_until("it is learned again", || {
        let result = instance.query(&["forecast", "service/web"]);
        (result["forecasts"].as_array().is_some_and(|all| !all.is_empty())).then_some(result)
    });
    assert!(steps(&again) >= 30 && again["forecasts"][0]["scored"].as_u64() > Some(20), "{again}");
    wait_for_steps(&instance, 130);
    believed(&instance);
    drop(waves);
}

#[test]
fn a_forecast_that_is_not_declared_is_refused_with_a_hint() {
    let mut instance = Instance::new();
    let manifest = instance.write_service("web", "");
    instance.up(&["-f", text(&manifest)]);
    let result = instance.run(&["forecast", "service/web"]);
    assert_eq!(result.code, Some(1), "{result:?}");
    assert!(
        result.err.contains("could not show a forecast of service/web: its load is not forecast; declare"),
        "{result:?}"
    );
    assert!(instance.run(&["forecast", "service/none"]).err.contains("none"), "a service that is not there");
}
