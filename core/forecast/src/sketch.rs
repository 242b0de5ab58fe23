//! The distribution of errors, in little space.

/// A histogram of signed numbers that forgets: exponential buckets around 0, the newest weighing most.
///
/// A bucket is 19 % wide, so a quantile is within a tenth of itself. Numbers below 2⁻⁷ count as 0, those beyond 2¹³ as that.
/// Forgetting grows the weight of what comes instead of shrinking what is there (as Kubernetes' vertical autoscaler does).
#[derive(Clone, Debug)]
pub(crate) struct Sketch {
    buckets: Box<[f32; BUCKETS]>,
    total: f32,
    weight: f32,
}

/// Buckets in a doubling.
const FINENESS: f64 = 4.0;
const DOUBLINGS_LOW: f64 = -7.0;
const SIDE: usize = 80;
const BUCKETS: usize = 2 * SIDE + 1;

impl Sketch {
    pub(crate) fn new() -> Self {
        Self { buckets: Box::new([0.0; BUCKETS]), total: 0.0, weight: 1.0 }
    }

    /// Adds a number, after which the earlier ones count by `kept`, above 0 and at most 1, of what they did.
    pub(crate) fn add(&mut self, number: f64, kept: f32) {
        self.weight /= kept.max(0.1);
        self.buckets[bucket_of(number)] += self.weight;
        self.total += self.weight;
        if self.weight > 1e6 {
            let by = 1.0 / self.weight;
            self.buckets.iter_mut().for_each(|bucket| *bucket *= by);
            self.total *= by;
            self.weight = 1.0;
        }
    }

    /// The number below which the share `level` of all lies; 0 when there is none.
    pub(crate) fn quantile(&self, level: f64) -> f64 {
        #[expect(clippy::cast_possible_truncation, reason = "a share needs no more digits")]
        let mut above = self.total * (1.0 - level) as f32;
        for index in (0..BUCKETS).rev() {
            let here = self.buckets[index];
            if here > 0.0 && above <= here {
                let (low, high) = edges_of(index);
                return high - (high - low) * f64::from(above / here);
            }
            above -= here;
        }
        0.0
    }
}

fn bucket_of(number: f64) -> usize {
    let rank = (number.abs().log2() - DOUBLINGS_LOW) * FINENESS;
    if rank < 0.0 || rank.is_nan() {
        return SIDE;
    }
    let rank = (rank as usize + 1).min(SIDE);
    if number > 0.0 { SIDE + rank } else { SIDE - rank }
}

fn edges_of(index: usize) -> (f64, f64) {
    let edge = |rank: usize| ((rank as f64 - 1.0) / FINENESS + DOUBLINGS_LOW).exp2();
    match index.cmp(&SIDE) {
        std::cmp::Ordering::Equal => (0.0, 0.0),
        std::cmp::Ordering::Greater => (edge(index - SIDE), edge(index - SIDE + 1)),
        std::cmp::Ordering::Less => (-edge(SIDE - index + 1), -edge(SIDE - index)),
    }
}
