//! The summary of a comparison for scripts, with the verdict on the best policy.

use std::time::Duration;

use fluid::{Elasticity, Score};
use serde::Serialize;

use crate::candidate::Kind;
use crate::compare::{Findings, PolicyResult, TrainingSplit, span};
use crate::notes::{repair_notes, share};
use crate::setting::Measure;

/// The summary of a comparison. Field names end with the unit of times; shares are in per cent.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// The name of the trace.
    pub trace: String,
    /// When it begins, RFC 3339.
    pub begin: String,
    /// The hours that count: of more than two days, the first is left out.
    pub hours: f64,
    /// The requests in these hours.
    pub requests: f64,
    /// The length of a tick.
    pub tick_seconds: f64,
    /// The capacity of a replica, in requests per second.
    pub capacity: f64,
    /// The target utilization, in per cent.
    pub target_percent: f64,
    /// The time from start to ready of a replica.
    pub start_up_seconds: f64,
    /// The share of requests that should succeed in time, in per cent.
    #[serde(rename = "promisePercent")]
    pub objective_percent: f64,
    /// The policies, in the order of the arguments.
    pub policies: Vec<PolicySummary>,
    /// The name of the best policy that could run; `None` when all need the future load.
    pub best: Option<String>,
    /// Why it is the best, in one sentence.
    pub verdict: String,
    /// Assumptions and repairs, each as a sentence.
    pub notes: Vec<String>,
}

/// The result of one policy.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicySummary {
    /// Its name.
    pub name: String,
    /// Its description.
    pub about: String,
    /// Whether it could run: it does not need the future load.
    pub could_run: bool,
    /// Minutes in which the SLO was violated.
    pub slo_violation_minutes: f64,
    /// The share of the time, in per cent.
    pub slo_violation_percent: f64,
    /// The longest violation, in minutes.
    pub slo_violation_longest_minutes: f64,
    /// Requests during violations, in per cent of all.
    pub violated_requests_percent: f64,
    /// The same if replicas had only the lower bound of their learned capacity; `None` when it was not learned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub violated_requests_at_least_percent: Option<f64>,
    /// Dropped requests, in per cent of all.
    pub dropped_requests_percent: f64,
    /// The share of the time with a utilization above 85 %, in per cent.
    pub hot_percent: f64,
    /// Replica-hours, of ready and starting replicas.
    pub replica_hours: f64,
    /// The replica-hours as a multiple of the oracle's; `None` when the oracle needed none.
    pub replica_hours_to_oracle: Option<f64>,
    /// Their cost; `None` without a price.
    pub cost: Option<f64>,
    /// Ticks in which the number of replicas wanted changed.
    pub actions: u64,
    /// These changes per day.
    pub actions_per_day: f64,
    /// Replicas started.
    pub starts: u64,
    /// θ_U, in per cent.
    pub theta_u: f64,
    /// θ_O, in per cent.
    pub theta_o: f64,
    /// θ_O as a share of the supply, in per cent.
    pub theta_o_of_supply: f64,
    /// τ_U, in per cent.
    pub tau_u: f64,
    /// τ_O, in per cent.
    pub tau_o: f64,
    /// υ, in per cent.
    pub instability: f64,
}

impl Summary {
    /// The summary of `findings` by `measure`; the caller's `notes` come first.
    pub fn of(findings: &Findings, measure: Measure, notes: Vec<String>) -> Self {
        let oracle = findings.results.iter().find(|result| result.name == crate::candidate::ORACLES[0]);
        let oracle_hours =
            oracle.map(|result| result.outcome.score.replica_hours()).filter(|hours| *hours > 0.0);
        let policies: Vec<PolicySummary> =
            findings.results.iter().map(|result| PolicySummary::of(result, oracle_hours, measure)).collect();
        let best = best(&policies, measure);
        let service = &findings.service;
        let score = findings.results.first().map(|result| &result.outcome.score);
        Self {
            trace: findings.trace.clone(),
            begin: findings.extent.begin.to_string(),
            hours: score.map_or(0.0, Score::hours),
            requests: score.map_or(0.0, |score| score.requests),
            tick_seconds: service.tick.as_secs_f64(),
            capacity: service.capacity.rate(),
            target_percent: 100.0 * service.target.part(),
            start_up_seconds: service.start_up.as_secs_f64(),
            objective_percent: 100.0 * measure.objective,
            best: best.map(|best| best.name.clone()),
            verdict: verdict(&policies, best, measure),
            policies,
            notes: [
                notes,
                findings.training.iter().map(training_note).collect(),
                late_loss_notes(findings),
                repair_notes(findings.extent.repairs),
            ]
            .concat(),
        }
    }
}

fn training_note(training: &TrainingSplit) -> String {
    let suffix = if training.has_improved {
        ""
    } else {
        "; no policy there is better than SLO-first by one per cent, so learned is SLO-first"
    };
    format!(
        "learned was trained on the load before {}; all policies are scored on the rest{suffix}",
        training.until
    )
}

impl PolicySummary {
    fn of(result: &PolicyResult, oracle_hours: Option<f64>, measure: Measure) -> Self {
        let score = &result.outcome.score;
        let Elasticity { theta_u, theta_o, theta_o_of_supply, tau_u, tau_o, instability } =
            score.elasticity();
        let days = score.hours() / 24.0;
        Self {
            name: result.name.clone(),
            about: result.about.clone(),
            could_run: matches!(result.kind, Kind::Declared | Kind::Causal),
            slo_violation_minutes: score.violation_minutes(),
            slo_violation_percent: score.violated_time_percent(),
            slo_violation_longest_minutes: score.violation_minutes_longest(),
            violated_requests_percent: score.violated_requests_percent(),
            violated_requests_at_least_percent: result
                .at_least
                .as_ref()
                .map(Score::violated_requests_percent),
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

    /// Whether it meets the SLO.
    pub fn meets_slo(&self, measure: Measure) -> bool {
        // Tolerates rounding errors.
        self.violated_requests_percent <= 100.0 * (1.0 - measure.objective) + 1e-9
    }
}

/// The best policy that could run: the cheapest that meets the SLO, or else the one with the fewest violated requests, of several the
/// cheapest.
fn best(policies: &[PolicySummary], measure: Measure) -> Option<&PolicySummary> {
    let could_run = || policies.iter().filter(|policy| policy.could_run);
    let cheapest = could_run()
        .filter(|policy| policy.meets_slo(measure))
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
        return "None of these policies could run: all need the future load.".to_owned();
    };
    let others = policies.iter().filter(|policy| policy.could_run && policy.name != best.name);
    let objective = 100.0 * measure.objective;
    let cost = match best.replica_hours_to_oracle {
        Some(times) => format!("{times:.2} times the replica-hours of the oracle"),
        None => format!("{:.0} replica-hours", best.replica_hours),
    };
    let violated = share(best.violated_requests_percent);
    if !best.meets_slo(measure) {
        return format!(
            "No policy meets the SLO for {objective} % of the requests; {} comes nearest: it violates it for {violated}, at {cost}.",
            best.name
        );
    }
    let (meeting, violating): (Vec<_>, Vec<_>) = others.partition(|policy| policy.meets_slo(measure));
    let next = meeting.into_iter().min_by(|a, b| a.replica_hours.total_cmp(&b.replica_hours));
    let against = match (next, violating.as_slice()) {
        (Some(next), _) if best.replica_hours > 0.0 => {
            let more = 100.0 * (next.replica_hours / best.replica_hours - 1.0);
            format!("; the next that meets it, {}, needs {more:.0} % more", next.name)
        }
        (Some(next), _) => {
            format!("; the next that meets it, {}, needs {:.0} replica-hours", next.name, next.replica_hours)
        }
        (None, []) => String::new(),
        (None, _) => "; no other meets it".to_owned(),
    };
    format!(
        "{} is best: it is the cheapest that meets the SLO for {objective} % of the requests (it violates it for {violated}), at {cost}{against}.",
        best.name
    )
}

/// The scheduled losses after the end of the recording, each as a sentence.
fn late_loss_notes(findings: &Findings) -> Vec<String> {
    let end = span(&findings.service, findings.extent);
    let note = |after: &Duration| {
        format!("no replica was lost {after:?} after the start: the trace ends after {end:?}")
    };
    findings.too_late.iter().map(note).collect()
}
