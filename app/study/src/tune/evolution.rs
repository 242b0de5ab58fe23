//! Search by evolution among real numbers: a distribution of points that moves, stretches and shrinks towards those that cost least.
//!
//! Source: Ros and Hansen 2008, "A Simple Modification in CMA-ES Achieving Linear Time and Space Complexity" (sep-CMA-ES), with the constants of Hansen 2016,
//! "The CMA Evolution Strategy: A Tutorial". Only ranks of costs count, so that cliffs do no harm.

use fluid::draws::normal;
use model::chance::Stream;

/// What each point of a generation costs.
pub(crate) type Costs<'c, C> = dyn FnMut(&[Vec<f64>]) -> Vec<Option<C>> + 'c;

/// How wide the distribution is at first: most points are within a doubling or halving of the present.
const WIDTH: f64 = 1.0;

/// Points stay within so much of the origin in each direction.
pub(crate) const REACH: f64 = 8.0;

/// The distribution that points are drawn from.
struct SearchDistribution {
    mean: Vec<f64>,
    width: f64,
    /// Variances along the axes, but for the width.
    spread: Vec<f64>,
    path: Vec<f64>,
    path_of_width: Vec<f64>,
    generation: i32,
}

/// How the distribution learns; follows from the number of dimensions.
struct Rates {
    /// Points of a generation.
    points: usize,
    /// Of the better half, the best first; their sum is 1.
    weights: Vec<f64>,
    /// How many points the weights are worth.
    worth: f64,
    path: f64,
    path_of_width: f64,
    damping: f64,
    one: f64,
    many: f64,
    /// The usual length of a draw.
    length: f64,
}

/// Looks for the point of `dims` numbers that costs least, from the origin on, at about `runs_max` points; at the origin at least.
///
/// `costs` is asked for a generation at a time, in order; `None` is a point that cannot be tried. The same seed looks at the same points. Of equal points the
/// first is the best.
pub(crate) fn evolve<C: PartialOrd + Copy>(
    dims: usize,
    (runs_max, seed): (u32, u64),
    costs: &mut Costs<'_, C>,
) -> (Vec<f64>, u32) {
    let rates = Rates::of(dims);
    let mut chance = Stream::named(seed, "evolve");
    let origin = vec![0.0; dims];
    let mut best = (costs(std::slice::from_ref(&origin)).first().copied().flatten(), origin.clone());
    let mut distribution = SearchDistribution::at(origin);
    let mut runs = 1;
    while runs + rates.points as u32 <= runs_max {
        let points: Vec<Vec<f64>> = (0..rates.points).map(|_| distribution.draw(&mut chance)).collect();
        let mut ranked: Vec<(Option<C>, Vec<f64>)> = costs(&points).into_iter().zip(points).collect();
        runs += rates.points as u32;
        // Stable, so that equal points stay in the order in which they were drawn.
        ranked.sort_by(|(one, _), (other, _)| order(*one, *other));
        if order(ranked[0].0, best.0).is_lt() {
            best = ranked[0].clone();
        }
        let ranked: Vec<&[f64]> = ranked.iter().map(|(_, point)| point.as_slice()).collect();
        distribution.follow(&ranked, &rates);
    }
    (best.1, runs)
}

/// A point that cannot be tried is dearer than all others.
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
        let worth = 1.0 / weights.iter().map(|weight| weight * weight).sum::<f64>();
        let path_of_width = (worth + 2.0) / (n + worth + 5.0);
        // Without off-diagonals there is less to learn, so it is learned faster (Ros and Hansen, section 3).
        let faster = (n + 2.0) / 3.0;
        let one = (faster * 2.0 / ((n + 1.3).powi(2) + worth)).min(1.0);
        let many = faster * 2.0 * (worth - 2.0 + 1.0 / worth) / ((n + 2.0).powi(2) + worth);
        Self {
            points,
            weights,
            worth,
            path: (4.0 + worth / n) / (n + 4.0 + 2.0 * worth / n),
            path_of_width,
            damping: 1.0 + 2.0 * (((worth - 1.0) / (n + 1.0)).sqrt() - 1.0).max(0.0) + path_of_width,
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

    fn draw(&self, chance: &mut Stream) -> Vec<f64> {
        let along = |(mean, spread): (&f64, &f64)| {
            (mean + self.width * spread.sqrt() * normal(chance)).clamp(-REACH, REACH)
        };
        self.mean.iter().zip(&self.spread).map(along).collect()
    }

    /// Moves towards the first of `ranked`, and takes on their shape.
    fn follow(&mut self, ranked: &[&[f64]], rates: &Rates) {
        self.generation += 1;
        let steps: Vec<f64> = (0..self.mean.len())
            .map(|axis| {
                let weighed = rates.weights.iter().zip(ranked);
                let step: f64 = weighed.map(|(weight, point)| weight * (point[axis] - self.mean[axis])).sum();
                step / self.width
            })
            .collect();
        let kept = |rate: f64| (rate * (2.0 - rate) * rates.worth).sqrt();
        for (axis, step) in steps.iter().enumerate() {
            let path = &mut self.path_of_width[axis];
            *path = (1.0 - rates.path_of_width) * *path
                + kept(rates.path_of_width) * step / self.spread[axis].sqrt();
        }
        let length = self.path_of_width.iter().map(|it| it * it).sum::<f64>().sqrt();
        let usual = rates.length * (1.0 - (1.0 - rates.path_of_width).powi(2 * self.generation)).sqrt();
        // A path that is too long is that of a distribution which is still moving: its shape says nothing yet.
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
    fn the_least_is_found_and_the_same_seed_looks_at_the_same_points() {
        for seed in 0..8 {
            let (best, ..) = look(700, seed);
            assert!(valley(&best).is_some_and(|cost| cost < 0.01), "{best:?} of seed {seed}");
        }
        assert_eq!(look(100, 3), look(100, 3));
        assert_ne!(look(100, 3).2, look(100, 4).2, "another seed goes another way");
    }

    #[test]
    fn no_more_is_run_than_allowed_and_the_origin_is_the_first() {
        for runs_max in [1, 7, 8, 50] {
            let (_, runs, seen) = look(runs_max, 1);
            assert!(runs <= runs_max && runs as usize == seen.len(), "{runs} of {runs_max}");
            assert_eq!(seen[0], [0.0; 3]);
        }
        assert_eq!(look(1, 1).0, [0.0; 3]);
    }

    #[test]
    fn where_all_cost_the_same_the_origin_stays() {
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
