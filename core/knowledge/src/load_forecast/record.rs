//! The load of the latest steps, most of which is already stored.

use std::sync::Arc;
use std::time::Duration;

use model::memory::{DemandCurve, LOAD_STEPS_MAX, LoadRecord, LoadSource, StepLoad};

/// The load of every step that a forecast can be learned from.
///
/// The stored part is shared with its writer, and newer steps are added when it is renewed, so that the load is in memory only once.
#[derive(Clone, Debug)]
pub(super) struct Record {
    stored: Arc<LoadRecord>,
    /// The steps since then, oldest first.
    recent: Vec<StepLoad>,
}

impl Record {
    /// An empty record; the first step will have this number.
    pub(super) fn begin(source: LoadSource, step: Duration, first: u64) -> Self {
        let stored = LoadRecord { source, step, first, loads: Vec::new(), demand: DemandCurve::default() };
        Self { stored: Arc::new(stored), recent: Vec::new() }
    }

    pub(super) fn of(stored: Arc<LoadRecord>) -> Self {
        Self { stored, recent: Vec::new() }
    }

    pub(super) fn stored(&self) -> &Arc<LoadRecord> {
        &self.stored
    }

    /// The number of the oldest step.
    pub(super) fn first(&self) -> u64 {
        self.stored.first
    }

    /// The number of the next step.
    pub(super) fn next(&self) -> u64 {
        self.stored.first + (self.stored.loads.len() + self.recent.len()) as u64
    }

    /// The number of steps that are not stored yet.
    pub(super) fn unstored(&self) -> usize {
        self.recent.len()
    }

    pub(super) fn push(&mut self, load: StepLoad) {
        self.recent.push(load);
    }

    /// The load of the step with this number; a gap where it is not known.
    pub(super) fn at(&self, number: u64) -> StepLoad {
        let at = number.checked_sub(self.stored.first).and_then(|at| usize::try_from(at).ok());
        let Some(at) = at else { return StepLoad::GAP };
        let stored = self.stored.loads.get(at);
        let recent = || self.recent.get(at.checked_sub(self.stored.loads.len())?);
        stored.or_else(recent).copied().unwrap_or(StepLoad::GAP)
    }

    /// Adds the newer steps to the stored part, and drops the oldest steps.
    pub(super) fn renew(&mut self, demand: DemandCurve) {
        let LoadRecord { source, step, first, loads, .. } = &*self.stored;
        let excess = (loads.len() + self.recent.len()).saturating_sub(LOAD_STEPS_MAX);
        let (old, new) =
            (&loads[excess.min(loads.len())..], &self.recent[excess.saturating_sub(loads.len())..]);
        let stored = LoadRecord {
            source: *source,
            step: *step,
            first: first + excess as u64,
            loads: [old, new].concat(),
            demand,
        };
        self.stored = Arc::new(stored);
        self.recent.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_steps_are_stored() {
        let mut record = Record::begin(LoadSource::Requests, Duration::from_secs(60), 100);
        for number in 0..LOAD_STEPS_MAX as u64 + 10 {
            record.push(StepLoad::of(number));
            if number.is_multiple_of(1000) {
                record.renew(DemandCurve::default());
            }
        }
        let next = record.next();
        let last = record.at(next - 1);
        record.renew(DemandCurve::default());
        assert_eq!((record.next(), record.first(), record.unstored()), (next, 110, 0));
        assert_eq!((record.at(next - 1), record.stored().loads.len()), (last, LOAD_STEPS_MAX));
        assert_eq!((record.at(109), record.at(next)), (StepLoad::GAP, StepLoad::GAP));
        assert_eq!(record.at(110), StepLoad::of(10));
    }
}
