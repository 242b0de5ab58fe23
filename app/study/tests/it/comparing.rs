//! Comparisons and their verdicts.

use std::time::Duration;

use fluid::world::{Disturbance, Loss, Lost, Noise};
use fluid::{Capacity, Share};
use model::resource::Bounds;
use study::{
    BUILTINS, Candidate, CapacityRule, Findings, Kind, LEARNED, Measure, Progress, Setting, StudyError,
    Summary, compare,
};

use crate::recording::{file, recording};

pub(crate) const MEASURE: Measure = Measure { objective: 0.999, price: Some(0.5) };

pub(crate) fn setting() -> Setting {
    Setting {
        tick: Duration::from_secs(15),
        capacity: CapacityRule::ForPeak(40),
        target: Share::of(0.7).unwrap(),
        start_up: Duration::from_secs(60),
        bounds: Bounds { min: 1, max: 200 },
        noise: None,
        disturbance: Disturbance::default(),
        seed: 0,
        objective: 0.999,
    }
}

/// Three days of minutes with a steep rise each evening.
pub(crate) fn evenings() -> String {
    let minute = |n: u32| if n % 1440 >= 1200 { 6000 } else { 600 };
    (0..3 * 1440).map(|n| format!("{},{}\n", n * 60, minute(n))).collect()
}

pub(crate) fn all() -> Vec<Candidate> {
    // One that has to learn would have all judged on what it has not learned from.
    BUILTINS.iter().filter(|builtin| builtin.name != LEARNED).map(Candidate::from).collect()
}

pub(crate) fn compared(
    text: &str,
    setting: &Setting,
    candidates: &[Candidate],
) -> Result<Findings, StudyError> {
    let (_folder, path) = file(text);
    compare(&recording(&path), setting, candidates, &mut |_| {})
}

#[test]
fn a_scheduled_loss_after_the_end_is_noted() {
    let lost = |hours| Loss { after: Duration::from_hours(hours), lost: Lost::Part(Share::WHOLE) };
    let disturbance = Disturbance { losses: vec![lost(2), lost(72)], ..Disturbance::default() };
    let findings = compared(&evenings(), &Setting { disturbance, ..setting() }, &all()[..1]).unwrap();
    let notes = Summary::of(&findings, MEASURE, Vec::new()).notes;
    assert_eq!(notes, ["no replica was lost 259200s after the start: the trace ends after 259200s"]);
}

#[test]
fn a_schedule_is_best_if_every_evening_is_alike() {
    let findings = compared(&evenings(), &setting(), &all()).unwrap();
    let summary = Summary::of(&findings, MEASURE, Vec::new());
    let of = |name: &str| summary.policies.iter().find(|policy| policy.name == name).unwrap();

    assert_eq!(summary.best.as_deref(), Some("schedule"), "{}", summary.verdict);
    assert!(
        summary.verdict.starts_with("schedule is best: it is the cheapest that meets the SLO for 99.9 %"),
        "{}",
        summary.verdict
    );
    assert_eq!(of("schedule").violated_requests_percent, 0.0);
    assert!(of("hpa").violated_requests_percent > 0.1, "it sees the rise when it is there");
    assert_eq!(of("oracle").replica_hours_to_oracle, Some(1.0));
    assert!(of("oracle-lean").replica_hours < of("oracle").replica_hours);
    assert_eq!(of("peak").actions, 0);
    assert_eq!(of("hpa").cost, Some(0.5 * of("hpa").replica_hours));
    assert!(!of("oracle").could_run && !of("peak").could_run && of("trend").could_run);
    assert_eq!(summary.hours, 48.0, "the first day is not counted");
}

#[test]
fn when_no_policy_meets_the_slo_the_nearest_is_named() {
    let candidates: Vec<Candidate> =
        all().into_iter().filter(|candidate| candidate.name.starts_with("hpa")).collect();
    let findings = compared(&evenings(), &setting(), &candidates).unwrap();
    let summary = Summary::of(&findings, Measure { objective: 1.0, price: None }, vec!["a note".to_owned()]);
    assert!(
        summary
            .verdict
            .starts_with("No policy meets the SLO for 100 % of the requests; hpa-requests comes nearest"),
        "{}",
        summary.verdict
    );
    assert_eq!((summary.policies[0].cost, summary.notes.as_slice()), (None, &["a note".to_owned()][..]));
    let oracle: Vec<Candidate> =
        all().into_iter().filter(|candidate| candidate.kind == Kind::Oracle).collect();
    let only = Summary::of(&compared(&evenings(), &setting(), &oracle).unwrap(), MEASURE, Vec::new());
    assert_eq!(only.best, None);
}

#[test]
fn of_policies_with_equal_violations_the_cheapest_is_best() {
    // Nobody can know of the loss of all replicas in a quiet hour, and whoever has more than enough of them violates the SLO for as many.
    let loads: String = (0..600).map(|n| format!("{},600\n", n * 60)).collect();
    let all = Loss { after: Duration::from_hours(2), lost: Lost::Part(Share::WHOLE) };
    let disturbance = Disturbance { losses: vec![all], ..Disturbance::default() };
    let capacity = CapacityRule::Given(Capacity::per_second(10.0).unwrap());
    let setting = Setting { disturbance, capacity, ..setting() };
    let fixed = |name: &str, replicas| {
        Candidate::new(name, Kind::Causal, "always as many", move |_| {
            Box::new(fluid::policy::constant::Constant(replicas))
        })
    };
    let findings = compared(&loads, &setting, &[fixed("many", 20), fixed("few", 3)]).unwrap();
    let summary = Summary::of(&findings, MEASURE, Vec::new());
    let [many, few] = &summary.policies[..] else { panic!("{summary:?}") };
    assert!(many.violated_requests_percent > 0.1, "{many:?}");
    assert_eq!(many.violated_requests_percent, few.violated_requests_percent);
    assert_eq!(summary.best.as_deref(), Some("few"), "{}", summary.verdict);
}

#[test]
fn the_summary_has_the_documented_fields() {
    let findings = compared(&evenings(), &setting(), &all()).unwrap();
    let json = serde_json::to_value(Summary::of(&findings, MEASURE, Vec::new())).unwrap();
    assert_eq!(json["trace"], "load.csv");
    for field in [
        "name",
        "sloViolationMinutes",
        "replicaHours",
        "cost",
        "actions",
        "thetaU",
        "thetaO",
        "tauU",
        "tauO",
        "instability",
    ] {
        assert!(!json["policies"][0][field].is_null(), "{field}: {json}");
    }
}

#[test]
fn the_same_seed_gives_the_same_result_and_faults_have_a_cost() {
    let troubled = Setting {
        noise: Some(Noise::Poisson),
        disturbance: Disturbance {
            start_up_spread: 0.5,
            failed_starts: Share::of(0.2).ok(),
            speed_spread: 0.2,
            losses: vec![Loss { after: Duration::from_hours(60), lost: Lost::Part(Share::of(0.5).unwrap()) }],
            ..Disturbance::default()
        },
        ..setting()
    };
    let score = |setting: &Setting| {
        let findings = compared(&evenings(), setting, &all()).unwrap();
        findings.results.into_iter().map(|tried| tried.outcome.score).collect::<Vec<_>>()
    };
    assert_eq!(score(&troubled), score(&troubled));
    assert_ne!(score(&troubled), score(&Setting { seed: 1, ..troubled.clone() }));
    let violated = |scores: &[fluid::Score]| scores.iter().map(|score| score.violated_ticks).sum::<u64>();
    assert!(violated(&score(&troubled)) > violated(&score(&setting())));
}

#[test]
fn a_given_capacity_is_used_and_required_without_load() {
    let given = Setting { capacity: CapacityRule::Given(Capacity::per_second(10.0).unwrap()), ..setting() };
    assert_eq!(compared(&evenings(), &given, &all()).unwrap().service.capacity.rate(), 10.0);
    let found = compared(&evenings(), &setting(), &all()).unwrap();
    assert!((found.service.capacity.rate() - 100.0 / 28.0).abs() < 1e-9);
    let silence = "0,0\n60,0\n120,0\n";
    let refused = compared(silence, &setting(), &all()).expect_err("there is nothing to find it from");
    assert!(refused.to_string().contains("give --capacity"), "{refused}");
    let summary = Summary::of(&compared(silence, &given, &all()).unwrap(), MEASURE, Vec::new());
    assert!(
        summary
            .policies
            .iter()
            .all(|policy| policy.violated_requests_percent == 0.0 && policy.theta_u.is_finite())
    );
}

#[test]
fn policies_are_compared_with_one_that_needs_no_replicas() {
    let capacity = CapacityRule::Given(Capacity::per_second(50.0).unwrap());
    let setting = Setting { capacity, bounds: Bounds { min: 0, max: 9 }, ..setting() };
    let named = |name: &str| all().into_iter().find(|candidate| candidate.name == name).unwrap();
    let hour: String = (0..61).map(|minute| format!("{},0\n", minute * 60)).collect();
    let findings = compared(&hour, &setting, &[named("surge"), named("hpa")]).unwrap();
    let verdict = Summary::of(&findings, MEASURE, Vec::new()).verdict;
    assert!(verdict.starts_with("surge is best"), "{verdict}");
    assert!(
        verdict.ends_with("at 0 replica-hours; the next that meets it, hpa, needs 1 replica-hours."),
        "{verdict}"
    );
}

#[test]
fn too_many_ticks_for_percentiles_need_a_given_capacity_and_are_streamed() {
    // Eight months of a row each, in ticks of a second.
    let rows: String = (0..8).map(|month| format!("{},1000\n", month * 30 * 86_400)).collect();
    let (_folder, path) = file(&rows);
    let months = study::Recording { interval: Some(Duration::from_hours(24)), ..recording(&path) };
    let seconds = Setting { tick: Duration::from_secs(1), ..setting() };
    let refused = compare(&months, &seconds, &[], &mut |_| {}).expect_err("they are too many");
    assert!(refused.to_string().contains("give --capacity"), "{refused}");
    let given = Setting { capacity: CapacityRule::Given(Capacity::per_second(10.0).unwrap()), ..seconds };
    assert_eq!(compare(&months, &given, &[], &mut |_| {}).unwrap().extent.ticks, (7 * 30 + 1) * 86_400);
}

#[test]
fn progress_is_reported_up_to_the_end() {
    let (_folder, path) = file(&evenings());
    let mut reported = Vec::new();
    compare(&recording(&path), &setting(), &all()[..1], &mut |progress| reported.push(progress)).unwrap();
    assert_eq!(reported.first(), Some(&Progress::Reading(0)));
    assert!(
        matches!(reported.last(), Some(Progress::Simulating(done, 17_280)) if *done > 12_000),
        "{reported:?}"
    );
}

#[test]
fn the_lower_bound_of_a_learned_capacity_is_simulated_as_well() {
    let capacity = |least: f64| CapacityRule::Learned {
        rate: Capacity::per_second(10.0).unwrap(),
        least: Capacity::per_second(least).unwrap(),
    };
    let rows: String = (0..600).map(|n| format!("{},{}\n", n * 60, 3000)).collect();
    let slo: Vec<Candidate> = all().into_iter().filter(|candidate| candidate.name == "oracle-lean").collect();
    let summary = |least| {
        let findings = compared(&rows, &Setting { capacity: capacity(least), ..setting() }, &slo).unwrap();
        Summary::of(&findings, MEASURE, Vec::new())
    };
    let violated = |least| {
        let policy = summary(least).policies[0].clone();
        (policy.violated_requests_percent, policy.violated_requests_at_least_percent)
    };
    assert_eq!(summary(10.0).capacity, 10.0, "what is believed is what is planned with");
    assert_eq!(violated(10.0), (0.0, Some(0.0)));
    let (believed, certain) = violated(8.0);
    assert!(believed == 0.0 && certain > Some(90.0), "six of eight carry 48 of 50: {certain:?}");
    let given = Setting { capacity: CapacityRule::Given(Capacity::per_second(10.0).unwrap()), ..setting() };
    let findings = compared(&rows, &given, &slo).unwrap();
    assert_eq!(findings.results[0].at_least, None);
}
