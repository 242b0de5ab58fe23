//! Kubernetes' own test cases of the horizontal pod autoscaler, run with the production code.
//!
//! [`run`] takes the cases as a JSON array of rows, each with an id, a suite, its input and the expected output; [`row`] has the
//! shapes. A row with `applies_to` describes an older Kubernetes and is counted, but not run. Nothing here computes a
//! number of replicas: rows are translated to the types of crate `plan` ([`translate`]), its functions are called
//! ([`suites`]), and the results are compared.

pub mod row;
pub mod suites;

mod calculation;
mod compare;
mod pass;
mod situation;
mod source;
pub mod translate;

use std::collections::BTreeMap;

use self::row::Row;

/// The result of a run over the cases.
#[derive(Debug, Default)]
pub struct Report {
    /// Rows by suite.
    pub suites: BTreeMap<String, Count>,
    /// Rows whose result is not the expected one.
    pub mismatches: Vec<Mismatch>,
}

/// Rows of one suite.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Those that were run.
    pub ran: usize,
    /// Those that describe an older Kubernetes.
    pub outdated: usize,
}

/// A row whose result is not the expected one.
#[derive(Debug)]
pub struct Mismatch {
    /// The row.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What was expected and what was found.
    pub difference: String,
}

/// Why the cases cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum VectorsError {
    /// The text is not an array of rows.
    #[error("the cases are not a valid array of rows")]
    Unreadable {
        /// Where and why.
        source: serde_json::Error,
    },
}

/// Runs all rows of `json`. Fails only when they cannot be read; differences are in the report.
pub fn run(json: &str) -> Result<Report, VectorsError> {
    let rows: Vec<Row> = serde_json::from_str(json).map_err(|source| VectorsError::Unreadable { source })?;
    let mut report = Report::default();
    for row in rows {
        let count = report.suites.entry(row.suite.clone()).or_default();
        if row.applies_to.is_some() {
            count.outdated += 1;
            continue;
        }
        count.ran += 1;
        if let Err(difference) = suites::check(&row) {
            report.mismatches.push(Mismatch { id: row.id, name: row.name, difference });
        }
    }
    Ok(report)
}

impl Report {
    /// Rows that were run, over all suites.
    pub fn ran(&self) -> usize {
        self.suites.values().map(|count| count.ran).sum()
    }
}
