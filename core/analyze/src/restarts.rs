//! When an ended replica may be restarted.
//!
//! After a healthy time, the first end is followed by a restart at once. From the second end on, the wait grows with decorrelated
//! jitter. Several ends without a healthy time in between are a crash loop, which is retried less and less often. A replica that cannot
//! run as declared gets the longest wait at once, since only a new declaration can help.
//!
//! Source of the backoff: Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog 2015, "decorrelated jitter".

use std::time::Duration;

use model::action::FailureKind;
use model::chance::Stream;
use model::input::Exit;
use model::memory::RestartMemory;
use model::reason::ExitClass;
use model::settings::RestartSettings;
use model::time::{Time, millis};

/// An ended replica.
#[derive(Clone, Copy, Debug)]
pub struct Restart {
    /// How it ended.
    pub exit: Exit,
    /// Since when it had been ready; `None` when it was not ready at its end.
    pub ready_since: Option<Time>,
}

/// Notes the end of a replica in `memory`, and the time before which it must not be restarted.
pub fn after_exit(
    now: Time,
    memory: &mut RestartMemory,
    restart: Restart,
    settings: &RestartSettings,
    jitter: &mut Stream,
) {
    note_ready_time(now, memory, restart.ready_since, settings);
    match restart.exit.class() {
        // It finished its work; restarting it at once would be a busy loop.
        ExitClass::Finished => note(now, memory, settings, jitter, |_, _| settings.backoff_min),
        ExitClass::Configuration => note(now, memory, settings, jitter, |_, _| settings.backoff_max),
        ExitClass::Failed
        | ExitClass::Killed
        | ExitClass::Crashed
        | ExitClass::OutOfMemory
        | ExitClass::Resource
        | ExitClass::Unknown => {
            note(now, memory, settings, jitter, |last, jitter| backoff(last, settings, jitter));
        }
    }
}

/// Notes a start that failed before the program ran.
pub fn after_failed_start(
    now: Time,
    memory: &mut RestartMemory,
    kind: FailureKind,
    settings: &RestartSettings,
    jitter: &mut Stream,
) {
    match kind {
        FailureKind::Declaration | FailureKind::Unsupported => {
            note(now, memory, settings, jitter, |_, _| settings.backoff_max);
        }
        FailureKind::AddressInUse | FailureKind::DiskFull | FailureKind::Other => {
            // A failed start is never the first end after a healthy time.
            memory.backoff_ms = memory.backoff_ms.max(1);
            note(now, memory, settings, jitter, |last, jitter| backoff(last, settings, jitter));
        }
    }
}

/// Notes that a replica has been ready since `ready_since`: after long enough, its failures are forgotten.
pub fn note_ready_time(
    now: Time,
    memory: &mut RestartMemory,
    ready_since: Option<Time>,
    settings: &RestartSettings,
) {
    let Some(since) = ready_since else { return };
    let ready_for = now.since(since);
    if ready_for >= settings.crash_loop_well {
        memory.recent.clear();
        memory.backoff_ms = memory.backoff_ms.min(millis(settings.backoff_max));
    }
    if ready_for >= settings.forget_after {
        memory.backoff_ms = 0;
    }
}

/// The number of ends in a crash loop; `None` when there is none.
///
/// A crash loop lasts until the replica has been healthy. Its first ends leave the window during the long waits; a last wait that is
/// longer than any other wait shows that the loop continues.
pub(crate) fn crash_loop(now: Time, memory: &RestartMemory, settings: &RestartSettings) -> Option<u32> {
    let begin = now - settings.crash_loop_window;
    let as_count = |ends: usize| u32::try_from(ends).unwrap_or(u32::MAX);
    if memory.backoff_ms > millis(settings.backoff_max) {
        return Some(as_count(memory.recent.len()));
    }
    let exits = as_count(memory.recent.iter().filter(|at| **at > begin).count());
    (exits >= settings.crash_loop_exits).then_some(exits)
}

fn note(
    now: Time,
    memory: &mut RestartMemory,
    settings: &RestartSettings,
    jitter: &mut Stream,
    wait: impl FnOnce(Duration, &mut Stream) -> Duration,
) {
    let max = settings.crash_loop_exits as usize;
    memory.recent.push(now);
    let excess = memory.recent.len().saturating_sub(max);
    memory.recent.drain(..excess);
    let last = Duration::from_millis(memory.backoff_ms);
    let wait = match crash_loop(now, memory, settings) {
        Some(_) => crash_loop_backoff(last, settings, jitter),
        None => wait(last, jitter),
    };
    // Zero would mean healthy; an end that is followed by a restart at once counts nevertheless.
    memory.backoff_ms = millis(wait).max(1);
    memory.not_before = now + wait;
}

/// The wait: zero after a healthy time; then between the shortest wait and three times the last one, at most the longest.
fn backoff(last: Duration, settings: &RestartSettings, jitter: &mut Stream) -> Duration {
    if last.is_zero() {
        return Duration::ZERO;
    }
    let min = settings.backoff_min;
    jitter.span(min, (last * 3).max(min)).min(settings.backoff_max)
}

/// The wait in a crash loop: between the last wait and three times as long, within the bounds of a crash loop. This is about as long as the
/// replica has been failing, so that a failure of some seconds costs about as many seconds.
fn crash_loop_backoff(last: Duration, settings: &RestartSettings, jitter: &mut Stream) -> Duration {
    let min = last.max(settings.crash_loop_wait_min);
    jitter.span(min, min * 3).min(settings.crash_loop_wait)
}

#[cfg(test)]
mod tests {
    use model::input::ExitStatus;

    use super::*;

    fn at(seconds: u64) -> Time {
        Time::from_millis(seconds * 1000)
    }

    fn killed(ready_since: Option<Time>) -> Restart {
        let ran_for = Duration::from_mins(1);
        Restart { exit: Exit { status: ExitStatus::Signal(9), out_of_memory: false, ran_for }, ready_since }
    }

    fn end(now: Time, memory: &mut RestartMemory, restart: Restart) {
        after_exit(now, memory, restart, &RestartSettings::default(), &mut Stream::named(1, "jitter"));
    }

    #[test]
    fn the_first_end_is_followed_by_a_restart_at_once() {
        let mut memory = RestartMemory::default();
        end(at(100), &mut memory, killed(Some(at(0))));
        assert_eq!(memory.not_before, at(100));
    }

    #[test]
    fn the_second_end_waits_at_least_the_shortest_wait() {
        let mut memory = RestartMemory::default();
        end(at(100), &mut memory, killed(None));
        end(at(101), &mut memory, killed(None));
        assert!(memory.not_before >= at(102), "waits until {}", memory.not_before);
    }

    #[test]
    fn five_ends_in_a_row_are_a_crash_loop() {
        let mut memory = RestartMemory::default();
        for i in 0..5 {
            end(at(100 + i), &mut memory, killed(None));
        }
        let settings = RestartSettings::default();
        assert_eq!(crash_loop(at(104), &memory, &settings), Some(5));
        let wait = memory.not_before.since(at(104));
        assert!(
            (settings.crash_loop_wait_min..=settings.crash_loop_wait_min * 3).contains(&wait),
            "{wait:?}"
        );
    }

    #[test]
    fn the_waits_of_a_crash_loop_grow_to_the_longest() {
        let settings = RestartSettings::default();
        let mut memory = RestartMemory::default();
        let mut waits = Vec::new();
        for _ in 0..20 {
            let now = memory.not_before + Duration::from_millis(300);
            end(now, &mut memory, killed(None));
            waits.push(memory.not_before.since(now));
            assert_eq!(crash_loop(now, &memory, &settings).is_some(), waits.len() >= 5, "{waits:?}");
        }
        assert!(waits[4..].is_sorted(), "{waits:?}");
        assert_eq!(waits.last(), Some(&settings.crash_loop_wait));
    }

    #[test]
    fn after_a_failure_of_seconds_the_restart_follows_within_a_minute() {
        for away in [5, 10, 20] {
            let mut memory = RestartMemory::default();
            let back = at(100 + away);
            let mut now = at(100);
            while now < back {
                end(now, &mut memory, killed(None));
                now = memory.not_before + Duration::from_millis(300);
            }
            assert!(
                now.since(back) <= Duration::from_mins(1),
                "away for {away} s, then {:?}",
                now.since(back)
            );
        }
    }

    #[test]
    fn two_ready_minutes_end_a_series_of_failures() {
        let mut memory = RestartMemory::default();
        for i in 0..4 {
            end(at(100 + i), &mut memory, killed(None));
        }
        end(at(1000 - 600), &mut memory, killed(Some(at(200))));
        assert_eq!(memory.recent.len(), 1);
    }

    #[test]
    fn after_five_ready_minutes_the_backoff_is_reset() {
        let mut memory = RestartMemory::default();
        for i in 0..4 {
            end(at(100 + i), &mut memory, killed(None));
        }
        end(at(1000), &mut memory, killed(Some(at(600))));
        assert_eq!(memory.not_before, at(1000));
    }

    #[test]
    fn a_replica_that_cannot_run_as_declared_gets_the_longest_wait() {
        let (settings, mut jitter) = (RestartSettings::default(), Stream::named(1, "jitter"));
        let mut memory = RestartMemory::default();
        after_failed_start(at(100), &mut memory, FailureKind::Declaration, &settings, &mut jitter);
        assert_eq!(memory.not_before, at(100) + settings.backoff_max);
    }
}
