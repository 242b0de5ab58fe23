//! The results of a run: the JSON form for scripts, and the summary for people.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::rate::Rate;
pub use crate::series::Point;

/// The results of a run. Its JSON form is the output of `homeostat load -o json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Requests that were sent; each was answered or has failed.
    pub requests: u64,
    /// Those of them that failed: no answer, or a status of 400 and more.
    pub failed: u64,
    /// Requests that were due and not sent, because all connections were busy. Not in `requests`. When it is not
    /// zero, the latencies are those of a lower load than requested.
    pub skipped: u64,
    /// Requests that the generator itself sent more than 10 ms after they were due. Their latency counts from when
    /// they were due; when there are many, the machine is too busy to measure with.
    pub late: u64,
    /// Whether the run was stopped before the end of its profile.
    pub stopped: bool,
    /// From the start to the end of the profile or the last answer, whichever came later.
    pub duration_seconds: f64,
    /// `requests` / `durationSeconds`.
    pub achieved_rate: f64,
    /// From the moment that a request was due to the last byte of its answer; of good answers only.
    #[serde(serialize_with = "quantiles_or_nulls")]
    pub latency_seconds: Option<Quantiles>,
    /// From the time that a request was actually sent; of good answers only. This is the latency of a closed loop.
    #[serde(serialize_with = "quantiles_or_nulls")]
    pub service_time_seconds: Option<Quantiles>,
    /// How much later than due requests were sent: the accuracy of the generator itself.
    #[serde(serialize_with = "quantiles_or_nulls")]
    pub pacing_error_seconds: Option<Quantiles>,
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// `failed`, by what went wrong.
    pub failures: Failures,
    /// The error of the first failure of each class that has one.
    pub first_causes: Causes,
    /// Bytes of bodies received.
    pub bytes_received: u64,
    /// Connections made over the whole run.
    pub connections_opened: u64,
    /// How it went over time.
    pub series: Vec<Point>,
}

/// Points of a distribution of times, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Quantiles {
    /// Half are within this.
    pub p50: f64,
    /// 90 % are within this.
    pub p90: f64,
    /// 99 % are within this.
    pub p99: f64,
    /// 99.9 % are within this.
    pub p999: f64,
    /// The longest.
    pub max: f64,
    /// The mean.
    pub mean: f64,
}

/// Failed requests by what went wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Failures {
    /// No connection could be made.
    pub connect: u64,
    /// No whole answer within the timeout.
    pub timeout: u64,
    /// The connection ended before the answer did.
    pub reset: u64,
    /// Answers of status 400 to 499.
    pub status4xx: u64,
    /// Answers of status 500 and more.
    pub status5xx: u64,
    /// Anything else, such as an answer that is not HTTP.
    pub other: u64,
}

/// The error of the first failed request of each class; `None` while there is none.
///
/// Only the first: when the server is gone, thousands of the same error follow.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Causes {
    /// Of those for which no connection could be made.
    pub connect: Option<String>,
    /// Of those whose connection ended before the answer did.
    pub reset: Option<String>,
    /// Of anything else.
    pub other: Option<String>,
}

impl Causes {
    /// Returns the error of the first failure of a class of [`Failures::by_class`].
    fn of(&self, class: &str) -> Option<&str> {
        let causes = [("connect", &self.connect), ("reset", &self.reset), ("other", &self.other)];
        causes.into_iter().find(|(name, _)| *name == class)?.1.as_deref()
    }
}

impl Failures {
    /// Returns the classes with their names, in the order of the JSON form.
    #[must_use]
    pub const fn by_class(&self) -> [(&'static str, u64); 6] {
        [
            ("connect", self.connect),
            ("timeout", self.timeout),
            ("reset", self.reset),
            ("status 4xx", self.status4xx),
            ("status 5xx", self.status5xx),
            ("other", self.other),
        ]
    }
}

/// The progress of a run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Progress {
    /// Since the start.
    pub elapsed: Duration,
    /// How long the profile lasts; the answers of the last requests may come later.
    pub duration: Duration,
    /// The current rate of the profile, in requests per second.
    pub target: Option<Rate>,
    /// Requests sent.
    pub sent: u64,
    /// Good answers.
    pub ok: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Requests that were due and not sent.
    pub skipped: u64,
    /// Requests whose answer is awaited.
    pub in_flight: u64,
    /// Latency so far; `None` before the first good answer.
    pub latency: Option<Quantiles>,
    /// The last whole second; `None` in the first one.
    pub last: Option<Point>,
}

/// One line of the summary for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SummaryRow {
    /// What it is.
    pub name: &'static str,
    /// How much, with its unit.
    pub value: String,
}

impl Report {
    /// Returns the rows of the summary, without those that would be empty.
    #[must_use]
    pub fn summary(&self) -> Vec<SummaryRow> {
        let mut rows = vec![
            row("requests", self.requests.to_string()),
            row("failed", self.failed_with_share()),
            row("duration", seconds(self.duration_seconds)),
            row("achieved rate", format!("{:.1} requests/s", self.achieved_rate)),
        ];
        rows.extend(
            self.failures
                .by_class()
                .into_iter()
                .filter(|(_, count)| *count > 0)
                .map(|(class, count)| row("  of them", self.of_class(class, count))),
        );
        if self.skipped > 0 {
            rows.push(row("skipped", format!("{} (all connections were busy)", self.skipped)));
        }
        if self.late > 0 {
            rows.push(row("sent late", format!("{} (the generator was more than 10 ms behind)", self.late)));
        }
        if let Some(latency) = self.latency_seconds {
            let points = [
                ("latency p50", latency.p50),
                ("latency p90", latency.p90),
                ("latency p99", latency.p99),
                ("latency max", latency.max),
            ];
            rows.extend(points.map(|(name, value)| row(name, seconds(value))));
        }
        if let Some(service) = self.service_time_seconds {
            rows.push(row("service time p99", seconds(service.p99)));
        }
        if let Some(pacing) = self.pacing_error_seconds {
            rows.push(row("sent within", format!("{} of its time (p99)", seconds(pacing.p99))));
        }
        let statuses: Vec<String> =
            self.statuses.iter().map(|(status, count)| format!("{count} × {status}")).collect();
        if !statuses.is_empty() {
            rows.push(row("statuses", statuses.join(", ")));
        }
        rows
    }

    fn of_class(&self, class: &str, count: u64) -> String {
        match self.first_causes.of(class) {
            Some(cause) => format!("{count} {class} (the first: {cause})"),
            None => format!("{count} {class}"),
        }
    }

    fn failed_with_share(&self) -> String {
        if self.failed == 0 {
            return "0".to_owned();
        }
        format!("{} ({:.2} %)", self.failed, 100.0 * self.failed as f64 / self.requests.max(1) as f64)
    }
}

fn row(name: &'static str, value: String) -> SummaryRow {
    SummaryRow { name, value }
}

/// Formats a time with a suitable unit.
fn seconds(value: f64) -> String {
    if value < 0.001 {
        format!("{:.0} µs", value * 1e6)
    } else if value < 1.0 {
        format!("{:.1} ms", value * 1e3)
    } else {
        format!("{value:.2} s")
    }
}

/// Writes the quantiles, or null for each of them, so that `.latencySeconds.p99` always exists.
fn quantiles_or_nulls<S: Serializer>(
    quantiles: &Option<Quantiles>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match quantiles {
        Some(quantiles) => quantiles.serialize(serializer),
        None => {
            let nulls = ["p50", "p90", "p99", "p999", "max", "mean"].map(|name| (name, None::<f64>));
            serializer.collect_map(nulls)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let quantiles = Quantiles { p50: 0.0005, p90: 0.0124, p99: 0.2, p999: 1.0, max: 1.5, mean: 0.01 };
        Report {
            requests: 400,
            failed: 2,
            skipped: 0,
            late: 0,
            stopped: false,
            duration_seconds: 2.0,
            achieved_rate: 200.0,
            latency_seconds: Some(quantiles),
            service_time_seconds: Some(quantiles),
            pacing_error_seconds: None,
            statuses: BTreeMap::from([(200, 398), (503, 1)]),
            failures: Failures { reset: 1, status5xx: 1, ..Failures::default() },
            first_causes: Causes { reset: Some("connection closed".to_owned()), ..Causes::default() },
            bytes_received: 1,
            connections_opened: 3,
            series: Vec::new(),
        }
    }

    #[test]
    fn the_json_form_keeps_its_contract() {
        let json = serde_json::to_value(report()).unwrap();
        for pointer in [
            "/requests",
            "/failed",
            "/durationSeconds",
            "/achievedRate",
            "/latencySeconds/p50",
            "/latencySeconds/p90",
            "/latencySeconds/p99",
            "/latencySeconds/max",
            "/failures/status5xx",
            "/firstCauses/connect",
            "/firstCauses/reset",
            "/firstCauses/other",
            "/statuses/200",
            "/series",
        ] {
            assert!(json.pointer(pointer).is_some(), "{pointer} is missing in {json}");
        }
    }

    #[test]
    fn latency_of_no_answer_is_null_and_not_zero() {
        let json = serde_json::to_value(Report { latency_seconds: None, ..report() }).unwrap();
        assert!(json.pointer("/latencySeconds/p99").is_some_and(serde_json::Value::is_null), "{json}");
    }

    #[test]
    fn the_summary_has_units_and_omits_empty_values() {
        let rows = report().summary();
        let value_of = |name| rows.iter().find(|row| row.name == name).map(|row| row.value.as_str());
        assert_eq!(value_of("failed"), Some("2 (0.50 %)"));
        assert_eq!(value_of("latency p50"), Some("500 µs"));
        assert_eq!(value_of("latency p90"), Some("12.4 ms"));
        assert_eq!(value_of("latency max"), Some("1.50 s"));
        assert_eq!(value_of("statuses"), Some("398 × 200, 1 × 503"));
        assert_eq!(value_of("skipped"), None);
        let failed: Vec<_> =
            rows.iter().filter(|row| row.name == "  of them").map(|row| &row.value).collect();
        assert_eq!(failed, ["1 reset (the first: connection closed)", "1 status 5xx"]);
    }
}
