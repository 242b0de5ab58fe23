//! Laws of the loop, which hold after every input, whatever the world does.

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
use crate::random_run::{RandomRun, RandomStep, orderly, wild};
use crate::world::{World, seconds};

fn config(cases: u32, seed: u64) -> ProptestConfig {
    let (rng_seed, failure_persistence) = (RngSeed::Fixed(seed), None);
    ProptestConfig { cases, rng_seed, failure_persistence, ..ProptestConfig::default() }
}

/// Takes all steps; `law` is given the world before and after each input.
fn hold_always(steps: &[RandomStep], mut law: impl FnMut(&World, &Input, &World)) {
    let mut run = RandomRun::new();
    for step in steps {
        run.does(step, |world, input| {
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

/// The picture on which the loop decides: what was known before the input, and what the input itself says. A report that a replica
/// is not ready any more is not a decision of the loop, which decides on a picture in which that replica no longer serves.
fn answered_with(before: &World, input: &Input) -> Knowledge {
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

/// The places that answered requests in the picture that the loop decided on, and are on their way out afterwards.
fn taken_away(picture: Option<&ServiceState>, after: &ServiceState) -> Vec<Ordinal> {
    let served =
        |ordinal: &Ordinal| picture.and_then(|p| p.places.get(ordinal)).is_some_and(Place::is_serving);
    let leaves = |place: &Place| matches!(place.stage, Stage::Draining { .. } | Stage::Stopping { .. });
    let leaving = after.places.iter().filter(|(ordinal, place)| leaves(place) && served(ordinal));
    leaving.map(|(ordinal, _)| *ordinal).collect()
}

/// Makes all that runs ready and live again, whatever was last reported of it.
fn recover_all(world: &mut World) {
    let all = world.control.knowledge().services().flat_map(|service| {
        let running = service.places.iter().filter(|(_, place)| place.health().is_some());
        running.map(|(ordinal, _)| format!("{}-{ordinal}", service.name))
    });
    for replica in all.collect::<Vec<_>>() {
        world.sees(&replica, READY);
    }
}

proptest! {
    #![proptest_config(config(200, 1))]

    /// A refusal is legitimate when it counts what the planner leaves to the guard: restarts of the last minute, repairs under
    /// way, and the replicas that would be left. The size that the planner chose, and the places for it, are never refused.
    #[test]
    fn guard_accepts_what_plan_makes(steps in prop::collection::vec(orderly(), 1..60)) {
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
    fn never_more_places_than_the_most_wanted_and_one_for_a_rollout(
        steps in prop::collection::vec(orderly(), 1..60),
    ) {
        hold_always(&steps, |before, _, after| {
            for service in services(after) {
                let had = before.control.knowledge().service(&service.name).map_or(0, ServiceState::count);
                let held = service.hold.map_or(0, |hold| hold.replicas);
                let most = bounds(service, after.wall).1.max(held) + 1;
                assert!(service.count() <= most.max(had), "{} has {} places", service.name, service.count());
            }
        });
    }

    #[test]
    fn the_size_wanted_stays_within_the_bounds(steps in prop::collection::vec(orderly(), 1..60)) {
        hold_always(&steps, |_, _, after| {
            for service in services(after).filter(|service| service.hold.is_none()) {
                let (min, max) = bounds(service, after.wall);
                let desired = service.desired.expect("a declared service has a size");
                // A hold that ended a moment ago is answered with the next period.
                let is_due = service.next_sync <= after.now;
                assert!((min..=max).contains(&desired) || is_due, "{desired} of {min} to {max}");
            }
        });
    }

    #[test]
    fn the_size_wanted_is_an_allowed_one(steps in prop::collection::vec(orderly(), 1..60)) {
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
    fn who_is_protected_is_not_removed(steps in prop::collection::vec(orderly(), 1..60)) {
        hold_always(&steps, |before, input, after| {
            let picture = answered_with(before, input);
            let is_new = |action: &&Action| before.pending.iter().all(|known| known.id != action.id);
            for action in after.pending.iter().filter(is_new) {
                let (ActionKind::Stop { replica, .. } | ActionKind::Admit { replica, .. }) = &action.kind else {
                    continue;
                };
                let until = picture.service(&replica.service).and_then(|it| it.protected_until(after.now, replica.ordinal));
                let is_removed = matches!(action.reason, Reason::AboveDesired { .. });
                assert!(!is_removed || until.is_none(), "{replica} is removed, and protected until {until:?}");
            }
        });
    }

    #[test]
    fn what_serves_is_taken_away_only_when_enough_is_left(steps in prop::collection::vec(orderly(), 1..60)) {
        hold_always(&steps, |before, input, after| {
            let picture = answered_with(before, input);
            for service in services(after) {
                let taken = taken_away(picture.service(&service.name), service);
                let desired = service.desired.unwrap_or(0);
                assert!(taken.is_empty() || service.serving() >= desired, "{taken:?} of {}", service.name);
            }
        });
    }

    #[test]
    fn an_input_leaves_the_next_deadline_ahead(steps in prop::collection::vec(orderly(), 1..60)) {
        hold_always(&steps, |_, _, after| {
            assert!(after.control.next_deadline().is_none_or(|due| due > after.now));
        });
    }

    #[test]
    fn a_report_that_comes_twice_has_the_effect_of_one(steps in prop::collection::vec(orderly(), 1..60)) {
        hold_always(&steps, |_, input, after| {
            if let Input::Report(report) = input {
                let mut again = after.clone();
                let digest = again.put(input);
                assert_eq!(digest, 0, "the second telling of {report:?}");
                let seen = |world: &World| match report {
                    // How the sizing looks is renewed with each plan; what was folded is not.
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
    fn the_same_steps_give_the_same_digests(steps in prop::collection::vec(wild(), 1..40)) {
        let digests = || {
            let mut run = RandomRun::new();
            for step in &steps {
                run.does(step, |world, input| {
                    world.put(input);
                });
            }
            run.world.digests
        };
        prop_assert_eq!(digests(), digests());
    }

    #[test]
    fn no_row_of_inputs_makes_the_loop_panic_or_spin(steps in prop::collection::vec(wild(), 1..60)) {
        hold_always(&steps, |_, _, after| {
            assert!(after.control.next_deadline().is_none_or(|due| due > after.now));
        });
    }

    /// However wild the past, a world that obeys from now on comes to rest with all that is declared serving.
    #[test]
    fn a_world_that_obeys_comes_to_rest(steps in prop::collection::vec(orderly(), 1..60)) {
        let mut run = RandomRun::new();
        for step in &steps {
            run.does(step, |world, input| {
                world.put(input);
            });
        }
        let world = &mut run.world;
        for _ in 0..4 {
            world.lives_for(seconds(1200));
            recover_all(world);
        }
        world.take_sent();
        world.lives_for(seconds(600));
        prop_assert_eq!(world.take_sent(), Vec::<String>::new(), "it goes on acting");
        for service in services(world).filter(|service| service.waits.is_empty()) {
            prop_assert_eq!(Some(service.serving()), service.desired, "{}", service.name);
            prop_assert_eq!(service.count(), service.serving());
        }
    }
}
