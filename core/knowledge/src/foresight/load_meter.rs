//! Measuring a load: amounts over spans of time, averaged over steps.

use std::sync::Arc;
use std::time::Duration;

use model::memory::{Exchange, LOAD_STEPS_MAX, LoadRecord, LoadSource, StepLoad};
use model::time::Time;

use super::record::Record;
use super::{begin_of, number_of};

/// The longest gap between two looks, or two reports of the proxy, over which a load counts as measured.
const APART_MAX: Duration = Duration::from_secs(60);

/// How late the last report on a step may come: the proxy reports at least once a second.
const LATE_MAX: Duration = Duration::from_secs(2);

/// How often the record is written: after this many steps, within these limits.
pub(super) const KEPT_AFTER_STEPS: u32 = 16;
const KEPT_EVERY_MIN: Duration = Duration::from_secs(30);
const KEPT_EVERY_MAX: Duration = Duration::from_mins(15);

/// Measures the load of one service, step by step.
#[derive(Clone, Debug)]
pub(super) struct Meter {
    record: Record,
    /// The step that is being filled; `None` before anything was measured.
    in_progress: Option<StepInProgress>,
    exchange: Exchange,
    /// The last report of the proxy.
    reported: Option<(Time, u64)>,
    looked: Option<Time>,
    kept: Option<Time>,
}

/// Whether the record goes on, or is lost because the gap is longer than the time that is remembered.
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

/// Load within one step, as far as it is measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct StepInProgress {
    number: u64,
    pub(super) load: Amount,
    need: Amount,
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
            |kept| Record::of(Arc::clone(kept)),
        );
        let exchange = record.kept().exchange.clone();
        Self { record, in_progress: None, exchange, reported: None, looked: None, kept: None }
    }

    pub(super) fn record(&self) -> &Record {
        &self.record
    }

    pub(super) fn exchange(&self) -> &Exchange {
        &self.exchange
    }

    pub(super) fn forget_exchange(&mut self) {
        self.exchange = Exchange::default();
    }

    pub(super) fn in_progress(&self) -> Option<&StepInProgress> {
        self.in_progress.as_ref()
    }

    pub(super) fn source(&self) -> LoadSource {
        self.record.kept().source
    }

    pub(super) fn step(&self) -> Duration {
        self.record.kept().step
    }

    /// Takes the proxy's counter: the requests that had come by `at`.
    pub(super) fn asked(&mut self, at: Time, requests: u64) -> Continuity {
        let before = self.reported.replace((at, requests));
        let Some((since, counted)) = before else { return Continuity::Kept };
        // A proxy that has started anew counts from zero.
        let Some(came) = requests.checked_sub(counted) else { return Continuity::Kept };
        if self.source() != LoadSource::Requests || at <= since || at.since(since) > APART_MAX {
            return Continuity::Kept;
        }
        // Thousandths of a request a second, times milliseconds.
        self.pour(since, at, u128::from(came) * 1_000_000)
    }

    /// Takes the replicas that the autoscaler's metrics last asked for, and closes the steps on which no more reports can come.
    pub(super) fn look(&mut self, now: Time, need: Option<u64>) -> Continuity {
        let since = self.looked.replace(now);
        let mut continuity = Continuity::Kept;
        if let (Some(need), Some(since)) = (need, since)
            && now > since
            && now.since(since) <= APART_MAX
        {
            match self.source() {
                LoadSource::Requests => self.need(since, now, need),
                LoadSource::Need => {
                    continuity = self.pour(since, now, u128::from(need) * now.since(since).as_millis());
                }
            }
        }
        let step = self.step();
        continuity.and(self.close_until(number_of(now - LATE_MAX.min(step), step)))
    }

    /// Notes the need from `since` to `at`, as far as that lies in the current step, whose load is reported later.
    fn need(&mut self, since: Time, at: Time, need: u64) {
        let step = self.step();
        let Some(in_progress) = &mut self.in_progress else { return };
        let (begin, end) = (begin_of(in_progress.number, step), begin_of(in_progress.number + 1, step));
        let over = at.min(end).since(since.max(begin)).as_millis();
        in_progress.need.add(u128::from(need) * over, over);
    }

    /// Spreads an amount of load over the steps between `since` and `at`.
    fn pour(&mut self, since: Time, at: Time, amount: u128) -> Continuity {
        let step = self.step();
        let whole = at.since(since).as_millis();
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
                // Usually all of it lies in one step, and a division of 128 bits is expensive.
                let part = if over == whole { amount } else { amount * over / whole };
                in_progress.load.add(part, over);
            }
            from = until;
        }
        continuity
    }

    /// Closes the steps before this number, which is filled from now on.
    fn close_until(&mut self, number: u64) -> Continuity {
        let empty = |number| StepInProgress { number, load: Amount::default(), need: Amount::default() };
        let Some(in_progress) = self.in_progress else {
            // Steps before the first look were not measured.
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
        if let (LoadSource::Requests, Some(load), Some(need)) = (self.source(), load, in_progress.need.mean())
        {
            self.exchange.note(load, need);
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

    /// Renews the record that is to be written, when it is due.
    pub(super) fn keep(&mut self, now: Time) {
        let every = (self.step() * KEPT_AFTER_STEPS).clamp(KEPT_EVERY_MIN, KEPT_EVERY_MAX);
        let kept = *self.kept.get_or_insert(now);
        if now.since(kept) >= every && self.record.fresh() > 0 {
            self.kept = Some(now);
            self.record.keep(self.exchange.clone());
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

    /// The rate of requests that cannot be chance alone: the mean less one standard deviation of a Poisson process.
    pub(super) fn beyond_chance(self) -> Option<f64> {
        let (rate, seconds) = (self.mean()? as f64 / 1000.0, self.over_ms as f64 / 1000.0);
        Some((rate - (rate / seconds).sqrt()).max(0.0))
    }
}
