//! The demand at the same time on previous days: the schedule that an operator would write after a look at the last week.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Policy, PolicyInput};
use crate::service::Service;
use crate::window::WindowMax;

const DAY: Duration = Duration::from_hours(24);
/// How many days the policy looks back.
const DAYS: u64 = 7;
/// Half the width of the window around the time of day: operators write round times.
const TOLERANCE: Duration = Duration::from_mins(10);

/// The largest demand around the same time of day on the last seven days; another policy until the first day is over.
///
/// It learns from the offered load, not from the served one, so that it does not learn its own mistakes.
pub struct Calendar {
    /// Decides alone until the first day is over.
    other: Box<dyn Policy>,
    /// Whether the other policy is a lower limit after that.
    is_floor: bool,
    ticks_a_day: u64,
    around: u64,
    sliding: WindowMax<u32>,
    /// The largest demand around each tick, oldest first; the last one is that of `around` ticks ago.
    largest: VecDeque<u32>,
}

impl Calendar {
    /// The largest demand of previous days alone; `first` decides until there is a previous day.
    pub fn alone(service: &Service, first: impl Policy + 'static) -> Self {
        Self::new(service, Box::new(first), false)
    }

    /// The larger of the demand of previous days and the decision of `other`.
    pub fn with(service: &Service, other: impl Policy + 'static) -> Self {
        Self::new(service, Box::new(other), true)
    }

    fn new(service: &Service, other: Box<dyn Policy>, is_floor: bool) -> Self {
        let around = service.ticks_in(TOLERANCE);
        let sliding = WindowMax::of_ticks(2 * around);
        Self {
            other,
            is_floor,
            ticks_a_day: service.ticks_in(DAY),
            around,
            sliding,
            largest: VecDeque::new(),
        }
    }

    /// Observes the demand of the tick before `tick`.
    fn learn(&mut self, tick: u64, demand: u32) {
        let largest = self.sliding.largest_with(tick - 1, demand);
        if tick > self.around {
            self.largest.push_back(largest);
        }
        if self.largest.len() as u64 > DAYS * self.ticks_a_day {
            self.largest.pop_front();
        }
    }

    /// The largest demand around this time on previous days; `None` in the first day.
    fn on_previous_days(&self, tick: u64) -> Option<u32> {
        // The entry of tick `t` is the last one when `t + around` is the latest observed tick.
        let latest = tick.checked_sub(1 + self.around)?;
        let on_day = |day: u64| {
            let back = latest.checked_sub(tick.checked_sub(day * self.ticks_a_day)?)?;
            let at = (self.largest.len() as u64).checked_sub(1 + back)?;
            self.largest.get(usize::try_from(at).ok()?).copied()
        };
        (1..=DAYS).filter_map(on_day).max()
    }
}

impl std::fmt::Debug for Calendar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Calendar").field("ticks", &self.largest.len()).finish_non_exhaustive()
    }
}

impl Policy for Calendar {
    fn foresight(&self) -> usize {
        self.other.foresight()
    }

    fn wanted(&mut self, input: &PolicyInput<'_>) -> u32 {
        if let Some(past) = input.last {
            self.learn(input.tick, input.service.demand(past.load));
        }
        let other = self.other.wanted(input);
        match self.on_previous_days(input.tick) {
            Some(previous) if self.is_floor => previous.max(other),
            Some(previous) => previous,
            None => other,
        }
    }
}
