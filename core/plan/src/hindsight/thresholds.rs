//! Thresholds that never fired: floors of schedules, steps, and low watermarks.

use std::time::Duration;

use model::resource::{AutoscalerSpec, Count, Quantity, ScalePolicy, ScaleStep, Schedule, Window};
use model::time::Wall;

use super::{Advice, DecisionRun, Kind, Remedy, View, Worth, between, most};
use crate::scale::policy_input::target_of;
use crate::scale::stabilize::Direction;
use crate::scale::step::{applied, side};

/// The least past in which a step must have been taken: steps are for rare loads.
const STEPS_LOOKED_AT_MIN: Duration = Duration::from_hours(7 * 24);

/// The fewest windows of a schedule that are judged.
const WINDOWS_MIN: usize = 3;

/// The most windows that are judged: one for each hour of 30 days and a half. A schedule with more is not judged.
const WINDOWS_MAX: usize = 732;

impl View<'_> {
    /// The floor of a schedule that was too high for anything that was asked for, or never above that.
    pub(super) fn idle_floors(&self) -> Option<Advice> {
        let Count::Auto(auto) = &self.spec.scale.count else { return None };
        let mut floors =
            self.spec.scale.schedule.iter().enumerate().filter_map(|(i, it)| Some((i, it, it.min?)));
        let (index, schedule, floor) = floors.next()?;
        // Of several schedules the highest floor holds, and which of them set a number is not known.
        if floors.next().is_some() || floor <= auto.min {
            return None;
        }
        let windows = self.windows(schedule).filter(|windows| windows.len() >= WINDOWS_MIN)?;
        // When a floor begins to hold, it is followed without asking any metric.
        let is_within =
            |run: &&DecisionRun| !run.asked.is_empty() && windows.iter().any(|window| overlaps(run, *window));
        let within: Vec<&DecisionRun> = self.past.iter().filter(is_within).collect();
        let asked = within.iter().map(|it| most(it)).collect::<Option<Vec<u32>>>()?.into_iter().max()?;
        let least =
            within.iter().map(|it| it.asked_least).collect::<Option<Vec<u32>>>()?.into_iter().min()?;
        let times = windows.len();
        if asked < floor {
            let to = asked.max(auto.min);
            let held: Duration = windows.iter().map(|window| between(window.from, window.until)).sum();
            let hours = held.as_secs_f64() / 3600.0;
            return Some(Advice {
                kind: Kind::ScheduleOverAsked,
                note: format!(
                    "its schedule {} kept {floor} replicas {times} times, while its metrics never asked for more than {asked}",
                    index + 1
                ),
                worth: Worth::SparedReplicaHours(f64::from(floor - to) * hours),
                remedy: Remedy::ScheduleMin(index, (to > auto.min).then_some(to)),
            });
        }
        (least >= floor).then(|| Advice {
            kind: Kind::ScheduleNeverDecided,
            note: format!(
                "its schedule {} kept {floor} replicas {times} times, while its metrics always asked for at least as many",
                index + 1
            ),
            worth: Worth::Uncounted,
            remedy: Remedy::ScheduleMin(index, None),
        })
    }

    /// The windows of a schedule that lie wholly in the time that was looked at, the last one first; `None` for too many.
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

    /// Steps that were never taken while others of their side were: the outermost of each side.
    pub(super) fn idle_steps(&self) -> Vec<Advice> {
        let Count::Auto(auto) = &self.spec.scale.count else { return Vec::new() };
        let ScalePolicy::Step(policy) = &auto.policy else { return Vec::new() };
        if self.looked_at() < STEPS_LOOKED_AT_MIN {
            return Vec::new();
        }
        let idle = |direction: Direction| {
            let steps = side(policy, direction);
            let (outermost, which) = match direction {
                Direction::Out => (steps.len().checked_sub(1)?, "highest"),
                Direction::In => (0, "lowest"),
            };
            let moves: Vec<&DecisionRun> = self.past.iter().filter(|it| is_move(it, direction)).collect();
            let came_of =
                |it: &DecisionRun, step: usize| applied(policy, direction, step, it.previous) == it.desired;
            let is_clear = |it: &&DecisionRun| (0..steps.len()).any(|step| came_of(it, step));
            let is_idle = steps.len() > 1
                && !moves.is_empty()
                && moves.iter().all(is_clear)
                && !moves.iter().any(|it| came_of(it, outermost));
            is_idle.then(|| Advice {
                kind: Kind::StepNeverTaken,
                note: format!(
                    "of the {} steps that {} replicas, the {which} was never taken; the others were taken {} times",
                    steps.len(),
                    if direction == Direction::Out { "add" } else { "remove" },
                    moves.len()
                ),
                worth: Worth::Uncounted,
                remedy: Remedy::WithoutStep(direction),
            })
        };
        [Direction::Out, Direction::In].into_iter().filter_map(idle).collect()
    }

    /// A low watermark that was never reached although the load fell below half of the high one, where one of two replicas could have gone.
    pub(super) fn idle_low(&self, auto: &AutoscalerSpec) -> Option<Advice> {
        let ScalePolicy::Watermarks(policy) = &auto.policy else { return None };
        let place = auto.policy.only_metric(&auto.metrics)?;
        let metric = auto.metrics.get(place)?;
        let target = target_of(metric).0 as f64;
        let (low, high) = (policy.low.milli() as f64, policy.high.milli() as f64);
        let advised = high / 2.0;
        if self.looked_at() < STEPS_LOOKED_AT_MIN || advised <= low {
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
        let would_do = |carried: f64, each: f64| ((carried / each).ceil() as u32).max(auto.min);
        let fewer = measured
            .iter()
            .filter(|(_, (least, _))| *least < advised)
            .map(|(run, (least, _))| (would_do(least * f64::from(run.desired), high), run.desired));
        let (few, had) = fewer.filter(|(few, had)| few < had).min()?;
        // It removes as many as bring the load up to it; of one that went up and down, for how long it was low is not known.
        let spared = measured.iter().map(|(run, (_, most))| {
            let left = would_do(most * f64::from(run.desired), advised);
            f64::from(run.desired.saturating_sub(left)) * self.hours(run)
        });
        let spared: f64 = spared.sum();
        Some(Advice {
            kind: Kind::LowNeverReached,
            note: format!(
                "{} was never below the low watermark, although {few} of {had} replicas could at times have carried the load below the high one",
                metric.name()
            ),
            worth: if spared > 0.0 { Worth::SparedReplicaHours(spared) } else { Worth::Uncounted },
            remedy: Remedy::LowWatermark(Quantity::from_milli(policy.high.milli() / 2)),
        })
    }
}

/// Sets the low watermark.
pub(super) fn set_low(policy: &mut ScalePolicy, low: Quantity) {
    if let ScalePolicy::Watermarks(policy) = policy {
        policy.low = low;
    }
}

fn is_move(run: &DecisionRun, direction: Direction) -> bool {
    match direction {
        Direction::Out => run.desired > run.previous,
        Direction::In => run.desired < run.previous,
    }
}

/// Whether a run of decisions went on within a window.
fn overlaps(run: &DecisionRun, window: Window) -> bool {
    run.from < window.until && run.to > window.from
}

/// Sets the floor of a schedule; a schedule that then sets nothing is removed.
pub(super) fn set_floor(schedule: &mut Vec<Schedule>, index: usize, min: Option<u32>) {
    let Some(meant) = schedule.get_mut(index) else { return };
    meant.min = min;
    if meant.min.is_none() && meant.max.is_none() {
        schedule.remove(index);
    }
}

/// Removes the outermost step of a side, whose range goes to its neighbour.
pub(super) fn remove_step(policy: &mut ScalePolicy, direction: Direction) {
    let ScalePolicy::Step(policy) = policy else { return };
    let steps: &mut Vec<ScaleStep> = match direction {
        Direction::Out => &mut policy.above,
        Direction::In => &mut policy.below,
    };
    if steps.len() < 2 {
        return;
    }
    match direction {
        Direction::Out => {
            steps.pop();
            steps.iter_mut().last().into_iter().for_each(|step| step.to = None);
        }
        Direction::In => {
            steps.remove(0);
            steps.first_mut().into_iter().for_each(|step| step.from = None);
        }
    }
}
