//! How fast counters of the proxy grow that are of no replica: errors of a service as its clients saw them, requests over a route.
//!
//! Of no replica: a request that no replica could be found for failed, and one that was tried again and then answered did not.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use knowledge::series::Series;
use model::quantity::MilliRps;
use model::time::Time;

/// What a rate is a mean over: as many beats of the traffic's report as a series keeps, less one.
const WINDOW: Duration = Duration::from_secs(2);

/// One counter each, as it was in the last beats.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    by_name: BTreeMap<Arc<str>, Series>,
}

impl Rates {
    /// Takes a reading of the counters. Those that are not there any more are forgotten.
    pub(crate) fn take<'a>(&mut self, now: Time, read: impl Iterator<Item = (&'a Arc<str>, u64)> + Clone) {
        self.by_name.retain(|name, _| read.clone().any(|(there, _)| there == name));
        for (name, count) in read {
            self.by_name.entry(Arc::clone(name)).or_default().push(now, count);
        }
    }

    /// Per second over the last two seconds; `None` for one of which fewer than two readings are known.
    pub(crate) fn rate(&self, name: &str) -> Option<MilliRps> {
        let growth = self.by_name.get(name)?.growth(WINDOW)?;
        Some(MilliRps::mean(growth.by, growth.over))
    }
}
