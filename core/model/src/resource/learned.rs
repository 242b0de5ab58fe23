//! A learned adjustment of the price of an SLO violation, which otherwise follows from the objective alone.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Factor, Problem};

/// The version of the meaning of a [`LearnedPrice`]'s numbers; a change of meaning gets a new version.
pub const LEARNED_VERSION: u32 = 1;

/// A learned policy: the factor by which the price of a violated request, which follows from the objective, is multiplied for sizing.
///
/// Extra replicas are kept for a rise of the load as long as they cost less than the requests that would otherwise violate the SLO, each
/// counted at that price. The policy is found by a search over recorded load (`homeostat tune --policy learned`), not written by hand.
/// Outside of the recorded range the price of the objective holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LearnedPrice {
    /// The version of this format, 1.
    pub version: u32,
    /// What the price is multiplied by when replicas stand by for a rise as seen in the past, 0.001 to 1000.
    pub rises: Factor,
    /// What the price is multiplied by when replicas are started for a forecast load, 0.001 to 1000.
    pub forecast: Factor,
    /// How the price depends on the load, counted in replicas at full use.
    pub level: PriceSensitivity,
    /// How the price depends on the trend: the load divided by that of five minutes ago.
    pub trend: PriceSensitivity,
    /// How the price depends on how much the load varies: of each two successive minutes the larger load divided by the smaller,
    /// as a mean over five minutes.
    pub unrest: PriceSensitivity,
}

/// How the price depends on an observed value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PriceSensitivity {
    /// At `to` the price is multiplied by this, at `from` divided by it, and between them it changes geometrically.
    /// 0.001 to 1000.
    pub factor: Factor,
    /// The lowest value seen in the recorded load. Above 0. Below `from` and above `to` (by more than a tenth) the price that
    /// follows from `objective` holds.
    pub from: Factor,
    /// The highest value seen in the recorded load; at least `from`.
    pub to: Factor,
}

impl LearnedPrice {
    /// What is wrong with it at the path `at`.
    pub(super) fn problems(&self, at: &str) -> Vec<Problem> {
        let mut found = Vec::new();
        if self.version != LEARNED_VERSION {
            let text = format!(
                "must be {LEARNED_VERSION}, not {}; learn it again with this version of Homeostat",
                self.version
            );
            found.push(Problem::at(format!("{at}.version"), text));
        }
        let sensitivities = [("level", self.level), ("trend", self.trend), ("unrest", self.unrest)];
        let mut above_zero = |path: String, factor: Factor| {
            if f64::from(factor) <= 0.0 {
                found.push(Problem::at(format!("{at}.{path}"), "must be between 0.001 and 1000, not 0"));
            }
        };
        above_zero("rises".to_owned(), self.rises);
        above_zero("forecast".to_owned(), self.forecast);
        for (name, sensitivity) in sensitivities {
            above_zero(format!("{name}.factor"), sensitivity.factor);
            above_zero(format!("{name}.from"), sensitivity.from);
        }
        for (name, PriceSensitivity { from, to, .. }) in sensitivities {
            if from > to {
                let (from, to) = (f64::from(from), f64::from(to));
                found.push(Problem::at(
                    format!("{at}.{name}.to"),
                    format!("must be at least from, {from}, not {to}"),
                ));
            }
        }
        found
    }
}
