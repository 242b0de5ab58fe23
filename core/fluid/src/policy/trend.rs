//! Sizes for the extrapolated trend of the load.

use std::time::Duration;

use super::{Policy, PolicyInput};
use crate::service::Service;
use crate::window::WindowMax;

/// The smoothing factor of the level, for each minute.
const LEVEL: f64 = 0.6;
/// The smoothing factor of the slope, for each minute.
const SLOPE: f64 = 0.2;
/// Minutes of extrapolation: one for the start-up, and one until a decision takes effect.
const HORIZON: f64 = 2.0;
const MINUTE: Duration = Duration::from_mins(1);

/// Sizes for the larger of the present load and of its trend in two minutes, and keeps the largest number of the last five minutes.
///
/// Source: Holt 1957, double exponential smoothing, over the means of whole minutes.
#[derive(Clone, Debug)]
pub struct Trend {
    ticks_a_minute: u64,
    sum: f64,
    count: u64,
    /// Level and slope.
    line: Option<(f64, f64)>,
    scale_in_window: WindowMax<u32>,
}

impl Trend {
    /// A trend without observations.
    pub fn of(service: &Service) -> Self {
        Self {
            ticks_a_minute: service.ticks_in(MINUTE).max(1),
            sum: 0.0,
            count: 0,
            line: None,
            scale_in_window: WindowMax::of_ticks(service.ticks_in(super::SCALE_IN_WINDOW)),
        }
    }

    fn learn(&mut self, load: f64) {
        self.sum += load;
        self.count += 1;
        if self.count < self.ticks_a_minute {
            return;
        }
        let minute = self.sum / self.count as f64;
        (self.sum, self.count) = (0.0, 0);
        self.line = Some(self.line.map_or((minute, 0.0), |(level, slope)| {
            let next = LEVEL * minute + (1.0 - LEVEL) * (level + slope);
            (next, SLOPE * (next - level) + (1.0 - SLOPE) * slope)
        }));
    }
}

impl Policy for Trend {
    fn wanted(&mut self, input: &PolicyInput<'_>) -> u32 {
        let Some(past) = input.last else { return input.wanted };
        self.learn(past.load);
        let trend = self.line.map_or(0.0, |(level, slope)| level + HORIZON * slope);
        self.scale_in_window.largest_with(input.tick, input.service.demand(trend.max(past.load)))
    }
}
