use insta::assert_snapshot;

use crate::{diagnostics_of, hpa, service};

#[test]
fn a_misspelt_field_suggests_the_nearest_one() {
    let text =
        service("  probes:\n    readiness:\n      http: {}\n      evry: 500ms\n  ports: [{name: http}]\n");
    assert_snapshot!(diagnostics_of(&text), @r#"
    error: spec.probes.readiness.evry: unknown field "evry"; did you mean every?
     --> shop.yaml:9:7
      |
    9 |       evry: 500ms
      |       ^^^^ expected one of command, every, failures, grpc, http, successes, tcp, timeout
    "#);
}

#[test]
fn every_error_of_a_file_is_reported() {
    let text = "apiVersion: homeostat/v1\nkind: Service\nmetadata: {name: Shop}\nspec:\n  run: {comand: [x]}\n  resources: {cpu: 250x}\n  scale: {min: -1, max: many}\n---\nkind: Servise\n";
    assert_snapshot!(diagnostics_of(text), @r#"
    error: metadata.name: a name contains only lower-case letters, digits and '-', not 'S'
     --> shop.yaml:3:18
      |
    3 | metadata: {name: Shop}
      |                  ^^^^

    error: spec.run.comand: unknown field "comand"; did you mean command?
     --> shop.yaml:5:9
      |
    5 |   run: {comand: [x]}
      |         ^^^^^^ expected one of command, env, user, workingDirectory

    error: spec.run: the field command is missing
     --> shop.yaml:5:3
      |
    5 |   run: {comand: [x]}
      |   ^^^ command: The program and its arguments, run without a shell; `$(NAME)` in an argument stands for the environment variable NAME, and `$$` for `$`, so that the `$$` of a shell is written `$$$$`

    error: spec.resources.cpu: "x" is not a suffix of a quantity; write one of m, k, M, G, T, P, Ki, Mi, Gi, Ti, Pi or an exponent such as e3
     --> shop.yaml:6:20
      |
    6 |   resources: {cpu: 250x}
      |                    ^^^^

    error: spec.scale.min: expected a whole number from 0 to 1000000, found -1
     --> shop.yaml:7:16
      |
    7 |   scale: {min: -1, max: many}
      |                ^^

    error: spec.scale.max: expected a whole number from 1 to 1000000, found the text "many"
     --> shop.yaml:7:25
      |
    7 |   scale: {min: -1, max: many}
      |                         ^^^^

    error: kind: "Servise" is not a kind; did you mean Service?
     --> shop.yaml:9:7
      |
    9 | kind: Servise
      |       ^^^^^^^ expected one of Service, HorizontalPodAutoscaler, Route, MetricSource

    error: the field apiVersion is missing
     --> shop.yaml:9:1
      |
    9 | kind: Servise
      | ^^^^ expected one of homeostat/v1, autoscaling/v2, autoscaling/v2beta2, autoscaling/v2beta1, autoscaling/v1
    "#);
}

#[test]
fn an_unknown_kind_suggests_the_nearest_one() {
    assert_snapshot!(diagnostics_of("apiVersion: homeostat/v1\nkind: HorizontalPodAutoScaler\n"), @r#"
    error: kind: "HorizontalPodAutoScaler" is not a kind; did you mean HorizontalPodAutoscaler?
     --> shop.yaml:2:7
      |
    2 | kind: HorizontalPodAutoScaler
      |       ^^^^^^^^^^^^^^^^^^^^^^^ expected one of Service, HorizontalPodAutoscaler, Route, MetricSource
    "#);
}

#[test]
fn an_unknown_version_lists_those_of_its_kind() {
    assert_snapshot!(diagnostics_of("apiVersion: autoscaling/v2beta3\nkind: HorizontalPodAutoscaler\n"), @r#"
    error: apiVersion: "autoscaling/v2beta3" is not a version of HorizontalPodAutoscaler; did you mean autoscaling/v2beta2?
     --> shop.yaml:1:13
      |
    1 | apiVersion: autoscaling/v2beta3
      |             ^^^^^^^^^^^^^^^^^^^ expected one of autoscaling/v2, autoscaling/v2beta2, autoscaling/v2beta1, autoscaling/v1
    "#);
}

#[test]
fn a_missing_kind_and_version_are_both_reported() {
    assert_snapshot!(diagnostics_of("metadata: {name: shop}\n"), @r#"
    error: the field kind is missing
     --> shop.yaml:1:1
      |
    1 | metadata: {name: shop}
      | ^^^^^^^^ expected one of Service, HorizontalPodAutoscaler, Route, MetricSource

    error: the field apiVersion is missing
     --> shop.yaml:1:1
      |
    1 | metadata: {name: shop}
      | ^^^^^^^^ expected one of homeostat/v1, autoscaling/v2, autoscaling/v2beta2, autoscaling/v2beta1, autoscaling/v1
    "#);
}

#[test]
fn a_missing_field_is_reported_with_its_meaning() {
    assert_snapshot!(diagnostics_of("apiVersion: homeostat/v1\nkind: Service\nmetadata: {}\nspec:\n  ports: []\n"), @r#"
    error: metadata: the field name is missing
     --> shop.yaml:3:1
      |
    3 | metadata: {}
      | ^^^^^^^^ name: The name of the resource, which no other of its kind has

    error: spec: the field run is missing
     --> shop.yaml:4:1
      |
    4 | spec:
      | ^^^^ run: What each replica runs
    "#);
}

#[test]
fn an_unknown_unit_lists_the_valid_ones() {
    assert_snapshot!(diagnostics_of(&service("  stop: {grace: 10sec}\n")), @r#"
    error: spec.stop.grace: "sec" is not a unit of time; write one of ms, s, m, h, d
     --> shop.yaml:6:17
      |
    6 |   stop: {grace: 10sec}
      |                 ^^^^^
    "#);
}

#[test]
fn a_bare_number_for_a_time_says_how_to_write_it() {
    assert_snapshot!(diagnostics_of(&service("  stop:\n    grace: 10\n")), @r#"
    error: spec.stop.grace: a length of time needs a unit: write 10s for seconds or 10ms for milliseconds
     --> shop.yaml:7:12
      |
    7 |     grace: 10
      |            ^^
    "#);
}

#[test]
fn a_wrong_suffix_lists_the_valid_ones() {
    assert_snapshot!(diagnostics_of(&service("  resources: {memory: 128MB}\n")), @r#"
    error: spec.resources.memory: "MB" is not a suffix of a quantity; write one of m, k, M, G, T, P, Ki, Mi, Gi, Ti, Pi or an exponent such as e3
     --> shop.yaml:6:23
      |
    6 |   resources: {memory: 128MB}
      |                       ^^^^^
    "#);
}

#[test]
fn an_unknown_value_suggests_the_nearest_one() {
    let text = service(
        "  ports: [{name: http}]\n  expose: {listen: \"127.0.0.1:80\", port: http, balance: least-loaded}\n",
    );
    assert_snapshot!(diagnostics_of(&text), @r#"
    error: spec.expose.balance: unknown value "least-loaded"; did you mean leastLoaded?
     --> shop.yaml:7:57
      |
    7 |   expose: {listen: "127.0.0.1:80", port: http, balance: least-loaded}
      |                                                         ^^^^^^^^^^^^ expected one of roundRobin, random, weighted, leastLoaded, consistentHash
    "#);
}

#[test]
fn a_number_in_the_environment_needs_quotes() {
    let text = "apiVersion: homeostat/v1\nkind: Service\nmetadata: {name: shop}\nspec:\n  run:\n    command: [./shop]\n    env:\n      WORKERS: 8\n";
    assert_snapshot!(diagnostics_of(text), @r#"
    error: spec.run.env.WORKERS: expected a text, found the number 8; write "8" in quotes if it is meant as text
     --> shop.yaml:8:16
      |
    8 |       WORKERS: 8
      |                ^
    "#);
}

#[test]
fn a_command_must_be_a_list() {
    let text = "apiVersion: homeostat/v1\nkind: Service\nmetadata: {name: shop}\nspec:\n  run:\n    command: ./shop --port 80\n";
    assert_snapshot!(diagnostics_of(text), @r#"
    error: spec.run.command: expected a list, found the text "./shop --port 80"
     --> shop.yaml:6:14
      |
    6 |     command: ./shop --port 80
      |              ^^^^^^^^^^^^^^^^
    "#);
}

#[test]
fn a_probe_has_exactly_one_kind() {
    let text = service(
        "  ports: [{name: http}]\n  probes:\n    liveness: {http: {}, tcp: {}}\n    startup: {every: 1s}\n",
    );
    assert_snapshot!(diagnostics_of(&text), @r#"
    error: spec.probes.liveness: give exactly one of http, tcp, grpc, command; found http and tcp
     --> shop.yaml:8:5
      |
    8 |     liveness: {http: {}, tcp: {}}
      |     ^^^^^^^^

    error: spec.probes.startup: give exactly one of http, tcp, grpc, command; found none of them
     --> shop.yaml:9:5
      |
    9 |     startup: {every: 1s}
      |     ^^^^^^^
    "#);
}

#[test]
fn a_duplicate_key_is_an_error() {
    assert_snapshot!(diagnostics_of(&service("  stop: {}\n  stop: {}\n")), @r#"
    error: duplicate key "stop"
     --> shop.yaml:7:3
      |
    7 |   stop: {}
      |   ^^^^
    "#);
}

#[test]
fn invalid_yaml_is_reported_with_its_position() {
    assert_snapshot!(diagnostics_of("apiVersion: homeostat/v1\nkind: Service\nmetadata: {name: shop\nspec:\n  run: {command: [./shop]}\n"), @r#"
    error: invalid YAML: while parsing a flow mapping, did not find expected ',' or '}'
     --> shop.yaml:4:5
      |
    4 | spec:
      |     ^
    "#);
}

#[test]
fn a_tab_as_indentation_is_shown() {
    assert_snapshot!(diagnostics_of("apiVersion: homeostat/v1\nkind: Service\nmetadata:\n\tname: shop\n"), @r#"
    error: invalid YAML: tabs disallowed within this context (block indentation)
     --> shop.yaml:4:2
      |
    4 |     name: shop
      |     ^
    "#);
}

#[test]
fn a_fixed_number_of_replicas_and_bounds_exclude_each_other() {
    assert_snapshot!(diagnostics_of(&service("  scale: {replicas: 2, max: 4}\n")), @r#"
    error: spec.scale: a fixed number of replicas excludes autoscaling: give either replicas, or min and max with what to measure
     --> shop.yaml:6:3
      |
    6 |   scale: {replicas: 2, max: 4}
      |   ^^^^^
    "#);
}

#[test]
fn a_minimum_above_the_maximum_is_refused() {
    assert_snapshot!(diagnostics_of(&service("  scale: {min: 5, max: 4}\n")), @r#"
    error: spec.scale: min (5) is above max (4)
     --> shop.yaml:6:3
      |
    6 |   scale: {min: 5, max: 4}
      |   ^^^^^
    "#);
}

/// A service that is exposed, with these further lines.
fn exposed(more: &str) -> String {
    service(&format!(
        "  ports: [{{name: http}}]\n  expose:\n    listen: 127.0.0.1:8080\n    port: http\n{more}"
    ))
}

#[test]
fn a_service_with_external_endpoints_has_no_other_fields() {
    let text = exposed(
        "    trafficDistribution: PreferClose\n    endpoints: [{address: \"10.0.0.7:80\", weigth: 2}]\n",
    );
    assert_snapshot!(diagnostics_of(&text), @r#"
    error: spec.expose.trafficDistribution: unknown value "PreferClose"
      --> shop.yaml:10:26
       |
    10 |     trafficDistribution: PreferClose
       |                          ^^^^^^^^^^^ expected PreferSameZone

    error: spec.expose.endpoints[0].weigth: unknown field "weigth"; did you mean weight?
      --> shop.yaml:11:42
       |
    11 |     endpoints: [{address: "10.0.0.7:80", weigth: 2}]
       |                                          ^^^^^^ expected one of address, weight, zone
    "#);
}

#[test]
fn an_external_endpoint_is_an_address_and_not_a_name() {
    assert_snapshot!(diagnostics_of(&exposed("    endpoints: [{address: \"shop.internal:80\"}]\n")), @r#"
    error: spec.expose.endpoints[0].address: an endpoint is an IP address and a port, such as 10.0.0.7:8080 or [fd00::7]:8080, not "shop.internal:80"
      --> shop.yaml:10:27
       |
    10 |     endpoints: [{address: "shop.internal:80"}]
       |                           ^^^^^^^^^^^^^^^^^^
    "#);
    assert_snapshot!(diagnostics_of(&exposed("    endpoints: [{address: \"0.0.0.0:80\"}]\n")), @r#"
    error: spec.expose.endpoints[0].address: 0.0.0.0 is not the address of a single machine, so nothing can connect to it
      --> shop.yaml:10:27
       |
    10 |     endpoints: [{address: "0.0.0.0:80"}]
       |                           ^^^^^^^^^^^^
    "#);
    assert_snapshot!(diagnostics_of(&exposed("    endpoints: [{address: \"10.0.0.7:80\", zone: B}]\n")), @r#"
    error: spec.expose.endpoints[0].zone: a name contains only lower-case letters, digits and '-', not 'B'
      --> shop.yaml:10:48
       |
    10 |     endpoints: [{address: "10.0.0.7:80", zone: B}]
       |                                                ^
    "#);
}

#[test]
fn external_endpoints_are_distinct_and_not_the_proxy() {
    let text = exposed(
        "    endpoints:\n      - {address: \"127.0.0.1:8080\", weight: 0}\n      - {address: \"10.0.0.7:80\"}\n      \
         - {address: \"10.0.0.7:80\"}\n",
    );
    assert_snapshot!(diagnostics_of(&text), @r#"
    error: spec.expose.endpoints[0].address: the proxy itself listens on 127.0.0.1:8080: requests would loop
      --> shop.yaml:11:19
       |
    11 |       - {address: "127.0.0.1:8080", weight: 0}
       |                   ^^^^^^^^^^^^^^^^

    error: spec.expose.endpoints[0].weight: must be between 1 and 256, not 0
      --> shop.yaml:11:45
       |
    11 |       - {address: "127.0.0.1:8080", weight: 0}
       |                                             ^

    error: spec.expose.endpoints[2].address: 10.0.0.7:80 is given twice: give it a weight instead
      --> shop.yaml:13:19
       |
    13 |       - {address: "10.0.0.7:80"}
       |                   ^^^^^^^^^^^^^
    "#);
}

#[test]
fn an_exposed_port_must_be_one_of_the_ports() {
    let text = service("  ports: [{name: http}]\n  expose:\n    listen: 127.0.0.1:8080\n    port: web\n");
    assert_snapshot!(diagnostics_of(&text), @r#"
    error: spec.expose.port: the service has no port web; its ports are http
     --> shop.yaml:9:11
      |
    9 |     port: web
      |           ^^^
    "#);
}

#[test]
fn a_cycle_of_dependencies_is_shown_completely() {
    let head = "apiVersion: homeostat/v1\nkind: Service\n";
    let one = |name: &str, on: &str| {
        format!(
            "{head}metadata: {{name: {name}}}\nspec:\n  run: {{command: [x]}}\n  dependsOn:\n    - service: {on}\n"
        )
    };
    assert_snapshot!(diagnostics_of(&format!("{}---\n{}", one("a", "b"), one("b", "a"))), @r#"
    error: spec.dependsOn[0].service: services depend on each other in a cycle, so none can start: a → b → a
      --> shop.yaml:15:16
       |
    15 |     - service: a
       |                ^
    "#);
}

#[test]
fn an_autoscaler_without_its_service_is_shown_at_its_target() {
    assert_snapshot!(diagnostics_of(&hpa("v2", "  maxReplicas: 3\n")), @r#"
    error: spec.scaleTargetRef.name: there is no service shop
     --> shop.yaml:5:44
      |
    5 |   scaleTargetRef: {kind: Deployment, name: shop}
      |                                            ^^^^
    "#);
}

#[test]
fn a_newer_field_in_an_older_version_is_unknown() {
    let text = hpa(
        "v2beta1",
        "  maxReplicas: 3\n  metrics:\n    - type: Resource\n      resource:\n        name: cpu\n        target: {type: Utilization, averageUtilization: 50}\n",
    );
    assert_snapshot!(diagnostics_of(&text), @r#"
    error: spec.metrics[0].resource.target: unknown field "target"
      --> shop.yaml:11:9
       |
    11 |         target: {type: Utilization, averageUtilization: 50}
       |         ^^^^^^ expected one of name, targetAverageUtilization, targetAverageValue
    "#);
}

#[test]
fn an_error_in_an_older_version_is_reported_at_its_field() {
    let text = hpa(
        "v2beta1",
        "  maxReplicas: 3\n  metrics:\n    - type: Resource\n      resource:\n        name: disk\n        targetAverageUtilization: 0\n",
    );
    assert_snapshot!(diagnostics_of(&format!("{}---\n{text}", service(""))), @r#"
    error: spec.metrics[0].resource.name: only cpu and memory are measured, not "disk"
      --> shop.yaml:16:15
       |
    16 |         name: disk
       |               ^^^^

    error: spec.metrics[0].resource.targetAverageUtilization: a target must be above 0, not 0
      --> shop.yaml:17:35
       |
    17 |         targetAverageUtilization: 0
       |                                   ^
    "#);
}

#[test]
fn an_annotation_of_invalid_json_is_reported() {
    let text = hpa("v1", "  maxReplicas: 3\n").replace(
        "{name: shop}\nspec",
        "\n  name: shop\n  annotations:\n    autoscaling.alpha.kubernetes.io/behavior: '{'\nspec",
    );
    assert_snapshot!(diagnostics_of(&format!("{}---\n{text}", service(""))), @r#"
    error: metadata.annotations.autoscaling.alpha.kubernetes.io/behavior: the annotation is not valid JSON of the corresponding field: EOF while parsing an object at line 1 column 1
      --> shop.yaml:12:47
       |
    12 |     autoscaling.alpha.kubernetes.io/behavior: '{'
       |                                               ^^^
    "#);
}

#[test]
fn fields_that_kubernetes_refuses_are_refused() {
    let text = hpa(
        "v2",
        "  minReplicas: 4\n  maxReplicas: 3\n  behavior:\n    scaleDown:\n      policies:\n        - type: Pods\n          value: 0\n          periodSeconds: 1801\n",
    );
    assert_snapshot!(diagnostics_of(&format!("{}---\n{text}", service(""))), @r#"
    error: spec.minReplicas: the fewest replicas (4) must not be more than the most (3)
      --> shop.yaml:12:16
       |
    12 |   minReplicas: 4
       |                ^

    error: spec.behavior.scaleDown.policies[0].value: the value of a policy must be above 0, not 0
      --> shop.yaml:18:18
       |
    18 |           value: 0
       |                  ^

    error: spec.behavior.scaleDown.policies[0].periodSeconds: must be between 1 and 1800 seconds, not 1801
      --> shop.yaml:19:26
       |
    19 |           periodSeconds: 1801
       |                          ^^^^
    "#);
}

#[test]
fn an_alias_without_an_anchor_is_reported() {
    assert_snapshot!(diagnostics_of(&service("  stop: *slow\n")), @r#"
    error: there is no anchor &slow before this alias
     --> shop.yaml:6:9
      |
    6 |   stop: *slow
      |         ^^^^^
    "#);
}

#[test]
fn fields_of_later_versions_are_unknown_fields() {
    assert_snapshot!(diagnostics_of(&service("  scale:\n    max: 3\n    budget: 20\n")), @r#"
    error: spec.scale.budget: unknown field "budget"
     --> shop.yaml:8:5
      |
    8 |     budget: 20
      |     ^^^^^^ expected one of behavior, flaps, forecast, max, metrics, min, mode, policy, protect, remove, replicas, schedule, shadows, sizes, slo, toZero, vertical
    "#);
}

#[test]
fn a_percentage_in_an_slo_is_reported_at_its_field() {
    let text =
        service("  scale:\n    max: 3\n    slo: {latency: {quantile: 95, below: 200ms}, objective: 99.9}\n");
    assert_snapshot!(diagnostics_of(&text), @r#"
    error: spec.scale.slo.latency.quantile: 95 is not a fraction; write a number above 0 and below 1 with at most six decimals, such as 0.99
     --> shop.yaml:8:31
      |
    8 |     slo: {latency: {quantile: 95, below: 200ms}, objective: 99.9}
      |                               ^^

    error: spec.scale.slo.objective: 99.9 is not a fraction; write a number above 0 and below 1 with at most six decimals, such as 0.99
     --> shop.yaml:8:61
      |
    8 |     slo: {latency: {quantile: 95, below: 200ms}, objective: 99.9}
      |                                                             ^^^^
    "#);
}

#[test]
fn an_impossible_forecast_is_reported_at_its_field() {
    let text =
        service("  scale:\n    max: 3\n    forecast: {mode: on, quantile: 95, step: 1m, horizon: 1d}\n");
    assert_snapshot!(diagnostics_of(&text), @r#"
    error: spec.scale.forecast.quantile: 95 is not a probability; write a number from 0.001 to 0.999, such as 0.95
     --> shop.yaml:8:36
      |
    8 |     forecast: {mode: on, quantile: 95, step: 1m, horizon: 1d}
      |                                    ^^
    "#);
    let text = service("  scale:\n    max: 3\n    forecast: {mode: auto, step: 1m}\n");
    assert_snapshot!(diagnostics_of(&text), @r#"
    error: spec.scale.forecast.mode: unknown value "auto"
     --> shop.yaml:8:22
      |
    8 |     forecast: {mode: auto, step: 1m}
      |                      ^^^^ expected one of off, shadow, on
    "#);
    let text = service(
        "  scale:\n    max: 3\n    forecast: {mode: on, quantile: 0.2, step: 1ms, horizon: 1d}\n  resources: {cpu: 250m}\n",
    );
    assert_snapshot!(diagnostics_of(&text), @r#"
    error: spec.scale.forecast.quantile: with 0.2 the number of replicas would be too small more often than not; write a number from 0.5 to 0.999, such as 0.95
     --> shop.yaml:8:36
      |
    8 |     forecast: {mode: on, quantile: 0.2, step: 1ms, horizon: 1d}
      |                                    ^^^

    error: spec.scale.forecast.step: must be between 1s and 1h, not 1ms
     --> shop.yaml:8:47
      |
    8 |     forecast: {mode: on, quantile: 0.2, step: 1ms, horizon: 1d}
      |                                               ^^^
    "#);
    let text = service(
        "  scale:\n    max: 3\n    forecast: {mode: shadow, horizon: 1d}\n  resources: {cpu: 250m}\n",
    );
    assert_snapshot!(diagnostics_of(&text), @r#"
    error: spec.scale.forecast.horizon: with steps of 1m the horizon must be between 1ms and 511m, not 1d; longer steps allow a longer horizon
     --> shop.yaml:8:39
      |
    8 |     forecast: {mode: shadow, horizon: 1d}
      |                                       ^^
    "#);
}

#[test]
fn scaling_to_zero_needs_a_listener() {
    let text = service("  scale: {replicas: 0, toZero: {after: 500ms, wait: 2h}}\n");
    assert_snapshot!(diagnostics_of(&text), @r#"
    error: spec.scale.toZero: replicas is 0, so no request could start one: give the number of replicas that run while there are requests
     --> shop.yaml:6:24
      |
    6 |   scale: {replicas: 0, toZero: {after: 500ms, wait: 2h}}
      |                        ^^^^^^

    error: spec.scale.toZero.after: must be between 1s and 1d, not 500ms
     --> shop.yaml:6:40
      |
    6 |   scale: {replicas: 0, toZero: {after: 500ms, wait: 2h}}
      |                                        ^^^^^

    error: spec.scale.toZero.wait: must be between 1ms and 1h, not 2h
     --> shop.yaml:6:53
      |
    6 |   scale: {replicas: 0, toZero: {after: 500ms, wait: 2h}}
      |                                                     ^^

    warning: spec.scale.toZero: it is never scaled to zero, because no request reaches it over the proxy, which holds the requests that start it again: add spec.expose, or a Route to it
     --> shop.yaml:6:24
      |
    6 |   scale: {replicas: 0, toZero: {after: 500ms, wait: 2h}}
      |                        ^^^^^^
    "#);
}

#[test]
fn an_impossible_schedule_is_reported() {
    let text = service(
        "  scale:\n    max: 3\n    schedule:\n      - {cron: \"0 0 30 2 *\", duration: 10h, min: 2}\n      \
         - {cron: \"0 8 * * 1-5\", timezone: Europe/Atlantis, duration: 10h, min: 2}\n",
    );
    assert_snapshot!(diagnostics_of(&text), @r#"
    error: spec.scale.schedule[0].cron: "0 0 30 2 *" never occurs: there is no such day
     --> shop.yaml:9:16
      |
    9 |       - {cron: "0 0 30 2 *", duration: 10h, min: 2}
      |                ^^^^^^^^^^^^

    error: spec.scale.schedule[1].timezone: "Europe/Atlantis" is not a time zone of the IANA database; write one such as UTC, Europe/Berlin or Asia/Shanghai
      --> shop.yaml:10:41
       |
    10 |       - {cron: "0 8 * * 1-5", timezone: Europe/Atlantis, duration: 10h, min: 2}
       |                                         ^^^^^^^^^^^^^^^
    "#);
    let text = service(
        "  scale:\n    max: 3\n    schedule:\n      - {cron: \"0 8 * * *\", duration: 10s}\n      \
         - {cron: \"0 8 * * *\", duration: 10h, min: 4, max: 2}\n  resources: {cpu: 250m}\n",
    );
    assert_snapshot!(diagnostics_of(&text), @r#"
    error: spec.scale.schedule[0].duration: must be between 1m and 366d, not 10s
     --> shop.yaml:9:39
      |
    9 |       - {cron: "0 8 * * *", duration: 10s}
      |                                       ^^^

    error: spec.scale.schedule[0]: a schedule without min and max changes nothing: give one of them, or both
     --> shop.yaml:9:10
      |
    9 |       - {cron: "0 8 * * *", duration: 10s}
      |          ^^^^

    error: spec.scale.schedule[1].min: min (4) is above max (2)
      --> shop.yaml:10:49
       |
    10 |       - {cron: "0 8 * * *", duration: 10h, min: 4, max: 2}
       |                                                 ^
    "#);
}

#[test]
fn sizes_without_effect_or_without_a_valid_number_are_reported() {
    assert_snapshot!(diagnostics_of(&service("  scale: {max: 3, sizes: {only: even}}\n")), @r#"
    error: spec.scale.sizes.only: unknown value "even"
     --> shop.yaml:6:33
      |
    6 |   scale: {max: 3, sizes: {only: even}}
      |                                 ^^^^ expected one of odd, powersOfTwo
    "#);
    assert_snapshot!(diagnostics_of(&service("  scale: {max: 3, sizes: {only: odd, multiplesOf: 3}}\n")), @r"
    error: spec.scale.sizes: give exactly one of only, multiplesOf and oneOf
     --> shop.yaml:6:19
      |
    6 |   scale: {max: 3, sizes: {only: odd, multiplesOf: 3}}
      |                   ^^^^^
    ");
    assert_snapshot!(diagnostics_of(&service("  scale: {min: 4, max: 6, sizes: {oneOf: [3, 7]}}\n  resources: {cpu: 250m}\n")), @r"
    error: spec.scale.sizes: only the numbers 3, 7 are allowed (scale.sizes), and none of them is within the bounds of 4 to 6: widen the bounds, or allow other sizes
     --> shop.yaml:6:27
      |
    6 |   scale: {min: 4, max: 6, sizes: {oneOf: [3, 7]}}
      |                           ^^^^^
    ");
    assert_snapshot!(diagnostics_of(&service("  scale: {replicas: 4, sizes: {only: odd}}\n")), @r"
    error: spec.scale.sizes: only odd numbers are allowed (scale.sizes), and none of them is within the bounds of 4 to 4: widen the bounds, or allow other sizes
     --> shop.yaml:6:24
      |
    6 |   scale: {replicas: 4, sizes: {only: odd}}
      |                        ^^^^^
    ");
}

#[test]
fn a_misplaced_field_suggests_its_place() {
    assert_snapshot!(diagnostics_of(&service("  command: [./shop]\n  max: 3\n")), @r#"
    error: spec.command: unknown field "command"; it belongs under spec.run
     --> shop.yaml:6:3
      |
    6 |   command: [./shop]
      |   ^^^^^^^ expected one of dependsOn, expose, ports, probes, recover, resources, run, scale, stop, update

    error: spec.max: unknown field "max"; it belongs under spec.scale
     --> shop.yaml:7:3
      |
    7 |   max: 3
      |   ^^^ expected one of dependsOn, expose, ports, probes, recover, resources, run, scale, stop, update
    "#);
}

#[test]
fn control_characters_do_not_reach_the_terminal() {
    let text = diagnostics_of(&service("  \"\\e[31m\": 1\n"));
    assert!(!text.contains('\u{1b}'), "{text:?}");
}

fn with_policy(policy: &str) -> String {
    service(&format!("  scale:\n    max: 3\n    policy: {policy}\n"))
}

#[test]
fn a_policy_is_a_name_or_a_mapping() {
    assert_snapshot!(diagnostics_of(&with_policy("stepp")), @r#"
    error: spec.scale.policy: unknown value "stepp"; did you mean step?
     --> shop.yaml:8:13
      |
    8 |     policy: stepp
      |             ^^^^^ expected one of hpa, unanimous, step, watermarks, targetTracking, burst, formula, composite, slo
    "#);
    assert_snapshot!(diagnostics_of(&with_policy("step")), @r#"
    error: spec.scale.policy: step has fields: write {step: {}} with its fields
     --> shop.yaml:8:13
      |
    8 |     policy: step
      |             ^^^^
    "#);
    assert_snapshot!(diagnostics_of(&with_policy("{stepp: {}}")), @r#"
    error: spec.scale.policy.stepp: unknown field "stepp"; did you mean step?
     --> shop.yaml:8:14
      |
    8 |     policy: {stepp: {}}
      |              ^^^^^ expected one of step, watermarks, targetTracking, burst, formula, composite, slo
    "#);
    assert_snapshot!(diagnostics_of(&with_policy("{hpa: {}}")), @r#"
    error: spec.scale.policy.hpa: hpa has no fields: write just hpa
     --> shop.yaml:8:14
      |
    8 |     policy: {hpa: {}}
      |              ^^^
    "#);
    assert_snapshot!(diagnostics_of(&with_policy("{burst: {}, targetTracking: {}}")), @r#"
    error: spec.scale.policy: give exactly one of step, watermarks, targetTracking, burst, formula, composite, slo; found 2
     --> shop.yaml:8:5
      |
    8 |     policy: {burst: {}, targetTracking: {}}
      |     ^^^^^^
    "#);
}

#[test]
fn overlapping_steps_of_a_policy_are_reported_at_their_fields() {
    assert_snapshot!(
        diagnostics_of(&with_policy("\n      step:\n        metric: cpuu\n        above:\n        - {from: 70, to: 90, replicas: 1}\n        - {from: 95, replicas: 2, percent: 3}\n        - {form: 95}")),
        @r#"
    error: spec.scale.policy.step.above[1]: give exactly one of replicas, percent, exactly; found replicas and percent
      --> shop.yaml:13:12
       |
    13 |         - {from: 95, replicas: 2, percent: 3}
       |            ^^^^

    error: spec.scale.policy.step.above[2].form: unknown field "form"; did you mean from?
      --> shop.yaml:14:12
       |
    14 |         - {form: 95}
       |            ^^^^ expected one of atLeast, exactly, from, percent, replicas, to

    error: spec.scale.policy.step.above[2]: give exactly one of replicas, percent, exactly; found none of them
      --> shop.yaml:14:12
       |
    14 |         - {form: 95}
       |            ^^^^
    "#
    );
    assert_snapshot!(
        diagnostics_of(&with_policy("\n      step:\n        metric: cpuu\n        above:\n        - {from: 70, to: 90, replicas: 1}\n        - {from: 95, replicas: 2}")),
        @r#"
    error: spec.scale.policy.step.metric: there is no metric "cpuu"; did you mean cpu?
      --> shop.yaml:10:17
       |
    10 |         metric: cpuu
       |                 ^^^^

    error: spec.scale.policy.step.above[1].from: must be 90, the end of the step before, not 95: there is a gap
      --> shop.yaml:13:18
       |
    13 |         - {from: 95, replicas: 2}
       |                  ^^
    "#
    );
}
