//! Reports about replicas: their ends immediately, their usage and the whole inventory periodically.

use std::sync::Arc;
use std::time::Duration;

use model::identity::ReplicaId;
use model::input::{Allotted, Input, Report};
use platform::{Event, Life, LifeState};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::known::{Health, KnownNode, KnownReplica};
use crate::shared::Shared;
use crate::{routes, routing};

/// The interval of reports of CPU time and memory.
const USAGE_INTERVAL: Duration = Duration::from_millis(500);

/// The interval of inventories: lost reports are made up for within this time.
const INVENTORY_INTERVAL: Duration = Duration::from_secs(10);

/// Starts the tasks that send these reports.
pub(crate) fn start(shared: &Arc<Shared>) {
    shared.spawn(watch_ends(Arc::clone(shared), shared.platform.events()));
    shared.spawn(watch_usage(Arc::clone(shared)));
    shared.spawn(watch_inventory(Arc::clone(shared)));
}

/// Ticks every `period`; missed ticks are skipped.
pub(crate) fn ticker(period: Duration) -> Interval {
    let mut ticker = interval(period);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticker
}

/// Reports ends of replicas as they happen.
async fn watch_ends(shared: Arc<Shared>, mut events: Receiver<Event>) {
    loop {
        match events.recv().await {
            Ok(Event::Ended(life)) => report_end(&shared, &life),
            // Some ends were missed: the inventory includes them.
            Err(RecvError::Lagged(_)) => report_inventory(Arc::clone(&shared)).await,
            Err(RecvError::Closed) => return,
        }
    }
}

/// Reports those ends of a replica that were sent since `ends` was subscribed. A second report of the same end does no harm.
pub(crate) fn report_ends_of(shared: &Shared, replica: &ReplicaId, ends: &mut Receiver<Event>) {
    loop {
        match ends.try_recv() {
            Ok(Event::Ended(life)) if life.replica == *replica => report_end(shared, &life),
            Ok(Event::Ended(_)) | Err(TryRecvError::Lagged(_)) => {}
            Err(TryRecvError::Empty | TryRecvError::Closed) => return,
        }
    }
}

/// Stops routing requests to a life that has ended, and then reports how it ended.
pub(crate) fn report_end(shared: &Shared, life: &Life) {
    routing::remove_from_traffic(&shared.table, life);
    let observed = {
        let mut node = shared.known();
        let service = node.service(&life.replica.service);
        let ordinal = life.replica.ordinal;
        if service.replicas.get(&ordinal).is_none_or(|known| known.life.incarnation <= life.incarnation) {
            if let Some(old) = service.replicas.remove(&ordinal) {
                old.probing.cancel();
            }
            routing::update_route(shared, &life.replica.service, service);
            routes::remove_if_unused(&shared.table, &mut node, &life.replica.service);
        }
        node.forget_if_unused(&life.replica.service);
        life.observed(Health::UNKNOWN.state())
    };
    shared.report(Input::Report(Report::Replica(observed)));
}

async fn watch_inventory(shared: Arc<Shared>) {
    let mut ticker = ticker(INVENTORY_INTERVAL);
    loop {
        ticker.tick().await;
        report_inventory(Arc::clone(&shared)).await;
    }
}

/// Reports all replicas, and adopts those that the agent does not know yet.
pub(crate) async fn report_inventory(shared: Arc<Shared>) {
    let up_to = shared.known().settled_up_to();
    let lives = match shared.platform.inventory().await {
        Ok(lives) => lives,
        Err(error) => {
            // A failed inventory is not an empty one: nothing is reported.
            tracing::warn!(error = %error, "inventory_failed");
            return;
        }
    };
    let missed = missed_ends(&shared.known(), &lives);
    missed.iter().for_each(|life| report_end(&shared, life));
    let allotted: Vec<Allotted> = lives.iter().filter_map(allotted).collect();
    let mut node = shared.known();
    let versions = Arc::clone(&node.versions);
    let replicas = lives
        .into_iter()
        .map(|life| {
            // Reported for its number, which must not be used again; its service may be long gone.
            if matches!(life.state, LifeState::Exited(_)) {
                return life.observed(Health::UNKNOWN.state());
            }
            let replicas = &mut node.service(&life.replica.service).replicas;
            let ordinal = life.replica.ordinal;
            let known = replicas.get_mut(&ordinal).filter(|known| known.life.incarnation == life.incarnation);
            match known {
                Some(known) => {
                    known.life = life;
                    known.observed()
                }
                None => {
                    let found = KnownReplica::found(life, &versions);
                    let observed = found.observed();
                    if let Some(old) = replicas.insert(ordinal, found) {
                        old.probing.cancel();
                    }
                    observed
                }
            }
        })
        .collect();
    routes::retry(&shared, &mut node);
    drop(node);
    let node = shared.node.clone();
    shared.report(Input::Report(Report::Inventory { node, up_to, replicas }));
    if !allotted.is_empty() {
        shared.report(Input::Report(Report::Allotted(allotted)));
    }
}

/// The ended lives that the agent does not know to have ended: their events were lost.
fn missed_ends(node: &KnownNode, lives: &[Life]) -> Vec<Life> {
    let is_missed = |life: &&Life| {
        let known =
            node.services.get(&life.replica.service).and_then(|it| it.replicas.get(&life.replica.ordinal));
        matches!(life.state, LifeState::Exited(_))
            && known.is_some_and(|known| known.life.incarnation == life.incarnation)
    };
    lives.iter().filter(is_missed).cloned().collect()
}

/// The resource limits of a running life, if they are known.
fn allotted(life: &Life) -> Option<Allotted> {
    let resources = life.resources?;
    let (replica, incarnation) = (life.replica.clone(), life.incarnation);
    (life.state == LifeState::Running).then_some(Allotted { replica, incarnation, resources })
}

async fn watch_usage(shared: Arc<Shared>) {
    let mut ticker = ticker(USAGE_INTERVAL);
    loop {
        ticker.tick().await;
        match shared.platform.usage().await {
            Ok(samples) if samples.is_empty() => {}
            Ok(samples) => shared.report(Input::Report(Report::Usage(samples))),
            Err(error) => tracing::warn!(error = %error, "usage_failed"),
        }
    }
}
