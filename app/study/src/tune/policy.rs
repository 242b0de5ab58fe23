//! The learned policy of a service with an SLO: the weights of its price, searched on a recording.

use std::cell::RefCell;
use std::rc::Rc;

use fluid::policy::declaration::{Declaration, LoadFeatures};
use fluid::{Policy, PolicyInput};
use model::resource::{
    Count, Factor, LEARNED_VERSION, LearnedPrice, PriceSensitivity, Resource, ScalePolicy, Slo,
};

/// The number of weights: of rises, of forecasts, and of the dependence of the price on each feature.
pub(crate) const WEIGHTS: usize = 5;

/// The range of a feature that can be declared; outside of it SLO-first decides.
const FEATURE_MIN: f64 = 0.001;
const FEATURE_MAX: f64 = 1000.0;

/// The range of each load feature over the searched part; `None` before the first value.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Ranges(Option<[(f64, f64); 3]>);

/// A policy that records the ranges of the load features while it decides.
pub(crate) struct FeatureRecorder {
    pub(crate) policy: Declaration,
    pub(crate) ranges: Rc<RefCell<Ranges>>,
}

impl Policy for FeatureRecorder {
    fn wanted(&mut self, input: &PolicyInput<'_>) -> u32 {
        let wanted = self.policy.wanted(input);
        if let Some(features) = self.policy.features(input.service) {
            self.ranges.borrow_mut().record(features);
        }
        wanted
    }
}

impl Ranges {
    fn record(&mut self, features: LoadFeatures) {
        let values = features.each().map(|(_, value)| value);
        let ranges = self.0.get_or_insert(values.map(|value| (value, value)));
        for ((least, most), value) in ranges.iter_mut().zip(values) {
            (*least, *most) = (least.min(value), most.max(value));
        }
    }

    /// The policy with these weights, each an exponent of two; `None` without ranges, and when it cannot be declared.
    pub(crate) fn policy(&self, weights: &[f64]) -> Option<LearnedPrice> {
        let &[rises, forecast, level, trend, unrest] = weights else { return None };
        let factor = |exponent: f64| Factor::try_from(exponent.exp2()).ok();
        let dependence = |(least, most): (f64, f64), exponent: f64| {
            let from = Factor::try_from(least.clamp(FEATURE_MIN, FEATURE_MAX)).ok()?;
            Some(PriceSensitivity {
                factor: factor(exponent)?,
                from,
                to: Factor::try_from(most.min(FEATURE_MAX)).ok()?.max(from),
            })
        };
        let [of_level, of_trend, of_unrest] = self.0?;
        Some(LearnedPrice {
            version: LEARNED_VERSION,
            rises: factor(rises)?,
            forecast: factor(forecast)?,
            level: dependence(of_level, level)?,
            trend: dependence(of_trend, trend)?,
            unrest: dependence(of_unrest, unrest)?,
        })
    }
}

/// The SLO by which `resource` scales, if it does.
pub(crate) fn slo_of(resource: &mut Resource) -> Option<&mut Slo> {
    let Resource::Service(service) = resource else { return None };
    let Count::Auto(auto) = &mut service.spec.scale.count else { return None };
    if let ScalePolicy::Slo(slo) = &mut auto.policy { Some(slo) } else { None }
}
