//! Whether a service is scaled to zero: it has no replicas while there are no requests.
//!
//! What Knative's autoscaler and activator decide together (knative.dev, "Configuring scale to zero"), without a grace between them: the
//! proxy that counts the requests is the one that lets them wait.

use knowledge::{Demand, ServiceState};
use model::input::Declared;
use model::settings::Settings;
use model::time::Time;

/// The state of a service that may scale to zero and is idle, or was until now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ToZeroState {
    /// There are no requests: it needs no replicas.
    Idle {
        /// Since when; `None` when it was at zero already when this run began.
        since: Option<Time>,
    },
    /// It was scaled to zero, and requests arrive.
    Requested {
        /// Requests that wait.
        waiting: u32,
    },
}

impl ToZeroState {
    /// `None` for a service that is in use, or never scales to zero.
    pub(crate) fn of(
        now: Time,
        service: &ServiceState,
        declared: &Declared,
        settings: &Settings,
    ) -> Option<Self> {
        let after = declared.spec.scale.to_zero?.after.as_duration();
        let was_asked = |demand: Demand| demand.last_request.is_some_and(|at| now.since(at) < after);
        if service.is_scaled_to_zero() {
            return Some(match service.demand {
                Some(demand) if was_asked(demand) => Self::Requested { waiting: demand.waiting },
                Some(demand) => Self::Idle { since: demand.last_request },
                None => Self::Idle { since: None },
            });
        }
        // Absent is not zero: while the proxy does not report, it is not known whether requests come.
        let demand = service.demand.filter(|demand| now.since(demand.at) <= settings.sample_age_max)?;
        (!was_asked(demand)).then_some(Self::Idle { since: demand.last_request })
    }
}
