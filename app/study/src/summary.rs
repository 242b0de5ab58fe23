//! What a comparison comes to, in the form that scripts read, and which policy is best.

use std::time::Duration;

use fluid::ticks::GridRepairs;
use fluid::{Elasticity, Score};
use serde::Serialize;

use crate::candidate::Kind;
use crate::study::{Findings, PolicyResult, TrainingSplit, span};

/// What a comparison came to. Times carry their unit in their name; parts are per cents.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// The trace.
    pub trace: String,
    /// When it begins, RFC 3339.
    pub begin: String,
    /// Hours that count: without the first day of more than two.
    pub hours: f64,
    /// Requests that came in them.
    pub requests: f64,
    /// How long a tick is.
    pub tick_seconds: f64,
    /// What a replica carries, in requests a second.
    pub capacity: f64,
    /// The share of it that is to be used, in per cent.
    pub target_percent: f64,
    /// From a start to the first request served.
    pub start_up_seconds: f64,
    /// The requests of which so many are to be well, in per cent.
    pub promise_percent: f64,
    /// The policies, in the order in which they were asked for.
    pub policies: Vec<PolicySummary>,
    /// The name of the best that could run; `None` when all know what is to come.
    pub best: Option<String>,
    /// Why that one, as a sentence.
    pub verdict: String,
    /// What had to be assumed or repaired, each as a sentence.
    pub notes: Vec<String>,
}

/// How one policy did.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicySummary {
    /// Its name.
    pub name: String,
    /// What it does.
    pub about: String,
    /// Whether it could run: it knows nothing of what is to come.
    pub could_run: bool,
    /// Minutes with the promise broken.
    pub slo_violation_minutes: f64,
    /// The part of the time, in per cent.
    pub slo_violation_percent: f64,
    /// The longest stretch, in minutes.
    pub slo_violation_longest_minutes: f64,
    /// Requests that came while it was broken, in per cent of all.
    pub violated_requests_percent: f64,
    /// The same, if a replica carried no more than is certain; `None` where what one carries was not learned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub violated_requests_at_least_percent: Option<f64>,
    /// Requests that were dropped, in per cent of all.
    pub dropped_requests_percent: f64,
    /// The part of the time with more than 85 % of the capacity asked for, in per cent.
    pub hot_percent: f64,
    /// Hours of replicas, ready or starting.
    pub replica_hours: f64,
    /// The same as a multiple of the oracle's; `None` when the oracle needed none.
    pub replica_hours_to_oracle: Option<f64>,
    /// What they cost; `None` without a price.
    pub cost: Option<f64>,
    /// Ticks in which the wanted number changed.
    pub actions: u64,
    /// The same for each day.
    pub actions_per_day: f64,
    /// Replicas started.
    pub starts: u64,
    /// θ_U, in per cent.
    pub theta_u: f64,
    /// θ_O, in per cent.
    pub theta_o: f64,
    /// θ_O as a part of the supply, in per cent.
    pub theta_o_of_supply: f64,
    /// τ_U, in per cent.
    pub tau_u: f64,
    /// τ_O, in per cent.
    pub tau_o: f64,
    /// υ, in per cent.
    pub instability: f64,
}

/// What people bring along who read a comparison.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measure {
    /// The part of the requests that is to be well, 0 to 1.
    pub promise: f64,
    /// What an hour of a replica costs; `None` when it does not matter.
    pub price: Option<f64>,
}

impl Summary {
    /// What `findings` come to by `measure`; `notes` of the caller come first.
    pub fn of(findings: &Findings, measure: Measure, notes: Vec<String>) -> Self {
        let oracle = findings.results.iter().find(|tried| tried.name == crate::candidate::ORACLES[0]);
        let oracle_hours =
            oracle.map(|tried| tried.outcome.score.replica_hours()).filter(|hours| *hours > 0.0);
        let policies: Vec<PolicySummary> =
            findings.results.iter().map(|tried| PolicySummary::of(tried, oracle_hours, measure)).collect();
        let best = best(&policies, measure);
        let service = &findings.service;
        let score = findings.results.first().map(|tried| &tried.outcome.score);
        Self {
            trace: findings.trace.clone(),
            begin: findings.extent.begin.to_string(),
            hours: score.map_or(0.0, Score::hours),
            requests: score.map_or(0.0, |score| score.requests),
            tick_seconds: service.tick.as_secs_f64(),
            capacity: service.capacity.rate(),
            target_percent: 100.0 * service.target.part(),
            start_up_seconds: service.start_up.as_secs_f64(),
            promise_percent: 100.0 * measure.promise,
            best: best.map(|best| best.name.clone()),
            verdict: verdict(&policies, best, measure),
            policies,
            notes: [
                notes,
                findings.training.iter().map(training_note).collect(),
                too_late(findings),
                repairs(findings.extent.repairs),
            ]
            .concat(),
        }
    }
}

fn training_note(training: &TrainingSplit) -> String {
    let found = if training.is_other {
        ""
    } else {
        "; nothing was found there that is better than SLO-first by a hundredth, so that learned is that"
    };
    format!(
        "learned has learned from what came before {}; all policies are judged on the rest{found}",
        training.until
    )
}

impl PolicySummary {
    fn of(tried: &PolicyResult, oracle_hours: Option<f64>, measure: Measure) -> Self {
        let score = &tried.outcome.score;
        let Elasticity { theta_u, theta_o, theta_o_of_supply, tau_u, tau_o, instability } =
            score.elasticity();
        let days = score.hours() / 24.0;
        Self {
            name: tried.name.clone(),
            about: tried.about.clone(),
            could_run: matches!(tried.kind, Kind::Declared | Kind::Causal),
            slo_violation_minutes: score.violation_minutes(),
            slo_violation_percent: score.violated_time_percent(),
            slo_violation_longest_minutes: score.violation_minutes_longest(),
            violated_requests_percent: score.violated_requests_percent(),
            violated_requests_at_least_percent: tried.at_least.as_ref().map(Score::violated_requests_percent),
            dropped_requests_percent: score.dropped_requests_percent(),
            hot_percent: score.hot_time_percent(),
            replica_hours: score.replica_hours(),
            replica_hours_to_oracle: oracle_hours.map(|hours| score.replica_hours() / hours),
            cost: measure.price.map(|price| price * score.replica_hours()),
            actions: score.actions,
            actions_per_day: if days > 0.0 { score.actions as f64 / days } else { 0.0 },
            starts: score.starts,
            theta_u,
            theta_o,
            theta_o_of_supply,
            tau_u,
            tau_o,
            instability,
        }
    }

    /// Whether it keeps what is promised.
    pub fn keeps(&self, measure: Measure) -> bool {
        // Per cents of parts of one do not come out even.
        self.violated_requests_percent <= 100.0 * (1.0 - measure.promise) + 1e-9
    }
}

/// The best of those that could run: of those that keep the promise the cheapest, else the one that breaks it for the fewest; of several the cheapest.
fn best(policies: &[PolicySummary], measure: Measure) -> Option<&PolicySummary> {
    let could_run = || policies.iter().filter(|policy| policy.could_run);
    let cheapest = could_run()
        .filter(|policy| policy.keeps(measure))
        .min_by(|a, b| a.replica_hours.total_cmp(&b.replica_hours));
    cheapest.or_else(|| {
        let by_violated = |a: &&PolicySummary, b: &&PolicySummary| {
            a.violated_requests_percent.total_cmp(&b.violated_requests_percent)
        };
        could_run().min_by(|a, b| by_violated(a, b).then(a.replica_hours.total_cmp(&b.replica_hours)))
    })
}

fn verdict(policies: &[PolicySummary], best: Option<&PolicySummary>, measure: Measure) -> String {
    let Some(best) = best else {
        return "No policy among these could run: all know what is to come.".to_owned();
    };
    let others = policies.iter().filter(|policy| policy.could_run && policy.name != best.name);
    let promise = 100.0 * measure.promise;
    let cost = match best.replica_hours_to_oracle {
        Some(times) => format!("{times:.2} times the replica-hours of the oracle"),
        None => format!("{:.0} replica-hours", best.replica_hours),
    };
    let violated = share(best.violated_requests_percent);
    if !best.keeps(measure) {
        return format!(
            "No policy keeps the promise for {promise} % of the requests; {} comes nearest: it breaks it for {violated}, at {cost}.",
            best.name
        );
    }
    let (keeping, breaking): (Vec<_>, Vec<_>) = others.partition(|policy| policy.keeps(measure));
    let next = keeping.into_iter().min_by(|a, b| a.replica_hours.total_cmp(&b.replica_hours));
    let against = match (next, breaking.as_slice()) {
        (Some(next), _) => {
            let more = 100.0 * (next.replica_hours / best.replica_hours - 1.0);
            format!("; the next that keeps it, {}, needs {more:.0} % more", next.name)
        }
        (None, []) => String::new(),
        (None, _) => "; no other keeps it".to_owned(),
    };
    format!(
        "{} is best: it is the cheapest that keeps the promise for {promise} % of the requests (it breaks it for {violated}), at {cost}{against}.",
        best.name
    )
}

/// Per cents with two digits that say something, and never a nought for what is not nothing.
pub(crate) fn share(percent: f64) -> String {
    if percent == 0.0 {
        "none of them".to_owned()
    } else if percent < 0.01 {
        "less than 0.01 %".to_owned()
    } else {
        format!("{percent:.2} %")
    }
}

/// What did not happen because the recording was over, each as a sentence.
fn too_late(findings: &Findings) -> Vec<String> {
    let end = span(&findings.service, findings.extent);
    let note = |after: &Duration| {
        format!("no replica was lost {after:?} after the beginning: the trace is over after {end:?}")
    };
    findings.too_late.iter().map(note).collect()
}

/// What had to be repaired, each as a sentence.
pub(crate) fn repairs(repairs: GridRepairs) -> Vec<String> {
    let mut notes = Vec::new();
    if repairs.gaps > 0 {
        let gaps = if repairs.gaps == 1 { "1 gap".to_owned() } else { format!("{} gaps", repairs.gaps) };
        let rows = match repairs.filled {
            1 => "1 row is".to_owned(),
            rows => format!("{rows} rows are"),
        };
        notes.push(format!("{rows} missing from the trace, in {gaps}; straight lines stand in for them"));
    }
    if repairs.merged > 0 {
        let rows = if repairs.merged == 1 { "1 row".to_owned() } else { format!("{} rows", repairs.merged) };
        notes.push(format!(
            "{rows} fell into the interval of the row before; each such interval has the mean of its rows"
        ));
    }
    notes
}
