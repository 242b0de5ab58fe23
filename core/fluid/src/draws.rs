//! Draws from the uniform, normal, log-normal and Poisson distributions.

use model::chance::Stream;

/// A draw from the uniform distribution on [0, 1).
pub(crate) fn uniform(stream: &mut Stream) -> f64 {
    (stream.bits() >> 11) as f64 / (1_u64 << 53) as f64
}

/// A draw from the normal distribution of mean 0 and deviation 1. Source: Box and Muller 1958.
pub fn normal(stream: &mut Stream) -> f64 {
    let radius = (-2.0 * (1.0 - uniform(stream)).ln()).sqrt();
    radius * (std::f64::consts::TAU * uniform(stream)).cos()
}

/// A draw from the log-normal distribution of mean 1 with this coefficient of variation, 0 or more.
pub(crate) fn log_normal(stream: &mut Stream, variation: f64) -> f64 {
    let variance = (variation * variation).ln_1p();
    (variance.sqrt() * normal(stream) - variance / 2.0).exp()
}

/// The largest mean for which a draw multiplies uniform numbers, which takes O(mean) of them.
const KNUTH_MEAN_MAX: f64 = 30.0;

/// A draw from the Poisson distribution: by products of uniform numbers up to a `mean` of 30 (Knuth, "Seminumerical Algorithms", 3.4.1),
/// above that by the normal approximation, whose error is below one in a thousand there.
pub(crate) fn poisson(stream: &mut Stream, mean: f64) -> f64 {
    if mean > KNUTH_MEAN_MAX {
        return (mean + mean.sqrt() * normal(stream)).round().max(0.0);
    }
    let limit = (-mean).exp();
    let mut product = uniform(stream);
    let mut count = 0.0;
    while product > limit {
        product *= uniform(stream);
        count += 1.0;
    }
    count
}
