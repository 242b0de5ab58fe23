//! Formats resources as rows of tables, for `get`, `describe` and `top`.

use std::time::Duration;

use api::v1;
use model::time::Wall;
use serde_json::Value;

use crate::figures;
use crate::output::{Field, UNKNOWN};
use crate::paint::Tone;

pub(crate) const SERVICE_HEADER: &[&str] =
    &["NAME", "DESIRED", "READY", "REQ/S", "ERR/S", "P99", "CPU", "MEMORY", "STATUS"];

/// A service in the columns of [`SERVICE_HEADER`].
pub(crate) fn service(service: &v1::Service) -> Vec<Field> {
    let status = &service.status;
    let (word, tone) = service_state(status);
    let suffix = match (&status.hold, &status.pause) {
        (Some(_), _) => ", held",
        (None, Some(_)) => ", paused",
        (None, None) => "",
    };
    let ready = Field::number(status.ready_replicas);
    vec![
        Field::text(service.name()),
        Field::number(status.desired_replicas),
        if status.ready_replicas < status.desired_replicas { ready.toned(Tone::Notable) } else { ready },
        Field::number(figures::rate(status.traffic.requests_per_second)),
        errors(&status.traffic),
        Field::number(figures::seconds(status.traffic.latency_p99_seconds)),
        cpu(&status.usage),
        Field::number(figures::bytes(status.usage.memory_bytes)),
        Field::text(format!("{word}{suffix}")).toned(tone),
    ]
}

/// The state of a service in one word: the reason of the first condition that is not true. Without replicas it is not called ready.
pub(crate) fn service_state(status: &v1::ServiceStatus) -> (String, Tone) {
    if status.is_terminating() {
        return (v1::TERMINATING.to_owned(), Tone::Notable);
    }
    let failing = status.conditions.iter().find(|condition| condition.status != "True");
    match failing {
        None if status.desired_replicas == 0 => ("ScaledToZero".to_owned(), Tone::Quiet),
        None => ("Ready".to_owned(), Tone::Good),
        Some(condition) if condition.kind == "Available" => (condition.reason.clone(), Tone::Bad),
        Some(condition) => (condition.reason.clone(), Tone::Notable),
    }
}

fn errors(traffic: &v1::Traffic) -> Field {
    let rate = Field::number(figures::rate(traffic.errors_per_second));
    if traffic.errors_per_second.is_some_and(|rate| rate > 0.0) { rate.toned(Tone::Bad) } else { rate }
}

pub(crate) const REPLICA_HEADER: &[&str] = &[
    "NAME", "PID", "PHASE", "READY", "RESTARTS", "AGE", "PORTS", "REQ/S", "ERR/S", "P99", "CPU", "MEMORY",
    "MESSAGE",
];

/// A replica in the columns of [`REPLICA_HEADER`].
pub(crate) fn replica(replica: &v1::Replica, now: Wall) -> Vec<Field> {
    let status = &replica.status;
    let ports: Vec<String> = status.ports.iter().map(|(name, port)| format!("{name}={port}")).collect();
    let role = if status.role == "spare" { " (spare)" } else { "" };
    let protected = if status.protected_until.is_some() { " (protected)" } else { "" };
    let or_unknown = |text: String| if text.is_empty() { UNKNOWN.to_owned() } else { text };
    vec![
        Field::text(replica.name()),
        Field::number(status.pid.map_or_else(|| UNKNOWN.to_owned(), |pid| pid.to_string())),
        Field::text(format!("{}{role}{protected}", status.phase)).toned(tone_of(&status.phase)),
        Field::text(if status.ready { "yes" } else { "no" }),
        Field::number(status.restarts),
        Field::number(figures::age(status.started_at.as_deref(), now)),
        Field::text(or_unknown(ports.join(","))),
        Field::number(figures::rate(status.traffic.requests_per_second)),
        errors(&status.traffic),
        Field::number(figures::seconds(status.traffic.latency_p99_seconds)),
        cpu(&status.usage),
        Field::number(figures::bytes(status.usage.memory_bytes)),
        Field::text(status.message.as_deref().unwrap_or_default()),
    ]
}

/// CPU in use, and the share of quota periods in which it was throttled.
fn cpu(usage: &v1::Usage) -> Field {
    let used = figures::millicores(usage.cpu_millicores);
    match usage.throttled_share.map(|share| (share * 100.0).round()) {
        Some(percent) if percent > 0.0 => {
            Field::number(format!("{used} (throttled {percent:.0} %)")).toned(Tone::Notable)
        }
        Some(_) | None => Field::number(used),
    }
}

pub(crate) const THROTTLING_HEADER: &[&str] = &["REPLICA", "WINDOWS", "THROTTLED", "WAITED"];

/// The throttling of a replica, in the columns of [`THROTTLING_HEADER`]; `None` without a CPU limit.
pub(crate) fn throttling(replica: &v1::Replica) -> Option<Vec<Field>> {
    let v1::Throttling { windows, throttled_windows, waited_seconds } = replica.status.throttling?;
    let percent = throttled_windows as f64 * 100.0 / windows.max(1) as f64;
    Some(vec![
        Field::text(replica.name()),
        Field::number(windows),
        Field::number(format!("{throttled_windows} ({percent:.0} %)")),
        Field::number(figures::seconds(Some(waited_seconds))),
    ])
}

/// The colour of the phase of a replica.
pub(crate) fn tone_of(phase: &str) -> Tone {
    match phase {
        "Running" => Tone::Good,
        "Unhealthy" | "Backoff" => Tone::Bad,
        "Stopping" => Tone::Quiet,
        _ => Tone::Notable,
    }
}

pub(crate) const ENDPOINT_HEADER: &[&str] = &["ENDPOINT", "STATE", "IN FLIGHT", "WHY"];

/// The state of a replica in the proxy, in the columns of [`ENDPOINT_HEADER`]; `None` for one that is not in the proxy.
pub(crate) fn endpoint(replica: &v1::Replica) -> Option<Vec<Field>> {
    let endpoint = replica.status.endpoint.as_ref()?;
    Some(vec![
        Field::text(replica.name()),
        endpoint_state(&endpoint.state),
        Field::number(replica.status.traffic.in_flight),
        Field::text(endpoint.message.as_deref().unwrap_or_default()),
    ])
}

fn endpoint_state(state: &str) -> Field {
    Field::text(state).toned(endpoint_tone(state))
}

/// The state of a replica in the proxy, and why it gets less than its share.
pub(crate) fn endpoint_standing(endpoint: &v1::Endpoint) -> Field {
    let v1::Endpoint { state, message, .. } = endpoint;
    let text = message.as_ref().map_or_else(|| state.clone(), |message| format!("{state}: {message}"));
    Field::text(text).toned(endpoint_tone(state))
}

fn endpoint_tone(state: &str) -> Tone {
    match state {
        "Serving" => Tone::Good,
        "Ejected" => Tone::Bad,
        _ => Tone::Notable,
    }
}

pub(crate) const EXTERNAL_ENDPOINT_HEADER: &[&str] =
    &["ELSEWHERE", "ZONE", "WEIGHT", "STATE", "IN FLIGHT", "REQUESTS", "5XX", "FAILED", "P99", "WHY"];

/// An external endpoint, in the columns of [`EXTERNAL_ENDPOINT_HEADER`].
pub(crate) fn external_endpoint(it: &v1::ElsewhereEndpoint) -> Vec<Field> {
    let counts = &it.counts;
    vec![
        Field::text(&it.address),
        Field::text(it.zone.as_deref().unwrap_or(UNKNOWN)),
        Field::number(it.weight),
        endpoint_state(&it.state),
        Field::number(it.in_flight),
        Field::number(counts.requests),
        failed(responses(counts, "5xx")),
        failed(counts.failures),
        Field::number(figures::seconds(counts.latency.as_ref().map(|it| it.p99_seconds))),
        Field::text(it.message.as_deref().unwrap_or_default()),
    ]
}

/// A line about the preferred zone; empty without one.
pub(crate) fn zone(service: &v1::Service) -> String {
    let declared = service.spec.get("expose").and_then(|expose| expose.get("trafficDistribution"));
    match (&service.status.zone, declared) {
        (Some(v1::PreferredZone { name, share }), _) => {
            format!("  {:.2} % of the requests stay in zone {name}\n", share * 100.0)
        }
        (None, Some(_)) => {
            "  no zone is preferred: the zone of this machine is not known, see homeostat up --zone\n"
                .to_owned()
        }
        (None, None) => String::new(),
    }
}

pub(crate) const VERSION_HEADER: &[&str] =
    &["GENERATION", "SERVING", "REQUESTS", "2XX", "4XX", "5XX", "FAILED", "ABANDONED", "P50", "P90", "P99"];

/// The traffic of a version, in the columns of [`VERSION_HEADER`].
pub(crate) fn version(it: &v1::Version) -> Vec<Field> {
    let counts = &it.counts;
    let latency =
        |of: fn(&v1::Latency) -> f64| Field::number(figures::seconds(counts.latency.as_ref().map(of)));
    vec![
        Field::number(it.generation),
        Field::number(it.serving_replicas),
        Field::number(counts.requests),
        Field::number(responses(counts, "2xx")),
        Field::number(responses(counts, "4xx")),
        failed(responses(counts, "5xx")),
        failed(counts.failures),
        failed(counts.abandoned),
        latency(|it| it.p50_seconds),
        latency(|it| it.p90_seconds),
        latency(|it| it.p99_seconds),
    ]
}

/// The responses of a status class, such as `2xx`.
pub(crate) fn responses(counts: &v1::RequestCounts, class: &str) -> u64 {
    counts.responses.get(class).copied().unwrap_or_default()
}

fn failed(count: u64) -> Field {
    Field::number(count).toned(if count > 0 { Tone::Bad } else { Tone::Quiet })
}

/// The responses and latency of a route, as lines.
pub(crate) fn route_responses(it: &v1::RouteStatus) -> String {
    let classes: Vec<String> = it
        .responses
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(class, count)| format!("{count} {class}"))
        .collect();
    let mut lines = String::new();
    if !classes.is_empty() {
        lines.push_str(&format!("\nanswers\n  {}\n", classes.join(", ")));
    }
    if let Some(v1::Latency { p50_seconds, p90_seconds, p99_seconds }) = it.latency {
        let [p50, p90, p99] = [p50_seconds, p90_seconds, p99_seconds].map(|it| figures::seconds(Some(it)));
        lines.push_str(&format!("  50 % took at most {p50}, 90 % at most {p90}, 99 % at most {p99}\n"));
    }
    lines
}

/// The proxy's counters of a service, as lines.
pub(crate) fn proxy_counters(it: &v1::Proxied) -> String {
    let v1::Refused { no_replica, over_limit, shed } = it.refused;
    let mut lines = format!(
        "  answered 503: {no_replica} without a replica, {over_limit} over a limit, {shed} more than can be answered in good time\n  \
         sent again: {}, waiting now: {}\n",
        it.counts.retries, it.waiting
    );
    if let Some(v1::Datagrams { received, bytes_received, sent, bytes_sent, dropped, sessions }) =
        it.datagrams
    {
        lines.push_str(&format!(
            "  datagrams: {received} from clients ({bytes_received} bytes), {sent} to them ({bytes_sent} bytes), {dropped} dropped; \
             sessions now: {sessions}\n"
        ));
    }
    if it.hedges > 0 {
        lines.push_str(&format!(
            "  also sent to a second replica: {}, which answered first: {}\n",
            it.hedges, it.hedges_won
        ));
    }
    if let Some(v1::Adaptive { limit, awaiting, best_latency_seconds }) = it.adaptive {
        let best = best_latency_seconds.map_or_else(
            || "nothing has been measured yet".to_owned(),
            |seconds| format!("the best latency is {:.1} ms", seconds * 1000.0),
        );
        lines.push_str(&format!("  requests in flight: {awaiting} of at most {limit}; {best}\n"));
    }
    lines
}

pub(crate) const SCALING_HEADER: &[&str] = &[
    "SERVICE",
    "AUTOSCALER",
    "POLICY",
    "OVER",
    "WANTS",
    "REPLICA-H",
    "COST",
    "OUT",
    "IN",
    "TURNS",
    "BELOW",
    "ABOVE",
    "OVER TARGET",
    "NO NUMBER",
];

/// The acting autoscaler of a service over the longest comparison, and each shadow over its own, in the columns of [`SCALING_HEADER`]. The
/// figures of the acting one over the time of each shadow are only in the JSON.
pub(crate) fn scaling(scaling: &v1::Scaling) -> Vec<Vec<Field>> {
    let status = &scaling.status;
    let whole = |seconds: f64| Duration::from_secs(seconds.max(0.0) as u64);
    let clock = |seconds: f64| {
        Field::number(if seconds < 1.0 { UNKNOWN.to_owned() } else { figures::clock(whole(seconds)) })
    };
    let row = |name: &str, policy: &str, wants: u32, counted: f64, tally: &v1::ScalingTally| {
        vec![
            Field::text(scaling.name()),
            Field::text(name),
            Field::text(policy),
            Field::number(figures::clock(whole(counted))),
            Field::number(wants),
            Field::number(format!("{:.2}", tally.replica_hours)),
        ]
    };
    let counts =
        |tally: &v1::ScalingTally| [tally.scale_outs, tally.scale_ins, tally.reversals].map(Field::number);
    let longest = status.shadows.iter().max_by(|a, b| a.counted_seconds.total_cmp(&b.counted_seconds));
    let acting = match longest {
        Some(shadow) => {
            let tally = &shadow.acting;
            let mut fields =
                row("acting", &status.policy, status.desired_replicas, shadow.counted_seconds, tally);
            fields.push(Field::number(UNKNOWN));
            fields.extend(counts(tally));
            fields.extend([Field::number(UNKNOWN), Field::number(UNKNOWN)]);
            fields.extend([clock(tally.over_target_seconds), clock(tally.without_number_seconds)]);
            fields
        }
        None => {
            let mut fields =
                vec![Field::text(scaling.name()), Field::text("acting"), Field::text(&status.policy)];
            fields.extend([Field::number(UNKNOWN), Field::number(status.desired_replicas)]);
            fields.extend((fields.len()..SCALING_HEADER.len()).map(|_| Field::number(UNKNOWN)));
            fields
        }
    };
    let shadows = status.shadows.iter().map(|shadow| {
        let own = &shadow.own;
        let mut fields =
            row(&shadow.name, &shadow.policy, shadow.desired_replicas, shadow.counted_seconds, own);
        fields.push(Field::number(cost(own.replica_hours, shadow.acting.replica_hours)));
        fields.extend(counts(own));
        fields.extend([clock(shadow.below.seconds), clock(shadow.above.seconds)]);
        fields.extend([clock(own.over_target_seconds), clock(own.without_number_seconds)]);
        fields
    });
    std::iter::once(acting).chain(shadows).collect()
}

/// The relative difference in cost, in per cent.
fn cost(own: f64, acting: f64) -> String {
    if acting > 0.0 { format!("{:+.0} %", (own / acting - 1.0) * 100.0) } else { UNKNOWN.to_owned() }
}

pub(crate) const AUTOSCALER_HEADER: &[&str] =
    &["NAME", "TARGET", "CURRENT", "DESIRED", "MIN", "MAX", "METRICS"];

/// An autoscaler in the columns of [`AUTOSCALER_HEADER`].
pub(crate) fn autoscaler(autoscaler: &v1::Autoscaler) -> Vec<Field> {
    let spec = |pointer: &[&str]| {
        let mut found = autoscaler.spec.get(pointer[0]);
        for key in &pointer[1..] {
            found = found.and_then(|value| value.get(key));
        }
        match found {
            None | Some(Value::Null) => UNKNOWN.to_owned(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        }
    };
    let status = &autoscaler.status;
    let metrics: Vec<String> = status
        .current_metrics
        .iter()
        .map(|it| &it.metric)
        .map(|metric| format!("{} {} of {}", metric.name, metric.current, metric.target))
        .collect();
    vec![
        Field::text(autoscaler.name()),
        Field::text(format!("service/{}", spec(&["scaleTargetRef", "name"]))),
        Field::number(status.current_replicas),
        Field::number(status.desired_replicas),
        Field::number(spec(&["minReplicas"])),
        Field::number(spec(&["maxReplicas"])),
        Field::text(metrics.join(", ")),
    ]
}

pub(crate) const ROUTE_HEADER: &[&str] =
    &["NAME", "ADDRESS", "HOSTNAMES", "RULES", "REQ/S", "2XX", "3XX", "4XX", "5XX", "STATUS"];

/// A route in the columns of [`ROUTE_HEADER`].
pub(crate) fn route(route: &v1::Route) -> Vec<Field> {
    let status = &route.status;
    let list =
        |name: &str| route.spec.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let hosts: Vec<&str> = list("hostnames").iter().filter_map(Value::as_str).collect();
    let failing = status.conditions.iter().find(|condition| condition.status != "True");
    let (word, tone) = match failing {
        None => ("Ready", Tone::Good),
        Some(condition) if condition.kind == "Programmed" => (condition.reason.as_str(), Tone::Bad),
        Some(condition) => (condition.reason.as_str(), Tone::Notable),
    };
    let count = |class: &str| Field::number(status.responses.get(class).copied().unwrap_or_default());
    vec![
        Field::text(route.name()),
        Field::text(status.address.as_deref().unwrap_or(UNKNOWN)),
        Field::text(if hosts.is_empty() { "*".to_owned() } else { hosts.join(",") }),
        Field::number(list("rules").len()),
        Field::number(figures::rate(status.requests_per_second)),
        count("2xx"),
        count("3xx"),
        count("4xx"),
        count("5xx"),
        Field::text(word).toned(tone),
    ]
}

pub(crate) const METRIC_SOURCE_HEADER: &[&str] =
    &["NAME", "METRIC", "FROM", "VALUE", "SERIES", "MEASURED", "STATUS", "LAST ERROR"];

/// A metric source in the columns of [`METRIC_SOURCE_HEADER`].
pub(crate) fn metric_source(source: &v1::MetricSource, now: Wall) -> Vec<Field> {
    let status = &source.status;
    let metric = source.spec.get("metric").and_then(Value::as_str).unwrap_or_default();
    let from = source.spec.get("from").and_then(Value::as_object).and_then(|from| from.keys().next());
    let (word, tone) = status.conditions.first().map_or(("", Tone::Notable), |condition| {
        let tone = match condition.status.as_str() {
            "True" => Tone::Good,
            "False" => Tone::Bad,
            _ => Tone::Notable,
        };
        (condition.reason.as_str(), tone)
    });
    vec![
        Field::text(source.name()),
        Field::text(metric),
        Field::text(from.map_or(UNKNOWN, String::as_str)),
        Field::number(status.value.map_or_else(|| UNKNOWN.to_owned(), |value| value.to_string())),
        Field::number(status.series),
        Field::number(figures::age(status.measured_at.as_deref(), now)),
        Field::text(word).toned(tone),
        Field::text(status.last_error.as_deref().unwrap_or_default()),
    ]
}

pub(crate) const NODE_HEADER: &[&str] = &["NAME", "READY", "REPLICAS", "NOT IN FULL"];

/// A node in the columns of [`NODE_HEADER`].
pub(crate) fn node(node: &v1::Node) -> Vec<Field> {
    let missing: Vec<String> = node
        .status
        .capabilities
        .iter()
        .filter_map(|(name, missing)| Some(format!("{name}: {}", missing.as_deref()?)))
        .collect();
    let ready = if node.status.ready { ("yes", Tone::Good) } else { ("no", Tone::Bad) };
    vec![
        Field::text(node.name()),
        Field::text(ready.0).toned(ready.1),
        Field::number(node.status.replicas),
        Field::text(if missing.is_empty() { UNKNOWN.to_owned() } else { missing.join("; ") }),
    ]
}

pub(crate) const EVENT_HEADER: &[&str] = &["AT", "EVENT", "SUBJECT", "WHY"];

/// An event in the columns of [`EVENT_HEADER`].
pub(crate) fn event(event: &v1::Event) -> Vec<Field> {
    let subject = match &event.replica {
        Some(replica) => format!("replica/{replica}"),
        None => format!("service/{}", event.service),
    };
    let reason = Field::text(&event.reason);
    vec![
        Field::text(figures::time_of_day(&event.at)).toned(Tone::Quiet),
        if event.kind == "Warning" { reason.toned(Tone::Notable) } else { reason },
        Field::text(subject),
        Field::text(&event.message),
    ]
}
