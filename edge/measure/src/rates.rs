//! Rates of counters.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use model::identity::{Incarnation, Ordinal};
use model::measure::Labels;
use tokio::time::Instant;

/// The counters of replicas, by replica and labels.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    replicas: BTreeMap<(Ordinal, Incarnation), BTreeMap<Labels, Counter>>,
}

/// One counter, with its resets evened out.
#[derive(Debug, Default)]
struct Counter {
    /// The sum of its values just before each reset.
    before: f64,
    /// The latest reading.
    last: f64,
    readings: VecDeque<(Instant, f64)>,
}

impl Rates {
    /// Forgets replicas that are gone.
    pub(crate) fn retain(&mut self, is_there: impl Fn(Ordinal, Incarnation) -> bool) {
        self.replicas.retain(|(ordinal, incarnation), _| is_there(*ordinal, *incarnation));
    }

    /// Records the counters that a replica exposed at `at`, and returns the mean rate of each over `window`, per second.
    ///
    /// A counter that was read only once has no rate yet, which is not zero. One that decreased was reset to zero, as in Prometheus.
    /// Counters that are no longer exposed are forgotten.
    pub(crate) fn update(
        &mut self,
        replica: (Ordinal, Incarnation),
        at: Instant,
        window: Duration,
        counters: Vec<(Labels, f64)>,
    ) -> Vec<(Labels, f64)> {
        let mut known = std::mem::take(self.replicas.entry(replica).or_default());
        let mut kept = BTreeMap::new();
        let mut rates = Vec::new();
        for (labels, value) in counters {
            let mut counter = known.remove(&labels).unwrap_or_default();
            counter.push(at, window, value);
            rates.extend(counter.rate().map(|rate| (labels.clone(), rate)));
            kept.insert(labels, counter);
        }
        self.replicas.insert(replica, kept);
        rates
    }
}

impl Counter {
    fn push(&mut self, at: Instant, window: Duration, value: f64) {
        if value < self.last {
            self.before += self.last;
        }
        self.last = value;
        self.readings.push_back((at, self.before + value));
        while self.readings.front().is_some_and(|(first, _)| at.duration_since(*first) > window)
            && self.readings.len() > 2
        {
            self.readings.pop_front();
        }
    }

    fn rate(&self) -> Option<f64> {
        let ((first, from), (last, to)) = (self.readings.front()?, self.readings.back()?);
        let over = last.duration_since(*first);
        (over > Duration::ZERO).then(|| (to - from) / over.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(10);

    /// The rate after each reading, given in seconds and value.
    fn rates(readings: &[(u64, f64)]) -> Vec<Option<f64>> {
        let begin = Instant::now();
        let mut rates = Rates::default();
        let replica = (Ordinal(0), Incarnation(1));
        let mut update = |(at, value): &(u64, f64)| {
            let at = begin + Duration::from_secs(*at);
            let given = rates.update(replica, at, WINDOW, vec![(Labels::new(), *value)]);
            given.first().map(|(_, rate)| *rate)
        };
        readings.iter().map(&mut update).collect()
    }

    #[test]
    fn a_rate_is_the_mean_over_the_window() {
        let given = rates(&[(0, 100.0), (5, 150.0), (10, 150.0), (15, 160.0)]);
        assert_eq!(given, [None, Some(10.0), Some(5.0), Some(1.0)]);
    }

    #[test]
    fn the_rate_of_a_counter_includes_what_it_counted_before_a_reset() {
        assert_eq!(rates(&[(0, 100.0), (5, 150.0), (10, 20.0)]), [None, Some(10.0), Some(7.0)]);
    }

    #[test]
    fn readings_far_apart_give_the_rate_between_them() {
        assert_eq!(rates(&[(0, 0.0), (60, 60.0), (120, 180.0)]), [None, Some(1.0), Some(2.0)]);
    }

    #[test]
    fn a_removed_replica_is_forgotten() {
        let mut rates = Rates::default();
        let (replica, at) = ((Ordinal(0), Incarnation(1)), Instant::now());
        let one = || vec![(Labels::new(), 1.0)];
        rates.update(replica, at, WINDOW, one());
        rates.retain(|_, incarnation| incarnation > Incarnation(1));
        assert_eq!(rates.update(replica, at + WINDOW, WINDOW, one()), []);
    }
}
