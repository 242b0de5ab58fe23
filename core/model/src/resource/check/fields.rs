//! Checks of single fields that several kinds of resources share, and the list that they add problems to.

use super::Severity;
use crate::resource::{Problem, Span};

/// The problems found so far, in the order in which they were found.
pub(super) type ProblemList = Vec<(Severity, Problem)>;

pub(super) fn error(path: impl Into<String>, text: impl Into<String>) -> (Severity, Problem) {
    (Severity::Error, Problem::at(path, text))
}

pub(super) fn warning(path: impl Into<String>, text: impl Into<String>) -> (Severity, Problem) {
    (Severity::Warning, Problem::at(path, text))
}

/// Reports a time that is not between `min` and `max`, both included.
pub(super) fn time_between(path: &str, time: Span, (min, max): (Span, Span), found: &mut ProblemList) {
    if !(min..=max).contains(&time) {
        found.push(error(path, format!("must be between {min} and {max}, not {time}")));
    }
}

/// Reports a number that is not between `min` and `max`, both included.
pub(super) fn number_between(path: &str, number: u32, (min, max): (u32, u32), found: &mut ProblemList) {
    if !(min..=max).contains(&number) {
        found.push(error(path, format!("must be between {min} and {max}, not {number}")));
    }
}

/// Longest command line with environment, in bytes: half of the default limit of Linux (`ARG_MAX`, 2 MiB).
pub(super) const COMMAND_BYTES_MAX: usize = 1024 * 1024;

/// Longest path, in bytes. Source: Linux, `PATH_MAX`, with room for a suffix.
const PATH_LEN_MAX: usize = 4000;

/// Longest name of a metric, in bytes: the limit of Kubernetes for names of objects.
const METRIC_LEN_MAX: usize = 253;

/// Reports a path that is not one of a file.
pub(super) fn file(at: &str, path: &str, found: &mut ProblemList) {
    let last = path.rsplit('/').next().unwrap_or_default();
    if matches!(last, "" | "." | "..") || path.len() > PATH_LEN_MAX || path.contains(char::is_control) {
        let text = format!(
            "must be the path of a file, of at most {PATH_LEN_MAX} bytes and without control characters, not {path:?}"
        );
        found.push(error(at, text));
    }
}

/// Reports an invalid name of a metric, or of the kind or name of an object.
pub(super) fn metric_name(path: &str, name: &str, found: &mut ProblemList) {
    let is_name = (1..=METRIC_LEN_MAX).contains(&name.len())
        && !name.contains(|c: char| c.is_whitespace() || c.is_control());
    if !is_name {
        found.push(error(path, format!("must have 1 to {METRIC_LEN_MAX} bytes, without white space")));
    }
}
