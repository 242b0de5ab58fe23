//! The distribution of errors in little memory.

/// A histogram of signed numbers in exponential buckets around 0, in which the newest weigh most.
///
/// A bucket is 14 to 25 % wide, so a quantile is off by at most an eighth. Numbers below 2⁻⁷ count as 0, those beyond 2¹³ as 2¹³.
/// To forget, the weight of new numbers grows, and old ones need not be touched (as in Kubernetes' vertical autoscaler).
#[derive(Clone, Debug)]
pub(crate) struct Sketch {
    buckets: Box<[f32; BUCKETS]>,
    /// Above it every bucket is empty.
    highest: usize,
    total: f32,
    weight: f32,
}

const DOUBLINGS_LOW: f32 = -7.0;
/// Binary digits of a number that its bucket does not look at: all but two after the point, for four buckets in a doubling.
const DIGITS_BELOW: u32 = f32::MANTISSA_DIGITS - 1 - 2;
const SIDE: usize = 80;
const BUCKETS: usize = 2 * SIDE + 1;

impl Sketch {
    pub(crate) fn new() -> Self {
        Self { buckets: Box::new([0.0; BUCKETS]), highest: 0, total: 0.0, weight: 1.0 }
    }

    /// Adds a number; the weight of all earlier ones falls to the share `kept`, above 0 and at most 1.
    pub(crate) fn add(&mut self, number: f64, kept: f32) {
        self.weight /= kept.max(0.1);
        let bucket = bucket_of(number);
        self.highest = self.highest.max(bucket);
        self.buckets[bucket] += self.weight;
        self.total += self.weight;
        if self.weight > 1e6 {
            let by = 1.0 / self.weight;
            self.buckets.iter_mut().for_each(|bucket| *bucket *= by);
            self.total *= by;
            self.weight = 1.0;
        }
    }

    /// Calls `report` with the index of each of `levels` and the quantile there; 0 when the sketch is empty. Fastest for rising levels.
    pub(crate) fn quantiles(&self, levels: &[f64], mut report: impl FnMut(usize, f64)) {
        // From the top down; a lower level goes on from where the last one was found.
        let (mut index, mut passed) = (self.highest, 0.0);
        let mut last = f64::INFINITY;
        for (place, &level) in levels.iter().enumerate().rev() {
            if level > last {
                (index, passed) = (self.highest, 0.0);
            }
            last = level;
            #[expect(clippy::cast_possible_truncation, reason = "a share needs no more digits")]
            let above = self.total * (1.0 - level) as f32;
            while index > 0 && (self.buckets[index] == 0.0 || above > passed + self.buckets[index]) {
                passed += self.buckets[index];
                index -= 1;
            }
            let here = self.buckets[index];
            let (low, high) = edges_of(index);
            let part = if here > 0.0 { ((above - passed) / here).clamp(0.0, 1.0) } else { 0.0 };
            report(place, if self.total > 0.0 { high - (high - low) * f64::from(part) } else { 0.0 });
        }
    }
}

/// The bucket of a number, by its bits: the exponent and the first two digits after the point, as in an HdrHistogram.
fn bucket_of(number: f64) -> usize {
    #[expect(clippy::cast_possible_truncation, reason = "two digits after the point count")]
    let size = number.abs() as f32;
    let least = f32::exp2(DOUBLINGS_LOW);
    if size.is_nan() || size < least {
        return SIDE;
    }
    let rank = ((size.to_bits() >> DIGITS_BELOW) - (least.to_bits() >> DIGITS_BELOW)) as usize;
    let rank = (rank + 1).min(SIDE);
    if number > 0.0 { SIDE + rank } else { SIDE - rank }
}

fn edges_of(index: usize) -> (f64, f64) {
    let first = f32::exp2(DOUBLINGS_LOW).to_bits() >> DIGITS_BELOW;
    let edge = |rank: usize| f64::from(f32::from_bits((first + rank as u32 - 1) << DIGITS_BELOW));
    match index.cmp(&SIDE) {
        std::cmp::Ordering::Equal => (0.0, 0.0),
        std::cmp::Ordering::Greater => (edge(index - SIDE), edge(index - SIDE + 1)),
        std::cmp::Ordering::Less => (-edge(SIDE - index + 1), -edge(SIDE - index)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_number_lies_in_its_bucket(number in -8000.0..8000.0_f64) {
            let (low, high) = edges_of(bucket_of(number));
            let is_tiny = number.abs() < f64::from(f32::exp2(DOUBLINGS_LOW));
            prop_assert!(if is_tiny { (low, high) == (0.0, 0.0) } else { low * (1.0 + 1e-6) <= number.max(low) && (low..=high).contains(&(number as f32 as f64)) }, "{low}..{high}");
        }

        #[test]
        fn quantiles_are_near_those_of_the_numbers(mut numbers in prop::collection::vec(-50.0..50.0_f64, 40..200), levels in prop::collection::vec(0.05..0.95_f64, 1..5)) {
            let mut sketch = Sketch::new();
            numbers.iter().for_each(|&number| sketch.add(number, 1.0));
            numbers.sort_by(f64::total_cmp);
            sketch.quantiles(&levels, |place, found| {
                let rank = levels[place] * numbers.len() as f64;
                let (below, above) = (numbers[(rank as usize).saturating_sub(2)], numbers[(rank as usize + 1).min(numbers.len() - 1)]);
                let slack = 0.26 * found.abs() + 0.01;
                assert!(below - slack <= found && found <= above + slack, "{found} at {}, not within {below}..{above}", levels[place]);
            });
        }
    }
}
