//! Whether a service is scaled to zero: it has no replicas while there are no requests.
//!
//! Knative's autoscaler and activator decide this together (knative.dev, "Configuring scale to zero"). There is no grace period between them here,
//! as the proxy that counts the requests is also the one that lets them wait.

use knowledge::{Demand, ServiceState};
use model::input::Declared;
use model::settings::Settings;
use model::time::Time;

/// The state of a service that may scale to zero and is idle, or was until now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ToZeroState {
    /// There are no requests: it needs no replicas.
    Idle {
        /// The time of the last request; `None` when it was at zero already when this run began.
        since: Option<Time>,
    },
    /// It is at zero, and requests have arrived.
    Requested {
        /// Requests that wait for a replica.
        waiting: u32,
    },
}

impl ToZeroState {
    /// The state of `service`; `None` while it is in use, or where it never scales to zero.
    pub(crate) fn of(
        now: Time,
        service: &ServiceState,
        declared: &Declared,
        settings: &Settings,
    ) -> Option<Self> {
        let after = declared.spec.scale.to_zero?.after.as_duration();
        let had_requests = |demand: Demand| demand.last_request.is_some_and(|at| now.since(at) < after);
        if service.is_scaled_to_zero() {
            return Some(match service.demand {
                Some(demand) if had_requests(demand) => Self::Requested { waiting: demand.waiting },
                Some(demand) => Self::Idle { since: demand.last_request },
                None => Self::Idle { since: None },
            });
        }
        // Absent is not zero: without a report of the proxy it is not known whether requests arrive.
        let demand = service.demand.filter(|demand| now.since(demand.at) <= settings.sample_age_max)?;
        (!had_requests(demand)).then_some(Self::Idle { since: demand.last_request })
    }
}
