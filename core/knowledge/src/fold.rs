//! Folding facts into the picture.
//!
//! Folding a fact twice has the same effect as folding it once: reports are sent again, and come twice.

use std::time::Duration;

use model::event::{Event, EventKind};
use model::fact::Fact;
use model::identity::{ActionId, ReplicaId};
use model::input::{self, Allotted, Exit, ExitStatus, Observed, ReplicaState, Traffic, Usage};
use model::latency::Latencies;
use model::name::ServiceName;
use model::plan::{Afterwards, Role};
use model::reason::Reason;
use model::resource::{LatencySlo, Signal};
use model::time::{Now, Time};

use crate::place::{Fitting, Health, Place, SLOWEST_HELD, Stage};
use crate::service::{Demand, Exposure, ServiceState};
use crate::starts;
use crate::state::Knowledge;
use crate::warmup::WarmupWatch;
use crate::{capacity, throttle, usage, warmup};

/// What folding a fact changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FoldEffect {
    /// Nothing.
    Same,
    /// A measurement only.
    Measured,
    /// A replica of the service changed.
    Changed,
    /// A replica that was ready is not any more.
    Faltered {
        /// Since when it had been ready.
        ready_since: Time,
    },
    /// A replica ended that was not told to stop.
    Lost {
        /// How.
        exit: Exit,
        /// Since when it had been ready; `None` when it was not ready in the end.
        ready_since: Option<Time>,
    },
}

impl Knowledge {
    /// Folds one fact, and appends the events that people should hear of.
    pub fn fold(&mut self, now: Now, fact: &Fact<'_>, events: &mut Vec<Event>) -> FoldEffect {
        match fact {
            Fact::Appeared(observed) => self.adopt(now, observed, events),
            Fact::Runs { replica, begun, ready, live } => {
                let seen = ReportedState { begun: *begun, ready: *ready, live: *live };
                self.observe(now, replica, seen, events)
            }
            Fact::Ended { replica, exit } => self.end(now, replica, *exit, events),
            Fact::Vanished(replica) => {
                let health = self.place(&replica.service, replica.ordinal).and_then(Place::health);
                let ran_for = health.map_or(Duration::ZERO, |health| now.time.since(health.since));
                let unseen = Exit { status: ExitStatus::Unknown, out_of_memory: false, ran_for };
                self.end(now, replica, unseen, events)
            }
            Fact::Used(_) | Fact::Served(_) | Fact::Timed(_) => {
                self.measure(now.time, std::slice::from_ref(fact))
            }
            Fact::Allotted(allotted) => self.allotted(now.time, allotted),
            Fact::Ejected(replica) => self.ejected(now.time, replica),
            Fact::Asked(demand) => self.asked(now.time, demand),
            Fact::Measured(measured) => {
                self.measured.take(now.time, measured);
                FoldEffect::Measured
            }
            // That life is over, but its number must not be used again.
            Fact::Ignored { replica, incarnation } => {
                let known = self.place(&replica.service, replica.ordinal);
                if known.is_none_or(|place| place.incarnation < *incarnation) {
                    self.note_past_life(&replica.service, *incarnation);
                }
                FoldEffect::Same
            }
        }
    }

    /// Folds how a running replica was seen.
    fn observe(
        &mut self,
        now: Now,
        replica: &ReplicaId,
        seen: ReportedState,
        events: &mut Vec<Event>,
    ) -> FoldEffect {
        let Some(place) = self.place_mut(replica) else { return FoldEffect::Same };
        let (is_starting, served) = (place.was_never_ready(), serves(place));
        let folded = fold_health(now, place, seen, |place, kind, reason| {
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

    /// For a replica that is ready for the first time, notes how long that took and begins to watch it warm up. Nothing is learned from
    /// a replica that an earlier run started.
    fn learn_from_start(&mut self, now: Time, replica: &ReplicaId) {
        let Some(service) = self.service_mut(&replica.service) else { return };
        let is_scaled = service.is_scaled();
        let place = service.places.get_mut(&replica.ordinal);
        let Some(place) = place.filter(|place| place.is_ready() && place.begun_by != ActionId::default())
        else {
            return;
        };
        place.warmup_watch = is_scaled.then(|| Box::new(WarmupWatch::begin(now)));
        starts::note(&mut service.starts, now.since(place.restart.began));
    }

    /// Adds a running replica to the picture that this run has not started.
    fn adopt(&mut self, now: Now, observed: &Observed, events: &mut Vec<Event>) -> FoldEffect {
        let service = self.service_or_new(&observed.replica.service);
        // Nobody declared it. An earlier run may have told the proxy to listen for it: the proxy is told to stop.
        if service.declared.is_none() && service.exposure == Exposure::None {
            service.exposure = Exposure::unknown(now.time);
        }
        let place = service
            .places
            .entry(observed.replica.ordinal)
            .or_insert_with(|| Place::empty(Role::Active, now.time));
        let (begun, ready, live) = match observed.state {
            ReplicaState::Running { ready, live } => (true, ready, live),
            ReplicaState::Stopping => (true, false, true),
            ReplicaState::Starting | ReplicaState::Exited(_) => (false, false, true),
        };
        let health = Health {
            since: now.time,
            begun,
            ready,
            ready_changed: now.time,
            sick_since: (!live).then_some(now.time),
        };
        place.admission = None;
        let running = (Default::default(), Stage::Running(health));
        place.begin(now.time, observed.incarnation, observed.generation, running);
        events.push(event(now, &observed.replica, place, EventKind::Adopted, Reason::Adopted));
        FoldEffect::Changed
    }

    fn end(&mut self, now: Now, replica: &ReplicaId, exit: Exit, events: &mut Vec<Event>) -> FoldEffect {
        let Some(service) = self.service_mut(&replica.service) else { return FoldEffect::Same };
        if exit.out_of_memory && service.is_measured() {
            service.ran_out_of_memory(replica.ordinal, now.time);
        }
        // As declared now. A replica of an older declaration may have got another signal; its end is then reported as it happened.
        let stop_signal =
            service.last_declared.as_ref().map_or_else(Signal::default, |it| it.spec.stop.signal);
        let Some(place) = service.places.get_mut(&replica.ordinal) else { return FoldEffect::Same };
        let empty = |exit| Stage::Empty { since: now.time, exit };
        // If it carried the share of another replica, a third one may take that over now.
        place.stands_in_for = None;
        match place.stage {
            Stage::Empty { .. } => FoldEffect::Same,
            Stage::Stopping { then, .. } | Stage::Draining { then, .. } => {
                // A draining replica has not got its signal yet.
                let is_told = matches!(place.stage, Stage::Stopping { .. });
                let obeys = is_told && exit.is_by(stop_signal);
                let reason = if obeys { Reason::Obeyed(exit) } else { Reason::Exited(exit) };
                events.push(event(now, replica, place, EventKind::Stopped, reason));
                match then {
                    Afterwards::Refill => place.stage = empty(None),
                    Afterwards::Close => {
                        service.close(replica.ordinal);
                    }
                }
                FoldEffect::Changed
            }
            Stage::Starting { .. } => {
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
    /// Most of what is folded are measurements, so the service is looked up once for all of them.
    pub fn measure(&mut self, at: Time, run: &[Fact<'_>]) -> FoldEffect {
        let service = run.first().and_then(measured_service).and_then(|name| self.service_mut(name));
        let Some(service) = service else { return FoldEffect::Same };
        let (is_learned, promise) = (service.is_measured(), service.promise().map(|slo| slo.latency));
        let mut folded = FoldEffect::Measured;
        for fact in run {
            match fact {
                Fact::Used(usage) => used(service, at, usage, is_learned),
                Fact::Served(traffic) => {
                    if served(service, at, traffic, promise.is_some()) {
                        folded = FoldEffect::Changed;
                    }
                }
                Fact::Timed(latencies) => timed(service, at, latencies, promise),
                Fact::Appeared(_)
                | Fact::Runs { .. }
                | Fact::Ended { .. }
                | Fact::Vanished(_)
                | Fact::Asked(_)
                | Fact::Measured(_)
                | Fact::Allotted(_)
                | Fact::Ejected(_)
                | Fact::Ignored { .. } => {}
            }
        }
        folded
    }

    /// Folds what the platform says of a replica's resources, unless a change is under way: the report could be from before or after it.
    fn allotted(&mut self, at: Time, allotted: &Allotted) -> FoldEffect {
        let Some(place) = self.place_mut(&allotted.replica) else { return FoldEffect::Same };
        if place.resources == Some(allotted.resources) || matches!(place.fitting, Fitting::Telling { .. }) {
            return FoldEffect::Same;
        }
        place.resources = Some(allotted.resources);
        if matches!(place.fitting, Fitting::Done { .. }) {
            place.fitting = Fitting::Done { since: at };
        }
        FoldEffect::Changed
    }

    fn ejected(&mut self, at: Time, replica: &ReplicaId) -> FoldEffect {
        let Some(place) = self.place_mut(replica) else { return FoldEffect::Same };
        place.ejected_at = at;
        FoldEffect::Measured
    }

    fn asked(&mut self, at: Time, demand: &input::Demand) -> FoldEffect {
        let Some(service) = self.service_mut(&demand.service) else { return FoldEffect::Same };
        let input::Demand { requests, waiting, in_flight, .. } = *demand;
        if let Some(foresight) = &mut service.foresight {
            foresight.asked(at, requests);
        }
        let has_come = match service.demand {
            // The counter of a proxy that has started anew begins at zero.
            Some(before) => requests != before.requests && requests > 0,
            None => !service.rests(),
        };
        let is_asked = has_come || waiting > 0 || in_flight > 0;
        let asked = if is_asked { Some(at) } else { service.demand.and_then(|before| before.asked) };
        service.demand = Some(Demand { at, requests, waiting, asked });
        // A request to a resting service waits for the loop.
        if is_asked && service.rests() { FoldEffect::Changed } else { FoldEffect::Measured }
    }
}

/// The service that `fact` is a measurement of; `None` when it is no measurement.
pub fn measured_service<'a>(fact: &'a Fact<'_>) -> Option<&'a ServiceName> {
    match fact {
        Fact::Used(usage) => Some(&usage.replica.service),
        Fact::Served(traffic) => Some(&traffic.service),
        Fact::Timed(latencies) => Some(&latencies.service),
        Fact::Appeared(_)
        | Fact::Runs { .. }
        | Fact::Ended { .. }
        | Fact::Vanished(_)
        | Fact::Asked(_)
        | Fact::Measured(_)
        | Fact::Allotted(_)
        | Fact::Ejected(_)
        | Fact::Ignored { .. } => None,
    }
}

fn used(service: &mut ServiceState, at: Time, usage: &Usage, is_learned: bool) {
    let declared = service.declared.as_ref().and_then(|declared| declared.spec.resources.cpu);
    let Some(place) = service.places.get_mut(&usage.replica.ordinal) else { return };
    place.cpu.push(at, u64::try_from(usage.cpu_time.as_micros()).unwrap_or(u64::MAX));
    place.memory = Some((at, usage.memory));
    if is_learned {
        usage::observe(&mut service.usage, place, at, usage.memory);
    }
    if let Some(throttling) = usage.throttling {
        throttle::observe(&mut service.throttling, place, (at, throttling), declared);
    }
    if place.warmup_watch.is_some()
        && let Some(took) = warmup::watch(&mut service.places, usage.replica.ordinal, at)
    {
        warmup::note(&mut service.starts, took);
    }
}

/// Folds the proxy's counters of a replica; whether the loop waits for what they say.
fn served(service: &mut ServiceState, at: Time, traffic: &Traffic, promises: bool) -> bool {
    let Some(place) = service.places.get_mut(&traffic.ordinal) else { return false };
    place.requests.push(at, traffic.requests);
    place.errors.push(at, traffic.errors);
    let is_news = place.in_flight != (at, traffic.in_flight);
    place.in_flight = (at, traffic.in_flight);
    place.latency_p99 = traffic.latency_p99;
    let (since, slowest) = place.slowest;
    if traffic.latency_p99 >= slowest || at.since(since) >= SLOWEST_HELD {
        place.slowest = (at, traffic.latency_p99);
    }
    if promises {
        let asked = place.asked.get_or_insert_default();
        // The two counters are not read at the same moment, so their sum may seem to fall, which it never does.
        let before = asked.last().map_or(0, |(_, before)| before);
        asked.push(at, traffic.requests.saturating_add(traffic.in_flight.into()).max(before));
    }
    // A draining replica waits for its last request to be answered.
    is_news && matches!(place.stage, Stage::Draining { .. })
}

fn timed(service: &mut ServiceState, at: Time, latencies: &Latencies, promise: Option<LatencySlo>) {
    if let (Some(promise), Some(place)) = (promise, service.places.get_mut(&latencies.ordinal)) {
        capacity::observe(&mut service.capacity, promise, place, (at, latencies));
    }
}

/// What an agent says of a running replica.
#[derive(Clone, Copy)]
struct ReportedState {
    begun: bool,
    ready: bool,
    live: bool,
}

fn fold_health(
    now: Now,
    place: &mut Place,
    seen: ReportedState,
    mut tell: impl FnMut(&Place, EventKind, Reason),
) -> FoldEffect {
    let before = match place.stage {
        Stage::Starting { .. } => {
            Health { since: now.time, begun: false, ready: false, ready_changed: now.time, sick_since: None }
        }
        Stage::Running(health) => health,
        // A late report does not revive a life that is over or on its way out.
        Stage::Empty { .. } | Stage::Draining { .. } | Stage::Stopping { .. } => return FoldEffect::Same,
    };
    let after = Health {
        since: before.since,
        begun: before.begun || seen.begun,
        ready: seen.ready,
        ready_changed: if seen.ready == before.ready { before.ready_changed } else { now.time },
        sick_since: if seen.live { None } else { before.sick_since.or(Some(now.time)) },
    };
    let is_same = place.stage == Stage::Running(after);
    place.stage = Stage::Running(after);
    if after.ready != before.ready {
        let kind = if after.ready { EventKind::Ready } else { EventKind::NotReady };
        tell(place, kind, Reason::Observed);
    }
    if let (None, Some(since)) = (before.sick_since, after.sick_since) {
        tell(place, EventKind::Unhealthy, Reason::Unhealthy { since });
    }
    match (before.ready, after.ready) {
        (true, false) => FoldEffect::Faltered { ready_since: before.ready_changed },
        (true | false, true) | (false, false) if is_same => FoldEffect::Same,
        (true | false, true) | (false, false) => FoldEffect::Changed,
    }
}

/// Whether its end is a loss to its service: it has been ready and passes its liveness probe.
fn serves(place: &Place) -> bool {
    let is_alive = place.health().is_some_and(|health| health.sick_since.is_none());
    is_alive && place.role == Role::Active && !place.was_never_ready()
}

fn event(now: Now, replica: &ReplicaId, place: &Place, kind: EventKind, reason: Reason) -> Event {
    let whom = Some((replica.ordinal, place.incarnation));
    Event { at: now, service: replica.service.clone(), replica: whom, kind, reason }
}
