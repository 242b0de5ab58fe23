//! Counters by version, which outlive the endpoints that they were counted for.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::endpoint::Endpoint;
use crate::route::EndpointState;
use crate::traffic::{Counts, VersionTraffic};

/// Versions whose counters are kept: the one that runs, the one before, and some more for a history of rollouts and rollbacks. Each takes 3 KiB.
const VERSIONS_MAX: usize = 8;

/// Sums of the counters of removed endpoints, by version.
#[derive(Debug, Default)]
pub(crate) struct Versions(BTreeMap<u64, Counts>);

impl Versions {
    /// Adds the counters of an endpoint that is about to be dropped. Beyond [`VERSIONS_MAX`] the oldest version is forgotten.
    pub(crate) fn absorb(&mut self, endpoint: &Endpoint) {
        self.0.entry(endpoint.version).or_default().merge(&endpoint.counts());
        while self.0.len() > VERSIONS_MAX {
            self.0.pop_first();
        }
    }

    /// The sums including those of present endpoints, oldest version first.
    pub(crate) fn with<'a>(&self, endpoints: impl Iterator<Item = &'a Arc<Endpoint>>) -> Vec<VersionTraffic> {
        let traffic = |version, counts: &Counts| VersionTraffic {
            version,
            counts: counts.clone(),
            ..VersionTraffic::default()
        };
        let gone = self.0.iter().map(|(version, counts)| (*version, traffic(*version, counts)));
        let mut all: BTreeMap<u64, VersionTraffic> = gone.collect();
        for endpoint in endpoints {
            let version = endpoint.version;
            let sums = all.entry(version).or_insert_with(|| traffic(version, &Counts::default()));
            sums.serving += usize::from(endpoint.state() == EndpointState::Serving);
            sums.in_flight += endpoint.in_flight();
            sums.counts.merge(&endpoint.counts());
        }
        all.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use balance::EndpointId;

    use super::*;
    use crate::route::EndpointRoute;

    fn endpoint(ordinal: u32, version: u64, answers: u16) -> Arc<Endpoint> {
        let id = EndpointId { ordinal, incarnation: 1 };
        let address = "127.0.0.1:1".parse().unwrap();
        let endpoint = Endpoint::new(&EndpointRoute { version, ..EndpointRoute::new(id, address) }, 1);
        (0..answers).for_each(|_| endpoint.shards[0].answered(200, Duration::from_millis(1)));
        Arc::new(endpoint)
    }

    fn answers(found: &[VersionTraffic]) -> Vec<(u64, usize, u64)> {
        found.iter().map(|it| (it.version, it.serving, it.counts.status[1])).collect()
    }

    #[test]
    fn the_counts_of_a_dropped_endpoint_stay_with_its_version() {
        let (old, new) = (endpoint(0, 3, 10), endpoint(0, 4, 1));
        new.set_state(EndpointState::Serving);
        let mut versions = Versions::default();
        assert_eq!(answers(&versions.with([&old, &new].into_iter())), [(3, 0, 10), (4, 1, 1)]);
        old.ejected();
        versions.absorb(&old);
        assert_eq!(answers(&versions.with([&new].into_iter())), [(3, 0, 10), (4, 1, 1)]);
        let kept = &versions.with([].into_iter())[0].counts;
        assert_eq!((kept.latency.count(), kept.ejections), (10, 1));
    }

    #[test]
    fn the_oldest_versions_are_forgotten_first() {
        let mut versions = Versions::default();
        (0..20).for_each(|version| versions.absorb(&endpoint(0, version, 1)));
        let kept: Vec<u64> = versions.with([].into_iter()).iter().map(|it| it.version).collect();
        assert_eq!(kept, (12..20).collect::<Vec<_>>());
    }
}
