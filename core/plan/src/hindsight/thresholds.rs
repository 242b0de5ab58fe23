//! Thresholds that never fired: floors of schedules, steps, and low watermarks.

use std::time::Duration;

use model::resource::{AutoscalerSpec, Count, Quantity, ScalePolicy, Schedule, Window};
use model::time::Wall;

use super::{Advice, Benefit, DecisionRun, History, Kind, Remedy, between, highest_proposal};
use crate::scale::policy_input::target_of;
use crate::scale::stabilize::Direction;
use crate::scale::step::{replicas_after, steps_of};

/// The shortest history in which a step must have been taken: steps are for rare loads.
const STEPS_HISTORY_MIN: Duration = Duration::from_hours(7 * 24);

/// The fewest windows of a schedule that advice is based on.
const WINDOWS_MIN: usize = 3;

/// The most windows of a schedule: one for each hour of 30 days and a half. There is no advice on a schedule with more.
const WINDOWS_MAX: usize = 732;

impl History<'_> {
    /// Advice on the floor of a schedule: one above everything that the metrics proposed, or one that they always proposed anyway.
    pub(super) fn idle_floors(&self) -> Option<Advice> {
        let Count::Auto(auto) = &self.spec.scale.count else { return None };
        let mut floors = self
            .spec
            .scale
            .schedule
            .iter()
            .enumerate()
            .filter_map(|(i, schedule)| Some((i, schedule, schedule.min?)));
        let (index, schedule, floor) = floors.next()?;
        // With several schedules it is not known which of them set a number.
        if floors.next().is_some() || floor <= auto.min {
            return None;
        }
        let windows = self.windows(schedule).filter(|windows| windows.len() >= WINDOWS_MIN)?;
        // The decision that first follows a floor uses no metric.
        let is_within = |run: &&DecisionRun| {
            !run.proposals.is_empty() && windows.iter().any(|window| overlaps(run, *window))
        };
        let within: Vec<&DecisionRun> = self.past.iter().filter(is_within).collect();
        let highest = within
            .iter()
            .map(|run| highest_proposal(run))
            .collect::<Option<Vec<u32>>>()?
            .into_iter()
            .max()?;
        let lowest =
            within.iter().map(|run| run.lowest_proposal).collect::<Option<Vec<u32>>>()?.into_iter().min()?;
        let times = windows.len();
        if highest < floor {
            let to = highest.max(auto.min);
            let held: Duration = windows.iter().map(|window| between(window.from, window.until)).sum();
            let hours = held.as_secs_f64() / 3600.0;
            return Some(Advice {
                kind: Kind::ScheduleOverAsked,
                note: format!(
                    "its schedule {} kept {floor} replicas {times} times, while its metrics never asked for more than {highest}",
                    index + 1
                ),
                benefit: Benefit::SparedReplicaHours(f64::from(floor - to) * hours),
                remedy: Remedy::ScheduleMin(index, (to > auto.min).then_some(to)),
            });
        }
        (lowest >= floor).then(|| Advice {
            kind: Kind::ScheduleNeverDecided,
            note: format!(
                "its schedule {} kept {floor} replicas {times} times, while its metrics always asked for at least as many",
                index + 1
            ),
            benefit: Benefit::Unknown,
            remedy: Remedy::ScheduleMin(index, None),
        })
    }

    /// The windows of a schedule that lie wholly in the history, the last one first; `None` for too many.
    fn windows(&self, schedule: &Schedule) -> Option<Vec<Window>> {
        let first = self.past.iter().map(|run| run.from).min()?;
        let last = self.past.iter().map(|run| run.to).max()?;
        let mut windows = Vec::new();
        let mut at = last;
        while let Some(window) = schedule.last(at).filter(|window| window.from >= first) {
            if window.until <= last {
                windows.push(window);
            }
            at = Wall::from_millis(window.from.as_millis().checked_sub(1)?);
            if windows.len() > WINDOWS_MAX {
                return None;
            }
        }
        Some(windows)
    }

    /// Advises to remove the outermost step of a side that was never taken while others of its side were.
    pub(super) fn idle_steps(&self) -> Vec<Advice> {
        let Count::Auto(auto) = &self.spec.scale.count else { return Vec::new() };
        let ScalePolicy::Step(policy) = &auto.policy else { return Vec::new() };
        if self.span() < STEPS_HISTORY_MIN {
            return Vec::new();
        }
        let idle = |direction: Direction| {
            let steps = steps_of(policy, direction);
            let (outermost, which) = match direction {
                Direction::Out => (steps.len().checked_sub(1)?, "highest"),
                Direction::In => (0, "lowest"),
            };
            let moves: Vec<&DecisionRun> = self.past.iter().filter(|run| is_move(run, direction)).collect();
            let is_by_step = |run: &DecisionRun, step: usize| {
                replicas_after(policy, direction, step, run.previous) == run.desired
            };
            let is_clear = |run: &&DecisionRun| (0..steps.len()).any(|step| is_by_step(run, step));
            let is_idle = steps.len() > 1
                && !moves.is_empty()
                && moves.iter().all(is_clear)
                && !moves.iter().any(|run| is_by_step(run, outermost));
            is_idle.then(|| Advice {
                kind: Kind::StepNeverTaken,
                note: format!(
                    "of the {} steps that {} replicas, the {which} was never taken; the others were taken {} times",
                    steps.len(),
                    if direction == Direction::Out { "add" } else { "remove" },
                    moves.len()
                ),
                benefit: Benefit::Unknown,
                remedy: Remedy::WithoutStep(direction),
            })
        };
        [Direction::Out, Direction::In].into_iter().filter_map(idle).collect()
    }

    /// Advises a higher low watermark where the load fell below half of the high one, so that one of two replicas could have been removed,
    /// but never below the low one.
    pub(super) fn idle_low(&self, auto: &AutoscalerSpec) -> Option<Advice> {
        let ScalePolicy::Watermarks(policy) = &auto.policy else { return None };
        let place = auto.policy.only_metric(&auto.metrics)?;
        let metric = auto.metrics.get(place)?;
        let target = target_of(metric).0 as f64;
        let (low, high) = (policy.low.milli() as f64, policy.high.milli() as f64);
        let advised = high / 2.0;
        if self.span() < STEPS_HISTORY_MIN || advised <= low {
            return None;
        }
        let measured = self.past.iter().filter_map(|run| {
            let (least, most) = run.ratios.get(place).copied().flatten()?;
            Some((run, (least * target, most * target)))
        });
        let measured: Vec<_> = measured.collect();
        if measured.iter().any(|(run, (least, _))| *least < low || is_move(run, Direction::In)) {
            return None;
        }
        let needed = |carried: f64, each: f64| ((carried / each).ceil() as u32).max(auto.min);
        let fewer = measured
            .iter()
            .filter(|(_, (least, _))| *least < advised)
            .map(|(run, (least, _))| (needed(least * f64::from(run.desired), high), run.desired));
        let (enough, existing) = fewer.filter(|(enough, existing)| enough < existing).min()?;
        // A low watermark removes as many as bring the load up to it. Within a run it is not known for how long the load was low, so the highest
        // counts.
        let spared = measured.iter().map(|(run, (_, most))| {
            let left = needed(most * f64::from(run.desired), advised);
            f64::from(run.desired.saturating_sub(left)) * self.hours(run)
        });
        let spared: f64 = spared.sum();
        Some(Advice {
            kind: Kind::LowNeverReached,
            note: format!(
                "{} was never below the low watermark, although {enough} of {existing} replicas could at times have carried the load below the high one",
                metric.name()
            ),
            benefit: if spared > 0.0 { Benefit::SparedReplicaHours(spared) } else { Benefit::Unknown },
            remedy: Remedy::LowWatermark(Quantity::from_milli(policy.high.milli() / 2)),
        })
    }
}

fn is_move(run: &DecisionRun, direction: Direction) -> bool {
    match direction {
        Direction::Out => run.desired > run.previous,
        Direction::In => run.desired < run.previous,
    }
}

/// Whether a run of decisions overlaps a window.
fn overlaps(run: &DecisionRun, window: Window) -> bool {
    run.from < window.until && run.to > window.from
}
