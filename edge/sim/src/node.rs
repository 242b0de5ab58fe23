//! The node: its platform, its agent and its proxy, which keep the contract of real ones.
//!
//! Each action is done at most once by its id; an older epoch is refused; of what an action says of one replica's traffic, or
//! of one listener, the latest id counts; a stop ends when its replica is gone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::action::{Action, ActionKind, Admission, Failure, FailureKind, Outcome, Refusal};
use model::identity::{ActionId, Epoch, Incarnation, Ordinal, ReplicaId};
use model::input::{Declared, Exit, ExitStatus, Observed, Report};
use model::name::{NodeName, ServiceName};
use model::resource::Resources;
use model::time::Time;

use crate::effect::{Cause, Effect};
use crate::fabric::{Fabric, Happening, LifeEvent, LifeKey, befalls};
use crate::fault::Fault;
use crate::gauge::Gauge;
use crate::life::{Life, LifeState, Probed, Work};
use crate::program::Flaw;
use crate::site::Site;

/// Actions whose end is remembered; a repeat comes within minutes, not after ten thousand others.
const DONE_MAX: usize = 10_000;

/// An ended life is told in inventories for so long: six of them.
const ENDED_KEPT: Duration = Duration::from_mins(1);

/// From a hang to what the probes make of it: three failures, a second apart.
const PROBES_NOTICE: Duration = Duration::from_secs(3);

/// The node and everything on it, as it truly is.
#[derive(Debug)]
pub struct Node {
    name: NodeName,
    sites: Vec<Site>,
    gauges: Vec<Gauge>,
    epoch: Epoch,
    up_to: ActionId,
    done: BTreeMap<ActionId, Outcome>,
    lives_begun: u64,
    ticks: u64,
    blind: Option<Blindness>,
}

/// What is not measured for a while.
#[derive(Clone, Copy, Debug)]
struct Blindness {
    until: Time,
    /// Only every second replica is missing.
    is_partial: bool,
}

impl Node {
    pub(crate) fn new(name: NodeName) -> Self {
        Self {
            name,
            sites: Vec::new(),
            gauges: Vec::new(),
            epoch: Epoch(0),
            up_to: ActionId::default(),
            done: BTreeMap::new(),
            lives_begun: 0,
            ticks: 0,
            blind: None,
        }
    }

    /// Its name.
    pub fn name(&self) -> &NodeName {
        &self.name
    }

    /// The largest epoch that it has heard of.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Every service that has ever been here, in the order in which they came.
    pub fn sites(&self) -> &[Site] {
        &self.sites
    }

    /// One service.
    pub fn site(&self, service: &ServiceName) -> Option<&Site> {
        self.sites.iter().find(|site| site.name == *service)
    }

    /// The latest life of a place.
    pub fn life(&self, replica: &ReplicaId) -> Option<&Life> {
        self.site(&replica.service)?.lives.get(replica.ordinal.0 as usize)?.as_ref()
    }

    pub(crate) fn site_mut(&mut self, service: &ServiceName) -> &mut Site {
        let index = self.site_index(service);
        &mut self.sites[index]
    }

    pub(crate) fn add_gauge(&mut self, gauge: Gauge) {
        self.gauges.push(gauge);
    }

    fn site_index(&mut self, service: &ServiceName) -> usize {
        if let Some(index) = self.sites.iter().position(|site| site.name == *service) {
            return index;
        }
        self.sites.push(Site::new(service.clone()));
        self.sites.len() - 1
    }

    /// A run greets the agent: older ones are refused from now on, and it is told what is here.
    pub(crate) fn greet(&mut self, fabric: &mut Fabric, epoch: Epoch) {
        if epoch < self.epoch {
            return;
        }
        self.epoch = epoch;
        fabric.session = Some(epoch);
        fabric.effects.push(Effect::Fenced { epoch });
        self.report_inventory(fabric);
    }

    /// An action arrives.
    pub(crate) fn receive(&mut self, fabric: &mut Fabric, action: &Action) {
        let id = action.id;
        if id.epoch < self.epoch {
            refuse(fabric, id, Refusal::StaleEpoch);
            return;
        }
        self.epoch = id.epoch;
        self.up_to = self.up_to.max(id);
        if let Some(outcome) = self.done.get(&id) {
            fabric.reply(id, outcome.clone());
            return;
        }
        if befalls(&fabric.faults, Fault::Unknown, &mut fabric.chance.agent) {
            fabric.reply(id, Outcome::Unknown);
            if fabric.chance.agent.happens(500) {
                return;
            }
        } else if befalls(&fabric.faults, Fault::Fails, &mut fabric.chance.agent) {
            let outcome = Outcome::Failed(failure(&action.kind, fabric));
            // A start that failed is over: the loop goes on with another one. Everything else is told again by the same id.
            if matches!(action.kind, ActionKind::Start { .. }) {
                self.note_done(id, outcome.clone());
            }
            fabric.reply(id, outcome);
            return;
        }
        self.act(fabric, action);
    }

    fn act(&mut self, fabric: &mut Fabric, action: &Action) {
        let id = action.id;
        match &action.kind {
            ActionKind::Start { replica, incarnation, declared, admission } => {
                self.start(fabric, id, (replica, *incarnation), declared, *admission);
            }
            ActionKind::Stop { replica, incarnation, grace } => {
                self.stop(fabric, id, replica, *incarnation, *grace);
            }
            ActionKind::Admit { replica, incarnation, admission, .. } => {
                self.admit(fabric, id, replica, *incarnation, *admission);
            }
            ActionKind::Allot { replica, incarnation, resources } => {
                self.allot(fabric, id, replica, *incarnation, *resources);
            }
            ActionKind::Expose(declared) => {
                self.listen(id, &declared.name, Some(declared));
                self.finish(fabric, id);
            }
            ActionKind::Conceal(service) => {
                self.listen(id, service, None);
                self.finish(fabric, id);
            }
            // The orchestrator writes that down itself.
            ActionKind::Remember(_) => {}
        }
    }

    fn start(
        &mut self,
        fabric: &mut Fabric,
        by: ActionId,
        (replica, incarnation): (&ReplicaId, Incarnation),
        declared: &Arc<Declared>,
        admission: Admission,
    ) {
        let site = self.site_index(&replica.service);
        let place = replica.ordinal.0 as usize;
        if let Some(life) = self.sites[site].lives.get(place).and_then(Option::as_ref) {
            if life.begun_by == by {
                // Its end is told when its program runs, or it was told before.
                return;
            }
            let (asked, running) = (incarnation, life.incarnation);
            let replica = replica.clone();
            if life.is_alive() {
                fabric.effects.push(Effect::SecondLife { by, replica, running, asked });
                return refuse(fabric, by, Refusal::OtherIncarnation);
            }
            if incarnation <= running {
                fabric.effects.push(Effect::UsedLife { by, replica, asked, latest: running });
                return refuse(fabric, by, Refusal::OtherIncarnation);
            }
        }
        self.lives_begun += 1;
        let program = self.sites[site].program(declared.generation);
        let lives = &mut fabric.chance.lives;
        let exec = lives.span(program.exec.0, program.exec.1);
        let is_deaf = befalls(&fabric.faults, Fault::Deaf, lives);
        let mut life = Life {
            incarnation,
            generation: declared.generation,
            begun_by: by,
            state: LifeState::Execing,
            admission: Some(admission),
            admitted_by: by,
            hung_since: None,
            is_unready: false,
            is_probed: true,
            seen: Probed { ready: false, live: true },
            is_deaf,
            stoppers: Vec::new(),
            resources: Resources::default(),
            allotted_by: ActionId::default(),
            program,
            begun_at: fabric.now,
            ejected_until: Time::ZERO,
            up_since: None,
            serial: self.lives_begun,
            work: Work::default(),
        };
        life.allot(by, declared.spec.resources);
        let places = &mut self.sites[site].lives;
        if places.len() <= place {
            places.resize_with(place + 1, || None);
        }
        let which = LifeKey { site, place, serial: life.serial };
        places[place] = Some(life);
        fabric.effects.push(Effect::Began { by, replica: replica.clone(), incarnation });
        fabric.after(exec, Happening::InLife { which, what: LifeEvent::Exec });
    }

    fn stop(
        &mut self,
        fabric: &mut Fabric,
        by: ActionId,
        replica: &ReplicaId,
        incarnation: Incarnation,
        grace: Duration,
    ) {
        let site = self.site_index(&replica.service);
        let place = replica.ordinal.0 as usize;
        let Some(life) = self.sites[site].lives.get_mut(place).and_then(Option::as_mut) else {
            return self.finish(fabric, by);
        };
        if life.incarnation != incarnation {
            return refuse(fabric, by, Refusal::OtherIncarnation);
        }
        match life.state {
            LifeState::Ended { .. } => return self.finish(fabric, by),
            LifeState::Stopping => {
                if !life.stoppers.contains(&by) {
                    life.stoppers.push(by);
                }
                return;
            }
            LifeState::Execing | LifeState::Booting | LifeState::Up => {}
        }
        fabric.effects.push(Effect::Signalled {
            by,
            replica: replica.clone(),
            incarnation,
            in_flight: life.in_flight(),
            was_well: life.is_well(),
        });
        life.state = LifeState::Stopping;
        life.stoppers.push(by);
        let which = LifeKey { site, place, serial: life.serial };
        let obeys = !life.is_deaf && life.hung_since.is_none() && life.program.stop < grace;
        let (span, what) =
            if obeys { (life.program.stop, LifeEvent::Obeys) } else { (grace, LifeEvent::Killed) };
        fabric.after(span, Happening::InLife { which, what });
        self.report_life(fabric, which);
    }

    fn admit(
        &mut self,
        fabric: &mut Fabric,
        by: ActionId,
        replica: &ReplicaId,
        incarnation: Incarnation,
        admission: Admission,
    ) {
        let index = self.site_index(&replica.service);
        let place = replica.ordinal.0 as usize;
        let life = self.sites[index].lives.get_mut(place).and_then(Option::as_mut);
        match life.filter(|life| life.incarnation == incarnation && life.is_alive()) {
            Some(life) => {
                // Who is told how to ask it for its health does so at once.
                life.is_probed = true;
                let which = LifeKey { site: index, place, serial: life.serial };
                fabric.queue.put(fabric.now, Happening::InLife { which, what: LifeEvent::Probe });
                if by > life.admitted_by {
                    (life.admission, life.admitted_by) = (Some(admission), by);
                    fabric.effects.push(Effect::Admitted { by, replica: replica.clone(), admission });
                }
                self.finish(fabric, by);
            }
            None => refuse(fabric, by, Refusal::OtherIncarnation),
        }
    }

    fn allot(
        &mut self,
        fabric: &mut Fabric,
        by: ActionId,
        replica: &ReplicaId,
        incarnation: Incarnation,
        resources: Resources,
    ) {
        let index = self.site_index(&replica.service);
        let life = self.sites[index].lives.get_mut(replica.ordinal.0 as usize).and_then(Option::as_mut);
        let Some(life) = life.filter(|life| life.incarnation == incarnation && life.is_alive()) else {
            return refuse(fabric, by, Refusal::OtherIncarnation);
        };
        let memory = resources.memory.map(|memory| u64::try_from(memory.units_ceil()).unwrap_or(0));
        let why = if !life.program.is_fittable {
            Some((FailureKind::Unsupported, "this world cannot change what runs"))
        } else if memory.is_some_and(|limit| limit < life.program.memory.0) {
            Some((FailureKind::Other, "it uses more memory than that"))
        } else {
            None
        };
        if let Some((kind, why)) = why {
            let message = format!("could not change what {replica} may use: {why}").into();
            let outcome = Outcome::Failed(Failure { kind, message });
            self.note_done(by, outcome.clone());
            return fabric.reply(by, outcome);
        }
        if by > life.allotted_by {
            life.allot(by, resources);
            fabric.effects.push(Effect::Allotted { by, replica: replica.clone(), resources });
        }
        self.finish(fabric, by);
    }

    fn listen(&mut self, by: ActionId, service: &ServiceName, exposed: Option<&Declared>) {
        let site = self.site_mut(service);
        if by > site.exposed_by {
            site.exposed_by = by;
            site.exposed = exposed.map(|declared| declared.revision);
            site.promised = exposed.and_then(Declared::promise).map(|slo| slo.latency.below.as_duration());
            let to_zero = exposed.and_then(|declared| declared.spec.scale.to_zero);
            site.wait = to_zero.map(|to_zero| to_zero.wait.into());
            site.tells_demand =
                to_zero.is_some() || exposed.is_some_and(|declared| declared.foretold().is_some());
        }
    }

    fn finish(&mut self, fabric: &mut Fabric, id: ActionId) {
        self.note_done(id, Outcome::Applied);
        fabric.reply(id, Outcome::Applied);
    }

    fn note_done(&mut self, id: ActionId, outcome: Outcome) {
        if self.done.len() == DONE_MAX {
            self.done.pop_first();
        }
        self.done.insert(id, outcome);
    }

    /// Something happens to a life; nothing when that life is over.
    pub(crate) fn befall(&mut self, fabric: &mut Fabric, which: LifeKey, what: LifeEvent) {
        let now = fabric.now;
        let Some(life) = self.living(which) else { return };
        match what {
            LifeEvent::Exec => self.exec(fabric, which),
            LifeEvent::Ready => {
                if life.state == LifeState::Booting {
                    life.state = LifeState::Up;
                    life.up_since = Some(now);
                    life.seen = Probed { ready: life.is_probed && life.is_well(), live: true };
                    self.report_life(fabric, which);
                }
            }
            LifeEvent::Probe => {
                let seen = Probed { ready: life.is_well(), live: life.hung_since.is_none() };
                if life.state == LifeState::Up && life.is_probed && seen != life.seen {
                    life.seen = seen;
                    self.report_life(fabric, which);
                }
            }
            LifeEvent::Recovers => {
                life.hung_since = None;
                life.is_unready = false;
                fabric.after(Duration::from_secs(1), Happening::InLife { which, what: LifeEvent::Probe });
            }
            LifeEvent::Ends(mut exit) => {
                exit.ran_for = life.age(now);
                self.end(fabric, which, exit, Cause::Itself);
            }
            LifeEvent::Obeys | LifeEvent::Killed => {
                let status = match what {
                    LifeEvent::Obeys => ExitStatus::Code(0),
                    LifeEvent::Killed
                    | LifeEvent::Exec
                    | LifeEvent::Ready
                    | LifeEvent::Probe
                    | LifeEvent::Recovers
                    | LifeEvent::Ends(_) => ExitStatus::Signal(9),
                };
                let exit = Exit { status, out_of_memory: false, ran_for: life.age(now) };
                self.end(fabric, which, exit, Cause::Asked);
            }
        }
    }

    fn exec(&mut self, fabric: &mut Fabric, which: LifeKey) {
        let Some(life) = self.living(which).filter(|life| life.state == LifeState::Execing) else { return };
        life.state = LifeState::Booting;
        let by = life.begun_by;
        let (least, most) = life.program.boot;
        let chance = &mut fabric.chance.lives;
        let mut boot = chance.span(least, most);
        if befalls(&fabric.faults, Fault::Slow, chance) {
            boot *= 10;
        }
        let event = match life.program.flaw {
            Flaw::None => Some((boot, LifeEvent::Ready)),
            Flaw::NeverReady => None,
            Flaw::Ends { code, after } => {
                let status = ExitStatus::Code(code);
                let exit = Exit { status, out_of_memory: false, ran_for: after };
                if boot < after {
                    fabric.after(boot, Happening::InLife { which, what: LifeEvent::Ready });
                }
                Some((after, LifeEvent::Ends(exit)))
            }
        };
        if let Some((span, what)) = event {
            fabric.after(span, Happening::InLife { which, what });
        }
        self.finish(fabric, by);
        self.report_life(fabric, which);
    }

    fn end(&mut self, fabric: &mut Fabric, which: LifeKey, exit: Exit, cause: Cause) {
        let now = fabric.now;
        let Some(life) = self.living(which) else { return };
        let cut_off = life.in_flight();
        // Whoever asked for the end has it, even when the replica ended by itself meanwhile.
        let cause = if life.state == LifeState::Stopping { Cause::Asked } else { cause };
        let was_execing = life.state == LifeState::Execing;
        life.state = LifeState::Ended { exit, at: now };
        life.work.backlog_milli = 0;
        life.work.answering = 0;
        let incarnation = life.incarnation;
        let begun_by = life.begun_by;
        let stoppers = std::mem::take(&mut life.stoppers);
        let site = &mut self.sites[which.site];
        match cause {
            Cause::Itself => site.tally.lost_in_crashes += u64::from(cut_off),
            Cause::Asked => site.tally.cut_off += u64::from(cut_off),
        }
        let replica = ReplicaId { service: site.name.clone(), ordinal: ordinal_of(which) };
        fabric.effects.push(Effect::Ended { replica, incarnation, exit, cause, cut_off });
        self.report_life(fabric, which);
        if was_execing {
            self.finish(fabric, begun_by);
        }
        for stopper in stoppers {
            self.finish(fabric, stopper);
        }
    }

    /// A life begins to hang; `recovery` is when it answers again, if ever.
    pub(crate) fn hang(&mut self, fabric: &mut Fabric, which: LifeKey, recovery: Option<Duration>) {
        let now = fabric.now;
        let Some(life) = self.living(which).filter(|life| life.state == LifeState::Up) else { return };
        life.hung_since.get_or_insert(now);
        fabric.after(PROBES_NOTICE, Happening::InLife { which, what: LifeEvent::Probe });
        if let Some(span) = recovery {
            fabric.after(span, Happening::InLife { which, what: LifeEvent::Recovers });
        }
    }

    /// A life says for a while that it is not ready.
    pub(crate) fn flap(&mut self, fabric: &mut Fabric, which: LifeKey, span: Duration) {
        let Some(life) = self.living(which).filter(|life| life.state == LifeState::Up) else { return };
        life.is_unready = true;
        fabric.after(Duration::from_secs(1), Happening::InLife { which, what: LifeEvent::Probe });
        fabric.after(span, Happening::InLife { which, what: LifeEvent::Recovers });
    }

    /// The proxy goes around a life for a while, unless it goes around another one of its service already.
    pub(crate) fn eject(&mut self, now: Time, which: LifeKey, span: Duration) {
        let site = self.sites.get(which.site);
        if site.is_none_or(|site| site.ejected(now).next().is_some()) {
            return;
        }
        if let Some(life) = self.living(which).filter(|life| life.is_routed()) {
            life.ejected_until = now + span;
        }
    }

    /// Nothing is measured for a while, or not of every second replica.
    pub(crate) fn blind(&mut self, until: Time, is_partial: bool) {
        self.blind = Some(Blindness { until, is_partial });
    }

    /// The agent and the proxy die with the orchestrator, in one process: what they were told is gone; the replicas run on.
    pub(crate) fn forget_what_was_told(&mut self) {
        for site in &mut self.sites {
            site.exposed = None;
            site.waiting_milli = 0;
            for life in site.lives.iter_mut().flatten() {
                life.admission = None;
                life.is_probed = false;
                life.ejected_until = Time::ZERO;
                // Whoever waited for an answer through the proxy waits for nothing now.
                (life.work.backlog_milli, life.work.answering) = (0, 0);
                life.seen = Probed { ready: false, live: true };
            }
        }
    }

    /// Every life that runs, by service and place.
    pub(crate) fn keys(&self) -> Vec<LifeKey> {
        let sites = self.sites.iter().enumerate();
        sites
            .flat_map(|(site, at)| {
                let places = at.lives.iter().enumerate();
                places.filter_map(move |(place, life)| {
                    let life = life.as_ref().filter(|life| life.is_alive())?;
                    Some(LifeKey { site, place, serial: life.serial })
                })
            })
            .collect()
    }

    fn living(&mut self, which: LifeKey) -> Option<&mut Life> {
        let life = self.sites.get_mut(which.site)?.lives.get_mut(which.place)?.as_mut()?;
        (life.serial == which.serial && life.is_alive()).then_some(life)
    }

    /// Counts, measures and reports what it is time for.
    pub(crate) fn tick(&mut self, fabric: &mut Fabric) {
        self.ticks += 1;
        for site in &mut self.sites {
            site.tick(fabric.now, &mut fabric.effects);
        }
        let blind = self.blind.filter(|blind| fabric.now < blind.until);
        let sees = |ordinal: Ordinal| match blind {
            None => true,
            Some(blind) => blind.is_partial && ordinal.0.is_multiple_of(2),
        };
        let places = self.sites.iter().map(|site| site.lives.len()).sum();
        let mut traffic = Vec::with_capacity(places);
        self.sites.iter().for_each(|site| site.count(&mut traffic));
        traffic.retain(|sample| sees(sample.ordinal));
        if !traffic.is_empty() {
            fabric.report(Report::Traffic(traffic));
        }
        if blind.is_none() {
            let demand: Vec<_> = self.sites.iter().filter_map(Site::demand).collect();
            if !demand.is_empty() {
                fabric.report(Report::Demand(demand));
            }
        }
        if self.ticks.is_multiple_of(2) {
            let mut usage = Vec::with_capacity(places);
            self.sites.iter().for_each(|site| site.measure(&mut usage));
            usage.retain(|sample| sees(sample.replica.ordinal));
            if !usage.is_empty() {
                fabric.report(Report::Usage(usage));
            }
        }
        if self.ticks.is_multiple_of(4) {
            let mut latencies = Vec::new();
            self.sites.iter().for_each(|site| site.time(&mut latencies));
            latencies.retain(|sample| sees(sample.ordinal));
            if !latencies.is_empty() {
                fabric.report(Report::Latencies(latencies));
            }
        }
        // Every second, too.
        let ejected = self.sites.iter().flat_map(|site| site.ejected(fabric.now));
        let ejected: Vec<_> = ejected.filter(|_| self.ticks.is_multiple_of(4)).collect();
        if !ejected.is_empty() && blind.is_none() {
            fabric.report(Report::Ejected(ejected));
        }
        // Every second; half of the blindness is silence, the other half failure.
        if self.ticks.is_multiple_of(4) && blind.is_none_or(|blind| blind.is_partial) {
            let sources = self.sites.iter().filter_map(|site| site.measured(fabric.now, blind.is_none()));
            let outside = self.gauges.iter().map(|gauge| gauge.measured(fabric.now, blind.is_none()));
            let measured: Vec<_> = sources.chain(outside).collect();
            if !measured.is_empty() {
                fabric.report(Report::Measured(measured));
            }
        }
        // Every 10 s.
        if self.ticks.is_multiple_of(40) {
            self.sites.iter_mut().for_each(|site| site.forget_ended(fabric.now, ENDED_KEPT));
            self.report_inventory(fabric);
        }
    }

    fn report_inventory(&self, fabric: &mut Fabric) {
        let mut replicas = Vec::new();
        for site in &self.sites {
            replicas.extend(site.places().map(|(ordinal, life)| observed(site, ordinal, life)));
        }
        fabric.report(Report::Inventory { node: self.name.clone(), up_to: self.up_to, replicas });
        let allotted: Vec<_> = self.sites.iter().flat_map(Site::allotted).collect();
        if !allotted.is_empty() {
            fabric.report(Report::Allotted(allotted));
        }
    }

    fn report_life(&self, fabric: &mut Fabric, which: LifeKey) {
        let site = &self.sites[which.site];
        if let Some(life) = site.lives.get(which.place).and_then(Option::as_ref) {
            fabric.report(Report::Replica(observed(site, ordinal_of(which), life)));
        }
    }
}

fn observed(site: &Site, ordinal: Ordinal, life: &Life) -> Observed {
    Observed {
        replica: ReplicaId { service: site.name.clone(), ordinal },
        incarnation: life.incarnation,
        generation: life.generation,
        state: life.observed(),
    }
}

fn ordinal_of(which: LifeKey) -> Ordinal {
    Ordinal(u32::try_from(which.place).unwrap_or(u32::MAX))
}

fn refuse(fabric: &mut Fabric, action: ActionId, refusal: Refusal) {
    fabric.effects.push(Effect::Refused { action, refusal });
    fabric.reply(action, Outcome::Refused(refusal));
}

fn failure(kind: &ActionKind, fabric: &mut Fabric) -> Failure {
    let kinds = [FailureKind::Other, FailureKind::AddressInUse, FailureKind::DiskFull];
    let index = usize::try_from(fabric.chance.agent.below(kinds.len() as u64)).unwrap_or(0);
    let message = format!("could not {} on node sim: the world would not have it", kind.verb());
    Failure { kind: kinds[index], message: message.into() }
}
