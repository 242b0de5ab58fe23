//! Counts and distributions during a run.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::exchange::{Answer, Failure};
use crate::report::{Causes, Failures, Progress, Quantiles, Report};
use crate::series::{LATENCY_MICROS_MAX, Series, seconds_of};

/// How far behind schedule a request may be sent before it counts as late.
///
/// 10 ms: the shortest delay that a person could notice in a sum of a few requests, and forty times the delay of the
/// generator on a machine that is not overloaded.
const LATE: Duration = Duration::from_millis(10);

/// The times of one request, each since the start of the run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moments {
    /// When it should have been sent.
    pub(crate) due: Duration,
    /// When it was sent.
    pub(crate) sent: Duration,
    /// When it was answered or given up.
    pub(crate) ended: Duration,
}

/// The counts so far.
#[derive(Debug)]
pub(crate) struct Tally {
    sent: u64,
    ok: u64,
    skipped: u64,
    late: u64,
    bytes_received: u64,
    failures: Failures,
    first_causes: Causes,
    statuses: BTreeMap<u16, u64>,
    latency: Histogram<u64>,
    service_time: Histogram<u64>,
    pacing_error: Histogram<u64>,
    last_end: Duration,
    series: Series,
}

impl Tally {
    pub(crate) fn for_run_of(duration: Duration) -> Self {
        let times =
            || Histogram::new_with_max(LATENCY_MICROS_MAX, 3).expect("3 digits up to an hour can be held");
        Self {
            sent: 0,
            ok: 0,
            skipped: 0,
            late: 0,
            bytes_received: 0,
            failures: Failures::default(),
            first_causes: Causes::default(),
            statuses: BTreeMap::new(),
            latency: times(),
            service_time: times(),
            pacing_error: times(),
            last_end: Duration::ZERO,
            series: Series::for_run_of(duration),
        }
    }

    /// Counts a sent request.
    pub(crate) fn record_sent(&mut self, due: Duration, now: Duration) {
        let behind = now.saturating_sub(due);
        self.sent += 1;
        self.late += u64::from(behind > LATE);
        self.pacing_error.saturating_record(micros(behind));
        self.series.counts_at(now).sent += 1;
    }

    /// Counts a request that was due while all connections were busy.
    pub(crate) fn record_skipped(&mut self, now: Duration) {
        self.skipped += 1;
        self.series.counts_at(now).skipped += 1;
    }

    /// Counts how a request ended.
    pub(crate) fn record_end(&mut self, moments: Moments, result: Result<Answer, Failure>) {
        let Moments { due, sent, ended } = moments;
        self.last_end = self.last_end.max(ended);
        let is_ok = match result {
            Ok(answer) => {
                let status = answer.status.as_u16();
                *self.statuses.entry(status).or_default() += 1;
                self.bytes_received += answer.bytes;
                self.failures.status4xx += u64::from((400..500).contains(&status));
                self.failures.status5xx += u64::from(status >= 500);
                status < 400
            }
            Err(failure) => {
                self.record_failure(failure);
                false
            }
        };
        if is_ok {
            self.ok += 1;
            let latency = micros(ended.saturating_sub(due));
            self.latency.saturating_record(latency);
            self.service_time.saturating_record(micros(ended.saturating_sub(sent)));
            self.series.record_ok(ended, latency);
        } else {
            self.series.counts_at(ended).failed += 1;
        }
    }

    fn record_failure(&mut self, failure: Failure) {
        let (failures, causes) = (&mut self.failures, &mut self.first_causes);
        let (count, first, cause) = match failure {
            Failure::Connect(cause) => (&mut failures.connect, &mut causes.connect, cause),
            Failure::Reset(cause) => (&mut failures.reset, &mut causes.reset, cause),
            Failure::Other(cause) => (&mut failures.other, &mut causes.other, cause),
            Failure::Timeout => {
                failures.timeout += 1;
                return;
            }
        };
        *count += 1;
        first.get_or_insert_with(|| with_causes(&*cause));
    }

    fn failed(&self) -> u64 {
        self.failures.by_class().iter().map(|(_, count)| count).sum()
    }

    /// Returns the progress of the run; fields that depend on the profile have their defaults.
    pub(crate) fn progress(&mut self, elapsed: Duration) -> Progress {
        self.series.counts_at(elapsed);
        let failed = self.failed();
        Progress {
            elapsed,
            sent: self.sent,
            ok: self.ok,
            failed,
            skipped: self.skipped,
            in_flight: self.sent - self.ok - failed,
            latency: quantiles(&self.latency),
            last: self.series.last(),
            ..Progress::default()
        }
    }

    /// Returns the report of a run whose sending ended at `end`.
    pub(crate) fn report(self, end: Duration, stopped: bool, connections_opened: u64) -> Report {
        let failed = self.failed();
        assert_eq!(self.sent, self.ok + failed, "each request that was sent has ended in one way");
        let end = end.max(self.last_end);
        let duration_seconds = end.as_secs_f64();
        Report {
            requests: self.sent,
            failed,
            skipped: self.skipped,
            late: self.late,
            stopped,
            duration_seconds,
            achieved_rate: if duration_seconds > 0.0 { self.sent as f64 / duration_seconds } else { 0.0 },
            latency_seconds: quantiles(&self.latency),
            service_time_seconds: quantiles(&self.service_time),
            pacing_error_seconds: quantiles(&self.pacing_error),
            statuses: self.statuses,
            failures: self.failures,
            first_causes: self.first_causes,
            bytes_received: self.bytes_received,
            connections_opened,
            series: self.series.finish(end),
        }
    }
}

/// Formats an error with its causes, as far as its own text does not include them.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        let cause_text = source.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        cause = source.source();
    }
    text
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Returns the usual points of a distribution of microseconds; `None` of an empty one.
fn quantiles(times: &Histogram<u64>) -> Option<Quantiles> {
    // The value of a bucket is its upper bound, which may be a little above the highest recorded value.
    let max = times.max();
    let at = |quantile| seconds_of(times.value_at_quantile(quantile).min(max));
    (!times.is_empty()).then(|| Quantiles {
        p50: at(0.5),
        p90: at(0.9),
        p99: at(0.99),
        p999: at(0.999),
        max: seconds_of(max),
        mean: times.mean() / 1e6,
    })
}

#[cfg(test)]
mod tests {
    use hyper::StatusCode;

    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn answer(status: StatusCode) -> Result<Answer, Failure> {
        Ok(Answer { status, bytes: 10 })
    }

    #[test]
    fn latency_counts_from_when_a_request_was_due_and_service_time_from_when_it_was_sent() {
        let mut tally = Tally::for_run_of(ms(1000));
        tally.record_sent(ms(100), ms(150));
        tally.record_end(Moments { due: ms(100), sent: ms(150), ended: ms(170) }, answer(StatusCode::OK));
        let report = tally.report(ms(1000), false, 1);
        let near =
            |quantiles: Option<Quantiles>, expected: f64| (quantiles.unwrap().max - expected).abs() < 0.001;
        assert!(near(report.latency_seconds, 0.070));
        assert!(near(report.service_time_seconds, 0.020));
        assert!(near(report.pacing_error_seconds, 0.050));
        assert_eq!(report.late, 1);
    }

    #[test]
    fn each_failure_has_its_class_and_no_latency() {
        let mut tally = Tally::for_run_of(ms(1000));
        let ends = [
            answer(StatusCode::NOT_FOUND),
            answer(StatusCode::BAD_GATEWAY),
            Err(Failure::Connect("nobody listens".into())),
            Err(Failure::Timeout),
            Err(Failure::Reset("closed".into())),
            Err(Failure::Other("no HTTP".into())),
        ];
        for end in ends {
            tally.record_sent(ms(0), ms(0));
            tally.record_end(Moments { due: ms(0), sent: ms(0), ended: ms(1) }, end);
        }
        let report = tally.report(ms(1000), false, 1);
        assert_eq!(report.failures.by_class().map(|(_, count)| count), [1; 6]);
        assert_eq!((report.requests, report.failed, report.latency_seconds), (6, 6, None));
        assert_eq!(report.statuses, BTreeMap::from([(404, 1), (502, 1)]));
    }

    #[test]
    fn a_late_answer_makes_the_run_longer() {
        let mut tally = Tally::for_run_of(ms(1000));
        tally.record_sent(ms(990), ms(990));
        tally.record_end(Moments { due: ms(990), sent: ms(990), ended: ms(4000) }, answer(StatusCode::OK));
        let report = tally.report(ms(1000), false, 1);
        assert!((report.duration_seconds - 4.0).abs() < 1e-9);
        assert!((report.achieved_rate - 0.25).abs() < 1e-9);
    }

    #[test]
    fn requests_in_flight_are_neither_successful_nor_failed() {
        let mut tally = Tally::for_run_of(ms(1000));
        tally.record_sent(ms(0), ms(0));
        tally.record_sent(ms(1), ms(1));
        tally.record_end(Moments { due: ms(0), sent: ms(0), ended: ms(2) }, answer(StatusCode::OK));
        let progress = tally.progress(ms(3));
        assert_eq!((progress.sent, progress.ok, progress.failed, progress.in_flight), (2, 1, 0, 1));
    }
}
