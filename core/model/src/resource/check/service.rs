//! Checks of a service by itself.

use std::collections::BTreeSet;

use super::fields::{
    COMMAND_BYTES_MAX, ProblemList, error, metric_name, number_between, time_between, warning,
};
use super::{Severity, elsewhere, external, guard_limit, tls};
use crate::resource::{
    Adaptive, AutoscalerSpec, Balance, Check, Count, Expose, HashKey, Hedge, IN_FLIGHT_MAX, Limits, Outliers,
    Port, PortName, Probe, Protocol, Quantity, REPLICAS_MAX, Remove, Scale, Service, ServiceSpec,
    SlowReplica, Span, TOLERANCE_PERCENT_MAX,
};

/// Most ports of one service: each replica reserves all of them, and the dynamic range has 28,232.
const PORTS_MAX: usize = 64;

/// Shortest interval of a probe: more frequent checks cost more than the service itself.
const PROBE_EVERY_MIN: Span = Span::from_millis(10);

/// Shortest wait: the resolution of the loop's clock.
const WAIT_MIN: Span = Span::from_millis(1);

/// Longest wait: more than an hour is probably a typing error.
const WAIT_MAX: Span = Span::from_secs(3600);

/// Shortest idle time before a service is scaled to zero: less would cost more starts than it saves.
const IDLE_MIN: Span = Span::from_secs(1);

/// Longest idle time before a service is scaled to zero: with more, a service with daily requests would never be.
const IDLE_MAX: Span = Span::from_secs(86_400);

/// Most schedules of a service: more could not be understood by people.
const SCHEDULES_MAX: usize = 64;

/// Most changes of direction that can be allowed: more is no limit.
const FLAPS_MAX: u32 = 100;

/// Shortest window of a schedule: the resolution of crontab.
const WINDOW_MIN: Span = Span::from_secs(60);

/// Longest window of a schedule: a yearly one is then always active.
const WINDOW_MAX: Span = Span::from_secs(366 * 86_400);

/// Most failures in a row before a replica is ejected: more is practically never.
const FAILURES_MAX: u32 = 1000;

/// Most replicas that may be ejected at once, in percent: when more than half fail, the cause is probably shared.
const EJECTED_PERCENT_MAX: u32 = 50;

/// Shortest window for comparing answers, and shortest ejection: the proxy's tick.
const WINDOW_OF_ANSWERS_MIN: Span = Span::from_millis(100);

/// Least memory of a replica, in bytes: no process starts in less than 1 MiB.
const MEMORY_MIN: i64 = 1024 * 1024;

pub(super) fn problems(service: &Service) -> ProblemList {
    let mut found = ProblemList::new();
    let spec = &service.spec;
    run(spec, &mut found);
    resources(spec, &mut found);
    ports(spec, &mut found);
    probes(spec, &mut found);
    waits(spec, &mut found);
    if let Some(expose) = &spec.expose {
        exposed(expose, &spec.ports, &mut found);
        external::problems(spec, expose, &mut found);
        elsewhere::problems(spec, expose, &mut found);
    }
    dependencies(service, &mut found);
    scale_to_zero(spec, &mut found);
    schedules(&spec.scale, &mut found);
    guard_limit::of_service(&spec.scale, &mut found);
    vertical(&spec.scale, &mut found);
    flaps(&spec.scale, &mut found);
    removal(&spec.scale, &mut found);
    match service.autoscaler() {
        Ok(Some(autoscaler)) => unused_metrics(&autoscaler, &mut found),
        Ok(None) => {}
        Err(problems) => {
            found.extend(problems.into_vec().into_iter().map(|problem| (Severity::Error, problem)));
        }
    }
    found
}

fn run(spec: &ServiceSpec, found: &mut ProblemList) {
    let run = &spec.run;
    match run.command.first() {
        None => found.push(error("spec.run.command", "the command must name a program")),
        Some(program) if program.is_empty() => {
            found.push(error("spec.run.command[0]", "the name of the program must not be empty"));
        }
        Some(_) => {}
    }
    for (i, argument) in run.command.iter().enumerate().filter(|(_, argument)| argument.contains('\0')) {
        let at = format!("spec.run.command[{i}]");
        found.push(error(at, format!("an argument must not contain a zero byte: {argument:?}")));
    }
    for (name, value) in &run.env {
        let at = format!("spec.run.env.{name}");
        if name.is_empty() || name.contains(['=', '\0']) {
            let text =
                format!("the name of a variable must not be empty, nor contain '=' or a zero byte: {name:?}");
            found.push(error(&at, text));
        }
        if value.contains('\0') {
            found.push(error(&at, format!("the value of {name} must not contain a zero byte")));
        }
    }
    let arguments: usize = run.command.iter().map(|argument| argument.len() + 1).sum();
    let variables: usize = run.env.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
    if arguments + variables > COMMAND_BYTES_MAX {
        let text = format!(
            "command and env have {} bytes, and at most {COMMAND_BYTES_MAX} are allowed",
            arguments + variables
        );
        found.push(error("spec.run", text));
    }
    let paths = [("workingDirectory", &run.working_directory), ("user", &run.user)];
    for (field, text) in paths.into_iter().filter_map(|(field, text)| Some((field, text.as_ref()?))) {
        if text.is_empty() || text.contains('\0') {
            found.push(error(format!("spec.run.{field}"), "must not be empty or contain a zero byte"));
        }
    }
}

fn resources(spec: &ServiceSpec, found: &mut ProblemList) {
    if let Some(cpu) = spec.resources.cpu.filter(|cpu| *cpu <= Quantity::ZERO) {
        found.push(error("spec.resources.cpu", format!("a replica needs more than 0 cores, not {cpu}")));
    }
    if let Some(memory) = spec.resources.memory {
        if memory.milli() % 1000 != 0 {
            let text = format!("memory is counted in whole bytes, not {memory}; write 128Mi for 128 MiB");
            found.push(error("spec.resources.memory", text));
        } else if memory.milli() / 1000 < MEMORY_MIN {
            let text =
                format!("a replica needs at least 1Mi of memory, not {memory}; write 128Mi for 128 MiB");
            found.push(error("spec.resources.memory", text));
        }
    }
}

fn ports(spec: &ServiceSpec, found: &mut ProblemList) {
    if spec.ports.len() > PORTS_MAX {
        let text = format!("a service has at most {PORTS_MAX} ports, this one has {}", spec.ports.len());
        found.push(error("spec.ports", text));
    }
    let (mut names, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    for (i, port) in spec.ports.iter().enumerate() {
        if !names.insert(&port.name) {
            found
                .push(error(format!("spec.ports[{i}].name"), format!("there is another port {}", port.name)));
        }
        let Some(number) = port.number else { continue };
        let at = format!("spec.ports[{i}].number");
        if !numbers.insert(number) {
            found.push(error(at, format!("there is another port with number {number}")));
        } else if may_have_several_replicas(&spec.scale) {
            let text = format!(
                "only one replica on a machine can listen on the fixed port {number}, and this service may have more; \
                 remove the number, so that each gets a free one"
            );
            found.push(warning(at, text));
        }
    }
}

fn scale_to_zero(spec: &ServiceSpec, found: &mut ProblemList) {
    let Some(to_zero) = spec.scale.to_zero else { return };
    let at = "spec.scale.toZero";
    if spec.scale.count == Count::Fixed(0) {
        found
            .push(error(at, "replicas is 0, so no request could start one: give the number of replicas that run while there are requests"));
    }
    time_between(&format!("{at}.after"), to_zero.after, (IDLE_MIN, IDLE_MAX), found);
    wait(&format!("{at}.wait"), to_zero.wait, WAIT_MIN, found);
}

fn schedules(scale: &Scale, found: &mut ProblemList) {
    if scale.schedule.len() > SCHEDULES_MAX {
        let text = format!("a service has at most {SCHEDULES_MAX} schedules, not {}", scale.schedule.len());
        found.push(error("spec.scale.schedule", text));
    }
    for (i, schedule) in scale.schedule.iter().enumerate() {
        let at = format!("spec.scale.schedule[{i}]");
        time_between(&format!("{at}.duration"), schedule.duration, (WINDOW_MIN, WINDOW_MAX), found);
        match (schedule.min, schedule.max) {
            (None, None) => {
                found.push(error(
                    &at,
                    "a schedule without min and max changes nothing: give one of them, or both",
                ));
            }
            (Some(min), Some(max)) if min > max => {
                found.push(error(format!("{at}.min"), format!("min ({min}) is above max ({max})")));
            }
            (Some(_), _) | (_, Some(_)) => {}
        }
        let replicas = [schedule.min, schedule.max].into_iter().flatten().max();
        if let Some(replicas) = replicas.filter(|replicas| *replicas > REPLICAS_MAX) {
            let text = format!("at most {REPLICAS_MAX} replicas of a service can run, not {replicas}");
            found.push(error(&at, text));
        }
    }
}

/// Warns about metrics without effect, because the policy uses only one of them.
fn unused_metrics(autoscaler: &AutoscalerSpec, found: &mut ProblemList) {
    let (policy, metrics) = (&autoscaler.policy, &autoscaler.metrics);
    let Some(only) = policy.only_metric(metrics) else { return };
    for (i, metric) in metrics.iter().enumerate().filter(|(i, _)| *i != only) {
        let (name, used) = (metric.name(), metrics[only].name());
        let text = format!("{name} is shown but has no effect: policy {} uses only {used}", policy.name());
        found.push(warning(format!("spec.scale.metrics[{i}]"), text));
    }
}

/// The metrics that determine which replicas are removed, and which must stay.
fn removal(scale: &Scale, found: &mut ProblemList) {
    if let Remove::Cheapest(metric) = &scale.remove {
        metric_name("spec.scale.remove.cheapest", metric, found);
    }
    if let Some(metric) = &scale.protect {
        metric_name("spec.scale.protect", metric, found);
    }
}

fn flaps(scale: &Scale, found: &mut ProblemList) {
    let Some(flaps) = scale.flaps else { return };
    number_between("spec.scale.flaps.most", flaps.most, (1, FLAPS_MAX), found);
    time_between("spec.scale.flaps.per", flaps.per, (IDLE_MIN, IDLE_MAX), found);
}

fn vertical(scale: &Scale, found: &mut ProblemList) {
    let Some(vertical) = &scale.vertical else { return };
    for (name, range) in [("cpu", &vertical.cpu), ("memory", &vertical.memory)] {
        let at = format!("spec.scale.vertical.{name}");
        for (end, amount) in [("min", range.min), ("max", range.max)] {
            if amount.is_some_and(|amount| amount <= Quantity::ZERO) {
                found.push(error(format!("{at}.{end}"), "an amount of a resource must be above 0"));
            }
        }
        if let (Some(min), Some(max)) = (range.min, range.max)
            && min > max
        {
            found.push(error(format!("{at}.min"), format!("min ({min}) is above max ({max})")));
        }
    }
}

fn may_have_several_replicas(scale: &Scale) -> bool {
    scale.bounds().max > 1 || scale.schedule.iter().any(|schedule| schedule.min.is_some_and(|min| min > 1))
}

fn probes(spec: &ServiceSpec, found: &mut ProblemList) {
    let probes = &spec.probes;
    let named =
        [("startup", &probes.startup), ("readiness", &probes.readiness), ("liveness", &probes.liveness)];
    for (field, probe) in named.into_iter().filter_map(|(field, probe)| Some((field, probe.as_ref()?))) {
        check_probe(&format!("spec.probes.{field}"), probe, &spec.ports, found);
    }
}

fn check_probe(at: &str, probe: &Probe, ports: &[Port], found: &mut ProblemList) {
    let kind = match &probe.check {
        Check::Http(_) => "http",
        Check::Tcp(_) => "tcp",
        Check::Grpc(_) => "grpc",
        Check::Command(_) => "command",
    };
    let over_tcp = |port: &&Port| port.protocol.is_over_tcp();
    match probe.check.port() {
        Some(port) if !has_port(ports, port) => {
            found.push(error(format!("{at}.{kind}.port"), no_such_port(port, ports)));
        }
        Some(name) if !ports.iter().filter(over_tcp).any(|port| port.name == *name) => {
            let text = format!(
                "a probe by {kind} connects over TCP, and port {name} is a UDP port: name another, or use a command"
            );
            found.push(error(format!("{at}.{kind}.port"), text));
        }
        None if probe.check.needs_port() && !ports.iter().any(|port| port.protocol.is_over_tcp()) => {
            let text = format!(
                "a probe by {kind} needs a TCP port, and the service has none: add one under spec.ports, or use a command"
            );
            found.push(error(format!("{at}.{kind}"), text));
        }
        Some(_) | None => {}
    }
    if let Check::Http(http) = &probe.check
        && http.path.contains(|c: char| c.is_ascii_control() || c == ' ')
    {
        found.push(error(
            format!("{at}.http.path"),
            "the path of a request must not contain spaces or control characters",
        ));
    }
    wait(&format!("{at}.every"), probe.every, PROBE_EVERY_MIN, found);
    wait(&format!("{at}.timeout"), probe.timeout, WAIT_MIN, found);
}

fn has_port(ports: &[Port], name: &PortName) -> bool {
    ports.iter().any(|port| port.name == *name)
}

fn no_such_port(name: &PortName, ports: &[Port]) -> String {
    if ports.is_empty() {
        return format!("the service has no port {name}: add it under spec.ports");
    }
    let known: Vec<&str> = ports.iter().map(|port| port.name.as_str()).collect();
    format!("the service has no port {name}; its ports are {}", known.join(", "))
}

fn waits(spec: &ServiceSpec, found: &mut ProblemList) {
    wait("spec.update.minReady", spec.update.min_ready, Span::ZERO, found);
    wait("spec.stop.grace", spec.stop.grace, Span::ZERO, found);
    wait("spec.stop.drain", spec.stop.drain, Span::ZERO, found);
    if let Some(expose) = &spec.expose {
        if let Some(slow_start) = expose.slow_start {
            wait("spec.expose.slowStart", slow_start, WAIT_MIN, found);
        }
        wait("spec.expose.timeouts.connect", expose.timeouts.connect, WAIT_MIN, found);
        wait("spec.expose.timeouts.response", expose.timeouts.response, WAIT_MIN, found);
        wait("spec.expose.timeouts.idle", expose.timeouts.idle, WAIT_MIN, found);
        wait("spec.expose.timeouts.stream", expose.timeouts.stream, WAIT_MIN, found);
    }
}

/// Reports a time that is not between `min` and the longest wait.
fn wait(path: &str, time: Span, min: Span, found: &mut ProblemList) {
    time_between(path, time, (min, WAIT_MAX), found);
}

fn exposed(expose: &Expose, ports: &[Port], found: &mut ProblemList) {
    if !has_port(ports, &expose.port) {
        found.push(error("spec.expose.port", no_such_port(&expose.port, ports)));
    }
    limits(&expose.limits, found);
    hedge(expose.hedge, found);
    outliers(&expose.outliers, found);
    if !expose.hash.is_default() && expose.balance != Balance::ConsistentHash {
        let text = "it has no effect unless spec.expose.balance is consistentHash: set that, or remove this";
        found.push(error("spec.expose.hash", text));
    }
    if let Some(port) = ports.iter().find(|port| port.name == expose.port) {
        unsupported_by_protocol(expose, port.protocol, found);
    }
    if let Some(tls) = &expose.tls {
        tls::problems("spec.expose.tls", tls, found);
    }
}

/// Settings that the protocol of the port does not support.
fn unsupported_by_protocol(expose: &Expose, protocol: Protocol, found: &mut ProblemList) {
    match protocol {
        Protocol::Http => {}
        Protocol::Http2 | Protocol::Grpc => {
            if expose.proxy_protocol.send.is_some() {
                let text = "HTTP/2 connections to a replica are shared by all clients, so a header per connection cannot name the client: remove \
                            it, and use X-Forwarded-For";
                found.push(error("spec.expose.proxyProtocol.send", text));
            }
        }
        Protocol::Tcp => {
            if matches!(expose.hash, HashKey::Header(_) | HashKey::Cookie(_)) {
                let text =
                    "plain TCP is not parsed, so clients can be told apart only by their address: remove it";
                found.push(error("spec.expose.hash", text));
            }
            if expose.access_log.is_some() {
                let text = "plain TCP is not parsed, so there are no requests to log: remove it";
                found.push(error("spec.expose.accessLog", text));
            }
            if expose.limits.adaptive.is_some() {
                let text = "plain TCP is not parsed, so there are no response times to adapt to: limit inFlight instead";
                found.push(error("spec.expose.limits.adaptive", text));
            }
            if expose.hedge.is_some() {
                let text = "plain TCP is not parsed, so there are no requests to send twice: remove it";
                found.push(error("spec.expose.hedge", text));
            }
            if expose.outliers.slow.is_some() {
                let text = "the duration of a connection does not show how fast a replica answers: remove it";
                found.push(error("spec.expose.outliers.slow", text));
            }
        }
        Protocol::Udp => unsupported_by_udp(expose, found),
    }
}

/// Settings that UDP does not support.
fn unsupported_by_udp(expose: &Expose, found: &mut ProblemList) {
    let is_by_name = matches!(expose.hash, HashKey::Header(_) | HashKey::Cookie(_));
    let unsupported = [
        ("hash", is_by_name, "datagrams are not parsed, so clients can be told apart only by their address"),
        (
            "accessLog",
            expose.access_log.is_some(),
            "datagrams are not parsed, so there are no requests to log",
        ),
        (
            "limits.adaptive",
            expose.limits.adaptive.is_some(),
            "datagrams are not parsed, so there are no response times to adapt to",
        ),
        ("hedge", expose.hedge.is_some(), "datagrams are not parsed, so there are no requests to send twice"),
        (
            "outliers.slow",
            expose.outliers.slow.is_some(),
            "the duration of a session does not show how fast a replica answers",
        ),
        ("tls", expose.tls.is_some(), "TLS needs connections, and UDP has none"),
        (
            "proxyProtocol",
            !expose.proxy_protocol.is_none(),
            "its header precedes a connection, and UDP has none",
        ),
        ("external", !expose.external.is_empty(), "external balancers support only services over TCP"),
    ];
    for (field, _, why) in unsupported.into_iter().filter(|(_, is_set, _)| *is_set) {
        found.push(error(format!("spec.expose.{field}"), format!("{why}: remove it")));
    }
}

fn limits(limits: &Limits, found: &mut ProblemList) {
    let mut between = |field: &str, number: u32, range: (u32, u32)| {
        number_between(&format!("spec.expose.limits.{field}"), number, range, found);
    };
    if let Some(in_flight) = limits.in_flight {
        between("inFlight", in_flight, (1, IN_FLIGHT_MAX));
    }
    if let Some(in_flight) = limits.in_flight_per_replica {
        between("inFlightPerReplica", in_flight, (1, IN_FLIGHT_MAX));
    }
    let Some(Adaptive { min, max, tolerance_percent }) = limits.adaptive else { return };
    between("adaptive.max", max, (1, IN_FLIGHT_MAX));
    between("adaptive.min", min, (1, max.clamp(1, IN_FLIGHT_MAX)));
    between("adaptive.tolerancePercent", tolerance_percent, (0, TOLERANCE_PERCENT_MAX));
}

fn outliers(outliers: &Outliers, found: &mut ProblemList) {
    let at = "spec.expose.outliers";
    let Outliers { failures_in_a_row, ejection, longest, max_percent, slow } = *outliers;
    number_between(&format!("{at}.failuresInARow"), failures_in_a_row, (1, FAILURES_MAX), found);
    number_between(&format!("{at}.maxPercent"), max_percent, (1, EJECTED_PERCENT_MAX), found);
    wait(&format!("{at}.ejection"), ejection, WINDOW_OF_ANSWERS_MIN, found);
    wait(&format!("{at}.longest"), longest, ejection.max(WINDOW_OF_ANSWERS_MIN), found);
    let Some(SlowReplica { percent, at_least, window, answers }) = slow else { return };
    number_between(&format!("{at}.slow.percent"), percent, (110, 10_000), found);
    number_between(&format!("{at}.slow.answers"), answers, (1, IN_FLIGHT_MAX), found);
    wait(&format!("{at}.slow.atLeast"), at_least, Span::ZERO, found);
    wait(&format!("{at}.slow.window"), window, WINDOW_OF_ANSWERS_MIN, found);
}

fn hedge(hedge: Option<Hedge>, found: &mut ProblemList) {
    let Some(Hedge { after, percentile, budget_percent }) = hedge else { return };
    if let Some(after) = after {
        wait("spec.expose.hedge.after", after, WAIT_MIN, found);
        if percentile.is_some() {
            let text = "after already gives the time: remove one of them";
            found.push(error("spec.expose.hedge.percentile", text));
        }
    }
    if let Some(percentile) = percentile {
        number_between("spec.expose.hedge.percentile", percentile, (50, 99), found);
    }
    number_between("spec.expose.hedge.budgetPercent", budget_percent, (1, 100), found);
}

fn dependencies(service: &Service, found: &mut ProblemList) {
    let mut seen = BTreeSet::new();
    for (i, dependency) in service.spec.depends_on.iter().enumerate() {
        let at = format!("spec.dependsOn[{i}].service");
        if !seen.insert(&dependency.service) {
            found.push(error(at, format!("{} is named twice", dependency.service)));
        }
    }
}
