//! All routes, as the agent gets them.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::name::ServiceName;
use model::resource::{RouteSpec, ServiceSpec};

/// All declared routes, and the services that they lead to.
///
/// They go from the store to the agent around the loop, which has nothing to decide about them. Always complete: it may be sent again,
/// and replaces what was sent before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routing {
    /// By name.
    pub routes: Vec<RouteEntry>,
    /// The declared services that routes name.
    pub services: BTreeMap<ServiceName, Arc<ServiceSpec>>,
}

/// A declared route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteEntry {
    /// Its name.
    pub name: ServiceName,
    /// Orders routes by creation: it grows with each created resource.
    pub created: u64,
    /// Its declaration.
    pub spec: Arc<RouteSpec>,
}
