//! What the proxy is told of routes: all of it, each time.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::name::ServiceName;
use model::resource::{RouteSpec, ServiceSpec};

/// All routes that are kept, and the services that they lead to.
///
/// It is read from what the store holds and goes around the loop, which has nothing to decide about it. Being whole, it may be told again,
/// and a later one takes the place of an earlier one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routing {
    /// By name.
    pub routes: Vec<KeptRoute>,
    /// Those that a route names and that are declared.
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
