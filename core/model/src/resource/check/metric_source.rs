//! What must hold of a source of a metric by itself.

use super::Severity;
use crate::resource::{
    ClientTls, CommandOrigin, MetricOrigin, MetricSource, MetricSourceSpec, PostgresOrigin, Problem,
    PrometheusOrigin, RedisOrigin, RedisQueue, ReplicasOrigin, Secret, Span, is_of_proxy,
};

/// Longest name of a metric, in bytes: as Kubernetes limits names of objects.
const METRIC_LEN_MAX: usize = 253;

/// Longest expression or query, in bytes: it has to fit in a request line beside the rest of the URL, with three bytes for each of its own.
const QUERY_LEN_MAX: usize = 4096;

/// Longest command line, in bytes: as of a probe's program.
const COMMAND_BYTES_MAX: usize = 1024 * 1024;

/// Longest key, group, user or database, in bytes: far beyond what people type, and far within what the servers take.
const KEY_LEN_MAX: usize = 1024;

/// Shortest pace: faster asks more of a server than its clients do, and the loop decides once a second.
const EVERY_MIN: Span = Span::from_millis(100);

/// Shortest time to wait for an answer.
const WAIT_MIN: Span = Span::from_millis(1);

/// Longest pace, and longest time to wait for an answer: as for all waits.
const WAIT_MAX: Span = Span::from_secs(3600);

/// Longest time for which a measurement may stand: what is measured once a day.
const STALE_AFTER_MAX: Span = Span::from_secs(86_400);

/// Readings of a counter within the window of its rate: each is kept, of each series of each replica.
const RATE_READINGS_MAX: u64 = 20;

type Found = Vec<(Severity, Problem)>;

pub(super) fn problems(source: &MetricSource) -> Found {
    let mut found = Found::new();
    let spec = &source.spec;
    name("spec.metric", &spec.metric, &mut found);
    between("spec.every", spec.every, EVERY_MIN, WAIT_MAX, &mut found);
    between("spec.timeout", spec.timeout, WAIT_MIN, WAIT_MAX, &mut found);
    if let Some(span) = spec.stale_after {
        between("spec.staleAfter", span, spec.every, STALE_AFTER_MAX, &mut found);
    }
    for (field, text) in spec.of.iter().flat_map(|of| [("kind", &of.kind), ("name", &of.name)]) {
        name(&format!("spec.of.{field}"), text, &mut found);
    }
    origin(spec, &mut found);
    found
}

fn error(path: impl Into<String>, text: impl Into<String>) -> (Severity, Problem) {
    (Severity::Error, Problem::at(path, text))
}

fn between(path: &str, span: Span, min: Span, max: Span, found: &mut Found) {
    if !(min..=max).contains(&span) {
        found.push(error(path, format!("it lies between {min} and {max}, not {span}")));
    }
}

pub(super) fn name(path: &str, name: &str, found: &mut Found) {
    let is_name = (1..=METRIC_LEN_MAX).contains(&name.len())
        && !name.contains(|c: char| c.is_whitespace() || c.is_control());
    if !is_name {
        found.push(error(path, format!("it has 1 to {METRIC_LEN_MAX} bytes without space")));
    }
}

fn series_name(path: &str, series: &str, found: &mut Found) {
    name(path, series, found);
    if let Some((bare, _)) = series.split_once('{') {
        let text = format!(
            "it is a name without labels, such as {bare:?}: which labels are meant is said by the `selector` of the metric that takes them"
        );
        found.push(error(path, text));
    }
}

fn origin(spec: &MetricSourceSpec, found: &mut Found) {
    if spec.from.bearer_token_file().is_some_and(str::is_empty) {
        found.push(error("spec.from", "bearerTokenFile names a file"));
    }
    if let Some(tls) = spec.from.tls() {
        secured(&spec.from, tls, found);
    }
    if let Some(password) = spec.from.password() {
        secret(password, found);
    }
    match &spec.from {
        MetricOrigin::Prometheus(PrometheusOrigin { query, url, .. }) => {
            query_of("spec.from.prometheus.query", query, found);
            if url.as_str().contains('?') {
                let text = "it says where the server is, and has no query of its own";
                found.push(error("spec.from.prometheus.url", text));
            }
        }
        MetricOrigin::Http(_) => {}
        MetricOrigin::Command(CommandOrigin { argv, series, .. }) => {
            let bytes: usize = argv.iter().map(|argument| argument.len() + 1).sum();
            if argv.first().is_none_or(String::is_empty) {
                found.push(error("spec.from.command.argv", "a command names a program"));
            } else if bytes > COMMAND_BYTES_MAX || argv.iter().any(|argument| argument.contains('\0')) {
                let text = format!("a command line has at most {COMMAND_BYTES_MAX} bytes, none of them 0");
                found.push(error("spec.from.command.argv", text));
            }
            series.iter().for_each(|it| series_name("spec.from.command.series", it, found));
        }
        MetricOrigin::Redis(origin) => of_redis(origin, found),
        MetricOrigin::Postgres(PostgresOrigin { user, database, query, .. }) => {
            key("spec.from.postgres.user", user, found);
            database.iter().for_each(|name| key("spec.from.postgres.database", name, found));
            query_of("spec.from.postgres.query", query, found);
        }
        MetricOrigin::Replicas(origin) => of_replicas(spec, origin, found),
    }
}

fn query_of(path: &str, query: &str, found: &mut Found) {
    if !(1..=QUERY_LEN_MAX).contains(&query.len()) || query.contains('\0') {
        let text = format!("it has 1 to {QUERY_LEN_MAX} bytes, none of them 0; this one has {}", query.len());
        found.push(error(path, text));
    }
}

fn key(path: &str, key: &str, found: &mut Found) {
    if !(1..=KEY_LEN_MAX).contains(&key.len()) || key.contains('\0') {
        found.push(error(path, format!("it has 1 to {KEY_LEN_MAX} bytes, none of them 0")));
    }
}

fn of_redis(origin: &RedisOrigin, found: &mut Found) {
    if let Some(user) = &origin.user {
        key("spec.from.redis.user", user, found);
        if origin.password.is_none() {
            found.push(error("spec.from.redis.password", "a user says a password"));
        }
    }
    key("spec.from.redis.queue", origin.queue.key(), found);
    if let RedisQueue::Stream(stream) = &origin.queue {
        stream.group.iter().for_each(|group| key("spec.from.redis.queue.stream.group", group, found));
    }
}

fn secret(secret: &Secret, found: &mut Found) {
    let is_usable = match secret {
        Secret::File(file) => !file.is_empty() && !file.contains('\0'),
        // What a variable of the environment may be called (POSIX, XBD 8.1).
        Secret::Variable(name) => !name.is_empty() && !name.contains(['=', '\0']),
    };
    // Not shown: it may be the password itself.
    if !is_usable {
        found.push(error("spec.from", "`password` names a file or a variable of the environment"));
    }
}

fn secured(from: &MetricOrigin, tls: &ClientTls, found: &mut Found) {
    if from.page().is_some_and(|url| !url.is_https()) {
        found.push(error("spec.from", "`tls` is for a URL that begins with https://"));
    }
    let pair = tls.client.iter().flat_map(|pair| [&pair.certificate, &pair.key]);
    if tls.ca_file.iter().chain(pair).any(String::is_empty) {
        found.push(error("spec.from", "`caFile`, `certificate` and `key` name files"));
    }
}

fn of_replicas(spec: &MetricSourceSpec, origin: &ReplicasOrigin, found: &mut Found) {
    if spec.of.is_some() {
        found.push(error("spec.of", "what replicas say is theirs: take `of` out"));
    }
    if is_of_proxy(&spec.metric) {
        let text = format!("the proxy measures {} of each replica itself: choose another name", spec.metric);
        found.push(error("spec.metric", text));
    }
    if !origin.path.starts_with('/') || origin.path.contains(|c: char| c.is_whitespace() || c.is_control()) {
        found.push(error("spec.from.replicas.path", "a path begins with '/' and has no space"));
    }
    origin.series.iter().for_each(|it| series_name("spec.from.replicas.series", it, found));
    let window_max = Span::from_millis(spec.every.as_millis().saturating_mul(RATE_READINGS_MAX));
    if let Some(window) = origin.window {
        between("spec.from.replicas.window", window, spec.every, window_max, found);
    }
}
