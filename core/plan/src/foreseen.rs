//! What the load ahead asks for: a floor under the number that the metrics ask for.
//!
//! The floor is the fewest replicas with which the autoscaler would not add any, were the load as high as forecast. It joins the metrics before
//! stabilisation, bounds and rates, as if it were one more of them that never asks for fewer. While nothing has been better at forecasting the load
//! than its last value, there is no floor.

use std::time::Duration;

use forecast::Model;
use knowledge::{Expected, ServiceState, Unforeseen};
use model::decision::{Decision, Limit};
use model::memory::LoadSource;
use model::resource::ForecastMode;

use crate::scale::ratio::replicas_ceil;

/// The load ahead of a service, and what it needs.
#[derive(Clone, Debug)]
pub(crate) struct Foreseen {
    pub(crate) mode: ForecastMode,
    /// The probability that the load does not exceed what is expected.
    quantile: f64,
    /// How far ahead is looked.
    reach: Duration,
    source: LoadSource,
    said: Result<Expected, Unforeseen>,
    /// Replicas that the load expected needs by the targets of the autoscaler, not rounded; `None` before it was seen what a load needs.
    needed: Option<f64>,
}

/// Less of a replica is no load to be ahead of.
const NEGLIGIBLE: f64 = 0.05;

impl Foreseen {
    /// `None` for a service of which nothing is forecast.
    pub(crate) fn of(service: &ServiceState) -> Option<Box<Self>> {
        let foresight = service.foresight.as_ref()?;
        let rule = foresight.rule();
        let said = foresight.expected();
        Some(Box::new(Self {
            mode: rule.mode,
            quantile: rule.quantile.probability(),
            reach: foresight.reach(),
            source: foresight.source(),
            needed: said.ok().and_then(|expected| foresight.replicas_for(expected.load)),
            said,
        }))
    }

    /// The fewest replicas that may be recommended, where a ratio up to 1 + `tolerance` asks for no more; 0 while the forecast stays out of the way.
    pub(crate) fn floor(&self, tolerance: f64) -> u32 {
        match (&self.said, self.needed) {
            (Ok(Expected { by: Model::Persistence, .. }) | Err(_), _) | (_, None) => 0,
            // A quantile of no load at all is still above 0, and must not keep a replica for ever.
            (Ok(_), Some(needed)) if needed < NEGLIGIBLE => 0,
            (Ok(_), Some(needed)) => replicas_ceil(needed / (1.0 + tolerance)),
        }
    }

    /// What is forecast, and how good that is, or why nothing is.
    fn told(&self) -> String {
        let expected = match self.said {
            Ok(expected) => expected,
            Err(Unforeseen::New) => return "nothing is forecast yet: no step of load is over".to_owned(),
            Err(Unforeseen::Relearning { done, of }) => {
                return format!(
                    "nothing is forecast yet: {done} of {of} remembered steps of load are learned again"
                );
            }
        };
        let (percent, ahead) = ((self.quantile * 1000.0).round() / 10.0, self.reach.as_secs());
        let load = match self.source {
            LoadSource::Requests => format!("{:.1} requests a second", expected.load),
            LoadSource::Need => format!("a load of {:.2} replicas", expected.load),
        };
        let head = format!("with {percent} % at most {load} come within {ahead} s");
        match (expected.by, expected.loss_ratio, self.needed) {
            (Model::Persistence, Some(ratio), _) => {
                format!(
                    "{head}, but no model has beaten the last value (loss {ratio:.2} times its, of {} forecasts): it is not acted on",
                    expected.scored
                )
            }
            (Model::Persistence, None, _) => {
                format!("{head}, but no forecast could be scored yet: it is not acted on")
            }
            (by, _, None) => format!("{head} ({by}), but it was not seen yet how many replicas a load needs"),
            (by, ratio, Some(needed)) => {
                let ratio = ratio
                    .map_or_else(String::new, |ratio| format!(", loss {ratio:.2} times the last value's"));
                format!(
                    "{head} ({by}{ratio}, covered {:.1} %), which needs {needed:.2} replicas",
                    expected.coverage * 100.0
                )
            }
        }
    }

    /// The decision with what was forecast, and whether that `raised` its number, from one to the other.
    pub(crate) fn tell(&self, raised: Option<(u32, u32)>, mut decision: Decision) -> Decision {
        let told = self.told();
        let (from, to, note) = match (raised, self.mode) {
            (Some((from, to)), _) => (from, to, told),
            (None, ForecastMode::Shadow) => {
                (decision.desired, decision.desired, format!("{told}; its mode is shadow, without effect"))
            }
            (None, ForecastMode::On | ForecastMode::Off) => {
                (decision.desired, decision.desired, format!("{told}; it changes nothing"))
            }
        };
        // The first of the limits: it comes right after the metrics.
        decision.limits.insert(0, Limit { name: "Forecast", from, to, note: note.into() });
        decision
    }
}
