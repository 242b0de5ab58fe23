//! The learned policy of a service that promises something: the weights of its price, searched for on a recording.

use std::cell::RefCell;
use std::rc::Rc;

use fluid::policy::declaration::{Declaration, LoadFeatures};
use fluid::{Policy, PolicyInput};
use model::resource::{
    Count, Factor, LEARNED_VERSION, LearnedPrice, PriceSensitivity, Resource, ScalePolicy, Slo,
};

/// Numbers that are searched for: the weights of rises and forecasts, and what the price leans on each sign.
pub(crate) const WEIGHTS: usize = 5;

/// The least and the most of a sign that can be written; beyond it SLO-first decides.
const SIGN_MIN: f64 = 0.001;
const SIGN_MAX: f64 = 1000.0;

/// What the features were on the part that is searched on, each from its least to its most; `None` before the first.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Ranges(Option<[(f64, f64); 3]>);

/// A policy that notes what is seen of the load while it decides.
pub(crate) struct FeatureRecorder {
    pub(crate) policy: Declaration,
    pub(crate) seen: Rc<RefCell<Ranges>>,
}

impl Policy for FeatureRecorder {
    fn wanted(&mut self, input: &PolicyInput<'_>) -> u32 {
        let wanted = self.policy.wanted(input);
        if let Some(features) = self.policy.features(input.service) {
            self.seen.borrow_mut().take(features);
        }
        wanted
    }
}

impl Ranges {
    fn take(&mut self, features: LoadFeatures) {
        let values = features.each().map(|(_, value)| value);
        let ranges = self.0.get_or_insert(values.map(|value| (value, value)));
        for ((least, most), value) in ranges.iter_mut().zip(values) {
            (*least, *most) = (least.min(value), most.max(value));
        }
    }

    /// The policy with these weights, each a power of two; `None` before anything was seen, and where it cannot be written.
    pub(crate) fn policy(&self, weights: &[f64]) -> Option<LearnedPrice> {
        let &[rises, forecast, level, trend, unrest] = weights else { return None };
        let times = |power: f64| Factor::try_from(power.exp2()).ok();
        let leaning = |(least, most): (f64, f64), power: f64| {
            let from = Factor::try_from(least.clamp(SIGN_MIN, SIGN_MAX)).ok()?;
            Some(PriceSensitivity {
                factor: times(power)?,
                from,
                to: Factor::try_from(most.min(SIGN_MAX)).ok()?.max(from),
            })
        };
        let [of_level, of_trend, of_unrest] = self.0?;
        Some(LearnedPrice {
            version: LEARNED_VERSION,
            rises: times(rises)?,
            forecast: times(forecast)?,
            level: leaning(of_level, level)?,
            trend: leaning(of_trend, trend)?,
            unrest: leaning(of_unrest, unrest)?,
        })
    }
}

/// What `resource` promises, where it is sized by that.
pub(crate) fn promise_of(resource: &mut Resource) -> Option<&mut Slo> {
    let Resource::Service(service) = resource else { return None };
    let Count::Auto(auto) = &mut service.spec.scale.count else { return None };
    if let ScalePolicy::Slo(slo) = &mut auto.policy { Some(slo) } else { None }
}
