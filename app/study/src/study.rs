//! Policies side by side over one recording.

use std::time::Duration;

use fluid::policy::constant::Demands;
use fluid::world::{Arrivals, Disturbance, Noise, World};
use fluid::{Capacity, OutOfRange, Outcome, Run, Score, Service, Share, capacity_for, quantile};
use jiff::Timestamp;
use model::resource::Bounds;
use model::time::Wall;
use thiserror::Error;

use crate::candidate::{Candidate, Kind, PolicyContext};
use crate::recording::{Extent, Recording, RecordingError};
use crate::tune::learned_policy as lesson_of;

/// The load of which [`CapacityRule::ForPeak`] speaks, as a quantile over ticks.
const PEAK: f64 = 0.99;

/// Ticks of which a quantile is taken.
///
/// 16 Mi = eight years of 15 s, 128 MiB in memory.
pub(crate) const TICKS_SORTED_MAX: u64 = 16 * 1024 * 1024;

/// What the policies are tried on.
#[derive(Clone, Debug)]
pub struct Setting {
    /// How long a tick lasts.
    pub tick: Duration,
    /// What a replica carries.
    pub capacity: CapacityRule,
    /// The share of it that is to be used.
    pub target: Share,
    /// From a start to the first request served.
    pub start_up: Duration,
    /// Fewest and most replicas.
    pub bounds: Bounds,
    /// How arrivals scatter; `None` for not at all.
    pub noise: Option<Noise>,
    /// What happens to replicas.
    pub disturbance: Disturbance,
    /// What chance grows from.
    pub seed: u64,
    /// The part of the requests that is to be well, 0 to 1: what policies are told that size by a promise.
    pub promise: f64,
}

/// How it is known what a replica carries.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum CapacityRule {
    /// It is this.
    Given(Capacity),
    /// So that the 99th percentile of the load needs so many replicas at the target.
    ForPeak(u32),
    /// It was learned of a service as it runs.
    Learned {
        /// What is acted on.
        rate: Capacity,
        /// What is certain; at most `rate`.
        least: Capacity,
    },
}

/// Why policies cannot be compared. Nothing has changed.
#[derive(Debug, Error)]
pub enum StudyError {
    /// The recording cannot be used.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// There is nearly no load to find the capacity from.
    #[error(
        "99 of 100 ticks of the trace {name} have no load, so what a replica carries cannot be found from it; give it as --capacity"
    )]
    NoLoad {
        /// The name of the recording.
        name: String,
        /// What came of it.
        source: OutOfRange,
    },
    /// There are too many ticks to sort.
    #[error(
        "the trace {name} has more than {TICKS_SORTED_MAX} ticks, of which no percentile is taken; give what a replica carries as --capacity"
    )]
    TooLong {
        /// The name of the recording.
        name: String,
    },
}

/// How far a study is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The recording is being read to find out how long and how high it is; so many ticks so far.
    Reading(u64),
    /// Policies are tried: so many ticks, or settings, of so many.
    Trying(u64, u64),
}

/// From one word on progress to the next, in ticks.
pub(crate) const PROGRESS_EACH: u64 = 4096;

/// What a comparison found.
#[derive(Clone, Debug)]
pub struct Findings {
    /// The name of the recording.
    pub trace: String,
    /// What was read of it.
    pub extent: Extent,
    /// What the policies were tried on.
    pub service: Service,
    /// What was learned beforehand; `None` where no policy had to.
    pub training: Option<TrainingSplit>,
    /// When replicas were to be lost, of those times that are after the end of the recording.
    pub too_late: Vec<Duration>,
    /// The policies in the order in which they were given.
    pub results: Vec<PolicyResult>,
}

/// That a policy has learned from the first part of the recording, so that all are judged on the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrainingSplit {
    /// When that part ends.
    pub until: Timestamp,
    /// Whether anything was found that is better there than what is not learned.
    pub is_other: bool,
}

/// A policy and its result.
#[derive(Clone, Debug)]
pub struct PolicyResult {
    /// What it is called.
    pub name: String,
    /// What it knows.
    pub kind: Kind,
    /// What it does.
    pub about: String,
    /// How it did, and how it went.
    pub outcome: Outcome,
    /// How it would have done if a replica carried no more than is certain, with the policy believing otherwise; `None` where what one carries
    /// was not learned.
    pub at_least: Option<Score>,
}

/// Tries `candidates` on `recording`, all in one pass, after one to find out how high the load is.
pub fn compare(
    recording: &Recording,
    setting: &Setting,
    candidates: &[Candidate],
    progress: &mut dyn FnMut(Progress),
) -> Result<Findings, StudyError> {
    let (service, demands, extent) = survey(recording, setting, progress)?;
    let begin = Wall::from_millis(u64::try_from(extent.begin.as_millisecond()).unwrap_or(0));
    let learned_policy = candidates.iter().any(|candidate| candidate.is_taught);
    let learned_policy = learned_policy.then(|| lesson_of(recording, setting, progress)).transpose()?;
    let learned = learned_policy.as_ref().and_then(|learned_policy| learned_policy.learned);
    let on = PolicyContext { service: &service, demands: &demands, promise: setting.promise, learned };
    let run = |candidate: &Candidate, disturbance: &Disturbance| {
        let run =
            Run::new(&service, candidate.policy(&on), World::new(disturbance.clone(), setting.seed), begin);
        // A policy must not be judged on the load that it has learned from, and all policies are judged on the same part.
        match &learned_policy {
            Some(learned_policy) => run.scored_from(learned_policy.split.0),
            None => run,
        }
    };
    let in_world =
        |disturbance: &Disturbance| candidates.iter().map(|it| run(it, disturbance)).collect::<Vec<Run>>();
    let mut runs = in_world(&setting.disturbance);
    let mut certain = setting.certain().map_or_else(Vec::new, |worse| in_world(&worse));
    let mut ticks = 0;
    recording.each_tick(setting.tick, setting.arrivals(), &mut |load| {
        if ticks % PROGRESS_EACH == 0 {
            progress(Progress::Trying(ticks, extent.ticks));
        }
        ticks += 1;
        runs.iter_mut().chain(&mut certain).for_each(|run| run.offer(load));
    })?;
    let mut certain = certain.into_iter().map(|run| run.finish().score);
    let tried = |(candidate, run): (&Candidate, Run)| {
        let Candidate { name, kind, about, .. } = candidate.clone();
        PolicyResult { name, kind, about, outcome: run.finish(), at_least: certain.next() }
    };
    let results = candidates.iter().zip(runs).map(tried).collect();
    let training = learned_policy.map(|learned_policy| TrainingSplit {
        until: learned_policy.split.1,
        is_other: learned_policy.learned.is_some(),
    });
    let losses = setting.disturbance.losses.iter().map(|loss| loss.after);
    let too_late = losses.filter(|after| *after >= span(&service, extent)).collect();
    Ok(Findings { trace: recording.name.clone(), extent, service, training, too_late, results })
}

/// How long a recording is.
pub(crate) fn span(service: &Service, extent: Extent) -> Duration {
    service.tick.saturating_mul(u32::try_from(extent.ticks).unwrap_or(u32::MAX))
}

/// Reads a recording once: what a replica carries, and how often each number of replicas is demanded.
pub(crate) fn survey(
    recording: &Recording,
    setting: &Setting,
    progress: &mut dyn FnMut(Progress),
) -> Result<(Service, Demands, Extent), StudyError> {
    let capacity = match setting.capacity {
        CapacityRule::Given(capacity) | CapacityRule::Learned { rate: capacity, .. } => capacity,
        CapacityRule::ForPeak(replicas) => {
            let load = peak(recording, setting, progress)?;
            capacity_for(load, replicas, setting.target)
                .map_err(|source| StudyError::NoLoad { name: recording.name.clone(), source })?
        }
    };
    let service = setting.service(capacity);
    let mut demands = Demands::of(&service);
    let extent = recording.each_tick(setting.tick, setting.arrivals(), &mut |load| demands.count(load))?;
    Ok((service, demands, extent))
}

/// The load that 99 of 100 ticks do not exceed, before any noise.
fn peak(
    recording: &Recording,
    setting: &Setting,
    progress: &mut dyn FnMut(Progress),
) -> Result<f64, StudyError> {
    let mut loads = Vec::new();
    let mut ticks = 0;
    recording.each_tick(setting.tick, None, &mut |load| {
        if ticks % PROGRESS_EACH == 0 {
            progress(Progress::Reading(ticks));
        }
        ticks += 1;
        if ticks <= TICKS_SORTED_MAX {
            loads.push(load);
        }
    })?;
    if ticks > TICKS_SORTED_MAX {
        return Err(StudyError::TooLong { name: recording.name.clone() });
    }
    Ok(quantile(&mut loads, PEAK).unwrap_or(0.0))
}

impl Setting {
    fn service(&self, capacity: Capacity) -> Service {
        Service {
            tick: self.tick,
            target: self.target,
            start_up: self.start_up,
            bounds: self.bounds,
            ..Service::with_capacity(capacity)
        }
    }

    /// The world in which a replica carries no more than is certain; `None` where that is not told.
    fn certain(&self) -> Option<Disturbance> {
        let CapacityRule::Learned { rate, least } = self.capacity else { return None };
        // What is given is a number above 0.
        let capacity_factor = Share::of((least.rate() / rate.rate()).min(1.0)).ok();
        Some(Disturbance { capacity_factor, ..self.disturbance.clone() })
    }

    pub(crate) fn arrivals(&self) -> Option<Arrivals> {
        self.noise.map(|noise| Arrivals::new(noise, self.seed))
    }
}
