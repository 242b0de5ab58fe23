//! The loop itself, which only orders the phases.

use std::sync::Arc;
use std::time::Duration;

use execute::{Dispatch, FollowUp, InFlight, Outbox};
use guard::Verdict;
use knowledge::{Exposure, FoldEffect, Knowledge, ServiceState, measured_service};
use model::action::{FailureKind, Outcome};
use model::chance::Stream;
use model::decision::DecisionEntry;
use model::event::EventKind;
use model::fact::{Fact, Finding};
use model::identity::{ActionId, ReplicaId};
use model::input::{Exit, ExitStatus, Input, Report, Start};
use model::name::ServiceName;
use model::plan::{Change, Plan, Step, Wait};
use model::reason::Reason;
use model::settings::Settings;
use model::time::{Now, Time};
use plan::PlanContext;

use crate::agenda::Agenda;
use crate::intent;

/// The control loop: one state machine over all phases.
#[derive(Clone, Debug)]
pub struct ControlLoop {
    settings: Settings,
    knowledge: Knowledge,
    in_flight: InFlight,
    agenda: Agenda,
    jitter: Stream,
    survivor: Stream,
    findings: Vec<Finding>,
    touched: Vec<ServiceName>,
}

impl ControlLoop {
    /// A loop without knowledge. It does nothing before [`Input::Started`], which has settings of its own, and the first inventory.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            knowledge: Knowledge::default(),
            in_flight: InFlight::default(),
            agenda: Agenda::default(),
            jitter: Stream::named(0, "restart jitter"),
            survivor: Stream::named(0, "survivor"),
            findings: Vec::new(),
            touched: Vec::new(),
        }
    }

    /// Takes one input and appends every action and event that it causes to `out`.
    ///
    /// `now.time` must not step back from one call to the next. O(what the input concerns), not O(what is known), except for inventories
    /// and starts of runs.
    pub fn step(&mut self, now: Now, input: &Input, out: &mut Outbox) {
        self.touched.clear();
        self.handle(now, input, out);
        self.in_flight.repeat_overdue(now.time, self.settings.action_timeout, out);
        if !self.knowledge.inventory_seen {
            return;
        }
        let mut touched = std::mem::take(&mut self.touched);
        self.agenda.due(now.time, &mut touched);
        touched.sort_unstable();
        touched.dedup();
        for service in &touched {
            self.reconcile(now, service, out);
        }
        self.touched = touched;
    }

    /// When to send [`Input::Woke`] if no other input comes before; `None` while nothing is waited for.
    pub fn next_deadline(&self) -> Option<Time> {
        let plans = self.agenda.first().filter(|_| self.knowledge.inventory_seen);
        plans.into_iter().chain(self.in_flight.next_due()).min()
    }

    /// The knowledge of the loop.
    pub fn knowledge(&self) -> &Knowledge {
        &self.knowledge
    }

    /// What analysis concludes for `service` at `now`.
    pub fn findings(&self, now: Time, service: &ServiceState) -> Vec<Finding> {
        let mut findings = Vec::new();
        analyze::findings(now, &self.knowledge, service, &self.settings.restart, &mut findings);
        findings
    }

    /// Everything that a decision on `service` at `now` is based on.
    pub fn plan_context<'a>(
        &'a self,
        now: Now,
        service: &'a ServiceState,
        findings: &'a [Finding],
    ) -> PlanContext<'a> {
        PlanContext { now, knowledge: &self.knowledge, service, findings, settings: &self.settings }
    }

    /// The settings of the current run.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How many actions are in flight.
    pub fn actions_in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Whether there is a later epoch, so that this loop sends no more actions.
    pub fn is_fenced(&self) -> bool {
        self.in_flight.is_fenced()
    }

    fn handle(&mut self, now: Now, input: &Input, out: &mut Outbox) {
        match input {
            Input::Started(start) => self.begin(start),
            Input::Woke => {}
            Input::Intent(intent) => {
                intent::fold(now, &mut self.knowledge, intent, out);
                self.touch(intent.service());
            }
            Input::Remembered(memory) => {
                intent::restore(now.time, &mut self.knowledge, memory);
                self.touch(&memory.service);
            }
            Input::Report(report) => self.observe(now, report, out),
            Input::Ended { action, outcome } => self.settle(now, *action, outcome, out),
        }
    }

    /// Folds the outcome of an action into the knowledge.
    fn settle(&mut self, now: Now, action: ActionId, outcome: &Outcome, out: &mut Outbox) {
        let timeout = self.settings.action_timeout;
        let mut dispatch = Dispatch { now, timeout, in_flight: &mut self.in_flight, out };
        match execute::apply_outcome(&mut dispatch, &mut self.knowledge, action, outcome) {
            FollowUp::Nothing => {}
            FollowUp::Service(service) => self.touch(&service),
            FollowUp::FailedStart(replica, kind) => {
                self.learn_from_failed_start(now.time, &replica, kind);
                self.touch(&replica.service);
            }
        }
    }

    fn begin(&mut self, start: &Start) {
        *self = Self::new(Settings::clone(&start.settings));
        self.knowledge.epoch = start.epoch;
        self.knowledge.node = Some(start.node.clone());
        self.in_flight = InFlight::of_epoch(start.epoch);
        self.jitter = Stream::named(start.seed, "restart jitter");
        self.survivor = Stream::named(start.seed, "survivor");
    }

    /// Monitor: turns a report into facts, and folds these into the knowledge.
    fn observe(&mut self, now: Now, report: &Report, out: &mut Outbox) {
        let mut facts = Vec::new();
        monitor::facts(&self.knowledge, report, &mut facts);
        for run in facts.chunk_by(are_measurements_of_one_service) {
            if let [fact] = run {
                self.fold_fact(now, fact, out);
            } else if self.knowledge.measure(now.time, run) == FoldEffect::Changed
                && let Some(service) = run.first().and_then(measured_service)
            {
                self.touch(service);
            }
        }
        if matches!(report, Report::Inventory { .. }) && !self.knowledge.inventory_seen {
            self.start_planning();
        }
    }

    /// Plans for every known service from now on, after the first inventory.
    fn start_planning(&mut self) {
        self.knowledge.inventory_seen = true;
        let all: Vec<_> = self.knowledge.services().map(|service| service.name.clone()).collect();
        for name in &all {
            if let Some(service) = self.knowledge.service_mut(name) {
                intent::recognise_spares(service);
            }
        }
        self.touched.extend(all);
    }

    fn fold_fact(&mut self, now: Now, fact: &Fact<'_>, out: &mut Outbox) {
        match self.knowledge.fold(now, fact, &mut out.events) {
            FoldEffect::Same | FoldEffect::Measured => {}
            FoldEffect::Changed => self.touch_fact(fact),
            FoldEffect::BecameUnready { ready_since } => {
                self.learn_from_health(now.time, fact, ready_since);
                self.touch_fact(fact);
            }
            FoldEffect::Lost { exit, ready_since } => {
                if let Fact::Ended { replica, .. } | Fact::Vanished(replica) = fact {
                    self.learn_from_exit(now.time, replica, analyze::Restart { exit, ready_since });
                }
                self.touch_fact(fact);
            }
        }
    }

    fn learn_from_failed_start(&mut self, now: Time, replica: &ReplicaId, kind: FailureKind) {
        if let Some(place) = self.knowledge.place_mut(replica) {
            let settings = &self.settings.restart;
            analyze::after_failed_start(now, &mut place.restart, kind, settings, &mut self.jitter);
        }
    }

    fn learn_from_exit(&mut self, now: Time, replica: &ReplicaId, restart: analyze::Restart) {
        if let Some(place) = self.knowledge.place_mut(replica) {
            analyze::after_exit(now, &mut place.restart, restart, &self.settings.restart, &mut self.jitter);
        }
    }

    /// A healthy time counts as soon as it is over, even if the replica ends later.
    fn learn_from_health(&mut self, now: Time, fact: &Fact<'_>, ready_since: Time) {
        if let Fact::Running { replica, .. } = fact
            && let Some(place) = self.knowledge.place_mut(replica)
        {
            analyze::note_ready_time(now, &mut place.restart, Some(ready_since), &self.settings.restart);
        }
    }

    fn touch_fact(&mut self, fact: &Fact<'_>) {
        match fact {
            Fact::Appeared(observed) => self.touch(&observed.replica.service),
            Fact::Running { replica, .. } | Fact::Ended { replica, .. } | Fact::Vanished(replica) => {
                self.touch(&replica.service);
            }
            Fact::Traffic(traffic) => self.touch(&traffic.service),
            Fact::Allotted(allotted) => self.touch(&allotted.replica.service),
            Fact::Demand(demand) => self.touch(&demand.service),
            Fact::Usage(_)
            | Fact::Latencies(_)
            | Fact::Measured(_)
            | Fact::Ejected(_)
            | Fact::Ignored { .. } => {}
        }
    }

    /// Marks a service and its dependents to be reconciled.
    fn touch(&mut self, service: &ServiceName) {
        self.touched.push(service.clone());
        self.touched.extend(self.knowledge.dependents(service).cloned());
    }

    /// Analyze, plan, guard and execute, for one service.
    fn reconcile(&mut self, now: Now, name: &ServiceName, out: &mut Outbox) {
        let Some(mut service) = self.knowledge.service(name) else {
            self.agenda.remove(name);
            return;
        };
        if service.load_forecast.is_some() {
            self.update_forecast(now, name);
            let Some(updated) = self.knowledge.service(name) else { return };
            service = updated;
        }
        if service.is_proven_outdated() {
            self.knowledge.service_mut(name).into_iter().for_each(|service| service.update_proven(now.time));
            let Some(updated) = self.knowledge.service(name) else { return };
            service = updated;
        }
        self.findings.clear();
        analyze::findings(now.time, &self.knowledge, service, &self.settings.restart, &mut self.findings);
        let (knowledge, findings, settings) = (&self.knowledge, &self.findings, &self.settings);
        let plan =
            plan::plan(PlanContext { now, knowledge, service, findings, settings }, &mut self.survivor);
        let verdicts = guard::judge(&self.knowledge, &self.settings.guard, &plan);
        self.carry_out(now, &plan, &verdicts, out);
        self.conclude(now, plan, &verdicts, out);
    }

    /// Has the forecast of a service learn from its load, when a decision on its size is due.
    fn update_forecast(&mut self, now: Now, name: &ServiceName) {
        let settings = &self.settings;
        let is_due = |service: &&mut ServiceState| now.time >= service.next_sync;
        let Some(service) = self.knowledge.service_mut(name).filter(is_due) else { return };
        let need = service.required_replicas(now.time, settings.sample_age_max);
        let start = knowledge::start_time(&service.starts);
        service
            .load_forecast
            .iter_mut()
            .for_each(|load_forecast| load_forecast.update(now, need, start, settings.period));
    }

    fn carry_out(&mut self, now: Now, plan: &Plan, verdicts: &[Verdict], out: &mut Outbox) {
        let timeout = self.settings.action_timeout;
        if let Some(service) = self.knowledge.service_mut(&plan.service) {
            service.allotment = plan.allotment;
        }
        for (step, verdict) in plan.steps.iter().zip(verdicts) {
            match verdict {
                Verdict::Pass => {
                    self.learn_from_repair(now.time, &plan.service, step);
                    let mut dispatch = Dispatch { now, timeout, in_flight: &mut self.in_flight, out };
                    execute::apply_step(&mut dispatch, &mut self.knowledge, &plan.service, step);
                }
                Verdict::Refuse(_) => {}
            }
        }
    }

    /// A restart for a failed liveness probe counts as an exit, so that the next one of the same replica waits longer.
    fn learn_from_repair(&mut self, now: Time, service: &ServiceName, step: &Step) {
        let (Change::Stop { ordinal, .. }, Reason::Unhealthy { since }) = (step.change, &step.reason) else {
            return;
        };
        let replica = ReplicaId { service: service.clone(), ordinal };
        let Some(health) = self.knowledge.place(service, ordinal).and_then(|place| place.health().copied())
        else {
            return;
        };
        let exit =
            Exit { status: ExitStatus::Unknown, out_of_memory: false, ran_for: now.since(health.since) };
        // If it was ready, it was healthy until its probe began to fail.
        let ready_since = (health.ready && *since > health.ready_changed).then_some(health.ready_changed);
        self.learn_from_exit(now, &replica, analyze::Restart { exit, ready_since });
    }

    /// Records the decision of the plan, its waits, and when the next plan is due.
    fn conclude(&mut self, now: Now, plan: Plan, verdicts: &[Verdict], out: &mut Outbox) {
        let Some(service) = self.knowledge.service_mut(&plan.service) else { return };
        let refused_size = plan.steps.iter().zip(verdicts).find_map(refused_size);
        if let Some(decision) = plan.decision {
            let (explanation, guard) = (decision.clone(), refused_size.cloned());
            out.decisions.push(DecisionEntry { service: plan.service.clone(), at: now, explanation, guard });
            service.decision = Some(decision);
            service.next_sync = next_sync(service.next_sync, now.time, self.settings.period);
        }
        // A size that the guard refused must not be remembered as a decision.
        if let (Some(scaling), None) = (plan.scaling, refused_size) {
            service.scaling = Arc::new(scaling);
        }
        if let Some(shadows) = plan.shadows {
            service.shadows = shadows.into_iter().map(Arc::new).collect();
        }
        let mut waits = plan.waits;
        waits.extend(plan.steps.iter().zip(verdicts).filter_map(refused));
        record_new_waits(now, service, &waits, out);
        service.waits = waits;
        if is_gone(service) {
            out.record_event(now, &plan.service, None, EventKind::Gone, Reason::Withdrawn);
            // Its memory is deleted: one that could not be written must not be sent again.
            if let Some(last) = &service.remembered {
                self.in_flight.finish(last.by);
            }
            self.knowledge.forget(&plan.service);
            self.agenda.remove(&plan.service);
            return;
        }
        let timeout = self.settings.action_timeout;
        let mut dispatch = Dispatch { now, timeout, in_flight: &mut self.in_flight, out };
        execute::remember(&mut dispatch, service);
        // There are no decisions on the size of a withdrawn service.
        let sync = service.declared.as_ref().map(|_| service.next_sync);
        self.agenda.set(&plan.service, sync.map_or(plan.next_check, |sync| plan.next_check.min(sync)));
    }
}

/// Whether both facts are measurements of the same service, which are folded together.
fn are_measurements_of_one_service(fact: &Fact<'_>, next: &Fact<'_>) -> bool {
    measured_service(fact).is_some_and(|service| measured_service(next) == Some(service))
}

/// The wait for a step that the guard has refused.
fn refused((step, verdict): (&Step, &Verdict)) -> Option<Wait> {
    match verdict {
        Verdict::Refuse(reason) => Some(Wait { ordinal: step.change.ordinal(), reason: reason.clone() }),
        Verdict::Pass => None,
    }
}

/// Why the guard has refused a change of size.
fn refused_size<'v>((step, verdict): (&Step, &'v Verdict)) -> Option<&'v Reason> {
    match (step.change, verdict) {
        (Change::Resize { .. }, Verdict::Refuse(reason)) => Some(reason),
        (_, Verdict::Refuse(_) | Verdict::Pass) => None,
    }
}

/// The next decision after the one at `due`: a whole period later, so that services stay spread over the period.
fn next_sync(due: Time, now: Time, period: Duration) -> Time {
    let next = due + period;
    if next > now { next } else { now + period }
}

/// Adds events for waits that the last plan did not have.
fn record_new_waits(now: Now, service: &ServiceState, waits: &[Wait], out: &mut Outbox) {
    let is_new = |wait: &&Wait| !service.waits.iter().any(|before| is_same_wait(before, wait));
    for wait in waits.iter().filter(is_new) {
        let replica =
            wait.ordinal.and_then(|ordinal| Some((ordinal, service.places.get(&ordinal)?.incarnation)));
        out.record_event(now, &service.name, replica, EventKind::Waiting, wait.reason.clone());
    }
}

/// Whether `wait` goes on from `before`. A limit on restarts moves its end with each restart that it allows, for all that wait for it.
fn is_same_wait(before: &Wait, wait: &Wait) -> bool {
    before.ordinal == wait.ordinal
        && match (&before.reason, &wait.reason) {
            (Reason::StormLimit { scope: earlier, .. }, Reason::StormLimit { scope, .. }) => earlier == scope,
            (earlier, reason) => earlier == reason,
        }
}

/// Whether the service is withdrawn, without places and without a listener.
fn is_gone(service: &ServiceState) -> bool {
    service.declared.is_none() && service.places.is_empty() && service.exposure == Exposure::None
}
