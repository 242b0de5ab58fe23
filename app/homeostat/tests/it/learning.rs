//! `simulate` uses what was learned about a running service, and `backtest` the history of its decisions.

use std::process::{Child, Stdio};

use serde_json::Value;

use crate::instance::{Instance, text, wait_until};

/// A load of so many requests a second, until it is dropped.
struct Stream(Child);

const RATE: u32 = 40;

/// The fewest steps of recorded load that can be simulated, of a second each here.
const STEPS_MIN: usize = 60;

impl Stream {
    fn pour(instance: &Instance, url: &str) -> Self {
        let mut command = instance.command(&["load", url, "--rate", &RATE.to_string(), "--duration", "10m"]);
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary was built"))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn by_slo(port: u16) -> String {
    format!(
        "  scale:\n    min: 1\n    max: 4\n    slo: {{latency: {{quantile: 0.9, below: 500ms}}}}\n    \
         forecast: {{mode: on, step: 1s}}\n  expose: {{listen: \"127.0.0.1:{port}\", port: http}}\n"
    )
}

fn by_requests(port: u16) -> String {
    format!(
        "  scale:\n    min: 1\n    max: 4\n    metrics: [{{type: Pods, pods: {{metric: {{name: http_requests_per_second}}, \
         target: {{type: AverageValue, averageValue: 25}}}}}}]\n  expose: {{listen: \"127.0.0.1:{port}\", port: http}}\n"
    )
}

fn learned(instance: &Instance, service: &str) -> Value {
    let (status, body) = instance.get_api(&format!("/v1/services/{service}/learned"));
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).expect("it is JSON")
}

fn policy<'a>(found: &'a Value, name: &str) -> &'a Value {
    let policies = found["policies"].as_array().expect("a list");
    policies.iter().find(|policy| policy["name"] == name).unwrap_or_else(|| panic!("{name}: {found}"))
}

/// How many steps of its load are known.
fn known(learned: &Value) -> usize {
    let loads = learned["load"]["loads"].as_array();
    loads.map_or(0, |loads| loads.iter().filter(|load| !load.is_null()).count())
}

#[test]
fn a_service_is_simulated_with_learned_figures_and_the_history_of_its_decisions() {
    let mut instance = Instance::new();
    let ports = [ports::free(), ports::free()];
    let web = instance.write_service("web", &by_slo(ports[0]));
    let shop = instance.write_service("shop", &by_requests(ports[1]));
    instance.up(&["-f", text(&web), "-f", text(&shop)]);
    instance.wait_for_ready("web", 1);
    instance.wait_for_ready("shop", 1);

    // Before anything is learned, the output says so and shows the assumptions.
    let rows: String = (0..120).map(|minute| format!("{},{}\n", 60 * minute, 600)).collect();
    let trace = instance.write("load.csv", &rows);
    let early = instance.query(&["simulate", "service/web", "--trace", text(&trace), "--compare", "hpa"]);
    let notes = early["notes"].to_string();
    assert!(notes.contains("has not been learned yet") && notes.contains("give --capacity"), "{notes}");
    let little = instance.run(&["simulate", "service/web"]);
    // On a busy machine, a minute may have passed already.
    if known(&learned(&instance, "web")) < STEPS_MIN {
        assert!(little.code == Some(1) && little.err.contains("and at least 60 are needed"), "{little:?}");
    }
    let none = instance.run(&["simulate", "service/shop"]);
    assert!(none.code == Some(1) && none.err.contains("no load of service/shop is recorded"), "{none:?}");

    let streams = ports.map(|port| Stream::pour(&instance, &format!("http://127.0.0.1:{port}/")));
    wait_until("the capacity of a replica is learned", || {
        (learned(&instance, "web")["capacity"]["windows"].as_u64() > Some(1)).then_some(())
    });
    wait_until("a minute of its load is known", || (known(&learned(&instance, "web")) > 75).then_some(()));
    drop(streams);
    simulates_what_was_learned(&instance);
    its_decisions_are_a_history(&instance);
}

fn simulates_what_was_learned(instance: &Instance) {
    let simulate = |more: &[&str]| {
        instance.query(&[&["simulate", "service/web", "--tick", "1s", "--compare", "hpa"], more].concat())
    };
    // Learning may continue during the query, so it is repeated.
    let (known, found) = wait_until("nothing is learned between two queries", || {
        let (known, found) = (learned(instance, "web"), simulate(&[]));
        let after = learned(instance, "web");
        let is_same = ["capacity", "startSeconds"].iter().all(|field| known[field] == after[field]);
        is_same.then_some((known, found))
    });
    assert_eq!(found["trace"], "the load of service/web");
    assert_eq!(found["capacity"], known["capacity"]["requestsPerSecond"], "{known}");
    let start = known["startSeconds"].as_f64().expect("a start was seen");
    assert!((found["startUpSeconds"].as_f64().expect("a number") - start).abs() < 0.002, "{found} {known}");
    assert!(!policy(&found, "declared")["violatedRequestsAtLeastPercent"].is_null(), "{found}");
    let requests = |found: &Value| found["requests"].as_f64().expect("a number");
    let recorded: f64 =
        known["load"]["loads"].as_array().expect("a list").iter().filter_map(Value::as_f64).sum();
    let apart = (requests(&found) / recorded - 1.0).abs();
    assert!(apart < 0.1, "of {recorded} it has {}", requests(&found));
    let notes = found["notes"].to_string();
    assert!(notes.contains("within its SLO is") && notes.contains("drawn from the latest"), "{notes}");

    // What if.
    let more = simulate(&["--scale-load", "40", "--fault", "50%@30s", "--price", "0.1"]);
    assert!(requests(&more) > 39.0 * requests(&found), "{more}");
    let hours = |found: &Value| policy(found, "declared")["replicaHours"].as_f64().expect("a number");
    assert!(hours(&more) > hours(&found), "{more}");
    assert_eq!(policy(&more, "declared")["cost"].as_f64(), Some(0.1 * hours(&more)));
    let slow = simulate(&["--start-up", "20s", "--capacity", "11"]);
    assert_eq!(
        (&slow["startUpSeconds"], &slow["capacity"]),
        (&20.0.into(), &11.0.into()),
        "arguments override"
    );
    assert!(
        policy(&slow, "declared")["violatedRequestsAtLeastPercent"].is_null(),
        "nothing learned was used"
    );
    let other = instance.write_service("web", "  scale: {replicas: 3}\n");
    let fixed = simulate(&["-f", text(&other)]);
    assert_eq!(policy(&fixed, "declared")["starts"], 0, "the manifest's policy with what was learned");
    assert!(fixed["notes"].to_string().contains("within its SLO is"), "{fixed}");
    let table = instance.run(&["simulate", "service/web", "--compare", "hpa"]);
    assert!(
        table.out.contains("AT LEAST")
            && table.out.contains("note: the capacity of a replica of service/web"),
        "{table:?}"
    );
}

fn its_decisions_are_a_history(instance: &Instance) {
    let arguments = ["backtest", "service/shop", "--since", "10m", "--step", "1s", "--tick", "1s"];
    let found = instance.query(&[&arguments[..], &["--compare", "hpa-requests"]].concat());
    assert_eq!(found["trace"], "the history of service/shop");
    let notes = found["notes"].to_string();
    assert!(notes.contains("runs of decisions on http_requests_per_second"), "{notes}");
    let seconds = found["hours"].as_f64().map(|hours| 3600.0 * hours).expect("a number");
    let requests = found["requests"].as_f64().expect("a number");
    // At least 75 s of constant load, and none before and after.
    let least = f64::from(RATE) * 60.0;
    assert!((60.0..600.0).contains(&seconds) && requests > least, "{requests} in {seconds} s: {found}");
    assert!(policy(&found, "declared")["replicaHours"].as_f64() > Some(0.0), "{found}");
    let learned = instance.query(&[&arguments[..], &["--learned", "--compare", "hpa-requests"]].concat());
    let notes = learned["notes"].to_string();
    // How many more were started for the load is a matter of how they shared it; the first was not alone.
    let (_, latest) = notes.split_once("drawn from the latest ").expect("starts were seen");
    let count: String = latest.chars().take_while(char::is_ascii_digit).collect();
    assert!(count.parse::<u32>().is_ok_and(|starts| starts >= 2), "{notes}");
}
