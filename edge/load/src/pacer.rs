//! A timer that is more precise than that of the runtime.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;
use tokio::time::Instant;

/// A timer of the kernel.
///
/// The runtime's timers have a resolution of a millisecond, by which a request could be late, and which would count as
/// latency of the service. This one wakes within some 50 µs.
#[derive(Debug)]
pub(crate) struct Pacer {
    timer: AsyncFd<OwnedFd>,
}

impl Pacer {
    /// Returns a timer that is not set. Needs a runtime with I/O.
    pub(crate) fn new() -> io::Result<Self> {
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        #[expect(
            deprecated,
            reason = "its replacement is unsafe for types whose descriptor may change; an OwnedFd's never does"
        )]
        let timer = AsyncFd::new(timer)?;
        Ok(Self { timer })
    }

    /// Waits until `deadline`; one that has passed is over at once.
    ///
    /// Cancel-safe: the next call sets the timer again.
    pub(crate) async fn sleep_until(&self, deadline: Instant) -> io::Result<()> {
        // Zero would turn the timer off.
        let wait = deadline.saturating_duration_since(Instant::now()).max(Duration::from_nanos(1));
        let once = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: Timespec {
                tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: wait.subsec_nanos().into(),
            },
        };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)?;
        loop {
            let mut ready = self.timer.readable().await?;
            let mut expirations = [0; 8];
            let read = ready.try_io(|timer| Ok(rustix::io::read(timer, &mut expirations)?));
            if let Ok(read) = read {
                return read.map(|_| ());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_wakes_after_the_deadline_and_not_before() {
        let pacer = Pacer::new().unwrap();
        let deadline = Instant::now() + Duration::from_millis(3);
        pacer.sleep_until(deadline).await.unwrap();
        assert!(Instant::now() >= deadline);
    }

    #[tokio::test]
    async fn a_wait_that_was_given_up_does_not_end_the_next_one_early() {
        let pacer = Pacer::new().unwrap();
        let soon = Instant::now() + Duration::from_millis(1);
        tokio::select! {
            biased;
            () = std::future::ready(()) => {}
            _ = pacer.sleep_until(soon) => {}
        }
        let later = soon + Duration::from_millis(5);
        pacer.sleep_until(later).await.unwrap();
        assert!(Instant::now() >= later);
    }

    #[tokio::test]
    async fn a_deadline_that_has_passed_is_over_at_once() {
        let pacer = Pacer::new().unwrap();
        pacer.sleep_until(Instant::now()).await.unwrap();
    }
}
