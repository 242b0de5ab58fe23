//! The violation of a checked property.

use std::fmt;

use model::time::Time;

use crate::story;

/// The first violation of a checked property in a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The name of the checker.
    pub checker: &'static str,
    /// What is wrong.
    pub message: String,
    /// The step of the loop after which it was found.
    pub step: u64,
    /// The simulated time at which it was found.
    pub at: Time,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clock = story::clock(self.at);
        write!(f, "{}: {} (step {}, {clock})", self.checker, self.message, self.step)
    }
}
