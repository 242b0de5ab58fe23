//! The results of a run over time: one point per second, or fewer for a long run.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// The most points of a series.
///
/// 7,200 = two hours of seconds: wider than any terminal and at 64 bytes a point under half a megabyte. A longer
/// run gets longer points.
const POINTS_MAX: u64 = 7_200;

/// The results of one interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Point {
    /// When it begins, in seconds since the start of the run.
    pub at_seconds: f64,
    /// How long it lasts; the last one of a run is often shorter than the others.
    pub seconds: f64,
    /// Requests sent in it.
    pub sent: u64,
    /// Requests whose good answer arrived in it, whenever they were sent.
    pub ok: u64,
    /// Requests that failed in it, whenever they were sent.
    pub failed: u64,
    /// Requests that were due in it and not sent, because all connections were busy.
    pub skipped: u64,
    /// Median latency of the good answers in it; `None` when there were none.
    pub p50_seconds: Option<f64>,
    /// The latency that 99 % of them stay within; `None` when there were none.
    pub p99_seconds: Option<f64>,
}

impl Point {
    /// Returns a count of this point as a rate; 0 for a point of no duration.
    #[must_use]
    pub fn per_second(&self, count: u64) -> f64 {
        if self.seconds > 0.0 { count as f64 / self.seconds } else { 0.0 }
    }
}

/// Builds the points during the run.
#[derive(Debug)]
pub(crate) struct Series {
    interval: Duration,
    points: Vec<Point>,
    current: Counts,
    latencies: Histogram<u32>,
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) sent: u64,
    pub(crate) ok: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Series {
    /// Returns an empty series for a run of a length.
    pub(crate) fn for_run_of(duration: Duration) -> Self {
        let interval = Duration::from_secs(duration.as_secs().div_ceil(POINTS_MAX).max(1));
        let latencies =
            Histogram::new_with_max(LATENCY_MICROS_MAX, 2).expect("2 digits up to an hour can be held");
        Self { interval, points: Vec::new(), current: Counts::default(), latencies }
    }

    /// Returns the counts of the interval at `now`, a time since the start.
    pub(crate) fn counts_at(&mut self, now: Duration) -> &mut Counts {
        while now >= self.current_ends_at() {
            let point = self.current_point(self.interval);
            self.points.push(point);
            self.current = Counts::default();
            self.latencies.reset();
        }
        &mut self.current
    }

    /// Counts a good answer that arrived at `now`.
    pub(crate) fn record_ok(&mut self, now: Duration, latency_micros: u64) {
        self.counts_at(now).ok += 1;
        self.latencies.saturating_record(latency_micros);
    }

    /// Returns the last whole point; `None` in the first second.
    pub(crate) fn last(&self) -> Option<Point> {
        self.points.last().copied()
    }

    /// Returns all points, the last one cut at the end of the run.
    pub(crate) fn finish(mut self, end: Duration) -> Vec<Point> {
        self.counts_at(end);
        let begun = self.current_ends_at().saturating_sub(self.interval);
        let Counts { sent, ok, failed, skipped } = self.current;
        if sent + ok + failed + skipped > 0 || end > begun {
            let point = self.current_point(end.saturating_sub(begun));
            self.points.push(point);
        }
        self.points
    }

    fn current_ends_at(&self) -> Duration {
        let points = u32::try_from(self.points.len() + 1).unwrap_or(u32::MAX);
        self.interval.saturating_mul(points)
    }

    fn current_point(&self, lasts: Duration) -> Point {
        let quantile = |quantile| {
            (!self.latencies.is_empty()).then(|| seconds_of(self.latencies.value_at_quantile(quantile)))
        };
        let Counts { sent, ok, failed, skipped } = self.current;
        Point {
            at_seconds: (self.interval.as_secs() * self.points.len() as u64) as f64,
            seconds: lasts.as_secs_f64(),
            sent,
            ok,
            failed,
            skipped,
            p50_seconds: quantile(0.5),
            p99_seconds: quantile(0.99),
        }
    }
}

/// The longest latency that is recorded: an hour. Longer ones count as an hour.
pub(crate) const LATENCY_MICROS_MAX: u64 = 3_600_000_000;

/// Returns microseconds as seconds.
pub(crate) fn seconds_of(micros: u64) -> f64 {
    micros as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn each_second_has_its_own_counts_and_latencies() {
        let mut series = Series::for_run_of(at(3.0));
        series.counts_at(at(0.1)).sent += 2;
        series.record_ok(at(0.2), 100_000);
        series.record_ok(at(2.5), 5_000);
        let points = series.finish(at(2.75));
        let seen: Vec<_> =
            points.iter().map(|point| (point.at_seconds, point.seconds, point.sent, point.ok)).collect();
        assert_eq!(seen, [(0.0, 1.0, 2, 1), (1.0, 1.0, 0, 0), (2.0, 0.75, 0, 1)]);
        assert_eq!(points[1].p99_seconds, None, "a point without answers has no latency");
        assert!((points[0].p99_seconds.unwrap() - 0.1).abs() < 0.001);
        assert!((points[2].p99_seconds.unwrap() - 0.005).abs() < 0.000_1, "each point has its own latencies");
    }

    #[test]
    fn a_long_run_has_longer_points() {
        let mut series = Series::for_run_of(Duration::from_secs(31 * 24 * 3600));
        series.counts_at(Duration::from_secs(31 * 24 * 3600 - 1)).sent += 1;
        assert!(series.finish(Duration::from_secs(31 * 24 * 3600)).len() as u64 <= POINTS_MAX + 1);
    }

    #[test]
    fn a_run_that_ends_on_a_full_second_has_no_empty_point() {
        let mut series = Series::for_run_of(at(2.0));
        series.counts_at(at(1.5)).sent += 1;
        assert_eq!(series.finish(at(2.0)).len(), 2);
    }
}
