//! Successive decisions with the same outcome: one run for each reason, however the reasons alternate.

use std::time::Duration;

use model::decision::{Account, Decided};
use model::identity::Epoch;
use model::time::Now;

use super::segment::Entry;
use crate::kept::Record;

/// Most reasons within a stretch; one more begins the next stretch.
const REASONS_MAX: usize = 8;

/// The longest stretch: after it a decision is kept whole again, so that no figures are older.
const STRETCH_MAX: Duration = Duration::from_hours(1);

/// How often it is written how far a run has gone; a crash forgets at most this much of its end.
const EXTEND_EVERY: Duration = Duration::from_mins(5);

/// The latest decisions of one service, as long as their outcome stays the same.
#[derive(Debug, Default)]
pub(super) struct Stretch {
    desired: Option<u32>,
    begun: Option<Now>,
    runs: Vec<Run>,
    next: u32,
}

/// Decisions of one outcome and one reason.
#[derive(Debug)]
struct Run {
    fingerprint: u64,
    number: u32,
    to: Now,
    count: u64,
    ratios: Vec<Option<(f64, f64)>>,
    /// How far it went, and how many decisions it had, when that was last written.
    written: (Now, u64),
}

impl Stretch {
    /// Takes one more decision, and returns what is to be written.
    pub(super) fn take(&mut self, epoch: Epoch, decided: &Decided) -> Vec<Entry> {
        let Decided { at, account, guard, service: _ } = decided;
        let at = *at;
        // Whether the guard refuses is a part of the outcome.
        let fingerprint = account.fingerprint() ^ u64::from(guard.is_some());
        let is_over = self.begun.is_none_or(|begun| at.time.since(begun.time) >= STRETCH_MAX)
            || self.desired != Some(account.desired());
        if !is_over && let Some(run) = self.runs.iter_mut().find(|run| run.fingerprint == fingerprint) {
            run.extend(at, &**account);
            let is_due = at.time.since(run.written.0.time) >= EXTEND_EVERY;
            return if is_due { vec![run.written_now()] } else { Vec::new() };
        }
        let mut entries = Vec::new();
        if is_over || self.runs.len() >= REASONS_MAX {
            entries = self.extend_all();
            self.runs.clear();
            (self.desired, self.begun) = (Some(account.desired()), Some(at));
        }
        let record = Record::new(&account.decision(), &account.prospects(), guard.as_ref());
        entries.push(Entry::Begun { number: self.next, epoch: epoch.0, from: at.into(), record });
        let ratios = account.ratios().into_iter().map(|ratio| ratio.map(|ratio| (ratio, ratio))).collect();
        self.runs.push(Run { fingerprint, number: self.next, to: at, count: 1, ratios, written: (at, 1) });
        self.next = self.next.wrapping_add(1);
        entries
    }

    /// How far each run went, where that is not written yet.
    pub(super) fn extend_all(&mut self) -> Vec<Entry> {
        self.runs.iter_mut().filter(|run| run.count > run.written.1).map(Run::written_now).collect()
    }

    /// Ends the stretch: the next decision is kept whole.
    pub(super) fn end(&mut self) {
        self.runs.clear();
        self.begun = None;
    }
}

impl Run {
    fn extend(&mut self, at: Now, account: &dyn Account) {
        (self.to, self.count) = (at, self.count + 1);
        for (seen, ratio) in self.ratios.iter_mut().zip(account.ratios()) {
            *seen = match (*seen, ratio) {
                (Some((low, high)), Some(ratio)) => Some((low.min(ratio), high.max(ratio))),
                (None, Some(ratio)) => Some((ratio, ratio)),
                (seen, None) => seen,
            };
        }
    }

    fn written_now(&mut self) -> Entry {
        self.written = (self.to, self.count);
        Entry::Went {
            number: self.number,
            to: self.to.into(),
            count: self.count,
            ratios: self.ratios.clone(),
        }
    }
}
