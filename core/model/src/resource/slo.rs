//! What a service promises to those who ask it, and is sized by.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Fraction, LearnedPrice, MetricIdentifier, MetricSpec, Problem, Quantity, REQUEST_RATE_METRIC, Span,
};

/// Shortest latency that can be promised: the loop tells sixteenths of it apart, and the proxy microseconds.
pub const PROMISE_MIN: Span = Span::from_millis(1);

/// Longest latency that can be promised: past four times of it the proxy's histogram ends.
pub const PROMISE_MAX: Span = Span::from_secs(30);

/// What a service promises its clients.
///
/// The service is sized to keep that at the lowest cost: by what one replica was seen to carry while the promise was kept, and by
/// how far the load was seen to rise while a replica starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Slo {
    /// How fast it answers.
    pub latency: LatencySlo,
    /// The share of the requests that should arrive while the service has the capacity to answer all within the promise,
    /// 0.5 to 0.9999. The higher, the more replicas stand by for a rise of the load. Default: 0.999.
    #[serde(default = "Slo::objective_default", skip_serializing_if = "Slo::is_objective_default")]
    pub objective: Fraction,
    /// How many requests a second one replica is assumed to carry until that has been learned. Above 0. Default: what the first
    /// minutes show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<Quantity>,
    /// A policy that `homeostat tune --policy learned` found on recorded load: how the price of a request that misses the promise
    /// is adjusted. Default: the price that follows from `objective` holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learned: Option<LearnedPrice>,
}

/// How fast a service answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LatencySlo {
    /// The share of the requests that are answered in time, 0.5 to 0.999: 0.95 promises a p95.
    pub quantile: Fraction,
    /// The time within which they are answered, from the head of the request to the end of the answer, as the proxy sees it.
    /// 1ms to 30s.
    pub below: Span,
}

impl Slo {
    const fn objective_default() -> Fraction {
        Fraction::from_millionths(999_000)
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
    fn is_objective_default(objective: &Fraction) -> bool {
        *objective == Self::objective_default()
    }

    /// What it looks at: the requests that come. The mean that a replica should have is what is declared, until more is known.
    pub fn metric(&self) -> MetricSpec {
        let metric = MetricIdentifier { name: REQUEST_RATE_METRIC.to_owned(), selector: None };
        MetricSpec::Pods { metric, average: self.capacity.unwrap_or(Quantity::from_milli(1000)) }
    }

    /// What is wrong with it at the path `at`.
    pub(super) fn problems(&self, at: &str) -> Vec<Problem> {
        let mut found = Vec::new();
        let mut share = |path: &str, share: Fraction, most: u32| {
            if !(500_000..=most).contains(&share.millionths()) {
                let most = Fraction::from_millionths(most);
                found.push(Problem::at(
                    format!("{at}.{path}"),
                    format!("must be between 0.5 and {most}, not {share}"),
                ));
            }
        };
        share("latency.quantile", self.latency.quantile, 999_000);
        share("objective", self.objective, 999_900);
        if !(PROMISE_MIN..=PROMISE_MAX).contains(&self.latency.below) {
            let text = format!("must be between {PROMISE_MIN} and {PROMISE_MAX}, not {}", self.latency.below);
            found.push(Problem::at(format!("{at}.latency.below"), text));
        }
        if let Some(capacity) = self.capacity.filter(|capacity| *capacity <= Quantity::ZERO) {
            let text = format!("a replica that serves carries more than {capacity} requests a second");
            found.push(Problem::at(format!("{at}.capacity"), text));
        }
        found.extend(self.learned.iter().flat_map(|learned| learned.problems(&format!("{at}.learned"))));
        found
    }
}

/// As `p99 < 200ms`.
impl std::fmt::Display for LatencySlo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let percent = f64::from(self.quantile.millionths()) / 10_000.0;
        write!(f, "p{percent} < {}", self.below)
    }
}
