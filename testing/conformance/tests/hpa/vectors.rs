//! Kubernetes' own cases, when they are at hand.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use conformance::hpa::run;

/// The root of the workspace, from which a relative `HOMEOSTAT_DATA` counts.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// Where the data lies when `HOMEOSTAT_DATA` does not say: beside the workspace.
const DATA_DEFAULT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data");

#[test]
fn kubernetes_own_cases_pass_through_the_production_code() {
    let path = vectors_path();
    let Ok(json) = std::fs::read_to_string(&path) else {
        say(&format!(
            "hpa: no row was run: {} is not there; set HOMEOSTAT_DATA to the folder that has hpa/vectors.json",
            path.display()
        ));
        return;
    };
    let report = run(&json).expect("the cases can be read");
    for (suite, count) in &report.suites {
        let outdated = match count.outdated {
            0 => String::new(),
            rows => format!(", {rows} of an older Kubernetes left out"),
        };
        say(&format!("hpa: {suite}: {} rows{outdated}", count.ran));
    }
    say(&format!("hpa: {} rows in all, {} differ", report.ran(), report.mismatches.len()));
    let differing: Vec<_> =
        report.mismatches.iter().map(|row| format!("{} ({}): {}", row.id, row.name, row.what)).collect();
    assert!(differing.is_empty(), "rows that differ:\n{}", differing.join("\n"));
    assert!(report.ran() > 0, "{} has no rows", path.display());
}

#[expect(
    clippy::disallowed_methods,
    reason = "where the cases lie is told by the environment, and only here"
)]
fn vectors_path() -> PathBuf {
    let data = std::env::var("HOMEOSTAT_DATA").unwrap_or_else(|_| DATA_DEFAULT.to_owned());
    Path::new(ROOT).join(data).join("hpa/vectors.json")
}

/// Says a line even when the test passes: what is written to the stream itself is not captured, unlike `println!`.
fn say(line: &str) {
    writeln!(io::stdout(), "{line}").expect("standard output takes a line");
}
