//! Linear regression, one observation at a time.

/// Recursive least squares with forgetting over `N` inputs.
///
/// Source: Haykin, "Adaptive Filter Theory", ch. 10; an outlier weighs less (Huber 1964). While the uncertainty of a weight is beyond its
/// limit, nothing is forgotten, or an input that does not vary would let it grow without bound. Inputs and outputs should be of the
/// order of 1.
#[derive(Clone, Debug)]
pub(crate) struct Regression<const N: usize> {
    weights: [f64; N],
    /// By columns.
    covariance: [[f64; N]; N],
    forgetting: f64,
    /// Mean absolute error, which tells ordinary errors from outliers.
    error: f64,
}

/// The uncertainty of each weight at the start, and its limit.
const COVARIANCE_START: f64 = 0.3;
const COVARIANCE_MAX: f64 = 10.0;

/// Errors beyond so many mean errors count as that many.
const HUBER: f64 = 3.0;

impl<const N: usize> Regression<N> {
    /// Starts from `weights`, and forgets over `memory` observations.
    pub(crate) fn new(weights: [f64; N], memory: f64) -> Self {
        let mut covariance = [[0.0; N]; N];
        for (index, row) in covariance.iter_mut().enumerate() {
            row[index] = COVARIANCE_START;
        }
        Self { weights, covariance, forgetting: 1.0 - 1.0 / memory, error: 0.0 }
    }

    pub(crate) fn predict(&self, inputs: &[f64; N]) -> f64 {
        self.weights.iter().zip(inputs).map(|(weight, input)| weight * input).sum()
    }

    pub(crate) fn learn(&mut self, inputs: &[f64; N], output: f64) {
        let error = output - self.predict(inputs);
        let size = error.abs();
        self.error = if self.error == 0.0 {
            size
        } else {
            self.error + 0.01 * (size.min(10.0 * self.error) - self.error)
        };
        let trust = if size > HUBER * self.error { HUBER * self.error / size } else { 1.0 };
        // By columns, so that a processor adds several rows at once.
        let mut gain = [0.0; N];
        for (column, input) in self.covariance.iter().zip(inputs) {
            for (gain, covariance) in gain.iter_mut().zip(column) {
                *gain += covariance * input;
            }
        }
        let excitation: f64 = gain.iter().zip(inputs).map(|(gain, input)| gain * input).sum();
        let is_wide = (0..N).any(|index| self.covariance[index][index] > COVARIANCE_MAX);
        let forgetting = if is_wide { 1.0 } else { self.forgetting };
        let divisor = forgetting / trust.max(1e-6) + excitation;
        let shares = gain.map(|gain| gain / divisor);
        for (weight, share) in self.weights.iter_mut().zip(&shares) {
            *weight += share * error;
        }
        let growth = 1.0 / forgetting;
        for (column, right) in self.covariance.iter_mut().zip(&gain) {
            for (cell, share) in column.iter_mut().zip(&shares) {
                *cell = (*cell - share * right) * growth;
            }
        }
        let is_sound = self.weights.iter().all(|weight| weight.is_finite())
            && (0..N).all(|index| (0.0..f64::INFINITY).contains(&self.covariance[index][index]));
        if !is_sound {
            *self = Self::new([0.0; N], 1.0 / (1.0 - self.forgetting));
        }
    }
}
