//! Derives the load from the history of decisions: coarse, but available without any setup.
//!
//! A decision contains the requests per second of each replica, as a ratio to the target, and the number of replicas measured. Runs of equal
//! decisions are kept as one, with the range of their ratios: the middle of the range is used. Decisions by an SLO are left out: their ratios
//! are relative to a target that is learned and may have changed within the run.

use api::v1;
use jiff::Timestamp;
use load::trace::Row;
use measure::range::TimeRange;
use model::name::ServiceName;
use model::resource::REQUEST_RATE_METRIC;

use super::super::learned::ROWS_MIN;
use super::RecordedRows;
use crate::context::CommandContext;
use crate::failure::Failure;
use crate::figures;

/// The number of runs per response, the server's maximum.
const RUNS: usize = 1000;

/// The maximum number of responses: 200,000 runs are more than thirty days of a busy service.
const RESPONSES_MAX: usize = 200;

/// The decisions on `service` in `stretch` that the server has kept, oldest first.
pub(super) async fn fetch(
    context: &CommandContext,
    service: &ServiceName,
    stretch: TimeRange,
) -> Result<Vec<v1::KeptDecision>, Failure> {
    let client = context.client()?;
    let (from, mut until) = (figures::timestamp(stretch.from), figures::timestamp(stretch.until));
    let mut runs: Vec<v1::KeptDecision> = Vec::new();
    for _ in 0..RESPONSES_MAX {
        let path = format!("/v1/services/{service}/history?limit={RUNS}&since={from:.3}&until={until:.3}");
        let mut history: v1::History = client.get(&path).await?;
        let first = history.items.first().and_then(|run| run.from.parse::<Timestamp>().ok());
        let is_cut = history.is_cut;
        history.items.append(&mut runs);
        runs = history.items;
        let before = first.and_then(|first| first.checked_sub(std::time::Duration::from_millis(1)).ok());
        match before {
            Some(before) if is_cut && before > from => until = before,
            Some(_) | None => break,
        }
    }
    Ok(runs)
}

/// A row for each step of `stretch` whose load `runs` tell.
///
/// # Errors
///
/// Why there are too few.
pub(super) fn rows_of(
    runs: &[v1::KeptDecision],
    service: &ServiceName,
    stretch: TimeRange,
) -> Result<RecordedRows, Failure> {
    let steps = usize::try_from(stretch.points()).unwrap_or(usize::MAX);
    let mut sums = vec![(0.0, 0_u32); steps];
    let (begin, step) =
        (stretch.from.as_millis(), u64::try_from(stretch.step.as_millis()).unwrap_or(u64::MAX).max(1));
    let mut known = 0;
    for (run, load) in runs.iter().filter_map(|run| Some((run, load_of(run)?))) {
        known += 1;
        let index = |text: &str| {
            let ms = text.parse::<Timestamp>().ok().and_then(|at| u64::try_from(at.as_millisecond()).ok())?;
            usize::try_from(ms.saturating_sub(begin) / step).ok()
        };
        let (Some(first), Some(last)) = (index(&run.from), index(&run.to)) else { continue };
        for (sum, count) in sums.iter_mut().take(last.saturating_add(1)).skip(first) {
            *sum += load;
            *count += 1;
        }
    }
    let at = |index: usize| figures::timestamp(model::time::Wall::from_millis(begin + index as u64 * step));
    let row = |(index, (sum, count)): (usize, &(f64, u32))| {
        (*count > 0).then(|| Row { at: at(index), value: sum / f64::from(*count) })
    };
    let rows: Vec<Row> = sums.iter().enumerate().filter_map(row).collect();
    if rows.len() < ROWS_MIN {
        return Err(Failure::failed(too_little(runs.len(), rows.len(), service, stretch)));
    }
    let notes = vec![format!(
        "the load is derived from {known} runs of decisions on {REQUEST_RATE_METRIC}: between changes of size it is the middle of the measured \
         range, so its peaks are too low; Prometheus is more accurate"
    )];
    Ok(RecordedRows { rows, step: stretch.step, notes })
}

/// The requests per second in the middle of a run; `None` when its decisions do not tell them.
fn load_of(run: &v1::KeptDecision) -> Option<f64> {
    if run.decision.policy == "slo" {
        return None;
    }
    let index = run.decision.metrics.iter().position(|metric| metric.name == REQUEST_RATE_METRIC)?;
    let metric = &run.decision.metrics[index];
    let v1::Range { low, high } = run.ratios.get(index).copied().flatten()?;
    let target: f64 = metric.target.parse().ok()?;
    let replicas = f64::from(metric.samples?.used);
    let load = f64::midpoint(low, high) * target * replicas;
    (load >= 0.0 && load.is_finite()).then_some(load)
}

/// Why the history cannot be used, and what to use instead.
fn too_little(runs: usize, rows: usize, service: &ServiceName, stretch: TimeRange) -> String {
    let since = figures::timestamp(stretch.from);
    let problem = match (runs, rows) {
        (0, _) => format!("the history has no decisions on service/{service} since {since}"),
        (_, 0) => format!("no decision on service/{service} since {since} tells its requests per second"),
        (_, rows) => format!(
            "the history of service/{service} has {rows} steps of {:?}, and at least {ROWS_MIN} are needed",
            stretch.step
        ),
    };
    format!(
        "{problem}, and fewer than {ROWS_MIN} steps of its load are recorded; that needs targets for {REQUEST_RATE_METRIC}, or expose with \
         scale.slo or scale.forecast (mode shadow suffices): let it run for longer, or give --prometheus with --query, or --trace (HS0018)"
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use model::time::Wall;
    use serde_json::json;

    use super::*;

    const STRETCH: TimeRange = TimeRange {
        from: Wall::from_millis(0),
        until: Wall::from_millis(2 * 3_600_000),
        step: Duration::from_mins(1),
    };

    /// Decisions from one minute to another, with ratios in this range to a target of 10, for this number of replicas.
    fn run(minutes: (u32, u32), range: (f64, f64), replicas: u32, metric: &str) -> v1::KeptDecision {
        let at =
            |minute: u32| Timestamp::from_second(i64::from(minute) * 60).expect("it is a time").to_string();
        let metric = json!({
            "name": metric, "current": "12", "target": "10", "ratio": range.0, "proposal": replicas,
            "samples": {"used": replicas, "unready": 1, "missing": 0, "ignored": 0}, "note": "",
        });
        serde_json::from_value(json!({
            "from": at(minutes.0), "to": at(minutes.1), "count": 60, "ratios": [{"low": range.0, "high": range.1}],
            "decision": {
                "target": "service/shop", "at": at(minutes.0), "desired": replicas, "previous": replicas, "policy": "hpa",
                "metrics": [metric], "tolerance": null, "limits": [], "evidence": [], "guard": null, "reasons": [], "waits": [],
                "changes": [], "kept": null, "summary": "", "prospects": [], "whyNot": null, "shadows": [],
            },
        }))
        .expect("it is what the server answers")
    }

    fn rows_or_error(runs: &[v1::KeptDecision]) -> Result<RecordedRows, String> {
        let service = ServiceName::parse("shop").expect("it is a name");
        rows_of(runs, &service, STRETCH).map_err(|failure| match failure {
            Failure::Usage(error) | Failure::Failed(error) => error.to_string(),
            Failure::OutputClosed => String::new(),
        })
    }

    #[test]
    fn the_load_of_a_run_is_the_middle_of_its_range_times_its_replicas() {
        let requests = "http_requests_per_second";
        let recorded =
            rows_or_error(&[run((0, 79), (0.5, 1.5), 3, requests), run((40, 99), (1.0, 1.0), 6, requests)])
                .unwrap();
        let minute = |minute: usize| recorded.rows[minute].value;
        assert_eq!(recorded.rows.len(), 100, "the load of the last twenty minutes is not known");
        assert_eq!((minute(0), minute(39), minute(99)), (30.0, 30.0, 60.0));
        assert_eq!(minute(60), 45.0, "overlapping runs are averaged");
        assert!(recorded.notes[0].contains("from 2 runs"), "{:?}", recorded.notes);
    }

    #[test]
    fn the_error_says_what_is_missing() {
        assert!(
            rows_or_error(&[])
                .err()
                .unwrap()
                .contains("the history has no decisions on service/shop since 1970-01-01T00:00:00Z")
        );
        let silent = rows_or_error(&[run((0, 99), (0.5, 1.5), 3, "cpu")]).err().unwrap();
        assert!(silent.contains("tells its requests per second, and fewer than 60 steps"), "{silent}");
        let mut by_slo = run((0, 99), (0.5, 1.5), 3, "http_requests_per_second");
        by_slo.decision.policy = "slo".to_owned();
        let learned_target = rows_or_error(&[by_slo]).err().unwrap();
        assert!(learned_target.contains("tells its requests per second"), "{learned_target}");
        let short = rows_or_error(&[run((0, 9), (0.5, 1.5), 3, "http_requests_per_second")]).err().unwrap();
        assert!(short.contains("has 10 steps of 60s, and at least 60 are needed"), "{short}");
    }
}
