//! What is wrong with a policy, while it is looked for.

use crate::nearest;
use crate::resource::{MetricSpec, Problem, Span};

/// Problems found so far.
#[derive(Debug, Default)]
pub(crate) struct Found(pub(crate) Vec<Problem>);

impl Found {
    pub(super) fn add(&mut self, path: impl Into<String>, text: impl Into<String>) {
        self.0.push(Problem::at(path, text));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn within(&mut self, path: &str, span: Span, (least, most): (Span, Span)) {
        if !(least..=most).contains(&span) {
            self.add(path, format!("it lies between {least} and {most}, not {span}"));
        }
    }

    pub(super) fn between(&mut self, path: &str, it: u32, (least, most): (u32, u32)) {
        if !(least..=most).contains(&it) {
            self.add(path, format!("it lies between {least} and {most}, not {it}"));
        }
    }

    /// A policy over one metric names one there is, and needs to where there are several.
    pub(super) fn metric(&mut self, at: &str, name: Option<&str>, metrics: &[MetricSpec]) {
        let names: Vec<&str> = metrics.iter().map(MetricSpec::name).collect();
        let Some(name) = name else {
            if names.len() > 1 {
                let text =
                    format!("it looks at one metric: say at which by metric, one of {}", names.join(", "));
                self.add(at, text);
            }
            return;
        };
        let path = format!("{at}.metric");
        match names.iter().filter(|known| **known == name).count() {
            0 => {
                let meant =
                    nearest(name, names.iter().copied()).map(|name| format!("; did you mean {name}?"));
                let known = format!("; there are {}", names.join(", "));
                self.add(path, format!("no metric here is called {name:?}{}", meant.unwrap_or(known)));
            }
            1 => {}
            several => {
                self.add(path, format!("{several} metrics here are called {name:?}, and it looks at one"));
            }
        }
    }
}
