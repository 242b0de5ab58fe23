//! Folds facts into the state.
//!
//! Folding is idempotent: reports are sent again and received twice.

use std::time::Duration;

use model::event::{Event, EventKind};
use model::fact::Fact;
use model::identity::{ActionId, ReplicaId};
use model::input::{self, Allotted, Exit, ExitStatus, Observed, ReplicaState, Traffic, Usage};
use model::latency::Latencies;
use model::name::ServiceName;
use model::plan::{AfterStop, Role};
use model::reason::Reason;
use model::resource::{LatencySlo, Signal};
use model::time::{Now, Time};

use crate::place::{Health, PEAK_LATENCY_HELD, Place, ResourceChange, Stage};
use crate::service::{Demand, Exposure, ServiceState};
use crate::starts;
use crate::state::Knowledge;
use crate::warmup::WarmupWatch;
use crate::{capacity, throttle, usage, warmup};

/// What a folded fact has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FoldEffect {
    /// Nothing.
    Same,
    /// Only a measurement.
    Measured,
    /// A replica of the service changed.
    Changed,
    /// A ready replica became unready.
    BecameUnready {
        /// Since when it had been ready.
        ready_since: Time,
    },
    /// A replica ended that was not asked to stop.
    Lost {
        /// How.
        exit: Exit,
        /// Since when it had been ready; `None` when it was not ready at its end.
        ready_since: Option<Time>,
    },
}

impl Knowledge {
    /// Folds one fact, and appends its events.
    pub fn fold(&mut self, now: Now, fact: &Fact<'_>, events: &mut Vec<Event>) -> FoldEffect {
        match fact {
            Fact::Appeared(observed) => self.adopt(now, observed, events),
            Fact::Running { replica, started, ready, live } => {
                let reported = ReportedState { started: *started, ready: *ready, live: *live };
                self.observe(now, replica, reported, events)
            }
            Fact::Ended { replica, exit } => self.end(now, replica, *exit, events),
            Fact::Vanished(replica) => {
                let health = self.place(&replica.service, replica.ordinal).and_then(Place::health);
                let ran_for = health.map_or(Duration::ZERO, |health| now.time.since(health.since));
                let exit = Exit { status: ExitStatus::Unknown, out_of_memory: false, ran_for };
                self.end(now, replica, exit, events)
            }
            Fact::Usage(_) | Fact::Traffic(_) | Fact::Latencies(_) => {
                self.measure(now.time, std::slice::from_ref(fact))
            }
            Fact::Allotted(allotted) => self.allotted(now.time, allotted),
            Fact::Ejected(replica) => self.ejected(now.time, replica),
            Fact::Demand(demand) => self.observe_demand(now.time, demand),
            Fact::Measured(measured) => {
                self.measured.apply(now.time, measured);
                FoldEffect::Measured
            }
            // That life is over, but its number must not be reused.
            Fact::Ignored { replica, incarnation } => {
                let known = self.place(&replica.service, replica.ordinal);
                if known.is_none_or(|place| place.incarnation < *incarnation) {
                    self.note_past_life(&replica.service, *incarnation);
                }
                FoldEffect::Same
            }
        }
    }

    /// Folds the reported state of a running replica.
    fn observe(
        &mut self,
        now: Now,
        replica: &ReplicaId,
        reported: ReportedState,
        events: &mut Vec<Event>,
    ) -> FoldEffect {
        let Some(place) = self.place_mut(replica) else { return FoldEffect::Same };
        let (is_starting, served) = (place.was_never_ready(), serves(place));
        let folded = fold_health(now, place, reported, |place, kind, reason| {
            events.push(event(now, replica, place, kind, reason));
        });
        let is_lost = served && !serves(place);
        if let Some(service) = self.service_mut(&replica.service).filter(|_| is_lost) {
            service.note_loss(now.time);
        }
        if is_starting && folded == FoldEffect::Changed {
            self.learn_from_start(now.time, replica);
        }
        folded
    }

    /// Notes the start time of a replica that is ready for the first time, and begins to observe its warm-up. Nothing is learned from a
    /// replica that an earlier run started.
    fn learn_from_start(&mut self, now: Time, replica: &ReplicaId) {
        let Some(service) = self.service_mut(&replica.service) else { return };
        let is_scaled = service.is_scaled();
        let place = service.places.get_mut(&replica.ordinal);
        let Some(place) = place.filter(|place| place.is_ready() && place.started_by != ActionId::default())
        else {
            return;
        };
        place.start_time = place.health().map(|health| now.since(health.since));
        place.warmup_watch = is_scaled.then(|| Box::new(WarmupWatch::begin(now)));
        starts::note(&mut service.starts, now.since(place.restart.began));
    }

    /// Adds a running replica that this run has not started.
    fn adopt(&mut self, now: Now, observed: &Observed, events: &mut Vec<Event>) -> FoldEffect {
        let service = self.service_or_new(&observed.replica.service);
        // It is not declared. An earlier run may have asked the proxy to listen for it: the proxy is asked to stop.
        if service.declared.is_none() && service.exposure == Exposure::None {
            service.exposure = Exposure::unknown(now.time);
        }
        let place = service
            .places
            .entry(observed.replica.ordinal)
            .or_insert_with(|| Place::empty(Role::Active, now.time));
        let (started, ready, live) = match observed.state {
            ReplicaState::Running { ready, live } => (true, ready, live),
            ReplicaState::Stopping => (true, false, true),
            ReplicaState::Starting | ReplicaState::Exited(_) => (false, false, true),
        };
        let health = Health {
            since: now.time,
            started,
            ready,
            ready_changed: now.time,
            unhealthy_since: (!live).then_some(now.time),
        };
        place.admission = None;
        let running = (Default::default(), Stage::Running(health));
        place.begin(now.time, observed.incarnation, observed.generation, running);
        events.push(event(now, &observed.replica, place, EventKind::Adopted, Reason::Adopted));
        FoldEffect::Changed
    }

    fn end(&mut self, now: Now, replica: &ReplicaId, exit: Exit, events: &mut Vec<Event>) -> FoldEffect {
        let Some(service) = self.service_mut(&replica.service) else { return FoldEffect::Same };
        if exit.out_of_memory && service.learns_usage() {
            service.note_out_of_memory(replica.ordinal, now.time);
        }
        // As declared now. A replica of an older declaration may have received another signal; its end is then reported as an exit.
        let stop_signal =
            service.last_declared.as_ref().map_or_else(Signal::default, |it| it.spec.stop.signal);
        let Some(place) = service.places.get_mut(&replica.ordinal) else { return FoldEffect::Same };
        let empty = |exit| Stage::Empty { since: now.time, exit };
        // If it carried the share of another replica, a third replica may take that over now.
        place.stands_in_for = None;
        match place.stage {
            Stage::Empty { .. } => FoldEffect::Same,
            Stage::Stopping { then, .. } | Stage::Draining { then, .. } => {
                // A draining replica has not received its signal yet.
                let is_signalled = matches!(place.stage, Stage::Stopping { .. });
                let is_as_requested = is_signalled && exit.is_by(stop_signal);
                let reason =
                    if is_as_requested { Reason::StoppedAsRequested(exit) } else { Reason::Exited(exit) };
                events.push(event(now, replica, place, EventKind::Stopped, reason));
                match then {
                    AfterStop::Refill => place.stage = empty(None),
                    AfterStop::Close => {
                        service.close(replica.ordinal);
                    }
                }
                FoldEffect::Changed
            }
            Stage::Starting { .. } => {
                place.note_run();
                place.stage = empty(Some(exit));
                events.push(event(now, replica, place, EventKind::Exited, Reason::Exited(exit)));
                FoldEffect::Lost { exit, ready_since: None }
            }
            Stage::Running(health) => {
                let served = serves(place);
                place.stage = empty(Some(exit));
                events.push(event(now, replica, place, EventKind::Exited, Reason::Exited(exit)));
                if served {
                    service.note_loss(now.time);
                }
                FoldEffect::Lost { exit, ready_since: health.ready.then_some(health.ready_changed) }
            }
        }
    }

    /// Folds measurements of one service; [`FoldEffect::Changed`] when the loop waits for one of them.
    ///
    /// Most facts are measurements, so the service is looked up once for all of them.
    pub fn measure(&mut self, at: Time, facts: &[Fact<'_>]) -> FoldEffect {
        let service = facts.first().and_then(measured_service).and_then(|name| self.service_mut(name));
        let Some(service) = service else { return FoldEffect::Same };
        let (learns_usage, slo) = (service.learns_usage(), service.slo().map(|slo| slo.latency));
        let mut folded = FoldEffect::Measured;
        for fact in facts {
            match fact {
                Fact::Usage(usage) => observe_usage(service, at, usage, learns_usage),
                Fact::Traffic(traffic) => {
                    if observe_traffic(service, at, traffic, slo.is_some()) {
                        folded = FoldEffect::Changed;
                    }
                }
                Fact::Latencies(latencies) => observe_latencies(service, at, latencies, slo),
                Fact::Appeared(_)
                | Fact::Running { .. }
                | Fact::Ended { .. }
                | Fact::Vanished(_)
                | Fact::Demand(_)
                | Fact::Measured(_)
                | Fact::Allotted(_)
                | Fact::Ejected(_)
                | Fact::Ignored { .. } => {}
            }
        }
        folded
    }

    /// Folds the resources of a replica as the platform reports them, unless a change is in progress: the report could be from before or
    /// after it.
    fn allotted(&mut self, at: Time, allotted: &Allotted) -> FoldEffect {
        let Some(place) = self.place_mut(&allotted.replica) else { return FoldEffect::Same };
        if place.resources == Some(allotted.resources)
            || matches!(place.resource_change, ResourceChange::InProgress { .. })
        {
            return FoldEffect::Same;
        }
        place.resources = Some(allotted.resources);
        if matches!(place.resource_change, ResourceChange::Settled { .. }) {
            place.resource_change = ResourceChange::Settled { since: at };
        }
        FoldEffect::Changed
    }

    fn ejected(&mut self, at: Time, replica: &ReplicaId) -> FoldEffect {
        let Some(place) = self.place_mut(replica) else { return FoldEffect::Same };
        place.ejected_at = at;
        FoldEffect::Measured
    }

    fn observe_demand(&mut self, at: Time, demand: &input::Demand) -> FoldEffect {
        let Some(service) = self.service_mut(&demand.service) else { return FoldEffect::Same };
        let input::Demand { requests, waiting, in_flight, .. } = *demand;
        if let Some(load_forecast) = &mut service.load_forecast {
            load_forecast.observe_requests(at, requests);
        }
        let has_new_requests = match service.demand {
            // The counter of a restarted proxy begins at zero.
            Some(before) => requests != before.requests && requests > 0,
            None => !service.is_scaled_to_zero(),
        };
        let has_requests = has_new_requests || waiting > 0 || in_flight > 0;
        let last_request =
            if has_requests { Some(at) } else { service.demand.and_then(|before| before.last_request) };
        service.demand = Some(Demand { at, requests, waiting, last_request });
        // A request to a service that is scaled to zero waits for the loop.
        if has_requests && service.is_scaled_to_zero() { FoldEffect::Changed } else { FoldEffect::Measured }
    }
}

/// The service that `fact` is a measurement of; `None` when it is not a measurement.
pub fn measured_service<'a>(fact: &'a Fact<'_>) -> Option<&'a ServiceName> {
    match fact {
        Fact::Usage(usage) => Some(&usage.replica.service),
        Fact::Traffic(traffic) => Some(&traffic.service),
        Fact::Latencies(latencies) => Some(&latencies.service),
        Fact::Appeared(_)
        | Fact::Running { .. }
        | Fact::Ended { .. }
        | Fact::Vanished(_)
        | Fact::Demand(_)
        | Fact::Measured(_)
        | Fact::Allotted(_)
        | Fact::Ejected(_)
        | Fact::Ignored { .. } => None,
    }
}

fn observe_usage(service: &mut ServiceState, at: Time, usage: &Usage, learns_usage: bool) {
    let declared = service.declared.as_ref().and_then(|declared| declared.spec.resources.cpu);
    let Some(place) = service.places.get_mut(&usage.replica.ordinal) else { return };
    place.cpu.push(at, u64::try_from(usage.cpu_time.as_micros()).unwrap_or(u64::MAX));
    place.memory = Some((at, usage.memory));
    if learns_usage {
        usage::observe(&mut service.usage, place, at, usage.memory);
    }
    if let Some(throttling) = usage.throttling {
        throttle::observe(&mut service.throttling, place, (at, throttling), declared);
    }
    if place.warmup_watch.is_some()
        && let Some(took) = warmup::update(&mut service.places, usage.replica.ordinal, at)
    {
        warmup::note(&mut service.starts, took);
    }
}

/// Folds the proxy's counters of a replica. Returns whether the loop waits for them.
fn observe_traffic(service: &mut ServiceState, at: Time, traffic: &Traffic, has_slo: bool) -> bool {
    let Some(place) = service.places.get_mut(&traffic.ordinal) else { return false };
    place.requests.push(at, traffic.requests);
    place.errors.push(at, traffic.errors);
    let is_news = place.in_flight != (at, traffic.in_flight);
    place.in_flight = (at, traffic.in_flight);
    place.latency_p99 = traffic.latency_p99;
    let (since, peak) = place.peak_latency;
    if traffic.latency_p99 >= peak || at.since(since) >= PEAK_LATENCY_HELD {
        place.peak_latency = (at, traffic.latency_p99);
    }
    if has_slo {
        let begun = place.begun_requests.get_or_insert_default();
        // The two counters are not read atomically, so their sum may seem to fall.
        let before = begun.last().map_or(0, |(_, before)| before);
        begun.push(at, traffic.requests.saturating_add(traffic.in_flight.into()).max(before));
    }
    // A draining replica waits for its last request to be answered.
    is_news && matches!(place.stage, Stage::Draining { .. })
}

fn observe_latencies(service: &mut ServiceState, at: Time, latencies: &Latencies, slo: Option<LatencySlo>) {
    if let (Some(slo), Some(place)) = (slo, service.places.get_mut(&latencies.ordinal)) {
        capacity::observe(&mut service.capacity, slo, place, (at, latencies));
    }
}

/// The state of a running replica as its agent reports it.
#[derive(Clone, Copy)]
struct ReportedState {
    started: bool,
    ready: bool,
    live: bool,
}

fn fold_health(
    now: Now,
    place: &mut Place,
    reported: ReportedState,
    mut emit: impl FnMut(&Place, EventKind, Reason),
) -> FoldEffect {
    let before = match place.stage {
        Stage::Starting { .. } => {
            place.note_run();
            Health {
                since: now.time,
                started: false,
                ready: false,
                ready_changed: now.time,
                unhealthy_since: None,
            }
        }
        Stage::Running(health) => health,
        // A late report does not revive a replica that has ended or is being stopped.
        Stage::Empty { .. } | Stage::Draining { .. } | Stage::Stopping { .. } => return FoldEffect::Same,
    };
    let after = Health {
        since: before.since,
        started: before.started || reported.started,
        ready: reported.ready,
        ready_changed: if reported.ready == before.ready { before.ready_changed } else { now.time },
        unhealthy_since: if reported.live { None } else { before.unhealthy_since.or(Some(now.time)) },
    };
    let is_same = place.stage == Stage::Running(after);
    place.stage = Stage::Running(after);
    if after.ready != before.ready {
        let kind = if after.ready { EventKind::Ready } else { EventKind::NotReady };
        emit(place, kind, Reason::Observed);
    }
    if let (None, Some(since)) = (before.unhealthy_since, after.unhealthy_since) {
        emit(place, EventKind::Unhealthy, Reason::Unhealthy { since });
    }
    match (before.ready, after.ready) {
        (true, false) => FoldEffect::BecameUnready { ready_since: before.ready_changed },
        (true | false, true) | (false, false) if is_same => FoldEffect::Same,
        (true | false, true) | (false, false) => FoldEffect::Changed,
    }
}

/// Whether its end is a loss for its service: it has been ready and passes its liveness probe.
fn serves(place: &Place) -> bool {
    let is_alive = place.health().is_some_and(|health| health.unhealthy_since.is_none());
    is_alive && place.role == Role::Active && !place.was_never_ready()
}

fn event(now: Now, replica: &ReplicaId, place: &Place, kind: EventKind, reason: Reason) -> Event {
    let life = Some((replica.ordinal, place.incarnation));
    Event { at: now, service: replica.service.clone(), replica: life, kind, reason }
}
