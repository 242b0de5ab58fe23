//! The agent's state of its node: services, replicas, routes, and the orders that they depend on.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use model::action::{Action, ActionKind, Admission, Refusal};
use model::identity::{ActionId, Incarnation, Ordinal, ReplicaId};
use model::input::{Declared, Observed, ReplicaState};
use model::name::ServiceName;
use model::resource::{PortName, Probes, ServiceSpec};
use orchestrator::{ReplicaAccess, Routing, Versions};
use platform::{Life, LifeState};
use tokio_util::sync::CancellationToken;

/// The state of the node.
#[derive(Debug, Default)]
pub(crate) struct KnownNode {
    pub(crate) services: BTreeMap<ServiceName, KnownService>,
    /// The versions of all declared services.
    pub(crate) versions: Arc<Versions>,
    /// The routes that the proxy applies.
    pub(crate) routes: KnownRoutes,
    /// The latest action that this node has received.
    latest: ActionId,
    /// Starts in progress: the platform may or may not list them yet.
    starting: BTreeSet<ActionId>,
}

/// The declared routes, and the state of their listeners.
#[derive(Debug, Default)]
pub(crate) struct KnownRoutes {
    pub(crate) routing: Arc<Routing>,
    /// By declared address: the address of the listener, or why there is none.
    pub(crate) listeners: BTreeMap<SocketAddr, Result<SocketAddr, Arc<str>>>,
}

/// One service on the node.
#[derive(Debug, Default)]
pub(crate) struct KnownService {
    /// Its declaration while it is exposed; `None` once it is concealed.
    pub(crate) exposed: Option<Arc<Declared>>,
    /// The latest action on its listener: older ones have no effect.
    pub(crate) exposed_by: ActionId,
    /// Its declaration while routes refer to it. Kept afterwards, and after it was exposed, until its last replica is gone.
    pub(crate) routed: Option<Arc<ServiceSpec>>,
    pub(crate) replicas: BTreeMap<Ordinal, KnownReplica>,
}

/// One replica on the node.
#[derive(Debug)]
pub(crate) struct KnownReplica {
    pub(crate) life: Life,
    /// How it is reached and probed: as the version that it runs was last declared. `None` when that is not known.
    pub(crate) access: Option<Arc<ReplicaAccess>>,
    /// The declaration in the latest order about it that is of its version; until there is one, in the latest order. `None` until the
    /// first order.
    pub(crate) declared: Option<Arc<Declared>>,
    pub(crate) admission: Admission,
    /// The latest action on its traffic: older ones have no effect.
    pub(crate) admitted_by: ActionId,
    pub(crate) health: Health,
    /// Why a probe last failed.
    pub(crate) probe_note: Option<Arc<str>>,
    /// Ends the probes of this incarnation.
    pub(crate) probing: CancellationToken,
}

/// The health of a running replica by its probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Health {
    pub(crate) started: bool,
    pub(crate) ready: bool,
    pub(crate) live: bool,
}

impl Health {
    /// Before the first result of a probe.
    pub(crate) const UNKNOWN: Self = Self { started: false, ready: false, live: true };

    /// The state of a replica with this health, for a report to the loop.
    pub(crate) fn state(self) -> ReplicaState {
        if self.started {
            ReplicaState::Running { ready: self.ready, live: self.live }
        } else {
            ReplicaState::Starting
        }
    }
}

impl KnownNode {
    /// Records that an action was received. From now on a start is in progress: at no moment is its effect said to be visible before.
    pub(crate) fn receive(&mut self, action: &Action) {
        self.latest = self.latest.max(action.id);
        if matches!(action.kind, ActionKind::Start { .. }) {
            self.starting.insert(action.id);
        }
    }

    /// Records that a start is no longer in progress.
    pub(crate) fn end_start(&mut self, action: ActionId) {
        self.starting.remove(&action);
    }

    /// The latest action whose effect is certainly visible in an inventory that is made from now on.
    pub(crate) fn settled_up_to(&self) -> ActionId {
        match self.starting.first() {
            Some(first) => ActionId { epoch: first.epoch, sequence: first.sequence.saturating_sub(1) },
            None => self.latest,
        }
    }

    pub(crate) fn service(&mut self, name: &ServiceName) -> &mut KnownService {
        self.services.entry(name.clone()).or_default()
    }

    /// Forgets a service of which nothing is left on this node: the names of services that come and go would fill the memory.
    pub(crate) fn forget_if_unused(&mut self, name: &ServiceName) {
        let is_unused = |service: &KnownService| {
            service.exposed.is_none() && service.routed.is_none() && service.replicas.is_empty()
        };
        if self.services.get(name).is_some_and(is_unused) {
            self.services.remove(name);
        }
    }

    pub(crate) fn replica(&mut self, replica: &ReplicaId) -> Option<&mut KnownReplica> {
        self.services.get_mut(&replica.service)?.replicas.get_mut(&replica.ordinal)
    }

    /// The replica, if `incarnation` is its current one.
    pub(crate) fn life_of(
        &mut self,
        replica: &ReplicaId,
        incarnation: Incarnation,
    ) -> Result<&mut KnownReplica, Refusal> {
        self.replica(replica)
            .filter(|replica| replica.life.incarnation == incarnation)
            .ok_or(Refusal::OtherIncarnation)
    }

    /// Replaces the known versions.
    pub(crate) fn set_versions(&mut self, versions: Arc<Versions>) {
        for (name, service) in &mut self.services {
            for replica in service.replicas.values_mut() {
                // A version that is no longer recorded is still known of the replicas that run it.
                if let Some(access) = versions.get(name, replica.life.generation) {
                    replica.access = Some(Arc::clone(access));
                }
            }
        }
        self.versions = versions;
    }

    pub(crate) fn replicas(&self) -> impl Iterator<Item = &KnownReplica> {
        self.services.values().flat_map(|service| service.replicas.values())
    }
}

impl KnownReplica {
    /// A life that was just found, without any order yet.
    pub(crate) fn found(life: Life, versions: &Versions) -> Self {
        Self {
            access: versions.get(&life.replica.service, life.generation).cloned(),
            life,
            declared: None,
            admission: Admission::Spare,
            admitted_by: ActionId::default(),
            health: Health::UNKNOWN,
            probe_note: None,
            probing: CancellationToken::new(),
        }
    }

    /// Records the declaration in an order about it.
    pub(crate) fn learn(&mut self, declared: &Arc<Declared>) {
        let generation = self.life.generation;
        let is_own = declared.generation == generation;
        if is_own && self.access.is_none() {
            self.access = Some(Arc::new(ReplicaAccess::of(&declared.spec)));
        }
        if is_own || self.declared.as_ref().is_none_or(|before| before.generation != generation) {
            self.declared = Some(Arc::clone(declared));
        }
    }

    /// The probes of its version; as long as that is not known, those of the latest order. `None` until the first order.
    pub(crate) fn probes(&self) -> Option<&Probes> {
        let declared = self.declared.as_ref()?;
        Some(self.access.as_ref().map_or(&declared.spec.probes, |access| &access.probes))
    }

    /// Its first TCP port, which is used where no port is named; `None` when it has none, or until the first order.
    pub(crate) fn first_port(&self) -> Option<&PortName> {
        match &self.access {
            Some(access) => access.first_port(),
            None => self.similar_port(&self.declared.as_ref()?.spec.first_port()?.name),
        }
    }

    /// For a replica whose version is not known: its port of this name, or else its only port.
    pub(crate) fn similar_port(&self, name: &PortName) -> Option<&PortName> {
        let ports = &self.life.ports;
        let only = || ports.keys().next().filter(|_| ports.len() == 1);
        ports.get_key_value(name).map(|(name, _)| name).or_else(only)
    }

    /// Its state for a report to the loop.
    pub(crate) fn observed(&self) -> Observed {
        self.life.observed(self.health.state())
    }

    /// Whether its health allows requests to be routed to it.
    pub(crate) fn may_serve(&self) -> bool {
        let health = self.health;
        self.life.state == LifeState::Running && health.started && health.ready && health.live
    }
}
