use std::sync::Arc;

use knowledge::{Knowledge, Place};
use model::fact::Fact;
use model::histogram::Width;
use model::identity::{Generation, Incarnation, Ordinal, ReplicaId};
use model::input::{Declared, Throttling, Usage};
use model::memory::LOSSES_MAX;
use model::plan::Role;
use model::quantity::{Bytes, MilliCpu};
use model::resource::{ForecastMode, Quantity, Recover, ScalePolicy, Service, Span};
use model::time::Now;
use serde_json::{Value, json};

use super::*;
use crate::scale::stabilize::Direction;

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

/// A run of an hour, beginning at this hour.
fn hour(from: u64, desired: u32, proposals: [Option<u32>; 2]) -> DecisionRun {
    let wall = |hour: u64| Wall::from_millis(hour * HOUR_MS);
    let lowest_proposal =
        proposals.into_iter().collect::<Option<Vec<u32>>>().and_then(|each| each.into_iter().max());
    DecisionRun {
        from: wall(from),
        to: wall(from + 1),
        count: 3600,
        previous: desired,
        desired,
        proposals: proposals.into(),
        lowest_proposal,
        ratios: Vec::new(),
    }
}

fn advised(service: &ServiceState, past: &[DecisionRun]) -> Vec<Advice> {
    advice(Time::from_millis(100 * HOUR_MS), service, past, &Settings::default())
}

#[test]
fn a_maximum_that_is_too_low_lacks_the_replicas_proposed_beyond_it() {
    let mut past: Vec<DecisionRun> = (0..24).map(|at| hour(at, 4, [Some(4), Some(2)])).collect();
    past[3] = hour(3, 10, [Some(14), Some(12)]);
    past[4] = hour(4, 10, [Some(11), Some(12)]);
    let mut service = scaled(2, 10);
    let found = advised(&service, &past);
    let [Advice { kind: Kind::MaxReached, benefit, remedy, note }] = &found[..] else { panic!("{found:?}") };
    assert_eq!(
        (*benefit, *remedy),
        (Benefit::LackedReplicaHours(6.0), Remedy::Max(14)),
        "4 and 2 in an hour each"
    );
    assert!(note.contains("for 2.0 h") && note.contains("the maximum of 10 replicas"), "{note}");

    let declared = Arc::make_mut(service.declared.as_mut().expect("it is declared"));
    remedy.apply(&mut declared.spec);
    assert_eq!(declared.spec.scale.bounds().max, 14);
    assert_eq!(advised(&service, &past), [], "what was advised is declared");
}

#[test]
fn a_minimum_that_is_never_left_and_never_proposed_is_waste() {
    let past: Vec<DecisionRun> =
        (0..48).map(|at| hour(at, 5, [Some(1 + (at % 3) as u32), Some(1)])).collect();
    let found = advised(&scaled(5, 9), &past);
    assert_eq!(found[0].kind, Kind::MinNeverLeft);
    assert_eq!((found[0].benefit, found[0].remedy), (Benefit::SparedReplicaHours(96.0), Remedy::Min(3)));
}

#[test]
fn a_minimum_that_was_left_once_or_not_measured_once_is_not_waste() {
    let mut past: Vec<DecisionRun> = (0..48).map(|at| hour(at, 5, [Some(2), Some(2)])).collect();
    past[7] = hour(7, 6, [Some(6), Some(2)]);
    assert_eq!(advised(&scaled(5, 9), &past), []);
    past[7] = hour(7, 5, [None, Some(2)]);
    assert_eq!(advised(&scaled(5, 9), &past), []);
}

#[test]
fn an_hour_of_history_gives_no_advice() {
    assert_eq!(advised(&scaled(5, 9), &[hour(0, 5, [Some(1), Some(1)])]), []);
    assert_eq!(advised(&scaled(5, 9), &[]), []);
}

#[test]
fn a_metric_that_never_decides_is_distinguished_from_one_that_is_never_measured() {
    let kinds = |proposals: fn(u64) -> [Option<u32>; 2]| -> Vec<(Kind, Remedy)> {
        let past: Vec<DecisionRun> = (0..30).map(|at| hour(at, 3 + (at % 2) as u32, proposals(at))).collect();
        // The size changes each hour, which is too slow for a flap.
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
fn replicas_that_are_added_back_at_once_need_not_have_been_removed() {
    let minute = |at: u64, desired: u32| DecisionRun {
        from: Wall::from_millis(at * 60_000),
        to: Wall::from_millis((at + 1) * 60_000),
        count: 60,
        previous: desired,
        desired,
        proposals: vec![Some(desired), Some(desired)],
        lowest_proposal: Some(desired),
        ratios: Vec::new(),
    };
    // Twelve times a day, three of five replicas are removed for five minutes.
    let flapping = (0..24 * 60).map(|at| minute(at, if at % 120 < 5 { 2 } else { 5 })).collect::<Vec<_>>();
    let found = advised(&scaled(1, 9), &flapping);
    let [Advice { kind: Kind::Flapping, benefit: Benefit::SparedStarts(starts), .. }] = found[..] else {
        panic!("{found:?}")
    };
    assert_eq!(starts, 3 * 11, "the history begins with few replicas");
    // When they are away for twenty minutes, the load has changed.
    let slow = (0..24 * 60).map(|at| minute(at, if at % 120 < 20 { 2 } else { 5 })).collect::<Vec<_>>();
    assert_eq!(advised(&scaled(1, 9), &slow), []);
}

/// Days in which at the end of each hour `more` replicas are added to two because a metric proposes them.
fn hourly(days: u64, more: u32) -> Vec<DecisionRun> {
    let of = |at: u64| {
        let (low, high) = (hour(at, 2, [Some(2), Some(1)]), hour(at, 2 + more, [Some(2 + more), Some(1)]));
        let end = Wall::from_millis((at + 1) * HOUR_MS - 600_000);
        let low = DecisionRun { to: end, count: 3000, previous: 2 + more, ..low };
        [low, DecisionRun { from: end, count: 600, previous: 2, ..high }]
    };
    (0..24 * days).flat_map(of).collect()
}

/// The service, of which each start took so many seconds.
fn starting(mut service: ServiceState, seconds: u64) -> ServiceState {
    service.starts.took = vec![Duration::from_secs(seconds); 5];
    service
}

fn kinds(found: &[Advice]) -> Vec<(Kind, Remedy)> {
    found.iter().map(|advice| (advice.kind, advice.remedy)).collect()
}

#[test]
fn slow_starts_that_the_load_often_waited_for_are_reported_with_a_forecast_as_remedy() {
    let found = advised(&starting(scaled(1, 9), 30), &hourly(2, 4));
    let [late, flapping @ ..] = &found[..] else { panic!("{found:?}") };
    assert!(flapping.iter().all(|advice| advice.kind != Kind::SlowStarts), "{found:?}");
    assert_eq!((late.kind, late.remedy), (Kind::SlowStarts, Remedy::Forecast));
    let Benefit::LackedReplicaHours(hours) = late.benefit else { panic!("{late:?}") };
    assert!((hours - 48.0 * 4.0 * 30.0 / 3600.0).abs() < 1e-9, "four in each hour, for 30 s each: {hours}");
    assert!(late.note.contains("48 times, 30 s each time"), "{}", late.note);
    let mut service = starting(scaled(1, 9), 30);
    let declared = Arc::make_mut(service.declared.as_mut().expect("it is declared"));
    late.remedy.apply(&mut declared.spec);
    assert_eq!(declared.forecasting().map(|rule| rule.mode), Some(ForecastMode::On));

    let mut warming = starting(scaled(1, 9), 20);
    warming.starts.warmups = vec![Duration::from_secs(10)];
    assert_eq!(
        advised(&warming, &hourly(2, 4))[0].benefit,
        late.benefit,
        "warming up counts as waiting, too"
    );
}

#[test]
fn starts_that_are_quick_rare_or_not_proposed_by_a_metric_are_not_reported() {
    let late = |service: &ServiceState, past: &[DecisionRun]| {
        advised(service, past).iter().filter(|advice| advice.kind == Kind::SlowStarts).count()
    };
    assert_eq!(late(&starting(scaled(1, 9), 30), &hourly(2, 4)), 1);
    assert_eq!(late(&starting(scaled(1, 9), 9), &hourly(2, 4)), 0, "quick");
    assert_eq!(late(&starting(scaled(1, 9), 12), &hourly(2, 1)), 0, "five minutes in a day");
    assert_eq!(late(&scaled(1, 9), &hourly(2, 4)), 0, "not known");
    let mut two = starting(scaled(1, 9), 30);
    two.starts.took.truncate(2);
    assert_eq!(late(&two, &hourly(2, 4)), 0, "hardly known");
    // A forecast or a person wanted them, not the metrics.
    let early: Vec<DecisionRun> =
        hourly(2, 4).into_iter().map(|it| DecisionRun { proposals: vec![Some(2), Some(1)], ..it }).collect();
    assert_eq!(late(&starting(scaled(1, 9), 30), &early), 0);
}

#[test]
fn where_a_forecast_is_on_already_the_remedy_is_a_higher_minimum() {
    let foreseeing = |min| {
        let mut service = starting(scaled(min, 9), 30);
        let declared = Arc::make_mut(service.declared.as_mut().expect("it is declared"));
        Remedy::Forecast.apply(&mut declared.spec);
        service
    };
    let found = advised(&foreseeing(2), &hourly(2, 4));
    assert_eq!((found[0].kind, found[0].remedy), (Kind::SlowStarts, Remedy::Min(6)));
    assert!(
        found[0].note.contains("a minimum of 6 would have cost 160.0 replica-hours"),
        "{}",
        found[0].note
    );
    let found = advised(&foreseeing(1), &hourly(2, 4));
    assert!(
        found.iter().all(|advice| advice.kind != Kind::SlowStarts),
        "the rises did not begin from the minimum"
    );
}

#[test]
fn probes_with_a_long_interval_make_starts_longer() {
    let probed = |every: &str, start| {
        let mut service = starting(scaled(1, 9), start);
        let readiness = json!({"readiness": {"http": {"path": "/"}, "every": every}});
        Arc::make_mut(service.declared.as_mut().expect("it is declared")).spec.probes =
            serde_json::from_value(readiness).expect("they are probes");
        service
    };
    let slow = probed("15s", 40);
    let found = advised(&slow, &hourly(2, 4));
    let probe = found.iter().find(|advice| advice.kind == Kind::SlowProbe).expect("seven of forty seconds");
    let Benefit::LackedReplicaHours(hours) = probe.benefit else { panic!("{probe:?}") };
    assert!((hours - 48.0 * 4.0 * 7.0 / 3600.0).abs() < 1e-9, "{hours}");
    let mut spec = slow.declared.expect("it is declared").spec.clone();
    probe.remedy.apply(&mut spec);
    let readiness = spec.probes.readiness.expect("it is there");
    assert_eq!((readiness.every, readiness.failures.get()), (Span::from_secs(1), 45), "as patient as before");
    for (every, start) in [("1s", 40), ("15s", 90)] {
        let found = advised(&probed(every, start), &hourly(2, 4));
        assert!(found.iter().all(|advice| advice.kind != Kind::SlowProbe), "{every} of {start} s: {found:?}");
    }
}

/// A service with at least five replicas each night from two to four.
fn scheduled() -> ServiceState {
    let mut service = scaled(1, 9);
    let nights = json!([{"cron": "0 2 * * *", "duration": "2h", "min": 5}]);
    Arc::make_mut(service.declared.as_mut().expect("it is declared")).spec.scale.schedule =
        serde_json::from_value(nights).expect("it is a schedule");
    service
}

/// Hours of which the third and the fourth of each day propose `night` replicas, and the others two; as the third begins, one decision uses no
/// metric.
fn nights(days: u64, night: u32) -> Vec<DecisionRun> {
    let of = |at: u64| {
        let proposal = if (2..4).contains(&(at % 24)) { night } else { 2 };
        hour(at, proposal, [Some(proposal), Some(1)])
    };
    let followed = |day: u64| {
        let at = Wall::from_millis((24 * day + 2) * HOUR_MS + 1);
        DecisionRun {
            from: at,
            to: at,
            count: 1,
            proposals: Vec::new(),
            lowest_proposal: None,
            ..hour(24 * day + 2, 5, [None, None])
        }
    };
    (0..24 * days).map(of).chain((0..days).map(followed)).collect()
}

#[test]
fn a_floor_above_all_proposals_is_waste_and_one_below_all_of_them_is_idle() {
    let found = advised(&scheduled(), &nights(4, 3));
    assert_eq!(kinds(&found), [(Kind::ScheduleOverAsked, Remedy::ScheduleMin(0, Some(3)))]);
    let Benefit::SparedReplicaHours(hours) = found[0].benefit else { panic!("{found:?}") };
    assert!((hours - 2.0 * 8.0).abs() < 0.1, "two less for two hours of four nights: {hours}");
    assert_eq!(
        kinds(&advised(&scheduled(), &nights(4, 1))),
        [(Kind::ScheduleOverAsked, Remedy::ScheduleMin(0, None))]
    );
    let idle = advised(&scheduled(), &nights(4, 6));
    assert_eq!(kinds(&idle), [(Kind::ScheduleNeverDecided, Remedy::ScheduleMin(0, None))]);
    let mut spec = scheduled().declared.expect("it is declared").spec.clone();
    idle[0].remedy.apply(&mut spec);
    assert_eq!(spec.scale.schedule, [], "a schedule without a floor sets nothing");
}

#[test]
fn a_floor_that_was_once_ahead_of_the_load_is_neither() {
    let mut past = nights(4, 6);
    past[26] = hour(26, 5, [Some(2), Some(1)]);
    assert_eq!(
        advised(&scheduled(), &past),
        [],
        "in the first hour of one night the floor was above the proposals"
    );
    assert_eq!(advised(&scheduled(), &nights(2, 3)), [], "two nights are too few");
}

/// A service that adds one replica from 10 on and four from 50 on, and removes one below 5.
fn stepped() -> ServiceState {
    let queue = json!({"type": "External", "external": {"metric": {"name": "queue"}, "target": {"type": "Value", "value": 1}}});
    service(&json!({
        "run": {"command": ["worker"]},
        "scale": {"min": 1, "max": 20, "metrics": [queue], "policy": {"step": {
            "above": [{"from": "10", "to": "50", "replicas": 1}, {"from": "50", "replicas": 4}],
            "below": [{"to": "5", "replicas": 1}],
        }}},
    }))
}

#[test]
fn a_step_that_was_never_taken_while_others_were_is_idle() {
    let week = |more: u32| -> Vec<DecisionRun> {
        let moved = |at: u64| {
            let (previous, desired) = if at.is_multiple_of(24) { (2, 3) } else { (3, 3) };
            DecisionRun { previous, ..hour(at, desired, [Some(desired), None]) }
        };
        let mut past: Vec<DecisionRun> = (0..24 * 8).map(moved).collect();
        past[50].previous = 7 - more;
        past[50].desired = 7;
        past
    };
    let found = advised(&stepped(), &week(1));
    assert_eq!(kinds(&found), [(Kind::StepNeverTaken, Remedy::WithoutStep(Direction::Out))]);
    let mut spec = stepped().declared.expect("it is declared").spec.clone();
    found[0].remedy.apply(&mut spec);
    let Count::Auto(auto) = &spec.scale.count else { panic!("it is scaled") };
    let ScalePolicy::Step(policy) = &auto.policy else { panic!("by steps") };
    assert_eq!((policy.above.len(), policy.above[0].to), (1, None), "the one below it has no end now");
    assert_eq!(advised(&stepped(), &week(4)), [], "it was taken");
    assert_eq!(advised(&stepped(), &week(2)), [], "a limit was between: which one was taken is not known");
    assert_eq!(advised(&stepped(), &week(1)[..140]), [], "not a week");
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
fn resources_that_are_declared_and_not_used_can_be_saved() {
    let found = advised(&learned(100, 40 << 20), &[]);
    let [cpu, memory] = &found[..] else { panic!("{found:?}") };
    let Benefit::SparedCores(cores) = cpu.benefit else { panic!("{cpu:?}") };
    assert!((2.5..2.7).contains(&cores), "of 3 cores some 0.36 are used: {cpu:?}");
    assert_eq!((cpu.kind, memory.kind), (Kind::CpuOverAsked, Kind::MemoryOverAsked));
    let Remedy::Memory(amount) = memory.remedy else { panic!("{memory:?}") };
    assert!(amount.to_string().ends_with("Mi"), "{amount}");
    assert_eq!(advised(&learned(800, 200 << 20), &[]), [], "an amount within the bounds needs no advice");
}

#[test]
fn a_replica_that_uses_all_the_processor_that_it_may_is_a_bottleneck() {
    // As much as its quota allows.
    let found = advised(&learned(1000, 200 << 20), &[]);
    let [
        Advice {
            kind: Kind::CpuTight, benefit: Benefit::LackedCores(cores), remedy: Remedy::Cpu(more), ..
        },
    ] = found[..]
    else {
        panic!("{found:?}")
    };
    assert!(
        (0.3..0.7).contains(&cores) && more.milli() > 1090,
        "a tenth to a fifth of three cores: {found:?}"
    );
    assert_eq!(advised(&learned(900, 200 << 20), &[]), [], "nine tenths leave something");
}

#[test]
fn memory_that_is_too_small_is_a_bottleneck() {
    let found = advised(&learned(800, 250 << 20), &[]);
    let [Advice { kind: Kind::MemoryTight, benefit: Benefit::LackedMemory(lacked), .. }] = found[..] else {
        panic!("{found:?}")
    };
    assert!(lacked > Bytes(3 << 20), "{lacked:?}");
}

#[test]
fn there_is_no_advice_on_a_service_that_is_not_declared() {
    let mut service = learned(100, 40 << 20);
    service.declared = None;
    assert_eq!(advised(&service, &[]), []);
}

/// A service whose three replicas were throttled for two hours in this many thousandths of the periods in one minute of ten, and in no other.
fn throttled(thousandths: u64) -> ServiceState {
    let mut service = learned(100, 200 << 20);
    service.throttling.limit = MilliCpu(1000);
    let at = Time::from_millis(90 * HOUR_MS);
    let counted = Throttling { windows: 600, throttled: 0, waited: Duration::ZERO };
    let usage = Usage {
        replica: ReplicaId { service: service.name.clone(), ordinal: Ordinal(0) },
        incarnation: Incarnation(1),
        cpu_time: Duration::ZERO,
        memory: Bytes(0),
        throttling: Some(counted),
    };
    service.places.insert(Ordinal(0), Place::empty(Role::Active, at));
    let (mut knowledge, mut events) = (Knowledge::default(), Vec::new());
    service.clone_into(knowledge.service_or_new(&service.name));
    knowledge.fold(Now { time: at, wall: Wall::from_millis(0) }, &Fact::Usage(&usage), &mut events);
    let mut service = knowledge.services().next().expect("it is there").clone();
    for minute in 0..120 {
        service.throttling.shares.add(at, if minute % 10 == 0 { thousandths } else { 0 }, Width(10));
        service.throttling.minutes += 1;
    }
    service
}

#[test]
fn a_limit_that_throttles_replicas_is_too_tight_however_little_they_use() {
    let found = advised(&throttled(320), &[]);
    let [Advice { kind: Kind::CpuThrottled, note, benefit: Benefit::LackedCores(cores), remedy }] =
        &found[..]
    else {
        panic!("{found:?}")
    };
    let Remedy::Cpu(more) = remedy else { panic!("{remedy:?}") };
    assert!((1470..1530).contains(&more.milli()), "in each third period it was throttled: {more}");
    assert!((1.4..1.6).contains(cores), "for three replicas: {cores}");
    assert!(note.contains("its 1 of the processor in 3"), "{note}");
    assert_eq!(kinds(&advised(&throttled(900), &[]))[0].1, Remedy::Cpu(Quantity::from_milli(2000)));

    let found = advised(&throttled(200), &[]);
    let [Advice { kind: Kind::CpuOverAsked, .. }] = &found[..] else {
        panic!("a fifth is not much: {found:?}")
    };
}

#[test]
fn throttling_is_reported_after_an_hour_of_one_replica_and_where_the_limit_still_holds() {
    let kind = |service: &ServiceState| advised(service, &[])[0].kind;
    let mut soon = throttled(500);
    soon.throttling.minutes = 59;
    let mut shared = throttled(500);
    shared.places.clear();
    let mut changed = throttled(500);
    changed.throttling.limit = MilliCpu(500);
    for service in [soon, shared, changed] {
        assert_eq!(kind(&service), Kind::CpuOverAsked);
    }
}

/// A service whose starts take 30 s, and that has lost a replica so many times, so many seconds apart, in so many days.
fn losing(recover: &Value, days: u64, times: usize, apart: u64) -> ServiceState {
    let spec = json!({"run": {"command": ["shop"]}, "scale": {"replicas": 3}, "recover": recover});
    let mut service = starting(service(&spec), 30);
    service.losses.since = Some(Time::from_millis((100 - 24 * days) * HOUR_MS));
    let first = Time::from_millis(99 * HOUR_MS);
    service.losses.at = (0..times as u64).map(|nth| first + Duration::from_secs(nth * apart)).collect();
    service
}

#[test]
fn a_spare_would_have_covered_losses_whose_replacements_took_long() {
    let alone = json!({"strategy": "reschedule"});
    let found = advised(&losing(&alone, 2, 50, 60), &[]);
    let [Advice { kind: Kind::NoSpare, note, benefit: Benefit::LackedReplicaHours(hours), remedy }] =
        &found[..]
    else {
        panic!("{found:?}")
    };
    assert!((hours - 50.0 * 30.0 / 3600.0).abs() < 1e-9, "{hours}");
    assert!(note.contains("50 times in 2.0 days") && note.contains("cost 48.0 replica-hours"), "{note}");
    assert_eq!(*remedy, Remedy::Recover(Recover::Standby { spares: 1 }));
    let mut spec = losing(&alone, 2, 50, 60).declared.expect("it is declared").spec.clone();
    remedy.apply(&mut spec);
    assert_eq!(spec.recover, Recover::Standby { spares: 1 });

    assert_eq!(advised(&losing(&alone, 2, 30, 60), &[]), [], "fifteen minutes in two days");
    assert_eq!(advised(&losing(&alone, 2, 50, 10), &[]), [], "a spare would not have started until the next");
    assert_eq!(
        advised(&starting(losing(&alone, 2, 50, 60), 5), &[]),
        [],
        "a start of five seconds is not slow"
    );
}

#[test]
fn spares_that_no_loss_needed_for_a_week_are_waste() {
    let two = json!({"strategy": "standby", "spares": 2});
    let found = advised(&losing(&two, 4, 0, 0), &[]);
    assert_eq!(found, [], "not a week");
    for (times, apart, left, spared) in
        [(0, 0, Recover::Reschedule, 2.0), (5, 600, Recover::Standby { spares: 1 }, 1.0)]
    {
        let mut service = losing(&two, 4, times, apart);
        let now = Time::from_millis(200 * HOUR_MS);
        service.losses.since = Some(Time::from_millis(20 * HOUR_MS));
        let found = advice(now, &service, &[], &Settings::default());
        assert_eq!(kinds(&found), [(Kind::SpareNeverUsed, Remedy::Recover(left))]);
        assert_eq!(found[0].benefit, Benefit::SparedReplicaHours(spared * 180.0));
    }
    let mut service = losing(&two, 4, 5, 20);
    service.losses.since = Some(Time::ZERO);
    assert_eq!(
        advice(Time::from_millis(200 * HOUR_MS), &service, &[], &Settings::default()),
        [],
        "three at once"
    );
    service.losses.at = vec![Time::from_millis(199 * HOUR_MS); LOSSES_MAX];
    service.declared = losing(&json!({"strategy": "standby", "spares": 100}), 4, 0, 0).declared;
    let found = advice(Time::from_millis(200 * HOUR_MS), &service, &[], &Settings::default());
    assert_eq!(found, [], "older losses may have been forgotten");
}

/// A service that adds replicas above 60 and removes some below `low`.
fn marked(low: u32) -> ServiceState {
    let queue = json!({"type": "External", "external": {"metric": {"name": "queue"}, "target": {"type": "AverageValue", "averageValue": 10}}});
    service(&json!({
        "run": {"command": ["worker"]},
        "scale": {"min": 1, "max": 20, "metrics": [queue], "policy": {"watermarks": {"high": 60, "low": low}}},
    }))
}

/// Eight days of ten replicas, each of which carried as much as from `least` to `most`.
fn carried(least: f64, most: f64) -> Vec<DecisionRun> {
    let of = |at: u64| DecisionRun {
        proposals: vec![Some(10)],
        ratios: vec![Some((least / 10.0, most / 10.0))],
        ..hour(at, 10, [Some(10), None])
    };
    (0..8 * 24).map(of).collect()
}

#[test]
fn a_low_watermark_that_was_never_reached_while_fewer_replicas_were_enough_is_too_low() {
    let found = advised(&marked(5), &carried(10.0, 11.0));
    let [Advice { kind: Kind::LowNeverReached, note, benefit, remedy }] = &found[..] else {
        panic!("{found:?}")
    };
    assert_eq!(*remedy, Remedy::LowWatermark(Quantity::from_milli(30_000)));
    assert_eq!(
        *benefit,
        Benefit::SparedReplicaHours(6.0 * 192.0),
        "110 in parts of 30 is 4, and there were ten"
    );
    assert!(note.starts_with("queue was never below") && note.contains("although 2 of "), "{note}");
    let mut spec = marked(5).declared.expect("it is declared").spec.clone();
    remedy.apply(&mut spec);
    assert_eq!(spec.scale, marked(30).declared.expect("it is declared").spec.scale);
    assert_eq!(advised(&marked(30), &carried(31.0, 32.0)), [], "what was advised is declared");

    let found = advised(&marked(5), &carried(20.0, 60.0));
    let [Advice { kind: Kind::LowNeverReached, benefit, .. }] = found[..] else { panic!("{found:?}") };
    assert_eq!(benefit, Benefit::Unknown, "for how long it was low is not known");
}

#[test]
fn a_low_watermark_that_worked_or_could_remove_nothing_needs_no_advice() {
    let (low, busy) = (carried(4.0, 50.0), carried(35.0, 60.0));
    assert_eq!(advised(&marked(5), &low), [], "it was below it once");
    assert_eq!(advised(&marked(5), &busy), [], "more than half of the high one");
    assert_eq!(advised(&marked(5), &carried(10.0, 11.0)[..150]), [], "not a week");
    let mut removed = carried(10.0, 11.0);
    removed[7].previous = 11;
    assert_eq!(advised(&marked(5), &removed), [], "it has removed some");
}
