//! `rehearse`: the whole loop over a simulated machine, from the command line.

use crate::house::{House, text};

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
    let house = House::new();
    let load = format!("shop={}", text(&house.write("sale.csv", &sale())));
    let rehearse = ["rehearse", "-f", FLASH_SALE, "--load", &load, "--unit", "rate", "--cost", "2.65ms"];
    let rehearse = [&rehearse[..], &["--start-up", "shop=300ms", "--kill", "shop-0@13s"]].concat();
    let found = house.ask(&rehearse);
    let shop = &found["services"][0];

    assert_eq!((shop["name"].as_str(), shop["failures"].as_u64()), (Some("shop"), Some(1)));
    let samples = shop["samples"].as_array().expect("a list");
    let ready = |at: usize| samples[at * 4]["ready"].as_u64().expect("a number");
    assert!((8..=10).contains(&ready(30)), "nine at the peak by the example's own arithmetic: {}", ready(30));
    assert_eq!((ready(2), ready(89)), (2, 2), "it comes back");
    assert_eq!(found, house.ask(&rehearse), "the same again");

    let said = house.run(&[&rehearse[..], &["--plot", "--events"]].concat());
    let shown = said.out;
    for part in ["SERVICE", "replicas", "wanted", "00:00:13.001", "it was killed after", "from 2 to"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

#[test]
fn what_cannot_be_rehearsed_is_said_in_a_sentence() {
    let house = House::new();
    let refused = |more: &[&str]| {
        let said = house.run(&[&["rehearse", "-f", FLASH_SALE], more].concat());
        assert_eq!(said.code, Some(2), "{more:?}: {said:?}");
        said.err
    };

    assert!(refused(&["--load", "shop=5"]).contains("give --for"), "nothing says how long");
    assert!(refused(&["--load", "cart=5", "--for", "1m"]).contains("no service cart; they declare: shop"));
    assert!(refused(&["--kill", "cart-0@1s", "--for", "1m"]).contains("no service is called cart"));
    assert!(refused(&["--fault", "rain=3", "--for", "1m"]).contains("the faults are lost, late"));
    assert!(refused(&["--for", "0"]).contains("cannot be rehearsed"));
}
