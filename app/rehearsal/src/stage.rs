//! Runs a rehearsal: drives the simulation and records its result.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::event::{Event, EventKind};
use model::input::Intent;
use model::time::Time;
use sim::{Cause, Effect, Life, Simulation, Site, TICK, Turn};

use crate::report::{
    EVENTS_MAX, LoopEvent, MissedFault, Rehearsal, Requests, SAMPLES_MAX, Sample, ServiceReport,
};
use crate::script::{FaultKind, RehearsedService, ScheduledFault, Script, ScriptError};

/// Longest time to wait, before requests begin, until all declared services are ready.
const PRELUDE_MAX: Duration = Duration::from_mins(10);

/// Runs the control loop over the services of the script, and reports progress as simulated time since the first request.
///
/// Requests begin once every service has its desired number of ready replicas, or after ten minutes. Events before that have negative times.
///
/// # Errors
///
/// When the script fails [`Script::check`].
pub fn rehearse(script: &Script, progress: &mut dyn FnMut(Duration)) -> Result<Rehearsal, ScriptError> {
    script.check()?;
    let mut sim = Simulation::new(script.seed, script.settings.clone()).in_one_process();
    sim.set_wall(script.begin);
    script.gauges.iter().for_each(|gauge| sim.add_gauge(gauge.clone()));
    let mut recorder = Recorder::new(script);
    for RehearsedService { declared, program, .. } in &script.services {
        sim.set_program(&declared.name, declared.generation, program.clone());
        sim.order(Intent::Declare(Arc::new(declared.clone())));
    }
    while !all_ready(&sim, script) && sim.now().since(Simulation::begin()) < PRELUDE_MAX {
        let next = sim.now() + TICK;
        advance(&mut sim, next, &mut recorder);
    }
    recorder.zero = sim.now();
    sim.set_wall(script.begin);
    sim.set_faults(script.faults.clone());
    for RehearsedService { declared, load, .. } in &script.services {
        sim.set_load(&declared.name, load.starting_at(recorder.zero));
    }
    play(&mut sim, script, &mut recorder, progress);
    Ok(recorder.finish(&sim, script))
}

/// Runs the simulation from the first request to the end.
fn play(sim: &mut Simulation, script: &Script, recorder: &mut Recorder, progress: &mut dyn FnMut(Duration)) {
    let mut scheduled_faults: Vec<&ScheduledFault> = script.scheduled_faults.iter().collect();
    scheduled_faults.sort_by_key(|fault| std::cmp::Reverse(fault.after));
    let zero = recorder.zero;
    let mut since = Duration::ZERO;
    while since < script.span {
        recorder.sample(sim, since);
        let next = (since + TICK).min(script.span);
        while let Some(fault) = scheduled_faults.pop_if(|fault| fault.after < next) {
            advance(sim, zero + fault.after, recorder);
            if is_running(sim, &fault.kind) {
                inject(sim, &fault.kind);
            } else {
                recorder.record_missed(fault);
            }
            recorder.record_events(sim, Turn::World);
        }
        advance(sim, zero + next, recorder);
        recorder.accumulate(sim, next - since);
        since = next;
        progress(since);
    }
}

/// Whether every service has its desired number of ready replicas.
fn all_ready(sim: &Simulation, script: &Script) -> bool {
    let Some(control) = sim.control() else { return false };
    script.services.iter().all(|service| {
        let name = &service.declared.name;
        let desired = control.knowledge().service(name).and_then(|known| known.desired);
        let site = sim.node().sites().iter().find(|site| site.name == *name);
        desired.is_some_and(|desired| site.map_or(0, ready) >= desired)
    })
}

fn advance(sim: &mut Simulation, until: Time, recorder: &mut Recorder) {
    loop {
        let turn = sim.turn(until);
        recorder.record_events(sim, turn);
        if turn == Turn::Over {
            return;
        }
    }
}

/// Whether what the fault is for runs.
fn is_running(sim: &Simulation, kind: &FaultKind) -> bool {
    match kind {
        FaultKind::Kill(replica) | FaultKind::Hang(replica) => {
            sim.node().life(replica).is_some_and(Life::is_alive)
        }
        FaultKind::KillHomeostat => sim.control().is_some(),
    }
}

fn inject(sim: &mut Simulation, kind: &FaultKind) {
    match kind {
        FaultKind::Kill(replica) => sim.kill(replica),
        FaultKind::Hang(replica) => sim.hang(replica, None),
        FaultKind::KillHomeostat => sim.kill_orchestrator(),
    }
}

/// Collects the result during a rehearsal.
struct Recorder {
    /// When requests begin.
    zero: Time,
    reports: BTreeMap<String, ServiceReport>,
    events: Vec<(Time, Event)>,
    events_left_out: u64,
    missed_faults: Vec<MissedFault>,
    /// Interval between samples.
    every: Duration,
    next_sample: Duration,
}

impl Recorder {
    fn new(script: &Script) -> Self {
        let ticks = script.span.as_millis().div_ceil(TICK.as_millis());
        let stride = u32::try_from(ticks.div_ceil(u128::from(SAMPLES_MAX))).unwrap_or(u32::MAX);
        let report = |name: &str| ServiceReport {
            name: name.to_owned(),
            requests: Requests::default(),
            replica_seconds: 0.0,
            ready_min: u32::MAX,
            ready_max: 0,
            actions: 0,
            starts: 0,
            failures: 0,
            in_flight_max: 0,
            samples: Vec::new(),
        };
        let names = script.services.iter().map(|service| service.declared.name.as_str());
        Self {
            zero: Simulation::begin(),
            reports: names.map(|name| (name.to_owned(), report(name))).collect(),
            events: Vec::new(),
            events_left_out: 0,
            missed_faults: Vec::new(),
            every: TICK * stride,
            next_sample: Duration::ZERO,
        }
    }

    /// Takes a sample of each service when one is due.
    fn sample(&mut self, sim: &Simulation, since: Duration) {
        if since < self.next_sample {
            return;
        }
        self.next_sample = since + self.every;
        for site in sim.node().sites() {
            let Some(report) = self.reports.get_mut(site.name.as_str()) else { continue };
            let knowledge = sim.control().map(control::ControlLoop::knowledge);
            let desired = knowledge.and_then(|knowledge| knowledge.service(&site.name)?.desired);
            let before = report.samples.last().copied().unwrap_or_default();
            report.samples.push(Sample {
                at_seconds: since.as_secs_f64(),
                load: site.load.at(sim.now()).per_second(),
                // While Homeostat is down the desired number does not change.
                desired: desired.unwrap_or(before.desired),
                running: running(site),
                ready: ready(site),
            });
        }
    }

    /// Adds the current state of each service, which has held for `span`.
    fn accumulate(&mut self, sim: &Simulation, span: Duration) {
        for site in sim.node().sites() {
            let Some(report) = self.reports.get_mut(site.name.as_str()) else { continue };
            report.replica_seconds += f64::from(running(site)) * span.as_secs_f64();
            let ready = ready(site);
            report.ready_min = report.ready_min.min(ready);
            report.ready_max = report.ready_max.max(ready);
            let in_flight_milli: u64 = site.alive().map(Life::in_flight_milli).sum();
            report.in_flight_max = report.in_flight_max.max(in_flight_milli / 1000);
        }
    }

    /// Records the events of the loop and of the simulated world.
    fn record_events(&mut self, sim: &Simulation, turn: Turn) {
        for effect in sim.effects() {
            let (replica, is_start) = match effect {
                Effect::Began { replica, .. } => (replica, true),
                Effect::Ended { replica, cause: Cause::Itself, .. } => (replica, false),
                // tidy: open match: only what a life begins or ends with is counted here
                _ => continue,
            };
            let Some(report) = self.reports.get_mut(replica.service.as_str()) else { continue };
            *(if is_start { &mut report.starts } else { &mut report.failures }) += 1;
        }
        if turn != Turn::Stepped {
            return;
        }
        for event in &sim.out().events {
            if event.kind == EventKind::Scaled
                && let Some(report) = self.reports.get_mut(event.service.as_str())
            {
                report.actions += 1;
            }
            if self.events.len() < EVENTS_MAX {
                self.events.push((sim.now(), event.clone()));
            } else {
                self.events_left_out += 1;
            }
        }
    }

    fn record_missed(&mut self, fault: &ScheduledFault) {
        let target = match &fault.kind {
            FaultKind::Kill(replica) | FaultKind::Hang(replica) => replica.to_string(),
            FaultKind::KillHomeostat => "homeostat".to_owned(),
        };
        self.missed_faults.push(MissedFault { at_seconds: fault.after.as_secs_f64(), target });
    }

    fn finish(mut self, sim: &Simulation, script: &Script) -> Rehearsal {
        for site in sim.node().sites() {
            if let Some(report) = self.reports.get_mut(site.name.as_str()) {
                let tally = site.tally;
                report.requests = Requests {
                    asked: tally.received + tally.refused_connections,
                    unanswered: tally.unanswered + tally.refused_connections,
                    lost: tally.lost_in_crashes + tally.cut_off,
                    refused: tally.refused,
                };
            }
        }
        Rehearsal {
            seconds: script.span.as_secs_f64(),
            seed: script.seed,
            steps: sim.steps(),
            services: self.reports.into_values().collect(),
            events: self.events.iter().map(|(at, event)| loop_event(self.zero, *at, event)).collect(),
            events_left_out: self.events_left_out,
            missed_faults: self.missed_faults,
        }
    }
}

fn loop_event(zero: Time, at: Time, event: &Event) -> LoopEvent {
    LoopEvent {
        at: sim::clock(zero, at),
        service: event.service.to_string(),
        replica: event.replica.map(|(ordinal, _)| format!("{}-{ordinal}", event.service)),
        kind: event.kind.name().to_owned(),
        is_warning: event.kind.is_warning(),
        reason: sim::readable(zero, at, &event.reason),
    }
}

fn running(site: &Site) -> u32 {
    u32::try_from(site.alive().count()).unwrap_or(u32::MAX)
}

fn ready(site: &Site) -> u32 {
    u32::try_from(site.alive().filter(|life| life.is_routed()).count()).unwrap_or(u32::MAX)
}
