//! Run-length encoding of decisions with the same outcome: one run for each reason, however the reasons alternate.

use std::time::Duration;

use model::decision::{DecisionEntry, Explanation};
use model::identity::Epoch;
use model::time::Now;

use super::segment::Entry;
use crate::decision_record::DecisionRecord;

/// The most concurrent runs; with one more reason all of them end and new ones begin.
const REASONS_MAX: usize = 8;

/// How long runs last: then a decision is written in full again, so that no figures are older.
const FULL_RECORD_INTERVAL: Duration = Duration::from_hours(1);

/// How often the end of a run is written; a crash loses at most this much of it.
const EXTEND_INTERVAL: Duration = Duration::from_mins(5);

/// The current runs of one service, all with the same outcome.
#[derive(Debug, Default)]
pub(super) struct RunEncoder {
    desired: Option<u32>,
    begun: Option<Now>,
    runs: Vec<Run>,
    next: u32,
}

/// Decisions with the same outcome and reason.
#[derive(Debug)]
struct Run {
    fingerprint: u64,
    number: u32,
    to: Now,
    count: u64,
    ratios: Vec<Option<(f64, f64)>>,
    /// Its end and count when they were last written.
    written: (Now, u64),
}

impl RunEncoder {
    /// Adds a decision, and returns the entries to write.
    pub(super) fn encode(&mut self, epoch: Epoch, decided: &DecisionEntry) -> Vec<Entry> {
        let DecisionEntry { at, explanation, guard, service: _ } = decided;
        let at = *at;
        // Whether the guard refuses is a part of the outcome.
        let fingerprint = explanation.fingerprint() ^ u64::from(guard.is_some());
        let is_over = self.begun.is_none_or(|begun| at.time.since(begun.time) >= FULL_RECORD_INTERVAL)
            || self.desired != Some(explanation.desired());
        if !is_over && let Some(run) = self.runs.iter_mut().find(|run| run.fingerprint == fingerprint) {
            run.extend(at, &**explanation);
            let is_due = at.time.since(run.written.0.time) >= EXTEND_INTERVAL;
            return if is_due { vec![run.written_now()] } else { Vec::new() };
        }
        let mut entries = Vec::new();
        if is_over || self.runs.len() >= REASONS_MAX {
            entries = self.extend_all();
            self.runs.clear();
            (self.desired, self.begun) = (Some(explanation.desired()), Some(at));
        }
        let record = DecisionRecord::new(&explanation.decision(), &explanation.prospects(), guard.as_ref());
        entries.push(Entry::RunStarted { number: self.next, epoch: epoch.0, from: at.into(), record });
        let ratios =
            explanation.ratios().into_iter().map(|ratio| ratio.map(|ratio| (ratio, ratio))).collect();
        self.runs.push(Run { fingerprint, number: self.next, to: at, count: 1, ratios, written: (at, 1) });
        self.next = self.next.wrapping_add(1);
        entries
    }

    /// The ends of all runs that are not written yet.
    pub(super) fn extend_all(&mut self) -> Vec<Entry> {
        self.runs.iter_mut().filter(|run| run.count > run.written.1).map(Run::written_now).collect()
    }

    /// Ends all runs: the next decision is written in full.
    pub(super) fn end(&mut self) {
        self.runs.clear();
        self.begun = None;
    }
}

impl Run {
    fn extend(&mut self, at: Now, explanation: &dyn Explanation) {
        (self.to, self.count) = (at, self.count + 1);
        for (seen, ratio) in self.ratios.iter_mut().zip(explanation.ratios()) {
            *seen = match (*seen, ratio) {
                (Some((low, high)), Some(ratio)) => Some((low.min(ratio), high.max(ratio))),
                (None, Some(ratio)) => Some((ratio, ratio)),
                (seen, None) => seen,
            };
        }
    }

    fn written_now(&mut self) -> Entry {
        self.written = (self.to, self.count);
        Entry::RunExtended {
            number: self.number,
            to: self.to.into(),
            count: self.count,
            ratios: self.ratios.clone(),
        }
    }
}
