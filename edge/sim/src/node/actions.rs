//! The agent carries out actions.

use std::sync::Arc;
use std::time::Duration;

use model::action::{Action, ActionKind, Admission, Failure, FailureKind, Outcome, Refusal};
use model::identity::{ActionId, Epoch, Incarnation, ReplicaId};
use model::input::Declared;
use model::name::ServiceName;
use model::resource::Resources;
use model::time::Time;

use super::Node;
use crate::effect::Effect;
use crate::environment::{Environment, LifeEvent, LifeKey, SimEvent, occurs};
use crate::fault::Fault;
use crate::life::{Life, LifeState, Probed, Work};

/// Actions whose outcome is remembered; one is repeated within minutes, not after ten thousand others.
const DONE_MAX: usize = 10_000;

impl Node {
    /// A new run connects to the agent: older runs are refused from now on, and the inventory is reported to it.
    pub(crate) fn connect_run(&mut self, environment: &mut Environment, epoch: Epoch) {
        if epoch < self.epoch {
            return;
        }
        self.epoch = epoch;
        environment.session = Some(epoch);
        environment.effects.push(Effect::Fenced { epoch });
        self.report_inventory(environment);
    }

    /// An action arrives.
    pub(crate) fn receive(&mut self, environment: &mut Environment, action: &Action) {
        let id = action.id;
        if id.epoch < self.epoch {
            refuse(environment, id, Refusal::StaleEpoch);
            return;
        }
        self.epoch = id.epoch;
        self.up_to = self.up_to.max(id);
        if let Some(outcome) = self.done.get(&id) {
            environment.reply(id, outcome.clone());
            return;
        }
        if occurs(&environment.faults, Fault::Unknown, &mut environment.random.agent) {
            environment.reply(id, Outcome::Unknown);
            if environment.random.agent.happens(500) {
                return;
            }
        } else if occurs(&environment.faults, Fault::Fails, &mut environment.random.agent) {
            let outcome = Outcome::Failed(failure(&action.kind, environment));
            // The loop follows a failed start with another one. Every other action is repeated with the same id.
            if matches!(action.kind, ActionKind::Start { .. }) {
                self.note_done(id, outcome.clone());
            }
            environment.reply(id, outcome);
            return;
        }
        self.act(environment, action);
    }

    fn act(&mut self, environment: &mut Environment, action: &Action) {
        let id = action.id;
        match &action.kind {
            ActionKind::Start { replica, incarnation, declared, admission } => {
                self.start(environment, id, (replica, *incarnation), declared, *admission);
            }
            ActionKind::Stop { replica, incarnation, grace } => {
                self.stop(environment, id, replica, *incarnation, *grace);
            }
            ActionKind::Admit { replica, incarnation, admission, .. } => {
                self.admit(environment, id, replica, *incarnation, *admission);
            }
            ActionKind::Allot { replica, incarnation, resources } => {
                self.allot(environment, id, replica, *incarnation, *resources);
            }
            ActionKind::Expose(declared) => {
                self.listen(id, &declared.name, Some(declared));
                self.finish(environment, id);
            }
            ActionKind::Conceal(service) => {
                self.listen(id, service, None);
                self.finish(environment, id);
            }
            // The orchestrator writes that down itself.
            ActionKind::Remember(_) => {}
        }
    }

    fn start(
        &mut self,
        environment: &mut Environment,
        by: ActionId,
        (replica, incarnation): (&ReplicaId, Incarnation),
        declared: &Arc<Declared>,
        admission: Admission,
    ) {
        let site = self.site_index(&replica.service);
        let place = replica.ordinal.0 as usize;
        if let Some(life) = self.sites[site].lives.get(place).and_then(Option::as_ref) {
            if life.started_by == by {
                // The outcome is sent once its program runs, or was sent before.
                return;
            }
            let (requested, running) = (incarnation, life.incarnation);
            let replica = replica.clone();
            if life.is_alive() {
                environment.effects.push(Effect::SecondLife { by, replica, running, requested });
                return refuse(environment, by, Refusal::OtherIncarnation);
            }
            if incarnation <= running {
                environment.effects.push(Effect::UsedLife { by, replica, requested, latest: running });
                return refuse(environment, by, Refusal::OtherIncarnation);
            }
        }
        self.lives_begun += 1;
        let program = self.sites[site].program(declared.generation);
        let lives = &mut environment.random.lives;
        let exec = lives.span(program.exec.0, program.exec.1);
        let is_deaf = occurs(&environment.faults, Fault::Deaf, lives);
        let mut life = Life {
            incarnation,
            generation: declared.generation,
            started_by: by,
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
            begun_at: environment.now,
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
        let key = LifeKey { site, place, serial: life.serial };
        places[place] = Some(life);
        environment.effects.push(Effect::Began { by, replica: replica.clone(), incarnation });
        environment.after(exec, SimEvent::InLife { key, event: LifeEvent::Exec });
    }

    fn stop(
        &mut self,
        environment: &mut Environment,
        by: ActionId,
        replica: &ReplicaId,
        incarnation: Incarnation,
        grace: Duration,
    ) {
        let site = self.site_index(&replica.service);
        let place = replica.ordinal.0 as usize;
        let Some(life) = self.sites[site].lives.get_mut(place).and_then(Option::as_mut) else {
            return self.finish(environment, by);
        };
        if life.incarnation != incarnation {
            return refuse(environment, by, Refusal::OtherIncarnation);
        }
        match life.state {
            LifeState::Ended { .. } => return self.finish(environment, by),
            LifeState::Stopping => {
                if !life.stoppers.contains(&by) {
                    life.stoppers.push(by);
                }
                return;
            }
            LifeState::Execing | LifeState::Booting | LifeState::Up => {}
        }
        environment.effects.push(Effect::Signalled {
            by,
            replica: replica.clone(),
            incarnation,
            in_flight: life.in_flight(),
            was_well: life.is_well(),
        });
        life.state = LifeState::Stopping;
        life.stoppers.push(by);
        let key = LifeKey { site, place, serial: life.serial };
        let obeys = !life.is_deaf && life.hung_since.is_none() && life.program.stop < grace;
        let (span, event) =
            if obeys { (life.program.stop, LifeEvent::Obeys) } else { (grace, LifeEvent::Killed) };
        environment.after(span, SimEvent::InLife { key, event });
        self.report_life(environment, key);
    }

    fn admit(
        &mut self,
        environment: &mut Environment,
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
                // The action says how to probe it, so it is probed at once.
                life.is_probed = true;
                let key = LifeKey { site: index, place, serial: life.serial };
                environment.queue.put(environment.now, SimEvent::InLife { key, event: LifeEvent::Probe });
                if by > life.admitted_by {
                    (life.admission, life.admitted_by) = (Some(admission), by);
                    environment.effects.push(Effect::Admitted { by, replica: replica.clone(), admission });
                }
                self.finish(environment, by);
            }
            None => refuse(environment, by, Refusal::OtherIncarnation),
        }
    }

    fn allot(
        &mut self,
        environment: &mut Environment,
        by: ActionId,
        replica: &ReplicaId,
        incarnation: Incarnation,
        resources: Resources,
    ) {
        let index = self.site_index(&replica.service);
        let life = self.sites[index].lives.get_mut(replica.ordinal.0 as usize).and_then(Option::as_mut);
        let Some(life) = life.filter(|life| life.incarnation == incarnation && life.is_alive()) else {
            return refuse(environment, by, Refusal::OtherIncarnation);
        };
        let memory = resources.memory.map(|memory| u64::try_from(memory.units_ceil()).unwrap_or(0));
        let why = if !life.program.is_resizable {
            Some((FailureKind::Unsupported, "this world cannot change the resources of a running replica"))
        } else if memory.is_some_and(|limit| limit < life.program.memory.0) {
            Some((FailureKind::Other, "it uses more memory than that"))
        } else {
            None
        };
        if let Some((kind, why)) = why {
            let message = format!("could not change the resources of {replica}: {why}").into();
            let outcome = Outcome::Failed(Failure { kind, message });
            self.note_done(by, outcome.clone());
            return environment.reply(by, outcome);
        }
        if by > life.allotted_by {
            life.allot(by, resources);
            environment.effects.push(Effect::Allotted { by, replica: replica.clone(), resources });
        }
        self.finish(environment, by);
    }

    fn listen(&mut self, by: ActionId, service: &ServiceName, exposed: Option<&Declared>) {
        let site = self.site_mut(service);
        if by > site.exposed_by {
            site.exposed_by = by;
            site.exposed = exposed.map(|declared| declared.revision);
            site.slo_threshold = exposed.and_then(Declared::slo).map(|slo| slo.latency.below.as_duration());
            let to_zero = exposed.and_then(|declared| declared.spec.scale.to_zero);
            site.wait = to_zero.map(|to_zero| to_zero.wait.into());
            site.reports_demand =
                to_zero.is_some() || exposed.is_some_and(|declared| declared.forecasting().is_some());
        }
    }

    pub(super) fn finish(&mut self, environment: &mut Environment, id: ActionId) {
        self.note_done(id, Outcome::Applied);
        environment.reply(id, Outcome::Applied);
    }

    fn note_done(&mut self, id: ActionId, outcome: Outcome) {
        if self.done.len() == DONE_MAX {
            self.done.pop_first();
        }
        self.done.insert(id, outcome);
    }
}

fn refuse(environment: &mut Environment, action: ActionId, refusal: Refusal) {
    environment.effects.push(Effect::Refused { action, refusal });
    environment.reply(action, Outcome::Refused(refusal));
}

fn failure(kind: &ActionKind, environment: &mut Environment) -> Failure {
    let kinds = [FailureKind::Other, FailureKind::AddressInUse, FailureKind::DiskFull];
    let index = usize::try_from(environment.random.agent.below(kinds.len() as u64)).unwrap_or(0);
    let message = format!("could not {} on node sim: the world would not have it", kind.verb());
    Failure { kind: kinds[index], message: message.into() }
}
