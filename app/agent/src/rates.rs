//! Rates of counters that do not belong to a replica: errors of a service as seen by its clients, and requests over a route.
//!
//! They are not sums over replicas: a request can fail because there is no replica, and one that fails at a replica can succeed when
//! it is retried.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use knowledge::series::Series;
use model::quantity::MilliRps;
use model::time::Time;

/// The window of a rate; a series keeps enough readings for it.
const WINDOW: Duration = Duration::from_secs(2);

/// The latest readings of each counter, by name.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    by_name: BTreeMap<Arc<str>, Series>,
}

impl Rates {
    /// Records a reading of all counters; counters that are missing from it are forgotten.
    pub(crate) fn record<'a>(
        &mut self,
        now: Time,
        reading: impl Iterator<Item = (&'a Arc<str>, u64)> + Clone,
    ) {
        let present: BTreeSet<&Arc<str>> = reading.clone().map(|(name, _)| name).collect();
        self.by_name.retain(|name, _| present.contains(name));
        for (name, count) in reading {
            self.by_name.entry(Arc::clone(name)).or_default().push(now, count);
        }
    }

    /// The rate over the last two seconds, per second; `None` before the second reading.
    pub(crate) fn rate(&self, name: &str) -> Option<MilliRps> {
        let growth = self.by_name.get(name)?.growth(WINDOW)?;
        Some(MilliRps::mean(growth.by, growth.over))
    }
}
