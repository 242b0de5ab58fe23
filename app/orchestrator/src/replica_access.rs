//! How the replicas of each version of a service are reached and probed, as the agent receives it.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::identity::Generation;
use model::name::ServiceName;
use model::resource::{Port, PortName, Probes, Protocol, ProxyVersion, ServiceSpec};
use serde::{Deserialize, Serialize};

/// How the replicas of a version are reached and probed: as it was last declared while the version was the declared one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaAccess {
    /// Their ports.
    #[serde(default)]
    pub ports: Vec<Port>,
    /// Their probes.
    #[serde(default)]
    pub probes: Probes,
    /// The port that `expose` names; `None` when the service is not exposed.
    pub exposed_port: Option<PortName>,
    /// The version of the PROXY header that connections to them begin with.
    pub proxy_header: Option<ProxyVersion>,
}

impl ReplicaAccess {
    /// The access to replicas that run this spec.
    pub fn of(spec: &ServiceSpec) -> Self {
        Self {
            ports: spec.ports.clone(),
            probes: spec.probes.clone(),
            exposed_port: spec.exposed_port().map(|port| port.name.clone()),
            proxy_header: spec.expose.as_ref().and_then(|expose| expose.proxy_protocol.send),
        }
    }

    /// The first TCP port, which is used where no port is named.
    pub fn first_port(&self) -> Option<&PortName> {
        self.ports.iter().find(|port| port.protocol.is_over_tcp()).map(|port| &port.name)
    }

    /// The protocol of a port; `None` when there is no such port.
    pub fn protocol(&self, name: &PortName) -> Option<Protocol> {
        self.ports.iter().find(|port| port.name == *name).map(|port| port.protocol)
    }
}

/// The declared version of each service, and the earlier ones that are recorded.
///
/// They bypass the loop, which makes no decisions about them. Always complete: it replaces what was sent before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Versions {
    /// By service and generation.
    pub services: BTreeMap<ServiceName, BTreeMap<Generation, Arc<ReplicaAccess>>>,
}

impl Versions {
    /// The access to the replicas of a version; `None` when it is not known.
    pub fn get(&self, service: &ServiceName, generation: Generation) -> Option<&Arc<ReplicaAccess>> {
        self.services.get(service)?.get(&generation)
    }
}
