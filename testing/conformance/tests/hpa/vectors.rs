//! Kubernetes' own test cases, if they are available.

use std::io::{self, Write};

use conformance::data;
use conformance::hpa::run;

#[test]
fn kubernetes_own_cases_pass_through_the_production_code() {
    let Some(path) = data::find("hpa", "hpa/vectors.json") else { return };
    let json = std::fs::read_to_string(&path).expect("an existing file can be read");
    let report = run(&json).expect("the cases can be read");
    for (suite, count) in &report.suites {
        let outdated = match count.outdated {
            0 => String::new(),
            rows => format!(", {rows} of an older Kubernetes skipped"),
        };
        say(&format!("hpa: {suite}: {} rows{outdated}", count.ran));
    }
    say(&format!("hpa: {} rows in all, {} differ", report.ran(), report.mismatches.len()));
    let differing: Vec<_> = report
        .mismatches
        .iter()
        .map(|row| format!("{} ({}): {}", row.id, row.name, row.difference))
        .collect();
    assert!(differing.is_empty(), "rows that differ:\n{}", differing.join("\n"));
    assert!(report.ran() > 0, "{} has no rows", path.display());
}

/// Prints a line even when the test passes: unlike `println!`, writing to the stream itself is not captured.
fn say(line: &str) {
    writeln!(io::stdout(), "{line}").expect("standard output takes a line");
}
