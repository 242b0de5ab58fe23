//! Whether the loop controls the services, and why not.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::time::Time;

/// Longest expected duration of a round of the loop. A round begins at least every second and takes less than a second even with
/// thousands of services; only a disk that hangs takes longer.
const ROUND_MAX: Duration = Duration::from_secs(10);

/// The state of the loop, to be read from any thread.
#[derive(Debug, Default)]
pub(crate) struct Health {
    state: Mutex<LoopState>,
    /// Whether the loop is to end: then it accepts no more changes.
    is_stopping: AtomicBool,
    /// Start of the latest round, in milliseconds.
    round: AtomicU64,
}

#[derive(Debug, Default)]
pub(crate) enum LoopState {
    /// It has not received the first inventory yet.
    #[default]
    Starting,
    /// It controls the services.
    Running,
    /// It does not control them, for this reason.
    Suspended(Arc<str>),
}

impl Health {
    /// Records that the loop begins a round.
    pub(crate) fn begin_round(&self, now: Time) {
        self.round.store(now.as_millis(), Ordering::Relaxed);
    }

    /// Records that the loop is to end.
    pub(crate) fn begin_stop(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Relaxed)
    }

    /// Why the loop does not control the services; `None` while it does.
    pub(crate) fn not_ready_reason(&self, now: Time) -> Option<Arc<str>> {
        if self.is_stopping() {
            return Some("Homeostat is stopping".into());
        }
        match &*self.state() {
            LoopState::Starting => Some("it has not received the list of running replicas yet".into()),
            LoopState::Running => self.stuck(now),
            LoopState::Suspended(why) => Some(Arc::clone(why)),
        }
    }

    fn stuck(&self, now: Time) -> Option<Arc<str>> {
        let elapsed = now.since(Time::from_millis(self.round.load(Ordering::Relaxed)));
        let why = || {
            format!("the loop has not finished a round for {} s; the disk may hang", elapsed.as_secs()).into()
        };
        (elapsed > ROUND_MAX).then(why)
    }

    pub(crate) fn set(&self, state: LoopState) {
        *self.state() = state;
    }

    /// A state is replaced as a whole, so a panic while it was locked does no harm.
    fn state(&self) -> MutexGuard<'_, LoopState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_does_not_finish_a_round_is_not_ready() {
        let at = Time::from_millis;
        let health = Health::default();
        health.set(LoopState::Running);
        health.begin_round(at(60_000));
        assert_eq!(health.not_ready_reason(at(70_000)), None);
        let why = health.not_ready_reason(at(75_000)).expect("it is stuck");
        assert!(why.contains("for 15 s"), "{why}");
        health.begin_round(at(75_000));
        assert_eq!(health.not_ready_reason(at(76_000)), None);
    }
}
