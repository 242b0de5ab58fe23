//! A second implementation of the algorithm, written from its description and not from the code, for comparison on random worlds.
//!
//! It is as simple as possible: maps by replica, iteration over every list, no stored sums, and a log of recommendations with
//! Kubernetes' own slots, without merging.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::resource::{
    AutoscalerSpec, MeteredResource, MetricSpec, PolicyChange, ResourceTarget, ScalingRules, SelectPolicy,
    TotalTarget,
};
use model::settings::HpaSettings;
use model::time::Time;
use plan::scale::reading::{MetricReading, Phase, ReplicaView, Requests, Samples};

/// The state of the oracle.
#[derive(Default, Debug)]
pub(crate) struct Oracle {
    recommendations: Option<Vec<(Time, u32)>>,
    added: Vec<(Time, u32)>,
    removed: Vec<(Time, u32)>,
    emptied: bool,
    /// Since when each metric has been missing, by its position.
    silent: BTreeMap<usize, Time>,
}

/// The input of a decision.
pub(crate) struct Question<'a> {
    pub(crate) now: Time,
    pub(crate) spec: &'a AutoscalerSpec,
    pub(crate) current: u32,
    pub(crate) status: u32,
    pub(crate) replicas: &'a [ReplicaView],
    pub(crate) readings: &'a [MetricReading<'a>],
    pub(crate) settings: &'a HpaSettings,
}

impl Oracle {
    pub(crate) fn decide(&mut self, q: &Question<'_>) -> u32 {
        self.recommendations.get_or_insert_with(|| vec![(q.now, q.current)]);
        let (min, max, current) = (q.spec.min, q.spec.max, q.current);
        if current == 0 && min != 0 && !self.emptied {
            return current;
        }
        if current > max {
            return max;
        }
        if current < min {
            return min;
        }
        let proposals: Vec<Option<u32>> = q
            .spec
            .metrics
            .iter()
            .zip(q.readings)
            .enumerate()
            .map(|(at, (metric, reading))| {
                let fallback = fallback(&mut self.silent, (q.now, at), metric, reading);
                propose(q, metric, reading).or(fallback)
            })
            .collect();
        let log = self.recommendations.as_mut().expect("it was begun above");
        let Some(proposal) = proposals.iter().flatten().copied().max() else { return current };
        if proposals.contains(&None) && proposal < current {
            return current;
        }
        let Some(behavior) = &q.spec.behavior else {
            let window = q.settings.downscale_stabilization;
            let stable = log
                .iter()
                .filter(|(at, _)| q.now.since(*at) <= window)
                .map(|(_, n)| *n)
                .chain([proposal])
                .max()
                .expect("the proposal at least");
            write_slot(log, q.now, proposal, window);
            let cap = (2 * current).max(4);
            return if stable < min { min } else { stable.min(cap.min(max)) };
        };
        let (up, down) = (&behavior.scale_up, &behavior.scale_down);
        let ready_for_s = |window: Duration| {
            log.iter().filter(move |(at, _)| q.now.since(*at) < window).map(|(_, n)| *n).chain([proposal])
        };
        let least = ready_for_s(up.stabilization).min().expect("the proposal at least");
        let most = ready_for_s(down.stabilization).max().expect("the proposal at least");
        let mut stable = current;
        if stable < least {
            stable = least;
        }
        if stable > most {
            stable = most;
        }
        write_slot(log, q.now, proposal, up.stabilization.max(down.stabilization));
        if stable > current {
            let limit = self.limit(q, up, true).max(i64::from(current));
            i64::from(stable).min(limit).min(i64::from(max)) as u32
        } else if stable < current {
            let limit = self.limit(q, down, false).min(i64::from(current));
            i64::from(stable).max(limit).max(i64::from(min)) as u32
        } else {
            current
        }
    }

    pub(crate) fn rescaled(&mut self, now: Time, from: u32, to: u32, spec: &AutoscalerSpec) {
        self.emptied = to == 0;
        if let Some(behavior) = &spec.behavior {
            let (list, rules) = match to > from {
                true => (&mut self.added, &behavior.scale_up),
                false => (&mut self.removed, &behavior.scale_down),
            };
            let longest = rules.policies.iter().map(|policy| policy.period).max().expect("one at least");
            write_slot(list, now, to.abs_diff(from), longest);
        }
    }

    fn limit(&self, q: &Question<'_>, rules: &ScalingRules, is_up: bool) -> i64 {
        let sum = |list: &[(Time, u32)], period: Duration| -> i64 {
            list.iter().filter(|(at, _)| q.now.since(*at) < period).map(|(_, n)| i64::from(*n)).sum()
        };
        let allowed = rules.policies.iter().map(|policy| {
            let start =
                i64::from(q.current) - sum(&self.added, policy.period) + sum(&self.removed, policy.period);
            match (policy.change, is_up) {
                (PolicyChange::Pods(n), true) => start + i64::from(n),
                (PolicyChange::Pods(n), false) => start - i64::from(n),
                (PolicyChange::Percent(p), true) => {
                    (start as f64 * (1.0 + f64::from(p.0) / 100.0)).ceil() as i64
                }
                (PolicyChange::Percent(p), false) => {
                    (start as f64 * (1.0 - f64::from(p.0) / 100.0)).trunc() as i64
                }
            }
        });
        match (rules.select, is_up) {
            (SelectPolicy::Disabled, _) => i64::from(q.current),
            (SelectPolicy::Max, true) | (SelectPolicy::Min, false) => allowed.max().expect("one at least"),
            (SelectPolicy::Min, true) | (SelectPolicy::Max, false) => allowed.min().expect("one at least"),
        }
    }
}

/// The last slot that is older than the window, else a new one.
///
/// For changes of the number the window is the longest period of their own direction's policies. Both directions use both lists,
/// so a change may be forgotten while a policy of the other direction, with a longer period, would still count it:
/// Kubernetes forgets it, and so does Homeostat.
fn write_slot(log: &mut Vec<(Time, u32)>, now: Time, number: u32, window: Duration) {
    match log.iter().rposition(|(at, _)| now.since(*at) > window) {
        Some(slot) => log[slot] = (now, number),
        None => log.push((now, number)),
    }
}

fn propose(q: &Question<'_>, metric: &MetricSpec, reading: &MetricReading<'_>) -> Option<u32> {
    match (metric, reading) {
        (
            MetricSpec::Resource { resource, target }
            | MetricSpec::ContainerResource { resource, target, .. },
            MetricReading::Each(samples),
        ) => {
            let is_cpu = *resource == MeteredResource::Cpu;
            match target {
                ResourceTarget::Utilization(percent) => {
                    let requests: BTreeMap<usize, i64> = match samples.requests {
                        Requests::Same(milli) => (0..q.replicas.len()).map(|at| (at, milli.0)).collect(),
                        Requests::Each(each) => each.iter().map(|milli| milli.0).enumerate().collect(),
                        Requests::Unset | Requests::Unknown(_) => return None,
                    };
                    each(q, samples, is_cpu, f64::from(percent.0), Some(&requests))
                }
                ResourceTarget::Average(average) => each(q, samples, is_cpu, average.milli() as f64, None),
            }
        }
        (MetricSpec::Pods { average, .. }, MetricReading::Each(samples)) => {
            each(q, samples, false, average.milli() as f64, None)
        }
        (
            MetricSpec::Object { target, .. } | MetricSpec::External { target, .. },
            MetricReading::Series(series),
        ) if !series.is_empty() => {
            let total = series.iter().map(|value| value.0).sum::<i64>() as f64;
            totals(q, *target, total)
        }
        _ => None,
    }
}

/// KEP-5679: the declared number, for a metric that has been missing without interruption for the declared time.
fn fallback(
    silent: &mut BTreeMap<usize, Time>,
    (now, at): (Time, usize),
    metric: &MetricSpec,
    reading: &MetricReading<'_>,
) -> Option<u32> {
    let MetricSpec::External { fallback: Some(fallback), .. } = metric else { return None };
    if !matches!(reading, MetricReading::Unavailable(_) | MetricReading::Series([])) {
        silent.remove(&at);
        return None;
    }
    let since = *silent.entry(at).or_insert(now);
    (now.since(since) >= fallback.after).then_some(fallback.replicas)
}

fn totals(q: &Question<'_>, target: TotalTarget, total: f64) -> Option<u32> {
    match target {
        TotalTarget::Value(value) => {
            let ratio = total / value.milli() as f64;
            if q.current == 0 {
                Some(ratio.ceil().max(0.0) as u32)
            } else if tolerated(q, ratio) {
                Some(q.current)
            } else if q.replicas.is_empty() {
                None
            } else {
                let serving = q.replicas.iter().filter(|replica| {
                    replica.phase == Phase::Running && replica.readiness.is_some_and(|r| r.ready)
                });
                Some((ratio * serving.count() as f64).ceil().max(0.0) as u32)
            }
        }
        TotalTarget::Average(value) => {
            let ratio = total / (value.milli() as f64 * f64::from(q.status));
            if tolerated(q, ratio) {
                Some(q.status)
            } else {
                Some((total / value.milli() as f64).ceil().max(0.0) as u32)
            }
        }
    }
}

/// A metric of each replica: a share of `requests`, or an amount without them.
fn each(
    q: &Question<'_>,
    samples: &Samples<'_>,
    is_cpu: bool,
    target: f64,
    requests: Option<&BTreeMap<usize, i64>>,
) -> Option<u32> {
    let mut used: BTreeMap<usize, i64> = BTreeMap::new();
    let (mut unready, mut missing) = (BTreeSet::new(), BTreeSet::new());
    for (at, replica) in q.replicas.iter().enumerate() {
        let sample = samples.by_replica.get(at).and_then(|sample| sample.as_ref().ok());
        if replica.leaving || replica.phase == Phase::Failed {
            continue;
        }
        match sample {
            _ if replica.phase == Phase::Pending => {
                unready.insert(at);
            }
            None => {
                missing.insert(at);
            }
            Some(sample) if is_cpu && !has_settled(q, replica, sample.at, sample.window) => {
                unready.insert(at);
            }
            Some(sample) => {
                used.insert(at, sample.value.0);
            }
        }
    }
    if used.is_empty() {
        return None;
    }
    let ready_count = used.len() as f64;
    let ratio = mean_ratio(&used, target, requests)?;
    let with_unready = !unready.is_empty() && ratio > 1.0;
    if !with_unready && missing.is_empty() {
        let asked = (ratio * ready_count).ceil() as u32;
        return Some(if tolerated(q, ratio) { q.current } else { asked });
    }
    for at in missing {
        if ratio < 1.0 {
            let assumed = match requests {
                Some(requests) => requests.get(&at).copied().unwrap_or(0) * (target as i64).max(100) / 100,
                None => target as i64,
            };
            used.insert(at, assumed);
        } else if ratio > 1.0 {
            used.insert(at, 0);
        }
    }
    if with_unready {
        used.extend(unready.into_iter().map(|at| (at, 0)));
    }
    let again = mean_ratio(&used, target, requests)?;
    let asked = (again * used.len() as f64).ceil() as u32;
    let turned = (ratio < 1.0 && again > 1.0) || (ratio > 1.0 && again < 1.0);
    let against = (again < 1.0 && asked > q.current) || (again > 1.0 && asked < q.current);
    Some(if tolerated(q, again) || turned || against { q.current } else { asked })
}

fn mean_ratio(
    used: &BTreeMap<usize, i64>,
    target: f64,
    requests: Option<&BTreeMap<usize, i64>>,
) -> Option<f64> {
    let sum: i64 = used.values().sum();
    match requests {
        None => Some((sum / used.len() as i64) as f64 / target),
        Some(requests) => {
            let asked: i64 = used.keys().map(|at| requests.get(at).copied().unwrap_or(0)).sum();
            (asked != 0).then(|| (sum * 100 / asked) as f64 / target)
        }
    }
}

fn has_settled(q: &Question<'_>, replica: &ReplicaView, sampled: Time, window: Duration) -> bool {
    let (Some(started), Some(readiness)) = (replica.started, replica.readiness) else { return false };
    if q.now < started + q.settings.cpu_initialization_period {
        readiness.ready && sampled >= readiness.since + window
    } else {
        let never_was = readiness.since < started + q.settings.initial_readiness_delay;
        readiness.ready || !never_was
    }
}

fn tolerated(q: &Question<'_>, ratio: f64) -> bool {
    let part = |rules: Option<&ScalingRules>| {
        rules.and_then(|r| r.tolerance).map_or(q.settings.tolerance, |t| t.milli() as f64 / 1000.0)
    };
    let behavior = q.spec.behavior.as_ref();
    let up = part(behavior.map(|b| &b.scale_up));
    let down = part(behavior.map(|b| &b.scale_down));
    (1.0 - down..=1.0 + up).contains(&ratio)
}
