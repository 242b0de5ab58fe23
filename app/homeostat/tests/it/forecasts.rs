//! Forecasts: scaling ahead of the load, with real requests.

use std::process::{Child, Stdio};

use rustix::process::Signal;
use serde_json::Value;

use crate::instance::{Instance, text, wait_until};

/// Requests that come for three seconds and are gone for three, over and over, until it is dropped.
struct Waves(Child);

impl Waves {
    fn roll(instance: &Instance, url: &str) -> Self {
        let mut words = vec!["load", url, "--profile", "steps"];
        words.extend(["--step", "4:3s", "--step", "100:3s"].repeat(100));
        let mut command = instance.command(&words);
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
fn steps(said: &Value) -> u64 {
    said["steps"].as_u64().unwrap_or(0)
}

/// Waits until so many steps were seen: what is learned is a matter of these, and they come with the clock.
fn wait_for_steps(instance: &Instance, number: u64) {
    let what = format!("{number} steps were seen");
    wait_until(&what, || (steps(&instance.ask(&["forecast", "service/web"])) > number).then_some(()));
}

/// What the blend of all models says, once that is believed.
fn believed(instance: &Instance) -> Value {
    wait_until("the forecast is believed", || {
        let said = instance.ask(&["forecast", "service/web"]);
        (said["forecasts"][0]["by"] == "blend" && said["replicasNeeded"].as_f64() > Some(2.0)).then_some(said)
    })
}

#[test]
fn a_load_that_comes_again_and_again_is_sized_for_while_it_is_gone_and_after_a_crash() {
    let mut instance = Instance::new();
    let port = ports::free();
    let manifest = instance.write_service("web", &scale(port));
    instance.up(&["-f", text(&manifest)]);
    instance.wait_for_ready("web", 1);
    let url = format!("http://127.0.0.1:{port}/");
    let waves = Waves::roll(&instance, &url);

    // Seasons are looked for when 64 steps are known, and it takes a while until what they say has made good what was lost before.
    [55, 110].into_iter().for_each(|steps| wait_for_steps(&instance, steps));
    let said = believed(&instance);
    assert!(said["forecasts"][0]["lossRatio"].as_f64() < Some(0.98), "{said}");
    assert!(said["startSeconds"].as_f64() > Some(0.0), "{said}");
    let raised = wait_until("it asks for more than the metrics do", || {
        let output = instance.ask(&["explain", "service/web"]);
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
        let said = instance.ask(&["forecast", "service/web"]);
        (said["forecasts"].as_array().is_some_and(|all| !all.is_empty())).then_some(said)
    });
    assert!(steps(&again) >= 30 && again["forecasts"][0]["scored"].as_u64() > Some(20), "{again}");
    wait_for_steps(&instance, 130);
    believed(&instance);
    drop(waves);
}

#[test]
fn a_forecast_that_is_not_declared_is_refused_in_a_sentence() {
    let mut instance = Instance::new();
    let manifest = instance.write_service("web", "");
    instance.up(&["-f", text(&manifest)]);
    let said = instance.run(&["forecast", "service/web"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.contains("nothing is forecast of service web; declare"), "{said:?}");
    assert!(instance.run(&["forecast", "service/none"]).err.contains("none"), "a service that is not there");
}
