//! Limits how often an event is logged that any client can cause.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The shortest time between two entries for one cause.
const INTERVAL: Duration = Duration::from_secs(60);

/// When an event may be logged again. Shared by all workers.
#[derive(Debug, Default)]
pub(crate) struct LogInterval {
    /// In milliseconds of the proxy's clock.
    next_ms: AtomicU64,
}

impl LogInterval {
    /// Whether the event is to be logged `now`; then it is not again for a minute.
    pub(crate) fn is_due(&self, now: Duration) -> bool {
        let ms = |time: Duration| time.as_millis() as u64;
        let next_ms = self.next_ms.load(Ordering::Relaxed);
        // The exchange fails if another worker was first.
        let exchange =
            |next| self.next_ms.compare_exchange(next_ms, next, Ordering::Relaxed, Ordering::Relaxed);
        ms(now) >= next_ms && exchange(ms(now + INTERVAL)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_logged_at_once_and_then_once_a_minute() {
        let log = LogInterval::default();
        let times = (0..150).map(Duration::from_secs);
        let logged: Vec<_> = times.filter(|now| log.is_due(*now)).map(|now| now.as_secs()).collect();
        assert_eq!(logged, [0, 60, 120]);
    }
}
