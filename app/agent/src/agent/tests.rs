//! The agent on a platform whose replicas end as soon as they are started.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use model::action::{Action, ActionKind, Admission};
use model::identity::{Epoch, Generation, Ordinal};
use model::input::{Declared, Exit, ExitStatus, Usage};
use model::reason::Reason;
use model::resource::Resource;
use model::settings::Settings;
use orchestrator::HistoryConfig;
use platform::{AllotRequest, Event, RunEnd, RunError, RunRequest, StartRequest, Started, Support};
use proxy::{Proxy, ProxyConfig};
use store::memory::MemoryStore;
use tempfile::TempDir;
use tokio::sync::broadcast;

use super::*;

/// Much longer than any wait should take: the test fails instead of hanging.
const DEADLINE: Duration = Duration::from_secs(30);

/// Replicas that end before their start is acknowledged.
#[derive(Debug)]
struct ShortLived {
    events: broadcast::Sender<Event>,
    /// Whether ends are sent as events, or only listed.
    sends_events: bool,
    lives: Mutex<Vec<Life>>,
}

impl ShortLived {
    fn new(sends_events: bool) -> Arc<Self> {
        Arc::new(Self { events: broadcast::Sender::new(16), sends_events, lives: Mutex::default() })
    }
}

impl Platform for ShortLived {
    fn start(&self, request: StartRequest) -> BoxFuture<'_, Started> {
        let StartRequest { action, replica, incarnation, declared } = request;
        let (generation, ports) = (declared.generation, BTreeMap::new());
        let started = Life {
            replica,
            incarnation,
            generation,
            action,
            state: LifeState::Running,
            pid: Some(1),
            ports,
            resources: None,
            started_at: Wall::from_millis(1),
            adopted: false,
        };
        let exit = Exit { status: ExitStatus::Code(1), out_of_memory: false, ran_for: Duration::ZERO };
        let ended = Life { state: LifeState::Exited(exit), ..started.clone() };
        async move {
            self.lives.lock().unwrap_or_else(PoisonError::into_inner).push(ended.clone());
            if self.sends_events {
                self.events.send(Event::Ended(ended)).expect("the agent has subscribed");
            }
            // All other tasks run before the start is acknowledged.
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            Started { outcome: Outcome::Applied, life: Some(started) }
        }
        .boxed()
    }

    fn stop(&self, _: StopRequest) -> BoxFuture<'_, Outcome> {
        async { Outcome::Applied }.boxed()
    }

    fn allot(&self, _: AllotRequest) -> BoxFuture<'_, Outcome> {
        async { Outcome::Applied }.boxed()
    }

    fn inventory(&self) -> BoxFuture<'_, Result<Vec<Life>, ObserveError>> {
        async { Ok(self.lives.lock().unwrap_or_else(PoisonError::into_inner).clone()) }.boxed()
    }

    fn usage(&self) -> BoxFuture<'_, Result<Vec<Usage>, ObserveError>> {
        async { Ok(Vec::new()) }.boxed()
    }

    fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    fn capabilities(&self) -> Capabilities {
        let [cpu, memory, containment, users] = [const { Support::Full }; 4];
        Capabilities { cpu, memory, containment, users }
    }

    fn run_beside(&self, request: RunRequest) -> BoxFuture<'_, Result<RunEnd, RunError>> {
        async { Err(RunError::NotRunning { replica: request.replica }) }.boxed()
    }

    fn logs(&self, replica: &ReplicaId, _: usize) -> BoxFuture<'_, Result<Box<dyn LogLines>, LogError>> {
        let replica = replica.clone();
        async { Err(LogError::NoLog { replica }) }.boxed()
    }
}

fn declared(service: &str, spec: &str) -> Arc<Declared> {
    let text =
        format!("{{apiVersion: homeostat/v1, kind: Service, metadata: {{name: {service}}}, spec: {spec}}}");
    let mut read = manifest::parse("test", &text);
    assert!(read.diagnostics.is_empty(), "{:?}", read.diagnostics);
    let Resource::Service(declared) = read.documents.remove(0).resource else { panic!("it is a service") };
    let (name, revision) = (declared.name().clone(), Generation(1));
    Arc::new(Declared { name, revision, generation: revision, spec: declared.spec, autoscaler: None })
}

/// An agent that is given orders by the test.
struct Node {
    agent: Agent,
    orders: Sender<Order>,
    sequence: u64,
    proxy: Proxy,
    _folder: TempDir,
}

impl Node {
    fn begin(platform: Arc<ShortLived>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let name = NodeName::parse("local").unwrap();
        let (orders_of_loop, _) = channel();
        let loop_handle = orchestrator::start(orchestrator::Config {
            store: Arc::new(MemoryStore::default()),
            journal: folder.path().join("journal"),
            history: HistoryConfig::in_folder(folder.path().join("history")),
            node: name.clone(),
            epoch_of_node: Epoch(0),
            seed: 1,
            settings: Settings::default(),
            orders: orders_of_loop,
        });
        let proxy = Proxy::start(&ProxyConfig::default()).unwrap();
        let (orders, inbox) = channel();
        let issued = folder.path().join("acme");
        let agent = Agent::start(name, None, issued, platform, proxy.table(), loop_handle.unwrap(), inbox);
        Self { agent: agent.unwrap(), orders, sequence: 0, proxy, _folder: folder }
    }

    /// Orders an action, and waits until it is carried out.
    async fn act(&mut self, kind: ActionKind) {
        self.sequence += 1;
        let id = ActionId { epoch: Epoch(1), sequence: self.sequence };
        self.orders.send(Order::Act(Action { id, kind, reason: Reason::Observed })).unwrap();
        let carried_out = async {
            while self.agent.shared.known().settled_up_to() != id {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(DEADLINE, carried_out).await.expect("the order is carried out");
    }

    async fn start_replica(&mut self, service: &str) {
        let declared = declared(service, "{run: {command: [x]}}");
        let replica = ReplicaId { service: declared.name.clone(), ordinal: Ordinal(0) };
        let admission = Admission::Serving { weight: 1 };
        self.act(ActionKind::Start { replica, incarnation: Incarnation(1), declared, admission }).await;
    }

    /// Orders that a service is exposed at an address.
    async fn expose(&mut self, service: &str, at: SocketAddr) {
        let spec = format!(
            "{{run: {{command: [x]}}, ports: [{{name: http}}], expose: {{port: http, listen: \"{at}\"}}}}"
        );
        self.act(ActionKind::Expose(declared(service, &spec))).await;
    }

    fn address(&self, service: &str) -> Option<SocketAddr> {
        self.proxy.table().address(service)
    }

    async fn end(self) {
        self.agent.shared.loop_handle.stop();
        self.agent.close().await;
    }
}

#[tokio::test]
async fn a_replica_that_ends_before_its_start_is_acknowledged_is_not_kept_in_the_traffic() {
    let mut node = Node::begin(ShortLived::new(true));
    node.start_replica("shop").await;
    assert_eq!(node.agent.details(), []);
    node.end().await;
}

#[tokio::test]
async fn a_replica_whose_end_was_missed_leaves_the_traffic_with_the_next_inventory() {
    let mut node = Node::begin(ShortLived::new(false));
    node.start_replica("shop").await;
    assert_eq!(node.agent.details().len(), 1, "its end was not sent");
    reports::report_inventory(Arc::clone(&node.agent.shared)).await;
    assert_eq!(node.agent.details(), []);
    node.end().await;
}

#[tokio::test]
async fn services_that_are_gone_leave_nothing_behind() {
    let mut node = Node::begin(ShortLived::new(true));
    for service in ["shop", "cart", "web"] {
        node.start_replica(service).await;
        node.act(ActionKind::Conceal(ServiceName::parse(service).unwrap())).await;
    }
    let names = || node.agent.shared.known().services.keys().cloned().collect::<Vec<_>>();
    let forgotten = async {
        while !names().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    let result = tokio::time::timeout(DEADLINE, forgotten).await;
    assert!(result.is_ok(), "{:?} are still known", names());
    node.end().await;
}

#[tokio::test]
async fn services_that_are_declared_on_each_others_address_exchange_them() {
    let mut node = Node::begin(ShortLived::new(true));
    let [first, second, third] = [(); 3].map(|()| SocketAddr::from(([127, 0, 0, 1], ports::free())));
    node.expose("blue", first).await;
    node.expose("green", second).await;
    node.expose("red", third).await;

    node.expose("blue", second).await;
    node.start_replica("green").await;
    assert_eq!(node.address("blue"), Some(second), "a replica of the service before takes nothing back");
    node.expose("green", first).await;
    assert_eq!([node.address("blue"), node.address("green")], [Some(second), Some(first)]);

    node.expose("red", second).await;
    node.act(ActionKind::Conceal(ServiceName::parse("blue").unwrap())).await;
    assert_eq!([node.address("blue"), node.address("red")], [None, Some(second)]);
    assert!(std::net::TcpListener::bind(third).is_ok(), "nobody is to listen there any more");
    node.end().await;
}
