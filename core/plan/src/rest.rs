//! Whether a service rests: no replicas while nobody asks for anything.
//!
//! What Knative's autoscaler and activator decide together (knative.dev, "Configuring scale to zero"), without a grace between them: the
//! proxy that counts the requests is the one that lets them wait.

use knowledge::{Demand, ServiceState};
use model::input::Declared;
use model::settings::Settings;
use model::time::Time;

/// What becomes of a service that may rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Nobody asks for anything: it needs no replicas.
    Idle {
        /// Since when; `None` when it rested already when this run began.
        since: Option<Time>,
    },
    /// It rested, and somebody asks.
    Over {
        /// Requests that wait.
        waiting: u32,
    },
}

impl Rest {
    /// `None` for a service that is awake and in use, or never rests.
    pub(crate) fn of(
        now: Time,
        service: &ServiceState,
        declared: &Declared,
        settings: &Settings,
    ) -> Option<Self> {
        let after = declared.spec.scale.to_zero?.after.as_duration();
        let was_asked = |demand: Demand| demand.asked.is_some_and(|asked| now.since(asked) < after);
        if service.rests() {
            return Some(match service.demand {
                Some(demand) if was_asked(demand) => Self::Over { waiting: demand.waiting },
                Some(demand) => Self::Idle { since: demand.asked },
                None => Self::Idle { since: None },
            });
        }
        // Absent is not zero: while the proxy does not tell, nobody knows whether somebody asks.
        let demand = service.demand.filter(|demand| now.since(demand.at) <= settings.sample_age_max)?;
        (!was_asked(demand)).then_some(Self::Idle { since: demand.asked })
    }
}
