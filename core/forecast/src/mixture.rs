//! The blend: forecasts weighted by how good each has been.

use crate::model::POINTS;

/// Members of the blend: each model twice, with a band of steady width, and with one of learnt width.
pub(crate) const MEMBERS: usize = 2 * POINTS;

/// [`MEMBERS`], rounded up to whole [`LANES`]: the places beyond are never awake.
pub(crate) const PADDED_MEMBERS: usize = MEMBERS.next_multiple_of(LANES);

/// Numbers that a processor computes with at once.
const LANES: usize = 4;

/// A number for each member.
pub(crate) type PerMember = [f32; PADDED_MEMBERS];

/// Weights of members by their regrets: ML-Poly with forgetting.
///
/// Source: Gaillard, Stoltz and van Erven, "A second-order bound with excess losses", COLT 2014, on the gradient of the
/// pinball loss. A member that is asleep neither gains nor loses. There is no rate to choose.
#[derive(Clone, Debug)]
pub(crate) struct Mixture {
    regret: PerMember,
    squares: PerMember,
    weights: PerMember,
    /// The largest regret of late, which makes the weights independent of the unit.
    range: f32,
}

/// The outcome of a blended forecast.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    /// The blended forecast.
    pub(crate) blended: f32,
    /// The load that was measured.
    pub(crate) actual: f32,
    /// The level of the quantile that was forecast.
    pub(crate) level: f32,
    /// The share of what was learnt before that still counts.
    pub(crate) kept: f32,
}

/// Folds `values` into one number, lane by lane first.
fn folded(values: &PerMember, with: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let (quads, _) = values.as_chunks::<LANES>();
    for quad in quads {
        lanes = std::array::from_fn(|lane| with(lanes[lane], quad[lane]));
    }
    with(with(lanes[0], lanes[1]), with(lanes[2], lanes[3]))
}

fn sum(values: &PerMember) -> f32 {
    folded(values, |one, other| one + other)
}

fn products(one: &PerMember, other: &PerMember) -> PerMember {
    std::array::from_fn(|place| one[place] * other[place])
}

impl Mixture {
    pub(crate) fn new() -> Self {
        Self {
            regret: [0.0; PADDED_MEMBERS],
            squares: [0.0; PADDED_MEMBERS],
            weights: [1.0; PADDED_MEMBERS],
            range: 0.0,
        }
    }

    /// The weighted mean of each of `series` over the members that are awake, for which `awake` is 1, and 0 for others; 0 when all sleep.
    pub(crate) fn blend<const N: usize>(&self, series: [&PerMember; N], awake: &PerMember) -> [f32; N] {
        let shares = products(awake, &self.weights);
        let total = sum(&shares);
        if total > 0.0 {
            return series.map(|values| sum(&products(&shares, values)) / total);
        }
        series.map(|values| sum(&products(awake, values)) / sum(awake).max(1.0))
    }

    /// Learns from the outcome of `forecasts`.
    pub(crate) fn learn(&mut self, forecasts: &PerMember, awake: &PerMember, outcome: Outcome) {
        let Outcome { blended, actual, level, kept } = outcome;
        let slope = if actual > blended { -level } else { 1.0 - level };
        let gains: PerMember =
            std::array::from_fn(|place| awake[place] * (slope * (blended - forecasts[place])));
        let widest = folded(&gains, |one, other| one.abs().max(other.abs()));
        self.range = (self.range * kept).max(widest);
        let least = self.range * self.range;
        let regret: PerMember = std::array::from_fn(|place| self.regret[place] * kept + gains[place]);
        let squares: PerMember =
            std::array::from_fn(|place| self.squares[place] * kept + gains[place] * gains[place]);
        let weights: PerMember = std::array::from_fn(|place| {
            let rate = 1.0 / larger(least + squares[place], f32::MIN_POSITIVE);
            rate * larger(regret[place], 0.0)
        });
        (self.regret, self.squares) = (regret, squares);
        let total = sum(&weights);
        self.weights = if total > 0.0 && total.is_finite() {
            let share = 1.0 / total;
            weights.map(|weight| weight * share)
        } else {
            [1.0 / MEMBERS as f32; PADDED_MEMBERS]
        };
    }

    /// Whether the member at `place` has any weight in the blend.
    pub(crate) fn has_weight(&self, place: usize) -> bool {
        self.weights[place] > 0.0
    }

    /// The weight of each member; their sum is 1 once anything was learnt.
    pub(crate) fn weights(&self) -> &PerMember {
        &self.weights
    }
}

/// The larger of two, or `other` if `one` is `NaN`: a single instruction, unlike [`f32::max`].
fn larger(one: f32, other: f32) -> f32 {
    if one > other { one } else { other }
}
