//! The latency as a function of the rate.
//!
//! By the Universal Scalability Law (Gunther, "Guerrilla Capacity Planning", 2007, chapter 4) the throughput with n concurrent requests is
//! X = γn ÷ (1 + α(n−1) + βn(n−1)). The time of a request is n ÷ X (Little 1961), so it is a parabola in n: a + bn + cn², where b is
//! contention for shared resources and c the cost of coordination. With c = 0 it is the queue with one server, whose time is 1 ÷ (μ − λ);
//! with several servers the curve begins flatter and ends the same.
//!
//! Here the time is the SLO's quantile of the latency, and n the concurrency if each request took that long: in a queue with one server
//! quantiles grow as the mean does.

use model::latency::{LATENCY_CLASSES, LATENCY_SHARES};
use model::memory::VersionCapacity;

use super::evidence::{latency_class, mean_rate};

/// The fewest windows of a rate for the fit.
const WINDOWS_MIN: u32 = 3;

/// The most windows that count at one rate, so that the usual load does not dominate the fit.
const WINDOWS_COUNTED: u32 = 16;

/// A curve with a larger mean relative error is rejected.
const RESIDUAL_MAX: f64 = 0.35;

/// The latency as a parabola in the concurrency, in shares of the SLO's threshold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Curve {
    /// For a request alone.
    a: f64,
    /// For each concurrent request.
    b: f64,
    /// For each pair of them.
    c: f64,
    /// The SLO's threshold, in seconds.
    below: f64,
}

/// An observed rate.
#[derive(Clone, Copy, Debug)]
struct RateObservation {
    share: f64,
    concurrency: f64,
    weight: f64,
}

impl Curve {
    /// The curve through the points of a version; `None` when they are too few, or no such curve fits.
    pub(super) fn of(version: &VersionCapacity, below: f64) -> Option<Self> {
        let observed = version.rates.iter().filter_map(|rate| {
            let windows = rate.windows();
            let share = share_of(latency_class(rate));
            let concurrency = mean_rate(rate) * share * below;
            let weight = f64::from(windows.min(WINDOWS_COUNTED)) / (share * share);
            (windows >= WINDOWS_MIN).then_some(RateObservation { share, concurrency, weight })
        });
        let observed: Vec<RateObservation> = observed.collect();
        // The law has no negative terms: where one would fit best, that term is left out.
        let curves = [[true, true], [true, false], [false, true]];
        let fitted = curves.into_iter().find_map(|parts| fit(&observed, parts))?;
        let [a, b, c] = fitted;
        let curve = Self { a, b, c, below };
        (curve.residual(&observed) <= RESIDUAL_MAX).then_some(curve)
    }

    /// The rate at which the latency is this share of the SLO's threshold, in requests a second; 0 if it is more without any load.
    pub(super) fn rate_at(self, share: f64) -> f64 {
        let Self { a, b, c, below } = self;
        if a >= share {
            return 0.0;
        }
        let concurrency = if c > 0.0 {
            let root = (b * b + 4.0 * c * (share - a)).sqrt();
            // The same as (root − b) ÷ 2c, without the difference of two numbers that are nearly equal.
            let at_share = 2.0 * (share - a) / (root + b);
            // Beyond the highest throughput, more concurrency means fewer answers.
            at_share.min((a / c).sqrt())
        } else {
            (share - a) / b
        };
        concurrency / ((a + b * concurrency + c * concurrency * concurrency) * below)
    }

    /// The mean relative error of the curve.
    fn residual(self, observed: &[RateObservation]) -> f64 {
        let Self { a, b, c, .. } = self;
        let error = |at: &RateObservation| {
            (a + b * at.concurrency + c * at.concurrency * at.concurrency) / at.share - 1.0
        };
        let sum: f64 = observed.iter().map(|at| error(at) * error(at)).sum();
        (sum / observed.len() as f64).sqrt()
    }
}

/// The middle of a latency class, in shares of the SLO's threshold; for the last class, one and a half times its begin.
fn share_of(class: usize) -> f64 {
    let bound = |at: usize| LATENCY_SHARES.get(at).map_or(0.0, |share| f64::from(*share) / 1000.0);
    if class >= LATENCY_CLASSES - 1 {
        return 1.5 * bound(LATENCY_CLASSES - 2);
    }
    let begin = class.checked_sub(1).map_or(0.0, bound);
    (begin + bound(class)) / 2.0
}

/// The least-squares fit of the relative errors with the allowed terms; `None` when the points do not determine them, or one is negative.
fn fit(observed: &[RateObservation], [has_b, has_c]: [bool; 2]) -> Option<[f64; 3]> {
    let is_in = [true, has_b, has_c];
    if observed.len() < is_in.iter().filter(|is_in| **is_in).count() {
        return None;
    }
    let most = observed.iter().fold(0.0_f64, |most, at| most.max(at.concurrency));
    let mut rows = [[0.0_f64; 4]; 3];
    for at in observed {
        // Scaled to about one, the terms are solved more precisely than squares of thousands.
        let n = at.concurrency / most;
        let terms = [1.0, n, n * n];
        for (row, term) in rows.iter_mut().zip(terms) {
            let right = [terms[0], terms[1], terms[2], at.share];
            row.iter_mut().zip(right).for_each(|(cell, right)| *cell += at.weight * term * right);
        }
    }
    for left_out in (0..3).filter(|part| !is_in[*part]) {
        rows.iter_mut().for_each(|row| row[left_out] = 0.0);
        rows[left_out] = [0.0; 4];
        rows[left_out][left_out] = 1.0;
    }
    let [a, b, c] = solve(rows)?;
    let is_law = a > 0.0 && b >= 0.0 && c >= 0.0 && b + c > 0.0;
    is_law.then_some([a, b / most, c / (most * most)])
}

/// A smaller pivot counts as zero.
const PIVOT_MIN: f64 = 1e-9;

/// Gaussian elimination of three positive definite equations; `None` when they do not determine all three unknowns.
fn solve(mut rows: [[f64; 4]; 3]) -> Option<[f64; 3]> {
    let before = [rows[0][0], rows[1][1], rows[2][2]];
    for at in 0..3 {
        let pivot = rows[at];
        // NaN ends as `None`: its quotients are not finite.
        if pivot[at] <= PIVOT_MIN * before[at] {
            return None;
        }
        for (other, row) in rows.iter_mut().enumerate() {
            if other != at {
                let factor = row[at] / pivot[at];
                row.iter_mut().zip(pivot).for_each(|(cell, above)| *cell -= factor * above);
            }
        }
    }
    let found = [0, 1, 2].map(|at| rows[at][3] / rows[at][at]);
    found.iter().all(|value| value.is_finite()).then_some(found)
}
