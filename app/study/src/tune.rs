//! Searches better settings for the policy of a service on the first part of a history, and confirms them on the rest.

mod evolution;
mod knob;
mod policy;
mod search;

use std::cell::RefCell;
use std::cmp::Ordering;
use std::rc::Rc;
use std::sync::Arc;

use fluid::world::World;
use fluid::{Policy, Run, Score, Service};
use jiff::Timestamp;
use model::resource::{LearnedPrice, Resource};
use model::time::Wall;
use serde::Serialize;
use serde_json::Value;

use self::evolution::evolve;
use self::knob::{Knob, knobs_of, manifest_of};
use self::policy::{FeatureRecorder, Ranges, WEIGHTS};
use self::search::{Point, search};
use crate::candidate::{Candidate, PolicyContext};
use crate::declared::{SLO_SERVICE, declared, slo_service};
use crate::notes::{repair_notes, share};
use crate::recording::{Extent, Recording};
use crate::setting::{Measure, PROGRESS_INTERVAL, Progress, Setting, StudyError, TICKS_SORTED_MAX, survey};

/// The goal of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SearchGoal {
    /// Better settings of the declared policy.
    Settings,
    /// A learned policy, for a service with an SLO.
    Policy,
}

/// The parameters of a search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tuning {
    /// The goal.
    pub goal: SearchGoal,
    /// The maximum number of settings to evaluate.
    pub runs_max: u32,
    /// The random seed.
    pub seed: u64,
    /// The share of the history to search on, above 0 and below 1; the rest is held out.
    pub searched: f64,
}

/// The result of a search.
#[derive(Clone, Debug)]
pub struct TuningResult {
    /// The name of the recording.
    pub trace: String,
    /// Its extent.
    pub extent: Extent,
    /// The simulated service.
    pub service: Service,
    /// When the held-out part begins.
    pub split: Timestamp,
    /// The goal of the search.
    pub goal: SearchGoal,
    /// The number of fields that were varied; 0 if there is nothing to search.
    pub knobs: usize,
    /// The number of settings that were evaluated.
    pub runs: u32,
    /// The scores of the declared settings.
    pub before: Parts,
    /// The scores of the best settings; `None` when none is better on the searched part.
    pub after: Option<Parts>,
    /// The resources with the best settings; `None` unless they are also better on the held-out part.
    pub resources: Option<Vec<Resource>>,
}

/// The scores of settings on both parts.
#[derive(Clone, Debug, PartialEq)]
pub struct Parts {
    /// On the first part, which was searched.
    pub searched: Score,
    /// On the rest, with the state of the policy after the first part.
    pub held_out: Score,
}

/// The result of settings on one part. Field names end with the unit of times; shares are in per cent.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PartSummary {
    /// The hours that count.
    pub hours: f64,
    /// Minutes in which the SLO was violated.
    pub slo_violation_minutes: f64,
    /// Requests during violations, in per cent of all.
    pub violated_requests_percent: f64,
    /// Replica-hours, of ready and starting replicas.
    pub replica_hours: f64,
    /// Their cost; `None` without a price.
    pub cost: Option<f64>,
    /// Ticks in which the number of replicas wanted changed.
    pub actions: u64,
    /// Replicas started.
    pub starts: u64,
}

impl PartSummary {
    /// The summary of `score` by `measure`.
    pub fn of(score: &Score, measure: Measure) -> Self {
        Self {
            hours: score.hours(),
            slo_violation_minutes: score.violation_minutes(),
            violated_requests_percent: score.violated_requests_percent(),
            replica_hours: score.replica_hours(),
            cost: measure.price.map(|price| price * score.replica_hours()),
            actions: score.actions,
            starts: score.starts,
        }
    }
}

/// The hours below which a history is reported as short: the searched and the held-out part then have no common weekdays.
const SHORT_HISTORY_HOURS: f64 = 14.0 * 24.0;

impl TuningResult {
    /// The verdict in a sentence or two.
    pub fn verdict(&self, measure: Measure) -> String {
        let Some(after) = &self.after else {
            if self.goal == SearchGoal::Policy {
                return format!(
                    "Nothing learned is better than what you have, and nothing is proposed: in {} runs on the searched part, no weights are cheaper by one \
                     per cent and meet the SLO as well.",
                    self.runs
                );
            }
            return format!(
                "Nothing better was found in {} runs: on the searched part, no settings are cheaper by one per cent and meet the SLO as well as the \
                 declared ones.",
                self.runs
            );
        };
        let worth = worth(&self.before.held_out, &after.held_out, measure);
        if self.resources.is_some() {
            return format!("On the held-out part, the change would have {worth}.");
        }
        let subject = match self.goal {
            SearchGoal::Settings => "the best settings",
            SearchGoal::Policy => "nothing learned is better than what you have, as the best weights",
        };
        format!(
            "Nothing is proposed: {subject} of the searched part would have {worth} on the held-out part. They fit the searched part and not the \
             load in general; use a longer history."
        )
    }

    /// Reasons for caution, each as a sentence.
    pub fn notes(&self) -> Vec<String> {
        let hours = self.extent.ticks as f64 * self.service.tick.as_secs_f64() / 3600.0;
        let mut notes = Vec::new();
        if hours < SHORT_HISTORY_HOURS {
            notes.push(format!(
                "{:.1} days are a short history: settings that fit them may not fit the next days; use at least two weeks",
                hours / 24.0
            ));
        }
        notes.extend(repair_notes(self.extent.repairs));
        notes
    }
}

/// The effect of a change, to follow "would have".
fn worth(before: &Score, after: &Score, measure: Measure) -> String {
    let part = |score: &Score| match score.violated_requests_percent() {
        0.0 => "no request".to_owned(),
        percent => format!("{} of the requests", share(percent)),
    };
    let violated = match (before.violated_requests_percent(), after.violated_requests_percent()) {
        (0.0, 0.0) => "met the SLO for all requests as before".to_owned(),
        _ => format!("violated the SLO for {} instead of {}", part(after), part(before)),
    };
    let hours = 100.0 * (after.replica_hours() / before.replica_hours().max(f64::MIN_POSITIVE) - 1.0);
    let direction = if hours > 0.0 { "more" } else { "fewer" };
    let money = measure.price.map_or(String::new(), |price| {
        format!(" ({:+.2} in money)", price * (after.replica_hours() - before.replica_hours()))
    });
    format!(
        "{violated}, with {:.1} % {direction} replica-hours{money} and {} changes of size instead of {}",
        hours.abs(),
        after.actions,
        before.actions
    )
}

/// The share of the error budget that the search may use: settings that need all of it on one part exceed it on the next.
const SEARCH_BUDGET: f64 = 0.5;

/// How much cheaper settings must be to be proposed. Less is within chance, and every change costs the time to review it.
const IMPROVEMENT_MIN: f64 = 0.01;

/// How much more expensive settings may be if they change one field less.
const SIMPLICITY_BONUS: f64 = 0.002;

/// The cost of settings: replica-hours, multiplied by the use of the error budget where that exceeds it.
///
/// The cheapest settings that meet the SLO are best. Among those that do not, halving the violations is worth twice the replicas and no
/// more: a load that cannot be served in time does not justify any price.
#[derive(Clone, Copy, Debug)]
struct Cost {
    weighed: f64,
    actions: u64,
}

impl Cost {
    fn of(score: &Score, measure: Measure) -> Self {
        let overspent = score.budget_used(measure.objective).map_or_else(
            // Without a budget, any violation exceeds it.
            || 1.0 + score.violated_requests_percent(),
            |used| used.max(1.0),
        );
        Self { weighed: score.replica_hours() * overspent, actions: score.actions }
    }

    fn is_lower_by(self, share: f64, other: Self) -> bool {
        self.weighed < other.weighed * (1.0 - share)
    }
}

impl PartialEq for Cost {
    fn eq(&self, other: &Self) -> bool {
        self.partial_cmp(other) == Some(Ordering::Equal)
    }
}

impl PartialOrd for Cost {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.weighed.total_cmp(&other.weighed).then(self.actions.cmp(&other.actions)))
    }
}

/// Searches better settings for the service `name` among `resources` over `recording`.
///
/// Settings are proposed only if they are also better on the held-out part, on which only the best settings are evaluated.
pub fn tune(
    recording: &Recording,
    (setting, measure): (&Setting, Measure),
    (resources, name): (&[Resource], &str),
    tuning: Tuning,
    progress: &mut dyn FnMut(Progress),
) -> Result<TuningResult, StudyError> {
    let bench = Bench::new(recording, setting, measure, (resources, name), tuning, progress)?;
    let search_measure = search_measure(measure);
    let SearchResult { best, fields, runs } = match tuning.goal {
        SearchGoal::Settings => bench.best_settings(search_measure, tuning, progress),
        SearchGoal::Policy => bench.best_policy(search_measure, tuning, progress)?,
    };
    let before = bench.parts(resources);
    let after = best.map(|resources| (bench.parts(&resources), resources));
    let after = after.filter(|(parts, _)| is_better(&parts.searched, &before.searched, measure));
    let is_confirmed = |parts: &Parts| is_better(&parts.held_out, &before.held_out, measure);
    let resources =
        after.as_ref().filter(|(parts, _)| is_confirmed(parts)).map(|(_, resources)| resources.clone());
    Ok(TuningResult {
        trace: recording.name.clone(),
        extent: bench.extent,
        split: bench.split_at(),
        goal: tuning.goal,
        knobs: fields,
        runs,
        before,
        after: after.map(|(parts, _)| parts),
        resources,
        service: bench.service,
    })
}

/// The result of training a policy on the first part of a recording.
pub(crate) struct Training {
    /// The first tick of the held-out part, and its time.
    pub(crate) split: (u64, Timestamp),
    /// `None` when nothing is better than SLO-first on the first part.
    pub(crate) learned: Option<LearnedPrice>,
}

/// The parameters of training: two thirds of the load, and a search that takes a minute for weeks of load.
const TRAINING: Tuning = Tuning { goal: SearchGoal::Policy, runs_max: 200, seed: 0, searched: 2.0 / 3.0 };

/// Trains a policy on the first two thirds of `recording`, for a service with the SLO of `setting`.
pub(crate) fn train(
    recording: &Recording,
    setting: &Setting,
    progress: &mut dyn FnMut(Progress),
) -> Result<Training, StudyError> {
    let measure = Measure { objective: setting.objective, price: None };
    let service = slo_service(setting.bounds, setting.objective, None);
    let tuning = Tuning { seed: setting.seed, ..TRAINING };
    let on = (std::slice::from_ref(&service), SLO_SERVICE);
    let bench = Bench::new(recording, setting, measure, on, tuning, progress)?;
    let mut best = bench.best_policy(search_measure(measure), tuning, progress)?.best.unwrap_or_default();
    let learned = best.iter_mut().find_map(policy::slo_of).and_then(|slo| slo.learned);
    Ok(Training { split: (bench.split as u64, bench.split_at()), learned })
}

/// The measure of the search, with a stricter SLO.
fn search_measure(measure: Measure) -> Measure {
    Measure { objective: 1.0 - SEARCH_BUDGET * (1.0 - measure.objective), ..measure }
}

/// Whether it is sufficiently cheaper, and its violations are within the SLO or not more than before.
fn is_better(after: &Score, before: &Score, measure: Measure) -> bool {
    let violated = |score: &Score| score.violated_requests_percent();
    let allowed = 100.0 * (1.0 - measure.objective);
    Cost::of(after, measure).is_lower_by(IMPROVEMENT_MIN, Cost::of(before, measure))
        && violated(after) <= violated(before).max(allowed)
}

/// The result of a search.
struct SearchResult {
    /// The resources with the best settings; `None` when none are better than the present ones.
    best: Option<Vec<Resource>>,
    /// The number of fields that were varied.
    fields: usize,
    runs: u32,
}

/// Reverts each field whose change has too little effect.
fn simplify<T: Clone + PartialEq>(
    best: Vec<T>,
    present: &[T],
    cost: &mut dyn FnMut(&Vec<T>) -> Option<Cost>,
) -> (Vec<T>, u32) {
    let changed: Vec<usize> = (0..best.len()).filter(|field| best[*field] != present[*field]).collect();
    let Some(least) = cost(&best).filter(|_| !changed.is_empty()) else { return (best, 1) };
    let (mut simple, mut runs) = (best, 1);
    for field in changed {
        let mut simpler = simple.clone();
        simpler[field] = present[field].clone();
        runs += 1;
        let is_as_good =
            cost(&simpler).is_some_and(|cost| cost.weighed <= least.weighed * (1.0 + SIMPLICITY_BONUS));
        if is_as_good {
            simple = simpler;
        }
    }
    (simple, runs)
}

/// Evaluates settings over a recording that is kept in memory.
struct Bench<'a> {
    setting: &'a Setting,
    service: Service,
    demands: fluid::policy::constant::Demands,
    extent: Extent,
    loads: Vec<f64>,
    /// The first tick of the held-out part.
    split: usize,
    resources: &'a [Resource],
    name: &'a str,
}

impl<'a> Bench<'a> {
    fn new(
        recording: &Recording,
        setting: &'a Setting,
        measure: Measure,
        (resources, name): (&'a [Resource], &'a str),
        tuning: Tuning,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self, StudyError> {
        debug_assert!(
            setting.objective == measure.objective,
            "the policies and the measure have the same objective"
        );
        let (service, demands, extent) = survey(recording, setting, progress)?;
        if extent.ticks > TICKS_SORTED_MAX {
            return Err(StudyError::TooLong { name: recording.name.clone() });
        }
        let mut loads = Vec::with_capacity(usize::try_from(extent.ticks).unwrap_or(0));
        recording.each_tick(setting.tick, setting.arrivals(), &mut |load| {
            if (loads.len() as u64).is_multiple_of(PROGRESS_INTERVAL) {
                progress(Progress::Reading(loads.len() as u64));
            }
            loads.push(load);
        })?;
        let split = (loads.len() as f64 * tuning.searched.clamp(0.0, 1.0)) as usize;
        Ok(Self { setting, service, demands, extent, split, loads, resources, name })
    }

    /// The best settings on the searched part.
    fn best_settings(
        &self,
        measure: Measure,
        tuning: Tuning,
        progress: &mut dyn FnMut(Progress),
    ) -> SearchResult {
        let knobs: Vec<(usize, Knob)> = self.knobs();
        let lens: Vec<usize> = knobs.iter().map(|(_, knob)| knob.len()).collect();
        let present: Point = knobs.iter().map(|(_, knob)| knob.present()).collect();
        let mut evaluated = 0;
        let mut cost = |point: &Point| {
            progress(Progress::Simulating(evaluated, u64::from(tuning.runs_max)));
            evaluated += 1;
            let resources = self.resources_at(&knobs, point)?;
            Some(Cost::of(&self.searched(&resources), measure))
        };
        let (best, runs) = search(&lens, &present, (tuning.runs_max, tuning.seed), &mut cost);
        let (best, more) = simplify(best, &present, &mut cost);
        let resources = self.resources_at(&knobs, &best).filter(|_| best != present);
        SearchResult { best: resources, fields: knobs.len(), runs: runs + more }
    }

    /// The best learned policy on the searched part, beginning at SLO-first.
    fn best_policy(
        &self,
        measure: Measure,
        tuning: Tuning,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<SearchResult, StudyError> {
        let Some(slo_first) = self.with_learned_price(None) else {
            return Ok(SearchResult { best: None, fields: 0, runs: 0 });
        };
        let ranges = self.feature_ranges(&slo_first)?;
        let resources_with = |weights: &[f64]| self.with_learned_price(Some(ranges.policy(weights)?));
        let cost = |weights: &Vec<f64>| Some(Cost::of(&self.searched(&resources_with(weights)?), measure));
        let mut evaluated = 0;
        let mut costs = |points: &[Vec<f64>]| {
            progress(Progress::Simulating(evaluated, u64::from(tuning.runs_max)));
            evaluated += points.len() as u64;
            in_parallel(points, &cost)
        };
        let (best, runs) = evolve(WEIGHTS, (tuning.runs_max, tuning.seed), &mut costs);
        let unlearned = [0.0; WEIGHTS];
        let (best, more) = simplify(best, &unlearned, &mut |weights| cost(weights));
        let best = if best == unlearned { Some(slo_first) } else { resources_with(&best) };
        let best = best.filter(|resources| resources != self.resources);
        Ok(SearchResult { best, fields: WEIGHTS, runs: runs + more })
    }

    /// The resources with this learned price; `None` when the service does not scale by an SLO.
    fn with_learned_price(&self, learned: Option<LearnedPrice>) -> Option<Vec<Resource>> {
        let mut resources = self.resources.to_vec();
        let is_service = |resource: &&mut Resource| resource.name() == self.name;
        let slo = resources.iter_mut().filter(is_service).find_map(policy::slo_of)?;
        slo.learned = learned;
        Some(resources)
    }

    /// The ranges of the load features over the searched part, under the policy of `resources`.
    fn feature_ranges(&self, resources: &[Resource]) -> Result<Ranges, StudyError> {
        let declared = declared(resources, Some(self.name)).expect("the declaration was checked before");
        let ranges = Rc::new(RefCell::new(Ranges::default()));
        let policy = Candidate::declaration(&Arc::new(declared), self.service.tick);
        let mut run = self.begin(FeatureRecorder { policy, ranges: Rc::clone(&ranges) });
        self.loads[..self.split].iter().for_each(|load| run.offer(*load));
        run.finish();
        Ok(ranges.take())
    }

    /// The knobs of the autoscaler that decides, each with the index of its resource.
    fn knobs(&self) -> Vec<(usize, Knob)> {
        let is_of_service = |resource: &Resource| match resource {
            Resource::Service(service) => service.name().as_str() == self.name,
            Resource::HorizontalPodAutoscaler(hpa) => {
                hpa.autoscaler().is_ok_and(|spec| spec.service.as_str() == self.name)
            }
            Resource::Route(_) | Resource::MetricSource(_) => false,
        };
        let resources = self.resources.iter().enumerate().filter(|(_, resource)| is_of_service(resource));
        resources
            .flat_map(|(index, resource)| {
                knobs_of(resource, self.service.capacity).into_iter().map(move |knob| (index, knob))
            })
            .collect()
    }

    /// The resources with the knobs set to `point`; `None` when they are invalid.
    fn resources_at(&self, knobs: &[(usize, Knob)], point: &Point) -> Option<Vec<Resource>> {
        let mut manifests: Vec<Value> = self.resources.iter().map(manifest_of).collect();
        for ((resource, knob), index) in knobs.iter().zip(point) {
            knob.set(&mut manifests[*resource], *index);
        }
        let resources: Result<Vec<Resource>, _> = manifests.into_iter().map(serde_json::from_value).collect();
        let resources = resources.ok()?;
        declared(&resources, Some(self.name)).is_ok().then_some(resources)
    }

    /// The score of `resources` on the searched part.
    fn searched(&self, resources: &[Resource]) -> Score {
        let mut run = self.run(resources);
        self.loads[..self.split].iter().for_each(|load| run.offer(*load));
        run.finish().score
    }

    /// The scores of `resources` on both parts.
    fn parts(&self, resources: &[Resource]) -> Parts {
        let mut searched = self.run(resources);
        self.loads[..self.split].iter().for_each(|load| searched.offer(*load));
        let mut whole = self.run(resources).scored_from(self.split as u64);
        self.loads.iter().for_each(|load| whole.offer(*load));
        Parts { searched: searched.finish().score, held_out: whole.finish().score }
    }

    fn run(&self, resources: &[Resource]) -> Run {
        let declared = declared(resources, Some(self.name)).expect("the declaration was checked before");
        let on = PolicyContext {
            service: &self.service,
            demands: &self.demands,
            objective: self.setting.objective,
            learned: None,
        };
        let policy = Candidate::declared(&Arc::new(declared)).policy(&on);
        self.begin(policy)
    }

    fn begin(&self, policy: impl Policy + 'static) -> Run {
        let world = World::new(self.setting.disturbance.clone(), self.setting.seed);
        let begin = Wall::from_millis(u64::try_from(self.extent.begin.as_millisecond()).unwrap_or(0));
        Run::new(&self.service, policy, world, begin)
    }

    fn split_at(&self) -> Timestamp {
        let ticks = u32::try_from(self.split).unwrap_or(u32::MAX);
        self.extent.begin.checked_add(self.setting.tick.saturating_mul(ticks)).unwrap_or(Timestamp::MAX)
    }
}

/// The cost of each of `points`, in order, evaluated by one thread per CPU.
fn in_parallel<C: Send>(points: &[Vec<f64>], cost: &(impl Fn(&Vec<f64>) -> C + Sync)) -> Vec<C> {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let share = points.len().div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        let costs = |points: &[Vec<f64>]| points.iter().map(cost).collect::<Vec<C>>();
        let workers: Vec<_> = points.chunks(share).map(|points| scope.spawn(move || costs(points))).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a run does not fail")).collect()
    })
}
