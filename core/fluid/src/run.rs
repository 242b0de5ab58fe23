//! One policy over one trace, tick by tick.

use std::collections::VecDeque;
use std::fmt;

use model::time::{Now, Time, Wall};

use crate::fleet::{Fleet, Replica};
use crate::policy::{Policy, PolicyInput, TickResult};
use crate::score::{Counted, Score, Tally};
use crate::service::Service;
use crate::timeline::Timeline;
use crate::world::World;

/// A policy at work on a service. Takes one load after the other and keeps none but those of the foresight.
pub struct Run {
    service: Service,
    policy: Box<dyn Policy>,
    world: World,
    begin: Wall,
    foresight: usize,
    /// The load of the tick to come, and of those after it.
    ahead: VecDeque<f64>,
    tick: u64,
    fleet: Fleet,
    wanted: u32,
    last: Option<TickResult>,
    queue: f64,
    tally: Tally,
    /// The same without the warm-up; which of them counts is known at the end.
    tally_warm: Tally,
    /// Ticks at the beginning that are not scored.
    uncounted: u64,
    timeline: Timeline,
}

/// The result of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// How the policy did: without the first 24 h of a trace of more than 48 h, else over all of it.
    pub score: Score,
    /// Its timeline, coarse enough to be drawn.
    pub timeline: Timeline,
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run").field("tick", &self.tick).field("fleet", &self.fleet).finish_non_exhaustive()
    }
}

impl Run {
    /// A run of `policy` that begins at `begin`, in a world that may disturb it.
    pub fn new(service: &Service, policy: impl Policy + 'static, world: World, begin: Wall) -> Self {
        let policy: Box<dyn Policy> = Box::new(policy);
        let foresight = policy.foresight();
        let tally = Tally::new(service.tick);
        Self {
            service: service.clone(),
            policy,
            world,
            begin,
            foresight,
            ahead: VecDeque::new(),
            tick: 0,
            fleet: Fleet::default(),
            wanted: 0,
            last: None,
            queue: 0.0,
            tally_warm: tally.clone(),
            tally,
            uncounted: 0,
            timeline: Timeline::default(),
        }
    }

    /// The same, but scored over exactly the ticks from `tick` on: tries a policy on a part of a trace, with its memory of the part before.
    #[must_use]
    pub fn counted_from(self, tick: u64) -> Self {
        Self { uncounted: tick, ..self }
    }

    /// Takes the load of the next tick, in requests a second.
    pub fn offer(&mut self, load: f64) {
        debug_assert!(load >= 0.0 && load.is_finite(), "a load is a number of zero or more");
        self.ahead.push_back(load);
        if self.ahead.len() >= self.foresight.max(1) {
            self.step();
        }
    }

    /// Serves the last tick and returns the result.
    pub fn finish(mut self) -> Outcome {
        while !self.ahead.is_empty() {
            self.step();
        }
        let is_warm_up_left_out = self.uncounted == 0 && self.service.is_warm_up_left_out(self.tick);
        let counted = if is_warm_up_left_out { self.tally_warm } else { self.tally };
        Outcome { score: counted.score(), timeline: self.timeline }
    }

    /// One tick: starts end, the policy decides, replicas come and go, the load is served.
    fn step(&mut self) {
        let load = self.ahead.front().copied().unwrap_or(0.0);
        if self.tick == 0 {
            self.begin_with(self.policy.begin(self.service.demand(load)));
        }
        self.fleet.mature(self.tick);
        self.world.strike(self.tick, &self.service, &mut self.fleet);
        let wanted = self.decide();
        let is_action = wanted != self.wanted;
        self.wanted = wanted;
        let started = self.resize();
        let past = self.serve(load);
        self.ahead.pop_front();
        self.count(past, is_action, started);
        self.last = Some(past);
        self.tick += 1;
    }

    fn begin_with(&mut self, replicas: u32) {
        let replicas = self.service.within_bounds(replicas);
        self.wanted = replicas;
        let world = &mut self.world;
        self.fleet = Fleet::of_ready((0..replicas).map(|_| Replica {
            started: 0,
            ready: 0,
            speed: world.speed(),
            is_doomed: false,
        }));
    }

    fn decide(&mut self) -> u32 {
        let at = self.service.tick.as_millis().saturating_mul(u128::from(self.tick));
        let at = self.begin.as_millis().saturating_add(u64::try_from(at).unwrap_or(u64::MAX));
        let ahead = if self.foresight > 0 { &*self.ahead.make_contiguous() } else { &[] };
        let input = PolicyInput {
            tick: self.tick,
            now: Now { time: Time::from_millis(at), wall: Wall::from_millis(at) },
            service: &self.service,
            fleet: &self.fleet,
            wanted: self.wanted,
            last: self.last.as_ref(),
            ahead,
        };
        self.service.within_bounds(self.policy.wanted(&input))
    }

    /// Starts what is missing and stops what is too many; returns how many were started.
    fn resize(&mut self) -> u32 {
        let there = self.fleet.total();
        if there > self.wanted {
            self.fleet.stop(there - self.wanted);
            return 0;
        }
        let missing = self.wanted - there;
        if missing > 0 {
            let (tick, service, world) = (self.tick, &self.service, &mut self.world);
            self.fleet.start((0..missing).map(|_| world.replica(tick, service)));
            // A start that takes no time ends in its own tick.
            self.fleet.mature(tick);
        }
        missing
    }

    fn serve(&mut self, load: f64) -> TickResult {
        let seconds = self.service.tick.as_secs_f64();
        let capacity = self.capacity();
        let work = load * seconds + self.queue;
        let served = work.min(capacity * seconds);
        let waiting = work - served;
        let dropped = (waiting - self.service.queue_max.as_secs_f64() * capacity).max(0.0);
        self.queue = waiting - dropped;
        let utilization = if capacity > 0.0 {
            served / (capacity * seconds)
        } else if work > 0.0 {
            1.0
        } else {
            0.0
        };
        TickResult { load, served: served / seconds, utilization, queue: self.queue, dropped }
    }

    /// Requests a second that the ready replicas carry.
    fn capacity(&self) -> f64 {
        self.fleet.speed() * self.service.capacity.rate()
    }

    fn count(&mut self, past: TickResult, is_action: bool, started: u32) {
        let capacity = self.capacity();
        let counted = Counted {
            load: past.load,
            capacity,
            demand: self.service.demand(past.load),
            ready: self.fleet.ready(),
            billed: self.fleet.total(),
            dropped: past.dropped,
            is_violated: past.dropped > 0.0 || past.queue > self.service.wait_max.as_secs_f64() * capacity,
            is_hot: past.load > self.service.hot.part() * capacity,
            is_action,
            started,
        };
        // Which of both counts is known before the end if the trace is long, or if the first scored tick was given.
        let is_whole = self.uncounted > 0 || !self.service.is_warm_up_left_out(self.tick);
        if is_whole && self.tick >= self.uncounted {
            self.tally.count(&counted);
        }
        if self.uncounted == 0 && !self.service.is_in_warm_up(self.tick) {
            self.tally_warm.count(&counted);
        }
        self.timeline.add(&counted);
    }
}
