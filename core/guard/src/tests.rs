//! The verdicts of the guard on plans of any origin.

use std::sync::Arc;
use std::time::Duration;

use knowledge::{Health, Hold, Knowledge, PastRestart, Place, Stage};
use model::fact::Fact;
use model::identity::{Generation, Incarnation, Ordinal};
use model::input::{Declared, Exit, ExitStatus};
use model::measure::{Measured, MeasurementResult, ReplicaMeasurement, Series};
use model::name::ServiceName;
use model::plan::{AfterStop, Allotment, Change, Initiator, Plan, Role, Step};
use model::quantity::Milli;
use model::reason::{Reason, StormScope};
use model::resource::{AutoscalerSpec, ScalePolicy};
use model::settings::GuardSettings;
use model::time::{Now, Time, Wall};
use proptest::prelude::*;

use crate::{Verdict, judge};

const AT: Time = Time::from_millis(1_000_000);

/// A state of one service.
struct Case {
    knowledge: Knowledge,
    name: ServiceName,
}

impl Case {
    /// A service of 1 to 10 replicas, with this desired number and this many ready ones.
    fn of(desired: u32, ready: u32) -> Self {
        let spec = serde_json::from_value(serde_json::json!({"run": {"command": ["./shop"]}})).unwrap();
        let name = ServiceName::parse("shop").unwrap();
        let autoscaler = Some(AutoscalerSpec {
            service: name.clone(),
            min: 1,
            max: 10,
            metrics: Vec::new(),
            policy: ScalePolicy::Hpa,
            behavior: None,
        });
        let (revision, generation) = (Generation(1), Generation(1));
        let declared = Declared { name: name.clone(), revision, generation, spec, autoscaler };
        let mut knowledge = Knowledge::default();
        let service = knowledge.service_or_new(&name);
        service.declared = Some(Arc::new(declared));
        service.desired = Some(desired);
        let mut case = Self { knowledge, name };
        for ordinal in 0..ready {
            case.put(ordinal, Role::Active, running(true));
        }
        case
    }

    fn put(&mut self, ordinal: u32, role: Role, stage: Stage) {
        let mut place = Place::empty(role, Time::ZERO);
        place.begin(Time::ZERO, Incarnation(1), Generation(1), (Default::default(), stage));
        self.knowledge.service_or_new(&self.name).places.insert(Ordinal(ordinal), place);
    }

    fn restarts(&mut self, at: Time) {
        self.knowledge.note_restart(&self.name, PastRestart { at, was_healthy: true });
    }

    fn restarts_failing(&mut self, at: Time) {
        self.knowledge.note_restart(&self.name, PastRestart { at, was_healthy: false });
    }

    fn judge(&self, steps: impl IntoIterator<Item = (Initiator, Change)>) -> Vec<Verdict> {
        let steps =
            steps.into_iter().map(|(initiator, change)| Step { change, reason: Reason::Observed, initiator });
        let plan = Plan {
            service: self.name.clone(),
            at: Now { time: AT, wall: Wall::from_millis(0) },
            steps: steps.collect(),
            decision: None,
            scaling: None,
            shadows: None,
            allotment: Allotment::default(),
            waits: Vec::new(),
            next_check: AT,
        };
        judge(&self.knowledge, &GuardSettings::default(), &plan)
    }
}

fn running(ready: bool) -> Stage {
    Stage::Running(Health { since: AT, started: true, ready, ready_changed: AT, unhealthy_since: None })
}

fn empty() -> Stage {
    Stage::Empty { since: AT, exit: None }
}

fn drain(ordinal: u32) -> Change {
    Change::Drain { ordinal: Ordinal(ordinal), then: AfterStop::Close }
}

fn restart(ordinal: u32) -> Change {
    Change::Stop { ordinal: Ordinal(ordinal), then: AfterStop::Refill }
}

fn start(ordinal: u32) -> Change {
    Change::Start { ordinal: Ordinal(ordinal), generation: Generation(1) }
}

fn open(ordinal: u32) -> Change {
    Change::Open { ordinal: Ordinal(ordinal), role: Role::Active }
}

fn refused(reason: Reason) -> Verdict {
    Verdict::Refuse(reason)
}

const BOUNDS: Reason = Reason::Bounds { min: 1, max: 10 };

#[test]
fn a_size_within_the_bounds_passes() {
    let case = Case::of(5, 5);
    let verdict = |to| case.judge([(Initiator::ScaleOut, Change::Resize { from: 5, to })]).remove(0);
    assert_eq!([verdict(1), verdict(10)], [Verdict::Pass, Verdict::Pass]);
    assert_eq!([verdict(0), verdict(11)], [refused(BOUNDS), refused(BOUNDS)]);
}

#[test]
fn during_a_hold_only_its_size_passes() {
    let mut case = Case::of(5, 5);
    let verdict =
        |case: &Case, to| case.judge([(Initiator::Operator, Change::Resize { from: 5, to })]).remove(0);
    let hold = |until| Some(Hold { replicas: 12, until });
    case.knowledge.service_or_new(&case.name.clone()).hold = hold(Some(AT + Duration::from_millis(1)));
    assert_eq!(verdict(&case, 12), Verdict::Pass);
    assert_eq!(verdict(&case, 5), refused(Reason::Bounds { min: 12, max: 12 }));
    case.knowledge.service_or_new(&case.name.clone()).hold = hold(Some(AT));
    assert_eq!(verdict(&case, 12), refused(BOUNDS));
}

#[test]
fn places_open_up_to_the_desired_number_and_one_more_for_a_rollout() {
    let case = Case::of(3, 2);
    let verdicts = case.judge([(Initiator::ScaleOut, open(2)), (Initiator::ScaleOut, open(3))]);
    assert_eq!(verdicts, [Verdict::Pass, refused(BOUNDS)]);
    let verdicts = Case::of(3, 3).judge([(Initiator::Rollout, open(3)), (Initiator::Rollout, open(4))]);
    assert_eq!(verdicts, [Verdict::Pass, refused(BOUNDS)]);
}

#[test]
fn a_passed_size_allows_the_places_after_it() {
    let resize = Change::Resize { from: 2, to: 4 };
    let verdicts = Case::of(2, 2).judge([
        (Initiator::ScaleOut, resize),
        (Initiator::ScaleOut, open(2)),
        (Initiator::ScaleOut, open(3)),
        (Initiator::ScaleOut, open(4)),
    ]);
    assert_eq!(verdicts, [Verdict::Pass, Verdict::Pass, Verdict::Pass, refused(BOUNDS)]);
}

#[test]
fn the_eleventh_restart_within_a_minute_waits() {
    let mut case = Case::of(10, 0);
    case.put(0, Role::Active, empty());
    let first = AT - Duration::from_secs(59);
    case.restarts(AT - Duration::from_secs(60));
    for _ in 0..9 {
        case.restarts(first);
    }
    assert_eq!(case.judge([(Initiator::Heal, start(0))]), [Verdict::Pass]);
    case.restarts(AT);
    let until = first + Duration::from_secs(60);
    let limit = Reason::StormLimit { scope: StormScope::Node, until };
    assert_eq!(case.judge([(Initiator::Heal, start(0))]), [refused(limit)]);
}

#[test]
fn restarts_of_one_plan_are_counted_together() {
    let mut case = Case::of(10, 0);
    for ordinal in 0..12 {
        case.put(ordinal, Role::Active, empty());
    }
    let verdicts = case.judge((0..12).map(|ordinal| (Initiator::Heal, start(ordinal))));
    assert_eq!(verdicts.iter().filter(|verdict| **verdict == Verdict::Pass).count(), 10);
}

#[test]
fn half_of_the_restarts_are_kept_in_addition_for_replicas_that_had_been_healthy() {
    let mut case = Case::of(10, 0);
    let oldest = AT - Duration::from_secs(50);
    for second in 0..10 {
        case.restarts_failing(oldest + Duration::from_secs(second));
    }
    let exit = |ran_for| {
        let exit = Exit { status: ExitStatus::Code(3), out_of_memory: false, ran_for };
        Stage::Empty { since: AT, exit: Some(exit) }
    };
    // One that ended soon after its start, and one that ended twice in a row.
    case.put(0, Role::Active, exit(Duration::from_secs(9)));
    case.put(1, Role::Active, exit(Duration::from_secs(10)));
    let place = case.knowledge.service_or_new(&case.name).places.get_mut(&Ordinal(1)).unwrap();
    place.restart.recent = vec![AT, AT];
    for ordinal in 2..8 {
        case.put(ordinal, Role::Active, exit(Duration::from_secs(10)));
    }
    let limit = |until| refused(Reason::StormLimit { scope: StormScope::Node, until });
    let verdicts = case.judge([0, 1].map(|ordinal| (Initiator::Heal, start(ordinal))));
    let free = oldest + Duration::from_secs(60);
    assert_eq!(verdicts, [limit(free), limit(free)]);
    let verdicts = case.judge((2..8).map(|ordinal| (Initiator::Heal, start(ordinal))));
    assert_eq!(verdicts[..5], [const { Verdict::Pass }; 5]);
    // With these five, the five oldest of the others have to leave the window, too.
    assert_eq!(verdicts[5], limit(oldest + Duration::from_secs(65)));
}

#[test]
fn a_first_start_is_not_a_restart() {
    let mut case = Case::of(5, 0);
    for _ in 0..60 {
        case.restarts(AT);
    }
    assert_eq!(
        case.judge([(Initiator::ScaleOut, open(0)), (Initiator::ScaleOut, start(0))])[1],
        Verdict::Pass
    );
}

#[test]
fn a_serving_replica_is_removed_only_above_the_desired_number() {
    let verdicts = Case::of(3, 5).judge((2..5).map(|ordinal| (Initiator::ScaleIn, drain(ordinal))));
    let budget = Reason::DisruptionBudget { ready: 2, needed: 3 };
    assert_eq!(verdicts, [Verdict::Pass, Verdict::Pass, refused(budget)]);
}

#[test]
fn a_draining_replica_counts_as_missing() {
    let mut case = Case::of(2, 2);
    let then = AfterStop::Close;
    case.put(2, Role::Active, Stage::Draining { admit: None, since: AT, deadline: AT, then });
    let budget = Reason::DisruptionBudget { ready: 1, needed: 2 };
    assert_eq!(case.judge([(Initiator::Rollout, drain(0))]), [refused(budget)]);
}

#[test]
fn an_unready_replica_may_be_removed() {
    let mut case = Case::of(2, 2);
    case.put(2, Role::Active, running(false));
    assert_eq!(case.judge([(Initiator::ScaleIn, drain(2))]), [Verdict::Pass]);
}

#[test]
fn a_plan_never_removes_all_replicas_of_a_service() {
    let mut case = Case::of(2, 3);
    case.knowledge.service_or_new(&case.name.clone()).desired = Some(1);
    let verdicts = case.judge((0..3).map(|ordinal| (Initiator::ScaleIn, drain(ordinal))));
    assert_eq!(verdicts[..2], [Verdict::Pass, Verdict::Pass]);
    assert_eq!(verdicts[2], refused(Reason::BlastRadius { takes: 3, of: 3 }));
}

#[test]
fn a_service_of_size_zero_may_be_removed_entirely() {
    let mut case = Case::of(0, 2);
    case.knowledge.service_or_new(&case.name.clone()).desired = Some(0);
    let verdicts = case.judge((0..2).map(|ordinal| (Initiator::ScaleIn, drain(ordinal))));
    assert_eq!(verdicts, [Verdict::Pass, Verdict::Pass]);
}

#[test]
fn an_operator_may_remove_all_replicas() {
    let verdicts = Case::of(3, 3).judge((0..3).map(|ordinal| (Initiator::Operator, drain(ordinal))));
    assert_eq!(verdicts, [Verdict::Pass, Verdict::Pass, Verdict::Pass]);
}

#[test]
fn at_most_one_replica_or_a_tenth_is_in_repair() {
    let verdicts = Case::of(9, 9).judge((0..2).map(|ordinal| (Initiator::Heal, restart(ordinal))));
    let budget = Reason::DisruptionBudget { ready: 7, needed: 8 };
    assert_eq!(verdicts, [Verdict::Pass, refused(budget)]);
    let verdicts = Case::of(30, 30).judge((0..4).map(|ordinal| (Initiator::Heal, restart(ordinal))));
    assert_eq!(verdicts.iter().filter(|verdict| **verdict == Verdict::Pass).count(), 3);
}

#[test]
fn an_ended_replica_counts_as_in_repair() {
    let mut case = Case::of(5, 4);
    case.put(4, Role::Active, empty());
    let budget = Reason::DisruptionBudget { ready: 3, needed: 4 };
    assert_eq!(case.judge([(Initiator::Heal, restart(0))]), [refused(budget)]);
}

#[test]
fn a_spare_may_be_removed() {
    let mut case = Case::of(2, 2);
    case.put(2, Role::Spare, running(true));
    assert_eq!(case.judge([(Initiator::ScaleIn, drain(2))]), [Verdict::Pass]);
}

#[test]
fn a_replica_that_must_stay_is_not_removed_and_may_be_replaced() {
    let mut case = Case::of(0, 4);
    let service = case.knowledge.service_or_new(&case.name.clone());
    let mut declared = Declared::clone(service.declared.as_ref().unwrap());
    declared.spec.scale.protect = Some("sessions".into());
    let key = declared.spec.scale.protect_key(&case.name).unwrap();
    service.declared = Some(Arc::new(declared));
    case.put(3, Role::Active, running(false));
    let must_stay = |is_known| refused(Reason::MustStay { metric: "sessions".into(), is_known });
    let verdict = |case: &Case, initiator, ordinal| case.judge([(initiator, drain(ordinal))]).remove(0);
    assert_eq!(verdict(&case, Initiator::ScaleIn, 0), must_stay(false), "nothing measures it");
    assert_eq!(verdict(&case, Initiator::ScaleIn, 3), Verdict::Pass, "it does not serve");
    let measurement = |ordinal: u32, value: i64| ReplicaMeasurement {
        ordinal: Ordinal(ordinal),
        incarnation: Incarnation(1),
        result: Ok(vec![Series { labels: Default::default(), value: Milli(value) }]),
    };
    let replicas = vec![measurement(0, 1), measurement(1, 0), measurement(3, 1)];
    let result = MeasurementResult::Replicas(replicas);
    let source = ServiceName::parse("sessions").unwrap();
    let measured = Measured { source, key, stale_after: Duration::from_secs(10), result };
    let now = Now { time: AT, wall: Wall::from_millis(0) };
    case.knowledge.fold(now, &Fact::Measured(&measured), &mut Vec::new());
    assert_eq!(verdict(&case, Initiator::ScaleIn, 0), must_stay(true));
    assert_eq!(verdict(&case, Initiator::ScaleIn, 1), Verdict::Pass);
    assert_eq!(verdict(&case, Initiator::ScaleIn, 2), must_stay(false));
    assert_eq!(
        verdict(&case, Initiator::ScaleIn, 3),
        must_stay(true),
        "it reports it, though it does not serve"
    );
    assert_eq!(verdict(&case, Initiator::Rollout, 0), Verdict::Pass);
}

#[test]
fn a_refusal_does_not_affect_other_steps() {
    let verdicts = Case::of(2, 2).judge([
        (Initiator::ScaleOut, Change::Resize { from: 2, to: 11 }),
        (Initiator::Operator, Change::Expose),
        (Initiator::ScaleOut, Change::Resize { from: 2, to: 3 }),
        (Initiator::ScaleOut, open(2)),
    ]);
    assert_eq!(verdicts, [refused(BOUNDS), Verdict::Pass, Verdict::Pass, Verdict::Pass]);
}

proptest! {
    /// Even a plan that no planner would make.
    #[test]
    fn every_plan_stays_within_the_limits(
        steps in prop::collection::vec((0..5_usize, 0..9_usize, 0..14_u32), 0..40),
        desired in 0..12_u32,
        ready in 0..12_u32,
    ) {
        let initiators = [Initiator::Heal, Initiator::Rollout, Initiator::ScaleOut, Initiator::ScaleIn, Initiator::ScaleIn];
        let change = |kind, n| match kind {
            0 => Change::Resize { from: desired, to: n },
            1 => open(n),
            2 => Change::Open { ordinal: Ordinal(n), role: Role::Spare },
            3 => start(n),
            4 | 5 => drain(n),
            6 => restart(n),
            7 => Change::Close { ordinal: Ordinal(n) },
            _ => Change::Promote { spare: Ordinal(n), instead_of: Ordinal(0) },
        };
        let case = Case::of(desired, ready);
        let steps: Vec<_> = steps.into_iter().map(|(nth, kind, n)| (initiators[nth], change(kind, n))).collect();
        let verdicts = case.judge(steps.clone());
        prop_assert_eq!(verdicts.len(), steps.len());
        let passed: Vec<_> =
            steps.iter().zip(&verdicts).filter(|(_, v)| **v == Verdict::Pass).map(|(step, _)| step.1).collect();
        let restarts = passed.iter().filter(|change| matches!(change, Change::Start { ordinal, .. } if ordinal.0 < ready));
        prop_assert!(restarts.count() <= 10);
        let sizes = passed.iter().filter_map(|change| if let Change::Resize { to, .. } = change { Some(*to) } else { None });
        prop_assert!(sizes.into_iter().all(|to| (1..=10).contains(&to)));
    }
}
