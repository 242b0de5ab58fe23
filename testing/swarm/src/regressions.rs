//! Seeds that have failed before, and are run again each time.

use std::time::Duration;

/// A seed that has failed, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Regression {
    /// The seed.
    pub seed: u64,
    /// The simulated time after which it had failed.
    pub span: Duration,
    /// What was wrong.
    pub note: &'static str,
}

/// The record: one line each, `SEED MINUTES NOTE`; lines that begin with `#` are comments.
const RECORD: &str = include_str!("../regressions/seeds.txt");

/// Every seed in the record.
///
/// # Panics
///
/// When a line of the record is not of this form.
pub fn regressions() -> Vec<Regression> {
    let lines = RECORD.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let mut fields = line.splitn(3, ' ');
            let mut number = || fields.next().and_then(|field| field.parse().ok());
            let (seed, minutes) = number().zip(number()).unwrap_or_else(|| {
                panic!("a line of regressions/seeds.txt is SEED MINUTES NOTE, not {line:?}")
            });
            Regression { seed, span: Duration::from_mins(minutes), note: fields.next().unwrap_or_default() }
        })
        .collect()
}
