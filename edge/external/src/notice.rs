//! Notices about the files of balancers.

use std::sync::Arc;

use model::name::ServiceName;

/// A notice about a file, for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The service whose replicas are in the file.
    pub service: ServiceName,
    /// Whether it is a warning.
    pub is_warning: bool,
    /// What happened.
    pub message: String,
}

/// Receives notices. Called in a task; must not block.
pub type Notify = Arc<dyn Fn(Notice) + Send + Sync>;
