//! The agent as a whole: its parts, its tasks, and its public interface.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use external::{BalancerFile, BalancerFiles};
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
use crate::known::{KnownNode, KnownReplica};
use crate::metric_sources::{self, KnownSources, SourceDetail};
use crate::rates::Rates;
use crate::routes::{self, RouteDetail};
use crate::{orders, report};

/// How long the last starts may take before replicas are stopped: as long as a killed process may take to end. Most take some
/// milliseconds; one whose program is on a disk that does not answer takes as long as the disk.
const STARTS_MAX: Duration = Duration::from_secs(10);

/// Runs replicas on one node; cheap to clone.
#[derive(Clone)]
pub struct Agent {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) node: NodeName,
    pub(crate) zone: Option<ZoneName>,
    pub(crate) platform: Arc<dyn Platform>,
    pub(crate) table: Table,
    pub(crate) balancers: BalancerFiles,
    pub(crate) certificates: acme::Renewer,
    pub(crate) loop_handle: Handle,
    pub(crate) runtime: tokio::runtime::Handle,
    pub(crate) tasks: TaskTracker,
    /// Starts in progress, and the thread of orders, which may begin more.
    pub(crate) starts: TaskTracker,
    pub(crate) ending: CancellationToken,
    known: Mutex<KnownNode>,
    errors: Mutex<Rates>,
    route_rates: Mutex<Rates>,
    metric_sources: Mutex<KnownSources>,
}

/// Details of a replica that the loop does not need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaDetail {
    /// The replica.
    pub replica: ReplicaId,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// The id of its main process, also after it has ended.
    pub pid: Option<u32>,
    /// Its ports, on 127.0.0.1.
    pub ports: BTreeMap<PortName, u16>,
    /// When its program began to execute.
    pub started_at: Wall,
    /// Whether an earlier run started it.
    pub adopted: bool,
    /// Why its probe failed last; `None` while none fails.
    pub probe_note: Option<Arc<str>>,
}

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
    /// Those that may still run, and the outcome of stopping them.
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
    /// `zone` is that of the node, its replicas and the proxy, if it is known. Certificates from ACME are kept in the folder `issued`.
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
                known: Mutex::new(KnownNode::default()),
                errors: Mutex::default(),
                route_rates: Mutex::default(),
                metric_sources: Mutex::default(),
            }),
        };
        report::start(&agent.shared);
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

    /// The output of a replica, from `last_lines` before its end.
    pub async fn logs(&self, replica: &ReplicaId, last_lines: usize) -> Result<Box<dyn LogLines>, LogError> {
        self.shared.platform.logs(replica, last_lines).await
    }

    /// The proxy's counters.
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

    /// Requests to a service that failed for their clients, per second; `None` while the proxy has not been read twice.
    pub fn errors_per_second(&self, service: &ServiceName) -> Option<MilliRps> {
        self.shared.errors().rate(service.as_str())
    }

    /// The state of each route, by name.
    pub fn routes(&self) -> Vec<RouteDetail> {
        routes::details(&self.shared)
    }

    /// Requests over a route, per second; `None` while the proxy has not been read twice.
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

    /// Stops replicas, all at once, each with its declared grace, and waits for their ends. With [`StopScope::All`], external balancers are
    /// emptied before.
    ///
    /// To be called when the loop has ended, or it would start them again, and with the `epoch` of the loop. Starts in progress are
    /// completed first, and those replicas are stopped with the others.
    pub async fn stop_replicas(
        &self,
        epoch: Epoch,
        scope: StopScope,
    ) -> Result<StoppedReplicas, ObserveError> {
        if scope == StopScope::All {
            self.shared.balancers.close(balancers::CLOSE_MAX).await;
        }
        self.shared.starts.close();
        if tokio::time::timeout(STARTS_MAX, self.shared.starts.wait()).await.is_err() {
            tracing::warn!("starts_not_finished");
        }
        let lives = self.shared.platform.inventory().await?;
        let running =
            lives.iter().filter(|life| scope.includes(life) && !matches!(life.state, LifeState::Exited(_)));
        // Above every id that the loop of this epoch has given.
        let ids = (0..).map(|nth| ActionId { epoch, sequence: u64::MAX - nth });
        let outcomes = join_all(running.zip(ids).map(|(life, action)| self.stop_life(life, action))).await;
        let (gone, left): (Vec<_>, _) =
            outcomes.into_iter().partition(|(_, outcome)| *outcome == Outcome::Applied);
        Ok(StoppedReplicas { replicas: gone.len(), left })
    }

    async fn stop_life(&self, life: &Life, action: ActionId) -> (ReplicaId, Outcome) {
        let (replica, incarnation) = (life.replica.clone(), life.incarnation);
        let grace = self.shared.grace_of(&replica);
        let request = StopRequest { action, replica: replica.clone(), incarnation, grace };
        (replica, self.shared.platform.stop(request).await)
    }
}

impl Shared {
    /// The state is consistent after every change, so a panic while it was locked does no harm.
    pub(crate) fn known(&self) -> MutexGuard<'_, KnownNode> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Consistent after every change, too.
    pub(crate) fn errors(&self) -> MutexGuard<'_, Rates> {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Consistent after every change, too.
    pub(crate) fn route_rates(&self) -> MutexGuard<'_, Rates> {
        self.route_rates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Consistent after every change, too.
    pub(crate) fn metric_sources(&self) -> MutexGuard<'_, KnownSources> {
        self.metric_sources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn grace_of(&self, replica: &ReplicaId) -> Duration {
        let mut node = self.known();
        let declared = node.replica(replica).and_then(|replica| replica.declared.clone());
        declared.map(|declared| declared.spec.stop).unwrap_or_default().grace.into()
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
