//! The proxy and its replicas: each replica has a queue of requests, served at the speed of its processor.
//!
//! Requests are counted in thousandths, so that small rates lose nothing; they arrive evenly within a tick and are shared by
//! the weights of the replicas that may be routed to.

use std::time::Duration;

use model::action::Admission;
use model::identity::{Ordinal, ReplicaId};
use model::input::{Allotted, Demand, Ejected, Traffic, Usage};
use model::latency::{Latencies, class_of};
use model::measure::{Labels, Measured, MeasurementResult, Series};
use model::quantity::Milli;
use model::time::Time;

use crate::effect::Effect;
use crate::life::{Life, LifeState};
use crate::site::Site;

/// The interval of the proxy's counters, and so the resolution of the queues.
pub const TICK: Duration = Duration::from_millis(250);

const TICK_US: u64 = 250_000;

/// For how long a measurement of a source is used: five may be lost.
const STALE_AFTER: Duration = Duration::from_secs(5);

/// The most requests that wait for a first replica, in thousandths; those beyond are not answered. More than the real proxy's, so that
/// without faults only time can run out.
const WAITING_MAX_MILLI: u64 = 100_000_000;

/// The most requests that wait for one replica, in thousandths; those beyond are answered with an error. A minute of a busy replica.
const BACKLOG_MAX_MILLI: u64 = 10_000_000;

impl Site {
    /// One tick of requests: they arrive, are routed, wait and are answered.
    pub(crate) fn tick(&mut self, now: Time, effects: &mut Vec<Effect>) {
        self.route(now, effects);
        for life in self.lives.iter_mut().flatten() {
            life.work_on(now, self.slo_threshold);
        }
    }

    fn route(&mut self, now: Time, effects: &mut Vec<Effect>) {
        // A quarter of a second's worth of thousandths.
        let arriving = self.load.at(now).0 / 4;
        if self.exposed.is_none() {
            self.refused_connections_milli += arriving;
            self.tally.refused_connections = self.refused_connections_milli / 1000;
            return;
        }
        self.received_milli += arriving;
        self.tally.received = self.received_milli / 1000;
        let weight: u64 = self.lives.iter().flatten().map(Life::weight).sum();
        if weight == 0 {
            self.unanswered_milli += self.hold_or_reject(now, arriving);
            let whole = self.unanswered_milli / 1000;
            let requests = u32::try_from(whole - self.tally.unanswered).unwrap_or(u32::MAX);
            self.tally.unanswered = whole;
            if requests > 0 {
                effects.push(Effect::Unanswered { service: self.name.clone(), requests });
            }
            return;
        }
        let arriving = arriving + std::mem::take(&mut self.waiting_milli);
        // Ejected replicas get traffic when there are no others.
        let around: u64 = self.lives.iter().flatten().map(|life| life.weight_around(now)).sum();
        for life in self.lives.iter_mut().flatten() {
            let (own, all) =
                if around > 0 { (life.weight_around(now), around) } else { (life.weight(), weight) };
            let share = arriving * own / all;
            if share > 0 {
                self.tally.refused += life.take(share);
            }
        }
    }

    /// Holds requests that find no replica, if the service lets them wait; returns those that are not answered.
    fn hold_or_reject(&mut self, now: Time, arriving: u64) -> u64 {
        let Some(wait) = self.wait else { return arriving };
        if self.waiting_milli == 0 {
            self.waiting_since = now;
        }
        let waiting = self.waiting_milli + arriving;
        self.waiting_milli =
            if now.since(self.waiting_since) > wait { 0 } else { waiting.min(WAITING_MAX_MILLI) };
        waiting - self.waiting_milli
    }

    /// The demand of this service as a whole, if it may scale to zero or is forecast.
    pub(crate) fn demand(&self) -> Option<Demand> {
        (self.reports_demand && self.exposed.is_some()).then(|| Demand {
            service: self.name.clone(),
            requests: self.received_milli / 1000,
            waiting: u32::try_from(self.waiting_milli.div_ceil(1000)).unwrap_or(u32::MAX),
            in_flight: self.alive().map(Life::in_flight).sum(),
        })
    }

    /// The measurement of the source of this service, if it has one.
    pub(crate) fn measured(&self, now: Time, sees: bool) -> Option<Measured> {
        let key = self.measured_as.clone()?;
        let offered = Milli(i64::try_from(self.load.at(now).0).unwrap_or(i64::MAX));
        let value = if sees {
            MeasurementResult::Series(vec![Series { labels: Labels::new(), value: offered }])
        } else {
            MeasurementResult::Failed("the node is blind".into())
        };
        Some(Measured { source: self.name.clone(), key, stale_after: STALE_AFTER, result: value })
    }

    /// The proxy's counters of its replicas.
    pub(crate) fn traffic(&self) -> impl Iterator<Item = Traffic> {
        let counted = self.places().filter(|(_, life)| life.is_counted());
        counted.map(|(ordinal, life)| Traffic {
            service: self.name.clone(),
            ordinal,
            incarnation: life.incarnation,
            requests: life.work.answered_milli / 1000,
            errors: life.work.errors,
            in_flight: life.in_flight(),
            latency_p99: Duration::from_micros(life.work.last_latency_us),
        })
    }

    /// The latencies of its replicas, if it has a latency SLO.
    pub(crate) fn latencies(&self) -> impl Iterator<Item = Latencies> {
        self.slo_threshold.into_iter().flat_map(move |threshold| {
            let counted = self.places().filter(|(_, life)| life.is_counted());
            counted.map(move |(ordinal, life)| Latencies {
                service: self.name.clone(),
                ordinal,
                incarnation: life.incarnation,
                threshold,
                failed: life.work.errors,
                answered: life.work.timed_milli.map(|milli| milli / 1000),
            })
        })
    }

    /// Processor time and memory of its replicas.
    pub(crate) fn usage(&self) -> impl Iterator<Item = Usage> {
        let running = self.places().filter(|(_, life)| life.is_running());
        running.map(|(ordinal, life)| Usage {
            replica: ReplicaId { service: self.name.clone(), ordinal },
            incarnation: life.incarnation,
            cpu_time: Duration::from_micros(life.work.cpu_us),
            memory: life.program.memory,
            throttling: None,
        })
    }

    /// Its ejected replicas.
    pub(crate) fn ejected(&self, now: Time) -> impl Iterator<Item = Ejected> {
        let ejected = self.places().filter(move |(_, life)| life.is_routed() && life.is_ejected(now));
        ejected.map(|(ordinal, life)| Ejected {
            replica: ReplicaId { service: self.name.clone(), ordinal },
            incarnation: life.incarnation,
        })
    }

    /// The resources of its replicas, as the platform reports them.
    pub(crate) fn allotted(&self) -> impl Iterator<Item = Allotted> {
        self.places().filter(|(_, life)| life.is_running()).map(|(ordinal, life)| Allotted {
            replica: ReplicaId { service: self.name.clone(), ordinal },
            incarnation: life.incarnation,
            resources: life.resources,
        })
    }

    /// Its places that have ever been filled, by number.
    pub fn places(&self) -> impl Iterator<Item = (Ordinal, &Life)> {
        let numbered = (0..).map(Ordinal).zip(&self.lives);
        numbered.filter_map(|(ordinal, life)| Some((ordinal, life.as_ref()?)))
    }
}

impl Life {
    /// Queues requests, in thousandths; returns how many it refused, in whole requests.
    fn take(&mut self, requests_milli: u64) -> u64 {
        let work = &mut self.work;
        work.was_routed_to = true;
        let room = BACKLOG_MAX_MILLI.saturating_sub(work.backlog_milli);
        work.backlog_milli += requests_milli.min(room);
        let refused = requests_milli.saturating_sub(room) / 1000;
        work.errors += refused;
        refused
    }

    /// Works for one tick.
    fn work_on(&mut self, now: Time, threshold: Option<Duration>) {
        match self.state {
            LifeState::Booting => {
                self.work.cpu_us += self.program.boot_cpu_milli * TICK_US / 1000;
                return;
            }
            LifeState::Up | LifeState::Stopping => {}
            LifeState::Execing | LifeState::Ended { .. } => return,
        }
        if self.hung_since.is_some() {
            return;
        }
        let (warm_for, warm_milli) = self.program.warmup;
        if self.up_since.is_some_and(|up| now.since(up) < warm_for) {
            self.work.cpu_us += warm_milli * TICK_US / 1000;
        }
        let capacity = self.program.capacity_milli(TICK).max(1);
        let work = &mut self.work;
        let cost_us = u64::try_from(self.program.cost.as_micros()).unwrap_or(u64::MAX);
        let answered = work.backlog_milli.min(capacity);
        // The last requests of the tick are still being answered when it ends.
        work.answering = u32::try_from(answered * cost_us.min(TICK_US) / TICK_US / 1000).unwrap_or(u32::MAX);
        work.last_latency_us = cost_us + work.backlog_milli.saturating_mul(TICK_US) / capacity;
        if let Some(threshold) = threshold {
            work.timed_milli[class_of(Duration::from_micros(work.last_latency_us), threshold)] += answered;
        }
        work.backlog_milli -= answered;
        work.answered_milli += answered;
        work.cpu_us += answered * cost_us / 1000;
    }

    fn is_running(&self) -> bool {
        matches!(self.state, LifeState::Booting | LifeState::Up | LifeState::Stopping)
    }

    /// Whether the proxy counts it: it may be routed to, or has been.
    fn is_counted(&self) -> bool {
        match self.admission {
            Some(Admission::Serving { .. }) => self.state == LifeState::Up,
            Some(Admission::Draining) => matches!(self.state, LifeState::Booting | LifeState::Up),
            Some(Admission::Spare) | None => false,
        }
    }
}
