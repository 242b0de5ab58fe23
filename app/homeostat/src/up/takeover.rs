//! How a process takes the place of its predecessor.
//!
//! The predecessor releases what only one process may have: the loop, the store, the journal, the replicas. Its [`Frontend`], which
//! serves clients, goes on with the routes that it has, while the successor starts as after a crash: from the store, adopting the running
//! replicas. When the successor routes to as many replicas as the predecessor did, it accepts clients, and the predecessor drains its own
//! (docs/decisions/0034).

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::time::Duration;

use anyhow::Context as _;
use proxy::{EndpointState, EndpointTraffic, InheritedListener, Proxy, ServiceTraffic, Table};
use succession::{Handover, ListeningSocket, Predecessor};

use super::{Options, Setup};

/// The name of the API's socket; no service can have this name.
const API: &str = "the API";

/// How long clients may take to leave an earlier proxy of this process.
const LINGER: Duration = Duration::from_secs(60);

/// What serves clients, and goes on without the loop.
#[derive(Debug)]
pub(super) struct Frontend {
    pub(super) proxy: Proxy,
    /// The API's listener; requests wait in its queue while nobody accepts them.
    pub(super) api: TcpListener,
    /// The API's address as it was configured.
    pub(super) api_requested: std::net::SocketAddr,
}

/// What served until now.
#[derive(Debug)]
pub(super) enum Previous {
    /// Nothing, or nothing that we take the place of.
    None,
    /// Another process.
    Process(Predecessor),
    /// This process, whose successor has failed.
    Ourselves(Frontend),
}

impl Previous {
    /// Finds the running process, with `--take-over`.
    pub(super) async fn find(options: &Options) -> anyhow::Result<Self> {
        let Some(linger) = options.take_over else { return Ok(Self::None) };
        let found = Predecessor::connect(&options.data, linger).await?;
        Ok(found.map_or(Self::None, Self::Process))
    }

    /// What it hands over, once it has released what only one process may have.
    pub(super) async fn handover(&mut self) -> anyhow::Result<Handover> {
        match self {
            Self::None => Ok(Handover::default()),
            Self::Process(predecessor) => {
                tracing::info!("taking_over");
                Ok(predecessor.receive().await?)
            }
            Self::Ourselves(frontend) => frontend.handover(),
        }
    }

    /// Lets it drain, now that we serve.
    pub(super) async fn retire(self, setup: &Setup) {
        match self {
            Self::None => {}
            Self::Process(predecessor) => {
                // One that has ended has no clients to drain.
                if let Err(error) = predecessor.retire().await {
                    tracing::warn!(error = %error, "predecessor_not_notified");
                }
            }
            Self::Ourselves(frontend) => {
                setup.tasks.spawn(frontend.proxy.hand_over(LINGER));
            }
        }
    }
}

impl Frontend {
    /// What it hands over to its successor.
    ///
    /// Fails when the process has no file descriptors left.
    pub(super) fn handover(&self) -> anyhow::Result<Handover> {
        let failed = "could not hand over the listening sockets: the system gave no descriptor";
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

/// The sockets of a handover: that of the API, if its address is the same, and those of the proxy.
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
