//! What the guard lets pass and what it refuses, whatever made the plan.

use std::sync::Arc;
use std::time::Duration;

use knowledge::{Health, Hold, Knowledge, Place, Stage};
use model::fact::Fact;
use model::identity::{Generation, Incarnation, Ordinal};
use model::input::Declared;
use model::measure::{Measured, ReplicaSaid, Said, Series};
use model::name::ServiceName;
use model::plan::{Afterwards, Allotment, Change, Plan, Role, Step, Writer};
use model::quantity::Milli;
use model::reason::{Reason, StormScope};
use model::resource::{AutoscalerSpec, ScalePolicy};
use model::settings::GuardSettings;
use model::time::{Now, Time, Wall};
use proptest::prelude::*;

use crate::{Verdict, judge};

const AT: Time = Time::from_millis(1_000_000);

/// A picture of one service, to be judged in.
struct Case {
    knowledge: Knowledge,
    name: ServiceName,
}

impl Case {
    /// This many replicas wanted, of 1 to 10, and this many of them ready.
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
        self.knowledge.note_restart(&self.name, at);
    }

    fn judge(&self, steps: impl IntoIterator<Item = (Writer, Change)>) -> Vec<Verdict> {
        let steps =
            steps.into_iter().map(|(writer, change)| Step { change, reason: Reason::Observed, writer });
        let plan = Plan {
            service: self.name.clone(),
            at: Now { time: AT, wall: Wall::from_millis(0) },
            steps: steps.collect(),
            decision: None,
            scaling: None,
            shadows: None,
            allotment: Allotment::default(),
            waits: Vec::new(),
            look_again: AT,
        };
        judge(&self.knowledge, &GuardSettings::default(), &plan)
    }
}

fn running(ready: bool) -> Stage {
    Stage::Running(Health { since: AT, begun: true, ready, ready_changed: AT, sick_since: None })
}

fn empty() -> Stage {
    Stage::Empty { since: AT, exit: None }
}

fn drain(ordinal: u32) -> Change {
    Change::Drain { ordinal: Ordinal(ordinal), then: Afterwards::Close }
}

fn restart(ordinal: u32) -> Change {
    Change::Stop { ordinal: Ordinal(ordinal), then: Afterwards::Refill }
}

fn start(ordinal: u32) -> Change {
    Change::Start { ordinal: Ordinal(ordinal) }
}

fn open(ordinal: u32) -> Change {
    Change::Open { ordinal: Ordinal(ordinal), role: Role::Active }
}

fn refused(reason: Reason) -> Verdict {
    Verdict::Refuse(reason)
}

const BOUNDS: Reason = Reason::Bounds { min: 1, max: 10 };

#[test]
fn a_size_passes_at_its_bounds_and_not_beyond() {
    let case = Case::of(5, 5);
    let verdict = |to| case.judge([(Writer::ScaleOut, Change::Resize { from: 5, to })]).remove(0);
    assert_eq!([verdict(1), verdict(10)], [Verdict::Pass, Verdict::Pass]);
    assert_eq!([verdict(0), verdict(11)], [refused(BOUNDS), refused(BOUNDS)]);
}

#[test]
fn a_hold_is_the_only_size_that_passes_until_it_ends() {
    let mut case = Case::of(5, 5);
    let verdict = |case: &Case, to| case.judge([(Writer::Human, Change::Resize { from: 5, to })]).remove(0);
    let hold = |until| Some(Hold { replicas: 12, until });
    case.knowledge.service_or_new(&case.name.clone()).hold = hold(Some(AT + Duration::from_millis(1)));
    assert_eq!(verdict(&case, 12), Verdict::Pass);
    assert_eq!(verdict(&case, 5), refused(Reason::Bounds { min: 12, max: 12 }));
    case.knowledge.service_or_new(&case.name.clone()).hold = hold(Some(AT));
    assert_eq!(verdict(&case, 12), refused(BOUNDS));
}

#[test]
fn places_open_up_to_the_number_wanted_and_one_more_for_a_rollout() {
    let case = Case::of(3, 2);
    let verdicts = case.judge([(Writer::ScaleOut, open(2)), (Writer::ScaleOut, open(3))]);
    assert_eq!(verdicts, [Verdict::Pass, refused(BOUNDS)]);
    let verdicts = Case::of(3, 3).judge([(Writer::Rollout, open(3)), (Writer::Rollout, open(4))]);
    assert_eq!(verdicts, [Verdict::Pass, refused(BOUNDS)]);
}

#[test]
fn a_size_let_through_makes_room_for_the_places_after_it() {
    let resize = Change::Resize { from: 2, to: 4 };
    let verdicts = Case::of(2, 2).judge([
        (Writer::ScaleOut, resize),
        (Writer::ScaleOut, open(2)),
        (Writer::ScaleOut, open(3)),
        (Writer::ScaleOut, open(4)),
    ]);
    assert_eq!(verdicts, [Verdict::Pass, Verdict::Pass, Verdict::Pass, refused(BOUNDS)]);
}

#[test]
fn the_eleventh_restart_within_a_minute_waits_for_the_first_to_age() {
    let mut case = Case::of(10, 0);
    case.put(0, Role::Active, empty());
    let first = AT - Duration::from_secs(59);
    case.restarts(AT - Duration::from_secs(60));
    for _ in 0..9 {
        case.restarts(first);
    }
    assert_eq!(case.judge([(Writer::Heal, start(0))]), [Verdict::Pass]);
    case.restarts(AT);
    let until = first + Duration::from_secs(60);
    let limit = Reason::StormLimit { scope: StormScope::Node, until };
    assert_eq!(case.judge([(Writer::Heal, start(0))]), [refused(limit)]);
}

#[test]
fn restarts_of_one_plan_count_among_each_other() {
    let mut case = Case::of(10, 0);
    for ordinal in 0..12 {
        case.put(ordinal, Role::Active, empty());
    }
    let verdicts = case.judge((0..12).map(|ordinal| (Writer::Heal, start(ordinal))));
    assert_eq!(verdicts.iter().filter(|verdict| **verdict == Verdict::Pass).count(), 10);
}

#[test]
fn a_first_start_is_no_restart() {
    let mut case = Case::of(5, 0);
    for _ in 0..60 {
        case.restarts(AT);
    }
    assert_eq!(case.judge([(Writer::ScaleOut, open(0)), (Writer::ScaleOut, start(0))])[1], Verdict::Pass);
}

#[test]
fn what_serves_goes_only_while_as_many_as_wanted_serve_without_it() {
    let verdicts = Case::of(3, 5).judge((2..5).map(|ordinal| (Writer::ScaleIn, drain(ordinal))));
    let budget = Reason::DisruptionBudget { ready: 2, needed: 3 };
    assert_eq!(verdicts, [Verdict::Pass, Verdict::Pass, refused(budget)]);
}

#[test]
fn what_is_on_its_way_out_counts_as_missing() {
    let mut case = Case::of(2, 2);
    let then = Afterwards::Close;
    case.put(2, Role::Active, Stage::Draining { admit: None, since: AT, deadline: AT, then });
    let budget = Reason::DisruptionBudget { ready: 1, needed: 2 };
    assert_eq!(case.judge([(Writer::Rollout, drain(0))]), [refused(budget)]);
}

#[test]
fn what_does_not_serve_is_no_loss() {
    let mut case = Case::of(2, 2);
    case.put(2, Role::Active, running(false));
    assert_eq!(case.judge([(Writer::ScaleIn, drain(2))]), [Verdict::Pass]);
}

#[test]
fn a_plan_never_takes_all_that_runs_of_a_service_that_is_wanted() {
    let mut case = Case::of(2, 3);
    case.knowledge.service_or_new(&case.name.clone()).desired = Some(1);
    let verdicts = case.judge((0..3).map(|ordinal| (Writer::ScaleIn, drain(ordinal))));
    assert_eq!(verdicts[..2], [Verdict::Pass, Verdict::Pass]);
    assert_eq!(verdicts[2], refused(Reason::BlastRadius { takes: 3, of: 3 }));
}

#[test]
fn a_service_of_none_may_go_whole() {
    let mut case = Case::of(0, 2);
    case.knowledge.service_or_new(&case.name.clone()).desired = Some(0);
    let verdicts = case.judge((0..2).map(|ordinal| (Writer::ScaleIn, drain(ordinal))));
    assert_eq!(verdicts, [Verdict::Pass, Verdict::Pass]);
}

#[test]
fn a_person_may_take_everything_away() {
    let verdicts = Case::of(3, 3).judge((0..3).map(|ordinal| (Writer::Human, drain(ordinal))));
    assert_eq!(verdicts, [Verdict::Pass, Verdict::Pass, Verdict::Pass]);
}

#[test]
fn one_replica_or_a_tenth_is_in_repair_at_once() {
    let verdicts = Case::of(9, 9).judge((0..2).map(|ordinal| (Writer::Heal, restart(ordinal))));
    let budget = Reason::DisruptionBudget { ready: 7, needed: 8 };
    assert_eq!(verdicts, [Verdict::Pass, refused(budget)]);
    let verdicts = Case::of(30, 30).judge((0..4).map(|ordinal| (Writer::Heal, restart(ordinal))));
    assert_eq!(verdicts.iter().filter(|verdict| **verdict == Verdict::Pass).count(), 3);
}

#[test]
fn a_dead_replica_counts_as_in_repair() {
    let mut case = Case::of(5, 4);
    case.put(4, Role::Active, empty());
    let budget = Reason::DisruptionBudget { ready: 3, needed: 4 };
    assert_eq!(case.judge([(Writer::Heal, restart(0))]), [refused(budget)]);
}

#[test]
fn a_spare_is_no_loss() {
    let mut case = Case::of(2, 2);
    case.put(2, Role::Spare, running(true));
    assert_eq!(case.judge([(Writer::ScaleIn, drain(2))]), [Verdict::Pass]);
}

#[test]
fn who_says_that_it_must_stay_is_not_removed_and_may_be_replaced() {
    let mut case = Case::of(0, 4);
    let service = case.knowledge.service_or_new(&case.name.clone());
    let mut declared = Declared::clone(service.declared.as_ref().unwrap());
    declared.spec.scale.protect = Some("sessions".into());
    let key = declared.spec.scale.protect_key(&case.name).unwrap();
    service.declared = Some(Arc::new(declared));
    case.put(3, Role::Active, running(false));
    let needed = |is_known| refused(Reason::Needed { metric: "sessions".into(), is_known });
    let verdict = |case: &Case, writer, ordinal| case.judge([(writer, drain(ordinal))]).remove(0);
    assert_eq!(verdict(&case, Writer::ScaleIn, 0), needed(false), "nothing measures it");
    assert_eq!(verdict(&case, Writer::ScaleIn, 3), Verdict::Pass, "it does not serve");
    let says = |ordinal: u32, value: i64| ReplicaSaid {
        ordinal: Ordinal(ordinal),
        incarnation: Incarnation(1),
        said: Ok(vec![Series { labels: Default::default(), value: Milli(value) }]),
    };
    let said = Said::Replicas(vec![says(0, 1), says(1, 0), says(3, 1)]);
    let source = ServiceName::parse("sessions").unwrap();
    let measured = Measured { source, key, stale_after: Duration::from_secs(10), said };
    let now = Now { time: AT, wall: Wall::from_millis(0) };
    case.knowledge.fold(now, &Fact::Measured(&measured), &mut Vec::new());
    assert_eq!(verdict(&case, Writer::ScaleIn, 0), needed(true));
    assert_eq!(verdict(&case, Writer::ScaleIn, 1), Verdict::Pass);
    assert_eq!(verdict(&case, Writer::ScaleIn, 2), needed(false));
    assert_eq!(verdict(&case, Writer::ScaleIn, 3), needed(true), "it says so, though it does not serve");
    assert_eq!(verdict(&case, Writer::Rollout, 0), Verdict::Pass);
}

#[test]
fn a_refusal_touches_no_other_step() {
    let verdicts = Case::of(2, 2).judge([
        (Writer::ScaleOut, Change::Resize { from: 2, to: 11 }),
        (Writer::Human, Change::Expose),
        (Writer::ScaleOut, Change::Resize { from: 2, to: 3 }),
        (Writer::ScaleOut, open(2)),
    ]);
    assert_eq!(verdicts, [refused(BOUNDS), Verdict::Pass, Verdict::Pass, Verdict::Pass]);
}

proptest! {
    /// Even a plan that no planner would make.
    #[test]
    fn no_plan_makes_the_guard_panic_and_none_gets_beyond_its_limits(
        steps in prop::collection::vec((0..5_usize, 0..9_usize, 0..14_u32), 0..40),
        desired in 0..12_u32,
        ready in 0..12_u32,
    ) {
        let writers = [Writer::Heal, Writer::Rollout, Writer::ScaleOut, Writer::ScaleIn, Writer::ScaleIn];
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
        let steps: Vec<_> = steps.into_iter().map(|(writer, kind, n)| (writers[writer], change(kind, n))).collect();
        let verdicts = case.judge(steps.clone());
        prop_assert_eq!(verdicts.len(), steps.len());
        let passed: Vec<_> =
            steps.iter().zip(&verdicts).filter(|(_, v)| **v == Verdict::Pass).map(|(step, _)| step.1).collect();
        let restarts = passed.iter().filter(|change| matches!(change, Change::Start { ordinal } if ordinal.0 < ready));
        prop_assert!(restarts.count() <= 10);
        let sizes = passed.iter().filter_map(|change| if let Change::Resize { to, .. } = change { Some(*to) } else { None });
        prop_assert!(sizes.into_iter().all(|to| (1..=10).contains(&to)));
    }
}
