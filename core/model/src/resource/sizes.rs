//! The numbers of replicas that a service may have, where not every number is useful: quorums, shards, pairs.

use std::fmt;
use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Bounds, REPLICAS_MAX};

/// Most sizes in a list: three times as many as there are powers of two up to the most replicas (20).
pub const SIZES_MAX: usize = 64;

/// The numbers of replicas that a service may have, within its bounds. 0 is always allowed: the service is turned off or scaled to zero.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "SizesFields", into = "SizesFields")]
pub enum Sizes {
    /// 1, 3, 5 and so on: for quorums.
    Odd,
    /// 1, 2, 4, 8 and so on.
    PowersOfTwo,
    /// Multiples of a number.
    MultiplesOf(NonZeroU32),
    /// These numbers: at least one, in ascending order, without duplicates, none of them 0.
    OneOf(Vec<u32>),
}

/// A number of replicas that was rounded to an allowed size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RoundedSize {
    /// The number itself is an allowed size.
    Exact(u32),
    /// The next allowed size above it.
    Up(u32),
    /// The largest allowed size within the bounds: there is none from the number up.
    Down(u32),
    /// No allowed size lies within the bounds, which take precedence: the number itself.
    NoneAllowed(u32),
}

impl RoundedSize {
    /// The resulting number of replicas.
    pub const fn replicas(self) -> u32 {
        match self {
            Self::Exact(replicas)
            | Self::Up(replicas)
            | Self::Down(replicas)
            | Self::NoneAllowed(replicas) => replicas,
        }
    }
}

impl Sizes {
    /// Whether a service may have this many replicas.
    pub fn allows(&self, replicas: u32) -> bool {
        replicas == 0 || self.next_from(replicas) == Some(replicas)
    }

    /// Rounds `replicas` up to an allowed size, within `bounds`.
    ///
    /// Up, because too many replicas cost money and too few cost requests. If no allowed size lies between the number and the upper
    /// bound, the result is the largest one below; if none lies within the bounds at all, the number is not changed.
    pub fn round(&self, replicas: u32, bounds: Bounds) -> RoundedSize {
        if self.allows(replicas) {
            return RoundedSize::Exact(replicas);
        }
        let within = |size: &u32| (bounds.min..=bounds.max).contains(size);
        if let Some(size) = self.next_from(replicas).filter(within) {
            return RoundedSize::Up(size);
        }
        let below = self.last_up_to(bounds.max.min(replicas)).filter(within);
        below.map_or(RoundedSize::NoneAllowed(replicas), RoundedSize::Down)
    }

    /// Whether an allowed size above 0 lies within `bounds`, or the bounds allow only 0.
    pub fn has_any_within(&self, bounds: Bounds) -> bool {
        bounds.max == 0 || self.next_from(bounds.min.max(1)).is_some_and(|size| size <= bounds.max)
    }

    /// The smallest allowed size that is not below `replicas`.
    fn next_from(&self, replicas: u32) -> Option<u32> {
        match self {
            Self::Odd => Some(replicas | 1),
            Self::PowersOfTwo => replicas.checked_next_power_of_two(),
            Self::MultiplesOf(step) => replicas.checked_next_multiple_of(step.get()),
            Self::OneOf(sizes) => sizes.iter().copied().find(|size| *size >= replicas),
        }
    }

    /// The largest allowed size above 0 that is not above `replicas`; `None` when there is none.
    fn last_up_to(&self, replicas: u32) -> Option<u32> {
        let size = match self {
            Self::Odd => replicas.checked_sub(1).map(|below| below | 1),
            Self::PowersOfTwo => replicas.checked_ilog2().map(|power| 1 << power),
            Self::MultiplesOf(step) => Some(replicas - replicas % step.get()),
            Self::OneOf(sizes) => sizes.iter().copied().rfind(|size| *size <= replicas),
        };
        size.filter(|size| *size > 0)
    }
}

/// Such as `odd numbers`.
impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Odd => f.write_str("odd numbers"),
            Self::PowersOfTwo => f.write_str("powers of two"),
            Self::MultiplesOf(step) => write!(f, "multiples of {step}"),
            Self::OneOf(sizes) => {
                let sizes: Vec<String> = sizes.iter().map(u32::to_string).collect();
                write!(f, "the numbers {}", sizes.join(", "))
            }
        }
    }
}

/// Which numbers of replicas the service may have: one of `only`, `multiplesOf` and `oneOf`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct SizesFields {
    /// Only the numbers of this kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    only: Option<SizeRule>,
    /// Only multiples of this number, 1 to 1000000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    multiples_of: Option<u32>,
    /// Only these numbers, at most 64 of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    one_of: Option<Vec<u32>>,
}

/// A rule for numbers of replicas.
#[derive(Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
enum SizeRule {
    /// 1, 3, 5 and so on.
    Odd,
    /// 1, 2, 4, 8 and so on.
    PowersOfTwo,
}

/// Why the fields of `sizes` are invalid.
#[derive(Debug, thiserror::Error)]
enum SizesError {
    #[error("give exactly one of only, multiplesOf and oneOf")]
    Alternatives,
    #[error("multiplesOf must be between 1 and {REPLICAS_MAX}, not {step}")]
    Step { step: u32 },
    #[error("oneOf lists 1 to {SIZES_MAX} sizes, not {found}")]
    Listed { found: usize },
    #[error("a size in oneOf must be between 1 and {REPLICAS_MAX}, not {size}")]
    Size { size: u32 },
}

impl TryFrom<SizesFields> for Sizes {
    type Error = SizesError;

    fn try_from(fields: SizesFields) -> Result<Self, SizesError> {
        match (fields.only, fields.multiples_of, fields.one_of) {
            (Some(SizeRule::Odd), None, None) => Ok(Self::Odd),
            (Some(SizeRule::PowersOfTwo), None, None) => Ok(Self::PowersOfTwo),
            (None, Some(step), None) => NonZeroU32::new(step)
                .filter(|step| step.get() <= REPLICAS_MAX)
                .map(Self::MultiplesOf)
                .ok_or(SizesError::Step { step }),
            (None, None, Some(sizes)) => listed(sizes),
            (_, _, _) => Err(SizesError::Alternatives),
        }
    }
}

fn listed(mut sizes: Vec<u32>) -> Result<Sizes, SizesError> {
    if !(1..=SIZES_MAX).contains(&sizes.len()) {
        return Err(SizesError::Listed { found: sizes.len() });
    }
    if let Some(size) = sizes.iter().find(|size| !(1..=REPLICAS_MAX).contains(*size)) {
        return Err(SizesError::Size { size: *size });
    }
    sizes.sort_unstable();
    sizes.dedup();
    Ok(Sizes::OneOf(sizes))
}

impl From<Sizes> for SizesFields {
    fn from(sizes: Sizes) -> Self {
        let nothing = Self { only: None, multiples_of: None, one_of: None };
        match sizes {
            Sizes::Odd => Self { only: Some(SizeRule::Odd), ..nothing },
            Sizes::PowersOfTwo => Self { only: Some(SizeRule::PowersOfTwo), ..nothing },
            Sizes::MultiplesOf(step) => Self { multiples_of: Some(step.get()), ..nothing },
            Sizes::OneOf(sizes) => Self { one_of: Some(sizes), ..nothing },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn steps_of(step: u32) -> Sizes {
        Sizes::MultiplesOf(NonZeroU32::new(step).expect("not 0"))
    }

    fn within(min: u32, max: u32) -> Bounds {
        Bounds { min, max }
    }

    #[test]
    fn a_number_is_rounded_up_to_the_next_allowed_size() {
        assert_eq!(Sizes::Odd.round(4, within(1, 9)), RoundedSize::Up(5));
        assert_eq!(Sizes::PowersOfTwo.round(5, within(1, 9)), RoundedSize::Up(8));
        assert_eq!(steps_of(3).round(4, within(1, 9)), RoundedSize::Up(6));
        assert_eq!(Sizes::OneOf(vec![2, 7]).round(3, within(1, 9)), RoundedSize::Up(7));
    }

    #[test]
    fn an_allowed_size_stays() {
        for (sizes, size) in [(Sizes::Odd, 3), (Sizes::PowersOfTwo, 4), (steps_of(3), 6), (Sizes::Odd, 0)] {
            assert_eq!(sizes.round(size, within(0, 9)), RoundedSize::Exact(size), "{sizes}");
        }
    }

    #[test]
    fn a_number_above_the_last_allowed_size_is_rounded_down() {
        assert_eq!(Sizes::Odd.round(8, within(1, 8)), RoundedSize::Down(7));
        assert_eq!(Sizes::PowersOfTwo.round(15, within(1, 15)), RoundedSize::Down(8));
        assert_eq!(steps_of(4).round(11, within(1, 11)), RoundedSize::Down(8));
        assert_eq!(Sizes::OneOf(vec![2, 7]).round(8, within(1, 9)), RoundedSize::Down(7));
    }

    #[test]
    fn without_an_allowed_size_within_the_bounds_the_number_stays() {
        assert_eq!(Sizes::Odd.round(4, within(4, 4)), RoundedSize::NoneAllowed(4));
        assert_eq!(steps_of(10).round(4, within(2, 8)), RoundedSize::NoneAllowed(4));
        assert!(!steps_of(10).has_any_within(within(0, 8)), "0 alone is no usable size");
        assert!(Sizes::Odd.has_any_within(within(0, 0)), "bounds of 0 need no size");
    }

    #[test]
    fn a_list_is_sorted_and_deduplicated() {
        let sizes: Sizes = serde_json::from_str(r#"{"oneOf": [7, 1, 3, 3]}"#).unwrap();
        assert_eq!(sizes, Sizes::OneOf(vec![1, 3, 7]));
    }

    #[test]
    fn empty_contradictory_and_out_of_range_sizes_are_refused() {
        for wrong in [
            "{}",
            r#"{"only": "odd", "multiplesOf": 2}"#,
            r#"{"multiplesOf": 0}"#,
            r#"{"multiplesOf": 1000001}"#,
            r#"{"oneOf": []}"#,
            r#"{"oneOf": [0]}"#,
            r#"{"only": "even"}"#,
        ] {
            assert!(serde_json::from_str::<Sizes>(wrong).is_err(), "{wrong}");
        }
    }

    fn any_sizes() -> impl Strategy<Value = Sizes> {
        prop_oneof![
            Just(Sizes::Odd),
            Just(Sizes::PowersOfTwo),
            (1..20_u32).prop_map(steps_of),
            proptest::collection::btree_set(1..40_u32, 1..6)
                .prop_map(|sizes| Sizes::OneOf(sizes.into_iter().collect())),
        ]
    }

    proptest! {
        /// The reference tries every number between the bounds.
        #[test]
        fn rounding_finds_the_next_allowed_size_within_the_bounds(
            sizes in any_sizes(),
            (min, max) in (0..30_u32, 0..30_u32).prop_map(|(a, b)| (a.min(b), a.max(b))),
            part in 0.0..=1.0,
        ) {
            let replicas = min + (f64::from(max - min) * part) as u32;
            let allowed: Vec<u32> = (min..=max).filter(|size| sizes.allows(*size)).collect();
            let up = allowed.iter().copied().find(|size| *size >= replicas);
            let expected = up.or(allowed.iter().copied().rfind(|size| *size > 0)).unwrap_or(replicas);
            let rounded = sizes.round(replicas, within(min, max));
            prop_assert_eq!(rounded.replicas(), expected);
            prop_assert_eq!(sizes.round(expected, within(min, max)).replicas(), expected, "rounding twice changes nothing");
            let is_any = allowed.iter().any(|size| *size > 0) || max == 0;
            prop_assert_eq!(sizes.has_any_within(within(min, max)), is_any);
        }

        #[test]
        fn rounding_is_monotonic(sizes in any_sizes(), a in 0..40_u32, b in 0..40_u32) {
            let bounds = within(0, 40);
            let (less, more) = (a.min(b), a.max(b));
            prop_assert!(sizes.round(less, bounds).replicas() <= sizes.round(more, bounds).replicas());
        }
    }
}
