//! All declared routes, as the agent receives them.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::name::ServiceName;
use model::resource::{RouteSpec, ServiceSpec};

/// All declared routes, and the services that they name.
///
/// They bypass the loop, which makes no decisions about them. Always complete: it replaces what was sent before.
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
    /// The revision of the store in which it was created; orders routes by age.
    pub created: u64,
    /// Its declaration.
    pub spec: Arc<RouteSpec>,
}
