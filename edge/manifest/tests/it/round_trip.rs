mod scaling;

use std::collections::BTreeMap;
use std::num::{NonZeroU16, NonZeroU32};

use manifest::{diff, to_json, to_yaml, to_yaml_stream};
use model::name::{ServiceName, ZoneName};
use model::resource::hpa::{VersionedManifest, shapes, v1, v2, v2beta1, v2beta2};
use model::resource::route::{
    BackendRef, Compression, Fraction, HeaderMatch, HeaderModifier, HeaderName, HeaderSetting, HeaderValue,
    Hostname, LimitBy, Method, PathMatch, PathMatchType, PathModifier, QueryParamMatch, RedirectStatus,
    RequestLimit, RequestMirror, RequestRedirect, RouteFilter, RouteLimits, RouteMatch, RouteRule,
    RouteTimeouts, Scheme, UrlPath, UrlRewrite, ValueMatchType,
};
use model::resource::{
    AccessLog, AccessLogFormat, Acme, AcmeChallenge, Adaptive, Balance, CertificateFiles, Check, ClientTls,
    CommandOrigin, Dependency, DependencyStage, ElsewhereEndpoint, EndpointAddress, Expose, External,
    ExternalFormat, ExternalName, GrpcCheck, HashKey, Hedge, HorizontalPodAutoscaler, HttpCheck, HttpOrigin,
    HttpUrl, JsonPath, Limits, ListenAddress, MeasuredObject, Metadata, MetricOrigin, MetricSource,
    MetricSourceSpec, ObjectMeta, ObjectName, Outliers, Port, PortName, PostgresOrigin, Probe, Probes,
    PrometheusOrigin, Protocol, ProxyProtocol, ProxyVersion, Quantity, Recover, RedisOrigin, RedisQueue,
    RedisStream, ReplicasOrigin, Resource, ResourceVersion, Resources, Route, RouteSpec, Run, Secret,
    ServerAddress, Service, ServiceSpec, Signal, SlowReplica, Span, Stop, TcpCheck, Timeouts, Tls,
    TrafficDistribution, Update,
};
use proptest::collection::{btree_map, vec};
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

use self::scaling::scale;

/// Texts that YAML could take for something else, and any others.
fn text() -> impl Strategy<Value = String> {
    let tricky = proptest::sample::select(vec![
        "",
        " ",
        "~",
        "null",
        "true",
        "no",
        "12",
        "1e3",
        "0x1f",
        "-",
        "- a",
        "a: b",
        "#",
        "&a",
        "*a",
        "!a",
        "'",
        "\"",
        "\\",
        "\n",
        "a\n  b\n",
        "\t",
        "{",
        "[",
        "---",
        "...",
        "<<",
        "%",
        "@",
        "`",
        "\u{feff}",
        "\u{85}",
        "é",
        "\u{1f600}",
        " a ",
        "\r\n",
        "|",
        ">",
        "? a",
        ".inf",
        "2001-01-01",
        "\u{7f}",
        "\u{2028}",
    ]);
    prop_oneof![tricky.prop_map(str::to_owned), "[ -~]{0,20}", "\\PC{0,10}"]
}

fn service_name() -> impl Strategy<Value = ServiceName> {
    "[a-z]([-a-z0-9]{0,8}[a-z0-9])?".prop_map(|text| ServiceName::parse(&text).expect("a valid name"))
}

fn port_name() -> impl Strategy<Value = PortName> {
    "[a-z]([-a-z0-9]{0,8}[a-z0-9])?".prop_map(|text| PortName::parse(&text).expect("a valid name"))
}

fn quantity() -> impl Strategy<Value = Quantity> {
    let numbers = prop_oneof!["-?[0-9]{1,5}", "[0-9]{1,3}\\.[0-9]{1,3}"];
    let suffixes = proptest::sample::select(vec!["", "m", "k", "M", "Ki", "Mi", "e3", "e-1"]);
    (numbers, suffixes)
        .prop_filter_map("too fine", |(number, suffix)| Quantity::parse(&format!("{number}{suffix}")).ok())
}

fn span() -> impl Strategy<Value = Span> {
    (0..=Span::MAX.as_millis()).prop_map(Span::from_millis)
}

fn texts() -> impl Strategy<Value = BTreeMap<String, String>> {
    btree_map(text(), text(), 0..3)
}

fn count() -> impl Strategy<Value = NonZeroU32> {
    (1..=u32::MAX).prop_map(|n| NonZeroU32::new(n).expect("at least 1"))
}

fn probe() -> BoxedStrategy<Probe> {
    let check = prop_oneof![
        (text(), of(port_name()))
            .prop_map(|(path, port)| Check::Http(HttpCheck { path: format!("/{path}"), port })),
        of(port_name()).prop_map(|port| Check::Tcp(TcpCheck { port })),
        (text(), of(port_name())).prop_map(|(service, port)| Check::Grpc(GrpcCheck { service, port })),
        vec(text(), 1..3).prop_map(Check::Command),
    ];
    (check, span(), span(), count(), count())
        .prop_map(|(check, every, timeout, failures, successes)| Probe {
            check,
            every,
            timeout,
            failures,
            successes,
        })
        .boxed()
}

fn fallback() -> impl Strategy<Value = v2::ExternalMetricFallback> {
    (of(any::<i32>()), any::<i32>()).prop_map(|(failure_duration_seconds, replicas)| {
        v2::ExternalMetricFallback { failure_duration_seconds, replicas }
    })
}

fn target() -> BoxedStrategy<shapes::MetricTarget> {
    use shapes::MetricTargetType::{AverageValue, Utilization, Value};
    let kind = proptest::sample::select(vec![Utilization, Value, AverageValue]);
    (kind, of(quantity()), of(quantity()), of(any::<i32>()))
        .prop_map(|(kind, value, average_value, average_utilization)| shapes::MetricTarget {
            kind,
            value,
            average_value,
            average_utilization,
        })
        .boxed()
}

fn selector() -> BoxedStrategy<shapes::LabelSelector> {
    use shapes::SelectorOperator::{DoesNotExist, Exists, In, NotIn};
    let operator = proptest::sample::select(vec![In, NotIn, Exists, DoesNotExist]);
    let requirement = (text(), operator, vec(text(), 0..3))
        .prop_map(|(key, operator, values)| shapes::LabelSelectorRequirement { key, operator, values });
    (texts(), vec(requirement, 0..3))
        .prop_map(|(match_labels, match_expressions)| shapes::LabelSelector {
            match_labels,
            match_expressions,
        })
        .boxed()
}

fn identifier() -> BoxedStrategy<shapes::MetricIdentifier> {
    (text(), of(selector())).prop_map(|(name, selector)| shapes::MetricIdentifier { name, selector }).boxed()
}

fn reference() -> BoxedStrategy<shapes::CrossVersionObjectReference> {
    (text(), text(), of(text()))
        .prop_map(|(kind, name, api_version)| shapes::CrossVersionObjectReference { kind, name, api_version })
        .boxed()
}

fn source_type() -> impl Strategy<Value = shapes::MetricSourceType> {
    use shapes::MetricSourceType::{ContainerResource, External, Object, Pods, Resource};
    proptest::sample::select(vec![Resource, ContainerResource, Pods, Object, External])
}

fn metric() -> BoxedStrategy<v2::MetricSpec> {
    let object = (reference(), target(), identifier()).prop_map(|(described_object, target, metric)| {
        v2::ObjectMetricSource { described_object, target, metric }
    });
    let pods = (identifier(), target()).prop_map(|(metric, target)| v2::PodsMetricSource { metric, target });
    let resource = (text(), target()).prop_map(|(name, target)| v2::ResourceMetricSource { name, target });
    let container = (text(), target(), text())
        .prop_map(|(name, target, container)| v2::ContainerResourceMetricSource { name, target, container });
    let external = (identifier(), target(), of(fallback()))
        .prop_map(|(metric, target, fallback)| v2::ExternalMetricSource { metric, target, fallback });
    (source_type(), of(object), of(pods), of(resource), of(container), of(external))
        .prop_map(|(kind, object, pods, resource, container_resource, external)| v2::MetricSpec {
            kind,
            object,
            pods,
            resource,
            container_resource,
            external,
        })
        .boxed()
}

fn older_metric() -> BoxedStrategy<v2beta1::MetricSpec> {
    let object = (reference(), text(), of(quantity()), of(selector()), of(quantity())).prop_map(
        |(target, metric_name, target_value, selector, average_value)| v2beta1::ObjectMetricSource {
            target,
            metric_name,
            target_value,
            selector,
            average_value,
        },
    );
    let pods =
        (text(), quantity(), of(selector())).prop_map(|(metric_name, target_average_value, selector)| {
            v2beta1::PodsMetricSource { metric_name, target_average_value, selector }
        });
    let resource = (text(), of(any::<i32>()), of(quantity())).prop_map(
        |(name, target_average_utilization, target_average_value)| v2beta1::ResourceMetricSource {
            name,
            target_average_utilization,
            target_average_value,
        },
    );
    (source_type(), of(object), of(pods), of(resource))
        .prop_map(|(kind, object, pods, resource)| v2beta1::MetricSpec {
            kind,
            object,
            pods,
            resource,
            container_resource: None,
            external: None,
        })
        .boxed()
}

fn policies() -> impl Strategy<Value = Option<Vec<shapes::HPAScalingPolicy>>> {
    use shapes::HPAScalingPolicyType::{Percent, Pods};
    let policy = (proptest::sample::select(vec![Pods, Percent]), any::<i32>(), any::<i32>())
        .prop_map(|(kind, value, period_seconds)| shapes::HPAScalingPolicy { kind, value, period_seconds });
    of(vec(policy, 0..3))
}

fn rules() -> BoxedStrategy<v2::HPAScalingRules> {
    use shapes::ScalingPolicySelect::{Disabled, Max, Min};
    (of(any::<i32>()), of(proptest::sample::select(vec![Max, Min, Disabled])), policies(), of(quantity()))
        .prop_map(|(stabilization_window_seconds, select_policy, policies, tolerance)| v2::HPAScalingRules {
            stabilization_window_seconds,
            select_policy,
            policies,
            tolerance,
        })
        .boxed()
}

fn behavior() -> BoxedStrategy<v2::Behavior> {
    (of(rules()), of(rules()))
        .prop_map(|(scale_up, scale_down)| v2::Behavior { scale_up, scale_down })
        .boxed()
}

fn older_behavior() -> BoxedStrategy<v2beta2::Behavior> {
    let rules = || {
        (of(any::<i32>()), policies()).prop_map(|(stabilization_window_seconds, policies)| {
            v2beta2::HPAScalingRules { stabilization_window_seconds, select_policy: None, policies }
        })
    };
    (of(rules()), of(rules()))
        .prop_map(|(scale_up, scale_down)| v2beta2::Behavior { scale_up, scale_down })
        .boxed()
}

fn outliers() -> BoxedStrategy<Outliers> {
    let slow = (any::<u32>(), span(), span(), any::<u32>())
        .prop_map(|(percent, at_least, window, answers)| SlowReplica { percent, at_least, window, answers });
    (any::<u32>(), span(), span(), any::<u32>(), of(slow))
        .prop_map(|(failures_in_a_row, ejection, longest, max_percent, slow)| Outliers {
            failures_in_a_row,
            ejection,
            longest,
            max_percent,
            slow,
        })
        .boxed()
}

fn resilience() -> BoxedStrategy<(Option<Span>, Limits, Option<Hedge>, Outliers)> {
    let adaptive = (any::<u32>(), any::<u32>(), any::<u32>())
        .prop_map(|(min, max, tolerance_percent)| Adaptive { min, max, tolerance_percent });
    let limits = (of(any::<u32>()), of(any::<u32>()), of(adaptive)).prop_map(
        |(in_flight, in_flight_per_replica, adaptive)| Limits { in_flight, in_flight_per_replica, adaptive },
    );
    let hedge = of((of(span()), of(any::<u32>()), any::<u32>())
        .prop_map(|(after, percentile, budget_percent)| Hedge { after, percentile, budget_percent }));
    (of(span()), limits, hedge, outliers()).boxed()
}

fn access_log() -> BoxedStrategy<AccessLog> {
    let format = proptest::sample::select(vec![AccessLogFormat::Json, AccessLogFormat::Combined]);
    (text(), format, quantity(), any::<u32>())
        .prop_map(|(file, format, size, keep)| AccessLog { file, format, size, keep })
        .boxed()
}

fn external() -> BoxedStrategy<External> {
    let format = proptest::sample::select(vec![ExternalFormat::Nginx, ExternalFormat::Haproxy]);
    let name = "[A-Za-z0-9][A-Za-z0-9._-]{0,20}".prop_map(|name| ExternalName::parse(&name).expect("a name"));
    (format, text(), of(name), vec(text(), 1..4), vec(text(), 1..4), (span(), span()))
        .prop_map(|(format, file, name, check, reload, (timeout, every))| External {
            format,
            file,
            name,
            check,
            reload,
            timeout,
            every,
        })
        .boxed()
}

fn elsewhere() -> BoxedStrategy<ElsewhereEndpoint> {
    let address = (any::<std::net::IpAddr>(), 1..=u16::MAX).prop_filter_map("of a machine", |(ip, port)| {
        EndpointAddress::parse(&std::net::SocketAddr::new(ip, port).to_string()).ok()
    });
    let zone = "[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?".prop_map(|zone| ZoneName::parse(&zone).expect("a name"));
    (address, of(zone), any::<u32>())
        .prop_map(|(address, zone, weight)| ElsewhereEndpoint { address, zone, weight })
        .boxed()
}

fn tls() -> BoxedStrategy<Tls> {
    let pair = (text(), text()).prop_map(|(certificate, key)| CertificateFiles { certificate, key });
    (vec(pair, 0..4), of(acme()))
        .prop_filter("files, an authority, or both", |(files, acme)| !files.is_empty() || acme.is_some())
        .prop_map(|(certificates, acme)| Tls { certificates, acme })
        .boxed()
}

fn acme() -> BoxedStrategy<Acme> {
    let directory = "https://[a-z]{1,8}(:[1-9][0-9]{3})?/[a-z]{0,8}";
    let directory = directory.prop_map(|url| HttpUrl::parse(&url).expect("it is written as one"));
    let challenge = select(vec![AcmeChallenge::TlsAlpn, AcmeChallenge::Http]);
    (directory, vec(hostname(), 0..3), of(text()), of(text()), challenge, of(span()))
        .prop_map(|(directory, hosts, email, ca_file, challenge, renew_before)| Acme {
            directory,
            hosts,
            email,
            ca_file,
            challenge,
            renew_before,
        })
        .boxed()
}

fn expose() -> BoxedStrategy<Expose> {
    use Balance::{ConsistentHash, LeastLoaded, Random, RoundRobin, Weighted};
    let balance = proptest::sample::select(vec![RoundRobin, Random, Weighted, LeastLoaded, ConsistentHash]);
    let name = "[A-Za-z0-9_.~-]{1,20}";
    let hash =
        prop_oneof![Just(HashKey::Address), name.prop_map(HashKey::Header), name.prop_map(HashKey::Cookie),];
    let tls = of(tls());
    let timeouts = (span(), span(), span(), span()).prop_map(|(connect, response, idle, stream)| Timeouts {
        connect,
        response,
        idle,
        stream,
    });
    let listen = of((any::<std::net::IpAddr>(), any::<u16>()));
    let version = proptest::sample::select(vec![ProxyVersion::V1, ProxyVersion::V2]);
    let proxy_protocol =
        (any::<bool>(), of(version)).prop_map(|(accept, send)| ProxyProtocol { accept, send });
    let reached = (listen, vec(external(), 0..3), of(access_log()), proxy_protocol);
    let others = (vec(elsewhere(), 0..3), of(Just(TrafficDistribution::PreferSameZone)));
    (reached, port_name(), balance, hash, resilience(), (tls, timeouts), others)
        .prop_map(
            |(
                (listen, external, access_log, proxy_protocol),
                port,
                balance,
                hash,
                (slow_start, limits, hedge, outliers),
                (tls, timeouts),
                (endpoints, traffic_distribution),
            )| {
                Expose {
                    listen: listen.map(|listen| ListenAddress(listen.into())),
                    port,
                    balance,
                    hash,
                    slow_start,
                    limits,
                    hedge,
                    outliers,
                    tls,
                    proxy_protocol,
                    timeouts,
                    access_log,
                    endpoints,
                    traffic_distribution,
                    external,
                }
            },
        )
        .boxed()
}

fn run() -> BoxedStrategy<Run> {
    (vec(text(), 1..4), texts(), of(text()), of(text()))
        .prop_map(|(command, env, working_directory, user)| Run { command, env, working_directory, user })
        .boxed()
}

fn port() -> BoxedStrategy<Port> {
    let protocol = proptest::sample::select(vec![
        Protocol::Http,
        Protocol::Http2,
        Protocol::Grpc,
        Protocol::Tcp,
        Protocol::Udp,
    ]);
    (port_name(), protocol, any::<u16>())
        .prop_map(|(name, protocol, number)| Port { name, protocol, number: NonZeroU16::new(number) })
        .boxed()
}

fn service() -> BoxedStrategy<Service> {
    use Signal::{Hup, Int, Kill, Quit, Term, Usr1, Usr2};
    let resources = (of(quantity()), of(quantity())).prop_map(|(cpu, memory)| Resources { cpu, memory });
    let probes = (of(probe()), of(probe()), of(probe())).prop_map(|(startup, readiness, liveness)| Probes {
        startup,
        readiness,
        liveness,
    });
    let recover = prop_oneof![
        Just(Recover::Reschedule),
        (1..=1000_u32).prop_map(|spares| Recover::Standby { spares }),
        Just(Recover::MostActive),
        Just(Recover::Random),
    ];
    let stage = proptest::sample::select(vec![DependencyStage::Started, DependencyStage::Ready]);
    let dependency = (service_name(), stage).prop_map(|(service, when)| Dependency { service, when });
    let signal = proptest::sample::select(vec![Term, Int, Quit, Hup, Usr1, Usr2, Kill]);
    let stop = (signal, span(), span()).prop_map(|(signal, grace, drain)| Stop { signal, grace, drain });
    let version = of(any::<u64>().prop_map(ResourceVersion));
    let metadata = (service_name(), texts(), texts(), version).prop_map(
        |(name, labels, annotations, resource_version)| Metadata {
            name,
            labels,
            annotations,
            resource_version,
        },
    );
    let first = (run(), resources, vec(port(), 0..3), probes, scale());
    let update = span().prop_map(|min_ready| Update { min_ready });
    let second = (recover, update, vec(dependency, 0..3), of(expose()), stop);
    (metadata, first, second)
        .prop_map(
            |(
                metadata,
                (run, resources, ports, probes, scale),
                (recover, update, depends_on, expose, stop),
            )| {
                let spec = ServiceSpec {
                    run,
                    resources,
                    ports,
                    probes,
                    scale,
                    recover,
                    update,
                    depends_on,
                    expose,
                    stop,
                };
                Service { metadata, spec }
            },
        )
        .boxed()
}

fn form<S: std::fmt::Debug>(spec: impl Strategy<Value = S>) -> impl Strategy<Value = VersionedManifest<S>> {
    let name = service_name().prop_map(ObjectName::from);
    (name, texts(), of(text()), of(any::<i64>()), spec).prop_map(
        |(name, annotations, namespace, generation, spec)| VersionedManifest {
            metadata: ObjectMeta { annotations, namespace, generation, ..ObjectMeta::named(name) },
            spec,
        },
    )
}

fn autoscaler() -> BoxedStrategy<HorizontalPodAutoscaler> {
    let first = (reference(), of(any::<i32>()), any::<i32>(), of(any::<i32>())).prop_map(
        |(scale_target_ref, min_replicas, max_replicas, target_cpu_utilization_percentage)| {
            v1::HorizontalPodAutoscalerSpec {
                scale_target_ref,
                min_replicas,
                max_replicas,
                target_cpu_utilization_percentage,
            }
        },
    );
    let second = (reference(), of(any::<i32>()), any::<i32>(), vec(older_metric(), 0..3)).prop_map(
        |(scale_target_ref, min_replicas, max_replicas, metrics)| v2beta1::HorizontalPodAutoscalerSpec {
            scale_target_ref,
            min_replicas,
            max_replicas,
            metrics,
        },
    );
    let third = (reference(), of(any::<i32>()), any::<i32>(), vec(metric(), 0..3), of(older_behavior()))
        .prop_map(|(scale_target_ref, min_replicas, max_replicas, metrics, behavior)| {
            v2beta2::HorizontalPodAutoscalerSpec {
                scale_target_ref,
                min_replicas,
                max_replicas,
                metrics,
                behavior,
            }
        });
    let fourth = (reference(), of(any::<i32>()), any::<i32>(), vec(metric(), 0..3), of(behavior())).prop_map(
        |(scale_target_ref, min_replicas, max_replicas, metrics, behavior)| v2::HorizontalPodAutoscalerSpec {
            scale_target_ref,
            min_replicas,
            max_replicas,
            metrics,
            behavior,
            selection_strategy: None,
        },
    );
    prop_oneof![
        form(first).prop_map(HorizontalPodAutoscaler::V1),
        form(second).prop_map(HorizontalPodAutoscaler::V2beta1),
        form(third).prop_map(HorizontalPodAutoscaler::V2beta2),
        form(fourth).prop_map(HorizontalPodAutoscaler::V2),
    ]
    .boxed()
}

fn header_name() -> impl Strategy<Value = HeaderName> {
    "[A-Za-z0-9!#$%&'*+.^_`|~-]{1,12}".prop_map(|text| HeaderName::parse(&text).expect("a name"))
}

fn hostname() -> impl Strategy<Value = Hostname> {
    "(\\*\\.)?[a-z][a-z0-9]{0,5}(\\.[a-z]{1,5}){0,2}".prop_map(|text| Hostname::parse(&text).expect("a host"))
}

fn url_path() -> impl Strategy<Value = UrlPath> {
    "(/[a-z0-9:@!$&'()*+,;=_~%-]{1,5}){1,3}/?|/".prop_filter_map("no path", |text| UrlPath::parse(&text).ok())
}

fn route_match() -> impl Strategy<Value = RouteMatch> {
    let path = (select(vec![PathMatchType::Exact, PathMatchType::PathPrefix]), url_path())
        .prop_map(|(kind, value)| PathMatch { kind, value });
    let kind = || select(vec![ValueMatchType::Exact, ValueMatchType::RegularExpression]);
    let header =
        (kind(), header_name(), text()).prop_map(|(kind, name, value)| HeaderMatch { kind, name, value });
    let param =
        (kind(), text(), text()).prop_map(|(kind, name, value)| QueryParamMatch { kind, name, value });
    let methods = vec![
        Method::Get,
        Method::Head,
        Method::Post,
        Method::Put,
        Method::Delete,
        Method::Options,
        Method::Trace,
        Method::Patch,
    ];
    (path, vec(header, 0..3), vec(param, 0..3), of(select(methods)))
        .prop_map(|(path, headers, query_params, method)| RouteMatch { path, headers, query_params, method })
}

fn backend_ref() -> impl Strategy<Value = BackendRef> {
    (service_name(), of(port_name()), any::<u32>()).prop_map(|(name, port, weight)| BackendRef {
        name,
        port,
        weight,
    })
}

fn header_modifier() -> impl Strategy<Value = HeaderModifier> {
    let setting = || {
        let value = "[!-~]{1,5}( [!-~]{1,5})?".prop_map(|text| HeaderValue::parse(&text).expect("a value"));
        vec((header_name(), value).prop_map(|(name, value)| HeaderSetting { name, value }), 0..3)
    };
    (setting(), setting(), vec(header_name(), 0..3)).prop_map(|(set, add, remove)| HeaderModifier {
        set,
        add,
        remove,
    })
}

fn path_modifier() -> impl Strategy<Value = PathModifier> {
    prop_oneof![
        url_path().prop_map(PathModifier::ReplaceFullPath),
        url_path().prop_map(PathModifier::ReplacePrefixMatch),
    ]
}

fn route_filter() -> impl Strategy<Value = RouteFilter> {
    let fraction = (any::<u32>(), any::<NonZeroU32>())
        .prop_map(|(numerator, denominator)| Fraction { numerator, denominator });
    let mirror = (backend_ref(), of(any::<u32>()), of(fraction))
        .prop_map(|(backend_ref, percent, fraction)| RequestMirror { backend_ref, percent, fraction });
    let statuses = [301, 302, 303, 307, 308].map(|code| RedirectStatus::try_from(code).expect("a status"));
    let redirect = (
        of(select(vec![Scheme::Http, Scheme::Https])),
        of(hostname()),
        of(path_modifier()),
        of(any::<NonZeroU16>()),
        select(statuses.to_vec()),
    );
    let redirect = redirect.prop_map(|(scheme, hostname, path, port, status_code)| RequestRedirect {
        scheme,
        hostname,
        path,
        port,
        status_code,
    });
    let rewrite =
        (of(hostname()), of(path_modifier())).prop_map(|(hostname, path)| UrlRewrite { hostname, path });
    prop_oneof![
        header_modifier().prop_map(RouteFilter::RequestHeaderModifier),
        header_modifier().prop_map(RouteFilter::ResponseHeaderModifier),
        mirror.prop_map(RouteFilter::RequestMirror),
        redirect.prop_map(RouteFilter::RequestRedirect),
        rewrite.prop_map(RouteFilter::UrlRewrite),
    ]
}

fn route() -> impl Strategy<Value = Route> {
    let timeouts = (of(span()), of(span()))
        .prop_map(|(request, backend_request)| RouteTimeouts { request, backend_request });
    let rule = (vec(route_match(), 0..3), vec(route_filter(), 0..3), vec(backend_ref(), 0..3), timeouts)
        .prop_map(|(matches, filters, backend_refs, timeouts)| RouteRule {
            matches,
            filters,
            backend_refs,
            timeouts,
        });
    let by = select(vec![LimitBy::All, LimitBy::Client]);
    let requests = (any::<NonZeroU32>(), of(any::<NonZeroU32>()), by)
        .prop_map(|(per_second, burst, by)| RequestLimit { per_second, burst, by });
    let limits = (of(requests), of(quantity()), of(any::<NonZeroU32>()))
        .prop_map(|(requests, body, connections)| RouteLimits { requests, body, connections });
    let compression = of(Just(Compression::Gzip));
    (
        service_name(),
        vec(hostname(), 0..3),
        vec(rule, 0..3),
        limits,
        (compression, of(access_log()), of(tls())),
    )
        .prop_map(|(name, hostnames, rules, limits, (compression, access_log, tls))| {
            let listen = ListenAddress::parse("[::1]:80").expect("an address");
            Route {
                metadata: Metadata::named(name),
                spec: RouteSpec { listen, tls, hostnames, rules, limits, compression, access_log },
            }
        })
}

fn metric_origin() -> impl Strategy<Value = MetricOrigin> {
    let url = || {
        select(vec!["http://localhost:9090", "https://[::1]/a?b=c"])
            .prop_map(|url| HttpUrl::parse(url).unwrap())
    };
    let path =
        select(vec!["$", "$.a['b c'][0]", "$..[?@.a == 'b']"]).prop_map(|it| JsonPath::parse(it).unwrap());
    let tls = || {
        let pair = (text(), text()).prop_map(|(certificate, key)| CertificateFiles { certificate, key });
        of((of(text()), of(pair)).prop_map(|(ca_file, client)| ClientTls { ca_file, client }))
    };
    let prometheus = (url(), tls(), text(), of(text())).prop_map(|(url, tls, query, bearer_token_file)| {
        PrometheusOrigin { url, tls, query, bearer_token_file }
    });
    let http = (url(), tls(), path, of(text())).prop_map(|(url, tls, value, bearer_token_file)| HttpOrigin {
        url,
        tls,
        value,
        bearer_token_file,
    });
    let command = (vec(text(), 1..4), of(text()), of(text()))
        .prop_map(|(argv, working_directory, series)| CommandOrigin { argv, working_directory, series });
    let address = || {
        select(vec!["queue", "[::1]:6379", "db.example:1"]).prop_map(|it| ServerAddress::parse(it).unwrap())
    };
    let password = || of(prop_oneof![text().prop_map(Secret::File), text().prop_map(Secret::Variable)]);
    let queue = prop_oneof![
        text().prop_map(RedisQueue::List),
        text().prop_map(RedisQueue::SortedSet),
        (text(), of(text())).prop_map(|(key, group)| RedisQueue::Stream(RedisStream { key, group })),
    ];
    let redis = (address(), tls(), of(text()), password(), any::<u32>(), queue).prop_map(
        |(address, tls, user, password, database, queue)| RedisOrigin {
            address,
            tls,
            user,
            password,
            database,
            queue,
        },
    );
    let postgres = (address(), tls(), text(), password(), of(text()), text()).prop_map(
        |(address, tls, user, password, database, query)| PostgresOrigin {
            address,
            tls,
            user,
            password,
            database,
            query,
        },
    );
    let replicas = (service_name(), of(port_name()), "/[a-z]{0,5}", of(text()), of(span())).prop_map(
        |(service, port, path, series, window)| ReplicasOrigin { service, port, path, series, window },
    );
    // Boxed: what all of them need at once does not fit on the stack of a test.
    prop_oneof![
        prometheus.prop_map(MetricOrigin::Prometheus).boxed(),
        http.prop_map(MetricOrigin::Http).boxed(),
        command.prop_map(MetricOrigin::Command).boxed(),
        redis.prop_map(MetricOrigin::Redis).boxed(),
        postgres.prop_map(MetricOrigin::Postgres).boxed(),
        replicas.prop_map(MetricOrigin::Replicas).boxed(),
    ]
}

fn metric_source() -> impl Strategy<Value = MetricSource> {
    let of_object = (text(), text()).prop_map(|(kind, name)| MeasuredObject { kind, name });
    (service_name(), text(), of(of_object), metric_origin(), span(), span(), of(span())).prop_map(
        |(name, metric, of, from, every, timeout, stale_after)| MetricSource {
            metadata: Metadata::named(name),
            spec: MetricSourceSpec { metric, of, from, every, timeout, stale_after },
        },
    )
}

fn resource() -> impl Strategy<Value = Resource> {
    prop_oneof![
        service().prop_map(Resource::from),
        autoscaler().prop_map(Resource::from),
        route().prop_map(Resource::from),
        metric_source().prop_map(Resource::from).boxed()
    ]
}

/// The one resource in `text`.
fn read(text: &str) -> Result<Resource, TestCaseError> {
    let mut manifests = manifest::parse("round", text);
    let messages: Vec<String> = manifests.diagnostics.iter().map(ToString::to_string).collect();
    prop_assert!(messages.is_empty() && manifests.documents.len() == 1, "{messages:#?} in\n{text}");
    Ok(manifests.documents.remove(0).resource)
}

proptest! {
    #[test]
    fn yaml_keeps_every_resource(resource in resource()) {
        let text = to_yaml(&resource).expect("a resource is YAML");
        let again = read(&text)?;
        prop_assert_eq!(&again, &resource, "{}", text);
        prop_assert_eq!(to_yaml(&again).expect("a resource is YAML"), text);
        prop_assert_eq!(diff(&resource, &again), []);
    }

    #[test]
    fn json_keeps_every_resource(resource in resource()) {
        let text = to_json(&resource).expect("a resource is JSON");
        prop_assert_eq!(&read(&text)?, &resource);
        prop_assert_eq!(&serde_json::from_str::<Resource>(&text).expect("JSON is read without this crate too"), &resource);
    }

    #[test]
    fn a_stream_keeps_every_resource(resources in vec(resource(), 0..4)) {
        let text = to_yaml_stream(&resources).expect("resources are YAML");
        let manifests = manifest::parse("stream", &text);
        prop_assert_eq!(manifests.resources().cloned().collect::<Vec<_>>(), resources, "{}", text);
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC{0,200}") {
        let _ = crate::diagnostics_of(&text);
    }

    #[test]
    fn no_yaml_of_our_words_makes_the_reader_panic(
        words in vec(proptest::sample::select(vec![
            "apiVersion: ", "homeostat/v1", "autoscaling/v2", "\n", "kind: ", "Service", "HorizontalPodAutoscaler",
            "metadata: ", "spec:", "  ", "- ", "run: ", "command: ", "scale: ", "[", "]", "{", "}", "&a ", "*a", "<<: ",
            "---\n", "1", "\"", "'", "name: ", ", ", "!!str ", "|\n", "\t", "# ", "? ", ": ",
        ]), 0..60)
    ) {
        let _ = crate::diagnostics_of(&words.concat());
    }
}

#[test]
fn a_change_is_listed_by_its_path() {
    let read = |rest: &str| manifest::parse("t", &crate::service(rest)).documents.remove(0).resource;
    let old = read("  scale: {max: 4}\n  ports: [{name: a}]\n  stop: {grace: 10s}\n");
    let new = read("  scale: {max: 5}\n  ports: [{name: b}, {name: c}]\n");
    let changes: Vec<String> = diff(&old, &new)
        .into_iter()
        .map(|change| {
            let text =
                |value: Option<serde_json::Value>| value.map_or("-".to_owned(), |value| value.to_string());
            format!("{} {} {}", change.path, text(change.old), text(change.new))
        })
        .collect();
    assert_eq!(
        changes,
        [
            r#"spec.ports[0].name "a" "b""#,
            r#"spec.ports[1] - {"name":"c","protocol":"http"}"#,
            "spec.scale.max 4 5",
        ]
    );
}

#[test]
fn quantities_keep_their_family_of_suffixes() {
    let text = crate::service("  resources: {cpu: 1e3, memory: 128Mi}\n");
    let resource = manifest::parse("t", &text).documents.remove(0).resource;
    let written = to_yaml(&resource).expect("YAML");
    assert!(written.contains("1e3") && written.contains("128Mi"), "{written}");
}
