//! The public interface of the agent: starts its tasks, answers questions about its state, and stops replicas.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use external::BalancerFile;
use futures_util::future::join_all;
use model::action::Outcome;
use model::identity::{ActionId, Epoch, Incarnation, ReplicaId};
use model::name::{NodeName, ServiceName, ZoneName};
use model::quantity::MilliRps;
use model::resource::PortName;
use model::time::Wall;
use orchestrator::{Handle, Order};
use platform::{Capabilities, Life, LifeState, LogError, LogLines, ObserveError, Platform, StopRequest};
use proxy::{AccessLogState, ServiceTraffic, Table};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::balancers;
use crate::certificates::{self, CertificateStatus};
use crate::known::KnownReplica;
use crate::known_sources::SourceDetail;
use crate::routes::{self, RouteDetail};
use crate::shared::{Shared, State};
use crate::{metric_sources, orders, reports, traffic};

/// How long to wait for starts in progress before replicas are stopped: as long as a killed process may take to end. Most starts take
/// milliseconds; one whose program is on a disk that hangs takes as long as the disk.
const STARTS_MAX: Duration = Duration::from_secs(10);

/// Runs replicas on one node; cheap to clone.
#[derive(Clone)]
pub struct Agent {
    shared: Arc<Shared>,
}

/// Details of a replica that the loop does not need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaDetail {
    /// The replica.
    pub replica: ReplicaId,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// The process ID of its main process, also after it has ended.
    pub pid: Option<u32>,
    /// Its ports, on 127.0.0.1.
    pub ports: BTreeMap<PortName, u16>,
    /// When its process was started.
    pub started_at: Wall,
    /// Whether an earlier run of Homeostat started it.
    pub adopted: bool,
    /// Why a probe last failed; `None` while all succeed.
    pub probe_note: Option<Arc<str>>,
}

/// Why probes last failed, by the replica and its incarnation.
pub type ProbeNotes = BTreeMap<(ReplicaId, Incarnation), Arc<str>>;

/// Which replicas to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopScope {
    /// All of them.
    All,
    /// Only those that this agent has started, not those that it has adopted.
    NotAdopted,
}

/// The result of stopping replicas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoppedReplicas {
    /// How many have ended.
    pub replicas: usize,
    /// Those that may still be running, and the outcome of stopping them.
    pub left: Vec<(ReplicaId, Outcome)>,
}

impl StopScope {
    fn includes(self, life: &Life) -> bool {
        match self {
            Self::All => true,
            Self::NotAdopted => !life.adopted,
        }
    }
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agent")
            .field("node", &self.shared.node)
            .field("platform", &self.shared.platform)
            .finish()
    }
}

impl Agent {
    /// Begins to carry out `orders` and to report to the loop. Must be called within a tokio runtime that drives time and I/O.
    ///
    /// `zone` is the zone of the node, its replicas and the proxy, if known. Certificates from ACME are stored in the folder `issued`.
    /// Fails when no thread can be started.
    pub fn start(
        node: NodeName,
        zone: Option<ZoneName>,
        issued: PathBuf,
        platform: Arc<dyn Platform>,
        table: Table,
        loop_handle: Handle,
        orders: Receiver<Order>,
    ) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Handle::current();
        let agent = Self {
            shared: Arc::new(Shared {
                node,
                zone,
                platform,
                certificates: certificates::renewer(issued, runtime.clone(), table.clone()),
                table,
                balancers: balancers::balancer_files(runtime.clone(), loop_handle.clone()),
                loop_handle,
                runtime,
                tasks: TaskTracker::new(),
                starts: TaskTracker::new(),
                ending: CancellationToken::new(),
                state: State::default(),
            }),
        };
        reports::start(&agent.shared);
        agent.shared.spawn(traffic::run(Arc::clone(&agent.shared)));
        let shared = Arc::clone(&agent.shared);
        let may_start = shared.starts.token();
        std::thread::Builder::new().name("orders".into()).spawn(move || {
            orders::run(&shared, &orders);
            drop(may_start);
        })?;
        Ok(agent)
    }

    /// The details of each replica, by name.
    pub fn details(&self) -> Vec<ReplicaDetail> {
        self.shared.known().replicas().map(detail).collect()
    }

    /// Why a probe of a replica last failed, by its name and incarnation; only of those with a failure.
    pub fn probe_notes(&self) -> ProbeNotes {
        let known = self.shared.known();
        let noted = known.replicas().filter_map(|replica| {
            let note = Arc::clone(replica.probe_note.as_ref()?);
            Some(((replica.life.replica.clone(), replica.life.incarnation), note))
        });
        noted.collect()
    }

    /// The output of a replica, from `last_lines` before its end.
    pub async fn logs(&self, replica: &ReplicaId, last_lines: usize) -> Result<Box<dyn LogLines>, LogError> {
        self.shared.platform.logs(replica, last_lines).await
    }

    /// The proxy's counters of all services.
    pub fn traffic(&self) -> Vec<ServiceTraffic> {
        self.shared.table.traffic()
    }

    /// The status of the certificates that the proxy presents for a service; `None` when it presents none.
    pub fn tls(&self, service: &str) -> Option<CertificateStatus> {
        let presented = self.shared.table.tls(service);
        let name = ServiceName::parse(service).ok()?;
        let exposed = self.shared.known().services.get(&name).and_then(|service| service.exposed.clone());
        let declared = exposed.as_ref().and_then(|exposed| exposed.spec.expose.as_ref()?.tls.as_ref());
        certificates::status(&self.shared.certificates, presented, declared)
    }

    /// The state of the access logs, by file.
    pub fn access_logs(&self) -> Vec<AccessLogState> {
        self.shared.table.access_logs()
    }

    /// The state of the external balancers of a service, in the order of their files.
    pub fn balancers(&self, service: &ServiceName) -> Vec<BalancerFile> {
        self.shared.balancers.state(service)
    }

    /// Requests per second to a service that failed for their clients; `None` before the second reading of the proxy's counters.
    pub fn errors_per_second(&self, service: &ServiceName) -> Option<MilliRps> {
        self.shared.errors().rate(service.as_str())
    }

    /// The state of each route, by name.
    pub fn routes(&self) -> Vec<RouteDetail> {
        routes::details(&self.shared)
    }

    /// Requests per second over a route; `None` before the second reading of the proxy's counters.
    pub fn route_requests_per_second(&self, route: &ServiceName) -> Option<MilliRps> {
        self.shared.route_rates().rate(route.as_str())
    }

    /// The state of each source of metrics, by name.
    pub fn sources(&self) -> Vec<SourceDetail> {
        metric_sources::details(&self.shared)
    }

    /// What the platform can and cannot do here.
    pub fn capabilities(&self) -> Capabilities {
        self.shared.platform.capabilities()
    }

    /// Ends all tasks of the agent. Replicas are left running; the routes stay as they are.
    pub async fn close(&self) {
        self.shared.ending.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
        self.shared.certificates.close().await;
    }

    /// Stops replicas concurrently, each with its declared grace period, and waits for them to end. With [`StopScope::All`], external
    /// balancers are emptied first. Once `hurry` is cancelled, balancers are no longer waited for, and replicas are killed at once.
    ///
    /// To be called after the loop has ended, which would otherwise start them again, with the `epoch` of that loop. Starts in progress are
    /// completed first, and their replicas are stopped with the others.
    pub async fn stop_replicas(
        &self,
        epoch: Epoch,
        scope: StopScope,
        hurry: &CancellationToken,
    ) -> Result<StoppedReplicas, ObserveError> {
        if scope == StopScope::All {
            hurry.run_until_cancelled(self.shared.balancers.close(balancers::CLOSE_MAX)).await;
        }
        self.shared.starts.close();
        if tokio::time::timeout(STARTS_MAX, self.shared.starts.wait()).await.is_err() {
            tracing::warn!("starts_not_finished");
        }
        let mut running = self.shared.platform.inventory().await?;
        running.retain(|life| scope.includes(life) && !matches!(life.state, LifeState::Exited(_)));
        if let Some(grace_max) = running.iter().map(|life| self.shared.grace_of(&life.replica)).max() {
            tracing::info!(replicas = running.len(), ?grace_max, "stopping_replicas");
        }
        // Above every ID that the loop has assigned in this epoch.
        let ids = (0..).map(|n| ActionId { epoch, sequence: u64::MAX - n });
        let stops = running.iter().zip(ids).map(|(life, action)| self.stop_life(life, action, hurry));
        let outcomes = join_all(stops).await;
        let (stopped, left): (Vec<_>, _) =
            outcomes.into_iter().partition(|(_, outcome)| *outcome == Outcome::Applied);
        Ok(StoppedReplicas { replicas: stopped.len(), left })
    }

    async fn stop_life(
        &self,
        life: &Life,
        action: ActionId,
        hurry: &CancellationToken,
    ) -> (ReplicaId, Outcome) {
        let (replica, incarnation) = (life.replica.clone(), life.incarnation);
        let stop = |grace| {
            let request = StopRequest { action, replica: replica.clone(), incarnation, grace };
            self.shared.platform.stop(request)
        };
        let outcome = match hurry.run_until_cancelled(stop(self.shared.grace_of(&replica))).await {
            Some(outcome) => outcome,
            // The same stop again: a shorter grace shortens the wait.
            None => stop(Duration::ZERO).await,
        };
        (replica, outcome)
    }
}

fn detail(replica: &KnownReplica) -> ReplicaDetail {
    let life = &replica.life;
    ReplicaDetail {
        replica: life.replica.clone(),
        incarnation: life.incarnation,
        pid: life.pid,
        ports: life.ports.clone(),
        started_at: life.started_at,
        adopted: life.adopted,
        probe_note: replica.probe_note.clone(),
    }
}

#[cfg(test)]
mod tests;
