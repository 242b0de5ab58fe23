//! The seasons of a series.

use crate::history::History;

/// A period after which the load repeats itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Season {
    /// Its length in steps; at least 2.
    pub steps: usize,
    /// The correlation of the load with itself one period before, from 0 to 1.
    pub strength: f64,
}

/// The least correlation of a season.
///
/// Twice the 95 % bound of white noise over a day of five minutes, 1.96 / √288 = 0.12.
const STRENGTH_MIN: f64 = 0.24;

/// The longest period that is looked for step by step.
const SHORT_MAX: usize = 400;

/// Steps of the series that are correlated.
const SHORT_WINDOW: usize = 2400;

/// Finds the seasons of `history`: the day and the week, and the strongest other period.
///
/// Day and week count as soon as one and a quarter of them are known, however weak they are: the models that use them compete anyway,
/// and a service that rests at weekends has no strong day. Other periods are peaks of the autocorrelation (Box,
/// Jenkins and Reinsel, "Time Series Analysis", ch. 2) that are neither. Square roots of the load keep single bursts from
/// deciding. At most a millisecond.
pub(crate) fn seasons_of(history: &History, day: usize, week: usize) -> [Option<Season>; 3] {
    let values: Vec<f32> = history.oldest_first().map(|value| value.sqrt() as f32).collect();
    // A long season shows in the mean of an hour, however noisy its steps are.
    let wide = (day / 24).max(1);
    let smooth: Vec<f32> =
        values.chunks_exact(wide).map(|chunk| chunk.iter().sum::<f32>() / wide as f32).collect();
    [other_season(&values, &[day, week]), season(&smooth, wide, day), season(&smooth, wide, week)]
}

/// The season of `steps`, if `smooth`, of which each value stands for `wide` steps, repeats after it.
fn season(smooth: &[f32], wide: usize, steps: usize) -> Option<Season> {
    let lag = steps / wide;
    if lag < 2 || smooth.len() < lag + lag / 4 {
        return None;
    }
    let strength = correlation(smooth, lag)?;
    Some(Season { steps, strength: strength.max(0.0) })
}

fn other_season(values: &[f32], known: &[usize]) -> Option<Season> {
    let recent = &values[values.len().saturating_sub(SHORT_WINDOW)..];
    let at = autocorrelations(recent, SHORT_MAX.min(recent.len() / 3))?;
    // A series that moves slowly resembles itself after any short while: a peak counts by how far it rises above the lowest
    // correlation before it.
    let mut lowest = 1.0f64;
    let mut best: Option<(f64, Season)> = None;
    for lag in 2..at.len() - 1 {
        lowest = lowest.min(at[lag - 1]);
        let is_peak = at[lag] > at[lag - 1] && at[lag] >= at[lag + 1];
        let rise = at[lag] - lowest;
        let is_known = known.iter().any(|&steps| lag.abs_diff(steps) * 20 <= steps);
        let is_better = best.is_none_or(|(best, _)| rise > best + BETTER_BY);
        if is_peak && !is_known && at[lag] >= STRENGTH_MIN && rise >= STRENGTH_MIN && is_better {
            best = Some((rise, Season { steps: lag, strength: at[lag].min(1.0) }));
        }
    }
    best.map(|(_, season)| season)
}

/// By how much a longer period must rise higher: each multiple of a period is a peak as well.
const BETTER_BY: f64 = 0.05;

/// The autocorrelations at lags from 0 to `longest`; `None` when the series is too short or does not vary.
fn autocorrelations(values: &[f32], longest: usize) -> Option<Vec<f64>> {
    if longest < 3 {
        return None;
    }
    let mean = mean_of(values);
    let centred: Vec<f32> = values.iter().map(|value| value - mean).collect();
    let variance = product(&centred, &centred) / centred.len() as f64;
    if variance < 1e-12 {
        return None;
    }
    let mut at = Vec::with_capacity(longest + LAGS);
    for first in (0..=longest).step_by(LAGS) {
        let lags: [usize; LAGS] = std::array::from_fn(|place| first + place);
        let sums = products(lags.map(|lag| &centred[lag..]), &centred);
        at.extend(lags.iter().zip(sums).map(|(lag, sum)| sum / (centred.len() - lag) as f64 / variance));
    }
    at.truncate(longest + 1);
    Some(at)
}

/// The correlation of a series with itself `lag` steps before; `None` when it does not vary.
fn correlation(values: &[f32], lag: usize) -> Option<f64> {
    let (late, early) = (&values[lag..], &values[..values.len() - lag]);
    let centred = |part: &[f32]| {
        let mean = mean_of(part);
        part.iter().map(|value| value - mean).collect::<Vec<f32>>()
    };
    let (late, early) = (centred(late), centred(early));
    let spread = product(&late, &late) * product(&early, &early);
    (spread > 1e-12).then(|| product(&late, &early) / spread.sqrt())
}

/// Independent sums, so that several are added at once.
const LANES: usize = 8;

/// Lags that are correlated together, so that a part is read once for all of them.
const LAGS: usize = 4;

/// The sum of the products of two parts of the same length; up to seven of the last are left out.
fn product(one: &[f32], other: &[f32]) -> f64 {
    let [sum] = products([one], other);
    sum
}

/// The sum of the products of each of `ones` with as much of `other` as it is long; up to seven of the last of each are left out.
fn products<const N: usize>(ones: [&[f32]; N], other: &[f32]) -> [f64; N] {
    let mut sums = [[0.0f32; LANES]; N];
    let shortest = ones.iter().map(|one| one.len() / LANES).min().unwrap_or(0).min(other.len() / LANES);
    let (others, _) = other.as_chunks::<LANES>();
    let parts = ones.map(|one| one.as_chunks::<LANES>().0);
    let together = parts.map(|part| &part[..shortest]);
    for (place, other) in others[..shortest].iter().enumerate() {
        for (sums, part) in sums.iter_mut().zip(&together) {
            add_products(sums, &part[place], other);
        }
    }
    for (sums, part) in sums.iter_mut().zip(&parts) {
        for (one, other) in part.iter().zip(others).skip(shortest) {
            add_products(sums, one, other);
        }
    }
    sums.map(|sums| sums.iter().map(|&sum| f64::from(sum)).sum())
}

fn add_products(sums: &mut [f32; LANES], one: &[f32; LANES], other: &[f32; LANES]) {
    for (sum, (one, other)) in sums.iter_mut().zip(one.iter().zip(other)) {
        *sum += one * other;
    }
}

/// The mean, of all but up to seven of the last.
fn mean_of(values: &[f32]) -> f32 {
    let ones = [1.0f32; LANES];
    let whole = values.len() / LANES * LANES;
    let sum: f64 = values.chunks_exact(LANES).map(|chunk| product(chunk, &ones)).sum();
    #[expect(clippy::cast_possible_truncation, reason = "it only centres")]
    let mean = (sum / whole.max(1) as f64) as f32;
    mean
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn lags_correlated_together_have_the_same_sums_as_alone(
            values in prop::collection::vec(0.0..100.0_f32, 9..200), longest in 3_usize..60,
        ) {
            let longest = longest.min(values.len() / 3);
            let together = autocorrelations(&values, longest).unwrap_or_default();
            let mean = mean_of(&values);
            let centred: Vec<f32> = values.iter().map(|value| value - mean).collect();
            let variance = product(&centred, &centred) / centred.len() as f64;
            for (lag, found) in together.into_iter().enumerate() {
                let (late, early) = (&centred[lag..], &centred[..centred.len() - lag]);
                let alone = product(late, early) / late.len() as f64 / variance;
                prop_assert_eq!(found.to_bits(), alone.to_bits(), "at {}", lag);
            }
        }
    }
}
