//! The values of a PromQL expression over a span of time, requested in parts. Source: Prometheus' HTTP API, "Range queries".

use std::time::Duration;

use hyper::Uri;
use hyper::http::uri::InvalidUri;
use model::measure::Labels;
use model::resource::PrometheusOrigin;
use model::time::Wall;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use crate::failure::{Failure, short};
use crate::promql::answer;

/// The most points of one request: servers refuse more than 11,000 of a series.
pub const POINTS_MAX: u64 = 10_000;

/// How long one part may take. Prometheus itself gives up after two minutes.
const PART_TIMEOUT: Duration = Duration::from_mins(2);

/// A span of time and its resolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRange {
    /// Its first point.
    pub from: Wall,
    /// Its last point, if a whole number of steps leads there.
    pub until: Wall,
    /// From one point to the next, at least 1 ms.
    pub step: Duration,
}

/// What a server answers.
#[derive(Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
enum Answer {
    Success { data: Matrix },
    Error { error: String },
}

#[derive(Deserialize)]
struct Matrix {
    result: Vec<Series>,
}

#[derive(Deserialize)]
struct Series {
    metric: Labels,
    // A histogram has none.
    values: Option<Vec<(f64, String)>>,
}

impl TimeRange {
    fn step_ms(&self) -> u64 {
        u64::try_from(self.step.as_millis()).unwrap_or(u64::MAX).max(1)
    }

    /// The number of its points.
    #[must_use]
    pub fn points(&self) -> u64 {
        let ms = self.until.as_millis().saturating_sub(self.from.as_millis());
        ms / self.step_ms() + 1
    }

    /// Its parts of at most [`POINTS_MAX`] points, in order.
    fn parts(self) -> impl Iterator<Item = Self> {
        let (points, step) = (self.points(), self.step_ms());
        let moment = move |point: u64| {
            Wall::from_millis(self.from.as_millis().saturating_add(point.saturating_mul(step)))
        };
        (0..points.div_ceil(POINTS_MAX)).map(move |part| {
            let first = part * POINTS_MAX;
            let last = (first + POINTS_MAX).min(points) - 1;
            Self { from: moment(first), until: moment(last), step: self.step }
        })
    }
}

/// The values of the query of `origin` at each point of `time_range`. `progress` gets the number of points requested so far.
///
/// In order of time, with `NaN` and infinities as the server gives them. Points without a value are left out, so the result may be empty.
///
/// # Errors
///
/// When the server cannot be reached, does not answer within two minutes, refuses, or has several series.
pub async fn range(
    origin: &PrometheusOrigin,
    time_range: TimeRange,
    progress: &mut impl FnMut(u64),
) -> Result<Vec<(Wall, f64)>, Failure> {
    let (mut points, mut labels, mut requested) = (Vec::new(), None, 0);
    for part in time_range.parts() {
        let answer = tokio::time::timeout(PART_TIMEOUT, query_part(origin, part)).await;
        let late = |_| Failure::TimedOut { what: origin.url.as_str().to_owned(), within: PART_TIMEOUT };
        let Some(series) = answer.map_err(late)?? else {
            requested += part.points();
            progress(requested);
            continue;
        };
        // Over months a query may give one series after another, which together are not one load.
        if labels.as_ref().is_some_and(|labels| *labels != series.metric) {
            return Err(Failure::Series { found: "different series over time".to_owned() });
        }
        labels = Some(series.metric);
        for (second, text) in series.values.ok_or(Failure::Series { found: "a histogram".to_owned() })? {
            let value = text.parse().map_err(|_| Failure::NoNumber {
                url: origin.url.as_str().to_owned(),
                path: "a value of the result".to_owned(),
                found: format!("the text {:?}", short(&text)),
            })?;
            points.push((Wall::from_millis((second * 1000.0).round() as u64), value));
        }
        requested += part.points();
        progress(requested);
    }
    Ok(points)
}

/// The one series of a part; `None` when there is none.
async fn query_part(origin: &PrometheusOrigin, part: TimeRange) -> Result<Option<Series>, Failure> {
    let page = answer(origin, uri(origin, part)).await?;
    match serde_json::from_slice(&page.body) {
        Ok(Answer::Success { data: Matrix { mut result } }) => match result.len() {
            0 | 1 => Ok(result.pop()),
            several => Err(Failure::Series { found: format!("{several} series") }),
        },
        Ok(Answer::Error { error }) => Err(Failure::Status {
            url: page.url,
            status: page.status.as_u16(),
            why: format!(": {}", short(&error)),
        }),
        Err(error) => Err(Failure::Json {
            expected: "a range query result",
            media: page.media_in_brackets(),
            why: error.to_string(),
            url: page.url,
        }),
    }
}

fn uri(origin: &PrometheusOrigin, part: TimeRange) -> Result<Uri, InvalidUri> {
    let base = origin.url.as_str().trim_end_matches('/');
    let query = utf8_percent_encode(&origin.query, NON_ALPHANUMERIC);
    let seconds = |ms: u64| format!("{}.{:03}", ms / 1000, ms % 1000);
    let (from, until) = (seconds(part.from.as_millis()), seconds(part.until.as_millis()));
    let step = seconds(part.step_ms());
    format!("{base}/api/v1/query_range?query={query}&start={from}&end={until}&step={step}").parse()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn time_range(from: u64, until: u64, step: u64) -> TimeRange {
        TimeRange {
            from: Wall::from_millis(from),
            until: Wall::from_millis(until),
            step: Duration::from_millis(step),
        }
    }

    proptest! {
        #[test]
        fn the_parts_have_each_point_once_and_none_has_too_many(
            from in 0_u64..4_000_000_000_000, points in 0_u64..60_000, step in 1_u64..100_000, more in 0_u64..100_000,
        ) {
            let whole = time_range(from, from + points * step + more % step, step);
            prop_assert_eq!(whole.points(), points + 1);
            let mut next = whole.from;
            for part in whole.parts() {
                prop_assert_eq!(part.from, next);
                prop_assert!(part.points() <= POINTS_MAX);
                next = Wall::from_millis(part.from.as_millis() + part.points() * step);
            }
            prop_assert_eq!(next.as_millis(), from + (points + 1) * step);
        }
    }

    #[test]
    fn a_part_is_requested_by_its_ends_and_step() {
        let origin: PrometheusOrigin = serde_json::from_value(
            serde_json::json!({"url": "http://a:9090/x/", "query": "sum(r{b=\"c\"})"}),
        )
        .unwrap();
        let uri = uri(&origin, time_range(1_700_000_000_500, 1_700_000_060_500, 60_000)).unwrap();
        assert_eq!(
            uri.to_string(),
            "http://a:9090/x/api/v1/query_range?query=sum%28r%7Bb%3D%22c%22%7D%29&start=1700000000.500&end=1700000060.500&step=60.000"
        );
    }
}
