//! Laws of the loop: properties that hold after every input, whatever happens in the world.

use analyze::findings;
use guard::Verdict;
use knowledge::{Knowledge, Place, ServiceState, Stage};
use model::action::{Action, ActionKind};
use model::chance::Stream;
use model::identity::Ordinal;
use model::input::{Input, Report};
use model::reason::Reason;
use model::resource::Bounds;
use model::settings::Settings;
use model::time::{Now, Wall};
use plan::PlanContext;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::bench::READY;
use crate::random_run::{RandomRun, RandomStep, arbitrary, consistent};
use crate::world::{World, seconds};

fn config(cases: u32, seed: u64) -> ProptestConfig {
    let (rng_seed, failure_persistence) = (RngSeed::Fixed(seed), None);
    ProptestConfig { cases, rng_seed, failure_persistence, ..ProptestConfig::default() }
}

/// Takes all steps, and calls `law` with the world before and after each input.
fn hold_always(steps: &[RandomStep], mut law: impl FnMut(&World, &Input, &World)) {
    let mut run = RandomRun::new();
    for step in steps {
        run.take(step, |world, input| {
            let before = world.clone();
            world.put(input);
            law(&before, input, world);
        });
    }
}

fn services(world: &World) -> impl Iterator<Item = &ServiceState> {
    world.control.knowledge().services().filter(|service| service.declared.is_some())
}

/// The bounds that people have set for a service, ignoring a hold.
fn bounds(service: &ServiceState, wall: Wall) -> (u32, u32) {
    let declared = service.declared.as_ref().expect("it is declared");
    let Bounds { min, max } = declared.bounds(wall);
    if declared.spec.scale.to_zero.is_some() { (0, max) } else { (min, max) }
}

/// The knowledge that the loop decides on: that before the input, with the facts of the input. So a replica that the input reports as not ready
/// counts as not serving already.
fn knowledge_with(before: &World, input: &Input) -> Knowledge {
    let mut knowledge = before.control.knowledge().clone();
    if let Input::Report(report) = input {
        let mut facts = Vec::new();
        monitor::facts(&knowledge, report, &mut facts);
        let now = Now { time: before.now, wall: before.wall };
        for fact in &facts {
            knowledge.fold(now, fact, &mut Vec::new());
        }
    }
    knowledge
}

/// The places that served in the knowledge that the loop decided on, and are draining or stopping afterwards.
fn removed(knowledge: Option<&ServiceState>, after: &ServiceState) -> Vec<Ordinal> {
    let served = |ordinal: &Ordinal| {
        knowledge.and_then(|known| known.places.get(ordinal)).is_some_and(Place::is_serving)
    };
    let leaves = |place: &Place| matches!(place.stage, Stage::Draining { .. } | Stage::Stopping { .. });
    let leaving = after.places.iter().filter(|(ordinal, place)| leaves(place) && served(ordinal));
    leaving.map(|(ordinal, _)| *ordinal).collect()
}

/// Reports all running replicas as ready and live.
fn recover_all(world: &mut World) {
    let all = world.control.knowledge().services().flat_map(|service| {
        let running = service.places.iter().filter(|(_, place)| place.health().is_some());
        running.map(|(ordinal, _)| format!("{}-{ordinal}", service.name))
    });
    for replica in all.collect::<Vec<_>>() {
        world.report_state(&replica, READY);
    }
}

proptest! {
    #![proptest_config(config(200, 1))]

    /// A refusal is legitimate where the planner relies on the guard: for restarts of the last minute, repairs under way, and the replicas that
    /// would be left. The size that was planned, and its places, are never refused.
    #[test]
    fn the_guard_accepts_plans(steps in prop::collection::vec(consistent(), 1..60)) {
        let settings = Settings::default();
        hold_always(&steps, |_, _, world| {
            let knowledge = world.control.knowledge();
            for service in knowledge.services() {
                let now = Now { time: world.now, wall: world.wall };
                let mut found = Vec::new();
                findings(world.now, knowledge, service, &settings.restart, &mut found);
                let mut chance = Stream::named(7, "law");
                let context = PlanContext { now, knowledge, service, findings: &found, settings: &settings };
                let plan = plan::plan(context, &mut chance);
                for (step, verdict) in plan.steps.iter().zip(guard::judge(knowledge, &settings.guard, &plan)) {
                    let is_legitimate = match &verdict {
                        Verdict::Pass => true,
                        Verdict::Refuse(Reason::StormLimit { until, .. }) => *until > world.now,
                        Verdict::Refuse(Reason::DisruptionBudget { ready, needed }) => ready < needed,
                        Verdict::Refuse(Reason::BlastRadius { takes, of }) => takes >= of,
                        Verdict::Refuse(_) => false,
                    };
                    assert!(is_legitimate, "{step:?} is refused: {verdict:?}");
                }
            }
        });
    }

    #[test]
    fn there_are_never_more_places_than_the_maximum_and_one_for_a_rollout(
        steps in prop::collection::vec(consistent(), 1..60),
    ) {
        hold_always(&steps, |before, _, after| {
            for service in services(after) {
                let count_before = before.control.knowledge().service(&service.name).map_or(0, ServiceState::count);
                let held = service.hold.map_or(0, |hold| hold.replicas);
                let most = bounds(service, after.wall).1.max(held) + 1;
                assert!(service.count() <= most.max(count_before), "{} has {} places", service.name, service.count());
            }
        });
    }

    #[test]
    fn the_desired_size_stays_within_the_bounds(steps in prop::collection::vec(consistent(), 1..60)) {
        hold_always(&steps, |_, _, after| {
            for service in services(after).filter(|service| service.hold.is_none()) {
                let (min, max) = bounds(service, after.wall);
                let desired = service.desired.expect("a declared service has a size");
                // The end of a hold takes effect at the next decision.
                let is_due = service.next_sync <= after.now;
                assert!((min..=max).contains(&desired) || is_due, "{desired} of {min} to {max}");
            }
        });
    }

    #[test]
    fn the_desired_size_is_an_allowed_one(steps in prop::collection::vec(consistent(), 1..60)) {
        hold_always(&steps, |_, _, after| {
            for service in services(after).filter(|service| service.hold.is_none()) {
                let declared = service.declared.as_ref().expect("it is declared");
                let Some(sizes) = &declared.spec.scale.sizes else { continue };
                let desired = service.desired.expect("a declared service has a size");
                let is_due = service.next_sync <= after.now;
                let is_reachable = sizes.has_any_within(declared.bounds(after.wall));
                assert!(sizes.allows(desired) || is_due || !is_reachable, "{desired} of {sizes}");
            }
        });
    }

    #[test]
    fn a_protected_replica_is_not_removed(steps in prop::collection::vec(consistent(), 1..60)) {
        hold_always(&steps, |before, input, after| {
            let knowledge = knowledge_with(before, input);
            let is_new = |action: &&Action| before.pending.iter().all(|known| known.id != action.id);
            for action in after.pending.iter().filter(is_new) {
                let (ActionKind::Stop { replica, .. } | ActionKind::Admit { replica, .. }) = &action.kind else {
                    continue;
                };
                let until = knowledge.service(&replica.service).and_then(|service| service.protected_until(after.now, replica.ordinal));
                let is_removed = matches!(action.reason, Reason::AboveDesired { .. });
                assert!(!is_removed || until.is_none(), "{replica} is removed, and protected until {until:?}");
            }
        });
    }

    #[test]
    fn a_serving_replica_is_removed_only_when_enough_are_left(steps in prop::collection::vec(consistent(), 1..60)) {
        hold_always(&steps, |before, input, after| {
            let knowledge = knowledge_with(before, input);
            for service in services(after) {
                let removed = removed(knowledge.service(&service.name), service);
                let desired = service.desired.unwrap_or(0);
                assert!(removed.is_empty() || service.serving() >= desired, "{removed:?} of {}", service.name);
            }
        });
    }

    #[test]
    fn after_each_input_the_next_deadline_is_in_the_future(steps in prop::collection::vec(consistent(), 1..60)) {
        hold_always(&steps, |_, _, after| {
            assert!(after.control.next_deadline().is_none_or(|due| due > after.now));
        });
    }

    #[test]
    fn a_report_that_comes_twice_has_the_effect_of_one(steps in prop::collection::vec(consistent(), 1..60)) {
        hold_always(&steps, |_, input, after| {
            if let Input::Report(report) = input {
                let mut again = after.clone();
                let digest = again.put(input);
                assert_eq!(digest, 0, "the second time that {report:?} came");
                let seen = |world: &World| match report {
                    // The decision is renewed with each plan; the places are not.
                    Report::Traffic(_) | Report::Demand(_) => format!("{:?}", world.control.knowledge().services().map(|s| &s.places).collect::<Vec<_>>()),
                    Report::Replica(_)
                    | Report::Usage(_)
                    | Report::Inventory { .. }
                    | Report::Measured(_)
                    | Report::Allotted(_)
                    | Report::Latencies(_)
                    | Report::Ejected(_) => {
                        format!("{:?}", world.control.knowledge())
                    }
                };
                assert_eq!(seen(&again), seen(after));
            }
        });
    }
}

proptest! {
    #![proptest_config(config(64, 2))]

    #[test]
    fn the_same_steps_give_the_same_digests(steps in prop::collection::vec(arbitrary(), 1..40)) {
        let digests = || {
            let mut run = RandomRun::new();
            for step in &steps {
                run.take(step, |world, input| {
                    world.put(input);
                });
            }
            run.world.digests
        };
        prop_assert_eq!(digests(), digests());
    }

    #[test]
    fn no_sequence_of_inputs_makes_the_loop_panic_or_spin(steps in prop::collection::vec(arbitrary(), 1..60)) {
        hold_always(&steps, |_, _, after| {
            assert!(after.control.next_deadline().is_none_or(|due| due > after.now));
        });
    }

    /// Whatever happened before, when all actions are carried out from now on, the loop settles with all declared replicas serving.
    #[test]
    fn the_loop_settles_when_its_actions_are_carried_out(steps in prop::collection::vec(consistent(), 1..60)) {
        let mut run = RandomRun::new();
        for step in &steps {
            run.take(step, |world, input| {
                world.put(input);
            });
        }
        let world = &mut run.world;
        for _ in 0..4 {
            world.run_for(seconds(1200));
            recover_all(world);
        }
        world.take_sent();
        world.run_for(seconds(600));
        prop_assert_eq!(world.take_sent(), Vec::<String>::new(), "it keeps sending actions");
        for service in services(world).filter(|service| service.waits.is_empty()) {
            prop_assert_eq!(Some(service.serving()), service.desired, "{}", service.name);
            prop_assert_eq!(service.count(), service.serving());
        }
    }
}
