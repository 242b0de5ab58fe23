//! What the agent knows of the replicas on its node and of what it was told about them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::action::{Admission, Refusal};
use model::identity::{ActionId, Incarnation, Ordinal, ReplicaId};
use model::input::{Declared, Observed, ReplicaState};
use model::name::ServiceName;
use model::resource::ServiceSpec;
use platform::{Life, LifeState};
use tokio_util::sync::CancellationToken;

use crate::routes::KnownRoutes;

/// Everything of one node.
#[derive(Debug, Default)]
pub(crate) struct KnownNode {
    pub(crate) services: BTreeMap<ServiceName, KnownService>,
    /// The routes that the proxy follows, and where.
    pub(crate) routes: KnownRoutes,
    /// The latest action that has reached this node.
    latest: ActionId,
    /// Starts that are being carried out: the platform may or may not list them yet.
    starting: BTreeSet<ActionId>,
}

/// One service of the node.
#[derive(Debug, Default)]
pub(crate) struct KnownService {
    /// Its declaration while it is exposed; `None` once it is concealed.
    pub(crate) exposed: Option<Arc<Declared>>,
    /// The latest action about its listener: an older one is without effect.
    pub(crate) exposed_by: ActionId,
    /// Its declaration while routes lead to it, and after that, or after it was exposed, until its last replica is gone.
    pub(crate) routed: Option<Arc<ServiceSpec>>,
    pub(crate) replicas: BTreeMap<Ordinal, KnownReplica>,
}

/// One replica of the node.
#[derive(Debug)]
pub(crate) struct KnownReplica {
    pub(crate) life: Life,
    /// Its declaration; `None` for a replica of an earlier run about which no order has come yet.
    pub(crate) declared: Option<Arc<Declared>>,
    pub(crate) admission: Admission,
    /// The latest action about its traffic: an older one is without effect.
    pub(crate) admitted_by: ActionId,
    pub(crate) standing: Standing,
    /// What the last failed probe said.
    pub(crate) probe_note: Option<Arc<str>>,
    /// Ends the probes of this life.
    pub(crate) probing: CancellationToken,
}

/// What the probes say of a running replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) begun: bool,
    pub(crate) ready: bool,
    pub(crate) live: bool,
}

impl Standing {
    /// Before the first answer of a probe.
    pub(crate) const UNASKED: Self = Self { begun: false, ready: false, live: true };

    /// As the loop wants it.
    pub(crate) fn state(self) -> ReplicaState {
        if self.begun {
            ReplicaState::Running { ready: self.ready, live: self.live }
        } else {
            ReplicaState::Starting
        }
    }
}

impl KnownNode {
    /// Notes that an action has come.
    pub(crate) fn receive(&mut self, action: ActionId) {
        self.latest = self.latest.max(action);
    }

    /// Notes that a start is being carried out.
    pub(crate) fn begin_start(&mut self, action: ActionId) {
        self.starting.insert(action);
    }

    /// Notes that it no longer is.
    pub(crate) fn end_start(&mut self, action: ActionId) {
        self.starting.remove(&action);
    }

    /// The latest action whose effect is sure to show in an inventory made from now on.
    pub(crate) fn settled_up_to(&self) -> ActionId {
        match self.starting.first() {
            Some(first) => ActionId { epoch: first.epoch, sequence: first.sequence.saturating_sub(1) },
            None => self.latest,
        }
    }

    pub(crate) fn service(&mut self, name: &ServiceName) -> &mut KnownService {
        self.services.entry(name.clone()).or_default()
    }

    pub(crate) fn replica(&mut self, replica: &ReplicaId) -> Option<&mut KnownReplica> {
        self.services.get_mut(&replica.service)?.replicas.get_mut(&replica.ordinal)
    }

    /// The replica, when its present life is the one that is meant.
    pub(crate) fn life_of(
        &mut self,
        replica: &ReplicaId,
        incarnation: Incarnation,
    ) -> Result<&mut KnownReplica, Refusal> {
        self.replica(replica)
            .filter(|replica| replica.life.incarnation == incarnation)
            .ok_or(Refusal::OtherIncarnation)
    }

    pub(crate) fn replicas(&self) -> impl Iterator<Item = &KnownReplica> {
        self.services.values().flat_map(|service| service.replicas.values())
    }
}

impl KnownReplica {
    /// A life that was just seen, and about which no order has come.
    pub(crate) fn of(life: Life) -> Self {
        Self {
            life,
            declared: None,
            admission: Admission::Spare,
            admitted_by: ActionId::default(),
            standing: Standing::UNASKED,
            probe_note: None,
            probing: CancellationToken::new(),
        }
    }

    /// As the loop wants it.
    pub(crate) fn observed(&self) -> Observed {
        self.life.observed(self.standing.state())
    }

    /// Whether requests may be routed to it, as far as its health goes.
    pub(crate) fn may_serve(&self) -> bool {
        let standing = self.standing;
        self.life.state == LifeState::Running && standing.begun && standing.ready && standing.live
    }
}
