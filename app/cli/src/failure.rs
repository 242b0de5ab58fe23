//! Failures of commands, their messages and exit codes.

use std::fmt;
use std::io;
use std::process::ExitCode;

use crate::paint::{Paint, Tone, printable};
use crate::stderr;

/// The exit code of a command that failed.
const FAILED: u8 = 1;

/// The exit code for invalid arguments, the same as clap's.
const INVALID_USAGE: u8 = 2;

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The arguments or manifests are invalid; nothing was started.
    Usage(anyhow::Error),
    /// The command failed.
    Failed(anyhow::Error),
    /// The reader of standard output has closed it, as `head` does. This is not an error.
    OutputClosed,
}

impl Failure {
    /// The arguments are invalid, for this reason.
    pub(crate) fn usage(sentence: impl fmt::Display) -> Self {
        Self::Usage(anyhow::anyhow!("{sentence}"))
    }

    /// The command failed, for this reason.
    pub(crate) fn failed(sentence: impl fmt::Display) -> Self {
        Self::Failed(anyhow::anyhow!("{sentence}"))
    }

    /// Prints the error to standard error, in one sentence, and returns the exit code.
    pub(crate) fn report(&self, paint: Paint) -> ExitCode {
        let (error, code) = match self {
            Self::Usage(error) => (error, INVALID_USAGE),
            Self::Failed(error) => (error, FAILED),
            Self::OutputClosed => return ExitCode::SUCCESS,
        };
        stderr::print_line(&format!("{} {}", paint.tone(Tone::Bad, "error:"), sentence_of(error)));
        ExitCode::from(code)
    }
}

/// An error and its causes in one line, followed by what to try.
///
/// Messages have the form `what was attempted; what to try`. The advice of all messages is moved behind the last cause. Causes whose text is
/// already included are left out.
pub(crate) fn sentence_of(error: &anyhow::Error) -> String {
    let mut attempted = String::new();
    let mut advice = String::new();
    for cause in error.chain() {
        let message = cause.to_string();
        if attempted.contains(&message) {
            continue;
        }
        let (what, try_this) = message.split_once("; ").unwrap_or((&message, ""));
        for (all, gap, part) in [(&mut attempted, ": ", what), (&mut advice, "; ", try_this)] {
            if !all.is_empty() && !part.is_empty() {
                all.push_str(gap);
            }
            all.push_str(part);
        }
    }
    printable(&if advice.is_empty() { attempted } else { format!("{attempted}; {advice}") })
}

/// Converts an error whose message says what was attempted.
impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        let error = error.into();
        let is_broken_pipe = |cause: &io::Error| cause.kind() == io::ErrorKind::BrokenPipe;
        if error.downcast_ref().is_some_and(is_broken_pipe) {
            Self::OutputClosed
        } else {
            Self::Failed(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn causes_are_shown_once_in_one_line_and_advice_comes_last() {
        let cause = io::Error::new(io::ErrorKind::NotFound, "no such\nfile");
        let error = Err::<(), _>(cause).context("could not read x").unwrap_err();
        assert_eq!(sentence_of(&error), "could not read x: no such\u{fffd}file");
        let cause = io::Error::from(io::ErrorKind::PermissionDenied);
        let error = Err::<(), _>(cause).context("could not open x; ask its owner (HS0001)").unwrap_err();
        assert_eq!(sentence_of(&error), "could not open x: permission denied; ask its owner (HS0001)");
        let repeated = anyhow::anyhow!("refused").context("could not connect: refused");
        assert_eq!(sentence_of(&repeated), "could not connect: refused");
    }

    #[test]
    fn a_closed_standard_output_is_not_an_error() {
        let closed = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(matches!(closed, Failure::OutputClosed));
        assert!(matches!(Failure::from(io::Error::other("full")), Failure::Failed(_)));
    }
}
