//! Settings that are searched for, and when they are proposed.

use fluid::{Capacity, Score, Share};
use model::resource::{Bounds, Resource};
use study::{CapacityRule, Measure, SearchGoal, Setting, Tuning, TuningResult, tune};

use crate::comparing::{MEASURE, setting};
use crate::declaring::service;
use crate::recording::{file, recording};

const TUNING: Tuning = Tuning { goal: SearchGoal::Settings, runs_max: 50, seed: 1, searched: 0.67 };

fn shop(min: u32, target: &str) -> Resource {
    let metric = serde_json::json!({"metric": {"name": "http_requests_per_second"}, "target": {"type": "AverageValue", "averageValue": target}});
    service(
        "shop",
        &serde_json::json!({"min": min, "max": 60, "metrics": [{"type": "Pods", "pods": metric}]}),
    )
}

fn tuned_by(resource: &Resource, load: impl Fn(u32) -> u32, tuning: Tuning) -> TuningResult {
    let rows: String = (0..3 * 1440).map(|n| format!("{},{}\n", n * 60, 60 * load(n))).collect();
    let (_folder, path) = file(&rows);
    let setting = Setting {
        capacity: CapacityRule::Given(Capacity::per_second(20.0).unwrap()),
        target: Share::of(0.7).unwrap(),
        bounds: Bounds { min: 1, max: 60 },
        ..setting()
    };
    let on = (&setting, Measure { objective: setting.objective, ..MEASURE });
    tune(&recording(&path), on, (std::slice::from_ref(resource), "shop"), tuning, &mut |_| {}).unwrap()
}

/// Slow days.
fn tides(minute: u32) -> u32 {
    let day = f64::from(minute % 1440) / 1440.0 * std::f64::consts::TAU;
    (200.0 + 150.0 * day.sin()) as u32
}

/// Calm for two days; then an evening rush that comes within a minute.
fn rush_after_two_days(minute: u32) -> u32 {
    if minute >= 2 * 1440 && (1200..1230).contains(&(minute % 1440)) { 700 } else { 120 }
}

#[test]
fn waste_is_found_and_confirmed_on_the_held_out_part() {
    let wasteful = shop(30, "6");
    let tuned = tuned_by(&wasteful, tides, TUNING);
    let after = tuned.after.as_ref().expect("there is waste");
    assert!(after.held_out.replica_hours() < 0.6 * tuned.before.held_out.replica_hours(), "{tuned:?}");
    assert!(after.held_out.violated_requests_percent() <= 0.1);
    let resources = tuned.resources.as_ref().expect("it is better on the rest, too");
    assert!(resources.len() == 1 && resources[0] != wasteful);
    assert!(tuned.verdict(MEASURE).contains("fewer replica-hours"), "{}", tuned.verdict(MEASURE));
    assert!(tuned.notes().iter().any(|note| note.contains("3.0 days are a short history")));
    assert!(tuned.runs <= 50 + 12);
    let again = tuned_by(&wasteful, tides, TUNING);
    assert_eq!(
        (&again.resources, &again.after),
        (&tuned.resources, &tuned.after),
        "the same seed finds the same"
    );
}

#[test]
fn settings_that_fit_only_the_searched_part_are_not_proposed() {
    let tuned = tuned_by(&shop(40, "14"), rush_after_two_days, TUNING);
    let after = tuned.after.as_ref().expect("in calm days forty are too many");
    assert!(after.searched.replica_hours() < tuned.before.searched.replica_hours());
    let violated = Score::violated_requests_percent;
    assert!(violated(&after.held_out) > violated(&tuned.before.held_out), "{tuned:?}");
    assert_eq!(tuned.resources, None);
    assert!(tuned.verdict(MEASURE).starts_with("Nothing is proposed: "), "{}", tuned.verdict(MEASURE));
}

/// The same service behind the proxy, which sees what is asked of it.
fn exposed(service: Resource) -> Resource {
    let mut manifest = serde_json::to_value(service).expect("it is written as it was read");
    manifest["spec"]["ports"] = serde_json::json!([{"name": "http"}]);
    manifest["spec"]["expose"] = serde_json::json!({"listen": "127.0.0.1:80", "port": "http"});
    serde_json::from_value(manifest).expect("it is a service")
}

/// A shop that is sized by its SLO, of which a replica carries twenty requests a second; what is learned of it in two days.
fn taught_by(load: impl Fn(u32) -> u32) -> TuningResult {
    let slo = serde_json::json!({"latency": {"quantile": 0.95, "below": "250ms"}});
    let shop = exposed(service("shop", &serde_json::json!({"min": 1, "max": 60, "slo": slo})));
    let rows: String = (0..2 * 1440).map(|n| format!("{},{}\n", n * 60, 60 * load(n))).collect();
    let (_folder, path) = file(&rows);
    let capacity = CapacityRule::Given(Capacity::per_second(20.0).unwrap());
    let setting = Setting { capacity, bounds: Bounds { min: 1, max: 60 }, ..setting() };
    let tuning = Tuning { goal: SearchGoal::Policy, runs_max: 17, ..TUNING };
    let on = (&setting, Measure { objective: setting.objective, ..MEASURE });
    tune(&recording(&path), on, (&[shop], "shop"), tuning, &mut |_| {}).unwrap()
}

/// Even but for two minutes of each hour, in which two fifths more come: a forecast knows them, and SLO-first stands by for them at any time in its first two days. The first of them come
/// while three tenths are kept free, so that the SLO is never violated, after which what was learned would not count for a day.
fn jobs(minute: u32) -> u32 {
    if (10..12).contains(&(minute % 60)) { 280 } else { 200 }
}

#[test]
fn a_learned_policy_relies_on_the_forecast_and_is_confirmed_on_the_held_out_part() {
    let tuned = taught_by(jobs);
    let after = tuned.after.as_ref().expect("most of the time fewer are enough");
    assert!(after.held_out.replica_hours() < 0.99 * tuned.before.held_out.replica_hours(), "{tuned:?}");
    let violated = Score::violated_requests_percent;
    assert!(violated(&after.held_out) <= violated(&tuned.before.held_out).max(0.1), "{tuned:?}");
    let resources = tuned.resources.as_ref().expect("it is better on the rest, too");
    let learned = serde_json::to_value(&resources[0]).unwrap()["spec"]["scale"]["slo"]["learned"].clone();
    assert_eq!(learned["version"], 1);
    let (from, to) = (learned["level"]["from"].as_f64(), learned["level"]["to"].as_f64());
    assert!(from >= Some(9.0) && from <= to && to <= Some(30.0), "{learned}");
    let again = taught_by(jobs);
    assert_eq!(
        (&again.resources, &again.after),
        (&tuned.resources, &tuned.after),
        "the same seed finds the same"
    );
}

#[test]
fn no_learned_policy_is_proposed_if_slo_first_is_good_enough() {
    let tuned = taught_by(|_| 170);
    assert_eq!((&tuned.after, &tuned.resources), (&None, &None));
    let verdict = tuned.verdict(MEASURE);
    assert!(
        verdict.starts_with("Nothing learned is better than what you have, and nothing is proposed: "),
        "{verdict}"
    );
}

#[test]
fn the_verdict_says_that_nothing_better_was_found() {
    let tuned = tuned_by(&shop(1, "17"), |_| 17, TUNING);
    assert_eq!((&tuned.after, &tuned.resources), (&None, &None));
    assert!(tuned.verdict(MEASURE).starts_with("Nothing better was found in "), "{}", tuned.verdict(MEASURE));
}
