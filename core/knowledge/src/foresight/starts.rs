//! How long replicas take until they are ready.

use std::collections::VecDeque;
use std::time::Duration;

use model::memory::STARTS_MAX;

/// The latest start times, from being started to being ready for the first time.
#[derive(Clone, Debug, Default)]
pub(super) struct StartTimes {
    /// In milliseconds, oldest first; at most [`STARTS_MAX`].
    recent: VecDeque<u32>,
}

/// The share of starts that are to be ready in time, in tenths: one slow start of ten is waited for by whoever asks then.
const USUAL_TENTHS: usize = 9;

impl StartTimes {
    pub(super) fn of(remembered: &[u32]) -> Self {
        let excess = remembered.len().saturating_sub(STARTS_MAX);
        Self { recent: remembered.iter().skip(excess).copied().collect() }
    }

    pub(super) fn note(&mut self, took: Duration) {
        if self.recent.len() == STARTS_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(u32::try_from(took.as_millis()).unwrap_or(u32::MAX));
    }

    /// What nine of ten have not exceeded, by nearest rank; `None` before the first start.
    pub(super) fn usual(&self) -> Option<Duration> {
        let mut sorted: Vec<u32> = self.recent.iter().copied().collect();
        sorted.sort_unstable();
        let rank = (sorted.len() * USUAL_TENTHS).div_ceil(10);
        let ms = sorted.get(rank.checked_sub(1)?)?;
        Some(Duration::from_millis(u64::from(*ms)))
    }

    pub(super) fn remembered(&self) -> Vec<u32> {
        self.recent.iter().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(millis: impl IntoIterator<Item = u64>) -> StartTimes {
        let mut starts = StartTimes::default();
        millis.into_iter().for_each(|ms| starts.note(Duration::from_millis(ms)));
        starts
    }

    #[test]
    fn before_the_first_start_nothing_is_usual() {
        assert_eq!(after([]).usual(), None);
        assert_eq!(after([700]).usual(), Some(Duration::from_millis(700)));
    }

    #[test]
    fn one_start_that_hung_is_not_what_is_usual() {
        let starts = after((0..20).map(|nth| if nth == 7 { 600_000 } else { 900 + nth }));
        assert!(starts.usual().is_some_and(|usual| usual < Duration::from_secs(1)));
    }

    #[test]
    fn what_was_usual_long_ago_is_forgotten() {
        let starts = after([60_000; 40].into_iter().chain([500; STARTS_MAX]));
        assert_eq!(starts.usual(), Some(Duration::from_millis(500)));
        assert_eq!(starts.remembered().len(), STARTS_MAX);
        assert_eq!(StartTimes::of(&starts.remembered()).usual(), starts.usual());
    }
}
