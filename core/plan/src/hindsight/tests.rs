use std::sync::Arc;

use model::histogram::Width;
use model::identity::Generation;
use model::input::Declared;
use model::resource::Service;
use serde_json::{Value, json};

use super::*;

const HOUR_MS: u64 = 3_600_000;

fn service(spec: &Value) -> ServiceState {
    let written = json!({"metadata": {"name": "shop"}, "spec": spec});
    let service: Service = serde_json::from_value(written).expect("it is a service");
    let mut state = ServiceState::named(service.name().clone());
    state.declared = Some(Arc::new(Declared {
        name: service.name().clone(),
        revision: Generation(1),
        generation: Generation(1),
        autoscaler: service.autoscaler().expect("it can be one"),
        spec: service.spec,
    }));
    state
}

fn scaled(min: u32, max: u32) -> ServiceState {
    let cpu = json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}});
    let requests = json!({"type": "Pods", "pods": {
        "metric": {"name": "http_requests_per_second"}, "target": {"type": "AverageValue", "averageValue": 30},
    }});
    service(&json!({
        "run": {"command": ["shop"]}, "resources": {"cpu": "1"},
        "scale": {"min": min, "max": max, "metrics": [cpu, requests]},
    }))
}

/// One an hour long, beginning at this hour.
fn hour(from: u64, desired: u32, asked: [Option<u32>; 2]) -> Stretch {
    let wall = |hour: u64| Wall::from_millis(hour * HOUR_MS);
    Stretch { from: wall(from), to: wall(from + 1), count: 3600, desired, asked: asked.into() }
}

fn advised(service: &ServiceState, past: &[Stretch]) -> Vec<Advice> {
    advice(Time::from_millis(100 * HOUR_MS), service, past, &Settings::default())
}

#[test]
fn a_maximum_that_is_too_low_lacks_what_was_asked_beyond_it() {
    let mut past: Vec<Stretch> = (0..24).map(|at| hour(at, 4, [Some(4), Some(2)])).collect();
    past[3] = hour(3, 10, [Some(14), Some(12)]);
    past[4] = hour(4, 10, [Some(11), Some(12)]);
    let mut service = scaled(2, 10);
    let found = advised(&service, &past);
    let [Advice { kind: Kind::MaxReached, worth, remedy, note }] = &found[..] else { panic!("{found:?}") };
    assert_eq!(
        (*worth, *remedy),
        (Worth::LackedReplicaHours(6.0), Remedy::Max(14)),
        "4 and 2 in an hour each"
    );
    assert!(note.contains("for 2.0 h") && note.contains("the 10 replicas"), "{note}");

    let declared = Arc::make_mut(service.declared.as_mut().expect("it is declared"));
    remedy.apply(&mut declared.spec);
    assert_eq!(declared.spec.scale.bounds().max, 14);
    assert_eq!(advised(&service, &past), [], "what was advised is declared");
}

#[test]
fn a_minimum_that_is_never_left_and_never_asked_for_is_waste() {
    let past: Vec<Stretch> = (0..48).map(|at| hour(at, 5, [Some(1 + (at % 3) as u32), Some(1)])).collect();
    let found = advised(&scaled(5, 9), &past);
    assert_eq!(found[0].kind, Kind::MinNeverLeft);
    assert_eq!((found[0].worth, found[0].remedy), (Worth::SparedReplicaHours(96.0), Remedy::Min(3)));
}

#[test]
fn a_number_that_was_left_once_or_not_measured_once_is_none_that_was_never_needed() {
    let mut past: Vec<Stretch> = (0..48).map(|at| hour(at, 5, [Some(2), Some(2)])).collect();
    past[7] = hour(7, 6, [Some(6), Some(2)]);
    assert_eq!(advised(&scaled(5, 9), &past), []);
    past[7] = hour(7, 5, [None, Some(2)]);
    assert_eq!(advised(&scaled(5, 9), &past), []);
}

#[test]
fn an_hour_says_nothing() {
    assert_eq!(advised(&scaled(5, 9), &[hour(0, 5, [Some(1), Some(1)])]), []);
    assert_eq!(advised(&scaled(5, 9), &[]), []);
}

#[test]
fn a_metric_that_never_decides_is_told_from_one_that_is_never_measured() {
    let kinds = |asked: fn(u64) -> [Option<u32>; 2]| -> Vec<(Kind, Remedy)> {
        let past: Vec<Stretch> = (0..30).map(|at| hour(at, 3 + (at % 2) as u32, asked(at))).collect();
        // Its size changes each hour, which is no flap.
        advised(&scaled(1, 9), &past).iter().map(|advice| (advice.kind, advice.remedy)).collect()
    };
    assert_eq!(kinds(|_| [Some(3), Some(2)]), [(Kind::MetricNeverDecided, Remedy::WithoutMetric(1))]);
    assert_eq!(kinds(|_| [Some(3), None]), [(Kind::MetricUnmeasured, Remedy::WithoutMetric(1))]);
    assert_eq!(
        kinds(|at| [Some(3), Some(if at == 9 { 3 } else { 1 })]),
        [],
        "it decided once, with the other"
    );
}

#[test]
fn replicas_that_come_back_at_once_need_not_have_gone() {
    let minute = |at: u64, desired: u32| Stretch {
        from: Wall::from_millis(at * 60_000),
        to: Wall::from_millis((at + 1) * 60_000),
        count: 60,
        desired,
        asked: vec![Some(desired), Some(desired)],
    };
    // Twelve times a day, for five minutes, three of five go.
    let flapping = (0..24 * 60).map(|at| minute(at, if at % 120 < 5 { 2 } else { 5 })).collect::<Vec<_>>();
    let found = advised(&scaled(1, 9), &flapping);
    let [Advice { kind: Kind::Flapping, worth: Worth::SparedStarts(starts), .. }] = found[..] else {
        panic!("{found:?}")
    };
    assert_eq!(starts, 3 * 11, "the first begins with few");
    // For twenty minutes is a change of load.
    let slow = (0..24 * 60).map(|at| minute(at, if at % 120 < 20 { 2 } else { 5 })).collect::<Vec<_>>();
    assert_eq!(advised(&scaled(1, 9), &slow), []);
}

/// A service of three replicas that used this much for two days.
fn learned(cpu: u64, memory: u64) -> ServiceState {
    let mut service = service(&json!({
        "run": {"command": ["shop"]}, "resources": {"cpu": "1", "memory": "256Mi"},
        "scale": {"replicas": 3, "vertical": {"mode": "recommend"}},
    }));
    service.desired = Some(3);
    for minute in 0..2 * 1440 {
        let at = Time::from_millis(50 * HOUR_MS + minute * 60_000);
        service.usage.since.get_or_insert(at);
        service.usage.cpu.add(at, cpu, Width(10));
        service.usage.memory.add(at, memory, Width(10_000_000));
        service.usage.samples += 1;
    }
    service
}

#[test]
fn what_is_declared_and_not_used_is_spared() {
    let found = advised(&learned(100, 40 << 20), &[]);
    let [cpu, memory] = &found[..] else { panic!("{found:?}") };
    let Worth::SparedCores(cores) = cpu.worth else { panic!("{cpu:?}") };
    assert!((2.5..2.7).contains(&cores), "of 3 cores some 0.36 are used: {cpu:?}");
    assert_eq!((cpu.kind, memory.kind), (Kind::CpuOverAsked, Kind::MemoryOverAsked));
    let Remedy::Memory(amount) = memory.remedy else { panic!("{memory:?}") };
    assert!(amount.to_string().ends_with("Mi"), "{amount}");
    assert_eq!(advised(&learned(800, 200 << 20), &[]), [], "an amount within the bounds is right");
}

#[test]
fn memory_that_is_too_small_is_a_bottleneck() {
    let found = advised(&learned(800, 250 << 20), &[]);
    let [Advice { kind: Kind::MemoryTight, worth: Worth::LackedMemory(lacked), .. }] = found[..] else {
        panic!("{found:?}")
    };
    assert!(lacked > Bytes(3 << 20), "{lacked:?}");
}

#[test]
fn nothing_is_said_of_a_service_that_is_not_declared() {
    let mut service = learned(100, 40 << 20);
    service.declared = None;
    assert_eq!(advised(&service, &[]), []);
}
