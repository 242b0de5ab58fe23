//! Collects the problems of a policy.

use crate::nearest;
use crate::resource::{MetricSpec, Problem, Span};

/// The problems found so far.
#[derive(Debug, Default)]
pub(crate) struct PolicyProblems(pub(crate) Vec<Problem>);

impl PolicyProblems {
    pub(super) fn add(&mut self, path: impl Into<String>, text: impl Into<String>) {
        self.0.push(Problem::at(path, text));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn within(&mut self, path: &str, span: Span, (min, max): (Span, Span)) {
        if !(min..=max).contains(&span) {
            self.add(path, format!("must be between {min} and {max}, not {span}"));
        }
    }

    pub(super) fn between(&mut self, path: &str, it: u32, (min, max): (u32, u32)) {
        if !(min..=max).contains(&it) {
            self.add(path, format!("must be between {min} and {max}, not {it}"));
        }
    }

    /// Checks that a policy over one metric names an existing one, which is required if there are several.
    pub(super) fn metric(&mut self, at: &str, name: Option<&str>, metrics: &[MetricSpec]) {
        let names: Vec<&str> = metrics.iter().map(MetricSpec::name).collect();
        let Some(name) = name else {
            if names.len() > 1 {
                let text = format!("the policy uses one metric: set metric to one of {}", names.join(", "));
                self.add(at, text);
            }
            return;
        };
        let path = format!("{at}.metric");
        match names.iter().filter(|known| **known == name).count() {
            0 => {
                let suggestion =
                    nearest(name, names.iter().copied()).map(|name| format!("; did you mean {name}?"));
                let known = format!("; the metrics are {}", names.join(", "));
                self.add(path, format!("there is no metric {name:?}{}", suggestion.unwrap_or(known)));
            }
            1 => {}
            several => {
                self.add(path, format!("{several} metrics are named {name:?}, and the policy uses one"));
            }
        }
    }
}
