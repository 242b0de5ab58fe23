//! How a number of replicas follows from what the metrics measure.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a number of replicas follows from what the metrics measure. Stabilisation, bounds and rates come after it, whichever it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ScalePolicy {
    /// Kubernetes' algorithm: each metric asks for replicas in the ratio of measured to wanted, and the one that asks for most wins. So one
    /// metric suffices to scale out, and all must agree to scale in.
    #[default]
    Hpa,
    /// As `hpa`, but all metrics must ask for more before there are more, and the one that asks for least of it wins. While they
    /// disagree, or one of them cannot be measured, the number stays.
    Unanimous,
}

impl ScalePolicy {
    /// Whether it is Kubernetes' own.
    pub fn is_hpa(&self) -> bool {
        *self == Self::Hpa
    }
}
