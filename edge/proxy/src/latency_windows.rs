//! The latencies of endpoints, window by window. They are derived from counters, so that they cost requests nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use balance::{EndpointId, SlowPolicy, WindowLatency};

use crate::endpoint::Endpoint;
use crate::traffic::{Histogram, sum};

/// The current window, and the counters of endpoints at its start.
#[derive(Debug)]
pub(crate) struct LatencyWindows {
    window: Duration,
    started: Duration,
    /// Without endpoints that were added within the window.
    at_start: BTreeMap<EndpointId, Histogram>,
}

impl LatencyWindows {
    /// Begins the first window.
    pub(crate) fn begin<'a>(
        policy: &SlowPolicy,
        now: Duration,
        endpoints: impl Iterator<Item = &'a Arc<Endpoint>>,
    ) -> Self {
        let at_start = endpoints.map(|endpoint| (endpoint.id, sum(&endpoint.shards).latency)).collect();
        Self { window: policy.window, started: now, at_start }
    }

    /// When the window is over.
    pub(crate) fn ends_at(&self) -> Duration {
        self.started + self.window
    }

    /// Ends the window if its time is over, and begins the next: returns the latencies of each endpoint. `None` while the window lasts.
    pub(crate) fn end_if_due<'a>(
        &mut self,
        now: Duration,
        endpoints: impl Iterator<Item = &'a Arc<Endpoint>>,
    ) -> Option<Vec<WindowLatency>> {
        if now < self.ends_at() {
            return None;
        }
        let at_start = std::mem::take(&mut self.at_start);
        self.started = now;
        let pace = |endpoint: &Arc<Endpoint>| {
            let latency = sum(&endpoint.shards).latency;
            let window =
                at_start.get(&endpoint.id).map_or_else(|| latency.clone(), |then| latency.since(then));
            self.at_start.insert(endpoint.id, latency);
            WindowLatency {
                id: endpoint.id,
                answers: window.count(),
                median: window.quantile(0.5).unwrap_or_default(),
            }
        };
        Some(endpoints.map(pace).collect())
    }
}
