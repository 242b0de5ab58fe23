//! Conflicts between writers over a place, and whole plans.

use std::sync::Arc;

use knowledge::{Health, Knowledge, Place, Stage};
use model::chance::Stream;
use model::identity::{Generation, Incarnation, Ordinal};
use model::input::{Declared, Exit, ExitStatus};
use model::name::ServiceName;
use model::plan::{AfterStop, Change, Initiator, Plan, Role, Step};
use model::reason::Reason;
use model::resource::{Recover, ServiceSpec};
use model::settings::Settings;
use model::time::{Now, Time, Wall};

use crate::arbiter::arbitrate;
use crate::context::PlanContext;

const AT: Time = Time::from_millis(1_000_000);

fn step(initiator: Initiator, change: Change) -> Step {
    Step { change, reason: Reason::Observed, initiator }
}

fn drain(ordinal: u32) -> Change {
    Change::Drain { ordinal: Ordinal(ordinal), then: AfterStop::Close }
}

fn stop(ordinal: u32) -> Change {
    Change::Stop { ordinal: Ordinal(ordinal), then: AfterStop::Refill }
}

fn changes(steps: Vec<Step>) -> Vec<Change> {
    steps.into_iter().map(|step| step.change).collect()
}

#[test]
fn the_more_important_writer_wins_in_any_order() {
    let steps = vec![step(Initiator::ScaleIn, drain(1)), step(Initiator::Heal, stop(1))];
    assert_eq!(changes(arbitrate(steps)), [stop(1)]);
    let steps = vec![step(Initiator::Heal, stop(1)), step(Initiator::Operator, drain(1))];
    assert_eq!(changes(arbitrate(steps)), [drain(1)]);
}

#[test]
fn writers_of_different_places_do_not_disturb_each_other() {
    let steps = vec![step(Initiator::ScaleIn, drain(2)), step(Initiator::Heal, stop(1))];
    assert_eq!(changes(arbitrate(steps)), [stop(1), drain(2)]);
}

#[test]
fn a_step_that_concerns_two_places_needs_both() {
    let stand_in = Change::StandIn { ordinal: Ordinal(1), instead_of: Ordinal(0) };
    let steps = vec![step(Initiator::Heal, stand_in), step(Initiator::Operator, drain(0))];
    assert_eq!(changes(arbitrate(steps)), [drain(0)]);
    let promote = Change::Promote { spare: Ordinal(2), instead_of: Ordinal(0) };
    let steps = vec![step(Initiator::Heal, promote), step(Initiator::ScaleIn, drain(2))];
    assert_eq!(changes(arbitrate(steps)), [promote]);
}

#[test]
fn a_place_is_opened_and_started_by_one_plan_in_that_order() {
    let open = Change::Open { ordinal: Ordinal(0), role: Role::Active };
    let start = started(0);
    let steps = vec![step(Initiator::ScaleOut, open), step(Initiator::ScaleOut, start)];
    assert_eq!(changes(arbitrate(steps)), [open, start]);
}

#[test]
fn steps_without_a_place_all_pass() {
    let steps = vec![
        step(Initiator::Operator, Change::Expose),
        step(Initiator::Heal, Change::SuspendHealing),
        step(Initiator::ScaleOut, Change::Resize { from: 1, to: 2 }),
    ];
    assert_eq!(arbitrate(steps).len(), 3);
}

/// The declared version of a [`Case`] is started.
fn started(ordinal: u32) -> Change {
    Change::Start { ordinal: Ordinal(ordinal), generation: Generation(2) }
}

/// A service and its places, to be planned for.
struct Case {
    knowledge: Knowledge,
    name: ServiceName,
}

impl Case {
    fn of(replicas: u32, recover: Recover) -> Self {
        let written = serde_json::json!({
            "run": {"command": ["./shop"]}, "scale": {"replicas": replicas}, "ports": [{"name": "http"}],
        });
        let mut spec: ServiceSpec = serde_json::from_value(written).unwrap();
        spec.recover = recover;
        let name = ServiceName::parse("shop").unwrap();
        let (revision, generation) = (Generation(2), Generation(2));
        let declared = Declared { name: name.clone(), revision, generation, spec, autoscaler: None };
        let mut knowledge = Knowledge::default();
        knowledge.inventory_seen = true;
        let service = knowledge.service_or_new(&name);
        service.declared = Some(Arc::new(declared));
        service.desired = Some(replicas);
        Self { knowledge, name }
    }

    fn with(mut self, ordinal: u32, generation: u64, stage: Stage) -> Self {
        let mut place = Place::empty(Role::Active, Time::ZERO);
        place.begin(Time::ZERO, Incarnation(1), Generation(generation), (Default::default(), stage));
        place.admission = Some(model::action::Admission::Serving { weight: 1 });
        self.knowledge.service_or_new(&self.name).places.insert(Ordinal(ordinal), place);
        self
    }

    fn plan(&self) -> Plan {
        let now = Now { time: AT, wall: Wall::from_millis(0) };
        let service = self.knowledge.service(&self.name).unwrap();
        let mut chance = Stream::named(1, "survivor");
        let (knowledge, settings) = (&self.knowledge, &Settings::default());
        crate::plan(PlanContext { now, knowledge, service, findings: &[], settings }, &mut chance)
    }

    fn changes(&self) -> Vec<Change> {
        changes(self.plan().steps)
    }
}

fn ready() -> Stage {
    let since = Time::from_millis(500_000);
    Stage::Running(Health { since, started: true, ready: true, ready_changed: since, unhealthy_since: None })
}

fn dead() -> Stage {
    let exit = Exit { status: ExitStatus::Signal(9), out_of_memory: false, ran_for: Default::default() };
    Stage::Empty { since: AT, exit: Some(exit) }
}

#[test]
fn a_service_as_wanted_gets_an_empty_plan_that_looks_again_within_a_period() {
    let plan = Case::of(2, Recover::Reschedule).with(0, 2, ready()).with(1, 2, ready()).plan();
    assert!(plan.steps.is_empty() && plan.waits.is_empty(), "{plan:?}");
    assert!(plan.next_check > AT && plan.next_check <= AT + Settings::default().period);
}

#[test]
fn planning_twice_gives_the_same_steps() {
    let case = Case::of(3, Recover::MostActive).with(0, 1, ready()).with(1, 2, dead());
    assert_eq!(case.plan().steps, case.plan().steps);
}

#[test]
fn a_lost_replica_is_covered_before_its_place_is_filled() {
    let case = Case::of(2, Recover::MostActive).with(0, 2, ready()).with(1, 2, dead());
    let cover = Change::StandIn { ordinal: Ordinal(0), instead_of: Ordinal(1) };
    assert_eq!(case.changes(), [cover, started(1)]);
}

#[test]
fn the_smallest_free_number_is_opened() {
    let case = Case::of(3, Recover::Reschedule).with(0, 2, ready()).with(2, 2, ready());
    let open = Change::Open { ordinal: Ordinal(1), role: Role::Active };
    assert_eq!(case.changes(), [open, started(1)]);
}

#[test]
fn excess_dead_replicas_are_removed_before_outdated_ones_and_these_before_the_rest() {
    let case = |desired| {
        Case::of(desired, Recover::Reschedule).with(0, 1, ready()).with(1, 2, dead()).with(2, 2, ready())
    };
    let retires = |changes: Vec<Change>| -> Vec<u32> {
        changes
            .iter()
            .filter(|change| !matches!(change, Change::Resize { .. }))
            .filter_map(Change::ordinal)
            .map(|ordinal| ordinal.0)
            .collect()
    };
    // While one is outdated, one more than wanted is kept for the rollout.
    assert_eq!(retires(case(1).changes()), [1]);
    assert_eq!(retires(case(0).changes()), [1, 0, 2]);
}

#[test]
fn a_draining_replica_is_stopped_after_the_proxy_confirms_or_after_a_timeout() {
    let draining = |admit| Stage::Draining {
        admit,
        since: Time::from_millis(900_000),
        deadline: Time::from_millis(905_000),
        then: AfterStop::Close,
    };
    let unanswered =
        |until| Some(knowledge::UnansweredAction { action: model::identity::ActionId::default(), until });
    let waiting = draining(unanswered(AT + std::time::Duration::from_millis(1)));
    assert!(Case::of(0, Recover::Reschedule).with(0, 2, waiting).changes().is_empty());
    let stop = Change::Stop { ordinal: Ordinal(0), then: AfterStop::Close };
    assert_eq!(Case::of(0, Recover::Reschedule).with(0, 2, draining(None)).changes(), [stop]);
    assert_eq!(Case::of(0, Recover::Reschedule).with(0, 2, draining(unanswered(AT))).changes(), [stop]);
}

#[test]
fn an_outdated_replica_is_removed_only_when_the_wanted_number_serves_without_it() {
    let begun = Health { ready: false, ready_changed: AT, since: AT, started: true, unhealthy_since: None };
    let rolling =
        |third| Case::of(2, Recover::Reschedule).with(0, 1, ready()).with(1, 1, ready()).with(2, 2, third);
    assert!(rolling(Stage::Running(begun)).changes().is_empty(), "the new one does not serve yet");
    let stop = Change::Stop { ordinal: Ordinal(0), then: AfterStop::Close };
    assert_eq!(rolling(ready()).changes(), [stop]);
}
