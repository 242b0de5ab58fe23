//! One policy over one trace, tick by tick.

use std::collections::VecDeque;
use std::fmt;

use model::time::{Now, Time, Wall};

use crate::fleet::{Fleet, Replica};
use crate::policy::{Policy, PolicyInput, TickResult};
use crate::score::{Score, Tally, TickRecord};
use crate::service::Service;
use crate::timeline::Timeline;
use crate::world::World;

/// A policy that scales a service, tick by tick. Keeps only the loads that the policy's foresight needs.
pub struct Run {
    service: Service,
    policy: Box<dyn Policy>,
    world: World,
    start: Wall,
    foresight: usize,
    /// The load of the current tick, and of those after it.
    upcoming: VecDeque<f64>,
    tick: u64,
    fleet: Fleet,
    wanted: u32,
    last: Option<TickResult>,
    queue: f64,
    tally: Tally,
    /// The same without the warm-up. Which one is used is known only when the length of the trace is.
    tally_warm: Tally,
    /// Ticks at the beginning that are not scored.
    unscored: u64,
    timeline: Timeline,
}

/// The result of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The score over the whole trace, but for the first 24 h of a trace of more than 48 h.
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
    /// A run of `policy` that begins at `start`, in a world that may disturb it.
    pub fn new(service: &Service, policy: impl Policy + 'static, world: World, start: Wall) -> Self {
        let policy: Box<dyn Policy> = Box::new(policy);
        let foresight = policy.foresight();
        let tally = Tally::new(service.tick);
        Self {
            service: service.clone(),
            policy,
            world,
            start,
            foresight,
            upcoming: VecDeque::new(),
            tick: 0,
            fleet: Fleet::default(),
            wanted: 0,
            last: None,
            queue: 0.0,
            tally_warm: tally.clone(),
            tally,
            unscored: 0,
            timeline: Timeline::default(),
        }
    }

    /// The same, but scored from `tick` on only: evaluates a policy on one part of a trace, with its history of the part before.
    #[must_use]
    pub fn scored_from(self, tick: u64) -> Self {
        Self { unscored: tick, ..self }
    }

    /// Takes the load of the next tick, in requests a second.
    pub fn offer(&mut self, load: f64) {
        debug_assert!(load >= 0.0 && load.is_finite(), "a load is finite and not negative");
        self.upcoming.push_back(load);
        if self.upcoming.len() >= self.foresight.max(1) {
            self.step();
        }
    }

    /// Serves the last tick and returns the result.
    pub fn finish(mut self) -> Outcome {
        while !self.upcoming.is_empty() {
            self.step();
        }
        let is_warm_up_excluded = self.unscored == 0 && self.service.is_warm_up_excluded(self.tick);
        let tally = if is_warm_up_excluded { self.tally_warm } else { self.tally };
        Outcome { score: tally.score(), timeline: self.timeline }
    }

    /// One tick: starts finish, replicas are lost, the policy decides, replicas are started or stopped, the load is served.
    fn step(&mut self) {
        let load = self.upcoming.front().copied().unwrap_or(0.0);
        if self.tick == 0 {
            self.start_with(self.policy.initial(self.service.demand(load)));
        }
        self.fleet.finish_starts(self.tick);
        self.world.apply_losses(self.tick, &self.service, &mut self.fleet);
        let wanted = self.decide();
        let is_action = wanted != self.wanted;
        self.wanted = wanted;
        let started = self.resize();
        let result = self.serve(load);
        self.upcoming.pop_front();
        self.count(result, is_action, started);
        self.last = Some(result);
        self.tick += 1;
    }

    fn start_with(&mut self, replicas: u32) {
        let replicas = self.service.within_bounds(replicas);
        self.wanted = replicas;
        let world = &mut self.world;
        self.fleet = Fleet::of_ready((0..replicas).map(|_| Replica {
            started: 0,
            ready: 0,
            speed: world.speed(),
            start_fails: false,
        }));
    }

    fn decide(&mut self) -> u32 {
        let elapsed = self.service.tick.as_millis().saturating_mul(u128::from(self.tick));
        let now = self.start.as_millis().saturating_add(u64::try_from(elapsed).unwrap_or(u64::MAX));
        let upcoming = if self.foresight > 0 { &*self.upcoming.make_contiguous() } else { &[] };
        let input = PolicyInput {
            tick: self.tick,
            now: Now { time: Time::from_millis(now), wall: Wall::from_millis(now) },
            service: &self.service,
            fleet: &self.fleet,
            wanted: self.wanted,
            last: self.last.as_ref(),
            upcoming,
        };
        self.service.within_bounds(self.policy.wanted(&input))
    }

    /// Starts or stops replicas to reach the desired number; returns how many were started.
    fn resize(&mut self) -> u32 {
        let total = self.fleet.total();
        if total > self.wanted {
            self.fleet.stop(total - self.wanted);
            return 0;
        }
        let missing = self.wanted - total;
        if missing > 0 {
            let (tick, service, world) = (self.tick, &self.service, &mut self.world);
            self.fleet.start((0..missing).map(|_| world.replica(tick, service)));
            // A start without a start-up time finishes in its own tick.
            self.fleet.finish_starts(tick);
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

    fn count(&mut self, result: TickResult, is_action: bool, started: u32) {
        let capacity = self.capacity();
        let record = TickRecord {
            load: result.load,
            capacity,
            demand: self.service.demand(result.load),
            ready: self.fleet.ready(),
            billed: self.fleet.total(),
            dropped: result.dropped,
            is_violated: result.dropped > 0.0
                || result.queue > self.service.wait_max.as_secs_f64() * capacity,
            is_hot: result.load > self.service.hot.part() * capacity,
            is_action,
            started,
        };
        // The full tally is not needed any more once the trace is long enough for the other, unless the first scored tick was given.
        let needs_full = self.unscored > 0 || !self.service.is_warm_up_excluded(self.tick);
        if needs_full && self.tick >= self.unscored {
            self.tally.count(&record);
        }
        if self.unscored == 0 && !self.service.is_in_warm_up(self.tick) {
            self.tally_warm.count(&record);
        }
        self.timeline.add(&record);
    }
}
