//! The level of a series and its trend.

/// Exponential smoothing with several settings at once, of which the one with the least recent error is used.
///
/// Source: Gardner and McKenzie, "Forecasting trends in time series", 1985 (damped trend); simple smoothing is the one without.
#[derive(Clone, Debug)]
pub(crate) struct Smoothing<const N: usize> {
    candidates: [Candidate; N],
    memory: f64,
    steps: u64,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    level_weight: f64,
    slope_weight: f64,
    level: f64,
    slope: f64,
    error: f64,
}

/// How much of a slope is left a step later.
const DAMPING: f64 = 0.95;

/// (weight of the newest value in the level, and in the slope).
const LEVELS: [(f64, f64); 5] = [(0.9, 0.0), (0.6, 0.0), (0.35, 0.0), (0.15, 0.0), (0.05, 0.0)];
const TRENDS: [(f64, f64); 4] = [(0.9, 0.3), (0.9, 0.1), (0.5, 0.1), (0.3, 0.03)];

impl Smoothing<{ LEVELS.len() }> {
    pub(crate) fn of_level(memory: f64) -> Self {
        Self::new(LEVELS, memory)
    }
}

impl Smoothing<{ TRENDS.len() }> {
    pub(crate) fn of_trend(memory: f64) -> Self {
        Self::new(TRENDS, memory)
    }
}

impl<const N: usize> Smoothing<N> {
    fn new(weights: [(f64, f64); N], memory: f64) -> Self {
        let candidates = weights.map(|(level_weight, slope_weight)| Candidate {
            level_weight,
            slope_weight,
            level: 0.0,
            slope: 0.0,
            error: 0.0,
        });
        Self { candidates, memory, steps: 0 }
    }

    pub(crate) fn learn(&mut self, value: f64) {
        let forget = 1.0 / self.memory.min(self.steps as f64 + 1.0);
        for candidate in &mut self.candidates {
            if self.steps == 0 {
                candidate.level = value;
                continue;
            }
            let expected = candidate.level + DAMPING * candidate.slope;
            let error = value - expected;
            candidate.error += forget * (error.abs() - candidate.error);
            candidate.level = expected + candidate.level_weight * error;
            candidate.slope =
                DAMPING * candidate.slope + candidate.slope_weight * candidate.level_weight * error;
        }
        self.steps += 1;
    }

    /// The candidate with the least error.
    fn best(&self) -> &Candidate {
        let (first, others) = (&self.candidates[0], &self.candidates[1..]);
        others.iter().fold(first, |best, other| if other.error < best.error { other } else { best })
    }

    /// The level now.
    pub(crate) fn level(&self) -> f64 {
        self.best().level
    }

    /// The forecast so many steps ahead.
    pub(crate) fn ahead(&self, steps: usize) -> f64 {
        let best = self.best();
        let damped =
            DAMPING * (1.0 - DAMPING.powi(i32::try_from(steps).unwrap_or(i32::MAX))) / (1.0 - DAMPING);
        best.level + best.slope * damped
    }
}
