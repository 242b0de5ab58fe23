//! When a file is written: after changes were batched, not too often, and after failures with backoff.

use std::time::Duration;

/// How long to wait for further changes after the first: long enough for all changes of one decision, and short enough for a balancer
/// that must learn of a dead replica.
const BATCH_DELAY: Duration = Duration::from_millis(50);

/// The longest wait after a failure: a person who has fixed the cause sees the effect within it.
const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// The schedule of one file. Times are since an arbitrary origin, the same for all calls.
#[derive(Debug)]
pub(crate) struct Pace {
    /// The shortest time between two attempts.
    pub(crate) every: Duration,
    last: Option<Duration>,
    failures: u32,
    due: Option<Duration>,
}

impl Pace {
    pub(crate) const fn new(every: Duration) -> Self {
        Self { every, last: None, failures: 0, due: None }
    }

    /// Records that the desired text has changed. Changes do not delay the next attempt, and end the wait after a failure of an earlier text.
    pub(crate) fn changed(&mut self, now: Duration) {
        let earliest = self.last.map_or(Duration::ZERO, |last| last + self.every);
        let due = (now + BATCH_DELAY).max(earliest);
        self.due = Some(self.due.map_or(due, |before| before.min(due)));
    }

    /// Records that an attempt has succeeded.
    pub(crate) fn done(&mut self, now: Duration) {
        (self.last, self.failures, self.due) = (Some(now), 0, None);
    }

    /// Records that an attempt has failed.
    pub(crate) fn failed(&mut self, now: Duration) {
        self.last = Some(now);
        let wait = self.every.saturating_mul(1 << self.failures.min(16)).min(BACKOFF_MAX.max(self.every));
        self.failures = self.failures.saturating_add(1);
        self.due = Some(now + wait);
    }

    /// When the next attempt is due; `None` while there is nothing to do.
    pub(crate) const fn due(&self) -> Option<Duration> {
        self.due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn changes_are_batched_without_being_delayed_for_ever() {
        let mut pace = Pace::new(SECOND);
        for ms in [1000, 1010, 1049] {
            pace.changed(at(ms));
            assert_eq!(pace.due(), Some(at(1050)));
        }
    }

    #[test]
    fn writes_are_at_least_the_declared_interval_apart() {
        let mut pace = Pace::new(SECOND);
        pace.changed(at(1000));
        pace.done(at(1060));
        assert_eq!(pace.due(), None);
        pace.changed(at(1100));
        assert_eq!(pace.due(), Some(at(2060)));
        pace.done(at(2060));
        pace.changed(at(9000));
        assert_eq!(pace.due(), Some(at(9050)));
    }

    #[test]
    fn the_wait_after_failures_doubles_up_to_a_minute_until_a_success() {
        let mut pace = Pace::new(SECOND);
        let mut now = at(1000);
        let mut waits = Vec::new();
        for _ in 0..9 {
            pace.failed(now);
            waits.push((pace.due().unwrap() - now).as_secs());
            now = pace.due().unwrap();
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        pace.done(now);
        pace.failed(now);
        assert_eq!(pace.due(), Some(now + SECOND));
    }

    #[test]
    fn a_new_text_ends_the_wait_after_failures_of_the_old_one() {
        let mut pace = Pace::new(SECOND);
        for _ in 0..7 {
            pace.failed(at(1000));
        }
        pace.changed(at(1500));
        assert_eq!(pace.due(), Some(at(2000)));
    }

    #[test]
    fn the_wait_after_a_failure_is_never_shorter_than_the_interval() {
        let mut pace = Pace::new(SECOND * 3600);
        pace.failed(at(0));
        pace.failed(at(0));
        assert_eq!(pace.due(), Some(SECOND * 3600));
    }
}
