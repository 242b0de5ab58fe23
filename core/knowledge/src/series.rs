//! Recent samples of a counter, from which a mean rate is read.

use std::time::Duration;

use model::time::Time;

/// Samples kept of one counter.
///
/// 9: a window of 2 s at four samples a second, and the one before it that the first difference needs.
pub const SAMPLES_MAX: usize = 9;

/// The latest values of one counter that only grows, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Series {
    samples: [(Time, u64); SAMPLES_MAX],
    len: usize,
}

/// How much a counter grew, and over which time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Growth {
    /// When the newer sample was taken.
    pub at: Time,
    /// From the older sample to the newer; never zero.
    pub over: Duration,
    /// By how much the counter grew.
    pub by: u64,
}

impl Series {
    /// Adds a sample. One that is not later than the last is a duplicate or out of order and changes nothing; one whose
    /// value is smaller begins the series anew, as the counter has.
    pub fn push(&mut self, at: Time, value: u64) {
        if let Some((last_at, last)) = self.last() {
            if at <= last_at {
                return;
            }
            if value < last {
                self.len = 0;
            }
        }
        if self.len == SAMPLES_MAX {
            self.samples.rotate_left(1);
            self.len -= 1;
        }
        self.samples[self.len] = (at, value);
        self.len += 1;
    }

    /// The latest sample; `None` before the first.
    pub fn last(&self) -> Option<(Time, u64)> {
        self.len.checked_sub(1).map(|i| self.samples[i])
    }

    /// How much the counter grew over the last `window`, from the oldest sample within it; `None` with fewer than two
    /// samples in it.
    pub fn growth(&self, window: Duration) -> Option<Growth> {
        let (at, newest) = self.last()?;
        let begin = at - window;
        let (from, oldest) = *self.samples[..self.len].iter().find(|(time, _)| *time >= begin)?;
        (from < at).then(|| Growth { at, over: at.since(from), by: newest - oldest })
    }

    /// Forgets all samples: the counter belongs to a new life.
    pub fn clear(&mut self) {
        self.len = 0;
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
    fn one_sample_says_nothing_about_growth() {
        let mut series = Series::default();
        assert_eq!(series.growth(WINDOW), None);
        series.push(at(1000), 5);
        assert_eq!(series.growth(WINDOW), None);
    }

    #[test]
    fn growth_is_taken_over_the_window_only() {
        let mut series = Series::default();
        for (ms, value) in [(0, 0), (1000, 100), (2000, 110), (3000, 120)] {
            series.push(at(ms), value);
        }
        assert_eq!(series.growth(WINDOW), Some(Growth { at: at(3000), over: WINDOW, by: 20 }));
    }

    #[test]
    fn a_doubled_or_late_sample_changes_nothing() {
        let mut series = Series::default();
        series.push(at(1000), 5);
        series.push(at(2000), 9);
        let before = series.clone();
        series.push(at(2000), 9);
        series.push(at(1500), 7);
        assert_eq!(series, before);
    }

    #[test]
    fn a_counter_that_falls_begins_anew() {
        let mut series = Series::default();
        series.push(at(1000), 500);
        series.push(at(2000), 3);
        assert_eq!(series.growth(WINDOW), None);
        series.push(at(3000), 10);
        assert_eq!(series.growth(WINDOW).map(|g| g.by), Some(7));
    }

    #[test]
    fn the_oldest_sample_makes_room() {
        let mut series = Series::default();
        for i in 0..100 {
            series.push(at(1000 + i * 250), i);
        }
        assert_eq!(series.growth(Duration::from_hours(1)).map(|g| g.by), Some(SAMPLES_MAX as u64 - 1));
    }
}
