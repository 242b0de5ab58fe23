//! The load of a service as it is remembered; after a restart a forecast learns from it again.

use std::time::Duration;

/// Most steps of load that are remembered: as many as a forecaster looks back on.
pub const LOAD_STEPS_MAX: usize = 16_384;

/// The load of a service, and the replicas that it needs, as remembered.
///
/// Bounded: 2 bytes a step, see [`LOAD_STEPS_MAX`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LoadRecord {
    /// What is taken for its load.
    pub source: LoadSource,
    /// How long a step is; at least 1 s.
    pub step: Duration,
    /// The number of the first step that is kept: its begin, divided by the length of a step.
    pub first: u64,
    /// The mean load of each step, in thousandths, oldest first.
    pub loads: Vec<StepLoad>,
    /// How many replicas a load needs.
    pub exchange: Exchange,
}

/// What is taken for the load of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LoadSource {
    /// Requests a second to its proxy.
    Requests,
    /// The replicas that the metrics of its autoscaler ask for, not rounded.
    Need,
}

/// How many replicas a load needs by the targets of the autoscaler, as observed at different loads.
///
/// Each doubling of the load has sums of its own: idle replicas use resources too, so that the needs of a low load say little about
/// a high one. At most 64 of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Exchange {
    /// Those that were seen, by their power.
    pub octaves: Vec<Octave>,
}

/// Loads between two powers of two, and the replicas that they needed: decaying sums over the same steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Octave {
    /// The power of two, in thousandths of the unit of the load.
    pub power: u8,
    /// Loads, in millionths of their unit.
    pub load: u64,
    /// What they needed, in millionths of a replica.
    pub need: u64,
}

/// The mean load of one step in 16 bits, or that it was not measured.
///
/// Thousandths up to 1024 as they are, larger ones to eleven binary digits: off by at most 0.05 %.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct StepLoad(u16);

/// Binary digits that are kept besides the first.
const DIGITS: u32 = 10;

impl StepLoad {
    /// It was not measured.
    pub const GAP: Self = Self(u16::MAX);

    /// The nearest to `milli`; the largest there is, for what is beyond it.
    #[must_use]
    pub fn of(milli: u64) -> Self {
        let Some(shift) = milli.checked_ilog2().and_then(|digits| digits.checked_sub(DIGITS)) else {
            return Self(u16::try_from(milli).unwrap_or(u16::MAX - 1));
        };
        let half = (1_u64 << shift) >> 1;
        // Rounding up may make a number of one digit more, which is the first of the next ones.
        let digits = milli.saturating_add(half) >> shift;
        let code = (u64::from(shift) << DIGITS) + digits;
        Self(u16::try_from(code).unwrap_or(u16::MAX - 1))
    }

    /// Thousandths; `None` when it was not measured.
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

    /// As it is stored.
    #[must_use]
    pub fn code(self) -> u16 {
        self.0
    }

    /// As it was stored. What never was is the gap.
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

/// Steps that weigh in an octave: the oldest by little.
const OCTAVE_STEPS: u64 = 32;

impl Exchange {
    /// Takes a step in which `load` needed `need` replicas, both in thousandths.
    pub fn note(&mut self, load: u64, need: u64) {
        let Some(power) = load.checked_ilog2().and_then(|power| u8::try_from(power).ok()) else { return };
        let at = self.octaves.binary_search_by_key(&power, |octave| octave.power).unwrap_or_else(|at| {
            self.octaves.insert(at, Octave { power, load: 0, need: 0 });
            at
        });
        let octave = &mut self.octaves[at];
        let kept = |sum: u64| sum - sum / OCTAVE_STEPS;
        octave.load = kept(octave.load).saturating_add(load.saturating_mul(1000));
        octave.need = kept(octave.need).saturating_add(need.saturating_mul(1000));
    }

    /// The replicas that `load` needs, both in wholes, not rounded: in proportion to the nearest octave seen that is not above it, or
    /// else to the lowest; `None` before any was seen.
    #[must_use]
    pub fn replicas_for(&self, load: f64) -> Option<f64> {
        let power = (load * 1000.0).max(1.0).log2();
        let is_below = |octave: &&Octave| f64::from(octave.power) <= power;
        let seen = self.octaves.iter().rev().find(is_below).or(self.octaves.first())?;
        Some(load * seen.need as f64 / seen.load.max(1) as f64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_load_is_kept_to_a_twentieth_of_a_per_cent(milli in prop_oneof![0..5000_u64, any::<u64>()]) {
            let kept = StepLoad::of(milli).milli().expect("it was measured");
            let off = kept.abs_diff(milli) as f64;
            prop_assert!(off <= milli as f64 * 0.0005, "{milli} is kept as {kept}");
            prop_assert_eq!(StepLoad::of(kept), StepLoad::of(milli), "it is kept as it was kept");
        }

        #[test]
        fn what_is_stored_comes_back(code in any::<u16>()) {
            let load = StepLoad::from_code(code);
            prop_assert_eq!(StepLoad::from_code(load.code()), load);
            if let Some(milli) = load.milli() {
                prop_assert_eq!(StepLoad::of(milli), load);
            }
        }
    }

    fn carried(steps: u32, load: u64, need: u64, exchange: &mut Exchange) -> f64 {
        (0..steps).for_each(|_| exchange.note(load, need));
        exchange.replicas_for(load as f64 / 1000.0).expect("it was carried")
    }

    #[test]
    fn an_exchange_follows_what_replicas_carry_now() {
        let mut exchange = Exchange::default();
        exchange.note(0, 500);
        assert_eq!(exchange.replicas_for(1.0), None, "what nothing needs says nothing of a load");
        let before = carried(100, 100_000, 2_000, &mut exchange);
        assert!((before - 2.0).abs() < 1e-4, "{before}");
        let after = carried(100, 100_000, 4_000, &mut exchange);
        assert!((3.8..=4.0).contains(&after), "{after}");
    }

    #[test]
    fn a_night_does_not_say_what_a_day_needs() {
        let mut exchange = Exchange::default();
        carried(100, 400_000, 8_000, &mut exchange);
        // A replica that does hardly anything needs a tenth of itself.
        carried(1000, 1_000, 100, &mut exchange);
        let day = exchange.replicas_for(400.0).expect("it was carried");
        assert!((day - 8.0).abs() < 0.01, "{day}");
        let more = exchange.replicas_for(3200.0).expect("it was carried");
        assert!((more - 64.0).abs() < 0.1, "in proportion to the highest that was seen: {more}");
    }
}
