//! Direct search on a grid: one knob after the other, with decreasing steps, restarted from near the best point while runs are left.
//!
//! Source: Hooke and Jeeves 1961, "Direct search solution of numerical and statistical problems", with restarts as in Lourenço, Martin and
//! Stützle 2003, "Iterated local search". The cost is ordered but not smooth, so gradients do not help.

use std::collections::HashMap;

use model::chance::Stream;

/// The initial step of a knob, in places of its grid; it is halved repeatedly.
const STEP: usize = 4;

/// The number of knobs that are changed at random for a restart.
const PERTURBED: usize = 3;

/// A value index for each knob.
pub(crate) type Point = Vec<usize>;

/// Searches the point with the lowest cost, beginning at `present`, in at most `runs_max` evaluations of `cost`, which is `None` for an
/// invalid point.
///
/// `lens` is the number of values of each knob. The same seed evaluates the same points. `cost` is evaluated once per point.
pub(crate) fn search<C: PartialOrd + Copy>(
    lens: &[usize],
    present: &Point,
    (runs_max, seed): (u32, u64),
    cost: &mut dyn FnMut(&Point) -> Option<C>,
) -> (Point, u32) {
    let mut known: HashMap<Point, Option<C>> = HashMap::new();
    let mut runs = 0;
    let mut random = Stream::named(seed, "tune");
    let mut costs = |point: &Point| -> Option<Option<C>> {
        if let Some(cost) = known.get(point) {
            return Some(*cost);
        }
        if runs >= runs_max {
            return None;
        }
        runs += 1;
        let found = cost(point);
        known.insert(point.clone(), found);
        Some(found)
    };
    let mut best = (present.clone(), costs(present).flatten());
    let mut begin = best.clone();
    // Bounded, because restarts evaluate nothing once all points are known.
    for _ in 0..=runs_max {
        let minimum = descend(lens, begin, &mut random, &mut costs);
        if is_less(minimum.1, best.1) {
            best = minimum;
        }
        let mut perturbed = best.0.clone();
        for _ in 0..PERTURBED.min(lens.len()) {
            let knob = below(&mut random, lens.len());
            perturbed[knob] = below(&mut random, lens[knob]);
        }
        let Some(cost) = costs(&perturbed) else { break };
        begin = (perturbed, cost);
    }
    (best.0, runs)
}

/// Changes one knob after the other as long as that lowers the cost and runs are left.
fn descend<C: PartialOrd + Copy>(
    lens: &[usize],
    begin: (Point, Option<C>),
    random: &mut Stream,
    costs: &mut dyn FnMut(&Point) -> Option<Option<C>>,
) -> (Point, Option<C>) {
    let mut current = begin;
    let mut step = STEP;
    let mut is_over = false;
    while step > 0 && !is_over {
        let before = current.0.clone();
        for knob in shuffled(lens.len(), random) {
            for index in [current.0[knob].checked_add(step), current.0[knob].checked_sub(step)] {
                let Some(index) = index.filter(|index| *index < lens[knob]) else { continue };
                let mut next = current.0.clone();
                next[knob] = index;
                match costs(&next) {
                    Some(cost) if is_less(cost, current.1) => {
                        current = (next, cost);
                        break;
                    }
                    Some(_) => {}
                    None => is_over = true,
                }
            }
        }
        if current.0 == before {
            step /= 2;
        }
    }
    current
}

/// Compares costs; an invalid point costs more than all others.
fn is_less<C: PartialOrd>(a: Option<C>, b: Option<C>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a < b,
        (Some(_), None) => true,
        (None, _) => false,
    }
}

fn below(random: &mut Stream, end: usize) -> usize {
    usize::try_from(random.below(end.max(1) as u64)).unwrap_or(0)
}

/// All numbers below `len` in random order. Source: Fisher and Yates, in Knuth, "Seminumerical Algorithms", 3.4.2.
fn shuffled(len: usize, random: &mut Stream) -> Vec<usize> {
    let mut order: Vec<usize> = (0..len).collect();
    for last in (1..len).rev() {
        order.swap(last, below(random, last + 1));
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bowl with a ridge, and an invalid point.
    fn bowl(point: &Point) -> Option<f64> {
        let [a, b, c] = [point[0], point[1], point[2]].map(|place| place as f64);
        let is_there = !(point[0] == 5 && point[1] == 5);
        is_there.then_some(
            (a - 9.0).powi(2) + (b - 2.0).powi(2) + (c - 6.0).abs() + 3.0 * f64::from(u8::from(c > 8.0)),
        )
    }

    #[test]
    fn the_minimum_is_found_and_the_same_seed_evaluates_the_same_points() {
        let look = |seed| {
            let mut seen = Vec::new();
            let found = search(&[12, 12, 12], &vec![0, 11, 11], (400, seed), &mut |point| {
                seen.push(point.clone());
                bowl(point)
            });
            (found, seen)
        };
        let ((best, runs), seen) = look(7);
        assert_eq!(best, [9, 2, 6]);
        assert_eq!(runs as usize, seen.len());
        assert_eq!(look(7), ((best, runs), seen.clone()));
        assert_ne!(look(8).1, seen, "another seed evaluates other points");
        let mut once = seen.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), seen.len(), "no point is evaluated twice");
    }

    #[test]
    fn the_number_of_evaluations_is_limited_and_the_first_is_the_present_point() {
        for runs_max in [1, 2, 17, 100] {
            let mut runs = 0;
            let (_, runs_counted) = search(&[50, 50, 50], &vec![25, 25, 25], (runs_max, 1), &mut |point| {
                runs += 1;
                bowl(point)
            });
            assert!(runs == runs_counted && runs <= runs_max, "{runs} of {runs_max}");
        }
        assert_eq!(search(&[5, 5, 5], &vec![1, 2, 3], (1, 1), &mut |point| bowl(point)).0, [1, 2, 3]);
    }

    #[test]
    fn a_small_grid_is_evaluated_completely_and_the_search_ends() {
        let (best, runs) =
            search(&[2, 2], &vec![0, 0], (1000, 3), &mut |point| Some(point[0] + 2 * point[1]));
        assert!(best == [0, 0] && runs <= 4, "{best:?} after {runs}");
        let nowhere = search::<u32>(&[4], &vec![2], (10, 3), &mut |_| None);
        assert_eq!(nowhere.0, [2]);
    }
}
