//! How long replicas take until they are ready.

use std::time::Duration;

use model::memory::{STARTS_MAX, StartMemory};

use crate::latest::push_latest;

/// How many starts in ten are to be ready in time: the clients that need the tenth one have to wait for it.
const USUAL_TENTHS: usize = 9;

/// Notes how long one more start took.
pub(crate) fn note(memory: &mut StartMemory, took: Duration) {
    push_latest(&mut memory.took, STARTS_MAX, took);
}

/// How long replicas usually take until they are ready: the 90th percentile of the latest starts, by nearest rank. `None` before
/// the first.
pub fn start_time(memory: &StartMemory) -> Option<Duration> {
    let rank = (memory.took.len() * USUAL_TENTHS).div_ceil(10).checked_sub(1)?;
    let mut took = memory.took.clone();
    let (_, usual, _) = took.select_nth_unstable(rank);
    Some(*usual)
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
    fn before_the_first_start_nothing_is_usual() {
        assert_eq!(start_time(&after([])), None);
        assert_eq!(start_time(&after([700])), Some(Duration::from_millis(700)));
    }

    #[test]
    fn one_start_that_hung_is_not_what_is_usual() {
        let starts = after((0..20).map(|nth| if nth == 7 { 600_000 } else { 900 + nth }));
        assert!(start_time(&starts).is_some_and(|usual| usual < Duration::from_secs(1)));
    }

    #[test]
    fn what_was_usual_long_ago_is_forgotten() {
        let starts = after([60_000; 40].into_iter().chain([500; STARTS_MAX]));
        assert_eq!(start_time(&starts), Some(Duration::from_millis(500)));
        assert_eq!(starts.took.len(), STARTS_MAX);
    }
}
