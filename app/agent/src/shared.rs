//! What all tasks of the agent share: its collaborators, its state behind locks, and its way to run tasks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use external::BalancerFiles;
use model::identity::ReplicaId;
use model::input::Input;
use model::name::{NodeName, ZoneName};
use orchestrator::Handle;
use platform::Platform;
use proxy::Table;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::known::KnownNode;
use crate::known_sources::KnownSources;
use crate::rates::Rates;

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
    pub(crate) state: State,
}

/// The state of the agent. Each part is consistent after every change, so a panic while it was locked does no harm.
#[derive(Debug, Default)]
pub(crate) struct State {
    known: Mutex<KnownNode>,
    errors: Mutex<Rates>,
    route_rates: Mutex<Rates>,
    metric_sources: Mutex<KnownSources>,
}

impl Shared {
    pub(crate) fn known(&self) -> MutexGuard<'_, KnownNode> {
        self.state.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The rates of requests that failed for their clients, by service.
    pub(crate) fn errors(&self) -> MutexGuard<'_, Rates> {
        self.state.errors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The rates of requests by route.
    pub(crate) fn route_rates(&self) -> MutexGuard<'_, Rates> {
        self.state.route_rates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn metric_sources(&self) -> MutexGuard<'_, KnownSources> {
        self.state.metric_sources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The declared grace period of a replica; the default when no declaration is known.
    pub(crate) fn grace_of(&self, replica: &ReplicaId) -> Duration {
        let mut node = self.known();
        let declared = node.replica(replica).and_then(|replica| replica.declared.clone());
        declared.map(|declared| declared.spec.stop).unwrap_or_default().grace.into()
    }

    /// Sends an input to the loop, if it still runs.
    pub(crate) fn report(&self, input: Input) {
        if self.loop_handle.report(input).is_err() {
            tracing::debug!("loop_ended");
        }
    }

    /// Runs a task until it ends or the agent does.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let ending = self.ending.clone();
        self.tasks.spawn_on(
            async move {
                // Both are cancel safe: the platform completes requests by itself.
                tokio::select! {
                    () = ending.cancelled() => {}
                    () = task => {}
                }
            },
            &self.runtime,
        );
    }
}
