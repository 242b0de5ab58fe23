//! An evolution strategy over real numbers: a distribution of points that moves, stretches and shrinks towards the points with the lowest cost.
//!
//! Source: Ros and Hansen 2008, "A Simple Modification in CMA-ES Achieving Linear Time and Space Complexity" (sep-CMA-ES), with the constants of Hansen 2016,
//! "The CMA Evolution Strategy: A Tutorial". Only the ranks of costs are used, so discontinuities do no harm.

use fluid::draws::normal;
use model::chance::Stream;

/// Evaluates the cost of each point of a generation.
pub(crate) type Costs<'c, C> = dyn FnMut(&[Vec<f64>]) -> Vec<Option<C>> + 'c;

/// The initial width of the distribution: most points are within a doubling or halving of the present.
const WIDTH: f64 = 1.0;

/// The maximum distance of points from the origin in each dimension.
pub(crate) const REACH: f64 = 8.0;

/// The distribution that points are drawn from.
struct SearchDistribution {
    mean: Vec<f64>,
    width: f64,
    /// The variance along each axis, relative to the width.
    spread: Vec<f64>,
    path: Vec<f64>,
    path_of_width: Vec<f64>,
    generation: i32,
}

/// The learning rates of the distribution, which follow from the number of dimensions.
struct Rates {
    /// The number of points per generation.
    points: usize,
    /// The weights of the better half, best first; their sum is 1.
    weights: Vec<f64>,
    /// The effective number of points of the weights.
    effective: f64,
    path: f64,
    path_of_width: f64,
    damping: f64,
    one: f64,
    many: f64,
    /// The expected length of a draw.
    length: f64,
}

/// Searches the point of `dims` numbers with the lowest cost, beginning at the origin, in at most `runs_max` evaluations, but at least at the
/// origin.
///
/// `costs` evaluates one generation at a time, in order; the cost of an invalid point is `None`. The same seed evaluates the same points. Of
/// equal points the first is the best.
pub(crate) fn evolve<C: PartialOrd + Copy>(
    dims: usize,
    (runs_max, seed): (u32, u64),
    costs: &mut Costs<'_, C>,
) -> (Vec<f64>, u32) {
    let rates = Rates::of(dims);
    let mut random = Stream::named(seed, "evolve");
    let origin = vec![0.0; dims];
    let mut best = (costs(std::slice::from_ref(&origin)).first().copied().flatten(), origin.clone());
    let mut distribution = SearchDistribution::at(origin);
    let mut runs = 1;
    while runs + rates.points as u32 <= runs_max {
        let points: Vec<Vec<f64>> = (0..rates.points).map(|_| distribution.draw(&mut random)).collect();
        let mut ranked: Vec<(Option<C>, Vec<f64>)> = costs(&points).into_iter().zip(points).collect();
        runs += rates.points as u32;
        // Stable, so that equal points stay in the order in which they were drawn.
        ranked.sort_by(|(one, _), (other, _)| order(*one, *other));
        if order(ranked[0].0, best.0).is_lt() {
            best = ranked[0].clone();
        }
        let ranked: Vec<&[f64]> = ranked.iter().map(|(_, point)| point.as_slice()).collect();
        distribution.adapt(&ranked, &rates);
    }
    (best.1, runs)
}

/// Compares costs; an invalid point costs more than all others.
fn order<C: PartialOrd>(one: Option<C>, other: Option<C>) -> std::cmp::Ordering {
    use std::cmp::Ordering::{Equal, Greater, Less};
    match (one, other) {
        (Some(one), Some(other)) => one.partial_cmp(&other).unwrap_or(Equal),
        (Some(_), None) => Less,
        (None, Some(_)) => Greater,
        (None, None) => Equal,
    }
}

impl Rates {
    fn of(dims: usize) -> Self {
        let n = dims.max(1) as f64;
        let points = 4 + (3.0 * n.ln()) as usize;
        let half = points / 2;
        let raw: Vec<f64> = (1..=half).map(|rank| ((half as f64 + 0.5) / rank as f64).ln()).collect();
        let sum: f64 = raw.iter().sum();
        let weights: Vec<f64> = raw.iter().map(|weight| weight / sum).collect();
        let effective = 1.0 / weights.iter().map(|weight| weight * weight).sum::<f64>();
        let path_of_width = (effective + 2.0) / (n + effective + 5.0);
        // Without off-diagonal elements there is less to learn, so the learning rates are higher (Ros and Hansen, section 3).
        let faster = (n + 2.0) / 3.0;
        let one = (faster * 2.0 / ((n + 1.3).powi(2) + effective)).min(1.0);
        let many = faster * 2.0 * (effective - 2.0 + 1.0 / effective) / ((n + 2.0).powi(2) + effective);
        Self {
            points,
            weights,
            effective,
            path: (4.0 + effective / n) / (n + 4.0 + 2.0 * effective / n),
            path_of_width,
            damping: 1.0 + 2.0 * (((effective - 1.0) / (n + 1.0)).sqrt() - 1.0).max(0.0) + path_of_width,
            one,
            many: many.min(1.0 - one),
            length: n.sqrt() * (1.0 - 1.0 / (4.0 * n) + 1.0 / (21.0 * n * n)),
        }
    }
}

impl SearchDistribution {
    fn at(mean: Vec<f64>) -> Self {
        let dims = mean.len();
        Self {
            mean,
            width: WIDTH,
            spread: vec![1.0; dims],
            path: vec![0.0; dims],
            path_of_width: vec![0.0; dims],
            generation: 0,
        }
    }

    fn draw(&self, random: &mut Stream) -> Vec<f64> {
        let along = |(mean, spread): (&f64, &f64)| {
            (mean + self.width * spread.sqrt() * normal(random)).clamp(-REACH, REACH)
        };
        self.mean.iter().zip(&self.spread).map(along).collect()
    }

    /// Moves towards the first of `ranked`, and adapts to their shape.
    fn adapt(&mut self, ranked: &[&[f64]], rates: &Rates) {
        self.generation += 1;
        let steps: Vec<f64> = (0..self.mean.len())
            .map(|axis| {
                let weighed = rates.weights.iter().zip(ranked);
                let step: f64 = weighed.map(|(weight, point)| weight * (point[axis] - self.mean[axis])).sum();
                step / self.width
            })
            .collect();
        let kept = |rate: f64| (rate * (2.0 - rate) * rates.effective).sqrt();
        for (axis, step) in steps.iter().enumerate() {
            let path = &mut self.path_of_width[axis];
            *path = (1.0 - rates.path_of_width) * *path
                + kept(rates.path_of_width) * step / self.spread[axis].sqrt();
        }
        let length = self.path_of_width.iter().map(|it| it * it).sum::<f64>().sqrt();
        let usual = rates.length * (1.0 - (1.0 - rates.path_of_width).powi(2 * self.generation)).sqrt();
        // A long path means that the distribution is still moving, so its shape is not adapted to it.
        let n = self.mean.len() as f64;
        let is_settled = length / usual < 1.4 + 2.0 / (n + 1.0);
        for (axis, step) in steps.iter().enumerate() {
            let path = &mut self.path[axis];
            *path = (1.0 - rates.path) * *path + if is_settled { kept(rates.path) * step } else { 0.0 };
            let lost = if is_settled { 0.0 } else { rates.path * (2.0 - rates.path) };
            let of_path = path.powi(2) + lost * self.spread[axis];
            let of_points: f64 = rates
                .weights
                .iter()
                .zip(ranked)
                .map(|(weight, point)| weight * ((point[axis] - self.mean[axis]) / self.width).powi(2))
                .sum();
            let spread = (1.0 - rates.one - rates.many) * self.spread[axis];
            self.spread[axis] =
                (spread + rates.one * of_path + rates.many * of_points).max(f64::MIN_POSITIVE);
        }
        for (mean, step) in self.mean.iter_mut().zip(&steps) {
            *mean += self.width * step;
        }
        self.width *= (rates.path_of_width / rates.damping * (length / rates.length - 1.0)).exp();
        self.width = self.width.clamp(1e-6, REACH);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A long valley with its floor at (2, -1, 0.5), and nothing beyond three in the first direction.
    fn valley(point: &[f64]) -> Option<f64> {
        let at = |axis: usize, least: f64, steep: f64| steep * (point[axis] - least).powi(2);
        (point[0] < 3.0).then(|| at(0, 2.0, 1.0) + at(1, -1.0, 100.0) + at(2, 0.5, 0.01))
    }

    fn look(runs_max: u32, seed: u64) -> (Vec<f64>, u32, Vec<Vec<f64>>) {
        let mut seen = Vec::new();
        let (best, runs) = evolve(3, (runs_max, seed), &mut |points| {
            seen.extend_from_slice(points);
            points.iter().map(|point| valley(point)).collect()
        });
        (best, runs, seen)
    }

    #[test]
    fn the_minimum_is_found_and_the_same_seed_evaluates_the_same_points() {
        for seed in 0..8 {
            let (best, ..) = look(700, seed);
            assert!(valley(&best).is_some_and(|cost| cost < 0.01), "{best:?} of seed {seed}");
        }
        assert_eq!(look(100, 3), look(100, 3));
        assert_ne!(look(100, 3).2, look(100, 4).2, "another seed evaluates other points");
    }

    #[test]
    fn the_number_of_evaluations_is_limited_and_the_first_is_the_origin() {
        for runs_max in [1, 7, 8, 50] {
            let (_, runs, seen) = look(runs_max, 1);
            assert!(runs <= runs_max && runs as usize == seen.len(), "{runs} of {runs_max}");
            assert_eq!(seen[0], [0.0; 3]);
        }
        assert_eq!(look(1, 1).0, [0.0; 3]);
    }

    #[test]
    fn the_origin_is_best_if_all_points_cost_the_same() {
        let (best, _) = evolve(5, (200, 1), &mut |points| vec![Some(1.0); points.len()]);
        assert_eq!(best, [0.0; 5]);
        let (nowhere, _) = evolve(5, (200, 1), &mut |points| vec![None::<f64>; points.len()]);
        assert_eq!(nowhere, [0.0; 5]);
    }

    #[test]
    fn points_stay_within_reach() {
        let (best, _) = evolve(2, (400, 2), &mut |points| points.iter().map(|it| Some(-it[0])).collect());
        assert_eq!(best[0], REACH);
    }
}
