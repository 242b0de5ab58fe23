//! Metrics of Homeostat and of its services for Prometheus. Each scrape takes one snapshot.

mod requests;

use std::collections::BTreeMap;
use std::fmt;

use agent::{CertificateStatus, RouteDetail};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeLabelSet, MetricEncoder, NoLabelSet, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use proxy::{AccessLogState, RouteTraffic};

use self::requests::{FINE, Latencies, Requests};
use crate::balancers;
use crate::certificates;
use crate::endpoints::{self, STATUS_CLASSES};
use crate::failure::Failure;
use crate::metric_source;
use crate::state::State;
use crate::v1;
use crate::view::{self, ServiceView};

/// The media type of OpenMetrics, which Prometheus reads since 2.5.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Takes a snapshot and encodes it.
pub(crate) async fn metrics(state: &State) -> Result<Response, Failure> {
    let snapshot = take_snapshot(state).await?;
    let mut registry = Registry::default();
    registry.register_collector(Box::new(snapshot));
    let mut text = String::new();
    text::encode(&mut text, &registry).expect("writing to a string does not fail");
    Ok(([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response())
}

#[derive(Debug)]
struct Snapshot {
    rounds: u64,
    in_flight: usize,
    is_ready: bool,
    events: BTreeMap<String, u64>,
    services: Vec<ServiceView>,
    requests: Requests,
    proxied: Vec<(String, v1::Proxied)>,
    malformed: Vec<MalformedConnections>,
    tls: Vec<Tls>,
    certificates: Vec<CertificateExpiry>,
    /// External endpoints, with their services.
    endpoints: Vec<(String, v1::ElsewhereEndpoint)>,
    /// Preferred zones, with their services.
    zones: Vec<(String, v1::PreferredZone)>,
    routes: Vec<RouteTraffic>,
    /// External balancers, with their services.
    external: Vec<(String, v1::External)>,
    access_logs: Vec<AccessLogState>,
    sources: Vec<v1::MetricSource>,
}

/// The connections to one service that were closed because of what was received over them.
#[derive(Debug)]
struct MalformedConnections {
    service: String,
    http: u64,
    proxy_header: u64,
}

/// The TLS counters of one service.
#[derive(Debug)]
struct Tls {
    service: String,
    handshake_failures: u64,
}

/// When the first certificate of a service or a route expires.
#[derive(Debug)]
struct CertificateExpiry {
    /// `service` or `route`.
    label: &'static str,
    name: String,
    /// Seconds since the Unix epoch.
    not_after: i64,
}

async fn take_snapshot(state: &State) -> Result<Snapshot, Failure> {
    let rounds = *state.handle.events().changes().borrow();
    let (services, in_flight) = state
        .query(|handle| {
            Ok((view::services(handle, None)?, handle.query(|control, _| control.actions_in_flight())?))
        })
        .await?;
    let events = state.events_by_kind().clone();
    let (mut requests, mut proxied) = (Requests::default(), Vec::new());
    let (mut malformed, mut tls, mut certificates) = (Vec::new(), Vec::new(), Vec::new());
    let (mut endpoints, mut zones) = (Vec::new(), Vec::new());
    let now = state.handle.now().wall;
    for traffic in state.agent.traffic() {
        let service = traffic.service.to_string();
        proxied.push((service.clone(), endpoints::counters_of(&traffic)));
        let (external, zone) = endpoints::external_of(&traffic, now);
        endpoints.extend(external.into_iter().map(|endpoint| (service.clone(), endpoint)));
        zones.extend(zone.map(|zone| (service.clone(), zone)));
        requests.add(&traffic);
        let (http, proxy_header) = (traffic.malformed, traffic.proxy_header_failures);
        malformed.push(MalformedConnections { service: service.clone(), http, proxy_header });
        if let Some(state) = state.agent.tls(&traffic.service) {
            tls.push(Tls { service: service.clone(), handshake_failures: traffic.handshake_failures });
            certificates.extend(expiry("service", &service, &state));
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
    let of_route = |detail: &RouteDetail| expiry("route", detail.route.as_str(), detail.tls.as_ref()?);
    certificates.extend(details.iter().filter_map(of_route));
    let routes = details.into_iter().map(|detail| detail.traffic).collect();
    Ok(Snapshot {
        rounds,
        in_flight,
        is_ready: state.handle.is_ready(),
        events,
        services,
        requests,
        proxied,
        malformed,
        tls,
        certificates,
        endpoints,
        zones,
        routes,
        external,
        access_logs: state.agent.access_logs(),
        sources,
    })
}

/// `None` while there is no certificate.
fn expiry(label: &'static str, name: &str, state: &CertificateStatus) -> Option<CertificateExpiry> {
    Some(CertificateExpiry { label, name: name.to_owned(), not_after: certificates::not_after(state)? })
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.encode_loop(&mut encoder)?;
        self.encode_services(&mut encoder)?;
        self.requests.encode(&mut encoder)?;
        self.encode_proxied(&mut encoder)?;
        self.encode_datagrams(&mut encoder)?;
        self.encode_external_endpoints(&mut encoder)?;
        self.encode_malformed(&mut encoder)?;
        self.encode_tls(&mut encoder)?;
        self.encode_routes(&mut encoder)?;
        self.encode_external_balancers(&mut encoder)?;
        self.encode_access_logs(&mut encoder)?;
        self.encode_sources(&mut encoder)
    }
}

impl Snapshot {
    fn encode_loop(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        counter(
            encoder,
            "homeostat_loop_rounds",
            "Rounds of the control loop; each processes one or more inputs",
        )?
        .encode_counter::<NoLabelSet, _, f64>(&self.rounds, None)?;
        gauge(encoder, "homeostat_actions_in_flight", "Actions that were sent and have not completed")?
            .encode_gauge(&i64::try_from(self.in_flight).unwrap_or(i64::MAX))?;
        gauge(encoder, "homeostat_ready", "1 while the control loop controls the services, else 0")?
            .encode_gauge(&i64::from(self.is_ready))?;
        let mut events = counter(encoder, "homeostat_events", "Events, by kind")?;
        for (kind, count) in &self.events {
            write_counter(&mut events, &[("kind", kind.as_str())], count)?;
        }
        Ok(())
    }

    fn encode_services(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut desired = gauge(encoder, "homeostat_replicas_desired", "Replicas wanted")?;
        for view in &self.services {
            let labels = [("service", view.name.as_str())];
            write_gauge(&mut desired, &labels, &i64::from(view.status.desired_replicas))?;
        }
        let mut ready =
            gauge(encoder, "homeostat_replicas_ready", "Replicas that are ready to serve requests")?;
        for view in &self.services {
            let labels = [("service", view.name.as_str())];
            write_gauge(&mut ready, &labels, &i64::from(view.status.ready_replicas))?;
        }
        let mut phases = gauge(encoder, "homeostat_replicas", "Replicas by phase")?;
        for view in &self.services {
            for (phase, count) in by_phase(view) {
                let labels = [("service", view.name.as_str()), ("phase", phase)];
                write_gauge(&mut phases, &labels, &count)?;
            }
        }
        let mut restarts = counter(
            encoder,
            "homeostat_replica_restarts",
            "Restarts of a replica: how often one ran after one of the same version had run",
        )?;
        for (replica, status) in self.replicas() {
            let labels = [("service", status.service.as_str()), ("replica", replica.as_str())];
            let count = u64::from(status.restarts);
            write_counter(&mut restarts, &labels, &count)?;
        }
        let mut cpu = gauge(encoder, "homeostat_replica_cpu_cores", "CPU in use, in cores")?;
        for (replica, status) in self.replicas() {
            if let Some(millicores) = status.usage.cpu_millicores {
                let labels = [("service", status.service.as_str()), ("replica", replica.as_str())];
                write_gauge(&mut cpu, &labels, &(millicores as f64 / 1000.0))?;
            }
        }
        self.encode_throttling(encoder)?;
        let mut memory = gauge(encoder, "homeostat_replica_memory_bytes", "Memory in use, in bytes")?;
        for (replica, status) in self.replicas() {
            if let Some(bytes) = status.usage.memory_bytes {
                let labels = [("service", status.service.as_str()), ("replica", replica.as_str())];
                write_gauge(&mut memory, &labels, &(bytes as f64))?;
            }
        }
        Ok(())
    }

    /// Named like the metrics of cAdvisor, without `container` and `cfs`.
    fn encode_throttling(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let limited =
            || self.replicas().filter_map(|(name, status)| Some((name, status, status.throttling?)));
        let name = "homeostat_replica_cpu_periods";
        let mut windows = counter(encoder, name, "CPU quota periods in which the replica ran with a limit")?;
        for (replica, status, throttling) in limited() {
            let labels = [("service", status.service.as_str()), ("replica", replica.as_str())];
            let count = throttling.windows;
            write_counter(&mut windows, &labels, &count)?;
        }
        let name = "homeostat_replica_cpu_throttled_periods";
        let mut throttled = counter(encoder, name, "CPU quota periods in which the replica was throttled")?;
        for (replica, status, throttling) in limited() {
            let labels = [("service", status.service.as_str()), ("replica", replica.as_str())];
            let count = throttling.throttled_windows;
            write_counter(&mut throttled, &labels, &count)?;
        }
        let name = "homeostat_replica_cpu_throttled_seconds";
        let mut waited = counter(encoder, name, "How long the replica was throttled, in seconds")?;
        for (replica, status, throttling) in limited() {
            let labels = [("service", status.service.as_str()), ("replica", replica.as_str())];
            let seconds = throttling.waited_seconds;
            write_counter(&mut waited, &labels, &seconds)?;
        }
        Ok(())
    }

    /// The requests to external endpoints, and the share that stays in the preferred zone.
    fn encode_external_endpoints(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        fn labels<'a>(service: &'a str, it: &'a v1::ElsewhereEndpoint) -> [(&'static str, &'a str); 3] {
            [
                ("service", service),
                ("endpoint", &it.address),
                ("zone", it.zone.as_deref().unwrap_or_default()),
            ]
        }
        let name = "homeostat_endpoint_requests";
        let help = "Responses of external endpoints to the proxy, by status class";
        let mut answered = counter(encoder, name, help)?;
        for (service, it) in &self.endpoints {
            let [service, endpoint, zone] = labels(service, it);
            for (class, count) in &it.counts.responses {
                let labels = [service, endpoint, zone, ("status", class.as_str())];
                write_counter(&mut answered, &labels, count)?;
            }
        }
        let name = "homeostat_endpoint_request_failures";
        let help = "Requests to external endpoints without a complete response";
        let mut failures = counter(encoder, name, help)?;
        for (service, it) in &self.endpoints {
            write_counter(&mut failures, &labels(service, it), &it.counts.failures)?;
        }
        let name = "homeostat_endpoint_requests_abandoned";
        let help = "Requests to external endpoints whose client gave up before it had the response";
        let mut abandoned = counter(encoder, name, help)?;
        for (service, it) in &self.endpoints {
            write_counter(&mut abandoned, &labels(service, it), &it.counts.abandoned)?;
        }
        let name = "homeostat_endpoint_requests_in_flight";
        let mut in_flight = gauge(encoder, name, "Requests in flight at external endpoints")?;
        for (service, it) in &self.endpoints {
            write_gauge(&mut in_flight, &labels(service, it), &i64::from(it.in_flight))?;
        }
        let help = "1 while an external endpoint is ejected because it fails or is slow, else 0";
        let mut ejected = gauge(encoder, "homeostat_endpoint_ejected", help)?;
        for (service, it) in &self.endpoints {
            write_gauge(&mut ejected, &labels(service, it), &i64::from(it.state == "Ejected"))?;
        }
        let help = "The share of requests that stays in the preferred zone, from 0 to 1";
        let mut share = gauge(encoder, "homeostat_zone_share", help)?;
        for (service, zone) in &self.zones {
            let labels = [("service", service.as_str()), ("zone", zone.name.as_str())];
            write_gauge(&mut share, &labels, &zone.share)?;
        }
        Ok(())
    }

    /// Refused and hedged requests, and the adaptive concurrency limit.
    fn encode_proxied(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Requests that the proxy itself answered with 503";
        let mut refused = counter(encoder, "homeostat_requests_refused", help)?;
        for (service, proxied) in &self.proxied {
            let v1::Refused { no_replica, over_limit, shed } = proxied.refused;
            for (reason, count) in [("no_replica", no_replica), ("over_limit", over_limit), ("shed", shed)] {
                let labels = [("service", service.as_str()), ("reason", reason)];
                write_counter(&mut refused, &labels, &count)?;
            }
        }
        let help = "Requests that were also sent to a second replica because the first was slow";
        let mut hedges = counter(encoder, "homeostat_request_hedges", help)?;
        for (service, proxied) in &self.proxied {
            let labels = [("service", service.as_str())];
            write_counter(&mut hedges, &labels, &proxied.hedges)?;
        }
        let help = "Hedged requests that the second replica answered first";
        let mut hedges_won = counter(encoder, "homeostat_request_hedges_won", help)?;
        for (service, proxied) in &self.proxied {
            let labels = [("service", service.as_str())];
            write_counter(&mut hedges_won, &labels, &proxied.hedges_won)?;
        }
        let name = "homeostat_concurrency_limit";
        let mut limits = gauge(encoder, name, "The current adaptive concurrency limit of a service")?;
        for (service, proxied) in &self.proxied {
            if let Some(adaptive) = proxied.adaptive {
                let limit = f64::from(adaptive.limit);
                write_gauge(&mut limits, &[("service", service.as_str())], &limit)?;
            }
        }
        Ok(())
    }

    /// UDP traffic.
    fn encode_datagrams(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let services =
            || self.proxied.iter().filter_map(|(service, it)| Some((service.as_str(), it.datagrams?)));
        let mut passed =
            counter(encoder, "homeostat_datagrams", "Datagrams from clients (in) and to clients (out)")?;
        for (service, it) in services() {
            for (direction, count) in [("in", it.received), ("out", it.sent)] {
                write_counter(&mut passed, &[("service", service), ("direction", direction)], &count)?;
            }
        }
        let mut bytes = counter(
            encoder,
            "homeostat_datagram_bytes",
            "Bytes of datagrams from clients (in) and to clients (out)",
        )?;
        for (service, it) in services() {
            for (direction, count) in [("in", it.bytes_received), ("out", it.bytes_sent)] {
                write_counter(&mut bytes, &[("service", service), ("direction", direction)], &count)?;
            }
        }
        let mut dropped = counter(
            encoder,
            "homeostat_datagrams_dropped",
            "Datagrams that were dropped, in either direction",
        )?;
        for (service, it) in services() {
            let labels = [("service", service)];
            write_counter(&mut dropped, &labels, &it.dropped)?;
        }
        let help = "Open UDP sessions, one per client address";
        let mut sessions = gauge(encoder, "homeostat_datagram_sessions", help)?;
        for (service, it) in services() {
            write_gauge(&mut sessions, &[("service", service)], &i64::from(it.sessions))?;
        }
        Ok(())
    }

    fn encode_malformed(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Connections closed because what was received was not HTTP, or had no valid PROXY header";
        let mut malformed = counter(encoder, "homeostat_connections_malformed", help)?;
        for MalformedConnections { service, http, proxy_header } in &self.malformed {
            for (reason, count) in [("http", http), ("proxy_header", proxy_header)] {
                write_counter(&mut malformed, &[("service", service.as_str()), ("reason", reason)], count)?;
            }
        }
        Ok(())
    }

    fn encode_tls(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "TLS handshakes that failed";
        let mut failures = counter(encoder, "homeostat_tls_handshake_failures", help)?;
        for tls in &self.tls {
            write_counter(&mut failures, &[("service", tls.service.as_str())], &tls.handshake_failures)?;
        }
        let name = "homeostat_certificate_not_after_seconds";
        let mut ends = gauge(
            encoder,
            name,
            "When the first certificate of a service or a route expires, in seconds since the Unix epoch",
        )?;
        for CertificateExpiry { label, name, not_after } in &self.certificates {
            write_gauge(&mut ends, &[(*label, name.as_str())], not_after)?;
        }
        Ok(())
    }

    fn encode_access_logs(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Access log lines, written and dropped";
        let mut lines = counter(encoder, "homeostat_access_log_lines", help)?;
        for log in &self.access_logs {
            for (result, count) in [("written", log.written), ("dropped", log.dropped)] {
                let labels = [("file", &*log.file), ("result", result)];
                write_counter(&mut lines, &labels, &count)?;
            }
        }
        Ok(())
    }

    fn encode_external_balancers(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Configuration changes of external balancers, by whether they were taken or failed";
        let mut reloads = counter(encoder, "homeostat_external_reloads", help)?;
        for (service, it) in &self.external {
            for (result, count) in [("taken", it.reloads), ("failed", it.failures)] {
                let labels = [("service", service.as_str()), ("file", it.file.as_str()), ("result", result)];
                write_counter(&mut reloads, &labels, &count)?;
            }
        }
        let help = "1 while an external balancer has the current configuration, else 0";
        let mut current = gauge(encoder, "homeostat_external_current", help)?;
        for (service, it) in &self.external {
            let labels = [("service", service.as_str()), ("file", it.file.as_str())];
            let is_current = i64::from(it.problem.is_none() && it.reloaded_at.is_some());
            write_gauge(&mut current, &labels, &is_current)?;
        }
        Ok(())
    }

    fn encode_sources(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let name = "homeostat_metric_source_up";
        let mut up =
            gauge(encoder, name, "1 while the latest measurement of a metric source can be used, else 0")?;
        for source in &self.sources {
            let is_up = source.status.conditions.iter().all(|condition| condition.status == "True");
            write_gauge(&mut up, &[("source", source.name())], &i64::from(is_up))?;
        }
        let name = "homeostat_metric_source_value";
        let mut values = gauge(encoder, name, "The latest measurement of a metric source")?;
        for source in &self.sources {
            if let Some(value) = &source.status.value {
                write_gauge(&mut values, &[("source", source.name())], value)?;
            }
        }
        Ok(())
    }

    fn encode_routes(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let name = "homeostat_route_requests";
        let mut answered = counter(encoder, name, "Responses to the requests of a route, by status class")?;
        for route in &self.routes {
            for (class, count) in STATUS_CLASSES.iter().zip(&route.status) {
                let labels = [("route", &*route.route), ("status", *class)];
                write_counter(&mut answered, &labels, count)?;
            }
        }
        let name = "homeostat_route_request_duration_seconds";
        let help = "Time from the headers of a request of a route to the end of its response";
        let mut latency = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for route in &self.routes {
            Latencies::of(&route.latency, FINE).encode(&mut latency, &[("route", &*route.route)])?;
        }
        let name = "homeostat_route_requests_over_rate";
        let mut over_rate =
            counter(encoder, name, "Requests of a route answered with 429 by its rate limit")?;
        for route in &self.routes {
            write_counter(&mut over_rate, &[("route", &*route.route)], &route.over_rate)?;
        }
        let name = "homeostat_route_copies";
        let mut copies = counter(encoder, name, "Mirrored requests of a route, sent and left out")?;
        for route in &self.routes {
            for (fate, count) in [("sent", route.copies), ("left_out", route.copies_left_out)] {
                let labels = [("route", &*route.route), ("fate", fate)];
                write_counter(&mut copies, &labels, &count)?;
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

fn write_counter(
    family: &mut MetricEncoder<'_>,
    labels: &impl EncodeLabelSet,
    count: &impl EncodeCounterValue,
) -> fmt::Result {
    family.encode_family(labels)?.encode_counter::<NoLabelSet, _, f64>(count, None)
}

fn write_gauge(
    family: &mut MetricEncoder<'_>,
    labels: &impl EncodeLabelSet,
    value: &impl EncodeGaugeValue,
) -> fmt::Result {
    family.encode_family(labels)?.encode_gauge(value)
}

#[cfg(test)]
mod tests {
    use proxy::{Counts, ServiceTraffic, VersionTraffic};

    use super::*;

    fn external_endpoint() -> v1::ElsewhereEndpoint {
        v1::ElsewhereEndpoint {
            address: "10.0.0.7:80".into(),
            zone: Some("b".into()),
            weight: 1,
            state: "Ejected".into(),
            message: None,
            in_flight: 1,
            counts: v1::RequestCounts {
                requests: 8,
                responses: BTreeMap::from([("2xx".into(), 5)]),
                failures: 2,
                abandoned: 4,
                ..v1::RequestCounts::default()
            },
        }
    }

    #[test]
    fn a_service_without_traffic_has_all_histogram_buckets() {
        let counts = Counts { failures: 2, ..Counts::default() };
        let version = VersionTraffic { version: 7, counts, ..VersionTraffic::default() };
        let mut requests = Requests::default();
        requests.add(&ServiceTraffic {
            service: "shop".into(),
            versions: vec![version],
            ..ServiceTraffic::default()
        });
        let refused = v1::Refused { no_replica: 0, over_limit: 3, shed: 5 };
        let adaptive = Some(v1::Adaptive { limit: 24, ..v1::Adaptive::default() });
        let proxied = v1::Proxied { refused, adaptive, hedges: 8, hedges_won: 6, ..v1::Proxied::default() };
        let snapshot = Snapshot {
            rounds: 1,
            in_flight: 0,
            is_ready: true,
            events: BTreeMap::new(),
            services: Vec::new(),
            requests,
            proxied: vec![("shop".into(), proxied)],
            malformed: vec![MalformedConnections { service: "shop".into(), http: 1, proxy_header: 4 }],
            tls: vec![Tls { service: "shop".into(), handshake_failures: 3 }],
            certificates: vec![CertificateExpiry { label: "route", name: "front".into(), not_after: 7 }],
            endpoints: vec![("shop".into(), external_endpoint())],
            zones: vec![("shop".into(), v1::PreferredZone { name: "a".into(), share: 0.7 })],
            routes: vec![RouteTraffic { route: "front".into(), ..RouteTraffic::default() }],
            external: Vec::new(),
            access_logs: Vec::new(),
            sources: Vec::new(),
        };
        let mut registry = Registry::default();
        registry.register_collector(Box::new(snapshot));
        let mut written = String::new();
        text::encode(&mut written, &registry).unwrap();
        let line = "homeostat_request_duration_seconds_bucket{le=\"+Inf\",service=\"shop\"} 0";
        assert!(written.contains(line), "{written}");
        let line = "homeostat_requests_refused_total{service=\"shop\",reason=\"over_limit\"} 3";
        assert!(written.contains(line), "{written}");
        let line = "homeostat_requests_refused_total{service=\"shop\",reason=\"shed\"} 5";
        assert!(written.contains(line), "{written}");
        for line in [
            "homeostat_connections_malformed_total{service=\"shop\",reason=\"http\"} 1",
            "homeostat_connections_malformed_total{service=\"shop\",reason=\"proxy_header\"} 4",
            "homeostat_request_hedges_total{service=\"shop\"} 8",
            "homeostat_request_hedges_won_total{service=\"shop\"} 6",
            "homeostat_endpoint_requests_total{service=\"shop\",endpoint=\"10.0.0.7:80\",zone=\"b\",status=\"2xx\"} 5",
            "homeostat_endpoint_request_failures_total{service=\"shop\",endpoint=\"10.0.0.7:80\",zone=\"b\"} 2",
            "homeostat_endpoint_requests_abandoned_total{service=\"shop\",endpoint=\"10.0.0.7:80\",zone=\"b\"} 4",
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
