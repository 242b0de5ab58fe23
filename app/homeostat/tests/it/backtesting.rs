//! `backtest`: policies over the history of a service, from a real Prometheus, a file, or the recorded history.

use std::fmt::Write as _;

use serde_json::Value;

use crate::instance::{Instance, text};
use crate::prometheus::Prometheus;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/foresight");

/// 2026-03-02T00:00:00Z, and minutes from there on.
const BEGIN: u64 = 1_772_409_600;
const MINUTES: u64 = 2 * 1440;

/// Requests of a minute: quiet nights, busy days, and an hour each evening that is busier still.
fn requests(minute: u64) -> u64 {
    match minute % 1440 {
        1200..1260 => 6000,
        480..1200 => 3000,
        _ => 900,
    }
}

/// The counters of two replicas that served a part each, with an hour in which nothing was recorded.
fn counters() -> String {
    let mut page = "# TYPE http_requests counter\n".to_owned();
    for (replica, share) in [("a", 3), ("b", 1)] {
        let mut served = 0;
        for minute in 0..=MINUTES {
            if !(600..660).contains(&minute) {
                let at = BEGIN + 60 * minute;
                writeln!(page, "http_requests_total{{replica=\"{replica}\"}} {served} {at}")
                    .expect("to a string");
            }
            served += requests(minute) * share / 4;
        }
    }
    page + "# EOF\n"
}

fn policy<'a>(found: &'a Value, name: &str) -> &'a Value {
    let policies = found["policies"].as_array().expect("a list");
    policies.iter().find(|policy| policy["name"] == name).unwrap_or_else(|| panic!("{name}: {found}"))
}

#[test]
fn the_history_in_a_real_prometheus_equals_the_same_load_in_a_file() {
    let instance = Instance::new();
    let prometheus = Prometheus::knowing(&instance, &counters());
    let (url, service) = (prometheus.url(), format!("{EXAMPLE}/service.yaml"));
    let since = |since: &str, query: &str, more: &[&str]| {
        let arguments = ["backtest", "service/shop", "-f", &service, "--prometheus", &url, "--query", query];
        let when = ["--since", since, "--until", "2026-03-04T00:00:00Z", "-o", "json"];
        instance.run(&[&arguments[..], &when, more].concat())
    };
    let backtest = |query: &str, more: &[&str]| since("2026-03-02T00:01:00Z", query, more);
    let rates = "sum(rate(http_requests_total[2m]))";
    // Two days in steps of 15 s are more points than such a server gives at once.
    let found = backtest(rates, &["--step", "15s", "--compare", "hpa,step,slo"]);
    assert_eq!(found.code, Some(0), "{found:?}");
    let found = found.json();
    let rows: String =
        (0..MINUTES).map(|minute| format!("{},{}\n", BEGIN + 60 * minute, requests(minute))).collect();
    let file = instance.write("load.csv", &rows);
    let same = instance.query(&[
        "backtest",
        "shop",
        "-f",
        &service,
        "--trace",
        text(&file),
        "--compare",
        "hpa,step,slo",
    ]);

    let number = |of: &Value, field: &str| of[field].as_f64().unwrap_or_else(|| panic!("{field}: {of}"));
    let apart = |one: f64, other: f64| (one / other - 1.0).abs();
    assert!(apart(number(&found, "requests"), number(&same, "requests")) < 0.02, "{found}\n{same}");
    // A rate over two minutes is smoother than counts of one, and what `slo` keeps free is how far the load was seen to rise.
    for (name, most) in [("declared", 0.02), ("hpa", 0.02), ("step", 0.02), ("slo", 0.06), ("oracle", 0.02)] {
        let hours = |of: &Value| number(policy(of, name), "replicaHours");
        assert!(apart(hours(&found), hours(&same)) < most, "{name}: {found}\n{same}");
    }
    let notes = found["notes"].to_string();
    // The minutes next to the gap have no rate, either.
    assert!(notes.contains("rows are missing from the trace, in 1 gap;"), "{notes}");
    assert!(
        found["trace"].as_str().is_some_and(|name| name.starts_with(rates) && name.ends_with(&url)),
        "{found}"
    );

    let several = backtest("rate(http_requests_total[2m])", &[]);
    assert!(several.code == Some(1) && several.err.contains("gives 2 series"), "{several:?}");
    assert!(several.err.contains("sum the series") && several.err.trim().lines().count() == 1, "{several:?}");
    let malformed = backtest("sum(rate(http_requests_total[2m])", &[]);
    assert!(malformed.code == Some(1) && malformed.err.contains("answered 400: "), "{malformed:?}");
    let nothing = backtest("sum(no_such_metric)", &[]);
    assert!(nothing.code == Some(1) && nothing.err.contains("has no number for the query"), "{nothing:?}");
    let negative = backtest("-sum(http_requests_total)", &[]);
    assert!(negative.code == Some(1) && negative.err.contains("a load is zero or more"), "{negative:?}");
    let none = backtest("sum(rate(http_requests_total[2m])) / 0", &[]);
    assert!(none.code == Some(1) && none.err.contains("has no number for the query"), "{none:?}");
    let long = since("2020-01-01T00:00:00Z", rates, &["--step", "1s"]);
    assert!(long.code == Some(2) && long.err.contains("give a longer --step"), "{long:?}");
}

#[test]
fn without_a_history_the_error_says_what_is_needed() {
    let mut instance = Instance::new();
    let nobody = instance.run(&["backtest", "service/web", "--server", "127.0.0.1:1"]);
    assert!(nobody.code == Some(1) && nobody.err.contains("HS0001"), "{nobody:?}");
    let manifest = instance.write_service("web", "  scale: {min: 1, max: 2}\n");
    instance.up(&["-f", text(&manifest)]);
    instance.wait_for_ready("web", 1);
    let unknown = instance.run(&["backtest", "service/other"]);
    assert!(unknown.code == Some(1) && unknown.err.contains("has no service/other"), "{unknown:?}");
    let little = instance.run(&["backtest", "service/web", "--since", "1h"]);
    assert!(
        little.code == Some(1) && little.err.contains("give --prometheus with --query, or --trace"),
        "{little:?}"
    );
    assert_eq!(little.err.trim().lines().count(), 1, "{little:?}");
    // The service is the server's, the load a file's.
    let rows: String =
        (0..120).map(|minute| format!("{},{}\n", 60 * minute, 600 + 10 * (minute % 7))).collect();
    let file = instance.write("load.csv", &rows);
    let found = instance.query(&["backtest", "service/web", "--trace", text(&file), "--compare", "burst"]);
    assert!(policy(&found, "declared")["replicaHours"].as_f64() > Some(1.9), "{found}");
    assert_eq!(found["policies"].as_array().map(Vec::len), Some(4), "{found}");
}

#[test]
fn better_settings_are_shown_as_a_diff_and_written_as_manifests_that_can_be_applied() {
    let instance = Instance::new();
    let (service, trace) = (format!("{EXAMPLE}/service.yaml"), format!("{EXAMPLE}/shop.csv"));
    let tuned = instance.path("tuned.yaml");
    let arguments =
        ["tune", "service/shop", "-f", &service, "--trace", &trace, "--tick", "60s", "--runs", "30"];
    let found = instance.query(&[&arguments[..], &["--write", text(&tuned)]].concat());
    assert_eq!(found["isBetter"], true, "{found}");
    let hours = |of: &str| found["heldOut"][of]["replicaHours"].as_f64().expect("it is a number");
    assert!(hours("after") < 0.95 * hours("before"), "its floor for the sale is more than it needs: {found}");
    let floor = found["changes"].as_array().expect("a list").iter();
    let floor = floor.clone().find(|change| change["path"] == "spec.scale.schedule[0].min");
    assert!(floor.is_some_and(|change| change["old"] == 26 && change["new"].as_u64() < Some(26)), "{found}");
    let diff = found["diff"].as_str().expect("it is text");
    assert!(diff.starts_with("--- service/shop\n+++ service/shop (tuned)\n@@ "), "{diff}");
    assert!(diff.contains("\n-      min: 26\n+      min: "), "{diff}");
    let valid = instance.run(&["validate", "-f", text(&tuned)]);
    assert_eq!(valid.code, Some(0), "{valid:?}");
    let table = instance.run(&[&arguments[..8], &["--runs", "12"]].concat());
    for part in [
        "held out",
        "found",
        "On the held-out part, the change would have",
        "are a short history",
        "+++ service/shop",
    ] {
        assert!(table.out.contains(part), "{part}: {table:?}");
    }

    let fixed = instance.write_service("web", "  scale: {replicas: 3}\n");
    let nothing = instance.run(&["tune", "web", "-f", text(&fixed), "--trace", &trace]);
    assert!(nothing.code == Some(1) && nothing.err.contains("no autoscaler with settings"), "{nothing:?}");
}
