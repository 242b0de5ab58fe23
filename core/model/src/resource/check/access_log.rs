//! Checks of an access log.

use super::fields::{ProblemList, error, file};
use crate::resource::AccessLog;

/// Smallest size of a file, in bytes: a few lines.
const SIZE_MIN: i64 = 4 * 1024;

/// Largest size of a file, in bytes: more is probably a typing error.
const SIZE_MAX: i64 = 1024 * 1024 * 1024 * 1024;

/// Most files that are kept: with more, renaming them takes longer than writing lines.
const KEEP_MAX: u32 = 1000;

pub(super) fn problems(at: &str, log: &AccessLog, found: &mut ProblemList) {
    if !log.is_standard_output() {
        file(&format!("{at}.file"), &log.file, found);
    }
    let milli = log.size.milli();
    if milli % 1000 != 0 || !(SIZE_MIN..=SIZE_MAX).contains(&(milli / 1000)) {
        let text = format!("must be a whole number of bytes between 4Ki and 1Ti, not {}", log.size);
        found.push(error(format!("{at}.size"), text));
    }
    if log.keep > KEEP_MAX {
        found.push(error(format!("{at}.keep"), format!("must be at most {KEEP_MAX}, not {}", log.keep)));
    }
}
