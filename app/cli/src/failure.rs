//! How a command ends that has failed.

use std::fmt;
use std::io;
use std::process::ExitCode;

use crate::output::say;
use crate::paint::{Paint, Tone, printable};

/// The exit code for a thing that failed.
const FAILED: u8 = 1;

/// The exit code for wrong arguments; clap's too.
const WRONG_USAGE: u8 = 2;

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The arguments or the manifests were wrong; nothing was begun.
    Usage(anyhow::Error),
    /// The thing asked for failed.
    Failed(anyhow::Error),
    /// The reader of our output has closed it, as `head` does: no failure of ours.
    NobodyReads,
}

impl Failure {
    /// The arguments were wrong, for this reason.
    pub(crate) fn usage(sentence: impl fmt::Display) -> Self {
        Self::Usage(anyhow::anyhow!("{sentence}"))
    }

    /// The thing failed, for this reason.
    pub(crate) fn failed(sentence: impl fmt::Display) -> Self {
        Self::Failed(anyhow::anyhow!("{sentence}"))
    }

    /// Says on standard error why, in one sentence, and returns the code to exit with.
    pub(crate) fn report(&self, paint: Paint) -> ExitCode {
        let (error, code) = match self {
            Self::Usage(error) => (error, WRONG_USAGE),
            Self::Failed(error) => (error, FAILED),
            Self::NobodyReads => return ExitCode::SUCCESS,
        };
        say(&format!("{} {}", paint.tone(Tone::Bad, "error:"), sentence_of(error)));
        ExitCode::from(code)
    }
}

/// An error and its causes in one line, and after them what to try.
///
/// Our messages say `what was attempted; what to try`: the advice comes last, after the cause. A cause that only
/// repeats what stands before it is left out.
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

/// Any error that says itself what was attempted.
impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        let error = error.into();
        let is_broken_pipe = |cause: &io::Error| cause.kind() == io::ErrorKind::BrokenPipe;
        if error.downcast_ref().is_some_and(is_broken_pipe) { Self::NobodyReads } else { Self::Failed(error) }
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
        let told_already = anyhow::anyhow!("refused").context("could not connect: refused");
        assert_eq!(sentence_of(&told_already), "could not connect: refused");
    }

    #[test]
    fn a_reader_that_has_gone_is_no_failure() {
        let gone = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(matches!(gone, Failure::NobodyReads));
        assert!(matches!(Failure::from(io::Error::other("full")), Failure::Failed(_)));
    }
}
