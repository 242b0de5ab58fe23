//! How a process takes the place of its predecessor.
//!
//! The predecessor releases what only one process may have: the loop, the store, the journal, the replicas. What faces clients, its
//! [`Front`], goes on with what it knows, while the successor begins as after a crash: from the store, adopting what runs. When the
//! successor sends requests to as many replicas as the predecessor did, it accepts clients, and the predecessor serves its remaining ones
//! to their end (docs/decisions/0034).

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::time::Duration;

use anyhow::Context as _;
use proxy::{EndpointState, EndpointTraffic, Inherited, Proxy, ServiceTraffic, Table};
use succession::{Estate, Heirloom, Predecessor};

use super::{House, Up};

/// What the API's socket is called; no service can have this name.
const API: &str = "the API";

/// How long our own clients may take to leave a proxy whose place we have taken ourselves.
const LINGER: Duration = Duration::from_secs(60);

/// What faces clients, and goes on without a loop.
#[derive(Debug)]
pub(super) struct Front {
    pub(super) proxy: Proxy,
    /// Where the API listens; a request waits in the socket's queue while nobody answers.
    pub(super) api: TcpListener,
    /// As it was asked for.
    pub(super) api_requested: std::net::SocketAddr,
}

/// Who served until now.
#[derive(Debug)]
pub(super) enum Before {
    /// Nobody that we would take the place of.
    Nobody,
    /// Another process.
    Another(Predecessor),
    /// This process, whose successor has failed.
    Ourselves(Front),
}

impl Before {
    /// Looks for the one that runs, when its place is to be taken.
    pub(super) async fn find(up: &Up) -> anyhow::Result<Self> {
        let Some(linger) = up.take_over else { return Ok(Self::Nobody) };
        let found = Predecessor::find(&up.data, linger).await?;
        Ok(found.map_or(Self::Nobody, Self::Another))
    }

    /// What it leaves, once it has let go of what only one may have.
    pub(super) async fn estate(&mut self) -> anyhow::Result<Estate> {
        match self {
            Self::Nobody => Ok(Estate::default()),
            Self::Another(predecessor) => {
                tracing::info!("taking over from the one that runs");
                Ok(predecessor.estate().await?)
            }
            Self::Ourselves(front) => front.estate(),
        }
    }

    /// Lets it see off its clients, now that we serve.
    pub(super) async fn retire(self, house: &House) {
        match self {
            Self::Nobody => {}
            Self::Another(predecessor) => {
                // One that is gone already has nobody to see off.
                if let Err(error) = predecessor.retire().await {
                    tracing::warn!(error = %error, "predecessor_not_told");
                }
            }
            Self::Ourselves(front) => {
                house.tasks.spawn(front.proxy.leave(LINGER));
            }
        }
    }
}

impl Front {
    /// What it leaves to the one that takes its place.
    ///
    /// Fails when descriptors have run out.
    pub(super) fn estate(&self) -> anyhow::Result<Estate> {
        let failed = "could not hand over the listening sockets: the system gave no descriptor";
        let table = self.proxy.table();
        let inherited = table.bequeath().context(failed)?;
        let api = Heirloom {
            name: API.to_owned(),
            requested: self.api_requested,
            socket: self.api.try_clone().context(failed)?.into(),
        };
        let sockets = inherited.into_iter().map(|it| Heirloom {
            name: it.name.to_string(),
            requested: it.requested,
            socket: it.socket,
        });
        Ok(Estate { sockets: sockets.chain([api]).collect(), serving: serving(&table) })
    }
}

/// The sockets of an estate: that of the API, when it is to listen at the same address, and those of the proxy.
pub(super) fn sockets_of(
    estate: Vec<Heirloom>,
    listen: std::net::SocketAddr,
) -> (Option<TcpListener>, Vec<Inherited>) {
    let (api, others): (Vec<_>, Vec<_>) = estate.into_iter().partition(|heirloom| heirloom.name == API);
    let api = api.into_iter().find(|heirloom| heirloom.requested == listen);
    let inherited = others.into_iter().map(|heirloom| Inherited {
        name: heirloom.name.into(),
        requested: heirloom.requested,
        socket: heirloom.socket,
    });
    (api.map(|heirloom| heirloom.socket.into()), inherited.collect())
}

/// How many replicas of each service get requests.
pub(super) fn serving(table: &Table) -> BTreeMap<String, usize> {
    let is_serving = |endpoint: &&EndpointTraffic| endpoint.state == EndpointState::Serving;
    let count = |service: &ServiceTraffic| service.endpoints.iter().filter(is_serving).count();
    table.traffic().iter().map(|service| (service.service.to_string(), count(service))).collect()
}
