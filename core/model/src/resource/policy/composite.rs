//! Composite load: a weighted mean of metrics, each as a part of its target.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Found;
use crate::nearest;
use crate::resource::{MetricSpec, Quantity};

/// Heaviest that a metric weighs: what weighs less than a thousandth of another one says nothing beside it.
const WEIGHT_MAX: Quantity = Quantity::from_milli(1_000_000);

/// One load is made of all metrics: each is divided by its target, so that it should be 1, and the weighted mean of these is compared
/// with 1. So metrics below their targets can make up for one far above its own, which `hpa` never lets happen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct CompositePolicy {
    /// The weights of metrics, by name: 0 to 1000, at least one above 0. A metric that is not named has a weight of 1.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub weights: BTreeMap<String, Quantity>,
}

impl CompositePolicy {
    /// What the metric of this name weighs.
    pub fn weight(&self, name: &str) -> Quantity {
        self.weights.get(name).copied().unwrap_or(Quantity::from_milli(1000))
    }

    /// What is wrong with it as the policy at the path `at` over `metrics`.
    pub(super) fn problems(&self, at: &str, metrics: &[MetricSpec], found: &mut Found) {
        let names: Vec<&str> = metrics.iter().map(MetricSpec::name).collect();
        for (name, weight) in &self.weights {
            let path = format!("{at}.weights.{name}");
            match names.iter().filter(|known| *known == name).count() {
                0 => {
                    let meant =
                        nearest(name, names.iter().copied()).map(|it| format!("; did you mean {it}?"));
                    let known = format!("; there are {}", names.join(", "));
                    found.add(&path, format!("no metric here is called {name:?}{}", meant.unwrap_or(known)));
                }
                1 => {}
                several => {
                    let text =
                        format!("{several} metrics here are called {name:?}, and a weight is of one of them");
                    found.add(&path, text);
                }
            }
            if *weight < Quantity::ZERO || *weight > WEIGHT_MAX {
                found.add(&path, format!("a weight lies between 0 and {WEIGHT_MAX}, not {weight}"));
            }
        }
        if !names.is_empty() && names.iter().all(|name| self.weight(name) <= Quantity::ZERO) {
            found.add(
                at,
                "no metric weighs anything, so that nothing that is measured could change the number",
            );
        }
    }
}
