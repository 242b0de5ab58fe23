//! All sources of metrics, as the agent gets them.

use std::sync::Arc;

use model::name::ServiceName;
use model::resource::MetricSourceSpec;

/// All declared sources of metrics.
///
/// Like routes they go from the store to the agent around the loop. What a source measures comes back as a report that names the source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetricSources {
    /// By name.
    pub sources: Vec<(ServiceName, Arc<MetricSourceSpec>)>,
}
