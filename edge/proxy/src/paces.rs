//! How fast endpoints answer, window by window. It is derived from their counters, so that it costs a request nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use balance::{EndpointId, Pace, SlowPolicy};

use crate::endpoint::Endpoint;
use crate::traffic::{Histogram, sum};

/// What endpoints had answered when the window began.
#[derive(Debug)]
pub(crate) struct Paces {
    window: Duration,
    begun: Duration,
    /// Without those that came within the window.
    earlier: BTreeMap<EndpointId, Histogram>,
}

impl Paces {
    /// Begins the first window.
    pub(crate) fn begin<'a>(
        policy: &SlowPolicy,
        now: Duration,
        endpoints: impl Iterator<Item = &'a Arc<Endpoint>>,
    ) -> Self {
        let earlier = endpoints.map(|endpoint| (endpoint.id, sum(&endpoint.shards).latency)).collect();
        Self { window: policy.window, begun: now, earlier }
    }

    /// When the window is over.
    pub(crate) fn due(&self) -> Duration {
        self.begun + self.window
    }

    /// Begins the next window, and returns how fast each endpoint answered in the one that is over; `None` while it goes on.
    pub(crate) fn turn<'a>(
        &mut self,
        now: Duration,
        endpoints: impl Iterator<Item = &'a Arc<Endpoint>>,
    ) -> Option<Vec<Pace>> {
        if now < self.due() {
            return None;
        }
        let earlier = std::mem::take(&mut self.earlier);
        self.begun = now;
        let pace = |endpoint: &Arc<Endpoint>| {
            let latency = sum(&endpoint.shards).latency;
            let window =
                earlier.get(&endpoint.id).map_or_else(|| latency.clone(), |then| latency.since(then));
            self.earlier.insert(endpoint.id, latency);
            Pace {
                id: endpoint.id,
                answers: window.count(),
                median: window.quantile(0.5).unwrap_or_default(),
            }
        };
        Some(endpoints.map(pace).collect())
    }
}
