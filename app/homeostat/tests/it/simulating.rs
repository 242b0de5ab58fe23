//! `simulate`: policies over recorded load, from the command line.

use crate::instance::{Instance, text};

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/foresight");

#[test]
fn in_the_example_only_the_declared_policy_meets_the_slo() {
    let instance = Instance::new();
    let (service, trace) = (format!("{EXAMPLE}/service.yaml"), format!("{EXAMPLE}/shop.csv"));
    let simulate = ["simulate", "-f", &service, "--trace", &trace, "--price", "0.04"];
    let found = instance.query(&simulate);
    let of = |name: &str| {
        let policies = found["policies"].as_array().expect("a list");
        policies
            .iter()
            .find(|policy| policy["name"] == name)
            .unwrap_or_else(|| panic!("{name}: {found}"))
            .clone()
    };

    assert_eq!(of("declared")["sloViolationMinutes"], 0.0, "its schedule has replicas for the sale");
    assert!(of("hpa")["sloViolationMinutes"].as_f64() > Some(1.0), "{}", of("hpa"));
    assert_eq!(
        (of("oracle")["sloViolationMinutes"].as_f64(), of("oracle")["couldRun"].as_bool()),
        (Some(0.0), Some(false))
    );
    let cost = of("declared")["replicaHours"].as_f64().map(|hours| 0.04 * hours);
    assert!((of("declared")["cost"].as_f64().unwrap() - cost.unwrap()).abs() < 1e-9);
    assert_eq!(found["capacity"], 20.0, "fourteen requests a second are 70 % of it");
    assert_eq!(found, instance.query(&simulate), "the same again");
    let with = |flag| instance.query(&[&simulate[..], &[flag, "99%"]].concat());
    assert_eq!(with("--slo")["promisePercent"], 99.0);
    assert_eq!(with("--slo"), with("--promise"), "as the flag was called before");
}

#[test]
fn several_traces_give_a_table_a_plot_and_a_page_for_the_chosen_policies() {
    let instance = Instance::new();
    let minutes = |peak: u32| {
        (0..600_u32)
            .map(|n| format!("{},{}\n", n * 60, if n % 100 < 20 { peak } else { 60 }))
            .collect::<String>()
    };
    let (one, two) = (instance.write("one.csv", &minutes(1200)), instance.write("two.csv", &minutes(600)));
    let report = instance.path("report.html");
    let output = instance.run(&[
        "simulate",
        "--trace",
        text(&one),
        text(&two),
        "--compare",
        "trend,hpa",
        "--plot",
        "--report",
        text(&report),
        "--noise",
        "poisson",
        "--fault",
        "50%@3h",
        "--failed-starts",
        "5%",
        "--unequal",
        "0.1",
        "--start-up-spread",
        "0.3",
    ]);
    assert_eq!(output.code, Some(0), "{output:?}");
    for part in
        ["POLICY", "trend", "oracle-stable", "capacity of", "one.csv", "two.csv", "is best", "No policy"]
    {
        let is_there = output.out.contains(part) || matches!(part, "is best" | "No policy");
        assert!(is_there, "{part}: {}", output.out);
    }
    assert!(!output.out.contains("surge"), "it was not asked for");
    let page = std::fs::read_to_string(&report).expect("the page was written");
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("2 traces") && page.contains("trend"));
    let both = instance.query(&["simulate", "--trace", text(&one), text(&two)]);
    assert_eq!(both["items"].as_array().map(Vec::len), Some(2), "{both}");
}

#[test]
fn an_invalid_simulation_is_refused_with_one_sentence() {
    let instance = Instance::new();
    let refused = |rows: &str, more: &[&str]| {
        let trace = instance.write("load.csv", rows);
        let output = instance.run(&[&["simulate", "--trace", text(&trace)], more].concat());
        assert_eq!(output.err.trim().lines().count(), 1, "{output:?}");
        (output.code, output.err)
    };
    let (code, line) = refused("0,1\n60,1\n30,1\n", &[]);
    assert!(code == Some(1) && line.contains("HS0016") && line.contains("load.csv, line 3:"), "{line}");
    let (code, line) = refused("0,1\n60,NaN\n", &[]);
    assert!(code == Some(1) && line.contains("line 2: \"NaN\" is not an amount of load"), "{line}");
    let (code, line) = refused("0,1\n60,1e300\n", &[]);
    assert!(
        code == Some(1) && line.contains("line 2: its value is more than 1e15 requests a second"),
        "{line}"
    );
    let (code, line) = refused("0,1\n", &[]);
    assert!(code == Some(1) && line.contains("--interval"), "{line}");
    let (code, line) = refused("0,0\n60,0\n", &[]);
    assert!(code == Some(1) && line.contains("--capacity"), "{line}");
    let (code, line) = refused("0,1\n60,1\n", &["--report", "/nowhere/report.html"]);
    assert!(code == Some(1) && line.contains("could not write the report /nowhere/report.html"), "{line}");
    for wrong in [
        &["--compare", "magic"][..],
        &["--target", "0"],
        &["--capacity", "-1"],
        &["--fault", "2"],
        &["--tick", "0s"],
        &["--scale-load", "0"],
        &["--slo", "101%"],
        &["--replicas", "9..2"],
        &["--noise", "loud"],
    ] {
        let trace = instance.write("load.csv", "0,1\n60,1\n");
        let output = instance.run(&[&["simulate", "--trace", text(&trace)], wrong].concat());
        assert_eq!(output.code, Some(2), "{wrong:?}: {output:?}");
    }
}
