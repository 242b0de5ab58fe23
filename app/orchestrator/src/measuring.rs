//! What the agent is told of sources of metrics: all of them, each time.

use std::sync::Arc;

use model::name::ServiceName;
use model::resource::MetricSourceSpec;

/// All sources of metrics that are kept.
///
/// As with routes, it is read from what the store holds and goes around the loop: what a source measures comes back to the loop as a
/// report, and says by itself what it is of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Measuring {
    /// By name.
    pub sources: Vec<(ServiceName, Arc<MetricSourceSpec>)>,
}
