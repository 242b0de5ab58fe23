//! The requests to services, to their versions and to their replicas: the same families for each.

use std::collections::BTreeMap;
use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use proxy::{Counts, EndpointTraffic, Histogram, ServiceTraffic, VersionTraffic};

use super::{counter, gauge, write_counter, write_gauge};
use crate::endpoints::STATUS_CLASSES;

/// Upper bounds of the latency buckets of a replica, in seconds: from a cached page to the proxy's timeout, each about twice the previous
/// one. With 17 series for each replica, a thousand of them have 17,000.
const COARSE: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Those of a service, a version or a route: ten a decade, so that a quantile is known within an eighth. All of [`COARSE`] are among them.
#[rustfmt::skip]
pub(super) const FINE: &[f64] = &[
    0.0005, 0.00063, 0.0008,
    0.001, 0.00125, 0.0016, 0.002, 0.0025, 0.00315, 0.004, 0.005, 0.0063, 0.008,
    0.01, 0.0125, 0.016, 0.02, 0.025, 0.0315, 0.04, 0.05, 0.063, 0.08,
    0.1, 0.125, 0.16, 0.2, 0.25, 0.315, 0.4, 0.5, 0.63, 0.8,
    1.0, 1.25, 1.6, 2.0, 2.5, 3.15, 4.0, 5.0, 6.3, 8.0,
    10.0, 12.5, 16.0, 20.0, 25.0, 30.0,
];

/// A snapshot of all requests.
#[derive(Debug, Default)]
pub(super) struct Requests {
    services: Vec<Sample>,
    versions: Vec<Sample>,
    replicas: Vec<Sample>,
}

/// The requests to one service, version or replica.
#[derive(Debug)]
struct Sample {
    labels: Vec<(&'static str, String)>,
    status: [u64; 5],
    in_flight: u32,
    retries: u64,
    failures: u64,
    abandoned: u64,
    bytes_in: u64,
    bytes_out: u64,
    ejections: u64,
    /// Whether the replica is ejected now; `false` for services and versions.
    is_ejected: bool,
    latency: Latencies,
}

/// What the families of services, of versions or of replicas have in common.
struct Scope {
    prefix: &'static str,
    /// Whose requests they are, for the help texts.
    of: &'static str,
    latency: &'static str,
    bounds: &'static [f64],
}

const SERVICES: Scope = Scope {
    prefix: "homeostat_",
    of: "of a service, each request once",
    latency: "Time from the headers of a request to the end of its response, or until its client gave up",
    bounds: FINE,
};

const VERSIONS: Scope = Scope {
    prefix: "homeostat_version_",
    of: "of the replicas of a version, each attempt once",
    latency: "Time from sending a request to a replica of a version to the end of its response, or until its client gave up",
    bounds: FINE,
};

const REPLICAS: Scope = Scope {
    prefix: "homeostat_replica_",
    of: "of a replica, each attempt once",
    latency: "Time from sending a request to a replica to the end of its response, or until its client gave up",
    bounds: COARSE,
};

/// A counter that each scope has.
struct Family {
    name: &'static str,
    help: &'static str,
    count: fn(&Sample) -> u64,
}

const COUNTERS: [Family; 6] = [
    Family {
        name: "request_failures",
        help: "Requests without a complete response",
        count: |sample| sample.failures,
    },
    Family {
        name: "requests_abandoned",
        help: "Requests whose client gave up before it had the response",
        count: |sample| sample.abandoned,
    },
    Family {
        name: "request_retries",
        help: "Requests that failed and were sent again",
        count: |sample| sample.retries,
    },
    Family { name: "request_bytes", help: "Bytes of request bodies", count: |sample| sample.bytes_in },
    Family { name: "response_bytes", help: "Bytes of response bodies", count: |sample| sample.bytes_out },
    Family {
        name: "ejections",
        help: "Ejections of replicas that failed or were slow",
        count: |sample| sample.ejections,
    },
];

impl Requests {
    /// Adds those to a service, its versions and its replicas.
    pub(super) fn add(&mut self, traffic: &ServiceTraffic) {
        let service = ("service", traffic.service.to_string());
        let in_flight = traffic.endpoints.iter().chain(&traffic.elsewhere).map(|it| it.in_flight).sum();
        self.services.push(SERVICES.sample(vec![service.clone()], in_flight, &traffic.counts));
        for VersionTraffic { version, in_flight, counts, .. } in &traffic.versions {
            let labels = vec![service.clone(), ("generation", version.to_string())];
            self.versions.push(VERSIONS.sample(labels, *in_flight, counts));
        }
        for (ordinal, replica) in by_ordinal(&traffic.endpoints) {
            let labels = vec![service.clone(), ("replica", format!("{}-{ordinal}", traffic.service))];
            let sample = REPLICAS.sample(labels, replica.in_flight, &replica.counts);
            self.replicas.push(Sample { is_ejected: replica.is_ejected, ..sample });
        }
    }

    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        SERVICES.encode(&self.services, encoder)?;
        VERSIONS.encode(&self.versions, encoder)?;
        REPLICAS.encode(&self.replicas, encoder)?;
        let help = "1 while a replica is ejected because it fails or is slow, else 0";
        let mut ejected = gauge(encoder, "homeostat_replica_ejected", help)?;
        for sample in &self.replicas {
            write_gauge(&mut ejected, &sample.labels(), &i64::from(sample.is_ejected))?;
        }
        Ok(())
    }
}

impl Sample {
    fn labels(&self) -> Vec<(&str, &str)> {
        self.labels.iter().map(|(name, value)| (*name, value.as_str())).collect()
    }
}

impl Scope {
    fn sample(&self, labels: Vec<(&'static str, String)>, in_flight: u32, counts: &Counts) -> Sample {
        Sample {
            labels,
            status: counts.status,
            in_flight,
            retries: counts.retries,
            failures: counts.failures + counts.connect_failures,
            abandoned: counts.abandoned,
            bytes_in: counts.bytes_in,
            bytes_out: counts.bytes_out,
            ejections: counts.ejections,
            is_ejected: false,
            latency: Latencies::of(&counts.durations(), self.bounds),
        }
    }

    fn encode(&self, samples: &[Sample], encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Self { prefix, of, latency, .. } = self;
        let name = format!("{prefix}requests");
        let mut answered = counter(encoder, &name, &format!("Responses {of}, by status class"))?;
        for sample in samples {
            for (class, count) in STATUS_CLASSES.iter().zip(&sample.status) {
                let mut labels = sample.labels();
                labels.push(("status", class));
                write_counter(&mut answered, &labels, count)?;
            }
        }
        let name = format!("{prefix}requests_in_flight");
        let mut in_flight = gauge(encoder, &name, &format!("Requests in flight {of}"))?;
        for sample in samples {
            write_gauge(&mut in_flight, &sample.labels(), &i64::from(sample.in_flight))?;
        }
        for Family { name, help, count } in &COUNTERS {
            let name = format!("{prefix}{name}");
            let mut family = counter(encoder, &name, &format!("{help}, {of}"))?;
            for sample in samples {
                write_counter(&mut family, &sample.labels(), &count(sample))?;
            }
        }
        let name = format!("{prefix}request_duration_seconds");
        let mut family = encoder.encode_descriptor(&name, latency, None, MetricType::Histogram)?;
        for sample in samples {
            sample.latency.encode(&mut family, &sample.labels())?;
        }
        Ok(())
    }
}

/// The traffic of one replica.
#[derive(Debug, Default)]
struct ReplicaTraffic {
    counts: Counts,
    in_flight: u32,
    is_ejected: bool,
}

/// The traffic of each replica, summed over its incarnations. An incarnation that still drains would otherwise be a second series
/// with the same labels, which scrapers reject.
fn by_ordinal(endpoints: &[EndpointTraffic]) -> BTreeMap<u32, ReplicaTraffic> {
    let mut sums: BTreeMap<u32, ReplicaTraffic> = BTreeMap::new();
    for endpoint in endpoints {
        let sum = sums.entry(endpoint.id.ordinal).or_default();
        sum.counts.merge(&endpoint.counts);
        sum.in_flight += endpoint.in_flight;
        sum.is_ejected |= endpoint.is_ejected();
    }
    sums
}

/// Latencies in the exported buckets.
#[derive(Debug)]
pub(super) struct Latencies {
    bounds: &'static [f64],
    /// The count of each bucket of `bounds`, then that of the bucket above the last bound.
    counts: Vec<u64>,
    sum_seconds: f64,
}

impl Latencies {
    pub(super) fn of(histogram: &Histogram, bounds: &'static [f64]) -> Self {
        let mut counts = vec![0; bounds.len() + 1];
        let (mut sum_seconds, mut lower) = (0.0, 0.0);
        for (upper, count) in histogram.buckets() {
            let upper = upper.as_secs_f64();
            // The proxy's buckets are at most 6 % wide, so each is counted at its middle.
            let middle = f64::midpoint(lower, upper);
            counts[bounds.partition_point(|bound| *bound < middle)] += count;
            sum_seconds += middle * count as f64;
            lower = upper;
        }
        Self { bounds, counts, sum_seconds }
    }

    pub(super) fn encode(&self, family: &mut MetricEncoder<'_>, labels: &[(&str, &str)]) -> fmt::Result {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(self.counts.iter().copied()).collect();
        let count = self.counts.iter().sum();
        family.encode_family(&labels)?.encode_histogram::<NoLabelSet>(self.sum_seconds, count, &buckets, None)
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::collector::Collector;
    use prometheus_client::encoding::text;
    use prometheus_client::registry::Registry;
    use proxy::{EndpointId, EndpointState, Ramp, Weight};

    use super::*;

    #[test]
    fn the_incarnations_of_a_replica_are_one_series() {
        let life = |incarnation: u32, good: u64| EndpointTraffic {
            id: EndpointId { ordinal: 0, incarnation },
            address: ([127, 0, 0, 1], 1).into(),
            zone: None,
            weight: Weight::ONE,
            state: EndpointState::Draining,
            ejection: None,
            ramp: Ramp::FULL,
            in_flight: 2,
            counts: Counts { status: [0, good, 0, 0, 1], bytes_out: good, ..Counts::default() },
        };
        let sums = by_ordinal(&[life(1, 5), life(2, 7)]);
        assert_eq!(sums.len(), 1);
        let sum = &sums[&0];
        assert_eq!((sum.counts.status, sum.counts.bytes_out, sum.in_flight), ([0, 12, 0, 0, 2], 12, 4));
    }

    #[test]
    fn bounds_increase_and_the_fine_ones_include_the_coarse() {
        for bounds in [COARSE, FINE] {
            assert!(bounds.is_sorted_by(|lower, upper| lower < upper));
        }
        assert!(COARSE.iter().all(|bound| FINE.contains(bound)));
    }

    #[derive(Debug)]
    struct Only(Requests);

    impl Collector for Only {
        fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
            self.0.encode(&mut encoder)
        }
    }

    #[test]
    fn service_version_and_replica_have_the_same_families() {
        let counts = Counts {
            status: [0, 3, 0, 0, 1],
            bytes_in: 5,
            bytes_out: 6,
            retries: 7,
            failures: 8,
            abandoned: 10,
            ejections: 9,
            ..Counts::default()
        };
        let replica = EndpointTraffic {
            id: EndpointId { ordinal: 4, incarnation: 1 },
            address: ([127, 0, 0, 1], 1).into(),
            zone: None,
            weight: Weight::ONE,
            state: EndpointState::Serving,
            ejection: None,
            ramp: Ramp::FULL,
            in_flight: 2,
            counts: counts.clone(),
        };
        let mut requests = Requests::default();
        requests.add(&ServiceTraffic {
            service: "shop".into(),
            counts: counts.clone(),
            versions: vec![VersionTraffic { version: 7, serving: 1, in_flight: 2, counts }],
            endpoints: vec![replica],
            ..ServiceTraffic::default()
        });
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Only(requests)));
        let mut written = String::new();
        text::encode(&mut written, &registry).unwrap();
        for (prefix, labels) in [
            ("homeostat_", "service=\"shop\""),
            ("homeostat_version_", "service=\"shop\",generation=\"7\""),
            ("homeostat_replica_", "service=\"shop\",replica=\"shop-4\""),
        ] {
            for line in [
                format!("{prefix}requests_total{{{labels},status=\"2xx\"}} 3\n"),
                format!("{prefix}requests_in_flight{{{labels}}} 2\n"),
                format!("{prefix}request_failures_total{{{labels}}} 8\n"),
                format!("{prefix}requests_abandoned_total{{{labels}}} 10\n"),
                format!("{prefix}request_retries_total{{{labels}}} 7\n"),
                format!("{prefix}request_bytes_total{{{labels}}} 5\n"),
                format!("{prefix}response_bytes_total{{{labels}}} 6\n"),
                format!("{prefix}ejections_total{{{labels}}} 9\n"),
                format!("{prefix}request_duration_seconds_count{{{labels}}} 0\n"),
            ] {
                assert!(written.contains(&line), "{line}{written}");
            }
        }
        let line = "homeostat_replica_ejected{service=\"shop\",replica=\"shop-4\"} 0\n";
        assert!(written.contains(line), "{written}");
    }
}
