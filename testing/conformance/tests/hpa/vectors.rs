//! Kubernetes' own cases, if they are there.

use std::io::{self, Write};

use conformance::data::at_hand;
use conformance::hpa::run;

#[test]
fn kubernetes_own_cases_pass_through_the_production_code() {
    let Some(path) = at_hand("hpa", "hpa/vectors.json") else { return };
    let json = std::fs::read_to_string(&path).expect("a file that is there can be read");
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

/// Prints a line even when the test passes: unlike `println!`, writing to the stream itself is not captured.
fn say(line: &str) {
    writeln!(io::stdout(), "{line}").expect("standard output takes a line");
}
