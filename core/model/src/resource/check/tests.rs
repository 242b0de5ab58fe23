mod forecasting;
mod guard_limit;
mod request_loops;
mod schedules;
mod sources;

use serde_json::{Value, json};

use super::*;

fn service(name: &str, spec: Value) -> Resource {
    let mut whole = json!({"run": {"command": ["./serve"]}, "resources": {"cpu": "1", "memory": "1Gi"}});
    let Value::Object(fields) = spec else { panic!("a spec is an object") };
    for (key, value) in fields {
        whole[key] = value;
    }
    resource("homeostat/v1", "Service", name, &whole)
}

fn hpa(name: &str, target: &str) -> Resource {
    let spec = json!({"scaleTargetRef": {"kind": "Deployment", "name": target}, "maxReplicas": 5});
    resource("autoscaling/v2", "HorizontalPodAutoscaler", name, &spec)
}

fn resource(api_version: &str, kind: &str, name: &str, spec: &Value) -> Resource {
    let written = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, "spec": spec});
    serde_json::from_value(written).expect("a resource of the right form")
}

/// What is wrong, one line each: place in the list, path, and text.
fn problems_of(resources: &[Resource]) -> Vec<String> {
    check(resources, Severity::Error).into_iter().map(|p| format!("{} {}", p.resource, p.problem)).collect()
}

fn has(resources: &[Resource], start: &str) {
    let problems = problems_of(resources);
    assert!(problems.iter().any(|line| line.starts_with(start)), "{start} is not in {problems:#?}");
}

#[test]
fn a_valid_service_and_its_autoscaler_have_no_problems() {
    let ports = json!({"ports": [{"name": "http"}], "probes": {"readiness": {"http": {}}},
        "expose": {"listen": "127.0.0.1:80", "port": "http"}, "dependsOn": [{"service": "db"}]});
    assert_eq!(
        problems_of(&[service("shop", ports), service("db", json!({})), hpa("shop", "shop")]),
        [""; 0]
    );
}

#[test]
fn names_are_unique_within_a_kind() {
    has(
        &[service("a", json!({})), service("a", json!({}))],
        "1 metadata.name: there is another Service named a",
    );
    assert_eq!(problems_of(&[service("a", json!({})), hpa("a", "a")]), [""; 0]);
}

#[test]
fn an_autoscaler_without_its_service_has_the_severity_that_the_caller_chose() {
    let alone = [hpa("a", "shop")];
    let severity = |dangling| check(&alone, dangling)[0].severity;
    assert_eq!(severity(Severity::Warning), Severity::Warning);
    assert_eq!(severity(Severity::Error), Severity::Error);
}

#[test]
fn an_allowed_size_must_be_within_the_bounds_of_service_schedule_and_hpa() {
    let odd = json!({"only": "odd"});
    let four = service("a", json!({"scale": {"replicas": 4, "sizes": odd}}));
    has(std::slice::from_ref(&four), "0 spec.scale.sizes: only odd numbers are allowed");
    assert_eq!(problems_of(&[four, hpa("a", "a")]), [""; 0], "its autoscaler may have 1, 3 and 5");
    let fives = service("a", json!({"scale": {"replicas": 5, "sizes": {"multiplesOf": 5}}}));
    assert_eq!(problems_of(&[fives.clone(), hpa("a", "a")]), [""; 0]);
    let sixes = service("a", json!({"scale": {"replicas": 6, "sizes": {"multiplesOf": 6}}}));
    has(&[sixes, hpa("a", "a")], "0 spec.scale.sizes");
    let night = json!({"cron": "0 0 * * *", "duration": "6h", "max": 2, "min": 2});
    let shop = service("a", json!({"scale": {"max": 9, "sizes": odd, "schedule": [night]}}));
    has(&[shop], "0 spec.scale.schedule[0]: only odd numbers are allowed");
}

#[test]
fn a_service_has_at_most_one_autoscaler() {
    let set = [service("shop", json!({})), hpa("a", "shop"), hpa("b", "shop")];
    has(&set, "2 spec.scaleTargetRef.name: HorizontalPodAutoscalers a and b both scale shop");
    let set = [service("shop", json!({"scale": {"max": 3}})), hpa("a", "shop")];
    has(
        &set,
        "1 spec.scaleTargetRef.name: service shop scales itself (spec.scale has max), and HorizontalPodAutoscaler a",
    );
}

#[test]
fn a_utilization_target_without_a_request_is_a_warning() {
    let without = |scale: Value| service("shop", json!({"resources": {"memory": "1Gi"}, "scale": scale}));
    let text = "the target of cpu is a utilization, and service shop requests no cpu";
    has(&[without(json!({"max": 3}))], &format!("0 spec.scale.metrics[0]: {text}"));
    has(&[without(json!({})), hpa("a", "shop")], &format!("1 spec.metrics[0]: {text}"));
    let problems = check(&[without(json!({"max": 3}))], Severity::Error);
    assert_eq!(problems[0].severity, Severity::Warning);
    let of =
        |name: &str, target: Value| json!({"type": "Resource", "resource": {"name": name, "target": target}});
    let share = json!({"type": "Utilization", "averageUtilization": 50});
    let amount = json!({"type": "AverageValue", "averageValue": "100m"});
    for metric in [of("memory", share), of("cpu", amount)] {
        assert_eq!(problems_of(&[without(json!({"max": 3, "metrics": [metric]}))]), [""; 0]);
    }
}

#[test]
fn a_cycle_of_dependencies_is_reported_once_and_in_full() {
    let on = |other: &str| json!({"dependsOn": [{"service": other}]});
    let set = [service("a", on("b")), service("b", on("c")), service("c", on("a")), service("d", on("a"))];
    assert_eq!(
        problems_of(&set),
        [
            "2 spec.dependsOn[0].service: services depend on each other in a cycle, so none can start: a → b → c → a"
        ]
    );
    has(&[service("a", on("a"))], "0 spec.dependsOn[0].service: services depend on each other in a cycle");
}

#[test]
fn a_diamond_of_dependencies_is_not_a_cycle() {
    let on = |others: &[&str]| json!({"dependsOn": others.iter().map(|other| json!({"service": other})).collect::<Vec<_>>()});
    let set = [
        service("a", on(&["b", "c"])),
        service("b", on(&["d"])),
        service("c", on(&["d"])),
        service("d", on(&[])),
    ];
    assert_eq!(problems_of(&set), [""; 0]);
}

#[test]
fn an_unknown_dependency_is_reported_with_the_known_services() {
    let set = [service("shop", json!({"dependsOn": [{"service": "bd"}]})), service("db", json!({}))];
    has(&set, "0 spec.dependsOn[0].service: there is no service bd; known are db, shop");
}

#[test]
fn two_services_cannot_listen_on_the_same_address() {
    let at =
        |listen: &str| json!({"ports": [{"name": "http"}], "expose": {"listen": listen, "port": "http"}});
    let set = [service("z", at("0.0.0.0:80")), service("a", at("127.0.0.1:80"))];
    has(&set, "1 spec.expose.listen: service z listens on 0.0.0.0:80 already");
}

#[test]
fn a_hash_key_needs_consistent_hashing() {
    let spec = |balance: &str, hash: Value| {
        json!({"ports": [{"name": "http"}],
            "expose": {"listen": "127.0.0.1:80", "port": "http", "balance": balance, "hash": hash}})
    };
    assert!(problems_of(&[service("shop", spec("consistentHash", json!({"header": "X-User"})))]).is_empty());
    has(
        &[service("shop", spec("roundRobin", json!({"cookie": "sid"})))],
        "0 spec.expose.hash: it has no effect",
    );
}

#[test]
fn a_metric_without_effect_is_a_warning() {
    let metric = |name: &str| json!({"type": "External", "external": {"metric": {"name": name}, "target": {"type": "Value", "value": 1}}});
    let scale = |policy: Value| json!({"scale": {"max": 3, "metrics": [metric("lag"), metric("queue")], "policy": policy}});
    let problems_of = |policy| problems_of(&[service("shop", scale(policy))]);
    let marks = json!({"watermarks": {"metric": "queue", "high": 2, "low": 1}});
    let is_warning = |line: &String| line.contains("has no effect");
    assert_eq!(
        problems_of(marks).into_iter().filter(is_warning).collect::<Vec<_>>(),
        ["0 spec.scale.metrics[0]: lag is shown but has no effect: policy watermarks uses only queue"]
    );
    assert!(
        !problems_of(json!("hpa")).iter().any(is_warning)
            && !problems_of(json!({"targetTracking": {}})).iter().any(is_warning)
    );
}

#[test]
fn request_limits_have_a_range() {
    let spec = |field: &str, limit: u32| {
        service(
            "shop",
            json!({"ports": [{"name": "http"}], "scale": {"replicas": 1},
                "expose": {"listen": "127.0.0.1:80", "port": "http", "limits": {field: limit}}}),
        )
    };
    for field in ["inFlight", "inFlightPerReplica"] {
        assert!(problems_of(&[spec(field, 1)]).is_empty());
        assert!(problems_of(&[spec(field, 1_000_000)]).is_empty());
        for limit in [0, 1_000_001] {
            let sentence =
                format!("0 spec.expose.limits.{field}: must be between 1 and 1000000, not {limit}");
            has(&[spec(field, limit)], &sentence);
        }
    }
}

#[test]
fn the_bounds_of_the_adaptive_limit_have_a_range_and_an_order() {
    let spec = |adaptive: Value| {
        json!({"ports": [{"name": "http"}], "scale": {"replicas": 1},
            "expose": {"listen": "127.0.0.1:80", "port": "http", "limits": {"adaptive": adaptive}}})
    };
    for adaptive in [json!({}), json!({"min": 7, "max": 7}), json!({"tolerancePercent": 0})] {
        assert!(problems_of(&[service("shop", spec(adaptive))]).is_empty());
    }
    for (adaptive, sentence) in [
        (json!({"min": 8, "max": 7}), "min: must be between 1 and 7, not 8"),
        (json!({"min": 0}), "min: must be between 1 and 1000, not 0"),
        (json!({"max": 1_000_001}), "max: must be between 1 and 1000000, not 1000001"),
        (json!({"tolerancePercent": 1001}), "tolerancePercent: must be between 0 and 1000, not 1001"),
    ] {
        has(&[service("shop", spec(adaptive))], &format!("0 spec.expose.limits.adaptive.{sentence}"));
    }
}

#[test]
fn outlier_settings_have_a_range() {
    let spec = |protocol: &str, outliers: Value| {
        service(
            "shop",
            json!({"ports": [{"name": "p", "protocol": protocol}],
                "expose": {"listen": "127.0.0.1:80", "port": "p", "outliers": outliers}}),
        )
    };
    let all = json!({"failuresInARow": 1000, "ejection": "100ms", "longest": "1h", "maxPercent": 50,
        "slow": {"percent": 110, "atLeast": "0s", "window": "100ms", "answers": 1}});
    for outliers in [json!({}), json!({"slow": {}}), all] {
        assert!(problems_of(&[spec("http", outliers)]).is_empty());
    }
    for (protocol, outliers, sentence) in [
        ("http", json!({"failuresInARow": 0}), "failuresInARow: must be between 1 and 1000, not 0"),
        ("http", json!({"maxPercent": 51}), "maxPercent: must be between 1 and 50, not 51"),
        ("http", json!({"ejection": "1m", "longest": "30s"}), "longest: must be between 1m and 1h, not 30s"),
        ("http", json!({"slow": {"percent": 100}}), "slow.percent: must be between 110 and 10000, not 100"),
        ("http", json!({"slow": {"window": "10ms"}}), "slow.window: must be between 100ms and 1h, not 10ms"),
        ("http", json!({"slow": {"answers": 0}}), "slow.answers: must be between 1 and 1000000, not 0"),
        ("tcp", json!({"slow": {}}), "slow: the duration of a connection"),
        ("udp", json!({"slow": {}}), "slow: the duration of a session"),
    ] {
        has(&[spec(protocol, outliers)], &format!("0 spec.expose.outliers.{sentence}"));
    }
    assert!(problems_of(&[spec("tcp", json!({"failuresInARow": 3}))]).is_empty());
}

#[test]
fn endpoints_elsewhere_must_not_loop_or_replace_a_service_scaled_to_zero() {
    let spec = |fields: Value| {
        let mut expose = json!({"listen": "0.0.0.0:8080", "port": "p"});
        expose.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        json!({"ports": [{"name": "p"}], "expose": expose})
    };
    let at = |addresses: &[&str]| -> Value {
        addresses.iter().map(|address| json!({"address": address, "zone": "b"})).collect()
    };
    let two = at(&["10.0.0.7:8080", "[fd00::7]:8080"]);
    let both = json!({"endpoints": two, "trafficDistribution": "PreferSameZone"});
    assert!(problems_of(&[service("shop", spec(both.clone()))]).is_empty());
    for (fields, sentence) in [
        (
            json!({"trafficDistribution": "PreferSameZone"}),
            "trafficDistribution: all replicas are in one zone",
        ),
        (
            json!({"endpoints": at(&["10.0.0.7:1", "10.0.0.7:1"])}),
            "endpoints[1].address: 10.0.0.7:1 is given twice",
        ),
        (json!({"endpoints": at(&["127.0.0.1:8080"])}), "endpoints[0].address: the proxy itself listens on"),
        (
            json!({"endpoints": [{"address": "10.0.0.7:1", "weight": 257}]}),
            "endpoints[0].weight: must be between 1 and 256, not 257",
        ),
    ] {
        has(&[service("shop", spec(fields))], &format!("0 spec.expose.{sentence}"));
    }
    let many: Vec<String> = (1..=257).map(|port| format!("10.0.0.7:{port}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    has(
        &[service("shop", spec(json!({"endpoints": at(&many)})))],
        "0 spec.expose.endpoints: a service has at most 256",
    );
    let mut rests = spec(both);
    rests["scale"] = json!({"max": 2, "toZero": {}});
    has(&[service("shop", rests)], "0 spec.expose.endpoints: the endpoints would answer the requests of a");
}

#[test]
fn a_hedge_has_a_delay_or_a_percentile() {
    let spec = |hedge: Value| {
        json!({"ports": [{"name": "http"}], "scale": {"replicas": 2},
            "expose": {"listen": "127.0.0.1:80", "port": "http", "hedge": hedge}})
    };
    for hedge in [json!({}), json!({"after": "50ms"}), json!({"percentile": 99, "budgetPercent": 1})] {
        assert!(problems_of(&[service("shop", spec(hedge))]).is_empty());
    }
    for (hedge, sentence) in [
        (
            json!({"after": "50ms", "percentile": 99}),
            "percentile: after already gives the time: remove one of them",
        ),
        (json!({"after": "0s"}), "after: must be between"),
        (json!({"percentile": 100}), "percentile: must be between 50 and 99, not 100"),
        (json!({"budgetPercent": 0}), "budgetPercent: must be between 1 and 100, not 0"),
    ] {
        has(&[service("shop", spec(hedge))], &format!("0 spec.expose.hedge.{sentence}"));
    }
}

#[test]
fn certificate_files_have_valid_paths() {
    let spec = |tls: Value| json!({"ports": [{"name": "http"}], "expose": {"listen": "127.0.0.1:443", "port": "http", "tls": tls}});
    assert!(
        problems_of(&[service("shop", spec(json!({"certificate": "a.pem", "key": "a.key"})))]).is_empty()
    );
    has(
        &[service("shop", spec(json!({"certificate": "a.pem", "key": ""})))],
        "0 spec.expose.tls: the path of a file must not be empty",
    );
}

/// A service behind one external balancer, with these fields of `external` over those that are right.
fn balanced(name: &str, expose: &Value, external: &Value) -> Resource {
    let mut one = json!({"format": "nginx", "file": "/run/shop.conf", "check": ["nginx", "-t"], "reload": ["nginx", "-s", "reload"]});
    let fields = external.as_object().expect("an object").clone();
    one.as_object_mut().expect("an object").extend(fields);
    let mut spec = json!({"port": "http", "external": [one]});
    spec.as_object_mut().expect("an object").extend(expose.as_object().expect("an object").clone());
    service(name, json!({"ports": [{"name": "http"}], "expose": spec}))
}

#[test]
fn a_service_needs_a_listener_or_an_external_balancer() {
    let none = json!({"ports": [{"name": "http"}], "expose": {"port": "http"}});
    has(&[service("shop", none)], "0 spec.expose.listen: the service needs a listen address");
    assert_eq!(problems_of(&[balanced("shop", &json!({}), &json!({}))]), [""; 0]);
    assert_eq!(problems_of(&[balanced("shop", &json!({"listen": "127.0.0.1:80"}), &json!({}))]), [""; 0]);
    let tls = json!({"tls": {"certificate": "a.pem", "key": "a.key"}});
    has(&[balanced("shop", &tls, &json!({}))], "0 spec.expose.tls: only the proxy uses certificates");
}

#[test]
fn invalid_files_commands_and_times_of_external_balancers_are_refused() {
    for (external, sentence) in [
        (json!({"file": ""}), "0 spec.expose.external[0].file: must be the path of a file"),
        (json!({"file": "/etc/nginx/"}), "0 spec.expose.external[0].file: must be the path of a file"),
        (json!({"file": "/etc/.."}), "0 spec.expose.external[0].file: must be the path of a file"),
        (json!({"file": "/etc/a\nb"}), "0 spec.expose.external[0].file: must be the path of a file"),
        (json!({"check": []}), "0 spec.expose.external[0].check: the command must name a program"),
        (json!({"reload": [""]}), "0 spec.expose.external[0].reload: the command must name a program"),
        (
            json!({"reload": ["a", "\0"]}),
            "0 spec.expose.external[0].reload: an argument must not contain a zero byte",
        ),
        (json!({"timeout": "1h"}), "0 spec.expose.external[0].timeout: must be between 100ms and 10m"),
        (json!({"every": "1ms"}), "0 spec.expose.external[0].every: must be between 100ms and 1h"),
    ] {
        has(&[balanced("shop", &json!({}), &external)], sentence);
    }
}

#[test]
fn an_access_log_has_a_file_and_bounds() {
    let log = |log: Value| balanced("shop", &json!({"listen": "127.0.0.1:80", "accessLog": log}), &json!({}));
    for right in [
        json!({"file": "-"}),
        json!({"file": "/var/log/shop.log", "format": "combined", "size": "1Gi", "keep": 0}),
    ] {
        assert_eq!(problems_of(&[log(right)]), [""; 0]);
    }
    for (wrong, sentence) in [
        (json!({"file": ""}), "0 spec.expose.accessLog.file: must be the path of a file"),
        (
            json!({"file": "-", "size": "1"}),
            "0 spec.expose.accessLog.size: must be a whole number of bytes between 4Ki and 1Ti, not 1",
        ),
        (json!({"file": "-", "keep": 1001}), "0 spec.expose.accessLog.keep: must be at most 1000, not 1001"),
    ] {
        has(&[log(wrong)], sentence);
    }
    let elsewhere = balanced("shop", &json!({"accessLog": {"file": "-"}}), &json!({}));
    has(&[elsewhere], "0 spec.expose.accessLog: only the proxy writes");
}

#[test]
fn two_services_cannot_write_the_same_file() {
    let set = [balanced("z", &json!({}), &json!({})), balanced("a", &json!({}), &json!({}))];
    has(&set, "1 spec.expose.external[0].file: service z already writes this file");
}

#[test]
fn a_service_that_scales_to_zero_cannot_have_external_balancers() {
    let Resource::Service(mut shop) = balanced("shop", &json!({"listen": "127.0.0.1:80"}), &json!({})) else {
        unreachable!("it is a service")
    };
    let scale = json!({"replicas": 1, "toZero": {"after": "20s"}});
    shop.spec.scale = serde_json::from_value(scale).expect("a scale");
    has(
        &[Resource::Service(shop)],
        "0 spec.scale.toZero: scaling to zero needs all requests to pass the proxy",
    );
}

#[test]
fn hash_keys_must_be_supported_by_the_external_balancer() {
    let expose = |hash: Value| json!({"balance": "consistentHash", "hash": hash});
    let (nginx, haproxy) = (json!({}), json!({"format": "haproxy"}));
    for (external, hash, fits) in [
        (&nginx, json!({"header": "X-User"}), true),
        (&nginx, json!({"header": "x_user"}), false),
        (&nginx, json!({"cookie": "user_id"}), true),
        (&nginx, json!({"cookie": "user-id"}), false),
        (&haproxy, json!({"cookie": "user-id"}), true),
        (&haproxy, json!({"header": "x#y"}), false),
    ] {
        let found = problems_of(&[balanced("shop", &expose(hash.clone()), external)]);
        assert_eq!(found.is_empty(), fits, "{hash} {found:?}");
    }
}

#[test]
fn exposed_and_probed_ports_exist() {
    let spec = json!({"ports": [{"name": "http"}], "expose": {"listen": "127.0.0.1:80", "port": "web"},
        "probes": {"liveness": {"tcp": {"port": "db"}}}});
    let set = [service("a", spec)];
    has(&set, "0 spec.expose.port: the service has no port web; its ports are http");
    has(&set, "0 spec.probes.liveness.tcp.port: the service has no port db");
    let set = [service("a", json!({"probes": {"startup": {"http": {}}}}))];
    has(&set, "0 spec.probes.startup.http: a probe by http needs a TCP port, and the service has none");
}

#[test]
fn values_must_be_in_range() {
    for (spec, start) in [
        (json!({"resources": {"cpu": 0}}), "0 spec.resources.cpu: a replica needs more than 0"),
        (
            json!({"resources": {"memory": "128m"}}),
            "0 spec.resources.memory: memory is counted in whole bytes",
        ),
        (json!({"resources": {"memory": 128}}), "0 spec.resources.memory: a replica needs at least 1Mi"),
        (
            json!({"probes": {"liveness": {"command": ["x"], "every": "1ms"}}}),
            "0 spec.probes.liveness.every: must be between 10ms and 1h, not 1ms",
        ),
        (
            json!({"probes": {"liveness": {"command": ["x"], "timeout": "0s"}}}),
            "0 spec.probes.liveness.timeout: must be between 1ms and 1h, not 0s",
        ),
        (json!({"stop": {"grace": "2h"}}), "0 spec.stop.grace: must be between 0s and 1h, not 2h"),
        (json!({"update": {"minReady": "2h"}}), "0 spec.update.minReady: must be between 0s and 1h, not 2h"),
        (json!({"run": {"command": []}}), "0 spec.run.command: the command must name a program"),
        (
            json!({"run": {"command": ["x"], "env": {"A=B": ""}}}),
            "0 spec.run.env.A=B: the name of a variable",
        ),
        (json!({"ports": [{"name": "a"}, {"name": "a"}]}), "0 spec.ports[1].name: there is another port a"),
        (
            json!({"scale": {"min": 0, "max": 2}}),
            "0 spec.scale.min: 0 replicas need a metric that exists without replicas: one of type Object or External; scale.toZero needs no minimum of 0",
        ),
    ] {
        has(&[service("a", spec)], start);
    }
}

#[test]
fn a_fixed_port_for_several_replicas_is_a_warning() {
    let spec = json!({"ports": [{"name": "a", "number": 80}], "scale": {"replicas": 2}});
    let found = check(&[service("a", spec)], Severity::Error);
    assert_eq!(found.iter().map(|p| p.severity).collect::<Vec<_>>(), [Severity::Warning]);
}

#[test]
fn all_problems_of_an_autoscaler_are_reported() {
    let spec = json!({"scaleTargetRef": {"kind": "Deployment", "name": "shop"}, "minReplicas": 9, "maxReplicas": 5,
        "metrics": [
            {"type": "Resource", "resource": {"name": "disk", "target": {"type": "Utilization"}}},
            {"type": "Pods"},
            {"type": "Pods", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}},
            {"type": "External", "external": {"metric": {"name": ""}, "target": {"type": "Value", "value": "-1"}}},
        ],
        "behavior": {"scaleUp": {"stabilizationWindowSeconds": 3601, "policies": []},
            "scaleDown": {"policies": [{"type": "Pods", "value": 0, "periodSeconds": 1801}], "tolerance": "-0.1"}}});
    let set = [service("shop", json!({})), resource("autoscaling/v2", "HorizontalPodAutoscaler", "a", &spec)];
    let problems_of: Vec<String> =
        check(&set, Severity::Error).into_iter().map(|p| p.problem.path.replacen("spec.", "", 1)).collect();
    assert_eq!(
        problems_of,
        [
            "metrics[0].resource.name",
            "metrics[0].resource.target",
            "metrics[1].pods",
            "metrics[2].resource",
            "metrics[2].pods",
            "metrics[3].external.metric.name",
            "metrics[3].external.target.value",
            "minReplicas",
            "behavior.scaleUp.stabilizationWindowSeconds",
            "behavior.scaleUp.policies",
            "behavior.scaleDown.policies[0].value",
            "behavior.scaleDown.policies[0].periodSeconds",
            "behavior.scaleDown.tolerance",
        ]
    );
}

#[test]
fn settings_that_a_protocol_does_not_support_are_refused() {
    let spec = |protocol: &str, more: Value| {
        let mut expose = json!({"listen": "127.0.0.1:80", "port": "p"});
        expose.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"ports": [{"name": "p", "protocol": protocol}], "expose": expose})
    };
    let by_header = json!({"balance": "consistentHash", "hash": {"header": "user"}});
    let sends = json!({"proxyProtocol": {"accept": true, "send": "v2"}});
    let adapts = json!({"limits": {"adaptive": {}}});
    let hedges = json!({"hedge": {}});
    let shows = json!({"tls": {"certificates": [{"certificate": "c", "key": "k"}]}});
    for (protocol, more, problems) in [
        ("tcp", &by_header, "0 spec.expose.hash: plain TCP is not parsed"),
        ("tcp", &adapts, "0 spec.expose.limits.adaptive: plain TCP is not parsed"),
        ("tcp", &hedges, "0 spec.expose.hedge: plain TCP is not parsed"),
        ("udp", &by_header, "0 spec.expose.hash: datagrams are not parsed"),
        ("udp", &adapts, "0 spec.expose.limits.adaptive: datagrams are not parsed"),
        ("udp", &hedges, "0 spec.expose.hedge: datagrams are not parsed"),
        ("udp", &sends, "0 spec.expose.proxyProtocol: its header"),
        ("udp", &shows, "0 spec.expose.tls: TLS needs connections"),
        ("grpc", &sends, "0 spec.expose.proxyProtocol.send: HTTP/2 connections"),
        ("http2", &sends, "0 spec.expose.proxyProtocol.send: HTTP/2 connections"),
    ] {
        has(&[service("a", spec(protocol, more.clone()))], problems);
    }
    for (protocol, more) in [("http", &by_header), ("http", &sends), ("tcp", &sends), ("grpc", &by_header)] {
        assert!(problems_of(&[service("a", spec(protocol, more.clone()))]).is_empty(), "{protocol}");
    }
}

#[test]
fn tcp_and_udp_ports_do_not_conflict_and_udp_ports_are_neither_probed_nor_routed_to() {
    let on = |name: &str, protocol: &str| {
        let ports = json!([{"name": "p", "protocol": protocol}]);
        service(name, json!({"ports": ports, "expose": {"listen": "127.0.0.1:53", "port": "p"}}))
    };
    assert!(problems_of(&[on("a", "tcp"), on("b", "udp")]).is_empty());
    has(&[on("a", "udp"), on("b", "udp")], "1 spec.expose.listen: service a listens on 127.0.0.1:53 already");

    let probed = |probe: Value| {
        let ports = json!([{"name": "ask", "protocol": "udp"}, {"name": "http"}]);
        service("a", json!({"ports": ports, "probes": {"readiness": probe}}))
    };
    assert!(problems_of(&[probed(json!({"tcp": {}}))]).is_empty(), "the first of TCP is asked");
    has(
        &[probed(json!({"tcp": {"port": "ask"}}))],
        "0 spec.probes.readiness.tcp.port: a probe by tcp connects",
    );
    let alone = json!({"ports": [{"name": "ask", "protocol": "udp"}], "probes": {"readiness": {"http": {}}}});
    has(&[service("a", alone)], "0 spec.probes.readiness.http: a probe by http needs a TCP port");
}

#[test]
fn the_ranges_in_the_schema_are_those_of_the_checks() {
    use crate::resource::Kind;
    use crate::resource::schema::schema;

    let schema = schema(Kind::Service);
    let spans = [
        ("Probe", "every", "10ms", "9ms"),
        ("Probe", "timeout", "1ms", "0s"),
        ("Timeouts", "connect", "1ms", "0s"),
        ("Timeouts", "response", "1ms", "0s"),
        ("Timeouts", "idle", "1ms", "0s"),
        ("Timeouts", "stream", "1ms", "0s"),
        ("Update", "minReady", "0s", ""),
        ("Stop", "grace", "0s", ""),
        ("Stop", "drain", "0s", ""),
    ];
    for (definition, field, least, below) in spans {
        let tells =
            schema["$defs"][definition]["properties"][field]["description"].as_str().expect("a description");
        assert!(tells.contains(&format!("{least} to 1h")), "{definition}.{field}: {tells}");
        let with = |value: &str| {
            let spec = match definition {
                "Probe" => json!({"probes": {"liveness": {"command": ["x"], field: value}}}),
                "Timeouts" => json!({"ports": [{"name": "http"}],
                    "expose": {"listen": "127.0.0.1:80", "port": "http", "timeouts": {field: value}}}),
                "Update" => json!({"update": {field: value}}),
                _ => json!({"stop": {field: value}}),
            };
            problems_of(&[service("a", spec)]).len()
        };
        let wrong =
            [with(least), with("1h"), with("3600001ms"), if below.is_empty() { 1 } else { with(below) }];
        assert_eq!(wrong, [0, 0, 1, 1], "{definition}.{field}");
    }
    for field in ["min", "max", "replicas"] {
        let most = &schema["$defs"]["Scale"]["properties"][field]["maximum"];
        assert_eq!(*most, json!(crate::resource::REPLICAS_MAX), "{field}");
    }
}

fn route(name: &str, spec: Value) -> Resource {
    let mut whole = json!({"listen": "127.0.0.1:80", "rules": [{"backendRefs": [{"name": "shop"}]}]});
    let Value::Object(fields) = spec else { panic!("a spec is an object") };
    for (key, value) in fields {
        whole[key] = value;
    }
    resource("homeostat/v1", "Route", name, &whole)
}

#[test]
fn routes_share_an_address_and_services_do_not() {
    let shop = || service("shop", json!({"ports": [{"name": "http"}]}));
    assert_eq!(problems_of(&[shop(), route("a", json!({})), route("b", json!({}))]), [""; 0]);
    let all = route("b", json!({"listen": "0.0.0.0:80"}));
    has(&[shop(), route("a", json!({})), all], "2 spec.listen: route a listens on 127.0.0.1:80");
    let exposed = service(
        "own",
        json!({"ports": [{"name": "http"}], "expose": {"listen": "127.0.0.1:80", "port": "http"}}),
    );
    has(&[shop(), exposed, route("a", json!({}))], "2 spec.listen: service own listens on 127.0.0.1:80");
}

#[test]
fn a_route_to_an_unknown_service_is_a_warning() {
    let found = check(&[route("a", json!({}))], Severity::Error);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].severity, Severity::Warning);
    assert_eq!(found[0].problem.path, "spec.rules[0].backendRefs[0].name");
    has(
        &[route("a", json!({})), service("shop", json!({}))],
        "0 spec.rules[0].backendRefs[0].name: service shop has no port",
    );
}

#[test]
fn a_route_must_name_an_existing_tcp_port_of_its_service() {
    let ports = json!([{"name": "http"}, {"name": "admin"}, {"name": "ask", "protocol": "udp"}]);
    let to = |port: &str| route("a", json!({"rules": [{"backendRefs": [{"name": "shop", "port": port}]}]}));
    let shop = || service("shop", json!({"ports": ports}));
    assert_eq!(problems_of(&[to("admin"), shop()]), [""; 0]);
    has(
        &[to("admni"), shop()],
        "0 spec.rules[0].backendRefs[0].port: service shop has no port admni; those that take requests are http, admin",
    );
    has(&[to("ask"), shop()], "0 spec.rules[0].backendRefs[0].port: port ask of service shop is a UDP port");
    has(
        &[to("http"), service("shop", json!({}))],
        "0 spec.rules[0].backendRefs[0].port: service shop has no port http: add it under its spec.ports",
    );
    let mirror =
        json!({"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "shop", "port": "b"}}});
    has(
        &[route("a", json!({"rules": [{"filters": [mirror]}]})), shop()],
        "0 spec.rules[0].filters[0].requestMirror.backendRef.port: service shop has no port b",
    );
    let by_datagrams =
        service("shop", json!({"ports": ports, "expose": {"listen": "127.0.0.1:53", "port": "ask"}}));
    assert_eq!(problems_of(&[to("admin"), by_datagrams]), [""; 0], "what it exposes is another port");
}

#[test]
fn contradictory_and_invalid_rules_are_refused() {
    let rule = |rule: Value| route("a", json!({"rules": [rule]}));
    let rewrite = json!({"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}}});
    let redirect = json!({"type": "RequestRedirect", "requestRedirect": {"hostname": "a.b"}});
    let set = |name: &str| json!({"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": name, "value": "a"}]}});
    for (wrong, start) in [
        (json!({"filters": [rewrite]}), "0 spec.rules[0].filters[0].urlRewrite.path: "),
        (
            json!({"filters": [redirect, rewrite], "matches": [{}]}),
            "0 spec.rules[0].filters[1]: a rule that redirects",
        ),
        (
            json!({"filters": [redirect], "backendRefs": [{"name": "shop"}]}),
            "0 spec.rules[0].filters[0].requestRedirect: ",
        ),
        (json!({"filters": [set("a"), set("b")]}), "0 spec.rules[0].filters[1]: a rule has one filter"),
        (
            json!({"filters": [set("Content-Length")]}),
            "0 spec.rules[0].filters[0].requestHeaderModifier.set[0].name: ",
        ),
        (
            json!({"backendRefs": [{"name": "shop", "weight": 1_000_001}]}),
            "0 spec.rules[0].backendRefs[0].weight: ",
        ),
        (
            json!({"timeouts": {"request": "1s", "backendRequest": "2s"}}),
            "0 spec.rules[0].timeouts.backendRequest: ",
        ),
        (
            json!({"matches": [{"headers": [{"name": "a", "value": "b"}, {"name": "A", "value": "c"}]}]}),
            "0 spec.rules[0].matches[0].headers[1].name: ",
        ),
        (
            json!({"matches": [{"headers": [{"type": "RegularExpression", "name": "a", "value": "("}]}]}),
            "0 spec.rules[0].matches[0].headers[0].value: it is not a regular expression",
        ),
        (
            json!({"matches": [{"queryParams": [{"name": "", "value": "b"}]}]}),
            "0 spec.rules[0].matches[0].queryParams[0].name: ",
        ),
    ] {
        has(&[rule(wrong)], start);
    }
    has(&[route("a", json!({"limits": {"connections": 1_000_001}}))], "0 spec.limits.connections: ");
    has(&[route("a", json!({"limits": {"body": "1500m"}}))], "0 spec.limits.body: ");
    has(&[route("a", json!({"rules": []}))], "0 spec.rules: a route has at least one rule");
    has(&[route("a", json!({"hostnames": ["a", "a"]}))], "0 spec.hostnames[1]: a is named twice");
}

#[test]
fn a_filter_has_the_field_that_its_type_names() {
    for wrong in [
        json!({"type": "URLRewrite"}),
        json!({"type": "URLRewrite", "requestRedirect": {}}),
        json!({"type": "URLRewrite", "urlRewrite": {}, "requestRedirect": {}}),
        json!({"type": "Other", "urlRewrite": {}}),
    ] {
        assert!(serde_json::from_value::<crate::resource::route::RouteFilter>(wrong).is_err());
    }
}
