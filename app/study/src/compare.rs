//! Compares policies over one recording.

use std::time::Duration;

use fluid::world::{Disturbance, World};
use fluid::{Outcome, Run, Score, Service};
use jiff::Timestamp;
use model::time::Wall;

use crate::candidate::{Candidate, Kind, PolicyContext};
use crate::recording::{Extent, Recording};
use crate::setting::{PROGRESS_INTERVAL, Progress, Setting, StudyError, survey};
use crate::tune::train;

/// The result of a comparison.
#[derive(Clone, Debug)]
pub struct Findings {
    /// The name of the recording.
    pub trace: String,
    /// Its extent.
    pub extent: Extent,
    /// The simulated service.
    pub service: Service,
    /// The training before the comparison; `None` if no policy needed it.
    pub training: Option<TrainingSplit>,
    /// The times of scheduled losses that are after the end of the recording.
    pub too_late: Vec<Duration>,
    /// The results of the policies, in the order of the candidates.
    pub results: Vec<PolicyResult>,
}

/// The training of a policy on the first part of the recording. All policies are then scored on the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrainingSplit {
    /// When the first part ends.
    pub until: Timestamp,
    /// Whether a policy was found that is better on the first part than the untrained one.
    pub has_improved: bool,
}

/// A policy and its result.
#[derive(Clone, Debug)]
pub struct PolicyResult {
    /// Its name.
    pub name: String,
    /// What it knows about the load.
    pub kind: Kind,
    /// Its description.
    pub about: String,
    /// Its score and timeline.
    pub outcome: Outcome,
    /// Its score if replicas had only the lower bound of their learned capacity, unknown to the policy; `None` when the capacity was not
    /// learned.
    pub at_least: Option<Score>,
}

/// Simulates `candidates` over `recording`, all in one pass, after a pass that surveys the load.
pub fn compare(
    recording: &Recording,
    setting: &Setting,
    candidates: &[Candidate],
    progress: &mut dyn FnMut(Progress),
) -> Result<Findings, StudyError> {
    let (service, demands, extent) = survey(recording, setting, progress)?;
    let begin = Wall::from_millis(u64::try_from(extent.begin.as_millisecond()).unwrap_or(0));
    let needs_training = candidates.iter().any(|candidate| candidate.needs_training);
    let training = needs_training.then(|| train(recording, setting, progress)).transpose()?;
    let learned = training.as_ref().and_then(|training| training.learned);
    let on = PolicyContext { service: &service, demands: &demands, objective: setting.objective, learned };
    let run = |candidate: &Candidate, disturbance: &Disturbance| {
        let run =
            Run::new(&service, candidate.policy(&on), World::new(disturbance.clone(), setting.seed), begin);
        // A policy must not be scored on the load that it was trained on, and all policies are scored on the same part.
        match &training {
            Some(training) => run.scored_from(training.split.0),
            None => run,
        }
    };
    let runs_in =
        |disturbance: &Disturbance| candidates.iter().map(|it| run(it, disturbance)).collect::<Vec<Run>>();
    let mut runs = runs_in(&setting.disturbance);
    let mut lower_bound_runs =
        setting.at_lower_bound().map_or_else(Vec::new, |disturbance| runs_in(&disturbance));
    let mut ticks = 0;
    recording.each_tick(setting.tick, setting.arrivals(), &mut |load| {
        if ticks % PROGRESS_INTERVAL == 0 {
            progress(Progress::Simulating(ticks, extent.ticks));
        }
        ticks += 1;
        runs.iter_mut().chain(&mut lower_bound_runs).for_each(|run| run.offer(load));
    })?;
    let mut lower_bound_scores = lower_bound_runs.into_iter().map(|run| run.finish().score);
    let result = |(candidate, run): (&Candidate, Run)| {
        let Candidate { name, kind, about, .. } = candidate.clone();
        PolicyResult { name, kind, about, outcome: run.finish(), at_least: lower_bound_scores.next() }
    };
    let results = candidates.iter().zip(runs).map(result).collect();
    let training = training
        .map(|training| TrainingSplit { until: training.split.1, has_improved: training.learned.is_some() });
    let losses = setting.disturbance.losses.iter().map(|loss| loss.after);
    let too_late = losses.filter(|after| *after >= span(&service, extent)).collect();
    Ok(Findings { trace: recording.name.clone(), extent, service, training, too_late, results })
}

/// The length of a recording.
pub(crate) fn span(service: &Service, extent: Extent) -> Duration {
    service.tick.saturating_mul(u32::try_from(extent.ticks).unwrap_or(u32::MAX))
}
