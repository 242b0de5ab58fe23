//! Recent samples of a counter, for mean rates.

use std::time::Duration;

use model::time::Time;

/// The most samples of one counter.
///
/// 9: a window of 2 s at four samples a second, and the one before it for the first difference.
pub const SAMPLES_MAX: usize = 9;

/// The latest values of a monotonic counter.
///
/// Only the latest is kept in full, the others as differences: a hundred thousand replicas have three of these each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Series {
    latest: (Time, u64),
    /// From each sample to the next, oldest first.
    steps: [Step; SAMPLES_MAX - 1],
    /// Samples kept, the latest included.
    len: u8,
}

/// The difference between one sample and the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Step {
    ms: u32,
    by: u32,
}

/// The growth of a counter over a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Growth {
    /// When the newer sample was taken.
    pub at: Time,
    /// The time from the older sample to the newer; never zero.
    pub over: Duration,
    /// The growth.
    pub by: u64,
}

impl Series {
    /// Adds a sample. One that is not later than the last is a duplicate or out of order, and is ignored. A smaller value means that the
    /// counter was reset, and resets the series. So does a difference beyond the range of a step: 49 days, or a count of 4,294,967,295.
    pub fn push(&mut self, at: Time, value: u64) {
        let Some((last_at, last)) = self.last() else {
            (self.latest, self.len) = ((at, value), 1);
            return;
        };
        if at <= last_at {
            return;
        }
        match Step::between((last_at, last), (at, value)) {
            None => self.len = 1,
            Some(step) => {
                if usize::from(self.len) == SAMPLES_MAX {
                    self.steps.rotate_left(1);
                    self.len -= 1;
                }
                self.steps[usize::from(self.len) - 1] = step;
                self.len += 1;
            }
        }
        self.latest = (at, value);
    }

    /// The latest sample; `None` before the first.
    pub fn last(&self) -> Option<(Time, u64)> {
        (self.len > 0).then_some(self.latest)
    }

    /// The growth over the last `window`, from the oldest sample within it; `None` with fewer than two samples in it.
    pub fn growth(&self, window: Duration) -> Option<Growth> {
        let (at, _) = self.last()?;
        let window = window.as_millis();
        let (mut over, mut by) = (0, 0);
        for step in self.steps[..usize::from(self.len) - 1].iter().rev() {
            let longer = over + u64::from(step.ms);
            if u128::from(longer) > window {
                break;
            }
            (over, by) = (longer, by + u64::from(step.by));
        }
        (over > 0).then_some(Growth { at, over: Duration::from_millis(over), by })
    }

    /// Removes all samples.
    pub fn clear(&mut self) {
        self.len = 0;
    }
}

impl Step {
    /// `None` when the counter fell, or the difference is too large for a step.
    fn between((from, before): (Time, u64), (to, after): (Time, u64)) -> Option<Self> {
        let ms = u32::try_from(to.since(from).as_millis()).ok()?;
        let by = u32::try_from(after.checked_sub(before)?).ok()?;
        Some(Self { ms, by })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Time {
        Time::from_millis(ms)
    }

    const WINDOW: Duration = Duration::from_secs(2);

    #[test]
    fn one_sample_has_no_growth() {
        let mut series = Series::default();
        assert_eq!(series.growth(WINDOW), None);
        series.push(at(1000), 5);
        assert_eq!(series.growth(WINDOW), None);
    }

    #[test]
    fn growth_covers_only_the_window() {
        let mut series = Series::default();
        for (ms, value) in [(0, 0), (1000, 100), (2000, 110), (3000, 120)] {
            series.push(at(ms), value);
        }
        assert_eq!(series.growth(WINDOW), Some(Growth { at: at(3000), over: WINDOW, by: 20 }));
    }

    #[test]
    fn duplicate_and_late_samples_are_ignored() {
        let mut series = Series::default();
        series.push(at(1000), 5);
        series.push(at(2000), 9);
        let before = series.clone();
        series.push(at(2000), 9);
        series.push(at(1500), 7);
        assert_eq!(series, before);
    }

    #[test]
    fn a_falling_counter_resets_the_series() {
        let mut series = Series::default();
        series.push(at(1000), 500);
        series.push(at(2000), 3);
        assert_eq!(series.growth(WINDOW), None);
        series.push(at(3000), 10);
        assert_eq!(series.growth(WINDOW).map(|g| g.by), Some(7));
    }

    #[test]
    fn a_difference_too_large_for_a_step_resets_the_series() {
        let far = u64::from(u32::MAX);
        for (ms, value) in [(far + 1, 1), (1, far + 1)] {
            let mut series = Series::default();
            series.push(at(0), 0);
            series.push(at(ms), value);
            assert_eq!((series.growth(Duration::MAX), series.last()), (None, Some((at(ms), value))));
            series.push(at(ms + far), value + far);
            assert_eq!(series.growth(Duration::MAX).map(|g| g.by), Some(far));
        }
    }

    #[test]
    fn the_oldest_sample_is_dropped() {
        let mut series = Series::default();
        for i in 0..100 {
            series.push(at(1000 + i * 250), i);
        }
        assert_eq!(series.growth(Duration::from_hours(1)).map(|g| g.by), Some(SAMPLES_MAX as u64 - 1));
    }
}
