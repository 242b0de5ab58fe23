//! What the proxy is told about a service.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use balance::{Balance, EndpointId, HedgePolicy, OutlierPolicy, SlowStart, Weight};
use model::resource::{self, AccessLog, RouteSpec};

use crate::gate::Limits;

/// A service: where clients reach it and which endpoints answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceRoute {
    /// Its name, as in the counters.
    pub service: Arc<str>,
    /// Where clients connect; port 0 lets the system choose. `None` for one that is reached through a [`Gateway`] only.
    pub listen: Option<SocketAddr>,
    /// The certificates that clients are shown; `None` for a service that speaks plainly.
    pub tls: Option<Tls>,
    /// Where the requests of its listener are logged; `None` for nowhere.
    pub access_log: Option<AccessLog>,
    /// Headers that say whose a connection is.
    pub proxy_protocol: ProxyProtocol,
    /// What is spoken with the endpoints.
    pub protocol: Protocol,
    /// The ports that a route can name in the place of the one that gets the service's requests.
    pub ports: Vec<ServicePort>,
    /// How requests are spread.
    pub balance: Balance,
    /// What requests are told apart by where equal ones go to the same endpoint.
    pub hash_key: HashKey,
    /// When a failing endpoint sits out.
    pub outliers: OutlierPolicy,
    /// How long an endpoint that begins to serve takes to its full weight.
    pub slow_start: SlowStart,
    /// How many requests may be under way at once; further ones are answered 503 without a wait.
    pub limits: Limits,
    /// When a request that may be sent twice is sent to a second endpoint, too; `None` for never.
    pub hedge: Option<HedgePolicy>,
    /// How long to wait for what.
    pub timeouts: Timeouts,
    /// Whether clients are believed about who they forward for.
    pub forwarded: Forwarded,
    /// Requests that may wait at once for an endpoint to become ready; further ones are answered 503 at once.
    pub waiting_max: u32,
    /// The zone whose endpoints are preferred, as far as enough of them are well; `None` where all are alike.
    pub preferred_zone: Option<Arc<str>>,
    /// Who answers. May be empty: requests then wait up to [`Timeouts::endpoint`].
    pub endpoints: Vec<EndpointRoute>,
}

impl ServiceRoute {
    /// Requests that wait for an endpoint: each holds one connection and about 18 KiB, so 1,024 hold 18 MiB.
    pub const WAITING_MAX_DEFAULT: u32 = 1024;

    /// A service without endpoints, with the defaults for all else.
    #[must_use]
    pub fn new(service: impl Into<Arc<str>>, listen: SocketAddr) -> Self {
        Self { listen: Some(listen), ..Self::without_listener(service) }
    }

    /// A service that listens nowhere, without endpoints, with the defaults for all else.
    #[must_use]
    pub fn without_listener(service: impl Into<Arc<str>>) -> Self {
        Self {
            service: service.into(),
            listen: None,
            tls: None,
            access_log: None,
            proxy_protocol: ProxyProtocol::default(),
            protocol: Protocol::default(),
            ports: Vec::new(),
            balance: Balance::default(),
            hash_key: HashKey::default(),
            outliers: OutlierPolicy::default(),
            slow_start: SlowStart::OFF,
            limits: Limits::default(),
            hedge: None,
            timeouts: Timeouts::default(),
            forwarded: Forwarded::default(),
            waiting_max: Self::WAITING_MAX_DEFAULT,
            preferred_zone: None,
            endpoints: Vec::new(),
        }
    }
}

/// A port that endpoints of a service have, each at an address of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort {
    /// Its name.
    pub name: Arc<str>,
    /// What is spoken there.
    pub protocol: Protocol,
}

/// What is spoken on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// HTTP/1.1: one request at a time on each connection.
    #[default]
    Http1,
    /// Bytes, whatever they mean: each connection of a client is one to an endpoint, and counts as a request.
    Tcp,
    /// Datagrams of UDP, whatever they mean: what one address of a client sends is a session, and counts as a request.
    Udp,
    /// HTTP/2: many requests on one connection. With endpoints it is spoken without TLS and without being agreed on ("prior knowledge").
    Http2,
}

/// The PROXY protocol: in front of a connection a header says whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ProxyProtocol {
    /// Clients begin each connection with such a header, and are believed; those that do not are let go.
    pub accept: bool,
    /// Connections to endpoints begin with one. Those of [`Protocol::Http2`] are shared by clients, and none is sent there.
    pub send: Option<ProxyVersion>,
}

/// A version of the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Bytes.
    V2,
}

/// The certificates with which TLS is spoken to clients; at least one of either sort.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    /// Those that have to be there. A client that asks for a name gets the first that holds it, or else the first; those that are issued come
    /// after these.
    pub certificates: Vec<CertificateFiles>,
    /// Files with key and chain in one, in PEM, that an authority's answer comes to. One that is not there yet, or cannot be used, is left
    /// out; a client for whom there is none is refused by an alert.
    pub issued: Vec<PathBuf>,
}

impl Tls {
    /// All that is declared, in this order; `None` when nothing is. `file` says where a certificate that is asked for by itself comes to.
    pub fn declared<'a>(
        declared: impl IntoIterator<Item = &'a resource::Tls>,
        file: impl Fn(&resource::Acme) -> PathBuf,
    ) -> Option<Self> {
        let mut all = Self::default();
        for tls in declared {
            all.certificates.extend(tls.certificates.iter().map(CertificateFiles::of));
            all.issued.extend(tls.acme.as_ref().map(&file));
        }
        (all != Self::default()).then_some(all)
    }
}

impl CertificateFiles {
    fn of(pair: &resource::CertificateFiles) -> Self {
        Self { certificate: PathBuf::from(&pair.certificate), key: PathBuf::from(&pair.key) }
    }
}

/// A certificate and its private key, both in PEM. When a file changes, it is read again within a second or two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate, and behind it those that it was signed with.
    pub certificate: PathBuf,
    /// The key, not encrypted.
    pub key: PathBuf,
}

/// A listener that several services share by their routes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// Where clients connect; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// The certificates that clients are shown; `None` for a listener that speaks plainly.
    pub tls: Option<Tls>,
    /// Which requests go where. They name services; one that is not there is as one that cannot answer: 500.
    pub routes: Vec<AttachedRoute>,
}

/// A route of a shared listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachedRoute {
    /// Its name, as in the counters.
    pub name: Arc<str>,
    /// Grows with each route that is created: of two that ask for the same requests the older one gets them.
    pub created: u64,
    /// What it asks for.
    pub spec: Arc<RouteSpec>,
}

/// What requests are told apart by, for [`Balance::ConsistentHash`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum HashKey {
    /// The client's address.
    #[default]
    Address,
    /// The first header of this name; the address where there is none.
    Header(Arc<str>),
    /// The first cookie of this name; the address where there is none.
    Cookie(Arc<str>),
}

/// Whose an endpoint is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Origin {
    /// A replica of the service.
    #[default]
    Replica,
    /// Something that others run: it is balanced to, and counted apart from the replicas.
    Elsewhere,
}

/// One endpoint of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointRoute {
    /// Which replica, and which life of it; for one elsewhere an id that is no replica's.
    pub id: EndpointId,
    /// Whose it is.
    pub origin: Origin,
    /// The zone that it is in; `None` where that is not known.
    pub zone: Option<Arc<str>>,
    /// Where it listens.
    pub address: SocketAddr,
    /// Where it listens for each port that a route can name; one that is not here it does not have.
    pub ports: Arc<[(Arc<str>, SocketAddr)]>,
    /// Which version of the service it runs: counters are kept by it, too.
    pub version: u64,
    /// Its share of the traffic.
    pub weight: Weight,
    /// Whether it gets new requests.
    pub state: EndpointState,
}

impl EndpointRoute {
    /// A serving replica of weight 1, of version 0, in no zone.
    #[must_use]
    pub fn new(id: EndpointId, address: SocketAddr) -> Self {
        let ports = Arc::default();
        Self {
            id,
            origin: Origin::Replica,
            zone: None,
            address,
            ports,
            version: 0,
            weight: Weight::ONE,
            state: EndpointState::Serving,
        }
    }
}

/// Whether an endpoint gets requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointState {
    /// It gets new requests.
    Serving,
    /// It finishes what it has and gets nothing new; its idle connections are closed.
    Draining,
    /// It is not there (any more). Requests that it still answers are not cut off.
    Out,
}

/// How long the proxy waits for what; all are kept to within 0.2 s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For the whole head of a request, from its first byte or from the start of the connection.
    pub request_head: Duration,
    /// For the next request on an idle client connection, and for the next datagram, in either direction, of a session of [`Protocol::Udp`].
    pub client_idle: Duration,
    /// For an endpoint to become ready when there is none, before 503.
    pub endpoint: Duration,
    /// For an endpoint to accept a connection.
    pub connect: Duration,
    /// For the head of the response once the request is sent, before 504.
    pub response_head: Duration,
    /// Between two pieces of a body, in either direction, and in a tunnel or a connection of [`Protocol::Tcp`].
    pub stream_idle: Duration,
    /// How long an unused connection to an endpoint is kept.
    pub upstream_idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            request_head: Duration::from_secs(10),
            client_idle: Duration::from_secs(75),
            endpoint: Duration::from_secs(5),
            connect: Duration::from_secs(1),
            response_head: Duration::from_secs(60),
            stream_idle: Duration::from_secs(300),
            // Below the 5 s after which Node.js and uvicorn close theirs: a request must not meet a closing connection.
            upstream_idle: Duration::from_secs(4),
        }
    }
}

/// What becomes of `X-Forwarded-*` headers that clients send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Forwarded {
    /// They are replaced by what the proxy sees: clients may be anybody.
    #[default]
    Replace,
    /// They are extended: every client is a proxy of our own.
    Extend,
}
