//! The metrics of Homeostat and of its services, for Prometheus: one reading per scrape.

use std::collections::BTreeMap;
use std::fmt;

use agent::{CertificateStatus, RouteDetail};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use proxy::{AccessLogState, Counts, EndpointTraffic, Histogram, RouteTraffic};

use crate::balancers;
use crate::certificates;
use crate::endpoints::{self, CLASSES};
use crate::failure::Failure;
use crate::metric_source;
use crate::state::State;
use crate::v1;
use crate::view::{self, ServiceView};

/// Upper bounds of the latency buckets, in seconds: from a cached page to the proxy's timeout, each twice the last or so.
///
/// 14 buckets × 2 series a service keep a thousand services below 30,000 series.
const BOUNDS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// The media type of OpenMetrics, which Prometheus reads since 2.5.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Takes a reading and encodes it.
pub(crate) async fn metrics(state: &State) -> Result<Response, Failure> {
    let reading = read(state).await?;
    let mut registry = Registry::default();
    registry.register_collector(Box::new(reading));
    let mut text = String::new();
    text::encode(&mut text, &registry).expect("writing to a string does not fail");
    Ok(([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response())
}

#[derive(Debug)]
struct Reading {
    rounds: u64,
    in_flight: usize,
    is_ready: bool,
    events: BTreeMap<String, u64>,
    services: Vec<ServiceView>,
    requests: Vec<Requests>,
    /// The same of each version of a service, with the version.
    versions: Vec<(u64, Requests)>,
    proxied: Vec<(String, v1::Proxied)>,
    tls: Vec<Tls>,
    certificates: Vec<Ending>,
    /// By service.
    elsewhere: Vec<(String, v1::ElsewhereEndpoint)>,
    /// By service.
    zones: Vec<(String, v1::PreferredZone)>,
    routes: Vec<RouteTraffic>,
    /// External balancers, with their services.
    external: Vec<(String, v1::External)>,
    access_logs: Vec<AccessLogState>,
    sources: Vec<v1::MetricSource>,
}

/// The TLS of one service.
#[derive(Debug)]
struct Tls {
    service: String,
    handshake_failures: u64,
}

/// The certificate that ends first among those of a service or a route.
#[derive(Debug)]
struct Ending {
    /// `service` or `route`.
    label: &'static str,
    name: String,
    /// In seconds since 1970.
    not_after: i64,
}

/// The requests of one service, or of one of its replicas.
#[derive(Debug)]
struct Requests {
    service: String,
    replica: Option<String>,
    status: [u64; 5],
    retries: u64,
    failures: u64,
    latency: Latencies,
}

/// Latencies in the exported buckets.
#[derive(Debug)]
struct Latencies {
    /// Counts for each of [`BOUNDS`], then of what is above the last.
    counts: Vec<u64>,
    sum_seconds: f64,
}

async fn read(state: &State) -> Result<Reading, Failure> {
    let rounds = *state.handle.events().changes().borrow();
    let (services, in_flight) = state
        .query(|handle| {
            Ok((view::services(handle, None)?, handle.query(|control, _| control.actions_in_flight())?))
        })
        .await?;
    let events = state.events_by_kind().clone();
    let (mut requests, mut by_proxy) = (Vec::new(), Vec::new());
    let (mut tls, mut certificates) = (Vec::new(), Vec::new());
    let mut versions = Vec::new();
    let (mut others, mut zones) = (Vec::new(), Vec::new());
    let now = state.handle.now().wall;
    for traffic in state.agent.traffic() {
        let service = traffic.service.to_string();
        by_proxy.push((service.clone(), endpoints::of(&traffic)));
        let (endpoints, zone) = endpoints::others(&traffic, now);
        others.extend(endpoints.into_iter().map(|endpoint| (service.clone(), endpoint)));
        zones.extend(zone.map(|zone| (service.clone(), zone)));
        requests.push(of_counts(&service, None, &traffic.counts));
        let by_version = traffic.versions.iter();
        versions.extend(by_version.map(|it| (it.version, of_counts(&service, None, &it.counts))));
        if let Some(state) = state.agent.tls(&traffic.service) {
            tls.push(Tls { service: service.clone(), handshake_failures: traffic.handshake_failures });
            certificates.extend(ending("service", &service, &state));
        }
        for (ordinal, counts) in by_ordinal(&traffic.endpoints) {
            requests.push(of_counts(&service, Some(format!("{service}-{ordinal}")), &counts));
        }
    }
    let external = services.iter().flat_map(|service| {
        let externals = balancers::external(&state.agent.balancers(&service.name));
        externals.into_iter().map(|external| (service.name.to_string(), external))
    });
    let external = external.collect();
    let agent = state.agent.clone();
    let sources = state.query(move |handle| metric_source::sources(handle, &agent, None)).await?;
    let details = state.agent.routes();
    let of_route = |detail: &RouteDetail| ending("route", detail.route.as_str(), detail.tls.as_ref()?);
    certificates.extend(details.iter().filter_map(of_route));
    let routes = details.into_iter().map(|detail| detail.traffic).collect();
    Ok(Reading {
        rounds,
        in_flight,
        is_ready: state.handle.is_ready(),
        events,
        services,
        requests,
        versions,
        proxied: by_proxy,
        tls,
        certificates,
        elsewhere: others,
        zones,
        routes,
        external,
        access_logs: state.agent.access_logs(),
        sources,
    })
}

/// The sums over all lives of each place: a life that still answers its last requests would else be a second series of one
/// name, which no scraper takes.
fn by_ordinal(endpoints: &[EndpointTraffic]) -> BTreeMap<u32, Counts> {
    let mut sums: BTreeMap<u32, Counts> = BTreeMap::new();
    for endpoint in endpoints {
        let sum = sums.entry(endpoint.id.ordinal).or_default();
        let counts = &endpoint.counts;
        for (total, more) in sum.status.iter_mut().zip(counts.status) {
            *total += more;
        }
        sum.latency.merge(&counts.latency);
        sum.retries += counts.retries;
        sum.failures += counts.failures;
        sum.connect_failures += counts.connect_failures;
    }
    sums
}

/// `None` while there is no certificate.
fn ending(label: &'static str, name: &str, state: &CertificateStatus) -> Option<Ending> {
    Some(Ending { label, name: name.to_owned(), not_after: certificates::not_after(state)? })
}

fn of_counts(service: &str, replica: Option<String>, counts: &Counts) -> Requests {
    Requests {
        service: service.to_owned(),
        replica,
        status: counts.status,
        retries: counts.retries,
        failures: counts.failures + counts.connect_failures,
        latency: Latencies::of(&counts.latency),
    }
}

impl Latencies {
    fn of(histogram: &Histogram) -> Self {
        let mut counts = vec![0; BOUNDS.len() + 1];
        let (mut sum_seconds, mut lower) = (0.0, 0.0);
        for (upper, count) in histogram.buckets() {
            let upper = upper.as_secs_f64();
            // The proxy's buckets are 6 % wide at most: their middle stands for what is in them.
            let middle = f64::midpoint(lower, upper);
            let at = BOUNDS.iter().position(|bound| middle <= *bound).unwrap_or(BOUNDS.len());
            counts[at] += count;
            sum_seconds += middle * count as f64;
            lower = upper;
        }
        Self { counts, sum_seconds }
    }

    fn encode(&self, family: &mut MetricEncoder<'_>, labels: &[(&str, &str)]) -> fmt::Result {
        let bounds = BOUNDS.iter().copied().chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(self.counts.iter().copied()).collect();
        let count = self.counts.iter().sum();
        let labels: Vec<(&str, &str)> = labels.to_vec();
        family.encode_family(&labels)?.encode_histogram::<NoLabelSet>(self.sum_seconds, count, &buckets, None)
    }
}

impl Collector for Reading {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.encode_loop(&mut encoder)?;
        self.encode_services(&mut encoder)?;
        self.encode_requests(&mut encoder)?;
        self.encode_versions(&mut encoder)?;
        self.encode_proxied(&mut encoder)?;
        self.encode_datagrams(&mut encoder)?;
        self.encode_elsewhere(&mut encoder)?;
        self.encode_tls(&mut encoder)?;
        self.encode_routes(&mut encoder)?;
        self.encode_external(&mut encoder)?;
        self.encode_access_logs(&mut encoder)?;
        self.encode_sources(&mut encoder)
    }
}

impl Reading {
    fn encode_loop(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        counter(encoder, "homeostat_loop_rounds", "Rounds of the control loop, each of one or more inputs")?
            .encode_counter::<NoLabelSet, _, f64>(&self.rounds, None)?;
        gauge(encoder, "homeostat_actions_in_flight", "Actions told of which no end is known yet")?
            .encode_gauge(&i64::try_from(self.in_flight).unwrap_or(i64::MAX))?;
        gauge(encoder, "homeostat_ready", "1 while the loop steers")?
            .encode_gauge(&i64::from(self.is_ready))?;
        let mut events = counter(encoder, "homeostat_events", "What happened, by kind")?;
        for (kind, count) in &self.events {
            events
                .encode_family(&[("kind", kind.as_str())])?
                .encode_counter::<NoLabelSet, _, f64>(count, None)?;
        }
        Ok(())
    }

    fn encode_services(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut desired = gauge(encoder, "homeostat_replicas_desired", "Replicas wanted")?;
        for view in &self.services {
            let labels = [("service", view.name.as_str())];
            desired.encode_family(&labels)?.encode_gauge(&i64::from(view.status.desired_replicas))?;
        }
        let mut ready = gauge(encoder, "homeostat_replicas_ready", "Replicas that answer requests")?;
        for view in &self.services {
            let labels = [("service", view.name.as_str())];
            ready.encode_family(&labels)?.encode_gauge(&i64::from(view.status.ready_replicas))?;
        }
        let mut phases = gauge(encoder, "homeostat_replicas", "Replicas by phase")?;
        for view in &self.services {
            for (phase, count) in by_phase(view) {
                let labels = [("service", view.name.as_str()), ("phase", phase)];
                phases.encode_family(&labels)?.encode_gauge(&count)?;
            }
        }
        let mut restarts =
            counter(encoder, "homeostat_replica_restarts", "Starts of a replica after its first")?;
        for (replica, status) in self.replicas() {
            let labels = [("service", status.service.as_str()), ("replica", replica.as_str())];
            let count = u64::from(status.restarts);
            restarts.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&count, None)?;
        }
        let mut cpu = gauge(encoder, "homeostat_replica_cpu_cores", "Processor in use")?;
        for (replica, status) in self.replicas() {
            if let Some(millicores) = status.usage.cpu_millicores {
                let labels = [("service", status.service.as_str()), ("replica", replica.as_str())];
                cpu.encode_family(&labels)?.encode_gauge(&(millicores as f64 / 1000.0))?;
            }
        }
        self.encode_throttling(encoder)?;
        let mut memory = gauge(encoder, "homeostat_replica_memory_bytes", "Memory in use")?;
        for (replica, status) in self.replicas() {
            if let Some(bytes) = status.usage.memory_bytes {
                let labels = [("service", status.service.as_str()), ("replica", replica.as_str())];
                memory.encode_family(&labels)?.encode_gauge(&(bytes as f64))?;
            }
        }
        Ok(())
    }

    /// By the names that the exporter of container engines has for them, without their `container` and `cfs`.
    fn encode_throttling(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let held = || self.replicas().filter_map(|(name, status)| Some((name, status, status.throttling?)));
        let name = "homeostat_replica_cpu_periods";
        let mut windows = counter(encoder, name, "Windows of the kernel in which it ran under a limit")?;
        for (replica, status, throttling) in held() {
            let labels = [("service", status.service.as_str()), ("replica", replica.as_str())];
            let count = throttling.windows;
            windows.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&count, None)?;
        }
        let name = "homeostat_replica_cpu_throttled_periods";
        let mut throttled =
            counter(encoder, name, "Windows in which its limit of the processor was used up")?;
        for (replica, status, throttling) in held() {
            let labels = [("service", status.service.as_str()), ("replica", replica.as_str())];
            let count = throttling.throttled_windows;
            throttled.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&count, None)?;
        }
        let name = "homeostat_replica_cpu_throttled_seconds";
        let mut waited = counter(encoder, name, "How long it waited, as its limit was used up")?;
        for (replica, status, throttling) in held() {
            let labels = [("service", status.service.as_str()), ("replica", replica.as_str())];
            let seconds = throttling.waited_seconds;
            waited.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&seconds, None)?;
        }
        Ok(())
    }

    fn encode_requests(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let of_services = || self.requests.iter().filter(|requests| requests.replica.is_none());
        let mut answered = counter(encoder, "homeostat_requests", "Answers to clients, by class of status")?;
        for requests in of_services() {
            for (class, count) in CLASSES.iter().zip(&requests.status) {
                let labels = [("service", requests.service.as_str()), ("status", *class)];
                answered.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(count, None)?;
            }
        }
        let name = "homeostat_replica_requests";
        let mut answered = counter(encoder, name, "Answers of replicas to the proxy, by class of status")?;
        for requests in &self.requests {
            let Some(replica) = &requests.replica else { continue };
            for (class, count) in CLASSES.iter().zip(&requests.status) {
                let labels = [
                    ("service", requests.service.as_str()),
                    ("replica", replica.as_str()),
                    ("status", *class),
                ];
                answered.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(count, None)?;
            }
        }
        let mut retries =
            counter(encoder, "homeostat_request_retries", "Requests sent again to another replica")?;
        for requests in of_services() {
            let labels = [("service", requests.service.as_str())];
            retries.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&requests.retries, None)?;
        }
        let mut failures = counter(encoder, "homeostat_request_failures", "Requests without a whole answer")?;
        for requests in of_services() {
            let labels = [("service", requests.service.as_str())];
            failures
                .encode_family(&labels)?
                .encode_counter::<NoLabelSet, _, f64>(&requests.failures, None)?;
        }
        let name = "homeostat_request_duration_seconds";
        let help = "From a request's head to the end of its answer";
        let mut latency = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for requests in of_services() {
            requests.latency.encode(&mut latency, &[("service", requests.service.as_str())])?;
        }
        Ok(())
    }

    fn encode_versions(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let name = "homeostat_version_requests";
        let help = "Answers of the replicas of a version to the proxy, by class of status";
        let mut answered = counter(encoder, name, help)?;
        for (version, requests) in &self.versions {
            for (class, count) in CLASSES.iter().zip(&requests.status) {
                let version = version.to_string();
                let labels =
                    [("service", requests.service.as_str()), ("generation", &version), ("status", *class)];
                answered.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(count, None)?;
            }
        }
        let name = "homeostat_version_request_failures";
        let mut failures =
            counter(encoder, name, "Attempts at replicas of a version without a whole answer")?;
        for (version, requests) in &self.versions {
            let version = version.to_string();
            let labels = [("service", requests.service.as_str()), ("generation", version.as_str())];
            failures
                .encode_family(&labels)?
                .encode_counter::<NoLabelSet, _, f64>(&requests.failures, None)?;
        }
        let name = "homeostat_version_request_duration_seconds";
        let help = "From when a replica of a version was asked to the end of its answer";
        let mut latency = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (version, requests) in &self.versions {
            let version = version.to_string();
            let labels = [("service", requests.service.as_str()), ("generation", version.as_str())];
            requests.latency.encode(&mut latency, &labels)?;
        }
        Ok(())
    }

    /// The requests of external endpoints, and those that stay in the zone.
    fn encode_elsewhere(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        fn labels<'a>(service: &'a str, it: &'a v1::ElsewhereEndpoint) -> [(&'static str, &'a str); 3] {
            [
                ("service", service),
                ("endpoint", &it.address),
                ("zone", it.zone.as_deref().unwrap_or_default()),
            ]
        }
        let name = "homeostat_endpoint_requests";
        let help = "Answers to the proxy of endpoints that others run, by class of status";
        let mut answered = counter(encoder, name, help)?;
        for (service, it) in &self.elsewhere {
            let [service, endpoint, zone] = labels(service, it);
            for (class, count) in &it.responses {
                let labels = [service, endpoint, zone, ("status", class.as_str())];
                answered.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(count, None)?;
            }
        }
        let name = "homeostat_endpoint_request_failures";
        let help = "Attempts at endpoints that others run without a whole answer";
        let mut failures = counter(encoder, name, help)?;
        for (service, it) in &self.elsewhere {
            failures
                .encode_family(&labels(service, it))?
                .encode_counter::<NoLabelSet, _, f64>(&it.failures, None)?;
        }
        let name = "homeostat_endpoint_requests_in_flight";
        let mut in_flight = gauge(encoder, name, "Requests that endpoints answer now that others run")?;
        for (service, it) in &self.elsewhere {
            in_flight.encode_family(&labels(service, it))?.encode_gauge(&i64::from(it.in_flight))?;
        }
        let help = "1 while an endpoint that others run is left out, because it keeps failing or is slow";
        let mut ejected = gauge(encoder, "homeostat_endpoint_ejected", help)?;
        for (service, it) in &self.elsewhere {
            ejected.encode_family(&labels(service, it))?.encode_gauge(&i64::from(it.state == "Ejected"))?;
        }
        let help = "The part of the requests that stays in the zone that is preferred, 0 to 1";
        let mut share = gauge(encoder, "homeostat_zone_share", help)?;
        for (service, zone) in &self.zones {
            let labels = [("service", service.as_str()), ("zone", zone.name.as_str())];
            share.encode_family(&labels)?.encode_gauge(&zone.share)?;
        }
        Ok(())
    }

    /// The proxy's retries, ejections and refusals.
    fn encode_proxied(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Requests that the proxy answered 503 itself";
        let mut refused = counter(encoder, "homeostat_requests_refused", help)?;
        for (service, proxied) in &self.proxied {
            let v1::Refused { no_replica, over_limit, shed } = proxied.refused;
            for (reason, count) in [("no_replica", no_replica), ("over_limit", over_limit), ("shed", shed)] {
                let labels = [("service", service.as_str()), ("reason", reason)];
                refused.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&count, None)?;
            }
        }
        let help = "Requests sent to a second replica, too, because the first took long";
        let mut hedges = counter(encoder, "homeostat_request_hedges", help)?;
        for (service, proxied) in &self.proxied {
            let labels = [("service", service.as_str())];
            hedges.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&proxied.hedges, None)?;
        }
        let help = "Requests that a second replica answered before the first";
        let mut hedges_won = counter(encoder, "homeostat_request_hedges_won", help)?;
        for (service, proxied) in &self.proxied {
            let labels = [("service", service.as_str())];
            hedges_won
                .encode_family(&labels)?
                .encode_counter::<NoLabelSet, _, f64>(&proxied.hedges_won, None)?;
        }
        let name = "homeostat_concurrency_limit";
        let mut limits =
            gauge(encoder, name, "Requests that may await an answer at once, as found by itself")?;
        for (service, proxied) in &self.proxied {
            if let Some(adaptive) = proxied.adaptive {
                let limit = f64::from(adaptive.limit);
                limits.encode_family(&[("service", service.as_str())])?.encode_gauge(&limit)?;
            }
        }
        Ok(())
    }

    /// The traffic over UDP.
    fn encode_datagrams(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let services =
            || self.proxied.iter().filter_map(|(service, it)| Some((service.as_str(), it.datagrams?)));
        let mut passed =
            counter(encoder, "homeostat_datagrams", "Datagrams from clients (in) and to them (out)")?;
        for (service, it) in services() {
            for (direction, count) in [("in", it.received), ("out", it.sent)] {
                passed
                    .encode_family(&[("service", service), ("direction", direction)])?
                    .encode_counter::<NoLabelSet, _, f64>(&count, None)?;
            }
        }
        let mut bytes = counter(encoder, "homeostat_datagram_bytes", "Bytes of these datagrams")?;
        for (service, it) in services() {
            for (direction, count) in [("in", it.bytes_received), ("out", it.bytes_sent)] {
                bytes
                    .encode_family(&[("service", service), ("direction", direction)])?
                    .encode_counter::<NoLabelSet, _, f64>(&count, None)?;
            }
        }
        let mut dropped = counter(encoder, "homeostat_datagrams_dropped", "Datagrams that went nowhere")?;
        for (service, it) in services() {
            let labels = [("service", service)];
            dropped.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&it.dropped, None)?;
        }
        let help = "Addresses of clients whose datagrams go to a replica now";
        let mut sessions = gauge(encoder, "homeostat_datagram_sessions", help)?;
        for (service, it) in services() {
            sessions.encode_family(&[("service", service)])?.encode_gauge(&i64::from(it.sessions))?;
        }
        Ok(())
    }

    fn encode_tls(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Clients with which no TLS came about";
        let mut failures = counter(encoder, "homeostat_tls_handshake_failures", help)?;
        for tls in &self.tls {
            failures
                .encode_family(&[("service", tls.service.as_str())])?
                .encode_counter::<NoLabelSet, _, f64>(&tls.handshake_failures, None)?;
        }
        let name = "homeostat_certificate_not_after_seconds";
        let mut ends =
            gauge(encoder, name, "When the first certificate of a service or a route ends, since 1970")?;
        for Ending { label, name, not_after } in &self.certificates {
            ends.encode_family(&[(*label, name.as_str())])?.encode_gauge(not_after)?;
        }
        Ok(())
    }

    fn encode_access_logs(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Lines of access logs, by whether they were written";
        let mut lines = counter(encoder, "homeostat_access_log_lines", help)?;
        for log in &self.access_logs {
            for (result, count) in [("written", log.written), ("dropped", log.dropped)] {
                let labels = [("file", &*log.file), ("result", result)];
                lines.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&count, None)?;
            }
        }
        Ok(())
    }

    fn encode_external(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help =
            "How often a balancer of somebody else was told of the replicas, by whether it has taken them";
        let mut reloads = counter(encoder, "homeostat_external_reloads", help)?;
        for (service, it) in &self.external {
            for (result, count) in [("taken", it.reloads), ("failed", it.failures)] {
                let labels = [("service", service.as_str()), ("file", it.file.as_str()), ("result", result)];
                reloads.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&count, None)?;
            }
        }
        let help = "Whether a balancer of somebody else has what it should";
        let mut current = gauge(encoder, "homeostat_external_current", help)?;
        for (service, it) in &self.external {
            let labels = [("service", service.as_str()), ("file", it.file.as_str())];
            let is_current = i64::from(it.problem.is_none() && it.reloaded_at.is_some());
            current.encode_family(&labels)?.encode_gauge(&is_current)?;
        }
        Ok(())
    }

    fn encode_sources(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let name = "homeostat_metric_source_up";
        let mut up = gauge(encoder, name, "Whether what a source of a metric measured last stands")?;
        for source in &self.sources {
            let stands = source.status.conditions.iter().all(|condition| condition.status == "True");
            up.encode_family(&[("source", source.name())])?.encode_gauge(&i64::from(stands))?;
        }
        let name = "homeostat_metric_source_value";
        let mut values = gauge(encoder, name, "What a source of a metric measured last")?;
        for source in &self.sources {
            if let Some(value) = &source.status.value {
                values.encode_family(&[("source", source.name())])?.encode_gauge(value)?;
            }
        }
        Ok(())
    }

    fn encode_routes(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let name = "homeostat_route_requests";
        let mut answered = counter(encoder, name, "Answers to requests of a route, by class of status")?;
        for route in &self.routes {
            for (class, count) in CLASSES.iter().zip(&route.status) {
                let labels = [("route", &*route.route), ("status", *class)];
                answered.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(count, None)?;
            }
        }
        let name = "homeostat_route_request_duration_seconds";
        let help = "From the head of a request of a route to the end of its answer";
        let mut latency = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for route in &self.routes {
            Latencies::of(&route.latency).encode(&mut latency, &[("route", &*route.route)])?;
        }
        let name = "homeostat_route_requests_over_rate";
        let mut over_rate = counter(encoder, name, "Requests of a route answered 429 for its limit by time")?;
        for route in &self.routes {
            over_rate
                .encode_family(&[("route", &*route.route)])?
                .encode_counter::<NoLabelSet, _, f64>(&route.over_rate, None)?;
        }
        let name = "homeostat_route_copies";
        let mut copies = counter(encoder, name, "Copies of requests of a route, by whether they were sent")?;
        for route in &self.routes {
            for (fate, count) in [("sent", route.copies), ("left_out", route.copies_left_out)] {
                let labels = [("route", &*route.route), ("fate", fate)];
                copies.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&count, None)?;
            }
        }
        Ok(())
    }

    fn replicas(&self) -> impl Iterator<Item = (String, &v1::ReplicaStatus)> {
        let places = self.services.iter().flat_map(|view| &view.places);
        places.map(|place| (place.replica.to_string(), &place.status))
    }
}

fn by_phase(view: &ServiceView) -> BTreeMap<&str, i64> {
    let mut phases = BTreeMap::new();
    for place in &view.places {
        *phases.entry(place.status.phase.as_str()).or_default() += 1;
    }
    phases
}

fn counter<'e>(
    encoder: &'e mut DescriptorEncoder<'_>,
    name: &'e str,
    help: &str,
) -> Result<MetricEncoder<'e>, fmt::Error> {
    encoder.encode_descriptor(name, help, None, MetricType::Counter)
}

fn gauge<'e>(
    encoder: &'e mut DescriptorEncoder<'_>,
    name: &'e str,
    help: &str,
) -> Result<MetricEncoder<'e>, fmt::Error> {
    encoder.encode_descriptor(name, help, None, MetricType::Gauge)
}

#[cfg(test)]
mod tests {
    use proxy::{EndpointId, EndpointState, Ramp, Weight};

    use super::*;

    #[test]
    fn a_life_that_ends_and_its_successor_are_one_series() {
        let life = |incarnation: u32, good: u64| EndpointTraffic {
            id: EndpointId { ordinal: 0, incarnation },
            address: ([127, 0, 0, 1], 1).into(),
            zone: None,
            weight: Weight::ONE,
            state: EndpointState::Draining,
            ejection: None,
            ramp: Ramp::FULL,
            in_flight: 0,
            counts: Counts { status: [0, good, 0, 0, 1], ..Counts::default() },
        };
        let sums = by_ordinal(&[life(1, 5), life(2, 7)]);
        assert_eq!(sums.len(), 1);
        assert_eq!(sums[&0].status, [0, 12, 0, 0, 2]);
    }

    fn elsewhere() -> v1::ElsewhereEndpoint {
        v1::ElsewhereEndpoint {
            address: "10.0.0.7:80".into(),
            zone: Some("b".into()),
            weight: 1,
            state: "Ejected".into(),
            message: None,
            in_flight: 1,
            requests: 8,
            responses: BTreeMap::from([("2xx".into(), 5)]),
            failures: 2,
            latency: None,
        }
    }

    #[test]
    fn a_service_without_traffic_has_a_whole_histogram() {
        let requests = vec![of_counts("shop", None, &Counts::default())];
        let refused = v1::Refused { no_replica: 0, over_limit: 3, shed: 5 };
        let adaptive = Some(v1::Adaptive { limit: 24, ..v1::Adaptive::default() });
        let proxied = v1::Proxied { refused, adaptive, hedges: 8, hedges_won: 6, ..v1::Proxied::default() };
        let reading = Reading {
            rounds: 1,
            in_flight: 0,
            is_ready: true,
            events: BTreeMap::new(),
            services: Vec::new(),
            requests,
            versions: vec![(7, of_counts("shop", None, &Counts { failures: 2, ..Counts::default() }))],
            proxied: vec![("shop".into(), proxied)],
            tls: vec![Tls { service: "shop".into(), handshake_failures: 3 }],
            certificates: vec![Ending { label: "route", name: "front".into(), not_after: 7 }],
            elsewhere: vec![("shop".into(), elsewhere())],
            zones: vec![("shop".into(), v1::PreferredZone { name: "a".into(), share: 0.7 })],
            routes: vec![RouteTraffic { route: "front".into(), ..RouteTraffic::default() }],
            external: Vec::new(),
            access_logs: Vec::new(),
            sources: Vec::new(),
        };
        let mut registry = Registry::default();
        registry.register_collector(Box::new(reading));
        let mut written = String::new();
        text::encode(&mut written, &registry).unwrap();
        let line = "homeostat_request_duration_seconds_bucket{le=\"+Inf\",service=\"shop\"} 0";
        assert!(written.contains(line), "{written}");
        let line = "homeostat_requests_refused_total{service=\"shop\",reason=\"over_limit\"} 3";
        assert!(written.contains(line), "{written}");
        let line = "homeostat_requests_refused_total{service=\"shop\",reason=\"shed\"} 5";
        assert!(written.contains(line), "{written}");
        for line in [
            "homeostat_request_hedges_total{service=\"shop\"} 8",
            "homeostat_request_hedges_won_total{service=\"shop\"} 6",
            "homeostat_endpoint_requests_total{service=\"shop\",endpoint=\"10.0.0.7:80\",zone=\"b\",status=\"2xx\"} 5",
            "homeostat_endpoint_request_failures_total{service=\"shop\",endpoint=\"10.0.0.7:80\",zone=\"b\"} 2",
            "homeostat_endpoint_requests_in_flight{service=\"shop\",endpoint=\"10.0.0.7:80\",zone=\"b\"} 1",
            "homeostat_endpoint_ejected{service=\"shop\",endpoint=\"10.0.0.7:80\",zone=\"b\"} 1",
            "homeostat_zone_share{service=\"shop\",zone=\"a\"} 0.7",
            "homeostat_version_request_failures_total{service=\"shop\",generation=\"7\"} 2",
            "homeostat_version_requests_total{service=\"shop\",generation=\"7\",status=\"5xx\"} 0",
            "homeostat_version_request_duration_seconds_count{service=\"shop\",generation=\"7\"} 0",
            "homeostat_route_request_duration_seconds_count{route=\"front\"} 0",
            "homeostat_certificate_not_after_seconds{route=\"front\"} 7",
        ] {
            assert!(written.contains(line), "{written}");
        }
        let line = "homeostat_concurrency_limit{service=\"shop\"} 24.0";
        assert!(written.contains(line), "{written}");
        let line = "homeostat_tls_handshake_failures_total{service=\"shop\"} 3";
        assert!(written.contains(line), "{written}");
    }
}
