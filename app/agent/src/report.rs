//! Reports about replicas: ends at once, usage in a steady beat, and everything there is now and then.

use std::sync::Arc;
use std::time::Duration;

use model::input::{Allotted, Input, Report};
use platform::{Event, Life, LifeState};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::agent::Inner;
use crate::known::{KnownReplica, Standing};
use crate::obey::spawn;
use crate::{routes, routing, traffic};

/// From one report of processor time and memory to the next.
const USAGE_EVERY: Duration = Duration::from_millis(500);

/// From one inventory to the next: a report that was lost is made good within this time.
const INVENTORY_EVERY: Duration = Duration::from_secs(10);

/// Starts the tasks that report without being asked.
pub(crate) fn start(inner: &Arc<Inner>) {
    spawn(inner, ends(Arc::clone(inner)));
    spawn(inner, usage(Arc::clone(inner)));
    spawn(inner, traffic::run(Arc::clone(inner)));
    spawn(inner, inventories(Arc::clone(inner)));
}

/// Hands an input to the loop. Once the loop has ended there is nobody left to tell.
pub(crate) fn tell(inner: &Inner, input: Input) {
    if inner.loop_handle.report(input).is_err() {
        tracing::debug!("loop_has_ended");
    }
}

/// Ticks every `period`; a beat that was missed is not made up for.
pub(crate) fn beat(period: Duration) -> Interval {
    let mut beat = interval(period);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    beat
}

/// Reports ends the moment they happen.
async fn ends(inner: Arc<Inner>) {
    let mut events = inner.platform.events();
    loop {
        match events.recv().await {
            Ok(Event::Ended(life)) => ended(&inner, &life),
            // Some ends were missed: the inventory has them.
            Err(RecvError::Lagged(_)) => inventory(Arc::clone(&inner)).await,
            Err(RecvError::Closed) => return,
        }
    }
}

/// Takes a life that has ended out of the traffic, and then reports how it ended.
pub(crate) fn ended(inner: &Inner, life: &Life) {
    routing::take_out(&inner.table, life);
    let observed = {
        let mut node = inner.known();
        let service = node.service(&life.replica.service);
        let ordinal = life.replica.ordinal;
        if service.replicas.get(&ordinal).is_none_or(|known| known.life.incarnation <= life.incarnation) {
            if let Some(old) = service.replicas.remove(&ordinal) {
                old.probing.cancel();
            }
            routing::route(inner, &life.replica.service, service);
            routes::let_go(&inner.table, &mut node, &life.replica.service);
        }
        life.observed(Standing::UNASKED.state())
    };
    tell(inner, Input::Report(Report::Replica(observed)));
}

async fn inventories(inner: Arc<Inner>) {
    let mut beat = beat(INVENTORY_EVERY);
    loop {
        beat.tick().await;
        inventory(Arc::clone(&inner)).await;
    }
}

/// Reports every replica there is, and takes up those that the agent does not know.
pub(crate) async fn inventory(inner: Arc<Inner>) {
    let up_to = inner.known().settled_up_to();
    let lives = match inner.platform.inventory().await {
        Ok(lives) => lives,
        Err(error) => {
            // A list that failed is not an empty list: nothing is reported.
            tracing::warn!(error = %error, "inventory_failed");
            return;
        }
    };
    let allotted: Vec<Allotted> = lives.iter().filter_map(allotted).collect();
    let mut node = inner.known();
    let replicas = lives
        .into_iter()
        .map(|life| {
            let replicas = &mut node.service(&life.replica.service).replicas;
            let ordinal = life.replica.ordinal;
            if matches!(life.state, LifeState::Exited(_)) {
                return life.observed(Standing::UNASKED.state());
            }
            let known = replicas.get_mut(&ordinal).filter(|known| known.life.incarnation == life.incarnation);
            match known {
                Some(known) => {
                    known.life = life;
                    known.observed()
                }
                None => {
                    let met = KnownReplica::of(life);
                    let observed = met.observed();
                    if let Some(old) = replicas.insert(ordinal, met) {
                        old.probing.cancel();
                    }
                    observed
                }
            }
        })
        .collect();
    routes::retry(&inner, &mut node);
    drop(node);
    let node = inner.node.clone();
    tell(&inner, Input::Report(Report::Inventory { node, up_to, replicas }));
    if !allotted.is_empty() {
        tell(&inner, Input::Report(Report::Allotted(allotted)));
    }
}

/// The resources that a running life may use; `None` where they are not known.
fn allotted(life: &Life) -> Option<Allotted> {
    let resources = life.resources?;
    let (replica, incarnation) = (life.replica.clone(), life.incarnation);
    (life.state == LifeState::Running).then_some(Allotted { replica, incarnation, resources })
}

async fn usage(inner: Arc<Inner>) {
    let mut beat = beat(USAGE_EVERY);
    loop {
        beat.tick().await;
        match inner.platform.usage().await {
            Ok(samples) if samples.is_empty() => {}
            Ok(samples) => tell(&inner, Input::Report(Report::Usage(samples))),
            Err(error) => tracing::warn!(error = %error, "usage_failed"),
        }
    }
}
