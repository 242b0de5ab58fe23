//! The two clocks that [`Now`] has.

use std::time::Duration;

use model::time::{Now, Time, Wall};
use rustix::time::{ClockId, clock_gettime};

/// The loop's clock: starts at the later of the wall clock and the last time in the journal, and then advances by itself.
///
/// Uses `CLOCK_BOOTTIME`, so it advances while the machine is suspended and is not affected by corrections of the wall clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    begun: Time,
    begun_since_boot: Duration,
}

impl Clock {
    /// Starts the clock at the later of the wall clock and `last_journaled`; [`Time::ZERO`] when there is no journal.
    pub fn continued_after(last_journaled: Time) -> Self {
        let begun = last_journaled.max(Time::from_millis(wall().as_millis()));
        Self { begun, begun_since_boot: since_boot() }
    }

    /// Reads both clocks.
    pub fn now(&self) -> Now {
        Now { time: self.time(), wall: wall() }
    }

    /// The loop's current time; never before that of an earlier call.
    pub fn time(&self) -> Time {
        self.begun + since_boot().saturating_sub(self.begun_since_boot)
    }
}

/// The current wall clock time; 1970 when the clock is set to before that.
pub fn wall() -> Wall {
    Wall::from_millis(u64::try_from(read(ClockId::Realtime).as_millis()).unwrap_or(u64::MAX))
}

/// How long the machine has been up, suspension included.
///
/// Comparable between the processes of one boot (`/proc/sys/kernel/random/boot_id`), so it can date things that outlive this process.
pub fn since_boot() -> Duration {
    read(ClockId::Boottime)
}

fn read(clock: ClockId) -> Duration {
    let now = clock_gettime(clock);
    match (u64::try_from(now.tv_sec), u32::try_from(now.tv_nsec)) {
        (Ok(secs), Ok(nanos)) => Duration::new(secs, nanos),
        (Err(_), _) | (_, Err(_)) => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_behind_the_journal_continues_from_the_journal() {
        let far_ahead = Time::from_millis(wall().as_millis() + 86_400_000);
        let clock = Clock::continued_after(far_ahead);
        assert!(clock.time() >= far_ahead);
        assert!(clock.time().since(far_ahead) < Duration::from_secs(3600));
    }

    #[test]
    fn time_never_steps_back() {
        let clock = Clock::continued_after(Time::ZERO);
        let times: Vec<Time> = (0..1000).map(|_| clock.time()).collect();
        assert!(times.is_sorted());
    }

    #[test]
    fn a_new_clock_is_near_the_wall_clock() {
        let before = wall().as_millis();
        let time = Clock::continued_after(Time::ZERO).time().as_millis();
        assert!(time >= before && time < before + 3_600_000);
    }
}
