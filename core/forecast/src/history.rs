//! The load of the latest steps.

use crate::settings::HISTORY_STEPS;

/// A ring of the last [`HISTORY_STEPS`] steps: values that were measured, and the gaps between them.
///
/// Every value is finite and at least 0; a gap holds the last value that was measured and is marked.
#[derive(Clone, Debug)]
pub(crate) struct History {
    values: Vec<f32>,
    is_measured: Vec<bool>,
    /// Steps ever pushed.
    count: u64,
    /// The highest value of each stretch of the ring, so that the highest of all is found without looking at every one.
    peaks: [f32; STRETCHES],
}

/// The state that a step overwrites, for [`History::take_back`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Overwritten {
    oldest: Option<(f32, bool)>,
    peak: f32,
}

const STRETCHES: usize = 64;
const STRETCH: usize = HISTORY_STEPS / STRETCHES;

impl History {
    pub(crate) fn new() -> Self {
        Self { values: Vec::new(), is_measured: Vec::new(), count: 0, peaks: [0.0; STRETCHES] }
    }

    /// Appends a step; `None` is a gap.
    pub(crate) fn push(&mut self, value: Option<f64>) {
        self.append(value.unwrap_or_else(|| self.ago(0).unwrap_or(0.0)), value.is_some());
    }

    /// Appends a gap that holds `value`.
    pub(crate) fn push_gap(&mut self, value: f64) {
        self.append(value, false);
    }

    fn append(&mut self, value: f64, is_measured: bool) {
        let at = (self.count % HISTORY_STEPS as u64) as usize;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "seven digits of a load are more than its measure has"
        )]
        let kept = value as f32;
        if at == self.values.len() {
            self.values.push(kept);
            self.is_measured.push(is_measured);
        } else {
            self.values[at] = kept;
            self.is_measured[at] = is_measured;
        }
        let stretch = at / STRETCH;
        self.peaks[stretch] = if at.is_multiple_of(STRETCH) { kept } else { self.peaks[stretch].max(kept) };
        self.count += 1;
    }

    /// The state that the next step will overwrite.
    pub(crate) fn next_overwritten(&self) -> Overwritten {
        let at = (self.count % HISTORY_STEPS as u64) as usize;
        let oldest = self.values.get(at).map(|&value| (value, self.is_measured[at]));
        Overwritten { oldest, peak: self.peaks[at / STRETCH] }
    }

    /// Takes back the latest step; `overwritten` is what [`Self::next_overwritten`] returned before it.
    pub(crate) fn take_back(&mut self, overwritten: &Overwritten) {
        self.count -= 1;
        let at = (self.count % HISTORY_STEPS as u64) as usize;
        self.peaks[at / STRETCH] = overwritten.peak;
        match overwritten.oldest {
            Some(oldest) => (self.values[at], self.is_measured[at]) = oldest,
            None => {
                self.values.pop();
                self.is_measured.pop();
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    /// How many steps were ever pushed; the next one has this number.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The value so many steps before the latest, measured or carried over a gap.
    pub(crate) fn ago(&self, steps: usize) -> Option<f64> {
        self.index(steps).map(|index| f64::from(self.values[index]))
    }

    /// The value so many steps before the latest, when it was measured.
    pub(crate) fn measured_ago(&self, steps: usize) -> Option<f64> {
        let index = self.index(steps)?;
        self.is_measured[index].then(|| f64::from(self.values[index]))
    }

    /// The highest value that is kept, of a little more than the last [`HISTORY_STEPS`] at most.
    pub(crate) fn peak(&self) -> f64 {
        // In lanes, which a processor compares at once.
        let mut highest = [0.0f32; 8];
        for peaks in self.peaks.chunks_exact(highest.len()) {
            for (highest, &peak) in highest.iter_mut().zip(peaks) {
                *highest = if peak > *highest { peak } else { *highest };
            }
        }
        f64::from(highest.into_iter().fold(0.0, f32::max))
    }

    fn index(&self, steps: usize) -> Option<usize> {
        (steps < self.values.len()).then(|| ((self.count - 1 - steps as u64) % HISTORY_STEPS as u64) as usize)
    }

    /// The values from the oldest to the latest.
    pub(crate) fn oldest_first(&self) -> impl Iterator<Item = f64> + '_ {
        (0..self.len()).rev().filter_map(|steps| self.ago(steps))
    }
}
