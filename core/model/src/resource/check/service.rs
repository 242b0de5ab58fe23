//! What must hold of a service by itself.

use std::collections::BTreeSet;

use super::{Severity, elsewhere, external, guarded, metric_source, tls};
use crate::resource::{
    Adaptive, AutoscalerSpec, Balance, Check, Count, Expose, HashKey, Hedge, IN_FLIGHT_MAX, Limits, Outliers,
    Port, PortName, Probe, Problem, Protocol, Quantity, REPLICAS_MAX, Remove, Scale, Service, ServiceSpec,
    SlowReplica, Span, TOLERANCE_PERCENT_MAX,
};

/// Most ports of one service: each replica reserves each of them, and the dynamic range holds 28,232.
const PORTS_MAX: usize = 64;

/// Shortest pace of a probe. Faster costs more than the service itself.
const PROBE_EVERY_MIN: Span = Span::from_millis(10);

/// Shortest time to wait for anything: the resolution of the loop's clock.
const WAIT_MIN: Span = Span::from_millis(1);

/// Longest time to wait for anything: past an hour it is a typing error more often than a wish.
const WAIT_MAX: Span = Span::from_secs(3600);

/// Shortest time without a request after which a service may rest: less would cost more starts than it saves.
const REST_AFTER_MIN: Span = Span::from_secs(1);

/// Longest time without a request after which a service rests: what is asked once a day would never rest with more.
const REST_AFTER_MAX: Span = Span::from_secs(86_400);

/// Most schedules of a service: an hour of each day of the week would need 168, and nobody could follow them.
const SCHEDULES_MAX: usize = 64;

/// Most changes of direction that a budget allows: who allows more has none.
const FLAPS_MAX: u32 = 100;

/// Shortest window of a schedule: crontab knows nothing shorter.
const WINDOW_MIN: Span = Span::from_secs(60);

/// Longest window of a schedule: one that begins once a year holds always by then.
const WINDOW_MAX: Span = Span::from_secs(366 * 86_400);

/// Most failures in a row that a replica may need before it is left out: who wants more wants never.
const FAILURES_MAX: u32 = 1000;

/// Most replicas that may be left out at once, in percent: beyond the half nobody is, since what they share is likelier to be ill.
const EJECTED_PERCENT_MAX: u32 = 50;

/// Shortest time that answers are looked at, or a replica is left out: that of the proxy's tick.
const WINDOW_OF_ANSWERS_MIN: Span = Span::from_millis(100);

/// Least memory of a replica, in bytes: no process starts in less than 1 MiB.
const MEMORY_MIN: i64 = 1024 * 1024;

/// Longest command line with environment, in bytes: half of what Linux takes by default (`ARG_MAX`, 2 MiB).
pub(super) const COMMAND_BYTES_MAX: usize = 1024 * 1024;

pub(super) type Found = Vec<(Severity, Problem)>;

pub(super) fn problems(service: &Service) -> Found {
    let mut found = Found::new();
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
    rest(spec, &mut found);
    schedules(&spec.scale, &mut found);
    guarded::of_service(&spec.scale, &mut found);
    vertical(&spec.scale, &mut found);
    flaps(&spec.scale, &mut found);
    removal(&spec.scale, &mut found);
    match service.autoscaler() {
        Ok(Some(autoscaler)) => not_looked_at(&autoscaler, &mut found),
        Ok(None) => {}
        Err(problems) => {
            found.extend(problems.into_vec().into_iter().map(|problem| (Severity::Error, problem)));
        }
    }
    found
}

pub(super) fn error(path: impl Into<String>, text: impl Into<String>) -> (Severity, Problem) {
    (Severity::Error, Problem::at(path, text))
}

fn run(spec: &ServiceSpec, found: &mut Found) {
    let run = &spec.run;
    match run.command.first() {
        None => found.push(error("spec.run.command", "a command names at least a program")),
        Some(program) if program.is_empty() => {
            found.push(error("spec.run.command[0]", "the name of the program must not be empty"));
        }
        Some(_) => {}
    }
    for (i, argument) in run.command.iter().enumerate().filter(|(_, argument)| argument.contains('\0')) {
        let at = format!("spec.run.command[{i}]");
        found.push(error(at, format!("an argument cannot hold a zero byte: {argument:?}")));
    }
    for (name, value) in &run.env {
        let at = format!("spec.run.env.{name}");
        if name.is_empty() || name.contains(['=', '\0']) {
            let text = format!(
                "the name of a variable is not empty and holds neither '=' nor a zero byte: {name:?}"
            );
            found.push(error(&at, text));
        }
        if value.contains('\0') {
            found.push(error(&at, format!("the value of {name} cannot hold a zero byte")));
        }
    }
    let arguments: usize = run.command.iter().map(|argument| argument.len() + 1).sum();
    let variables: usize = run.env.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
    if arguments + variables > COMMAND_BYTES_MAX {
        let text = format!(
            "command and env have {} bytes, at most {COMMAND_BYTES_MAX} can be passed",
            arguments + variables
        );
        found.push(error("spec.run", text));
    }
    let paths = [("workingDirectory", &run.working_directory), ("user", &run.user)];
    for (field, text) in paths.into_iter().filter_map(|(field, text)| Some((field, text.as_ref()?))) {
        if text.is_empty() || text.contains('\0') {
            found.push(error(format!("spec.run.{field}"), "it must not be empty, nor hold a zero byte"));
        }
    }
}

fn resources(spec: &ServiceSpec, found: &mut Found) {
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

fn ports(spec: &ServiceSpec, found: &mut Found) {
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
                 leave the number out, and each gets a free one"
            );
            found.push((Severity::Warning, Problem::at(at, text)));
        }
    }
}

fn rest(spec: &ServiceSpec, found: &mut Found) {
    let Some(to_zero) = spec.scale.to_zero else { return };
    let at = "spec.scale.toZero";
    if spec.scale.count == Count::Fixed(0) {
        found
            .push(error(at, "replicas is 0: no request could start one; say how many run while it is awake"));
    }
    if !(REST_AFTER_MIN..=REST_AFTER_MAX).contains(&to_zero.after) {
        let text = format!("{} is not between {REST_AFTER_MIN} and {REST_AFTER_MAX}", to_zero.after);
        found.push(error(format!("{at}.after"), text));
    }
    if !(WAIT_MIN..=WAIT_MAX).contains(&to_zero.wait) {
        let text = format!("{} is not between {WAIT_MIN} and {WAIT_MAX}", to_zero.wait);
        found.push(error(format!("{at}.wait"), text));
    }
}

fn schedules(scale: &Scale, found: &mut Found) {
    if scale.schedule.len() > SCHEDULES_MAX {
        let text = format!("a service has at most {SCHEDULES_MAX} schedules, not {}", scale.schedule.len());
        found.push(error("spec.scale.schedule", text));
    }
    for (i, schedule) in scale.schedule.iter().enumerate() {
        let at = format!("spec.scale.schedule[{i}]");
        let duration = schedule.duration;
        if !(WINDOW_MIN..=WINDOW_MAX).contains(&duration) {
            let text = format!("{duration} is not between {WINDOW_MIN} and {WINDOW_MAX}");
            found.push(error(format!("{at}.duration"), text));
        }
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

/// Metrics that decide nothing, because the policy looks at another one alone.
fn not_looked_at(autoscaler: &AutoscalerSpec, found: &mut Found) {
    let (policy, metrics) = (&autoscaler.policy, &autoscaler.metrics);
    let Some(only) = policy.only_metric(metrics) else { return };
    for (i, metric) in metrics.iter().enumerate().filter(|(i, _)| *i != only) {
        let (name, looked_at) = (metric.name(), metrics[only].name());
        let text = format!(
            "{name} is shown and decides nothing: policy {} looks at {looked_at} alone",
            policy.name()
        );
        found.push((Severity::Warning, Problem::at(format!("spec.scale.metrics[{i}]"), text)));
    }
}

/// The metrics by which it is said who goes and who must stay.
fn removal(scale: &Scale, found: &mut Found) {
    if let Remove::Cheapest(metric) = &scale.remove {
        metric_source::name("spec.scale.remove.cheapest", metric, found);
    }
    if let Some(metric) = &scale.protect {
        metric_source::name("spec.scale.protect", metric, found);
    }
}

fn flaps(scale: &Scale, found: &mut Found) {
    let Some(flaps) = scale.flaps else { return };
    if !(1..=FLAPS_MAX).contains(&flaps.most) {
        found.push(error(
            "spec.scale.flaps.most",
            format!("it lies between 1 and {FLAPS_MAX}, not {}", flaps.most),
        ));
    }
    if !(REST_AFTER_MIN..=REST_AFTER_MAX).contains(&flaps.per) {
        let text = format!("{} is not between {REST_AFTER_MIN} and {REST_AFTER_MAX}", flaps.per);
        found.push(error("spec.scale.flaps.per", text));
    }
}

fn vertical(scale: &Scale, found: &mut Found) {
    let Some(vertical) = &scale.vertical else { return };
    for (name, range) in [("cpu", &vertical.cpu), ("memory", &vertical.memory)] {
        let at = format!("spec.scale.vertical.{name}");
        for (end, amount) in [("min", range.min), ("max", range.max)] {
            if amount.is_some_and(|amount| amount <= Quantity::ZERO) {
                found.push(error(format!("{at}.{end}"), "an amount of a resource is above zero"));
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

fn probes(spec: &ServiceSpec, found: &mut Found) {
    let probes = &spec.probes;
    let named =
        [("startup", &probes.startup), ("readiness", &probes.readiness), ("liveness", &probes.liveness)];
    for (field, probe) in named.into_iter().filter_map(|(field, probe)| Some((field, probe.as_ref()?))) {
        one_probe(&format!("spec.probes.{field}"), probe, &spec.ports, found);
    }
}

fn one_probe(at: &str, probe: &Probe, ports: &[Port], found: &mut Found) {
    let way = match &probe.check {
        Check::Http(_) => "http",
        Check::Tcp(_) => "tcp",
        Check::Grpc(_) => "grpc",
        Check::Command(_) => "command",
    };
    let over_tcp = |port: &&Port| port.protocol.is_over_tcp();
    match probe.check.port() {
        Some(port) if !has_port(ports, port) => {
            found.push(error(format!("{at}.{way}.port"), no_such_port(port, ports)));
        }
        Some(name) if !ports.iter().filter(over_tcp).any(|port| port.name == *name) => {
            let text = format!(
                "a probe by {way} connects over TCP, and port {name} is of UDP: name another, or ask by command"
            );
            found.push(error(format!("{at}.{way}.port"), text));
        }
        None if probe.check.needs_port() && !ports.iter().any(|port| port.protocol.is_over_tcp()) => {
            let text = format!(
                "a probe by {way} needs a port of TCP to ask, and the service has none: add one under spec.ports, or ask by command"
            );
            found.push(error(format!("{at}.{way}"), text));
        }
        Some(_) | None => {}
    }
    if let Check::Http(http) = &probe.check
        && http.path.contains(|c: char| c.is_ascii_control() || c == ' ')
    {
        found.push(error(
            format!("{at}.http.path"),
            "the path of a request holds no space and no control character",
        ));
    }
    within(&format!("{at}.every"), probe.every, PROBE_EVERY_MIN, found);
    within(&format!("{at}.timeout"), probe.timeout, WAIT_MIN, found);
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

fn waits(spec: &ServiceSpec, found: &mut Found) {
    within("spec.stop.grace", spec.stop.grace, Span::ZERO, found);
    within("spec.stop.drain", spec.stop.drain, Span::ZERO, found);
    if let Some(expose) = &spec.expose {
        if let Some(slow_start) = expose.slow_start {
            within("spec.expose.slowStart", slow_start, WAIT_MIN, found);
        }
        within("spec.expose.timeouts.connect", expose.timeouts.connect, WAIT_MIN, found);
        within("spec.expose.timeouts.response", expose.timeouts.response, WAIT_MIN, found);
        within("spec.expose.timeouts.idle", expose.timeouts.idle, WAIT_MIN, found);
        within("spec.expose.timeouts.stream", expose.timeouts.stream, WAIT_MIN, found);
    }
}

fn within(path: &str, span: Span, min: Span, found: &mut Found) {
    if span < min || span > WAIT_MAX {
        found.push(error(path, format!("it lies between {min} and {WAIT_MAX}, not {span}")));
    }
}

fn exposed(expose: &Expose, ports: &[Port], found: &mut Found) {
    if !has_port(ports, &expose.port) {
        found.push(error("spec.expose.port", no_such_port(&expose.port, ports)));
    }
    limits(&expose.limits, found);
    hedge(expose.hedge, found);
    outliers(&expose.outliers, found);
    if !expose.hash.is_default() && expose.balance != Balance::ConsistentHash {
        let text =
            "it has no effect unless spec.expose.balance is consistentHash: set that, or take this out";
        found.push(error("spec.expose.hash", text));
    }
    if let Some(port) = ports.iter().find(|port| port.name == expose.port) {
        spoken(expose, port.protocol, found);
    }
    if let Some(tls) = &expose.tls {
        tls::problems("spec.expose.tls", tls, found);
    }
}

/// What cannot be had of those who speak so.
fn spoken(expose: &Expose, protocol: Protocol, found: &mut Found) {
    match protocol {
        Protocol::Http => {}
        Protocol::Http2 | Protocol::Grpc => {
            if expose.proxy_protocol.send.is_some() {
                let text = "connections of HTTP/2 to a replica are shared by all clients and cannot say whose they are: take it out, \
                            and read X-Forwarded-For";
                found.push(error("spec.expose.proxyProtocol.send", text));
            }
        }
        Protocol::Tcp => {
            if matches!(expose.hash, HashKey::Header(_) | HashKey::Cookie(_)) {
                let text = "nobody looks into plain TCP, so that clients are told apart by their address alone: take it out";
                found.push(error("spec.expose.hash", text));
            }
            if expose.access_log.is_some() {
                let text = "nobody looks into plain TCP, so that there are no requests to log: take it out";
                found.push(error("spec.expose.accessLog", text));
            }
            if expose.limits.adaptive.is_some() {
                let text = "nobody looks into plain TCP, so that no answer tells how busy the service is: limit inFlight instead";
                found.push(error("spec.expose.limits.adaptive", text));
            }
            if expose.hedge.is_some() {
                let text =
                    "nobody looks into plain TCP, so that there is no request to send twice: take it out";
                found.push(error("spec.expose.hedge", text));
            }
            if expose.outliers.slow.is_some() {
                let text = "how long a connection lasts does not say how fast a replica answers: take it out";
                found.push(error("spec.expose.outliers.slow", text));
            }
        }
        Protocol::Udp => spoken_in_datagrams(expose, found),
    }
}

/// What cannot be had where there are datagrams alone.
fn spoken_in_datagrams(expose: &Expose, found: &mut Found) {
    let by_name = matches!(expose.hash, HashKey::Header(_) | HashKey::Cookie(_));
    let refused = [
        (
            "hash",
            by_name,
            "nobody looks into datagrams, so that clients are told apart by their address alone",
        ),
        (
            "accessLog",
            expose.access_log.is_some(),
            "nobody looks into datagrams, so that there are no requests to log",
        ),
        (
            "limits.adaptive",
            expose.limits.adaptive.is_some(),
            "nobody looks into datagrams, so that no answer tells how busy the service is",
        ),
        (
            "hedge",
            expose.hedge.is_some(),
            "nobody looks into datagrams, so that there is no request to send twice",
        ),
        (
            "outliers.slow",
            expose.outliers.slow.is_some(),
            "how long a session lasts does not say how fast a replica answers",
        ),
        ("tls", expose.tls.is_some(), "TLS is spoken over connections, and UDP has none"),
        (
            "proxyProtocol",
            !expose.proxy_protocol.is_none(),
            "its header goes in front of a connection, and UDP has none",
        ),
        ("external", !expose.external.is_empty(), "balancers of your own are told of services of TCP alone"),
    ];
    for (field, _, why) in refused.into_iter().filter(|(_, is_asked, _)| *is_asked) {
        found.push(error(format!("spec.expose.{field}"), format!("{why}: take it out")));
    }
}

fn limits(limits: &Limits, found: &mut Found) {
    let mut between = |field: &str, least: u32, most: u32, it: Option<u32>| {
        if let Some(it) = it.filter(|it| !(least..=most).contains(it)) {
            let text = format!("it lies between {least} and {most}, not {it}");
            found.push(error(format!("spec.expose.limits.{field}"), text));
        }
    };
    between("inFlight", 1, IN_FLIGHT_MAX, limits.in_flight);
    between("inFlightPerReplica", 1, IN_FLIGHT_MAX, limits.in_flight_per_replica);
    let Some(Adaptive { min, max, tolerance_percent }) = limits.adaptive else { return };
    between("adaptive.max", 1, IN_FLIGHT_MAX, Some(max));
    between("adaptive.min", 1, max.clamp(1, IN_FLIGHT_MAX), Some(min));
    between("adaptive.tolerancePercent", 0, TOLERANCE_PERCENT_MAX, Some(tolerance_percent));
}

fn outliers(outliers: &Outliers, found: &mut Found) {
    let at = "spec.expose.outliers";
    let Outliers { failures_in_a_row, ejection, longest, max_percent, slow } = *outliers;
    in_range(&format!("{at}.failuresInARow"), failures_in_a_row, 1, FAILURES_MAX, found);
    in_range(&format!("{at}.maxPercent"), max_percent, 1, EJECTED_PERCENT_MAX, found);
    within(&format!("{at}.ejection"), ejection, WINDOW_OF_ANSWERS_MIN, found);
    within(&format!("{at}.longest"), longest, ejection.max(WINDOW_OF_ANSWERS_MIN), found);
    let Some(SlowReplica { percent, at_least, window, answers }) = slow else { return };
    in_range(&format!("{at}.slow.percent"), percent, 110, 10_000, found);
    in_range(&format!("{at}.slow.answers"), answers, 1, IN_FLIGHT_MAX, found);
    within(&format!("{at}.slow.atLeast"), at_least, Span::ZERO, found);
    within(&format!("{at}.slow.window"), window, WINDOW_OF_ANSWERS_MIN, found);
}

fn in_range(at: &str, it: u32, least: u32, most: u32, found: &mut Found) {
    if !(least..=most).contains(&it) {
        found.push(error(at, format!("it lies between {least} and {most}, not {it}")));
    }
}

fn hedge(hedge: Option<Hedge>, found: &mut Found) {
    let Some(Hedge { after, percentile, budget_percent }) = hedge else { return };
    if let Some(after) = after {
        within("spec.expose.hedge.after", after, WAIT_MIN, found);
        if percentile.is_some() {
            let text = "the time is said by after already: take one of the two out";
            found.push(error("spec.expose.hedge.percentile", text));
        }
    }
    let mut between = |field: &str, least: u32, most: u32, it: Option<u32>| {
        if let Some(it) = it.filter(|it| !(least..=most).contains(it)) {
            let text = format!("it lies between {least} and {most}, not {it}");
            found.push(error(format!("spec.expose.hedge.{field}"), text));
        }
    };
    between("percentile", 50, 99, percentile);
    between("budgetPercent", 1, 100, Some(budget_percent));
}

fn dependencies(service: &Service, found: &mut Found) {
    let mut seen = BTreeSet::new();
    for (i, dependency) in service.spec.depends_on.iter().enumerate() {
        let at = format!("spec.dependsOn[{i}].service");
        if !seen.insert(&dependency.service) {
            found.push(error(at, format!("{} is named twice", dependency.service)));
        }
    }
}
