//! All routes, as the agent is told of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::name::ServiceName;
use model::resource::{RouteSpec, ServiceSpec};

/// All routes that are kept, and the services that they lead to.
///
/// Read from the store and told to the agent without the loop, which has nothing to decide about it. Always whole: it may be told
/// again, and replaces what was told before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routing {
    /// By name.
    pub routes: Vec<KeptRoute>,
    /// The declared services that routes name.
    pub services: BTreeMap<ServiceName, Arc<ServiceSpec>>,
}

/// A route as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptRoute {
    /// Its name.
    pub name: ServiceName,
    /// Grows with each resource that is created.
    pub created: u64,
    /// What it asks for.
    pub spec: Arc<RouteSpec>,
}
