//! What is wrong with a resource, and where in it.

use std::fmt;

/// One thing that is wrong with a resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where, as a dotted path: `spec.probes.readiness.every`, `spec.metrics[0]`. Empty for the resource as a whole.
    pub path: String,
    /// What is wrong and what would be right, as a sentence without its full stop.
    pub text: String,
}

impl Problem {
    /// A problem with what stands at `path`.
    pub fn at(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self { path: path.into(), text: text.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() { f.write_str(&self.text) } else { write!(f, "{}: {}", self.path, self.text) }
    }
}

/// All that is wrong with a resource; never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// One problem.
    pub(super) fn of(problem: Problem) -> Self {
        Self(vec![problem])
    }

    /// `good` when nothing is wrong, else all that is.
    pub(super) fn or<T>(problems: Vec<Problem>, good: T) -> Result<T, Self> {
        if problems.is_empty() { Ok(good) } else { Err(Self(problems)) }
    }

    /// The same problems, each at the path that `path` makes of its own.
    pub(super) fn map_paths(mut self, path: impl Fn(&str) -> String) -> Self {
        for problem in &mut self.0 {
            problem.path = path(&problem.path);
        }
        self
    }

    /// The problems, in the order in which they were found.
    pub fn into_vec(self) -> Vec<Problem> {
        self.0
    }

    /// The problems, in the order in which they were found.
    pub fn as_slice(&self) -> &[Problem] {
        &self.0
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("; ")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}
