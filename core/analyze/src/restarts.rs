//! When the place of a replica that ended may be filled again.
//!
//! The ladder: after a healthy time the first end is answered at once; from the second end on the wait grows by decorrelated
//! jitter; several ends without a healthy time in between are a crash loop, which is retried ever more rarely; a replica that cannot run as
//! declared waits longest at once, since only a new declaration will help.
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

/// What is known of a replica that ended.
#[derive(Clone, Copy, Debug)]
pub struct Restart {
    /// How it ended.
    pub exit: Exit,
    /// Since when it had been ready; `None` when it was not in the end.
    pub ready_since: Option<Time>,
}

/// Notes the end of a replica in `memory`, and the time before which its place must not be filled again.
pub fn after_exit(
    now: Time,
    memory: &mut RestartMemory,
    restart: Restart,
    settings: &RestartSettings,
    jitter: &mut Stream,
) {
    well(now, memory, restart.ready_since, settings);
    match restart.exit.class() {
        // It did its work; restarted at once, it would be a busy loop.
        ExitClass::Finished => note(now, memory, settings, jitter, |_, _| settings.backoff_min),
        ExitClass::Configuration => note(now, memory, settings, jitter, |_, _| settings.backoff_max),
        ExitClass::Failed
        | ExitClass::Killed
        | ExitClass::Crashed
        | ExitClass::OutOfMemory
        | ExitClass::Resource
        | ExitClass::Unknown => {
            note(now, memory, settings, jitter, |last, jitter| growing(last, settings, jitter));
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
            // A start that failed is never the first end after a healthy time: something is wrong with starting.
            memory.backoff_ms = memory.backoff_ms.max(1);
            note(now, memory, settings, jitter, |last, jitter| growing(last, settings, jitter));
        }
    }
}

/// Forgets the failures of a replica that has been ready for long enough.
pub fn well(now: Time, memory: &mut RestartMemory, ready_since: Option<Time>, settings: &RestartSettings) {
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

/// How many ends in a row make a crash loop; `None` when there is none.
///
/// A crash loop lasts until the replica has been healthy. The ends that began it leave the window during its long wait; a last wait
/// longer than any ordinary one shows that the loop goes on.
pub(crate) fn is_crash_loop(now: Time, memory: &RestartMemory, settings: &RestartSettings) -> Option<u32> {
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
    let most = settings.crash_loop_exits as usize;
    memory.recent.push(now);
    let excess = memory.recent.len().saturating_sub(most);
    memory.recent.drain(..excess);
    let last = Duration::from_millis(memory.backoff_ms);
    let wait = match is_crash_loop(now, memory, settings) {
        Some(_) => looping(last, settings, jitter),
        None => wait(last, jitter),
    };
    // Zero would mean healthy; an end that was answered at once counts all the same.
    memory.backoff_ms = millis(wait).max(1);
    memory.not_before = now + wait;
}

/// Zero after a healthy time; then between the shortest wait and three times the last one, at most the longest.
fn growing(last: Duration, settings: &RestartSettings, jitter: &mut Stream) -> Duration {
    if last.is_zero() {
        return Duration::ZERO;
    }
    let least = settings.backoff_min;
    jitter.span(least, (last * 3).max(least)).min(settings.backoff_max)
}

/// Between the last wait and three times as long, within the least and the longest wait of a crash loop: about as long as it has failed so far,
/// so that a failure whose cause lasts for seconds costs no more than about as many seconds.
fn looping(last: Duration, settings: &RestartSettings, jitter: &mut Stream) -> Duration {
    let least = last.max(settings.crash_loop_wait_min);
    jitter.span(least, least * 3).min(settings.crash_loop_wait)
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
    fn the_first_end_is_answered_at_once() {
        let mut memory = RestartMemory::default();
        end(at(100), &mut memory, killed(Some(at(0))));
        assert_eq!(memory.not_before, at(100));
    }

    #[test]
    fn the_second_end_waits_at_least_the_least_wait() {
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
        assert_eq!(is_crash_loop(at(104), &memory, &settings), Some(5));
        let wait = memory.not_before.since(at(104));
        assert!(
            (settings.crash_loop_wait_min..=settings.crash_loop_wait_min * 3).contains(&wait),
            "{wait:?}"
        );
    }

    #[test]
    fn a_crash_loop_waits_no_shorter_than_before_and_long_in_the_end() {
        let settings = RestartSettings::default();
        let mut memory = RestartMemory::default();
        let mut waits = Vec::new();
        for _ in 0..20 {
            let now = memory.not_before + Duration::from_millis(300);
            end(now, &mut memory, killed(None));
            waits.push(memory.not_before.since(now));
            assert_eq!(is_crash_loop(now, &memory, &settings).is_some(), waits.len() >= 5, "{waits:?}");
        }
        assert!(waits[4..].is_sorted(), "{waits:?}");
        assert_eq!(waits.last(), Some(&settings.crash_loop_wait));
    }

    #[test]
    fn what_was_missing_for_seconds_costs_no_more_than_a_minute() {
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
    fn two_ready_minutes_break_the_row() {
        let mut memory = RestartMemory::default();
        for i in 0..4 {
            end(at(100 + i), &mut memory, killed(None));
        }
        end(at(1000 - 600), &mut memory, killed(Some(at(200))));
        assert_eq!(memory.recent.len(), 1);
    }

    #[test]
    fn after_five_ready_minutes_an_end_is_the_first_again() {
        let mut memory = RestartMemory::default();
        for i in 0..4 {
            end(at(100 + i), &mut memory, killed(None));
        }
        end(at(1000), &mut memory, killed(Some(at(600))));
        assert_eq!(memory.not_before, at(1000));
    }

    #[test]
    fn what_cannot_run_as_declared_waits_longest_at_once() {
        let (settings, mut jitter) = (RestartSettings::default(), Stream::named(1, "jitter"));
        let mut memory = RestartMemory::default();
        after_failed_start(at(100), &mut memory, FailureKind::Declaration, &settings, &mut jitter);
        assert_eq!(memory.not_before, at(100) + settings.backoff_max);
    }
}
