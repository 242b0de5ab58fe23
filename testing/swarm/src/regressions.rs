//! Seeds that failed once, and are run again each time.

use std::time::Duration;

/// A seed that has failed, and what was wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Regression {
    /// The seed.
    pub seed: u64,
    /// How long its world has to be watched.
    pub span: Duration,
    /// What was wrong.
    pub note: &'static str,
}

/// The record: one line each, `SEED MINUTES NOTE`; lines that begin with `#` are for readers.
const RECORD: &str = include_str!("../regressions/seeds.txt");

/// Every seed in the record.
///
/// # Panics
///
/// When the record, which is part of the program, is not in its form.
pub fn regressions() -> Vec<Regression> {
    let lines = RECORD.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let mut words = line.splitn(3, ' ');
            let mut number = || words.next().and_then(|word| word.parse().ok());
            let (seed, minutes) = number().zip(number()).unwrap_or_else(|| {
                panic!("a line of regressions/seeds.txt is SEED MINUTES NOTE, not {line:?}")
            });
            Regression { seed, span: Duration::from_mins(minutes), note: words.next().unwrap_or_default() }
        })
        .collect()
}
