//! The traffic page of `top`: rates between the last two refreshes, for services, their versions and their replicas.

use std::time::Duration;

use api::v1;

use super::Snapshot;
use crate::figures;
use crate::output::{Field, UNKNOWN};
use crate::paint::Tone;
use crate::tables;

pub(super) const HEADER: &[&str] = &[
    "NAME",
    "REQ/S",
    "IN FLIGHT",
    "2XX/S",
    "3XX/S",
    "4XX/S",
    "5XX/S",
    "FAILED/S",
    "ABANDONED/S",
    "RETRIES/S",
    "EJECTIONS",
    "P99",
    "IN/S",
    "OUT/S",
    "STATE",
];

/// The requests of a service, of a version or of a replica.
struct Line<'a> {
    name: String,
    in_flight: u32,
    latency_p99_seconds: Option<f64>,
    /// Since the proxy was started.
    counts: &'a v1::RequestCounts,
    /// The same at the refresh before; `None` if it was not there yet.
    earlier: Option<&'a v1::RequestCounts>,
    state: Field,
}

/// The services of `now`, in the columns of [`HEADER`]; one that is not exposed has only its state. Rates need an `earlier` snapshot.
pub(super) fn services(now: &Snapshot, earlier: Option<&Snapshot>) -> Vec<Vec<Field>> {
    let span = span(now, earlier);
    let none = v1::RequestCounts::default();
    let row = |service: &v1::Service| {
        let (word, tone) = tables::service_state(&service.status);
        let state = Field::text(word).toned(tone);
        let Some(proxied) = &service.status.proxy else {
            return unexposed(service.name(), state);
        };
        let before = earlier.and_then(|earlier| earlier.service(service.name()));
        let before = before.map(|it| it.status.proxy.as_ref().map_or(&none, |proxied| &proxied.counts));
        let line = Line {
            name: service.name().to_owned(),
            in_flight: service.status.traffic.in_flight,
            latency_p99_seconds: service.status.traffic.latency_p99_seconds,
            counts: &proxied.counts,
            earlier: before,
            state,
        };
        line.fields(span)
    };
    now.services.iter().map(row).collect()
}

/// The versions and replicas of the service `name` that are in the proxy, in the columns of [`HEADER`].
pub(super) fn parts_of(name: &str, now: &Snapshot, earlier: Option<&Snapshot>) -> Vec<Vec<Field>> {
    let span = span(now, earlier);
    let Some(service) = now.service(name) else { return Vec::new() };
    let before = earlier.and_then(|earlier| earlier.service(name));
    let versions = service.status.versions.iter().map(|version| {
        let replicas = now.replicas.iter().filter(|replica| {
            replica.status.service == name && replica.status.generation == version.generation
        });
        let p99 = replicas.filter_map(|replica| replica.status.traffic.latency_p99_seconds);
        let earlier = before
            .and_then(|before| before.status.versions.iter().find(|it| it.generation == version.generation));
        let line = Line {
            name: format!("{name} generation {}", version.generation),
            in_flight: version.in_flight,
            latency_p99_seconds: p99.max_by(f64::total_cmp),
            counts: &version.counts,
            earlier: earlier.map(|it| &it.counts),
            state: Field::text(format!("{} serving", figures::replicas(version.serving_replicas))),
        };
        line.fields(span)
    });
    let of_service = |replica: &&v1::Replica| replica.status.service == name;
    let replicas = now.replicas.iter().filter(of_service).filter_map(|replica| {
        let endpoint = replica.status.endpoint.as_ref()?;
        let is_same = |it: &&v1::Replica| {
            it.name() == replica.name() && it.status.incarnation == replica.status.incarnation
        };
        let before = earlier.and_then(|earlier| earlier.replicas.iter().find(is_same));
        let line = Line {
            name: replica.name().to_owned(),
            in_flight: replica.status.traffic.in_flight,
            latency_p99_seconds: replica.status.traffic.latency_p99_seconds,
            counts: &endpoint.counts,
            earlier: before.and_then(|before| Some(&before.status.endpoint.as_ref()?.counts)),
            state: tables::endpoint_standing(endpoint),
        };
        Some(line.fields(span))
    });
    versions.chain(replicas).collect()
}

/// The time between two snapshots.
fn span(now: &Snapshot, earlier: Option<&Snapshot>) -> Duration {
    earlier.map_or(Duration::ZERO, |earlier| now.taken.saturating_duration_since(earlier.taken))
}

fn unexposed(name: &str, state: Field) -> Vec<Field> {
    let unknown = (2..HEADER.len()).map(|_| Field::number(UNKNOWN));
    [Field::text(name)].into_iter().chain(unknown).chain([state]).collect()
}

impl Line<'_> {
    /// The columns of [`HEADER`], with rates over `span`.
    fn fields(self, span: Duration) -> Vec<Field> {
        let rate =
            |of: &dyn Fn(&v1::RequestCounts) -> u64| per_second(of(self.counts), self.earlier.map(of), span);
        let shown = |of: &dyn Fn(&v1::RequestCounts) -> u64| Field::number(figures::rate(rate(of)));
        let class = |class: &str| shown(&|counts| tables::responses(counts, class));
        let bytes = |of: &dyn Fn(&v1::RequestCounts) -> u64| {
            Field::number(figures::bytes(rate(of).map(|per_second| per_second as u64)))
        };
        let toned = |of: &dyn Fn(&v1::RequestCounts) -> u64, tone| {
            let field = shown(of);
            if rate(of).is_some_and(|rate| rate > 0.0) { field.toned(tone) } else { field }
        };
        let ejections = Field::number(self.counts.ejections);
        vec![
            Field::text(&self.name),
            shown(&|counts| counts.requests),
            Field::number(self.in_flight),
            class("2xx"),
            class("3xx"),
            class("4xx"),
            toned(&|counts| tables::responses(counts, "5xx"), Tone::Bad),
            toned(&|counts| counts.failures, Tone::Bad),
            toned(&|counts| counts.abandoned, Tone::Notable),
            toned(&|counts| counts.retries, Tone::Notable),
            if self.counts.ejections > 0 { ejections.toned(Tone::Notable) } else { ejections },
            Field::number(figures::seconds(self.latency_p99_seconds)),
            bytes(&|counts| counts.request_bytes),
            bytes(&|counts| counts.response_bytes),
            self.state,
        ]
    }
}

/// The growth of a counter per second; `None` without an earlier value, and for a counter that began anew.
fn per_second(now: u64, earlier: Option<u64>, span: Duration) -> Option<f64> {
    let grown = now.checked_sub(earlier?)?;
    (!span.is_zero()).then(|| grown as f64 / span.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_needs_two_values_of_the_same_counter() {
        let span = Duration::from_secs(2);
        assert_eq!(per_second(30, Some(10), span), Some(10.0));
        assert_eq!(per_second(30, None, span), None);
        assert_eq!(per_second(5, Some(10), span), None, "the proxy was started anew");
        assert_eq!(per_second(30, Some(30), Duration::ZERO), None);
    }
}
