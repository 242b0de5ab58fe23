//! Whatever options and traces the parser accepts, every policy can be simulated, or is refused in a sentence.

use std::fs;

use clap::Parser;
use proptest::prelude::*;
use proptest::sample::select;
use study::BUILTINS;

use super::{show, simulate};
use crate::context::CommandContext;
use crate::failure::{Failure, sentence_of};
use crate::paint::Colours;

/// The command line of `simulate`.
#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    arguments: simulate::Arguments,
}

/// Runs `simulate` over the rows of `trace` with `options`, up to its printed result; the message if it is refused.
fn simulated(trace: &str, options: &[String]) -> Result<String, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("trace.csv");
    fs::write(&path, trace).expect("a trace");
    let trace = path.to_str().expect("a path of ASCII").to_owned();
    let line =
        ["simulate".to_owned(), "--trace".to_owned(), trace].into_iter().chain(options.iter().cloned());
    let line = Line::try_parse_from(line).map_err(|error| error.to_string())?;
    let context = CommandContext::new(Colours::Unwanted, "127.0.0.1:1".to_owned());
    let text = || -> Result<String, Failure> {
        let (comparison, recordings) = line.arguments.comparison(&context)?;
        let compared = comparison.compare(&recordings[0])?;
        let text = show::summary(context.printer, &compared.1) + &show::plot(&compared.0, &compared.1);
        study::page(&[compared], comparison.measure);
        Ok(text)
    };
    text().map_err(|failure| match failure {
        Failure::Usage(error) | Failure::Failed(error) => sentence_of(&error),
        Failure::OutputClosed => String::new(),
    })
}

/// All policies.
fn every_policy() -> String {
    BUILTINS.map(|builtin| builtin.name).join(",")
}

/// An option with one of these values, or its default.
fn option(name: &'static str, values: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
    prop::option::of(select(values))
        .prop_map(move |value| value.map(|value| vec![name.to_owned(), value.to_owned()]).unwrap_or_default())
}

/// Options within and beyond the ranges that the help states, and their limits.
fn options() -> impl Strategy<Value = Vec<String>> {
    let ranges = [
        option(
            "--tick",
            &["1s", "1500ms", "7s700ms", "61s", "299s", "5m", "50m", "59m", "1h", "1h900ms", "2h", "0"],
        ),
        option(
            "--target",
            &["1e-9", "1e-5", "0.1%", "1%", "0.011", "33.333333%", "0.95", "99.99999%", "100%", "0"],
        ),
        option("--start-up", &["0", "1ms", "1h", "365d"]),
        option(
            "--slo",
            &["0", "50%", "50.00000000001%", "0.123456789012345", "99.99%", "99.999999%", "100%"],
        ),
        option("--replicas", &["0..1", "0..5", "1..1", "1..5", "3..3", "0..300", "7..1000"]),
        option("--capacity", &["1e-300", "1e-9", "0.001", "10", "33.3", "1e15", "1e300"]),
        option("--peak-replicas", &["1", "40", "1000000"]),
        option("--unit", &["count", "rate"]),
        option("--interval", &["1ms", "1s", "90s", "24h", "2d"]),
        option("--scale-load", &["1e-300", "1e-9", "3", "1e300"]),
        option("--noise", &["poisson", "0", "0.2", "10"]),
        option("--start-up-spread", &["0.5", "10"]),
        option("--failed-starts", &["5%", "100%"]),
        option("--unequal", &["0.3", "10"]),
        option("--fault", &["1@0", "30%@1m", "100%@2m", "4294967295@1m", "1@365d"]),
        option("--seed", &["1", "18446744073709551615"]),
        option("--price", &["0", "0.04", "1e308"]),
    ];
    ranges.into_iter().collect::<Vec<_>>().prop_map(|options| options.concat())
}

/// Rows of a trace: regular ones, with gaps, and with extreme times and values.
fn trace() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        8 => (0.0..1000.0_f64).prop_map(|value| value.to_string()),
        2 => select(&["0", "1e-300", "1e9", "1e15", "1e17", "-1", "nan"][..]).prop_map(str::to_owned),
    ];
    let begin = select(&[0_i64, 1_700_000_000, -86_400, -377_705_023_201, 253_402_207_000][..]);
    let gap = prop_oneof![9 => Just(1_i64), 1 => 0..20_i64];
    let rows = prop::collection::vec((gap, value), 1..24);
    // Fewer hours than minutes: a trace of a day in ticks of a second takes all policies seconds.
    let intervals = select(&[(1_i64, 24), (60, 24), (61, 24), (3600, 3)][..]);
    (begin, intervals, rows).prop_map(|(mut at, (interval, rows_max), rows)| {
        let row = |(gap, value): (i64, String)| {
            at += gap * interval;
            format!("{at},{value}\n")
        };
        rows.into_iter().take(rows_max).map(row).collect()
    })
}

/// Five minutes of load, then twice as much.
const RISE: &str = "0,600\n60,600\n120,600\n180,600\n240,600\n300,1200\n360,1200\n420,1200\n";

#[test]
fn the_ends_of_the_documented_ranges_can_be_simulated() {
    let compare = ["--compare".to_owned(), every_policy()];
    for options in [
        "--tick 59m",
        "--tick 1h",
        "--tick 1s",
        "--replicas 0..5",
        "--replicas 0..1",
        "--target 1%",
        "--target 100%",
    ] {
        let options: Vec<String> = options.split(' ').map(str::to_owned).chain(compare.clone()).collect();
        let text = simulated(RISE, &options).unwrap_or_else(|refusal| panic!("{options:?}: {refusal}"));
        assert!(BUILTINS.iter().all(|builtin| text.contains(builtin.name)), "{text}");
    }
}

#[test]
fn what_is_out_of_range_is_refused_in_a_sentence() {
    let refusals = [
        ("--target 1e-9", "a target utilization of 1e-9 is out of range; give 1% to 100%"),
        ("--tick 1h1ms", "a tick of 1h1ms is out of range; give 1s to 1h"),
        ("--tick 999ms", "a tick of 999ms is out of range; give 1s to 1h"),
        ("--replicas 5..0", "\"5..0\" is not a range; write MIN..MAX, such as 2..20"),
    ];
    for (options, refusal) in refusals {
        let options: Vec<String> = options.split(' ').map(str::to_owned).collect();
        let message = simulated(RISE, &options).expect_err("it is refused");
        assert!(message.contains(refusal), "{message}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn no_options_and_no_trace_make_a_policy_panic(options in options(), trace in trace()) {
        let options = [options, vec!["--compare".to_owned(), every_policy()]].concat();
        match simulated(&trace, &options) {
            Ok(text) => prop_assert!(text.contains("POLICY"), "{}", text),
            Err(refusal) => prop_assert!(!refusal.is_empty()),
        }
    }
}
