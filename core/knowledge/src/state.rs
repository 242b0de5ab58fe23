//! The state as a whole.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use model::identity::{Epoch, Incarnation, Ordinal, ReplicaId};
use model::measure::MetricKey;
use model::name::{NodeName, ServiceName};
use model::quantity::Milli;
use model::time::Time;

use crate::latest::push_latest;
use crate::measured::{Reading, Readings};
use crate::place::Place;
use crate::service::ServiceState;

/// The window of the limits on restarts.
pub const RESTART_WINDOW: Duration = Duration::from_mins(1);

/// Times of restarts kept for their limits: twenty times the default limit of 50 a minute in the cluster.
const RESTARTS_MAX: usize = 1000;

/// The most forgotten services whose latest life is kept: the number of services of the largest benchmark.
const PAST_LIVES_MAX: usize = 10_000;

/// A restart, for the limits on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PastRestart {
    /// When it was made.
    pub at: Time,
    /// Whether the replica had been healthy before. True of restarts by an earlier run, which stores only their times.
    pub was_healthy: bool,
}

/// The state of the control loop.
#[derive(Clone, Debug, Default)]
pub struct Knowledge {
    /// The epoch of this run.
    pub epoch: Epoch,
    /// The node of this run; `None` before the run has begun.
    pub node: Option<NodeName>,
    /// Whether the first inventory was received. Nothing is started before: it could be running already.
    pub inventory_seen: bool,
    /// Boxed, because a node of the B-tree has space for eleven of them and is half empty when names are inserted in order.
    services: BTreeMap<ServiceName, Box<ServiceState>>,
    /// The declared services that depend on each service; those without any are left out.
    dependents: BTreeMap<ServiceName, BTreeSet<ServiceName>>,
    restarts: VecDeque<PastRestart>,
    /// The latest measurements of sources of metrics.
    pub(crate) measured: Readings,
    /// The latest lives of services that are forgotten: their places may be opened again.
    past_lives: BTreeMap<ServiceName, Incarnation>,
}

impl Knowledge {
    /// The service, if it is known.
    pub fn service(&self, name: &ServiceName) -> Option<&ServiceState> {
        self.services.get(name).map(Box::as_ref)
    }

    /// The service, for folding.
    pub fn service_mut(&mut self, name: &ServiceName) -> Option<&mut ServiceState> {
        self.services.get_mut(name).map(Box::as_mut)
    }

    /// The service, created if it is not known yet.
    pub fn service_or_new(&mut self, name: &ServiceName) -> &mut ServiceState {
        let past_lives = &mut self.past_lives;
        self.services.entry(name.clone()).or_insert_with(|| {
            let mut service = ServiceState::named(name.clone());
            service.past_life = past_lives.remove(name).unwrap_or_default();
            Box::new(service)
        })
    }

    /// Forgets a service of which nothing is left, except the number of its latest life.
    pub fn forget(&mut self, name: &ServiceName) {
        if let Some(service) = self.services.remove(name) {
            self.note_past_life(name, service.past_life);
        }
    }

    /// Notes that places of a service have had lives up to this one, so that their numbers are not reused.
    pub fn note_past_life(&mut self, service: &ServiceName, life: Incarnation) {
        if let Some(known) = self.services.get_mut(service) {
            known.past_life = known.past_life.max(life);
            return;
        }
        if life == Incarnation(0) {
            return;
        }
        let past = self.past_lives.entry(service.clone()).or_default();
        *past = life.max(*past);
        if self.past_lives.len() > PAST_LIVES_MAX {
            self.past_lives.pop_first();
        }
    }

    /// All services by name.
    pub fn services(&self) -> impl Iterator<Item = &ServiceState> {
        self.services.values().map(Box::as_ref)
    }

    /// The latest measurement of a metric's source; `None` when there is no source.
    pub fn reading(&self, key: &MetricKey) -> Option<&Reading> {
        self.measured.of(key)
    }

    /// The value of the metric `key` at each replica of `service`: the sum of its series. Replicas without a valid measurement are left
    /// out. `None` when the metric has no source.
    pub fn values_by_place(
        &self,
        now: Time,
        service: &ServiceState,
        key: &MetricKey,
    ) -> Option<BTreeMap<Ordinal, Milli>> {
        let reading = self.reading(key)?;
        let value_at = |(ordinal, place): (&Ordinal, &Place)| {
            let replica = reading.by_replica.get(ordinal)?;
            if replica.incarnation != place.incarnation {
                return None;
            }
            let (_, series) = replica.latest.at(now, reading.stale_after).ok()?;
            let sum = series.iter().map(|series| series.value).reduce(Milli::plus)?;
            Some((*ordinal, sum))
        };
        Some(service.places.iter().filter_map(value_at).collect())
    }

    /// The place of a replica.
    pub fn place(&self, service: &ServiceName, ordinal: Ordinal) -> Option<&Place> {
        self.services.get(service)?.places.get(&ordinal)
    }

    /// The place of a replica, for folding.
    pub fn place_mut(&mut self, replica: &ReplicaId) -> Option<&mut Place> {
        self.services.get_mut(&replica.service)?.places.get_mut(&replica.ordinal)
    }

    /// Replaces the services that `service` depended on `before` with those that it depends on `now`.
    pub fn set_dependencies(&mut self, service: &ServiceName, before: &[ServiceName], now: &[ServiceName]) {
        for needed in before {
            if let Some(dependents) = self.dependents.get_mut(needed) {
                dependents.remove(service);
                if dependents.is_empty() {
                    self.dependents.remove(needed);
                }
            }
        }
        for needed in now {
            self.dependents.entry(needed.clone()).or_default().insert(service.clone());
        }
    }

    /// The services that depend on `service`.
    pub fn dependents(&self, service: &ServiceName) -> impl Iterator<Item = &ServiceName> {
        self.dependents.get(service).into_iter().flatten()
    }

    /// Notes a restart for the limits on restarts, and with its service, so that it is known after a restart of Homeostat.
    pub fn note_restart(&mut self, service: &ServiceName, restart: PastRestart) {
        if self.restarts.len() == RESTARTS_MAX {
            self.restarts.pop_front();
        }
        self.restarts.push_back(restart);
        if let Some(service) = self.services.get_mut(service) {
            let noted = &mut service.healing.restarted;
            noted.retain(|noted| *noted > restart.at - RESTART_WINDOW);
            push_latest(noted, RESTARTS_MAX, restart.at);
        }
    }

    /// Adds the restarts of a service by an earlier run.
    pub fn restore_restarts(&mut self, restarted: &[Time]) {
        self.restarts.extend(restarted.iter().map(|at| PastRestart { at: *at, was_healthy: true }));
        self.restarts.make_contiguous().sort_unstable_by_key(|restart| restart.at);
        let excess = self.restarts.len().saturating_sub(RESTARTS_MAX);
        self.restarts.drain(..excess);
    }

    /// The restarts within the last `window`, latest first.
    pub fn restarts_within(&self, now: Time, window: Duration) -> impl Iterator<Item = PastRestart> {
        let begin = now - window;
        self.restarts.iter().rev().copied().take_while(move |restart| restart.at > begin)
    }
}
