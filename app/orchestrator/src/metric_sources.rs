//! All declared metric sources, as the agent receives them.

use std::sync::Arc;

use model::name::ServiceName;
use model::resource::MetricSourceSpec;

/// All declared metric sources.
///
/// Like routes they bypass the loop. The loop receives their measurements as reports that name the source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetricSources {
    /// By name.
    pub sources: Vec<(ServiceName, Arc<MetricSourceSpec>)>,
}
