//! Checks of a metric source by itself.

use super::fields::{COMMAND_BYTES_MAX, ProblemList, error, metric_name, time_between};
use crate::resource::{
    ClientTls, CommandOrigin, MetricOrigin, MetricSource, MetricSourceSpec, PostgresOrigin, PrometheusOrigin,
    RedisOrigin, RedisQueue, ReplicasOrigin, Secret, Span, is_of_proxy,
};

/// Longest expression or query, in bytes: percent-encoded (three bytes each), it has to fit in a request line with the rest of the URL.
const QUERY_LEN_MAX: usize = 4096;

/// Longest key, group, user or database, in bytes: far longer than needed, and far below the limits of the servers.
const KEY_LEN_MAX: usize = 1024;

/// Shortest interval: the loop decides once a second, and faster would only burden the server.
const EVERY_MIN: Span = Span::from_millis(100);

/// Shortest timeout.
const WAIT_MIN: Span = Span::from_millis(1);

/// Longest interval, and longest timeout: as for all waits.
const WAIT_MAX: Span = Span::from_secs(3600);

/// Longest time for which a measurement may be valid: one day.
const STALE_AFTER_MAX: Span = Span::from_secs(86_400);

/// Most readings of a counter within the window of its rate; all are kept, for each series of each replica.
const RATE_READINGS_MAX: u64 = 20;

pub(super) fn problems(source: &MetricSource) -> ProblemList {
    let mut found = ProblemList::new();
    let spec = &source.spec;
    metric_name("spec.metric", &spec.metric, &mut found);
    time_between("spec.every", spec.every, (EVERY_MIN, WAIT_MAX), &mut found);
    time_between("spec.timeout", spec.timeout, (WAIT_MIN, WAIT_MAX), &mut found);
    if let Some(span) = spec.stale_after {
        time_between("spec.staleAfter", span, (spec.every, STALE_AFTER_MAX), &mut found);
    }
    for (field, text) in spec.of.iter().flat_map(|of| [("kind", &of.kind), ("name", &of.name)]) {
        metric_name(&format!("spec.of.{field}"), text, &mut found);
    }
    origin(spec, &mut found);
    found
}

fn series_name(path: &str, series: &str, found: &mut ProblemList) {
    metric_name(path, series, found);
    if let Some((bare, _)) = series.split_once('{') {
        let text = format!(
            "must be a name without labels, such as {bare:?}: labels are selected by the `selector` of the metric that uses this source"
        );
        found.push(error(path, text));
    }
}

fn origin(spec: &MetricSourceSpec, found: &mut ProblemList) {
    if spec.from.bearer_token_file().is_some_and(str::is_empty) {
        found.push(error("spec.from", "bearerTokenFile must name a file"));
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
                let text = "must be the base URL of the server, without a query";
                found.push(error("spec.from.prometheus.url", text));
            }
        }
        MetricOrigin::Http(_) => {}
        MetricOrigin::Command(CommandOrigin { argv, series, .. }) => {
            let bytes: usize = argv.iter().map(|argument| argument.len() + 1).sum();
            if argv.first().is_none_or(String::is_empty) {
                found.push(error("spec.from.command.argv", "the command must name a program"));
            } else if bytes > COMMAND_BYTES_MAX || argv.iter().any(|argument| argument.contains('\0')) {
                let text =
                    format!("a command line must have at most {COMMAND_BYTES_MAX} bytes, none of them 0");
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

fn query_of(path: &str, query: &str, found: &mut ProblemList) {
    if !(1..=QUERY_LEN_MAX).contains(&query.len()) || query.contains('\0') {
        let text =
            format!("must have 1 to {QUERY_LEN_MAX} bytes, none of them 0; this one has {}", query.len());
        found.push(error(path, text));
    }
}

fn key(path: &str, key: &str, found: &mut ProblemList) {
    if !(1..=KEY_LEN_MAX).contains(&key.len()) || key.contains('\0') {
        found.push(error(path, format!("must have 1 to {KEY_LEN_MAX} bytes, none of them 0")));
    }
}

fn of_redis(origin: &RedisOrigin, found: &mut ProblemList) {
    if let Some(user) = &origin.user {
        key("spec.from.redis.user", user, found);
        if origin.password.is_none() {
            found.push(error("spec.from.redis.password", "a user needs a password"));
        }
    }
    key("spec.from.redis.queue", origin.queue.key(), found);
    if let RedisQueue::Stream(stream) = &origin.queue {
        stream.group.iter().for_each(|group| key("spec.from.redis.queue.stream.group", group, found));
    }
}

fn secret(secret: &Secret, found: &mut ProblemList) {
    let is_usable = match secret {
        Secret::File(file) => !file.is_empty() && !file.contains('\0'),
        // Valid names of environment variables (POSIX, XBD 8.1).
        Secret::Variable(name) => !name.is_empty() && !name.contains(['=', '\0']),
    };
    // Not part of the message, because it may be the password itself.
    if !is_usable {
        found.push(error("spec.from", "`password` must name a file or an environment variable"));
    }
}

fn secured(from: &MetricOrigin, tls: &ClientTls, found: &mut ProblemList) {
    if from.page().is_some_and(|url| !url.is_https()) {
        found.push(error("spec.from", "`tls` is allowed only for a URL that begins with https://"));
    }
    let pair = tls.client.iter().flat_map(|pair| [&pair.certificate, &pair.key]);
    if tls.ca_file.iter().chain(pair).any(String::is_empty) {
        found.push(error("spec.from", "`caFile`, `certificate` and `key` must name files"));
    }
}

fn of_replicas(spec: &MetricSourceSpec, origin: &ReplicasOrigin, found: &mut ProblemList) {
    if spec.of.is_some() {
        found.push(error("spec.of", "a metric from replicas describes the replicas: remove `of`"));
    }
    if is_of_proxy(&spec.metric) {
        let text = format!("the proxy itself measures {} of each replica: choose another name", spec.metric);
        found.push(error("spec.metric", text));
    }
    if !origin.path.starts_with('/') || origin.path.contains(|c: char| c.is_whitespace() || c.is_control()) {
        found.push(error("spec.from.replicas.path", "a path must begin with '/' and contain no white space"));
    }
    origin.series.iter().for_each(|it| series_name("spec.from.replicas.series", it, found));
    let window_max = Span::from_millis(spec.every.as_millis().saturating_mul(RATE_READINGS_MAX));
    if let Some(window) = origin.window {
        time_between("spec.from.replicas.window", window, (spec.every, window_max), found);
    }
}
