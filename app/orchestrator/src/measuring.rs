//! All sources of metrics, as the agent is told of them.

use std::sync::Arc;

use model::name::ServiceName;
use model::resource::MetricSourceSpec;

/// All sources of metrics that are kept.
///
/// Like routes they are read from the store and told to the agent without the loop. What a source measures comes back as a report,
/// which names what it is of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Measuring {
    /// By name.
    pub sources: Vec<(ServiceName, Arc<MetricSourceSpec>)>,
}
