//! The load of the latest steps, most of which is written down already.

use std::sync::Arc;
use std::time::Duration;

use model::memory::{Exchange, LOAD_STEPS_MAX, LoadRecord, LoadSource, StepLoad};

/// Every step of load that a forecast can be learned from.
///
/// The written part is shared with its writer, and newer steps are added when it is renewed: the load is kept in memory once.
#[derive(Clone, Debug)]
pub(super) struct Record {
    kept: Arc<LoadRecord>,
    /// The steps since, oldest first.
    fresh: Vec<StepLoad>,
}

impl Record {
    /// An empty record; the first step will have this number.
    pub(super) fn begin(source: LoadSource, step: Duration, first: u64) -> Self {
        let kept = LoadRecord { source, step, first, loads: Vec::new(), exchange: Exchange::default() };
        Self { kept: Arc::new(kept), fresh: Vec::new() }
    }

    pub(super) fn of(kept: Arc<LoadRecord>) -> Self {
        Self { kept, fresh: Vec::new() }
    }

    pub(super) fn kept(&self) -> &Arc<LoadRecord> {
        &self.kept
    }

    /// The number of the oldest step.
    pub(super) fn first(&self) -> u64 {
        self.kept.first
    }

    /// The number of the next step.
    pub(super) fn next(&self) -> u64 {
        self.kept.first + (self.kept.loads.len() + self.fresh.len()) as u64
    }

    /// Steps that are not written down yet.
    pub(super) fn fresh(&self) -> usize {
        self.fresh.len()
    }

    pub(super) fn push(&mut self, load: StepLoad) {
        self.fresh.push(load);
    }

    /// The load of the step with this number; a gap where nothing is known.
    pub(super) fn at(&self, number: u64) -> StepLoad {
        let at = number.checked_sub(self.kept.first).and_then(|at| usize::try_from(at).ok());
        let Some(at) = at else { return StepLoad::GAP };
        let kept = self.kept.loads.get(at);
        let fresh = || self.fresh.get(at.checked_sub(self.kept.loads.len())?);
        kept.or_else(fresh).copied().unwrap_or(StepLoad::GAP)
    }

    /// Renews the written part with the newer steps; the oldest steps are dropped.
    pub(super) fn keep(&mut self, exchange: Exchange) {
        let LoadRecord { source, step, first, loads, .. } = &*self.kept;
        let excess = (loads.len() + self.fresh.len()).saturating_sub(LOAD_STEPS_MAX);
        let (old, new) =
            (&loads[excess.min(loads.len())..], &self.fresh[excess.saturating_sub(loads.len())..]);
        let kept = LoadRecord {
            source: *source,
            step: *step,
            first: first + excess as u64,
            loads: [old, new].concat(),
            exchange,
        };
        self.kept = Arc::new(kept);
        self.fresh.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_down_is_what_came_last() {
        let mut record = Record::begin(LoadSource::Requests, Duration::from_secs(60), 100);
        for number in 0..LOAD_STEPS_MAX as u64 + 10 {
            record.push(StepLoad::of(number));
            if number.is_multiple_of(1000) {
                record.keep(Exchange::default());
            }
        }
        let next = record.next();
        let last = record.at(next - 1);
        record.keep(Exchange::default());
        assert_eq!((record.next(), record.first(), record.fresh()), (next, 110, 0));
        assert_eq!((record.at(next - 1), record.kept().loads.len()), (last, LOAD_STEPS_MAX));
        assert_eq!((record.at(109), record.at(next)), (StepLoad::GAP, StepLoad::GAP));
        assert_eq!(record.at(110), StepLoad::of(10));
    }
}
