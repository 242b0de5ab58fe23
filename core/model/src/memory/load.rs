//! The recorded load of a service, from which a forecast is learned again after a restart.

use std::time::Duration;

/// Most steps of load that are recorded: the history that a forecaster uses.
pub const LOAD_STEPS_MAX: usize = 16_384;

/// The recorded load of a service, and the replicas that a load needs.
///
/// Bounded: 2 bytes a step, see [`LOAD_STEPS_MAX`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LoadRecord {
    /// What is recorded as its load.
    pub source: LoadSource,
    /// The length of a step; at least 1 s.
    pub step: Duration,
    /// The number of the first recorded step: its start time divided by the length of a step.
    pub first: u64,
    /// The mean load of each step, in thousandths, oldest first.
    pub loads: Vec<StepLoad>,
    /// How many replicas a load needs.
    pub demand: DemandCurve,
}

/// What counts as the load of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LoadSource {
    /// Requests per second to its proxy.
    Requests,
    /// The replicas that the metrics of its autoscaler ask for, not rounded.
    Replicas,
}

/// How many replicas a load needs to meet the targets of the autoscaler, as observed at different loads.
///
/// Each octave (doubling of the load) is averaged separately: idle replicas use resources too, so the demand at a low load says
/// little about a high one. At most 64 octaves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct DemandCurve {
    /// The observed octaves, by power.
    pub octaves: Vec<Octave>,
}

/// Loads between two powers of two, and the replicas that they needed: decaying sums over the same steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Octave {
    /// The power of two of the lower bound, which is in thousandths of the unit of load.
    pub power: u8,
    /// The sum of loads, in millionths of their unit.
    pub load: u64,
    /// The sum of needed replicas, in millionths.
    pub need: u64,
}

/// The mean load of one step in 16 bits, or a gap.
///
/// Thousandths are exact up to 1024 and rounded to eleven binary digits above: the error is at most 0.05 %.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct StepLoad(u16);

/// Binary digits of the mantissa after the first.
const DIGITS: u32 = 10;

impl StepLoad {
    /// The load was not measured.
    pub const GAP: Self = Self(u16::MAX);

    /// The value nearest to `milli` thousandths; saturates.
    #[must_use]
    pub fn of(milli: u64) -> Self {
        let Some(shift) = milli.checked_ilog2().and_then(|digits| digits.checked_sub(DIGITS)) else {
            return Self(u16::try_from(milli).unwrap_or(u16::MAX - 1));
        };
        let half = (1_u64 << shift) >> 1;
        // Rounding up may carry into the next digit, which yields the first code of the next exponent.
        let digits = milli.saturating_add(half) >> shift;
        let code = (u64::from(shift) << DIGITS) + digits;
        Self(u16::try_from(code).unwrap_or(u16::MAX - 1))
    }

    /// The load in thousandths; `None` for a gap.
    #[must_use]
    pub fn milli(self) -> Option<u64> {
        if self == Self::GAP {
            return None;
        }
        let code = u64::from(self.0);
        let shift = (code >> DIGITS).saturating_sub(1);
        let digits = code - (shift << DIGITS);
        Some(digits.checked_shl(u32::try_from(shift).unwrap_or(u32::MAX)).unwrap_or(u64::MAX))
    }

    /// The stored form.
    #[must_use]
    pub fn code(self) -> u16 {
        self.0
    }

    /// Reads the stored form. An invalid code is a gap.
    #[must_use]
    pub fn from_code(code: u16) -> Self {
        if code > Self::of(u64::MAX).0 { Self::GAP } else { Self(code) }
    }
}

/// Such as `12.5`, or `gap`.
impl std::fmt::Debug for StepLoad {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.milli() {
            Some(milli) => write!(f, "{}", milli as f64 / 1000.0),
            None => f.write_str("gap"),
        }
    }
}

/// The time constant of an octave's decaying sums, in steps.
const OCTAVE_STEPS: u64 = 32;

impl DemandCurve {
    /// Adds a step in which `load` needed `need` replicas, both in thousandths. A load of 0 is ignored.
    pub fn note(&mut self, load: u64, need: u64) {
        let Some(power) = load.checked_ilog2().and_then(|power| u8::try_from(power).ok()) else { return };
        let index =
            self.octaves.binary_search_by_key(&power, |octave| octave.power).unwrap_or_else(|index| {
                self.octaves.insert(index, Octave { power, load: 0, need: 0 });
                index
            });
        let octave = &mut self.octaves[index];
        let decayed = |sum: u64| sum - sum / OCTAVE_STEPS;
        octave.load = decayed(octave.load).saturating_add(load.saturating_mul(1000));
        octave.need = decayed(octave.need).saturating_add(need.saturating_mul(1000));
    }

    /// The replicas that `load` needs, not rounded: in proportion to the nearest observed octave that is not above `load`, or else to
    /// the lowest one; `None` before any load was observed.
    #[must_use]
    pub fn replicas_for(&self, load: f64) -> Option<f64> {
        let power = (load * 1000.0).max(1.0).log2();
        let is_below = |octave: &&Octave| f64::from(octave.power) <= power;
        let octave = self.octaves.iter().rev().find(is_below).or(self.octaves.first())?;
        Some(load * octave.need as f64 / octave.load.max(1) as f64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_rounding_error_is_at_most_a_twentieth_of_a_percent(milli in prop_oneof![0..5000_u64, any::<u64>()]) {
            let kept = StepLoad::of(milli).milli().expect("it was measured");
            let off = kept.abs_diff(milli) as f64;
            prop_assert!(off <= milli as f64 * 0.0005, "{milli} is kept as {kept}");
            prop_assert_eq!(StepLoad::of(kept), StepLoad::of(milli), "rounding twice changes nothing");
        }

        #[test]
        fn every_code_reads_back_as_itself(code in any::<u16>()) {
            let load = StepLoad::from_code(code);
            prop_assert_eq!(StepLoad::from_code(load.code()), load);
            if let Some(milli) = load.milli() {
                prop_assert_eq!(StepLoad::of(milli), load);
            }
        }
    }

    fn need_after(steps: u32, load: u64, need: u64, demand: &mut DemandCurve) -> f64 {
        (0..steps).for_each(|_| demand.note(load, need));
        demand.replicas_for(load as f64 / 1000.0).expect("it was observed")
    }

    #[test]
    fn a_demand_curve_follows_recent_steps() {
        let mut demand = DemandCurve::default();
        demand.note(0, 500);
        assert_eq!(demand.replicas_for(1.0), None, "a load of zero says nothing about others");
        let before = need_after(100, 100_000, 2_000, &mut demand);
        assert!((before - 2.0).abs() < 1e-4, "{before}");
        let after = need_after(100, 100_000, 4_000, &mut demand);
        assert!((3.8..=4.0).contains(&after), "{after}");
    }

    #[test]
    fn a_low_load_does_not_change_the_demand_of_a_high_one() {
        let mut demand = DemandCurve::default();
        need_after(100, 400_000, 8_000, &mut demand);
        // A nearly idle replica still uses a tenth of its target.
        need_after(1000, 1_000, 100, &mut demand);
        let day = demand.replicas_for(400.0).expect("it was observed");
        assert!((day - 8.0).abs() < 0.01, "{day}");
        let more = demand.replicas_for(3200.0).expect("it was observed");
        assert!((more - 64.0).abs() < 0.1, "in proportion to the highest observed octave: {more}");
    }
}
