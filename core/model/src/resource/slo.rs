//! The service level objective by which a service is sized.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Fraction, LearnedPrice, MetricIdentifier, MetricSpec, Problem, Quantity, REQUEST_RATE_METRIC, Span,
};

/// The shortest latency threshold: the loop distinguishes sixteenths of it, and the proxy microseconds.
pub const SLO_LATENCY_MIN: Span = Span::from_millis(1);

/// The longest latency threshold: the proxy's histogram ends at four times this.
pub const SLO_LATENCY_MAX: Span = Span::from_secs(30);

/// The service level objective of a service.
///
/// The service is sized to meet it at the lowest cost: by the measured capacity of a replica within the SLO, and by the increases of the
/// load that were observed during the start of a replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Slo {
    /// The latency objective.
    pub latency: LatencySlo,
    /// The share of the requests that should arrive while the service has the capacity to answer all of them within the latency
    /// threshold, 0.5 to 0.9999. The higher, the more replicas are kept for an increase of the load. Default: 0.999.
    #[serde(default = "Slo::objective_default", skip_serializing_if = "Slo::is_objective_default")]
    pub objective: Fraction,
    /// The assumed capacity of a replica in requests a second until it is learned. Above 0. Default: the result of the first minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<Quantity>,
    /// A policy that `homeostat tune --policy learned` found on recorded load: it adjusts the price of a request that violates the SLO.
    /// Default: the price that follows from `objective`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learned: Option<LearnedPrice>,
}

/// The latency objective of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LatencySlo {
    /// The share of the requests that are answered in time, 0.5 to 0.999: 0.95 for a p95.
    pub quantile: Fraction,
    /// The latency threshold, from the head of the request to the end of the answer, as measured by the proxy. 1ms to 30s.
    pub below: Span,
}

impl Slo {
    const fn objective_default() -> Fraction {
        Fraction::from_millionths(999_000)
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "required by serde")]
    fn is_objective_default(objective: &Fraction) -> bool {
        *objective == Self::objective_default()
    }

    /// The metric of the policy: the request rate. The target is the declared capacity of a replica until it is learned.
    pub fn metric(&self) -> MetricSpec {
        let metric = MetricIdentifier { name: REQUEST_RATE_METRIC.to_owned(), selector: None };
        MetricSpec::Pods { metric, average: self.capacity.unwrap_or(Quantity::from_milli(1000)) }
    }

    /// Its problems at the path `at`.
    pub(super) fn problems(&self, at: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut share = |path: &str, share: Fraction, most: u32| {
            if !(500_000..=most).contains(&share.millionths()) {
                let most = Fraction::from_millionths(most);
                problems.push(Problem::at(
                    format!("{at}.{path}"),
                    format!("must be between 0.5 and {most}, not {share}"),
                ));
            }
        };
        share("latency.quantile", self.latency.quantile, 999_000);
        share("objective", self.objective, 999_900);
        if !(SLO_LATENCY_MIN..=SLO_LATENCY_MAX).contains(&self.latency.below) {
            let text = format!(
                "must be between {SLO_LATENCY_MIN} and {SLO_LATENCY_MAX}, not {}",
                self.latency.below
            );
            problems.push(Problem::at(format!("{at}.latency.below"), text));
        }
        if let Some(capacity) = self.capacity.filter(|capacity| *capacity <= Quantity::ZERO) {
            let text = format!("must be above 0, not {capacity}");
            problems.push(Problem::at(format!("{at}.capacity"), text));
        }
        problems.extend(self.learned.iter().flat_map(|learned| learned.problems(&format!("{at}.learned"))));
        problems
    }
}

/// As `p99 < 200ms`.
impl std::fmt::Display for LatencySlo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let percent = f64::from(self.quantile.millionths()) / 10_000.0;
        write!(f, "p{percent} < {}", self.below)
    }
}
