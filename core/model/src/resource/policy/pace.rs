//! How often policies look, how many looks must agree, and how long a change rests.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Found;
use crate::resource::Span;

/// Evaluations that are remembered at most: an hour of one a minute.
pub const EVALUATIONS_MAX: u32 = 60;

/// Shortest time of an evaluation: the period of the loop.
const EVALUATION_MIN: Span = Span::from_secs(1);

/// Longest time of an evaluation, of a delay and of a cool-down: past an hour it is a typing error more often than a wish.
const WAIT_MAX: Span = Span::from_secs(3600);

/// How often a metric is evaluated, and how many evaluations must agree on a change.
///
/// An evaluation is the mean of what was measured during `every`. One during which nothing was measured agrees with nothing. What was
/// evaluated before a change of the size says nothing of the size after it and is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Evaluation {
    /// The time that one evaluation covers: it takes the metric's mean over it. 1s to 1h.
    pub every: Span,
    /// How many evaluations, the latest among them, must ask for a change in the same direction. 1 to 60.
    pub breaches: u32,
    /// Among how many of the latest evaluations `breaches` must be found. `breaches` to 60. Default: as many as `breaches`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<u32>,
}

impl Default for Evaluation {
    fn default() -> Self {
        Self { every: Span::from_secs(10), breaches: 3, of: None }
    }
}

impl Evaluation {
    /// Of how many latest evaluations [`Self::breaches`] must ask for a change.
    pub fn window(&self) -> u32 {
        self.of.unwrap_or(self.breaches)
    }

    pub(super) fn problems(&self, at: &str, found: &mut Found) {
        let at = format!("{at}.evaluation");
        found.within(&format!("{at}.every"), self.every, (EVALUATION_MIN, WAIT_MAX));
        found.between(&format!("{at}.breaches"), self.breaches, (1, EVALUATIONS_MAX));
        if let Some(of) = self.of {
            found.between(
                &format!("{at}.of"),
                of,
                (self.breaches.clamp(1, EVALUATIONS_MAX), EVALUATIONS_MAX),
            );
        }
    }
}

/// How long a change of the size rests before the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Cooldown {
    /// The wait after adding replicas before more are added. 0s to 1h.
    #[serde(rename = "out")]
    pub scale_out: Span,
    /// The wait after adding or removing replicas before some are removed. 0s to 1h. Scale-in is also stabilised, as `behavior`
    /// says.
    #[serde(rename = "in")]
    pub scale_in: Span,
}

impl Default for Cooldown {
    fn default() -> Self {
        Self { scale_out: Span::from_secs(60), scale_in: Span::ZERO }
    }
}

impl Cooldown {
    pub(super) fn problems(&self, at: &str, found: &mut Found) {
        delays(&format!("{at}.cooldown"), [("out", self.scale_out), ("in", self.scale_in)], found);
    }
}

/// Lengths of time that lie between none and an hour.
pub(super) fn delays<const N: usize>(at: &str, spans: [(&str, Span); N], found: &mut Found) {
    for (field, span) in spans {
        found.within(&format!("{at}.{field}"), span, (Span::ZERO, WAIT_MAX));
    }
}
