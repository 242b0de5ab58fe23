//! Which settings of a service's policy would have done better: searched for on the first part of a history, and believed by what they do on the rest.

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
use self::knob::{Knob, knobs_of, written};
use self::policy::{FeatureRecorder, Ranges, WEIGHTS};
use self::search::{Point, search};
use crate::candidate::{Candidate, PolicyContext};
use crate::declared::{PROMISING, declared, promising};
use crate::recording::{Extent, Recording};
use crate::study::{PROGRESS_EACH, Progress, Setting, StudyError, TICKS_SORTED_MAX, survey};
use crate::summary::{Measure, repairs, share};

/// The goal of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SearchGoal {
    /// Settings of the policy that is declared.
    Settings,
    /// A learned policy, for a service that is sized by what it promises.
    Policy,
}

/// How settings are searched for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tuning {
    /// What is searched for.
    pub goal: SearchGoal,
    /// Settings that are tried at most.
    pub runs_max: u32,
    /// What the order of the search grows from.
    pub seed: u64,
    /// The part of the history that is searched on, above 0 and below 1; the rest is held out.
    pub searched: f64,
}

/// The result of a search.
#[derive(Clone, Debug)]
pub struct TuningResult {
    /// The name of the recording.
    pub trace: String,
    /// What was read of it.
    pub extent: Extent,
    /// What the settings were tried on.
    pub service: Service,
    /// When the held-out part begins.
    pub split: Timestamp,
    /// What was searched for.
    pub goal: SearchGoal,
    /// Fields that can be turned; none where there is nothing to search for.
    pub knobs: usize,
    /// Settings that were tried.
    pub runs: u32,
    /// How the declared settings did.
    pub before: Parts,
    /// How the best found did; `None` when none is better on the part that was searched on.
    pub after: Option<Parts>,
    /// The resources with them; `None` when they are not better on the held-out part, too.
    pub resources: Option<Vec<Resource>>,
}

/// How settings did on both parts.
#[derive(Clone, Debug, PartialEq)]
pub struct Parts {
    /// On the first, which was searched on.
    pub searched: Score,
    /// On the rest, with what was remembered of the first.
    pub held_out: Score,
}

/// How settings did on one part. Times carry their unit in their name; parts are per cents.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PartSummary {
    /// Hours of it that count.
    pub hours: f64,
    /// Minutes with the promise broken.
    pub slo_violation_minutes: f64,
    /// Requests that came while it was broken, in per cent of all.
    pub violated_requests_percent: f64,
    /// Hours of replicas, ready or starting.
    pub replica_hours: f64,
    /// What they cost; `None` without a price.
    pub cost: Option<f64>,
    /// Ticks in which the wanted number changed.
    pub actions: u64,
    /// Replicas started.
    pub starts: u64,
}

impl PartSummary {
    /// What `score` comes to by `measure`.
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

/// Of less than two weeks the part that is searched on has no week with the one that is held out to compare with.
const HISTORY_SHORT: f64 = 14.0 * 24.0;

impl TuningResult {
    /// What came of it, as a sentence.
    pub fn verdict(&self, measure: Measure) -> String {
        let Some(after) = &self.after else {
            if self.goal == SearchGoal::Policy {
                return format!(
                    "Nothing learned is better than what you have, and nothing is proposed: in {} runs on the part that was searched on, no weights are cheaper \
                     by a hundredth and keep the promise as well.",
                    self.runs
                );
            }
            return format!(
                "Nothing better was found in {} runs: on the part that was searched on, no settings are cheaper by a hundredth and keep the promise as \
                 well as those that are declared.",
                self.runs
            );
        };
        let worth = worth(&self.before.held_out, &after.held_out, measure);
        if self.resources.is_some() {
            return format!("On the held-out part, the change would have {worth}.");
        }
        let what = match self.goal {
            SearchGoal::Settings => "the best settings",
            SearchGoal::Policy => "nothing learned is better than what you have, as the best weights",
        };
        format!(
            "Nothing is proposed: {what} of the part that was searched on would have {worth} on the held-out part. They fit that part and not \
             the load; a longer history would tell more."
        )
    }

    /// What is to be distrusted, each as a sentence.
    pub fn notes(&self) -> Vec<String> {
        let hours = self.extent.ticks as f64 * self.service.tick.as_secs_f64() / 3600.0;
        let mut notes = Vec::new();
        if hours < HISTORY_SHORT {
            notes.push(format!(
                "{:.1} days are a short history: settings that fit them may not fit the next; two weeks show a week twice",
                hours / 24.0
            ));
        }
        notes.extend(repairs(self.extent.repairs));
        notes
    }
}

/// What a change is worth, to go on with "would have".
fn worth(before: &Score, after: &Score, measure: Measure) -> String {
    let part = |score: &Score| match score.violated_requests_percent() {
        0.0 => "no request".to_owned(),
        percent => format!("{} of the requests", share(percent)),
    };
    let violated = match (before.violated_requests_percent(), after.violated_requests_percent()) {
        (0.0, 0.0) => "kept the promise to all as before".to_owned(),
        _ => format!("broken the promise for {} instead of {}", part(after), part(before)),
    };
    let hours = 100.0 * (after.replica_hours() / before.replica_hours().max(f64::MIN_POSITIVE) - 1.0);
    let way = if hours > 0.0 { "more" } else { "fewer" };
    let money = measure.price.map_or(String::new(), |price| {
        format!(" ({:+.2} in money)", price * (after.replica_hours() - before.replica_hours()))
    });
    format!(
        "{violated}, with {:.1} % {way} replica-hours{money} and {} changes of size instead of {}",
        hours.abs(),
        after.actions,
        before.actions
    )
}

/// The part of what the promise allows to be broken that the search may use: settings that need all of it on one part break the promise on the next.
const BUDGET_SEARCHED: f64 = 0.5;

/// How much better settings must be to be worth a change: a hundredth. Less is no more than chance, and every change is read by somebody.
const WORTH: f64 = 0.01;

/// How much worse than the best settings may be that turn a knob less.
const WORTH_A_KNOB: f64 = 0.002;

/// What settings cost: replica-hours, as many times as they break what the promise allows to be broken.
///
/// So the cheapest that keep the promise are best, and among those that do not, breaking it half as often is worth twice as many replicas and
/// no more: a load that nobody can keep up with is no reason to pay anything.
#[derive(Clone, Copy, Debug)]
struct Cost {
    weighed: f64,
    actions: u64,
}

impl Cost {
    fn of(score: &Score, measure: Measure) -> Self {
        let overspent = score.budget_used(measure.promise).map_or_else(
            // A promise without a budget is broken by anything.
            || 1.0 + score.violated_requests_percent(),
            |used| used.max(1.0),
        );
        Self { weighed: score.replica_hours() * overspent, actions: score.actions }
    }

    fn is_better_by(self, part: f64, other: Self) -> bool {
        self.weighed < other.weighed * (1.0 - part)
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

/// Searches for better settings of the service `name` among `resources` over `recording`.
///
/// Settings are proposed only if they are also better on the held-out part, on which only the best of all settings is tried.
pub fn tune(
    recording: &Recording,
    (setting, measure): (&Setting, Measure),
    (resources, name): (&[Resource], &str),
    tuning: Tuning,
    progress: &mut dyn FnMut(Progress),
) -> Result<TuningResult, StudyError> {
    let bench = Bench::new(recording, setting, measure, (resources, name), tuning, progress)?;
    let careful = careful(measure);
    let SearchResult { best, fields, runs } = match tuning.goal {
        SearchGoal::Settings => bench.best_settings(careful, tuning, progress),
        SearchGoal::Policy => bench.best_policy(careful, tuning, progress)?,
    };
    let before = bench.parts(resources);
    let after = best.map(|resources| (bench.parts(&resources), resources));
    let after = after.filter(|(parts, _)| is_better(&parts.searched, &before.searched, measure));
    let is_upheld = |parts: &Parts| is_better(&parts.held_out, &before.held_out, measure);
    let resources =
        after.as_ref().filter(|(parts, _)| is_upheld(parts)).map(|(_, resources)| resources.clone());
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

/// A policy that was learned on the first part of a recording.
pub(crate) struct LearnedPolicy {
    /// The first tick that is held out, and when that begins.
    pub(crate) split: (u64, Timestamp),
    /// `None` when nothing was better than SLO-first on the first part.
    pub(crate) learned: Option<LearnedPrice>,
}

/// How a policy is learned that is only to be compared: two thirds of the load, and a search that takes a minute for weeks of it.
const LESSON: Tuning = Tuning { goal: SearchGoal::Policy, runs_max: 200, seed: 0, searched: 2.0 / 3.0 };

/// Learns on the first two thirds of `recording`, for a service that promises what `setting` does.
pub(crate) fn learned_policy(
    recording: &Recording,
    setting: &Setting,
    progress: &mut dyn FnMut(Progress),
) -> Result<LearnedPolicy, StudyError> {
    let measure = Measure { promise: setting.promise, price: None };
    let service = promising(setting.bounds, setting.promise, None);
    let tuning = Tuning { seed: setting.seed, ..LESSON };
    let on = (std::slice::from_ref(&service), PROMISING);
    let bench = Bench::new(recording, setting, measure, on, tuning, progress)?;
    let mut best = bench.best_policy(careful(measure), tuning, progress)?.best.unwrap_or_default();
    let learned = best.iter_mut().find_map(policy::promise_of).and_then(|slo| slo.learned);
    Ok(LearnedPolicy { split: (bench.split as u64, bench.split_at()), learned })
}

/// The promise that is searched for.
fn careful(measure: Measure) -> Measure {
    Measure { promise: 1.0 - BUDGET_SEARCHED * (1.0 - measure.promise), ..measure }
}

/// Whether it costs less by what is worth a change, and does not break the promise for more than before where it is broken.
fn is_better(after: &Score, before: &Score, measure: Measure) -> bool {
    let violated = |score: &Score| score.violated_requests_percent();
    let allowed = 100.0 * (1.0 - measure.promise);
    Cost::of(after, measure).is_better_by(WORTH, Cost::of(before, measure))
        && violated(after) <= violated(before).max(allowed)
}

/// What a search found.
struct SearchResult {
    /// The resources with it; `None` when nothing is better than what there is.
    best: Option<Vec<Resource>>,
    /// Fields that could be turned.
    fields: usize,
    runs: u32,
}

/// Turns back each field that is not worth it.
fn plainest<T: Clone + PartialEq>(
    best: Vec<T>,
    present: &[T],
    cost: &mut dyn FnMut(&Vec<T>) -> Option<Cost>,
) -> (Vec<T>, u32) {
    let turned: Vec<usize> = (0..best.len()).filter(|field| best[*field] != present[*field]).collect();
    let Some(least) = cost(&best).filter(|_| !turned.is_empty()) else { return (best, 1) };
    let (mut plain, mut runs) = (best, 1);
    for field in turned {
        let mut back = plain.clone();
        back[field] = present[field].clone();
        runs += 1;
        let is_as_good = cost(&back).is_some_and(|cost| cost.weighed <= least.weighed * (1.0 + WORTH_A_KNOB));
        if is_as_good {
            plain = back;
        }
    }
    (plain, runs)
}

/// What settings are tried on.
struct Bench<'a> {
    setting: &'a Setting,
    service: Service,
    demands: fluid::policy::constant::Demands,
    extent: Extent,
    loads: Vec<f64>,
    /// The first tick that is held out.
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
        debug_assert!(setting.promise == measure.promise, "policies and people mean the same promise");
        let (service, demands, extent) = survey(recording, setting, progress)?;
        if extent.ticks > TICKS_SORTED_MAX {
            return Err(StudyError::TooLong { name: recording.name.clone() });
        }
        let mut loads = Vec::with_capacity(usize::try_from(extent.ticks).unwrap_or(0));
        recording.each_tick(setting.tick, setting.arrivals(), &mut |load| {
            if (loads.len() as u64).is_multiple_of(PROGRESS_EACH) {
                progress(Progress::Reading(loads.len() as u64));
            }
            loads.push(load);
        })?;
        let split = (loads.len() as f64 * tuning.searched.clamp(0.0, 1.0)) as usize;
        Ok(Self { setting, service, demands, extent, split, loads, resources, name })
    }

    /// The settings that do best on the part that is searched on.
    fn best_settings(
        &self,
        measure: Measure,
        tuning: Tuning,
        progress: &mut dyn FnMut(Progress),
    ) -> SearchResult {
        let knobs: Vec<(usize, Knob)> = self.knobs();
        let lens: Vec<usize> = knobs.iter().map(|(_, knob)| knob.len()).collect();
        let present: Point = knobs.iter().map(|(_, knob)| knob.present()).collect();
        let mut tried = 0;
        let mut cost = |point: &Point| {
            progress(Progress::Trying(tried, u64::from(tuning.runs_max)));
            tried += 1;
            let resources = self.turned(&knobs, point)?;
            Some(Cost::of(&self.searched(&resources), measure))
        };
        let (best, runs) = search(&lens, &present, (tuning.runs_max, tuning.seed), &mut cost);
        let (best, more) = plainest(best, &present, &mut cost);
        let turned = self.turned(&knobs, &best).filter(|_| best != present);
        SearchResult { best: turned, fields: knobs.len(), runs: runs + more }
    }

    /// The learned policy that does best on the part that is searched on, beginning at SLO-first.
    fn best_policy(
        &self,
        measure: Measure,
        tuning: Tuning,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<SearchResult, StudyError> {
        let Some(slo_first) = self.training(None) else {
            return Ok(SearchResult { best: None, fields: 0, runs: 0 });
        };
        let ranges = self.watched(&slo_first)?;
        let training = |weights: &[f64]| self.training(Some(ranges.policy(weights)?));
        let cost = |weights: &Vec<f64>| Some(Cost::of(&self.searched(&training(weights)?), measure));
        let mut tried = 0;
        let mut costs = |points: &[Vec<f64>]| {
            progress(Progress::Trying(tried, u64::from(tuning.runs_max)));
            tried += points.len() as u64;
            side_by_side(points, &cost)
        };
        let (best, runs) = evolve(WEIGHTS, (tuning.runs_max, tuning.seed), &mut costs);
        let unlearned = [0.0; WEIGHTS];
        let (best, more) = plainest(best, &unlearned, &mut |weights| cost(weights));
        let best = if best == unlearned { Some(slo_first) } else { training(&best) };
        let best = best.filter(|resources| resources != self.resources);
        Ok(SearchResult { best, fields: WEIGHTS, runs: runs + more })
    }

    /// The resources with this learned policy; `None` where the service is not sized by what it promises.
    fn training(&self, learned: Option<LearnedPrice>) -> Option<Vec<Resource>> {
        let mut resources = self.resources.to_vec();
        let is_meant = |resource: &&mut Resource| resource.name() == self.name;
        let slo = resources.iter_mut().filter(is_meant).find_map(policy::promise_of)?;
        slo.learned = learned;
        Some(resources)
    }

    /// What is seen of the load while `resources` decide on the part that is searched on.
    fn watched(&self, resources: &[Resource]) -> Result<Ranges, StudyError> {
        let declared = declared(resources, Some(self.name)).expect("it was looked at before");
        let seen = Rc::new(RefCell::new(Ranges::default()));
        let policy = Candidate::declaration(&Arc::new(declared), self.service.tick);
        let mut run = self.begin(FeatureRecorder { policy, seen: Rc::clone(&seen) });
        self.loads[..self.split].iter().for_each(|load| run.offer(*load));
        run.finish();
        Ok(seen.take())
    }

    /// What can be turned, with the place of its resource: of the autoscaler that decides.
    fn knobs(&self) -> Vec<(usize, Knob)> {
        let is_meant = |resource: &Resource| match resource {
            Resource::Service(service) => service.name().as_str() == self.name,
            Resource::HorizontalPodAutoscaler(hpa) => {
                hpa.autoscaler().is_ok_and(|spec| spec.service.as_str() == self.name)
            }
            Resource::Route(_) | Resource::MetricSource(_) => false,
        };
        let meant = self.resources.iter().enumerate().filter(|(_, resource)| is_meant(resource));
        meant
            .flat_map(|(place, resource)| {
                knobs_of(resource, self.service.capacity).into_iter().map(move |knob| (place, knob))
            })
            .collect()
    }

    /// The resources with the knobs turned; `None` when that makes something that cannot be applied.
    fn turned(&self, knobs: &[(usize, Knob)], point: &Point) -> Option<Vec<Resource>> {
        let mut manifests: Vec<Value> = self.resources.iter().map(written).collect();
        for ((resource, knob), place) in knobs.iter().zip(point) {
            knob.turn(&mut manifests[*resource], *place);
        }
        let resources: Result<Vec<Resource>, _> = manifests.into_iter().map(serde_json::from_value).collect();
        let resources = resources.ok()?;
        declared(&resources, Some(self.name)).is_ok().then_some(resources)
    }

    /// How they do on the part that is searched on.
    fn searched(&self, resources: &[Resource]) -> Score {
        let mut run = self.run(resources);
        self.loads[..self.split].iter().for_each(|load| run.offer(*load));
        run.finish().score
    }

    /// How they do on both parts.
    fn parts(&self, resources: &[Resource]) -> Parts {
        let mut searched = self.run(resources);
        self.loads[..self.split].iter().for_each(|load| searched.offer(*load));
        let mut whole = self.run(resources).scored_from(self.split as u64);
        self.loads.iter().for_each(|load| whole.offer(*load));
        Parts { searched: searched.finish().score, held_out: whole.finish().score }
    }

    fn run(&self, resources: &[Resource]) -> Run {
        let declared = declared(resources, Some(self.name)).expect("it was looked at before");
        let on = PolicyContext {
            service: &self.service,
            demands: &self.demands,
            promise: self.setting.promise,
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

/// What each of `points` costs, by as many threads as there are processors; in their order.
fn side_by_side<C: Send>(points: &[Vec<f64>], cost: &(impl Fn(&Vec<f64>) -> C + Sync)) -> Vec<C> {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let share = points.len().div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        let costs = |points: &[Vec<f64>]| points.iter().map(cost).collect::<Vec<C>>();
        let workers: Vec<_> = points.chunks(share).map(|points| scope.spawn(move || costs(points))).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a run does not fail")).collect()
    })
}
