//! Composite load: a weighted mean of the ratios of metrics to their targets.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::PolicyProblems;
use crate::nearest;
use crate::resource::{MetricSpec, Quantity};

/// The largest weight: a weight below a thousandth of another one has no effect.
const WEIGHT_MAX: Quantity = Quantity::from_milli(1_000_000);

/// The load is the weighted mean of the ratios of all metrics to their targets, and should be 1. So metrics below their targets can
/// compensate for one far above its own, unlike with `hpa`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct CompositePolicy {
    /// The weights of metrics, by name: 0 to 1000, at least one above 0. A metric that is not named has a weight of 1.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub weights: BTreeMap<String, Quantity>,
}

impl CompositePolicy {
    /// The weight of the metric of this name.
    pub fn weight(&self, name: &str) -> Quantity {
        self.weights.get(name).copied().unwrap_or(Quantity::from_milli(1000))
    }

    /// The problems of this policy at the path `at` over `metrics`.
    pub(super) fn problems(&self, at: &str, metrics: &[MetricSpec], problems: &mut PolicyProblems) {
        let names: Vec<&str> = metrics.iter().map(MetricSpec::name).collect();
        for (name, weight) in &self.weights {
            let path = format!("{at}.weights.{name}");
            match names.iter().filter(|known| *known == name).count() {
                0 => {
                    let suggestion =
                        nearest(name, names.iter().copied()).map(|it| format!("; did you mean {it}?"));
                    let known = format!("; the metrics are {}", names.join(", "));
                    problems
                        .add(&path, format!("there is no metric {name:?}{}", suggestion.unwrap_or(known)));
                }
                1 => {}
                several => {
                    let text = format!("{several} metrics are named {name:?}, so the weight is ambiguous");
                    problems.add(&path, text);
                }
            }
            if *weight < Quantity::ZERO || *weight > WEIGHT_MAX {
                problems.add(&path, format!("a weight must be between 0 and {WEIGHT_MAX}, not {weight}"));
            }
        }
        if !names.is_empty() && names.iter().all(|name| self.weight(name) <= Quantity::ZERO) {
            problems.add(at, "all weights are 0, so no measurement can change the number of replicas");
        }
    }
}
