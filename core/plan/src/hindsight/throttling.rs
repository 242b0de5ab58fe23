//! A limit of the processor that makes replicas wait.

use knowledge::ServiceState;
use model::resource::Quantity;

use super::{Advice, Kind, Remedy, View, Worth};
use crate::vertical;

/// A quarter of the kernel's windows in one minute of twenty is more than the slowest hundredth of requests hides, and is where Kubernetes'
/// usual alert begins (`CPUThrottlingHigh` of kubernetes-mixin).
const SHARE_MIN: f64 = 0.25;

/// Most that is advised, in times of what is declared: what is used up in every second window or more may need any amount, and is looked at again.
const GROWTH_MAX: f64 = 2.0;

impl View<'_> {
    /// More of the processor, where replicas are held back by what they have.
    ///
    /// Work that takes several windows waits in all of them but the last: what it needs in one is as many times what it has as there are windows.
    pub(super) fn throttled(&self, service: &ServiceState) -> Option<Advice> {
        let declared = self.spec.resources.cpu?;
        let is_held = service.places.values().any(|place| place.throttle().is_some());
        let share = knowledge::throttled_share(&service.throttling, declared)?;
        // Of an hour of one replica, as before a size is given to replicas.
        if !is_held || share < SHARE_MIN || service.throttling.minutes < vertical::INITIAL_SAMPLES {
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
            worth: Worth::LackedCores(each * self.replicas(service)),
            remedy: Remedy::Cpu(advised),
        })
    }
}
