//! The usual load at each step of a season.

use std::ops::RangeInclusive;

use crate::season::Season;

/// The mean and the spread of the load at each step of one period, in which old periods count less and less.
///
/// The newest period weighs a quarter once four were seen, so the usual day follows a lasting change within a week.
#[derive(Clone, Debug)]
pub(crate) struct Profile {
    season: Season,
    slots: Vec<Slot>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    mean: f32,
    /// Mean distance from the mean.
    spread: f32,
    periods: u8,
}

const NEWEST_WEIGHT: f32 = 0.25;

/// A value further from the mean than so many spreads and half of the mean counts as that far: an outlier is not usual.
const OUTLIER_SPREADS: f32 = 8.0;

impl Profile {
    pub(crate) fn new(season: Season) -> Self {
        Self { season, slots: vec![Slot::default(); season.steps] }
    }

    pub(crate) fn season(&self) -> Season {
        self.season
    }

    pub(crate) fn set_strength(&mut self, strength: f64) {
        self.season.strength = strength;
    }

    /// Learns the value of the step with this number.
    pub(crate) fn learn(&mut self, number: u64, value: f64) {
        let index = self.index(number);
        let slot = &mut self.slots[index];
        #[expect(clippy::cast_possible_truncation, reason = "seven digits are more than a load has")]
        let mut error = value as f32 - slot.mean;
        if slot.periods >= 3 {
            let most = OUTLIER_SPREADS * slot.spread + 0.5 * slot.mean;
            error = error.clamp(-most.max(f32::MIN_POSITIVE), most.max(f32::MIN_POSITIVE));
        }
        let weight = NEWEST_WEIGHT.max(1.0 / f32::from(slot.periods + 1));
        slot.mean += weight * error;
        if slot.periods > 0 {
            slot.spread += weight.min(0.5) * (error.abs() - slot.spread);
        }
        slot.periods = slot.periods.saturating_add(1).min(100);
    }

    /// The usual load at the step with this number, smoothed over its neighbours; `None` before a period was seen.
    pub(crate) fn usual(&self, number: u64) -> Option<f64> {
        self.usual_at(self.index(number))
    }

    /// The highest usual load in the steps of `ahead` after the one with the number `now`; `None` before a period was seen.
    pub(crate) fn usual_ahead(&self, now: u64, ahead: RangeInclusive<usize>) -> Option<f64> {
        self.highest(now, ahead, Self::usual_at)
    }

    /// The largest spread in the same steps as of [`Self::usual_ahead`]; `None` before two periods were seen.
    pub(crate) fn spread_ahead(&self, now: u64, ahead: RangeInclusive<usize>) -> Option<f64> {
        self.highest(now, ahead, Self::spread_at)
    }

    fn highest(
        &self,
        now: u64,
        ahead: RangeInclusive<usize>,
        at: impl Fn(&Self, usize) -> Option<f64>,
    ) -> Option<f64> {
        // One division, which is more expensive than everything else here.
        let mut index = self.index(now + *ahead.start() as u64);
        let mut highest = 0.0f64;
        for _ in ahead {
            highest = highest.max(at(self, index)?);
            index = if index + 1 == self.slots.len() { 0 } else { index + 1 };
        }
        Some(highest)
    }

    fn usual_at(&self, index: usize) -> Option<f64> {
        let here = self.slots[index];
        if here.periods == 0 {
            return None;
        }
        let [before, after] = self.neighbours(index, here);
        Some(f64::from((before.mean + 2.0 * here.mean + after.mean) / 4.0))
    }

    fn spread_at(&self, index: usize) -> Option<f64> {
        let here = self.slots[index];
        if here.periods < 2 {
            return None;
        }
        let [before, after] = self.neighbours(index, here);
        Some(f64::from(before.spread.max(after.spread).max(here.spread)))
    }

    /// The slots before and after that at `index`; `here` where nothing was seen yet.
    fn neighbours(&self, index: usize, here: Slot) -> [Slot; 2] {
        let last = self.slots.len() - 1;
        let before = if index == 0 { last } else { index - 1 };
        let after = if index == last { 0 } else { index + 1 };
        [before, after].map(|index| if self.slots[index].periods == 0 { here } else { self.slots[index] })
    }

    fn index(&self, number: u64) -> usize {
        (number % self.slots.len() as u64) as usize
    }
}
