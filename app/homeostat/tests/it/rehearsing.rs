//! `rehearse`: the whole loop over a simulated machine, from the command line.

use crate::instance::{Instance, text};

const FLASH_SALE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/flash-sale");

/// A rise from 20 to 250 requests a second within eight seconds, half a minute of that, and a fall.
fn sale() -> String {
    let rate = |second: u32| match second {
        4..12 => 20 + (second - 4) * 29,
        12..40 => 250,
        _ => 20,
    };
    (0..90).map(|second| format!("{second},{}\n", rate(second))).collect()
}

#[test]
fn the_flash_sale_is_rehearsed_with_a_replica_killed_in_the_middle() {
    let instance = Instance::new();
    let load = format!("shop={}", text(&instance.write("sale.csv", &sale())));
    let rehearse = ["rehearse", "-f", FLASH_SALE, "--load", &load, "--unit", "rate", "--cost", "2.65ms"];
    let rehearse = [&rehearse[..], &["--start-up", "shop=300ms", "--kill", "shop-0@13s"]].concat();
    let found = instance.query(&rehearse);
    let shop = &found["services"][0];

    assert_eq!((shop["name"].as_str(), shop["failures"].as_u64()), (Some("shop"), Some(1)));
    let samples = shop["samples"].as_array().expect("a list");
    let ready = |at: usize| samples[at * 4]["ready"].as_u64().expect("a number");
    assert!((8..=10).contains(&ready(30)), "nine at the peak by the example's own arithmetic: {}", ready(30));
    assert_eq!((ready(2), ready(89)), (2, 2), "it comes back");
    assert_eq!(found, instance.query(&rehearse), "the same again");

    let output = instance.run(&[&rehearse[..], &["--plot", "--events"]].concat());
    let shown = output.out;
    for part in ["SERVICE", "replicas", "wanted", "00:00:13.001", "it was killed after", "from 2 to"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(!shown.contains("no effect"), "{shown}");
}

const SALES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/foresight/sales");

/// What the example of sales that repeat themselves makes of `manifests`: the replicas wanted and ready when the rise of each sale begins.
fn before_each_sale(instance: &Instance, manifests: &str) -> Vec<(u64, u64)> {
    let load = format!("shop={SALES}/sales.csv");
    let rehearse = ["rehearse", "-f", manifests, "--load", &load, "--unit", "rate"];
    let found = instance.query(&[&rehearse[..], &["--cost", "40ms", "--start-up", "300ms"]].concat());
    let samples = found["services"][0]["samples"].as_array().expect("a list");
    let number = |at: usize, of: &str| samples[at * 4][of].as_u64().expect("a number");
    // The last second before it.
    let before = (1..12).map(|sale| 24 * sale + 11);
    before.map(|at| (number(at, "desired"), number(at, "ready"))).collect()
}

#[test]
fn a_recurring_sale_finds_replicas_that_were_started_before_it() {
    let instance = Instance::new();
    let sales = before_each_sale(&instance, SALES);

    assert!(sales[0].1 <= 4, "nobody knows of the first one: {sales:?}");
    // A hundred requests a second are five replicas at twenty each, which no more than four can be for twenty a second.
    assert!(sales[5..].iter().all(|(desired, ready)| *desired >= 7 && *ready >= 5), "{sales:?}");

    let manifest = std::fs::read_to_string(format!("{SALES}/service.yaml")).expect("the example is there");
    let off = instance.write("service.yaml", &manifest.replace("{mode: on,", "{mode: off,"));
    let sales = before_each_sale(&instance, text(&off));
    assert!(sales.iter().all(|(_, ready)| *ready <= 4), "without a forecast: {sales:?}");
}

#[test]
fn a_fault_of_a_replica_that_does_not_run_is_reported() {
    let instance = Instance::new();
    let rehearse = ["rehearse", "-f", FLASH_SALE, "--load", "shop=5", "--for", "10s", "--kill", "shop-99@5s"];
    let expected = serde_json::json!([{"atSeconds": 5.0, "target": "shop-99"}]);
    assert_eq!(instance.query(&rehearse)["missedFaults"], expected);
    let shown = instance.run(&rehearse).out;
    assert!(shown.contains("the fault of shop-99 at 5 s had no effect: shop-99 did not run then"), "{shown}");
}

#[test]
fn an_invalid_rehearsal_is_refused_with_one_sentence() {
    let instance = Instance::new();
    let refused = |more: &[&str]| {
        let output = instance.run(&[&["rehearse", "-f", FLASH_SALE], more].concat());
        assert_eq!(output.code, Some(2), "{more:?}: {output:?}");
        output.err
    };

    assert!(refused(&["--load", "shop=5"]).contains("give --for"), "the duration is missing");
    assert!(
        refused(&["--load", "cart=5", "--for", "1m"])
            .contains("do not declare service cart; they declare: shop")
    );
    assert!(
        refused(&["--kill", "cart-0@1s", "--for", "1m"])
            .contains("service cart, which the manifests do not declare")
    );
    assert!(
        refused(&["--load", "shop=5", "--load", "shop=6", "--for", "1m"]).contains("is given more than once")
    );
    assert!(
        refused(&["--start-cost", "cart=1s", "--for", "1m"]).contains("do not declare service cart"),
        "it would have no effect"
    );
    let single = format!("shop={}", text(&instance.write("single.csv", "0,1\n")));
    let output = instance.run(&["rehearse", "-f", FLASH_SALE, "--load", &single]);
    assert_eq!(output.code, Some(1), "{output:?}");
    assert!(
        output.err.contains("give at least two rows") && !output.err.contains("--interval"),
        "{output:?}"
    );
    assert!(refused(&["--fault", "rain=3", "--for", "1m"]).contains("the faults are lost, late"));
    assert!(refused(&["--for", "0"]).contains("cannot rehearse for"));
}
