//! How often policies evaluate a metric, how many evaluations must agree, and the cool-down after a change.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::PolicyProblems;
use crate::resource::Span;

/// The most remembered evaluations: an hour of one a minute.
pub const EVALUATIONS_MAX: u32 = 60;

/// The shortest evaluation: the period of the loop.
const EVALUATION_MIN: Span = Span::from_secs(1);

/// The longest evaluation, delay and cool-down: more than an hour is most likely a typing error.
const WAIT_MAX: Span = Span::from_secs(3600);

/// How often a metric is evaluated, and how many evaluations must agree on a change.
///
/// An evaluation is the mean of the metric during `every`. One without a measurement does not count as a breach. A change of the size
/// discards the evaluations before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Evaluation {
    /// The time of one evaluation, which is the metric's mean over it. 1s to 1h.
    pub every: Span,
    /// How many evaluations, including the latest, must require a change in the same direction. 1 to 60.
    pub breaches: u32,
    /// The number of latest evaluations among which `breaches` are counted. `breaches` to 60. Default: the same as `breaches`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<u32>,
}

impl Default for Evaluation {
    fn default() -> Self {
        Self { every: Span::from_secs(10), breaches: 3, of: None }
    }
}

impl Evaluation {
    /// The number of latest evaluations among which [`Self::breaches`] are counted.
    pub fn window(&self) -> u32 {
        self.of.unwrap_or(self.breaches)
    }

    pub(super) fn problems(&self, at: &str, problems: &mut PolicyProblems) {
        let at = format!("{at}.evaluation");
        problems.within(&format!("{at}.every"), self.every, (EVALUATION_MIN, WAIT_MAX));
        problems.between(&format!("{at}.breaches"), self.breaches, (1, EVALUATIONS_MAX));
        if let Some(of) = self.of {
            problems.between(
                &format!("{at}.of"),
                of,
                (self.breaches.clamp(1, EVALUATIONS_MAX), EVALUATIONS_MAX),
            );
        }
    }
}

/// The cool-down between two changes of the size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Cooldown {
    /// The wait after adding replicas before more are added. 0s to 1h.
    #[serde(rename = "out")]
    pub scale_out: Span,
    /// The wait after adding or removing replicas before some are removed. 0s to 1h. Scale-in is also stabilized, as declared in
    /// `behavior`.
    #[serde(rename = "in")]
    pub scale_in: Span,
}

impl Default for Cooldown {
    fn default() -> Self {
        Self { scale_out: Span::from_secs(60), scale_in: Span::ZERO }
    }
}

impl Cooldown {
    pub(super) fn problems(&self, at: &str, problems: &mut PolicyProblems) {
        delays(&format!("{at}.cooldown"), [("out", self.scale_out), ("in", self.scale_in)], problems);
    }
}

/// Checks that durations are between zero and an hour.
pub(super) fn delays<const N: usize>(at: &str, spans: [(&str, Span); N], problems: &mut PolicyProblems) {
    for (field, span) in spans {
        problems.within(&format!("{at}.{field}"), span, (Span::ZERO, WAIT_MAX));
    }
}
