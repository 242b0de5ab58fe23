//! Sizes for the rise of the load while a replica starts: a high quantile of the rises of the last day.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Policy, PolicyInput};
use crate::service::{Service, Share, quantile};
use crate::window::WindowMax;

/// Ticks until a decision takes effect, in addition to the start-up: the measurement, the decision, and one in between.
const DECISION_TICKS: u64 = 3;
const DAY: Duration = Duration::from_hours(24);
/// How often the quantile is computed again.
const REFRESH: Duration = Duration::from_hours(1);

/// Sizes for the present load and a quantile of the rises of the last day, and keeps the largest number of the last five minutes.
///
/// A rise is the difference between the load of a tick and the largest load until a replica that is started then serves. This is a
/// newsvendor's rule without a forecast: the quantile is the share of cases in which the reserve suffices.
#[derive(Clone, Debug)]
pub struct Surge {
    quantile: Share,
    used: Share,
    lead_ticks: u64,
    refresh: u64,
    ticks_a_day: usize,
    /// The loads whose rise is not known yet, oldest first.
    recent: VecDeque<f64>,
    largest: WindowMax<f64>,
    /// The rises of the last day.
    rises: VecDeque<f64>,
    sorted: Vec<f64>,
    reserve: f64,
    scale_in_window: WindowMax<u32>,
}

impl Surge {
    /// Suffices in 95 % of the cases, at the target.
    pub fn at_target(service: &Service) -> Self {
        Self::new(service, share(0.95), service.target)
    }

    /// Suffices in 99 % of the cases, with 90 % of each replica used.
    pub fn lean(service: &Service) -> Self {
        Self::new(service, share(0.99), share(0.9))
    }

    /// Suffices in the share `quantile` of the cases, with the share `used` of each replica used.
    pub fn new(service: &Service, quantile: Share, used: Share) -> Self {
        let lead_ticks = service.start_up_ticks().saturating_add(DECISION_TICKS);
        Self {
            quantile,
            used,
            lead_ticks,
            refresh: service.ticks_in(REFRESH).max(1),
            ticks_a_day: usize::try_from(service.ticks_in(DAY)).unwrap_or(usize::MAX),
            recent: VecDeque::new(),
            largest: WindowMax::of_ticks(lead_ticks.saturating_sub(1)),
            rises: VecDeque::new(),
            sorted: Vec::new(),
            reserve: 0.0,
            scale_in_window: WindowMax::of_ticks(service.ticks_in(super::SCALE_IN_WINDOW)),
        }
    }

    /// Observes the load of the tick before `tick`.
    fn learn(&mut self, tick: u64, load: f64) {
        let largest = self.largest.largest_with(tick - 1, load);
        self.recent.push_back(load);
        if self.recent.len() as u64 > self.lead_ticks
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
        self.scale_in_window.largest_with(input.tick, wanted)
    }
}
