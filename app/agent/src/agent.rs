//! The agent as a whole: its parts, its tasks, and what others may ask it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use external::{Keepers, Kept};
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
use crate::certificates::{self, Certificates};
use crate::known::{KnownNode, KnownReplica};
use crate::measuring::{self, KnownSources, SourceDetail};
use crate::rates::Rates;
use crate::routes::{self, RouteDetail};
use crate::{obey, report};

/// How long starts that the loop asked for last may take until replicas are stopped: as long as a killed process may take to be gone. Most
/// take some milliseconds; one whose program is on a disk that does not answer takes as long as that.
const STARTS_MAX: Duration = Duration::from_secs(10);

/// Runs replicas on one node; cheap to clone.
#[derive(Clone)]
pub struct Agent {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) node: NodeName,
    pub(crate) zone: Option<ZoneName>,
    pub(crate) platform: Arc<dyn Platform>,
    pub(crate) table: Table,
    pub(crate) balancers: Keepers,
    pub(crate) certificates: acme::Keeper,
    pub(crate) loop_handle: Handle,
    pub(crate) runtime: tokio::runtime::Handle,
    pub(crate) tasks: TaskTracker,
    /// Starts that are under way, and the thread that may be told of more.
    pub(crate) starts: TaskTracker,
    pub(crate) ending: CancellationToken,
    known: Mutex<KnownNode>,
    errors: Mutex<Rates>,
    route_rates: Mutex<Rates>,
    measuring: Mutex<KnownSources>,
}

/// What people want to know of a replica beyond what the loop needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaDetail {
    /// Which place.
    pub replica: ReplicaId,
    /// Which life of it.
    pub incarnation: Incarnation,
    /// The number of its main process; of an ended life, what it was.
    pub pid: Option<u32>,
    /// Its ports, on 127.0.0.1.
    pub ports: BTreeMap<PortName, u16>,
    /// When its program began to execute.
    pub started_at: Wall,
    /// Whether an earlier run started it.
    pub adopted: bool,
    /// What its last failed probe said; `None` while none fails.
    pub probe_note: Option<Arc<str>>,
}

/// Which replicas are to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopScope {
    /// All of them.
    All,
    /// Only those that were not running already when this agent began.
    NotAdopted,
}

/// How it went when every replica was to be stopped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoppedReplicas {
    /// How many are gone.
    pub replicas: usize,
    /// Those that may still run, and how their last stop ended.
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
            .field("node", &self.inner.node)
            .field("platform", &self.inner.platform)
            .finish()
    }
}

impl Agent {
    /// Begins to obey `orders` and to report to the loop. Must be called within a tokio runtime that drives time and I/O.
    ///
    /// `zone` is where the node is, and with it its replicas and the proxy; `None` where nobody has said.
    /// Certificates that are asked for by themselves are kept in the folder `issued`. Fails when the system gives no thread.
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
            inner: Arc::new(Inner {
                node,
                zone,
                platform,
                certificates: certificates::keeper(issued, runtime.clone(), table.clone()),
                table,
                balancers: balancers::keepers(runtime.clone(), loop_handle.clone()),
                loop_handle,
                runtime,
                tasks: TaskTracker::new(),
                starts: TaskTracker::new(),
                ending: CancellationToken::new(),
                known: Mutex::new(KnownNode::default()),
                errors: Mutex::default(),
                route_rates: Mutex::default(),
                measuring: Mutex::default(),
            }),
        };
        report::start(&agent.inner);
        let inner = Arc::clone(&agent.inner);
        let may_start = inner.starts.token();
        std::thread::Builder::new().name("orders".into()).spawn(move || {
            obey::run(&inner, &orders);
            drop(may_start);
        })?;
        Ok(agent)
    }

    /// What people want to know of each replica, by name.
    pub fn details(&self) -> Vec<ReplicaDetail> {
        self.inner.known().replicas().map(detail).collect()
    }

    /// What a replica has printed, from `last_lines` before the end.
    pub async fn logs(&self, replica: &ReplicaId, last_lines: usize) -> Result<Box<dyn LogLines>, LogError> {
        self.inner.platform.logs(replica, last_lines).await
    }

    /// The proxy's counters.
    pub fn traffic(&self) -> Vec<ServiceTraffic> {
        self.inner.table.traffic()
    }

    /// How the certificates stand that the proxy shows to the clients of a service; `None` when it shows none.
    pub fn tls(&self, service: &str) -> Option<Certificates> {
        let shown = self.inner.table.tls(service);
        let name = ServiceName::parse(service).ok()?;
        let exposed = self.inner.known().services.get(&name).and_then(|service| service.exposed.clone());
        let declared = exposed.as_ref().and_then(|exposed| exposed.spec.expose.as_ref()?.tls.as_ref());
        certificates::standing(&self.inner.certificates, shown, declared)
    }

    /// How the access logs are, by file.
    pub fn access_logs(&self) -> Vec<AccessLogState> {
        self.inner.table.access_logs()
    }

    /// The state of the external balancers of a service, in the order of their files.
    pub fn balancers(&self, service: &ServiceName) -> Vec<Kept> {
        self.inner.balancers.state(service)
    }

    /// Requests to a service that failed for their clients, per second; `None` while the proxy has not been read twice.
    pub fn errors_per_second(&self, service: &ServiceName) -> Option<MilliRps> {
        self.inner.errors().rate(service.as_str())
    }

    /// What the proxy does for each route, by name.
    pub fn routes(&self) -> Vec<RouteDetail> {
        routes::details(&self.inner)
    }

    /// Requests over a route, per second; `None` while the proxy has not been read twice.
    pub fn route_requests_per_second(&self, route: &ServiceName) -> Option<MilliRps> {
        self.inner.route_rates().rate(route.as_str())
    }

    /// What each source of a metric says, by name.
    pub fn sources(&self) -> Vec<SourceDetail> {
        measuring::details(&self.inner)
    }

    /// What the platform can and cannot do here.
    pub fn capabilities(&self) -> Capabilities {
        self.inner.platform.capabilities()
    }

    /// Ends all tasks of the agent. Replicas are left running; the routes stay as they are.
    pub async fn close(&self) {
        self.inner.ending.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
        self.inner.certificates.close().await;
    }

    /// Stops replicas, all at once, each with its declared grace, and waits for their ends. External balancers are told before that there
    /// is none, when everyone stops.
    ///
    /// To be called when the loop has ended, or it would start them again, and in the `epoch` that the loop spoke in. What the loop had
    /// still asked to be started is started first, and stopped with the others.
    pub async fn stop_replicas(&self, epoch: Epoch, scope: StopScope) -> Result<StoppedReplicas, ObserveError> {
        if scope == StopScope::All {
            self.inner.balancers.close(balancers::CLOSE_MAX).await;
        }
        self.inner.starts.close();
        if tokio::time::timeout(STARTS_MAX, self.inner.starts.wait()).await.is_err() {
            tracing::warn!("starts_not_finished");
        }
        let lives = self.inner.platform.inventory().await?;
        let running =
            lives.iter().filter(|life| scope.includes(life) && !matches!(life.state, LifeState::Exited(_)));
        // Past every id that the loop of this epoch has given.
        let ids = (0..).map(|nth| ActionId { epoch, sequence: u64::MAX - nth });
        let outcomes = join_all(running.zip(ids).map(|(life, action)| self.stop_life(life, action))).await;
        let (gone, left): (Vec<_>, _) =
            outcomes.into_iter().partition(|(_, outcome)| *outcome == Outcome::Applied);
        Ok(StoppedReplicas { replicas: gone.len(), left })
    }

    async fn stop_life(&self, life: &Life, action: ActionId) -> (ReplicaId, Outcome) {
        let (replica, incarnation) = (life.replica.clone(), life.incarnation);
        let grace = self.inner.grace_of(&replica);
        let request = StopRequest { action, replica: replica.clone(), incarnation, grace };
        (replica, self.inner.platform.stop(request).await)
    }
}

impl Inner {
    /// Each change leaves what is known whole, so a panic while it was locked does no harm.
    pub(crate) fn known(&self) -> MutexGuard<'_, KnownNode> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As with what is known.
    pub(crate) fn errors(&self) -> MutexGuard<'_, Rates> {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As with what is known.
    pub(crate) fn route_rates(&self) -> MutexGuard<'_, Rates> {
        self.route_rates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As with what is known.
    pub(crate) fn measuring(&self) -> MutexGuard<'_, KnownSources> {
        self.measuring.lock().unwrap_or_else(PoisonError::into_inner)
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
