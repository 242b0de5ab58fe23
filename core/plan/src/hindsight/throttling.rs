//! A CPU limit that throttles replicas.

use knowledge::ServiceState;
use model::resource::Quantity;

use super::{Advice, Benefit, History, Kind, Remedy};
use crate::vertical;

/// The least share of throttled periods, in one minute of twenty, that advice is given on.
///
/// A quarter shows in more than the slowest hundredth of requests, and is the threshold of Kubernetes' usual alert (`CPUThrottlingHigh` of
/// kubernetes-mixin).
const SHARE_MIN: f64 = 0.25;

/// The largest advised amount, as a multiple of the declared one: where half of the periods or more are throttled, any amount may be needed,
/// and advice is given again.
const GROWTH_MAX: f64 = 2.0;

impl History<'_> {
    /// Advises more of the processor where replicas are throttled.
    ///
    /// Work that takes n periods is throttled in all of them but the last, so it would need n times the limit to finish in one.
    pub(super) fn throttled(&self, service: &ServiceState) -> Option<Advice> {
        let declared = self.spec.resources.cpu?;
        let is_limited = service.places.values().any(|place| place.throttle().is_some());
        let share = knowledge::throttled_share(&service.throttling, declared)?;
        // An hour of one replica, as before a recommended size is applied.
        if !is_limited || share < SHARE_MIN || service.throttling.minutes < vertical::INITIAL_SAMPLES {
            return None;
        }
        let growth = (1.0 / (1.0 - share)).min(GROWTH_MAX);
        let advised = Quantity::from_milli((declared.milli() as f64 * growth) as i64);
        let each = (advised.milli() - declared.milli()) as f64 / 1000.0;
        Some(Advice {
            kind: Kind::CpuThrottled,
            note: format!(
                "in at least one minute of twenty each replica used up its {declared} of the processor in {:.0} % of the kernel's periods and was \
                 throttled until the next one",
                share * 100.0
            ),
            benefit: Benefit::LackedCores(each * self.replicas(service)),
            remedy: Remedy::Cpu(advised),
        })
    }
}
