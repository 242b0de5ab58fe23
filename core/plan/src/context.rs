//! The input of a plan.

use knowledge::{Knowledge, ServiceState};
use model::fact::Finding;
use model::settings::Settings;
use model::time::Now;

/// A service at one time, with everything else that is known.
#[derive(Clone, Copy, Debug)]
pub struct PlanContext<'a> {
    /// The time of the plan.
    pub now: Now,
    /// All services, nodes and readings.
    pub knowledge: &'a Knowledge,
    /// The service that is planned for; one of `knowledge`.
    pub service: &'a ServiceState,
    /// What analysis concludes about the service.
    pub findings: &'a [Finding],
    /// The settings of the loop.
    pub settings: &'a Settings,
}
