//! What must hold of a log of requests.

use super::Severity;
use super::external::file;
use super::service::error;
use crate::resource::{AccessLog, Problem};

/// Fewest bytes of a file: a few lines.
const SIZE_MIN: i64 = 4 * 1024;

/// Most bytes of a file: past it a typing error is likelier than a wish.
const SIZE_MAX: i64 = 1024 * 1024 * 1024 * 1024;

/// Most files that are kept: with more, moving their names takes longer than writing lines.
const KEEP_MAX: u32 = 1000;

pub(super) fn problems(at: &str, log: &AccessLog, found: &mut Vec<(Severity, Problem)>) {
    if !log.is_standard_output() {
        file(&format!("{at}.file"), &log.file, found);
    }
    let milli = log.size.milli();
    if milli % 1000 != 0 || !(SIZE_MIN..=SIZE_MAX).contains(&(milli / 1000)) {
        let text = format!("it is a whole number of bytes between 4Ki and 1Ti, not {}", log.size);
        found.push(error(format!("{at}.size"), text));
    }
    if log.keep > KEEP_MAX {
        found.push(error(
            format!("{at}.keep"),
            format!("at most {KEEP_MAX} files are kept, not {}", log.keep),
        ));
    }
}
