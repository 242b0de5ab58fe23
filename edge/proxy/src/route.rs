//! The configuration of services.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use balance::{AdaptivePolicy, Balance, EndpointId, HedgePolicy, OutlierPolicy, SlowStart, Weight};
use model::resource::{self, AccessLog, RouteSpec};

/// A service: where clients reach it and which endpoints answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceRoute {
    /// Its name, as in the counters.
    pub service: Arc<str>,
    /// Where clients connect; port 0 lets the system choose. `None` for one that is reached through a [`Gateway`] only.
    pub listen: Option<SocketAddr>,
    /// The certificates for clients; `None` for a service without TLS.
    pub tls: Option<Tls>,
    /// The access log of its listener; `None` for none.
    pub access_log: Option<AccessLog>,
    /// Whether the PROXY protocol passes on the addresses of clients.
    pub proxy_protocol: ProxyProtocol,
    /// What is relayed for clients: HTTP, in the version that each of them speaks, TCP or UDP. Also the protocol of endpoints without a
    /// [`connection`](EndpointRoute::connection) of their own.
    pub protocol: Protocol,
    /// The balancing algorithm.
    pub balance: Balance,
    /// The part of a request that determines its endpoint, for [`Balance::ConsistentHash`].
    pub hash_key: HashKey,
    /// When a failing or slow endpoint is ejected.
    pub outliers: OutlierPolicy,
    /// How long an endpoint that begins to serve takes to reach its full weight.
    pub slow_start: SlowStart,
    /// How many requests may be in flight; further ones are answered 503 at once.
    pub limits: Limits,
    /// When a request that may be sent twice is also sent to a second endpoint; `None` for never.
    pub hedge: Option<HedgePolicy>,
    /// How long the proxy waits for clients and endpoints.
    pub timeouts: Timeouts,
    /// How the `X-Forwarded-*` headers of clients are treated.
    pub forwarded: Forwarded,
    /// Requests that may wait at once for an endpoint to become ready; further ones are answered 503 at once.
    pub waiting_max: u32,
    /// The zone whose endpoints are preferred as long as enough of them are healthy; `None` for no preference.
    pub preferred_zone: Option<Arc<str>>,
    /// The endpoints that answer. May be empty: requests then wait up to [`Timeouts::endpoint`].
    pub endpoints: Vec<EndpointRoute>,
}

impl ServiceRoute {
    /// A request that waits for an endpoint holds one connection and about 18 KiB: 1,024 hold 18 MiB.
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

/// The protocol of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// HTTP/1.1: one request at a time on each connection.
    #[default]
    Http1,
    /// Any bytes over TCP: each client connection is joined to a connection to an endpoint, and counts as a request.
    Tcp,
    /// Any datagrams over UDP: those from one address of a client are a session, which counts as a request.
    Udp,
    /// HTTP/2: many requests on one connection. With endpoints it is spoken without TLS and without being agreed on ("prior knowledge").
    Http2,
}

impl Protocol {
    /// Whether it is a version of HTTP.
    #[must_use]
    pub const fn is_http(self) -> bool {
        match self {
            Self::Http1 | Self::Http2 => true,
            Self::Tcp | Self::Udp => false,
        }
    }
}

/// How many requests may be in flight at once; `None` for any number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Of the service, tunnels included.
    pub in_flight: Option<NonZeroU32>,
    /// Of each of its endpoints, tunnels included.
    pub in_flight_per_endpoint: Option<NonZeroU32>,
    /// Of the service, those that await the head of an answer: determined automatically, as many as it can handle without becoming slow.
    pub adaptive: Option<AdaptivePolicy>,
}

/// The PROXY protocol: a header at the beginning of a connection has the addresses of the original client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ProxyProtocol {
    /// Whether clients begin each connection with such a header, which is trusted. Those that do not are disconnected.
    pub accept: bool,
    /// The version of the header for endpoints without a [`connection`](EndpointRoute::connection) of their own; see
    /// [`ConnectionSpec::proxy_header`].
    pub send: Option<ProxyVersion>,
}

/// A version of the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// The certificates for TLS with clients; at least one of either sort.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    /// Those that must exist. A client gets the first for the requested name, or else the first; the issued ones come after
    /// these.
    pub certificates: Vec<CertificateFiles>,
    /// Files with key and chain in PEM, which an authority has issued. One that does not exist yet, or cannot be used, is left out; without
    /// any certificate, clients are refused by an alert.
    pub issued: Vec<PathBuf>,
}

impl Tls {
    /// The declared certificates, in this order; `None` when there are none. `file` returns the file of an ACME declaration.
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
    /// The certificate, followed by its chain.
    pub certificate: PathBuf,
    /// The key, not encrypted.
    pub key: PathBuf,
}

/// A listener that several services share by their routes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// Where clients connect; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// The certificates that clients are shown; `None` for a listener without TLS.
    pub tls: Option<Tls>,
    /// Which requests go where. A request for a service that does not exist is answered 500.
    pub routes: Vec<AttachedRoute>,
}

/// A route of a shared listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachedRoute {
    /// Its name, as in the counters.
    pub name: Arc<str>,
    /// Grows with each created route: of two that match the same requests the older one gets them.
    pub created: u64,
    /// What it matches and does.
    pub spec: Arc<RouteSpec>,
}

/// Which part of a request decides its endpoint, for [`Balance::ConsistentHash`].
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

/// Whether an endpoint is a replica or an external one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Origin {
    /// A replica of the service.
    #[default]
    Replica,
    /// An external endpoint: it gets requests, and is counted apart from the replicas.
    Elsewhere,
}

/// One endpoint of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointRoute {
    /// Which replica, and which life of it; for an external endpoint, an id that no replica has.
    pub id: EndpointId,
    /// Whether it is a replica.
    pub origin: Origin,
    /// The zone that it is in; `None` if that is not known.
    pub zone: Option<Arc<str>>,
    /// Where it listens.
    pub address: SocketAddr,
    /// How connections to it begin; `None` for what the service declares. An endpoint that cannot be reached over the transport of its
    /// service, TCP or UDP, gets no requests on its main port.
    pub connection: Option<ConnectionSpec>,
    /// Its ports that a route can name in the place of the main one.
    pub ports: Arc<[NamedPort]>,
    /// Which version of the service it runs; there are counters for each version.
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
            connection: None,
            ports,
            version: 0,
            weight: Weight::ONE,
            state: EndpointState::Serving,
        }
    }
}

/// How connections to an endpoint begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConnectionSpec {
    /// What is spoken on its main port. Where the service relays TCP or UDP, its clients and its endpoints agree on what that is.
    pub protocol: Protocol,
    /// The version of the PROXY header that connections to any of its ports begin with, except those of [`Protocol::Http2`], which clients
    /// share.
    pub proxy_header: Option<ProxyVersion>,
}

/// A named port of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedPort {
    /// Its name.
    pub name: Arc<str>,
    /// Where the endpoint listens for it.
    pub address: SocketAddr,
    /// What is spoken there.
    pub protocol: Protocol,
}

/// Whether an endpoint gets requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointState {
    /// It gets new requests.
    Serving,
    /// It finishes what it has and gets nothing new; its idle connections are closed.
    Draining,
    /// It is gone, or not there yet. Requests that it still answers are not aborted.
    Out,
}

/// How long the proxy waits for clients and endpoints; each with an accuracy of 0.2 s.
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

/// What becomes of headers that say who a client is, or how it has connected: `X-Forwarded-For`, `-Host` and `-Proto`, and in requests that
/// have them `Forwarded`, `X-Real-IP` and further `X-Forwarded-*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Forwarded {
    /// The first three are replaced by what the proxy knows, and the others are removed: clients are not trusted.
    #[default]
    Replace,
    /// The first three are extended, and the others passed on: every client is a trusted proxy.
    Extend,
}
