//! Sizes for the rise of load while a replica starts: nearly the largest of the last day.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Policy, PolicyInput};
use crate::service::{Service, Share, quantile};
use crate::window::WindowMax;

/// Ticks for a decision to show, over and above the start-up: the reading, the decision, and one in between.
const TICKS_MORE: u64 = 3;
const DAY: Duration = Duration::from_hours(24);
/// From one look at the last day to the next.
const REFRESH: Duration = Duration::from_hours(1);

/// Sizes for the present load and a quantile of the rises of the last day, and holds the largest number of the last five minutes.
///
/// A rise is from the load of a tick to the largest of those in which a replica started then could not yet serve. A newsvendor's rule
/// without a forecast: the quantile is how often it is to be enough.
#[derive(Clone, Debug)]
pub struct Surge {
    quantile: Share,
    used: Share,
    ahead: u64,
    refresh: u64,
    ticks_a_day: usize,
    /// The loads whose rise is not known yet, the oldest first.
    recent: VecDeque<f64>,
    largest: WindowMax<f64>,
    /// The rises of the last day.
    rises: VecDeque<f64>,
    sorted: Vec<f64>,
    reserve: f64,
    hold: WindowMax<u32>,
}

impl Surge {
    /// Enough in 95 % of the cases, at the target.
    pub fn at_target(service: &Service) -> Self {
        Self::new(service, share(0.95), service.target)
    }

    /// Enough in 99 % of the cases, with 90 % of each replica used.
    pub fn lean(service: &Service) -> Self {
        Self::new(service, share(0.99), share(0.9))
    }

    /// Enough in the part `quantile` of the cases, with `used` of each replica used.
    pub fn new(service: &Service, quantile: Share, used: Share) -> Self {
        let ahead = service.start_up_ticks().saturating_add(TICKS_MORE);
        Self {
            quantile,
            used,
            ahead,
            refresh: service.ticks_in(REFRESH).max(1),
            ticks_a_day: usize::try_from(service.ticks_in(DAY)).unwrap_or(usize::MAX),
            recent: VecDeque::new(),
            largest: WindowMax::of_ticks(ahead.saturating_sub(1)),
            rises: VecDeque::new(),
            sorted: Vec::new(),
            reserve: 0.0,
            hold: WindowMax::of_ticks(service.ticks_in(super::HOLD)),
        }
    }

    /// Takes the load of the tick before `tick`.
    fn learn(&mut self, tick: u64, load: f64) {
        let largest = self.largest.largest_with(tick - 1, load);
        self.recent.push_back(load);
        if self.recent.len() as u64 > self.ahead
            && let Some(from) = self.recent.pop_front()
        {
            self.rises.push_back(largest - from);
            if self.rises.len() > self.ticks_a_day {
                self.rises.pop_front();
            }
        }
        if tick.is_multiple_of(self.refresh) {
            self.sorted.clear();
            self.sorted.extend(&self.rises);
            self.reserve = quantile(&mut self.sorted, self.quantile.part()).unwrap_or(0.0).max(0.0);
        }
    }
}

fn share(part: f64) -> Share {
    Share::of(part).expect("it is a share")
}

impl Policy for Surge {
    fn wanted(&mut self, input: &PolicyInput<'_>) -> u32 {
        let Some(past) = input.last else { return input.wanted };
        self.learn(input.tick, past.load);
        let wanted = input.service.replicas_for(past.load + self.reserve, self.used);
        self.hold.largest_with(input.tick, wanted)
    }
}
