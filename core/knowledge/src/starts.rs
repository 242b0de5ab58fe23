//! How long replicas take until they are ready.

use std::time::Duration;

use model::memory::{STARTS_MAX, StartMemory};

use crate::latest::push_latest;

/// The percentile of the start times: clients that need one of the slower starts have to wait for it.
const START_PERCENTILE: usize = 90;

/// Notes the time of one more start.
pub(crate) fn note(memory: &mut StartMemory, took: Duration) {
    push_latest(&mut memory.took, STARTS_MAX, took);
}

/// The start time: the 90th percentile of the latest starts, by nearest rank. `None` before the first.
pub fn start_time(memory: &StartMemory) -> Option<Duration> {
    let rank = (memory.took.len() * START_PERCENTILE).div_ceil(100).checked_sub(1)?;
    let mut took = memory.took.clone();
    let (_, percentile, _) = took.select_nth_unstable(rank);
    Some(*percentile)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(millis: impl IntoIterator<Item = u64>) -> StartMemory {
        let mut memory = StartMemory::default();
        millis.into_iter().for_each(|ms| note(&mut memory, Duration::from_millis(ms)));
        memory
    }

    #[test]
    fn there_is_no_start_time_before_the_first_start() {
        assert_eq!(start_time(&after([])), None);
        assert_eq!(start_time(&after([700])), Some(Duration::from_millis(700)));
    }

    #[test]
    fn one_start_that_hung_does_not_change_the_start_time() {
        let starts = after((0..20).map(|nth| if nth == 7 { 600_000 } else { 900 + nth }));
        assert!(start_time(&starts).is_some_and(|time| time < Duration::from_secs(1)));
    }

    #[test]
    fn old_starts_are_forgotten() {
        let starts = after([60_000; 40].into_iter().chain([500; STARTS_MAX]));
        assert_eq!(start_time(&starts), Some(Duration::from_millis(500)));
        assert_eq!(starts.took.len(), STARTS_MAX);
    }
}
