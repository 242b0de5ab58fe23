//! Services: how they run, what they depend on, and how they are probed, scaled, healed, exposed and stopped.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    AccessLog, AutoscalerSpec, Count, ElsewhereEndpoint, External, Hedge, Limits, ListenAddress, Metadata,
    Outliers, Port, PortName, Probes, Problems, ProxyProtocol, Quantity, Scale, Span, Tls,
    TrafficDistribution,
};
use crate::name::ServiceName;

/// A service: replicas of one program, and how they are run, scaled and exposed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Service {
    /// Name, labels and annotations.
    pub metadata: Metadata,
    /// What is asked for.
    pub spec: ServiceSpec,
}

impl Service {
    /// The name of the service.
    pub const fn name(&self) -> &ServiceName {
        &self.metadata.name
    }

    /// The autoscaler that the service itself declares; `None` when its number of replicas is fixed.
    ///
    /// Fails when a metric or a rule of `scale` is invalid.
    pub fn autoscaler(&self) -> Result<Option<AutoscalerSpec>, Problems> {
        match &self.spec.scale.count {
            Count::Fixed(_) => Ok(None),
            Count::Auto(auto) => auto.to_spec(self.name()).map(Some),
        }
    }
}

/// What is asked for of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ServiceSpec {
    /// What each replica runs.
    pub run: Run,
    /// What each replica may use.
    #[serde(default, skip_serializing_if = "Resources::is_empty")]
    pub resources: Resources,
    /// The ports that each replica listens on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
    /// How the health of a replica is checked. A probe that is not given always passes.
    #[serde(default, skip_serializing_if = "is_default")]
    pub probes: Probes,
    /// How many replicas run. Default: one.
    #[serde(default)]
    pub scale: Scale,
    /// How a replica that is dead or unhealthy is replaced. Default: those of its fields.
    #[serde(default)]
    pub recover: Recover,
    /// How replicas of a newer version replace those of an older one. Default: those of its fields.
    #[serde(default, skip_serializing_if = "is_default")]
    pub update: Update,
    /// The services that must run before this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<Dependency>,
    /// Where this service is reached. Default: nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expose: Option<Expose>,
    /// How a replica is stopped. Default: those of its fields.
    #[serde(default)]
    pub stop: Stop,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl ServiceSpec {
    /// The first TCP port, which is used where no port is named; `None` when there is none.
    pub fn first_port(&self) -> Option<&Port> {
        self.ports.iter().find(|port| port.protocol.is_over_tcp())
    }

    /// The port that `expose` names; `None` when the service is not exposed, or does not have that port.
    pub fn exposed_port(&self) -> Option<&Port> {
        let expose = self.expose.as_ref()?;
        self.ports.iter().find(|port| port.name == expose.port)
    }

    /// The port that gets the requests to the service: that of `expose`, or without it the first TCP port.
    pub fn traffic_port(&self) -> Option<&Port> {
        if self.expose.is_some() { self.exposed_port() } else { self.first_port() }
    }
}

/// What each replica runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Run {
    /// The program and its arguments, run without a shell; `$(NAME)` in an argument stands for the environment variable NAME, and `$$` for
    /// `$`, so that the `$$` of a shell is written `$$$$`.
    #[schemars(length(min = 1))]
    pub command: Vec<String>,
    /// Environment variables. Besides them a replica gets only PATH, HOME, LANG, the number of each of its ports (`PORT_HTTP` for
    /// a port `http`), and its own identity (`HOMEOSTAT_SERVICE`, `HOMEOSTAT_REPLICA`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// The folder that it runs in; a relative path starts from the folder of the manifest. Default: the folder of the manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_directory: Option<String>,
    /// The user it runs as, a name or a number. Default: the user that runs Homeostat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// What each replica may use: the base of its utilization. Memory is a limit; processor is a share of what is scarce, or a limit with
/// `homeostat up --cpu quota`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Resources {
    /// Processor, in cores: `250m` is a quarter of one. Above 0. It is a share of a processor that is scarce, or a limit with
    /// `homeostat up --cpu quota`. Default: an equal share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Quantity>,
    /// Memory, in bytes, as a limit. At least 1Mi. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Quantity>,
}

impl Resources {
    /// Whether no resource is declared.
    pub const fn is_empty(&self) -> bool {
        self.cpu.is_none() && self.memory.is_none()
    }
}

/// How a replica that is dead or unhealthy is replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "RecoverFields", into = "RecoverFields")]
pub enum Recover {
    /// A new replica is started.
    #[default]
    Reschedule,
    /// A warm spare takes its place at once, and a new spare is started.
    Standby {
        /// Warm spares that run without traffic; at least 1.
        spares: u32,
    },
    /// The replica that serves most takes over its share until a new one has started.
    MostActive,
    /// A replica chosen by chance takes over its share until a new one has started.
    Random,
}

/// How a replica that is dead or unhealthy is replaced.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RecoverFields {
    /// How the replacement is found.
    #[serde(default)]
    strategy: RecoverStrategy,
    /// Warm spares that run without traffic, 1 to 1000; none while the service has no replicas; only with strategy `standby`. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    spares: Option<u32>,
}

/// How the replacement of a replica is found.
#[derive(Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
enum RecoverStrategy {
    /// A new replica is started.
    #[default]
    Reschedule,
    /// A warm spare takes its place at once, and a new spare is started.
    Standby,
    /// The replica that serves most takes over its share until a new one has started.
    MostActive,
    /// A replica chosen by chance takes over its share until a new one has started.
    Random,
}

/// Most warm spares of one service: as many as replicas of a large service; more is probably a typing error.
pub const SPARES_MAX: u32 = 1000;

/// Why the fields of `recover` are invalid.
#[derive(Debug, thiserror::Error)]
enum RecoverError {
    #[error("spares is allowed only with strategy standby")]
    SparesWithoutStandby,
    #[error("strategy standby keeps 1 to {SPARES_MAX} spares, not {spares}")]
    Spares { spares: u32 },
}

impl TryFrom<RecoverFields> for Recover {
    type Error = RecoverError;

    fn try_from(fields: RecoverFields) -> Result<Self, RecoverError> {
        let recover = match fields.strategy {
            RecoverStrategy::Standby => {
                let spares = fields.spares.unwrap_or(1);
                if !(1..=SPARES_MAX).contains(&spares) {
                    return Err(RecoverError::Spares { spares });
                }
                return Ok(Self::Standby { spares });
            }
            RecoverStrategy::Reschedule => Self::Reschedule,
            RecoverStrategy::MostActive => Self::MostActive,
            RecoverStrategy::Random => Self::Random,
        };
        if fields.spares.is_some() { Err(RecoverError::SparesWithoutStandby) } else { Ok(recover) }
    }
}

impl From<Recover> for RecoverFields {
    fn from(recover: Recover) -> Self {
        let (strategy, spares) = match recover {
            Recover::Reschedule => (RecoverStrategy::Reschedule, None),
            Recover::Standby { spares } => (RecoverStrategy::Standby, Some(spares)),
            Recover::MostActive => (RecoverStrategy::MostActive, None),
            Recover::Random => (RecoverStrategy::Random, None),
        };
        Self { strategy, spares }
    }
}

/// How replicas of a newer version replace those of an older one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Update {
    /// How long a replica has to be ready, without interruption, before another one is replaced, as with Kubernetes' `minReadySeconds`. Until
    /// then its version has not shown that it works, so that the one before is started where a replica is missing. 0s to 1h.
    pub min_ready: Span,
}

impl Default for Update {
    fn default() -> Self {
        Self { min_ready: Span::ZERO }
    }
}

/// A service that must run before this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Dependency {
    /// Its name.
    pub service: ServiceName,
    /// How far that service must have come before this one starts.
    #[serde(default)]
    pub when: DependencyStage,
}

/// How far a dependency must have come.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum DependencyStage {
    /// One of its replicas runs.
    Started,
    /// One of its replicas may get traffic.
    #[default]
    Ready,
}

/// Where a service is reached, and how a replica is chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Expose {
    /// The address that the proxy listens on, for HTTP/1.1 and HTTP/2 or for what the port's `protocol` says. Required unless
    /// `external` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen: Option<ListenAddress>,
    /// The name of the port of the replicas that gets the traffic.
    pub port: PortName,
    /// Which replica gets a request.
    #[serde(default)]
    pub balance: Balance,
    /// How clients are told apart for `balance: consistentHash`. Default: by their address.
    #[serde(default, skip_serializing_if = "HashKey::is_default")]
    pub hash: HashKey,
    /// How long a replica that has just become ready takes to reach its full share of the requests: the share grows linearly from
    /// a tenth of it. 1ms to 1h. Default: it gets its full share at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow_start: Option<Span>,
    /// How many requests may be under way at once; further ones are refused at once with 503 and Retry-After.
    #[serde(default, skip_serializing_if = "Limits::is_none")]
    pub limits: Limits,
    /// Sends a request that takes long to a second replica as well; `{}` sends one that takes longer than 95 % of them do.
    /// Default: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hedge: Option<Hedge>,
    /// When a ready replica gets no requests for a while because it keeps failing or is slow. Default: those of its fields.
    #[serde(default, skip_serializing_if = "Outliers::is_default")]
    pub outliers: Outliers,
    /// The certificates with which the proxy speaks TLS to clients; changed files are taken over without a restart. Default:
    /// none, so that no TLS is spoken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// The PROXY protocol: headers that tell a client's own address, accepted from a proxy in front or sent to replicas that want
    /// them.
    #[serde(default, skip_serializing_if = "ProxyProtocol::is_none")]
    pub proxy_protocol: ProxyProtocol,
    /// How long the proxy waits. Default: those of its fields.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// Writes a line for each request that arrives at `listen`. Default: none is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_log: Option<AccessLog>,
    /// Endpoints that Homeostat does not run and that get requests beside the replicas, or alone where there is no replica; up to
    /// 256. They are neither probed nor scaled, and requests to them do not count as load.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<ElsewhereEndpoint>,
    /// Which of the replicas and `endpoints` are preferred. Default: none, all are treated alike.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic_distribution: Option<TrafficDistribution>,
    /// Load balancers of your own that Homeostat keeps informed of the replicas and `endpoints`, 1 to 8. They get addresses,
    /// weights, `balance` and `hash`; all else here concerns only Homeostat's own proxy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub external: Vec<External>,
}

impl Expose {
    /// With this address and port, and defaults for everything else.
    pub fn new(listen: ListenAddress, port: PortName) -> Self {
        Self {
            listen: Some(listen),
            port,
            balance: Balance::default(),
            hash: HashKey::default(),
            slow_start: None,
            limits: Limits::default(),
            hedge: None,
            outliers: Outliers::default(),
            tls: None,
            proxy_protocol: ProxyProtocol::default(),
            timeouts: Timeouts::default(),
            access_log: None,
            endpoints: Vec::new(),
            traffic_distribution: None,
            external: Vec::new(),
        }
    }
}

/// Which replica gets a request.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum Balance {
    /// Each replica in turn, endpoints by their weights.
    RoundRobin,
    /// One chosen by chance.
    Random,
    /// Smooth weighted round robin: in turn, the faster replicas more often.
    Weighted,
    /// The less loaded of two chosen by chance, by requests in flight and latency.
    #[default]
    LeastLoaded,
    /// The same replica for the same client, unless it has over a quarter more requests in flight than the mean.
    ConsistentHash,
}

/// What tells clients apart when they are to meet the same replica again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "HashFields", into = "HashFields")]
pub enum HashKey {
    /// Their address.
    #[default]
    Address,
    /// A header of their requests; their address where it is missing.
    Header(String),
    /// A cookie of their requests; their address where it is missing.
    Cookie(String),
}

impl HashKey {
    /// Whether it is the default.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// How clients are told apart for `balance: consistentHash`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct HashFields {
    /// By the request header of this name; a request without it by its client's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    header: Option<String>,
    /// By the cookie of this name; a request without it by its client's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cookie: Option<String>,
}

/// Why the fields of `hash` are invalid.
#[derive(Debug, thiserror::Error)]
enum HashError {
    #[error("clients are told apart by a header or by a cookie, not by both: remove one")]
    Both,
    #[error(
        "`{name}` is not the name of a header or cookie: those are 1 to {HASH_NAME_MAX} letters, digits and any of !#$%&'*+-.^_`|~"
    )]
    Name { name: String },
}

/// Longest name of a header or cookie, in bytes; names in use are far shorter.
const HASH_NAME_MAX: usize = 128;

impl TryFrom<HashFields> for HashKey {
    type Error = HashError;

    fn try_from(fields: HashFields) -> Result<Self, HashError> {
        match (fields.header, fields.cookie) {
            (None, None) => Ok(Self::Address),
            (Some(header), None) => Ok(Self::Header(token(header)?)),
            (None, Some(cookie)) => Ok(Self::Cookie(token(cookie)?)),
            (Some(_), Some(_)) => Err(HashError::Both),
        }
    }
}

impl From<HashKey> for HashFields {
    fn from(key: HashKey) -> Self {
        let (header, cookie) = match key {
            HashKey::Address => (None, None),
            HashKey::Header(header) => (Some(header), None),
            HashKey::Cookie(cookie) => (None, Some(cookie)),
        };
        Self { header, cookie }
    }
}

/// Validates a token of HTTP. Source: RFC 9110, section 5.6.2, "token"; RFC 6265, section 4.1.1.
fn token(name: String) -> Result<String, HashError> {
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    let fits = (1..=HASH_NAME_MAX).contains(&name.len()) && name.bytes().all(is_token);
    if fits { Ok(name) } else { Err(HashError::Name { name }) }
}

/// How long the proxy waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Timeouts {
    /// For a connection to a replica to open. 1ms to 1h.
    pub connect: Span,
    /// For the head of a replica's answer. 1ms to 1h.
    pub response: Span,
    /// For the next request on a client's connection; with UDP, for the next datagram of a session in either direction.
    /// 1ms to 1h.
    pub idle: Span,
    /// For the next bytes, in either direction, of what has begun: a body, a stream, a WebSocket, or a connection of plain TCP. 1ms to 1h.
    pub stream: Span,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Span::from_millis(500),
            response: Span::from_secs(30),
            idle: Span::from_secs(60),
            stream: Span::from_secs(300),
        }
    }
}

/// How a replica is stopped: no new traffic, what is in flight may finish, the signal, the grace, then SIGKILL to its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Stop {
    /// The signal that asks it to stop.
    pub signal: Signal,
    /// How long it has from the signal until it is killed with SIGKILL. 0s to 1h.
    pub grace: Span,
    /// How long requests in flight may take to finish before the signal is sent. 0s to 1h.
    pub drain: Span,
}

impl Default for Stop {
    fn default() -> Self {
        Self { signal: Signal::Term, grace: Span::from_secs(10), drain: Span::from_secs(5) }
    }
}

/// A signal that asks a process to stop.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum Signal {
    /// The usual request to end.
    #[default]
    #[serde(rename = "SIGTERM")]
    Term,
    /// What Ctrl-C sends.
    #[serde(rename = "SIGINT")]
    Int,
    /// What Ctrl-\ sends; some servers drain on it.
    #[serde(rename = "SIGQUIT")]
    Quit,
    /// What a terminal that closes sends.
    #[serde(rename = "SIGHUP")]
    Hup,
    /// Means what the program takes it to mean.
    #[serde(rename = "SIGUSR1")]
    Usr1,
    /// Means what the program takes it to mean.
    #[serde(rename = "SIGUSR2")]
    Usr2,
    /// Kills it at once.
    #[serde(rename = "SIGKILL")]
    Kill,
}

impl Signal {
    /// Its number on Linux.
    pub const fn number(self) -> i32 {
        match self {
            Self::Hup => 1,
            Self::Int => 2,
            Self::Quit => 3,
            Self::Kill => 9,
            Self::Usr1 => 10,
            Self::Usr2 => 12,
            Self::Term => 15,
        }
    }
}
