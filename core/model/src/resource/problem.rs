//! Problems of a resource, each with its path.

use std::fmt;

/// One problem of a resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Its location, as a dotted path: `spec.probes.readiness.every`, `spec.metrics[0]`. Empty for the resource as a whole.
    pub path: String,
    /// What is wrong and how to fix it: a sentence without the final full stop.
    pub text: String,
}

impl Problem {
    /// A problem at `path`.
    pub fn at(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self { path: path.into(), text: text.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() { f.write_str(&self.text) } else { write!(f, "{}: {}", self.path, self.text) }
    }
}

/// All problems of a resource; never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// One problem.
    pub(super) fn of(problem: Problem) -> Self {
        Self(vec![problem])
    }

    /// `valid` when there are no problems, else the problems.
    pub(super) fn or<T>(problems: Vec<Problem>, valid: T) -> Result<T, Self> {
        if problems.is_empty() { Ok(valid) } else { Err(Self(problems)) }
    }

    /// Transforms the path of each problem.
    pub(super) fn map_paths(mut self, transform: impl Fn(&str) -> String) -> Self {
        for problem in &mut self.0 {
            problem.path = transform(&problem.path);
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
