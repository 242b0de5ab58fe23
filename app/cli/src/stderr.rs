//! Messages beside the result of a command: warnings, notes and errors.

use std::io::{self, Write as _};

/// Prints a line to standard error. A closed standard error is ignored.
pub(crate) fn print_line(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
