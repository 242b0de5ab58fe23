//! Shows the decisions that changed manifests would lead to, now and over the last hour.

use std::fmt::Write as _;

use api::v1;
use hyper::Method;
use jiff::Timestamp;
use load::plot::{Between, Ink, Line};
use model::resource::Resource;
use serde_json::{Value, json};

use crate::context::CommandContext;
use crate::figures;
use crate::output::STRING;
use crate::paint::printable;
use crate::picture;
use crate::stderr;

/// Rows of the plot.
const HEIGHT: usize = 8;

/// Lets the server evaluate `resources`. A failure is only printed as a note, because the changes themselves are known without it.
pub(crate) async fn evaluate(context: &CommandContext, resources: &[&Resource]) -> Option<v1::Trials> {
    let response =
        context.client().ok()?.send(Method::POST, "/v1/trial", Some(&json!({ "items": resources }))).await;
    match response.map(serde_json::from_value::<v1::Trials>) {
        Ok(Ok(trials)) => Some(trials),
        Ok(Err(error)) => {
            stderr::print_line(&format!(
                "note: could not read the decisions that the change would lead to: {error}"
            ));
            None
        }
        Err(error) => {
            stderr::print_line(&format!(
                "note: the decisions that the change would lead to are not known: {error}"
            ));
            None
        }
    }
}

/// The response of the server, with the trials added.
pub(crate) fn with_trials(mut response: Value, trials: Option<&v1::Trials>) -> Value {
    if let (Some(fields), Some(trials)) = (response.as_object_mut(), trials) {
        fields.insert("trials".into(), json!(trials.items));
    }
    response
}

/// The trials as text; empty when no existing service would change.
pub(crate) fn lines(trials: Option<&v1::Trials>) -> String {
    let items = trials.map(|trials| trials.items.as_slice()).unwrap_or_default();
    items.iter().map(trial_lines).collect()
}

fn trial_lines(it: &v1::Trial) -> String {
    let (wanted, desired) = (figures::replicas(it.wanted), figures::replicas(it.desired));
    let summary = printable(&it.summary);
    let mut text = format!("\n{} with it: {desired} now, {wanted} without\n  {summary}\n", it.target);
    let Some(hour) = &it.hour else {
        text.push_str("  there is no record of the last hour\n");
        return text;
    };
    writeln!(text, "  since {}, on each of {} decisions:", hour.since, hour.decisions).expect(STRING);
    for (name, side) in [("as it is", &hour.holds), ("with it", &hour.tried)] {
        let v1::TrialSide { least, most, mean, changes } = side;
        let changes = if *changes == 1 { "1 change".to_owned() } else { format!("{changes} changes") };
        writeln!(text, "  {name:<9} {least} to {most} replicas, {mean:.1} on average, {changes} of size")
            .expect(STRING);
    }
    text.push_str(&plot_of(hour));
    text.push_str(
        "  The recorded load is assumed to be spread evenly over the replicas that there would have been, and not to depend on \
         their number.\n",
    );
    text
}

fn plot_of(hour: &v1::TrialHour) -> String {
    let seconds = |at: &str| at.parse::<Timestamp>().map_or(0.0, |at| at.as_millisecond() as f64 / 1000.0);
    let begin = seconds(&hour.since);
    let points = |of: fn(&v1::TrialPoint) -> u32| -> Vec<(f64, f64)> {
        hour.points.iter().map(|point| (seconds(&point.at) - begin, f64::from(of(point)))).collect()
    };
    let (holds, tried) = (points(|point| point.holds), points(|point| point.tried));
    let line = |label, ink, points| Line { label, ink, between: Between::Hold, points };
    let lines = [line("as it is", Ink::Dots, &holds), line("with it", Ink::Solid, &tried)];
    picture::of(&lines, HEIGHT, "s", "replicas")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_shows_both_declarations_and_the_assumption() {
        let side = |most| v1::TrialSide { least: 1, most, mean: 2.0, changes: 3 };
        let point = |second: u32, tried| v1::TrialPoint {
            at: format!("2026-11-21T05:00:{second:02}.000Z"),
            holds: 4,
            tried,
        };
        let hour = v1::TrialHour {
            since: "2026-11-21T05:00:00.000Z".into(),
            until: "2026-11-21T05:00:30.000Z".into(),
            decisions: 30,
            holds: side(4),
            tried: side(2),
            points: vec![point(0, 1), point(30, 2)],
        };
        let trial = v1::Trial {
            target: "service/shop".into(),
            wanted: 4,
            desired: 2,
            summary: "the maximum is 2".into(),
            hour: Some(hour),
        };
        let text = lines(Some(&v1::Trials { items: vec![trial] }));
        for part in [
            "service/shop with it: 2 replicas now, 4 replicas without",
            "with it   1 to 2 replicas, 2.0 on average, 3 changes",
            "The recorded load is assumed",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        assert_eq!(lines(None), "");
    }
}
