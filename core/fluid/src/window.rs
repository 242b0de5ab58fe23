//! The maximum of a sliding window, in amortized constant time for each value.

use std::collections::VecDeque;

/// The maximum of the values of the last ticks.
///
/// A value is removed when a later one is at least as large, so that the first is always the largest: Lemire 2006, "Streaming maximum-minimum
/// filter using no more than three comparisons per element". It keeps at most one value for each tick of the
/// window.
#[derive(Clone, Debug)]
pub struct WindowMax<T> {
    ticks: u64,
    /// In order of time; the values fall.
    values: VecDeque<(u64, T)>,
}

impl<T: Copy + PartialOrd> WindowMax<T> {
    /// A window that holds each value for `ticks` ticks after its own.
    pub fn of_ticks(ticks: u64) -> Self {
        Self { ticks, values: VecDeque::new() }
    }

    /// Adds the `value` of `tick` and returns the maximum; ticks must not decrease.
    pub fn largest_with(&mut self, tick: u64, value: T) -> T {
        while self.values.back().is_some_and(|(_, smaller)| *smaller <= value) {
            self.values.pop_back();
        }
        self.values.push_back((tick, value));
        while self.values.front().is_some_and(|(at, _)| tick - at > self.ticks) {
            self.values.pop_front();
        }
        self.values.front().map_or(value, |(_, largest)| *largest)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_maximum_equals_that_of_a_scan_over_the_window(values in prop::collection::vec(0_u32..9, 0..60), ticks in 0_u64..9) {
            let mut window = WindowMax::of_ticks(ticks);
            for (tick, value) in values.iter().enumerate() {
                let first = tick.saturating_sub(ticks as usize);
                let largest = values[first..=tick].iter().max().copied();
                prop_assert_eq!(Some(window.largest_with(tick as u64, *value)), largest);
            }
        }
    }
}
