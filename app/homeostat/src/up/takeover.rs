//! The takeover: how a process replaces its predecessor.
//!
//! The predecessor releases what only one process may hold: the loop, the store, the journal, the replicas. Its [`Frontend`] keeps
//! serving clients with its current routes, while the successor starts as after a crash: from the store, adopting the running replicas.
//! When the successor routes to as many replicas as the predecessor does, it accepts clients, and the predecessor drains its own
//! (docs/decisions/0034).

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::time::Duration;

use anyhow::Context as _;
use proxy::{EndpointState, EndpointTraffic, InheritedListener, Proxy, ServiceTraffic, Table};
use succession::{Handover, ListeningSocket, Predecessor, ReceiveError};

use super::{Options, Setup};

/// The name of the API's socket; no service can have this name.
const API: &str = "the API";

/// How long an earlier proxy of this process may drain its clients.
const LINGER: Duration = Duration::from_secs(60);

/// The part that serves clients; it works without the loop.
#[derive(Debug)]
pub(super) struct Frontend {
    pub(super) proxy: Proxy,
    /// The API's listener; connections wait in its backlog while nothing accepts them.
    pub(super) api: TcpListener,
    /// The API's address as it was configured.
    pub(super) api_requested: std::net::SocketAddr,
}

/// The instance that served until now.
#[derive(Debug)]
pub(super) enum Previous {
    /// None, or none to replace.
    None,
    /// Another process.
    Process(Predecessor),
    /// This process, after its successor failed.
    Own(Frontend),
}

impl Previous {
    /// Finds the running process, with `--take-over`.
    pub(super) async fn find(options: &Options) -> anyhow::Result<Self> {
        let Some(linger) = options.take_over else { return Ok(Self::None) };
        let found = Predecessor::connect(&options.data, linger).await?;
        Ok(found.map_or(Self::None, Self::Process))
    }

    /// Waits until it has released what only one process may hold, and returns what it hands over. A process that ends before that leaves
    /// nothing to replace: afterwards this is [`Self::None`].
    pub(super) async fn handover(&mut self) -> anyhow::Result<Handover> {
        match self {
            Self::None => Ok(Handover::default()),
            Self::Process(predecessor) => {
                tracing::info!("taking_over");
                match predecessor.receive().await {
                    Err(ReceiveError::Ended { .. }) => {
                        tracing::warn!(hint = "this process starts by itself", "predecessor_ended");
                        *self = Self::None;
                        Ok(Handover::default())
                    }
                    received => Ok(received?),
                }
            }
            Self::Own(frontend) => frontend.handover(),
        }
    }

    /// Waits until it has ended; for ever if it is no other process. Only after the handover.
    pub(super) async fn ended(&mut self) {
        match self {
            Self::Process(predecessor) => predecessor.ended().await,
            Self::None | Self::Own(_) => std::future::pending().await,
        }
    }

    /// Lets it drain, once this process serves.
    pub(super) async fn retire(self, setup: &Setup) {
        match self {
            Self::None => {}
            Self::Process(predecessor) => {
                // A process that has exited has no clients to drain.
                if let Err(error) = predecessor.retire().await {
                    tracing::warn!(error = %error, "predecessor_not_notified");
                }
            }
            Self::Own(frontend) => {
                setup.tasks.spawn(frontend.proxy.hand_over(LINGER));
            }
        }
    }
}

impl Frontend {
    /// The listening sockets and the served replicas, for a successor.
    ///
    /// Fails when the process has no file descriptors left.
    pub(super) fn handover(&self) -> anyhow::Result<Handover> {
        let failed = "could not duplicate the listening sockets";
        let table = self.proxy.table();
        let inherited = table.share_listeners().context(failed)?;
        let api = ListeningSocket {
            name: API.to_owned(),
            requested: self.api_requested,
            socket: self.api.try_clone().context(failed)?.into(),
        };
        let sockets = inherited.into_iter().map(|it| ListeningSocket {
            name: it.name.to_string(),
            requested: it.requested,
            socket: it.socket,
        });
        Ok(Handover { sockets: sockets.chain([api]).collect(), serving: serving(&table) })
    }
}

/// Splits the sockets of a handover: that of the API, if its address is still the configured one, and those of the proxy.
pub(super) fn sockets_of(
    handover: Vec<ListeningSocket>,
    listen: std::net::SocketAddr,
) -> (Option<TcpListener>, Vec<InheritedListener>) {
    let (api, others): (Vec<_>, Vec<_>) = handover.into_iter().partition(|socket| socket.name == API);
    let api = api.into_iter().find(|socket| socket.requested == listen);
    let inherited = others.into_iter().map(|socket| InheritedListener {
        name: socket.name.into(),
        requested: socket.requested,
        socket: socket.socket,
    });
    (api.map(|socket| socket.socket.into()), inherited.collect())
}

/// How many replicas of each service the proxy routes to.
pub(super) fn serving(table: &Table) -> BTreeMap<String, usize> {
    let is_serving = |endpoint: &&EndpointTraffic| endpoint.state == EndpointState::Serving;
    let count = |service: &ServiceTraffic| service.endpoints.iter().filter(is_serving).count();
    table.traffic().iter().map(|service| (service.service.to_string(), count(service))).collect()
}
