//! Measures a load: amounts over time, averaged over steps.

use std::sync::Arc;
use std::time::Duration;

use model::memory::{DemandCurve, LOAD_STEPS_MAX, LoadRecord, LoadSource, StepLoad};
use model::time::Time;

use super::record::Record;
use super::{begin_of, number_of};

/// The longest gap between two updates, or two reports of the proxy, over which a load counts as measured.
const GAP_MAX: Duration = Duration::from_secs(60);

/// How late the last report on a step may arrive: the proxy reports at least once a second.
const DELAY_MAX: Duration = Duration::from_secs(2);

/// How often the record is stored: after this many steps, within these limits.
pub(super) const STORED_AFTER_STEPS: u32 = 16;
const STORED_EVERY_MIN: Duration = Duration::from_secs(30);
const STORED_EVERY_MAX: Duration = Duration::from_mins(15);

/// Measures the load of one service, step by step.
#[derive(Clone, Debug)]
pub(super) struct Meter {
    record: Record,
    /// The current step; `None` before the first measurement.
    in_progress: Option<StepInProgress>,
    demand: DemandCurve,
    /// The last report of the proxy.
    reported: Option<(Time, u64)>,
    updated: Option<Time>,
    stored: Option<Time>,
}

/// Whether the record continues, or was reset because the gap is longer than the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Continuity {
    Kept,
    Lost,
}

impl Continuity {
    fn and(self, other: Self) -> Self {
        match self {
            Self::Kept => other,
            Self::Lost => self,
        }
    }
}

/// The load within one step, as far as it is measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct StepInProgress {
    number: u64,
    pub(super) load: Amount,
    required: Amount,
}

/// An integral over time: thousandths of something, times milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Amount {
    sum: u128,
    pub(super) over_ms: u64,
}

impl Meter {
    /// Begins at `now` with what was `remembered`, if it has the same source and the same steps.
    pub(super) fn begin(
        source: LoadSource,
        step: Duration,
        remembered: Option<&Arc<LoadRecord>>,
        now: Time,
    ) -> Self {
        let is_usable = |record: &&Arc<LoadRecord>| record.source == source && record.step == step;
        let record = remembered.filter(is_usable).map_or_else(
            || Record::begin(source, step, number_of(now, step)),
            |record| Record::of(Arc::clone(record)),
        );
        let demand = record.stored().demand.clone();
        Self { record, in_progress: None, demand, reported: None, updated: None, stored: None }
    }

    pub(super) fn record(&self) -> &Record {
        &self.record
    }

    pub(super) fn demand(&self) -> &DemandCurve {
        &self.demand
    }

    pub(super) fn forget_demand(&mut self) {
        self.demand = DemandCurve::default();
    }

    pub(super) fn in_progress(&self) -> Option<&StepInProgress> {
        self.in_progress.as_ref()
    }

    pub(super) fn source(&self) -> LoadSource {
        self.record.stored().source
    }

    pub(super) fn step(&self) -> Duration {
        self.record.stored().step
    }

    /// Observes the proxy's counter of requests.
    pub(super) fn observe_requests(&mut self, at: Time, requests: u64) -> Continuity {
        let before = self.reported.replace((at, requests));
        let Some((since, counted)) = before else { return Continuity::Kept };
        // The counter of a restarted proxy begins at zero.
        let Some(new) = requests.checked_sub(counted) else { return Continuity::Kept };
        if self.source() != LoadSource::Requests || at <= since || at.since(since) > GAP_MAX {
            return Continuity::Kept;
        }
        // Thousandths of a request a second, times milliseconds.
        self.add_load(since, at, u128::from(new) * 1_000_000)
    }

    /// Observes the replicas that the autoscaler's metrics last required, and closes the steps for which no more reports can arrive.
    pub(super) fn update(&mut self, now: Time, required: Option<u64>) -> Continuity {
        let since = self.updated.replace(now);
        let mut continuity = Continuity::Kept;
        if let (Some(required), Some(since)) = (required, since)
            && now > since
            && now.since(since) <= GAP_MAX
        {
            match self.source() {
                LoadSource::Requests => self.add_required(since, now, required),
                LoadSource::Replicas => {
                    continuity =
                        self.add_load(since, now, u128::from(required) * now.since(since).as_millis());
                }
            }
        }
        let step = self.step();
        continuity.and(self.close_until(number_of(now - DELAY_MAX.min(step), step)))
    }

    /// Adds the required replicas from `since` to `at` to the current step, as far as that overlaps it. Its load is reported later.
    fn add_required(&mut self, since: Time, at: Time, required: u64) {
        let step = self.step();
        let Some(in_progress) = &mut self.in_progress else { return };
        let (begin, end) = (begin_of(in_progress.number, step), begin_of(in_progress.number + 1, step));
        let over = at.min(end).since(since.max(begin)).as_millis();
        in_progress.required.add(u128::from(required) * over, over);
    }

    /// Spreads an amount of load over the steps between `since` and `at`.
    fn add_load(&mut self, since: Time, at: Time, amount: u128) -> Continuity {
        let step = self.step();
        let total = at.since(since).as_millis();
        let mut continuity = Continuity::Kept;
        let mut from = since;
        while from < at {
            let number = number_of(from, step);
            let until = at.min(begin_of(number + 1, step));
            let over = until.since(from).as_millis();
            continuity = continuity.and(self.close_until(number));
            if let Some(in_progress) =
                self.in_progress.as_mut().filter(|in_progress| in_progress.number == number)
            {
                // Usually it is all within one step, and a 128-bit division is expensive.
                let part = if over == total { amount } else { amount * over / total };
                in_progress.load.add(part, over);
            }
            from = until;
        }
        continuity
    }

    /// Closes the steps before this number, which becomes the current step.
    fn close_until(&mut self, number: u64) -> Continuity {
        let empty = |number| StepInProgress { number, load: Amount::default(), required: Amount::default() };
        let Some(in_progress) = self.in_progress else {
            // Steps before the first update were not measured.
            let missed = number.saturating_sub(self.record.next());
            let continuity = self.skip(missed, number);
            self.in_progress = Some(empty(self.record.next()));
            return continuity;
        };
        if number <= in_progress.number {
            return Continuity::Kept;
        }
        self.in_progress = Some(empty(number));
        let half = u64::try_from(self.step().as_millis() / 2).unwrap_or(u64::MAX);
        let load = in_progress.load.mean().filter(|_| in_progress.load.over_ms >= half);
        self.record.push(load.map_or(StepLoad::GAP, StepLoad::of));
        if let (LoadSource::Requests, Some(load), Some(required)) =
            (self.source(), load, in_progress.required.mean())
        {
            self.demand.note(load, required);
        }
        self.skip(number - in_progress.number - 1, number)
    }

    /// Records this many steps before this number as not measured.
    fn skip(&mut self, steps: u64, number: u64) -> Continuity {
        if steps > LOAD_STEPS_MAX as u64 {
            self.record = Record::begin(self.source(), self.step(), number);
            return Continuity::Lost;
        }
        (0..steps).for_each(|_| self.record.push(StepLoad::GAP));
        Continuity::Kept
    }

    /// Renews the stored record when that is due.
    pub(super) fn renew_record(&mut self, now: Time) {
        let every = (self.step() * STORED_AFTER_STEPS).clamp(STORED_EVERY_MIN, STORED_EVERY_MAX);
        let stored = *self.stored.get_or_insert(now);
        if now.since(stored) >= every && self.record.unstored() > 0 {
            self.stored = Some(now);
            self.record.renew(self.demand.clone());
        }
    }
}

impl Amount {
    fn add(&mut self, amount: u128, over_ms: u128) {
        self.sum = self.sum.saturating_add(amount);
        self.over_ms = self.over_ms.saturating_add(u64::try_from(over_ms).unwrap_or(u64::MAX));
    }

    fn mean(self) -> Option<u64> {
        let mean = self.sum.checked_div(u128::from(self.over_ms))?;
        Some(u64::try_from(mean).unwrap_or(u64::MAX))
    }

    /// A lower bound of the rate of requests: the mean minus one standard deviation of a Poisson process.
    pub(super) fn lower_bound(self) -> Option<f64> {
        let (rate, seconds) = (self.mean()? as f64 / 1000.0, self.over_ms as f64 / 1000.0);
        Some((rate - (rate / seconds).sqrt()).max(0.0))
    }
}
