//! Runs rows by their suites, and has the suites about single functions.

use std::collections::BTreeMap;
use std::time::Duration;

use model::resource::{Behavior, Bounds};
use plan::scale::classify::{Census, SampleClass, Warmup, sample_classes};
use plan::scale::limit::{self, Growth, LimitedBy, rate_in, rate_out};
use plan::scale::log::{change_within, record_change};
use plan::scale::ratio::{MetricTarget, Sums};
use plan::scale::reading::{Milli, Requests, Samples};
use plan::scale::stabilize;
use serde::Deserialize;

use super::calculation::replica_calc;
use super::compare::{compare, read};
use super::pass::reconcile_row;
use super::row::{EventRow, Pod, PodMetric, RecommendationRow, Row, Rules};
use super::situation::condition_reason;
use super::translate::{self, NOW, behavior_of};

/// Runs one row; fails with the difference between its result and the expected one.
pub fn check(row: &Row) -> Result<(), String> {
    match row.suite.as_str() {
        "replica_calc.resource"
        | "replica_calc.pods"
        | "replica_calc.object_value"
        | "replica_calc.object_average"
        | "replica_calc.external_value"
        | "replica_calc.external_average" => replica_calc(row),
        "reconcile" => reconcile_row(row),
        "condition_reason" => condition_reason(row),
        "group_pods" => group_pods(row),
        "pod_requests" => pod_requests(row),
        "utilization_ratio" => utilization_ratio(row),
        "convert_with_rules" => convert_with_rules(row),
        "scale_up_limit" => rate_limit(row, "up"),
        "scale_down_limit" => rate_limit(row, "down"),
        "stabilize_legacy" => stabilize_legacy(row),
        "stabilize_behavior" => stabilize_behavior(row),
        "behavior_rate" => behavior_rate(row),
        "store_scale_events" => store_scale_events(row),
        other => Err(format!("unknown suite {other:?}")),
    }
}

fn group_pods(row: &Row) -> Result<(), String> {
    #[derive(Deserialize)]
    struct Input {
        resource: String,
        cpu_initialization_period_s: u64,
        initial_readiness_delay_s: u64,
        pods: Vec<Pod>,
        metrics: Vec<PodMetric>,
    }
    #[derive(Deserialize, PartialEq, Debug, Default)]
    struct Expected {
        ready_count: u32,
        unready: Vec<String>,
        missing: Vec<String>,
        ignored: Vec<String>,
    }
    let input: Input = read(&row.input)?;
    let warmup = match input.resource.as_str() {
        "cpu" => Warmup::Cpu {
            now: NOW,
            initialization_period: Duration::from_secs(input.cpu_initialization_period_s),
            initial_readiness_delay: Duration::from_secs(input.initial_readiness_delay_s),
            settling: Duration::ZERO,
        },
        _ => Warmup::None,
    };
    let replicas = translate::replicas(&input.pods)?;
    let (by_replica, unmatched) = translate::samples(&input.pods, &input.metrics, None);
    let samples = Samples { by_replica: &by_replica, unmatched, requests: Requests::Unset };
    let mut found = Expected::default();
    let mut census = Census::default();
    for (pod, class) in input.pods.iter().zip(sample_classes(&replicas, &samples, warmup)) {
        census.count(class);
        match class {
            SampleClass::Ignored => found.ignored.push(pod.name.clone()),
            SampleClass::Unready => found.unready.push(pod.name.clone()),
            SampleClass::Missing(_) => found.missing.push(pod.name.clone()),
            // Kubernetes has no such class.
            SampleClass::Unstable | SampleClass::Ready(_) => {}
        }
    }
    found.ready_count = census.ready;
    for names in [&mut found.unready, &mut found.missing, &mut found.ignored] {
        names.sort();
    }
    compare("classes", &read::<Expected>(&row.expected)?, &found)
}

fn pod_requests(row: &Row) -> Result<(), String> {
    #[derive(Deserialize)]
    struct Input {
        resource: String,
        container: Option<String>,
        pod_level_resources_enabled: bool,
        pods: Vec<Pod>,
    }
    #[derive(Deserialize)]
    struct Expected {
        requests_milli: Option<BTreeMap<String, i64>>,
        error: Option<String>,
    }
    let input: Input = read(&row.input)?;
    let expected: Expected = read(&row.expected)?;
    let found = translate::requests(
        &input.pods,
        &input.resource,
        input.container.as_deref(),
        input.pod_level_resources_enabled,
    );
    match found {
        Ok(requests) => {
            let names = input.pods.iter().map(|pod| pod.name.clone());
            let found = names.zip(requests.iter().map(|request| request.0)).collect();
            compare("requests", &expected.requests_milli, &Some(found))
        }
        Err(fault) => compare("error", &expected.error, &Some(fault.to_string())),
    }
}

fn utilization_ratio(row: &Row) -> Result<(), String> {
    #[derive(Deserialize)]
    struct Input {
        metrics: BTreeMap<String, i64>,
        #[serde(default)]
        requests: BTreeMap<String, i64>,
        target_utilization_percent: Option<i64>,
        target: Option<i64>,
    }
    #[derive(Deserialize)]
    struct Expected {
        ratio: Option<f64>,
        utilization_percent: Option<i64>,
        raw_average: Option<i64>,
        average: Option<i64>,
        error: Option<String>,
    }
    let input: Input = read(&row.input)?;
    let expected: Expected = read(&row.expected)?;
    let mut sums = Sums::default();
    let target = match (input.target_utilization_percent, input.target) {
        (Some(percent), _) => MetricTarget::Utilization(percent),
        (None, target) => MetricTarget::Average(Milli(target.ok_or("the row has no target")?)),
    };
    for (pod, used) in &input.metrics {
        match (target, input.requests.get(pod)) {
            (MetricTarget::Utilization(_), Some(request)) => sums.add(Milli(*used), Milli(*request)),
            (MetricTarget::Utilization(_), None) => {}
            (MetricTarget::Average(_), _) => sums.add(Milli(*used), Milli(0)),
        }
    }
    let Some(level) = sums.level(target) else {
        return compare("an error", &true, &expected.error.is_some());
    };
    compare("ratio", &expected.ratio, &Some(level.ratio))?;
    compare("utilization", &expected.utilization_percent, &level.utilization)?;
    compare("average", &expected.raw_average.or(expected.average), &Some(level.average.0))
}

fn convert_with_rules(row: &Row) -> Result<(), String> {
    #[derive(Deserialize)]
    struct Input {
        current_replicas: u32,
        desired_replicas: u32,
        min_replicas: u32,
        max_replicas: u32,
        scale_up_limit_factor: u32,
        scale_up_limit_minimum: u32,
    }
    let input: Input = read(&row.input)?;
    let bounds = Bounds { min: input.min_replicas, max: input.max_replicas };
    let growth = Growth { factor: input.scale_up_limit_factor, at_least: input.scale_up_limit_minimum };
    let found = limit::without_behavior(input.current_replicas, input.desired_replicas, bounds, growth);
    compare_limit(row, found)
}

fn compare_limit(row: &Row, found: limit::Limited) -> Result<(), String> {
    #[derive(Deserialize)]
    struct Expected {
        replicas: u32,
        reason: String,
    }
    let expected: Expected = read(&row.expected)?;
    compare("replicas", &expected.replicas, &found.replicas)?;
    compare("reason", &expected.reason.as_str(), &found.by.map_or("DesiredWithinRange", LimitedBy::reason))
}

fn rate_limit(row: &Row, direction: &str) -> Result<(), String> {
    #[derive(Deserialize)]
    struct Input {
        current_replicas: u32,
        scale_up_events: Vec<EventRow>,
        scale_down_events: Vec<EventRow>,
        rules: Rules,
    }
    #[derive(Deserialize)]
    struct Expected {
        limit: u32,
    }
    let input: Input = read(&row.input)?;
    let memory = translate::memory_of(&input.scale_up_events, &input.scale_down_events);
    let rules = translate::rules(&input.rules, 0, None)?;
    let rate = if direction == "up" { rate_out } else { rate_in };
    let found = rate(&memory, NOW, input.current_replicas, &rules).limit;
    compare("limit", &read::<Expected>(&row.expected)?.limit, &found)
}

fn stabilize_legacy(row: &Row) -> Result<(), String> {
    #[derive(Deserialize)]
    struct Input {
        downscale_stabilization_window_s: u64,
        recommendations: Vec<RecommendationRow>,
        desired_replicas: u32,
    }
    #[derive(Deserialize)]
    struct Expected {
        replicas: u32,
        log_length: usize,
    }
    let input: Input = read(&row.input)?;
    let expected: Expected = read(&row.expected)?;
    let mut log = translate::recommendations(&input.recommendations);
    let window = Duration::from_secs(input.downscale_stabilization_window_s);
    let found = stabilize::without_behavior(&mut log, NOW, input.desired_replicas, window);
    compare("replicas", &expected.replicas, &found.replicas)?;
    compare("slots", &expected.log_length, &log.len())
}

fn stabilize_behavior(row: &Row) -> Result<(), String> {
    #[derive(Deserialize)]
    struct Input {
        scale_up_window_s: u64,
        scale_down_window_s: u64,
        recommendations: Vec<RecommendationRow>,
        current_replicas: u32,
        desired_replicas: u32,
    }
    #[derive(Deserialize)]
    struct Expected {
        replicas: u32,
        recommendation_log: Option<Vec<u32>>,
    }
    let input: Input = read(&row.input)?;
    let expected: Expected = read(&row.expected)?;
    let mut log = translate::recommendations(&input.recommendations);
    let behavior = behavior_of((input.scale_up_window_s, None), (input.scale_down_window_s, None));
    let (current, proposal) = (input.current_replicas, input.desired_replicas);
    let found = stabilize::with_behavior(&mut log, NOW, current, proposal, &behavior);
    compare("replicas", &expected.replicas, &found.replicas)?;
    match expected.recommendation_log {
        None => Ok(()),
        Some(slots) => compare("slots", &slots, &log.iter().map(|slot| slot.replicas).collect()),
    }
}

fn behavior_rate(row: &Row) -> Result<(), String> {
    #[derive(Deserialize)]
    struct Input {
        current_replicas: u32,
        desired_replicas: u32,
        min_replicas: u32,
        max_replicas: u32,
        scale_up_events: Vec<EventRow>,
        scale_down_events: Vec<EventRow>,
        scale_up: Rules,
        scale_down: Rules,
    }
    let input: Input = read(&row.input)?;
    let memory = translate::memory_of(&input.scale_up_events, &input.scale_down_events);
    let bounds = Bounds { min: input.min_replicas, max: input.max_replicas };
    let behavior = Behavior {
        scale_up: translate::rules(&input.scale_up, 0, None)?,
        scale_down: translate::rules(&input.scale_down, 300, None)?,
    };
    let (current, desired) = (input.current_replicas, input.desired_replicas);
    compare_limit(row, limit::with_behavior(&memory, NOW, current, desired, bounds, &behavior))
}

fn store_scale_events(row: &Row) -> Result<(), String> {
    #[derive(Deserialize)]
    struct Input {
        direction: String,
        previous_replicas: u32,
        new_replicas: u32,
        events: Vec<EventRow>,
        rules: Option<Rules>,
        query_period_s: u64,
    }
    #[derive(Deserialize, PartialEq, Debug)]
    struct EventAfter {
        change: u32,
        outdated: bool,
    }
    #[derive(Deserialize)]
    struct Expected {
        change_in_query_period_before: i64,
        events_after: Vec<EventAfter>,
    }
    let input: Input = read(&row.input)?;
    let expected: Expected = read(&row.expected)?;
    let is_up = input.direction == "up";
    let (up, down): (&[EventRow], &[EventRow]) =
        if is_up { (&input.events, &[]) } else { (&[], &input.events) };
    let mut memory = translate::memory_of(up, down);
    let events = if is_up { &memory.scale_out } else { &memory.scale_in };
    let before = change_within(events, NOW, Duration::from_secs(input.query_period_s));
    compare("change before", &expected.change_in_query_period_before, &before)?;

    let rules = input.rules.map(|rules| translate::rules(&rules, 0, None)).transpose()?;
    let behavior = rules.map(|rules| Behavior { scale_up: rules.clone(), scale_down: rules });
    record_change(&mut memory, NOW, input.previous_replicas, input.new_replicas, behavior.as_ref());
    let events = if is_up { &memory.scale_out } else { &memory.scale_in };
    let found: Vec<_> =
        events.iter().map(|event| EventAfter { change: event.change, outdated: event.outdated }).collect();
    compare("events after", &expected.events_after, &found)
}
