//! Direct search on a grid: one knob after the other, by steps that grow smaller, begun anew from near the best while runs are left.
//!
//! Source: Hooke and Jeeves 1961, "Direct search solution of numerical and statistical problems", with restarts as in Lourenço, Martin and
//! Stützle 2003, "Iterated local search". What is looked at is ordered, not smooth, so that nothing is gained by slopes.

use std::collections::HashMap;

use model::chance::Stream;

/// How far a knob is turned at first, in places of its grid; then half of it, and so on.
const STEP: usize = 4;

/// Knobs that are turned at random before the search begins anew.
const KICKED: usize = 3;

/// A place for each knob.
pub(crate) type Point = Vec<usize>;

/// Looks for the point that costs least, from `present` on, in at most `runs_max` runs of `cost`; `None` is a point that there is not.
///
/// Each knob has as many places as `lens` says. The same seed looks at the same points. `cost` is run once for each point.
pub(crate) fn search<C: PartialOrd + Copy>(
    lens: &[usize],
    present: &Point,
    (runs_max, seed): (u32, u64),
    cost: &mut dyn FnMut(&Point) -> Option<C>,
) -> (Point, u32) {
    let mut known: HashMap<Point, Option<C>> = HashMap::new();
    let mut runs = 0;
    let mut chance = Stream::named(seed, "tune");
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
    // Every point may be known at last; then nothing more is run, and kicks lead nowhere.
    for _ in 0..=runs_max {
        let found = descend(lens, begin, &mut chance, &mut costs);
        if is_less(found.1, best.1) {
            best = found;
        }
        let mut kicked = best.0.clone();
        for _ in 0..KICKED.min(lens.len()) {
            let knob = below(&mut chance, lens.len());
            kicked[knob] = below(&mut chance, lens[knob]);
        }
        let Some(cost) = costs(&kicked) else { break };
        begin = (kicked, cost);
    }
    (best.0, runs)
}

/// Turns one knob after the other for as long as that helps and runs are left.
fn descend<C: PartialOrd + Copy>(
    lens: &[usize],
    begin: (Point, Option<C>),
    chance: &mut Stream,
    costs: &mut dyn FnMut(&Point) -> Option<Option<C>>,
) -> (Point, Option<C>) {
    let mut here = begin;
    let mut step = STEP;
    let mut is_over = false;
    while step > 0 && !is_over {
        let before = here.0.clone();
        for knob in shuffled(lens.len(), chance) {
            for place in [here.0[knob].checked_add(step), here.0[knob].checked_sub(step)] {
                let Some(place) = place.filter(|place| *place < lens[knob]) else { continue };
                let mut turned = here.0.clone();
                turned[knob] = place;
                match costs(&turned) {
                    Some(cost) if is_less(cost, here.1) => {
                        here = (turned, cost);
                        break;
                    }
                    Some(_) => {}
                    None => is_over = true,
                }
            }
        }
        if here.0 == before {
            step /= 2;
        }
    }
    here
}

/// A point that there is not is dearer than all others.
fn is_less<C: PartialOrd>(one: Option<C>, other: Option<C>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one < other,
        (Some(_), None) => true,
        (None, _) => false,
    }
}

fn below(chance: &mut Stream, end: usize) -> usize {
    usize::try_from(chance.below(end.max(1) as u64)).unwrap_or(0)
}

/// All numbers below `len`. Source: Fisher and Yates, in Knuth, "Seminumerical Algorithms", 3.4.2.
fn shuffled(len: usize, chance: &mut Stream) -> Vec<usize> {
    let mut order: Vec<usize> = (0..len).collect();
    for last in (1..len).rev() {
        order.swap(last, below(chance, last + 1));
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bowl with a ridge, and holes where there is no point.
    fn bowl(point: &Point) -> Option<f64> {
        let [a, b, c] = [point[0], point[1], point[2]].map(|place| place as f64);
        let is_there = !(point[0] == 5 && point[1] == 5);
        is_there.then_some(
            (a - 9.0).powi(2) + (b - 2.0).powi(2) + (c - 6.0).abs() + 3.0 * f64::from(u8::from(c > 8.0)),
        )
    }

    #[test]
    fn the_least_is_found_and_the_same_seed_looks_at_the_same_points() {
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
        assert_ne!(look(8).1, seen, "another seed goes another way");
        let mut once = seen.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), seen.len(), "no point is run twice");
    }

    #[test]
    fn no_more_is_run_than_allowed_and_one_run_is_the_present() {
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
    fn a_small_grid_is_looked_at_whole_and_the_search_ends() {
        let (best, runs) =
            search(&[2, 2], &vec![0, 0], (1000, 3), &mut |point| Some(point[0] + 2 * point[1]));
        assert!(best == [0, 0] && runs <= 4, "{best:?} after {runs}");
        let nowhere = search::<u32>(&[4], &vec![2], (10, 3), &mut |_| None);
        assert_eq!(nowhere.0, [2]);
    }
}
