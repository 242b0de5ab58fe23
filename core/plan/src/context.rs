//! What a plan is made from.

use knowledge::{Knowledge, ServiceState};
use model::fact::Finding;
use model::settings::Settings;
use model::time::Now;

/// One service at one time, with everything else that is known then.
#[derive(Clone, Copy, Debug)]
pub struct PlanContext<'a> {
    /// When.
    pub now: Now,
    /// The whole picture.
    pub knowledge: &'a Knowledge,
    /// The service in it.
    pub service: &'a ServiceState,
    /// What is known of the service means this.
    pub findings: &'a [Finding],
    /// The numbers that the loop runs with.
    pub settings: &'a Settings,
}
