//! What is wrong with sources of metrics, and with metrics that have none.

use super::*;

fn source(name: &str, spec: Value) -> Resource {
    let mut whole = json!({"metric": "jobs", "from": {"command": {"argv": ["./jobs"]}}});
    let Value::Object(fields) = spec else { panic!("a spec is an object") };
    for (key, value) in fields {
        whole[key] = value;
    }
    resource("homeostat/v1", "MetricSource", name, &whole)
}

/// An autoscaler of the shop by one metric.
fn by(metric: &Value) -> Resource {
    let spec =
        json!({"scaleTargetRef": {"kind": "Service", "name": "shop"}, "maxReplicas": 5, "metrics": [metric]});
    resource("autoscaling/v2", "HorizontalPodAutoscaler", "shop", &spec)
}

#[test]
fn a_metric_without_a_source_is_a_warning() {
    let target = json!({"type": "Value", "value": "5"});
    let external = json!({"type": "External", "external": {"metric": {"name": "jobs"}, "target": target}});
    let object = json!({"type": "Object", "object": {"metric": {"name": "jobs"}, "target": target,
        "describedObject": {"kind": "Ingress", "name": "web"}}});
    let average = json!({"type": "AverageValue", "averageValue": "5"});
    let pods = json!({"type": "Pods", "pods": {"metric": {"name": "jobs"}, "target": average}});
    let shop = || service("shop", json!({"ports": [{"name": "http"}]}));
    for (metric, spec, missing) in [
        (external, json!({}), "jobs"),
        (object, json!({"of": {"kind": "Ingress", "name": "web"}}), "jobs of Ingress web"),
        (pods, json!({"from": {"replicas": {"service": "shop"}}}), "jobs of each replica of shop"),
    ] {
        let without = check(&[shop(), by(&metric)], Severity::Error);
        let text = format!("nothing measures {missing} yet: declare a MetricSource for it");
        assert_eq!(
            (without.len(), without[0].severity, &without[0].problem.text),
            (1, Severity::Warning, &text)
        );
        assert_eq!(problems_of(&[shop(), by(&metric), source("a", spec)]), [""; 0]);
    }
}

#[test]
fn a_removal_metric_needs_a_source_of_replicas() {
    let by_carts =
        json!({"ports": [{"name": "http"}], "scale": {"replicas": 2, "remove": {"cheapest": "jobs"}}});
    let shop = || service("shop", by_carts.clone());
    has(&[shop()], "0 spec.scale.remove.cheapest: nothing measures jobs of each replica of shop yet");
    assert_eq!(
        problems_of(&[shop(), source("a", json!({"from": {"replicas": {"service": "shop"}}}))]),
        [""; 0]
    );
    has(&[shop(), source("a", json!({}))], "0 spec.scale.remove.cheapest: nothing measures jobs");
}

#[test]
fn a_protection_metric_needs_a_source_of_replicas() {
    let jobs = json!({"ports": [{"name": "http"}], "scale": {"replicas": 2, "protect": "jobs"}});
    let shop = || service("shop", jobs.clone());
    let no_names =
        [("protect", json!({"protect": "a b"})), ("remove.cheapest", json!({"remove": {"cheapest": ""}}))];
    for (field, scale) in no_names {
        let shop = service("shop", json!({"ports": [{"name": "http"}], "scale": scale}));
        has(&[shop], &format!("0 spec.scale.{field}: must have 1 to 253 bytes, without white space"));
    }
    has(&[shop()], "0 spec.scale.protect: nothing measures jobs of each replica of shop yet");
    assert_eq!(
        problems_of(&[shop(), source("a", json!({"from": {"replicas": {"service": "shop"}}}))]),
        [""; 0]
    );
}

#[test]
fn two_sources_of_one_metric_are_refused() {
    has(
        &[source("a", json!({})), source("b", json!({}))],
        "1 spec.metric: metricsource/a measures jobs already",
    );
    let other = json!({"of": {"kind": "Ingress", "name": "web"}});
    assert_eq!(problems_of(&[source("a", json!({})), source("b", other)]), [""; 0]);
}

#[test]
fn a_source_of_replicas_must_name_an_existing_service_and_port() {
    let of = |more: Value| source("a", json!({"from": {"replicas": more}}));
    has(&[of(json!({"service": "shop"}))], "0 spec.from.replicas.service: there is no service shop");
    let shop = || service("shop", json!({}));
    has(
        &[shop(), of(json!({"service": "shop"}))],
        "1 spec.from.replicas.port: service shop has no port to ask",
    );
    let open = || service("shop", json!({"ports": [{"name": "http"}]}));
    let named = json!({"service": "shop", "port": "admin"});
    has(&[open(), of(named)], "1 spec.from.replicas.port: service shop has no port admin");
}

#[test]
fn a_series_is_a_name_without_labels() {
    let labelled = r#"requests_total{code="200"}"#;
    let replicas = source("a", json!({"from": {"replicas": {"service": "shop", "series": labelled}}}));
    let text = r#"must be a name without labels, such as "requests_total""#;
    has(&[replicas], &format!("0 spec.from.replicas.series: {text}"));
    let command = json!({"from": {"command": {"argv": ["./jobs"], "series": labelled}}});
    has(&[source("a", command)], &format!("0 spec.from.command.series: {text}"));
}

#[test]
fn queries_and_intervals_of_sources_must_be_in_range() {
    for (spec, problem) in [
        (json!({"metric": ""}), "0 spec.metric: must have 1 to 253 bytes, without white space"),
        (json!({"metric": "a b"}), "0 spec.metric: must have 1 to 253 bytes, without white space"),
        (json!({"every": "10ms"}), "0 spec.every: must be between 100ms and 1h, not 10ms"),
        (json!({"timeout": "2h"}), "0 spec.timeout: must be between 1ms and 1h, not 2h"),
        (json!({"staleAfter": "1s"}), "0 spec.staleAfter: must be between 5s and 1d, not 1s"),
        (
            json!({"from": {"command": {"argv": [""]}}}),
            "0 spec.from.command.argv: the command must name a program",
        ),
        (
            json!({"from": {"prometheus": {"url": "http://a", "query": ""}}}),
            "0 spec.from.prometheus.query: must have 1 to 4096 bytes, none of them 0; this one has 0",
        ),
        (
            json!({"from": {"prometheus": {"url": "http://a/?b", "query": "c"}}}),
            "0 spec.from.prometheus.url: must be the base URL of",
        ),
        (
            json!({"from": {"http": {"url": "http://a", "value": "$", "bearerTokenFile": ""}}}),
            "0 spec.from: bearerTokenFile must name a file",
        ),
        (
            json!({"from": {"replicas": {"service": "shop", "path": "metrics"}}}),
            "0 spec.from.replicas.path: a path must begin with '/'",
        ),
        (
            json!({"from": {"replicas": {"service": "shop", "window": "1s"}}}),
            "0 spec.from.replicas.window: must be between 5s and 100s, not 1s",
        ),
        (
            json!({"metric": "http_requests_per_second", "from": {"replicas": {"service": "shop"}}}),
            "0 spec.metric: the proxy itself measures http_requests_per_second of each replica",
        ),
        (
            json!({"of": {"kind": "A", "name": "b"}, "from": {"replicas": {"service": "shop"}}}),
            "0 spec.of: a metric from replicas describes",
        ),
    ] {
        has(&[source("a", spec)], problem);
    }
}

#[test]
fn addresses_and_queries_of_queues_must_be_in_range() {
    for (spec, problem) in [
        (
            json!({"from": {"redis": {"address": "a", "queue": {"list": ""}}}}),
            "0 spec.from.redis.queue: must have 1 to 1024 bytes",
        ),
        (
            json!({"from": {"redis": {"address": "a", "queue": {"stream": {"key": "b", "group": ""}}}}}),
            "0 spec.from.redis.queue.stream.group: must have 1 to 1024 bytes",
        ),
        (
            json!({"from": {"redis": {"address": "a", "user": "b", "queue": {"list": "c"}}}}),
            "0 spec.from.redis.password: a user needs a password",
        ),
        (
            json!({"from": {"redis": {"address": "a", "password": {"variable": "A=B"}, "queue": {"list": "c"}}}}),
            "0 spec.from: `password` must name a file or an environment variable",
        ),
        (
            json!({"from": {"postgres": {"address": "a", "user": "", "query": "select 1"}}}),
            "0 spec.from.postgres.user: must have 1 to 1024 bytes",
        ),
        (
            json!({"from": {"postgres": {"address": "a", "user": "b", "query": ""}}}),
            "0 spec.from.postgres.query: must have 1 to 4096 bytes",
        ),
        (
            json!({"from": {"postgres": {"address": "a", "user": "b", "tls": {"caFile": ""}, "query": "c"}}}),
            "0 spec.from: `caFile`, `certificate` and `key` must name files",
        ),
    ] {
        has(&[source("a", spec)], problem);
    }
}
