//! File descriptors that replicas leave to the rest of this process, such as the proxy and the API.
//!
//! Without a reserve, many replicas would take all, and clients would no longer be accepted.

use std::fs::File;
use std::os::fd::AsRawFd as _;

use model::action::FailureKind;

use crate::driver::{Driver, STARTS_AT_ONCE};
use crate::failure::Cause;

/// The most descriptors that are kept.
///
/// 256: as many connections to the API, or 128 requests through the proxy.
const RESERVE_MAX: u64 = 256;

/// The share of few descriptors that is kept: a quarter.
const RESERVE_SHARE: u64 = 4;

/// The most descriptors that a running replica takes: two for its process, and four to measure it.
const PER_REPLICA: u64 = 6;

/// Fails when a replica that is being started could take descriptors of the reserve. The caller has a permit of [`Driver::starts`].
pub(crate) fn check(driver: &Driver) -> Result<(), Cause> {
    let limit = os::open_files();
    // The kernel gives the lowest free number: all below it are in use.
    let lowest_free = match File::open("/dev/null") {
        Ok(file) => u64::try_from(file.as_raw_fd()).unwrap_or(limit),
        Err(error) => return Err(Cause::of(&error, format!("no file can be opened ({error})"))),
    };
    // Those that measure a replica are opened a moment after its start.
    let unmeasured = driver.tracked_lives().iter().filter(|tracked| tracked.will_be_measured()).count();
    let starting = STARTS_AT_ONCE - driver.starts.available_permits();
    let expected = lowest_free + (unmeasured + starting) as u64 * PER_REPLICA;
    if expected <= available(limit) {
        return Ok(());
    }
    let why = format!(
        "{lowest_free} of the {limit} files that this process may have open are in use, running replicas need some more, and the rest is \
         kept for its API and its proxy; raise the limit (LimitNOFILE= of systemd, ulimit -n), or run fewer replicas"
    );
    Err(Cause::new(FailureKind::Other, why))
}

/// How many of the `limit` descriptors are not kept.
fn available(limit: u64) -> u64 {
    limit - RESERVE_MAX.min(limit / RESERVE_SHARE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_of_few_descriptors_and_a_fixed_number_of_many_are_kept() {
        assert_eq!([256, 1024, 1 << 20].map(available), [192, 768, (1 << 20) - 256]);
    }
}
