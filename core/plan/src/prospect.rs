//! What would have to change for another outcome: found by deciding again on hypothetical inputs, without knowing the policy.
//!
//! A load that leads to another outcome is bracketed by doubling and found by bisection over the readings; a time is found by letting the
//! loop go on with the readings as they are. Each answer was decided on changed inputs, so it holds for every policy. Where more load can
//! lead to fewer replicas, an answer is one of the loads at which the outcome changes, not always the nearest.

use std::sync::Arc;
use std::time::Duration;

use model::decision::{AlternativeSize, Explanation, Limit, MetricLevel, Policy, Prospect, RequiredChange};
use model::quantity::Replicas;
use model::resource::ScaleMode;

use crate::expected_load::FORECAST;
use crate::explainable::{ExplainableDecision, SCHEDULED};
use crate::goal::Goal;
use crate::hypothetical::VariedLoad;
use crate::inputs::SizeInputs;
use crate::measured_metric::AS_MEASURED;
use crate::sizing::Outcome;

/// Decisions that are simulated one period apart; those after them are one [`STRIDE`] apart.
///
/// 600: ten minutes, at a period of a second, exactly as the loop will decide; most windows are shorter.
const STEPS: u32 = 600;

/// The time between two decisions after the first [`STEPS`]. An answer is at most this much too late, and never too late where a schedule
/// decides: whenever one begins or ends is a decision of its own.
const STRIDE: Duration = Duration::from_secs(15);

/// How far ahead is simulated: the longest window of a HorizontalPodAutoscaler's behavior.
const HORIZON: Duration = Duration::from_hours(1);

/// How far ahead is simulated for a service with schedules, and the time between two decisions after the first [`HORIZON`].
const DAY: Duration = Duration::from_hours(24);
const SCHEDULE_STRIDE: Duration = Duration::from_mins(5);

/// The largest load that is tried: 2³⁰ times the measured one.
const LOAD_MAX: u64 = AS_MEASURED << 30;

impl ExplainableDecision {
    /// What leads to other outcomes: time alone, more load, less load, or an intervention by a person or a request.
    pub(crate) fn all_prospects(&self) -> Vec<Prospect> {
        let decided = self.sizing.desired;
        let mut found: Vec<Prospect> = self.by_time(|desired| desired != decided).into_iter().collect();
        found.extend(self.by_intervention());
        if self.is_from_load() {
            let directions = [AlternativeSize::Larger]
                .into_iter()
                .chain((decided > 0).then_some(AlternativeSize::Smaller));
            for prospect in directions.map(|asked| self.prospect_for(Goal::new(asked, decided))) {
                if !found.contains(&prospect) {
                    found.push(prospect);
                }
            }
        }
        if found.is_empty() {
            found.push(self.independent_of_load());
        }
        found
    }

    /// The smallest change that leads to `goal`, or that none does.
    pub(crate) fn prospect_for(&self, goal: Goal) -> Prospect {
        let intervention = self.by_intervention().filter(|prospect| goal.is_met(prospect.desired));
        self.by_load(goal)
            .or(intervention)
            .or_else(|| self.by_time(|desired| goal.is_met(desired)).map(|prospect| goal.with_note(prospect)))
            .or_else(|| self.by_load_and_time(goal))
            .unwrap_or_else(|| self.unreachable(goal))
    }

    fn is_from_load(&self) -> bool {
        matches!(self.sizing.outcome, Outcome::Scaled { .. })
    }

    /// The first decision of the loop for which `is_met` holds, if nothing but the time changes.
    fn by_time(&self, is_met: impl Fn(u32) -> bool) -> Option<Prospect> {
        let decided = self.sizing.desired;
        let mut next = self.next();
        let paused = next.pause.filter(|_| next.hold.is_none()).and_then(|pause| pause.until);
        if let Some(until) = next.hold.and_then(|hold| hold.until).or(paused) {
            next.advance(until.since(next.now.time), decided, None);
        } else if !self.is_from_load() && next.declared.spec.scale.schedule.is_empty() {
            return None;
        }
        let after = run(next, is_met).met()?;
        let (desired, at) = (after.sizing.desired, after.inputs.now.wall);
        let (limits, lasting) = (self.decision().limits, after.decision().limits);
        let is_over = |limit: &&Limit| {
            !lasting.iter().any(|other| other.name == limit.name && other.note == limit.note)
        };
        let until: Vec<&str> = limits.iter().filter(is_over).map(|limit| &*limit.note).collect();
        let until =
            if until.is_empty() { String::new() } else { format!("; until then: {}", until.join(", ")) };
        let when = at.show(self.inputs.now.wall);
        let note = format!("at {when} if the load stays as it is: {}{until}", Replicas(desired));
        Some(Prospect {
            desired,
            requires: RequiredChange::Time,
            levels: Vec::new(),
            at: Some(at),
            note: note.into(),
        })
    }

    /// The outcome of an intervention by a person, or of a request.
    fn by_intervention(&self) -> Option<Prospect> {
        let (requires, inputs, change) = match &self.sizing.outcome {
            Outcome::Plain { policy: Policy::Hold, .. } => {
                (RequiredChange::Release, self.inputs.without_hold(), "once it is released")
            }
            Outcome::Plain { policy: Policy::Paused, .. } => {
                (RequiredChange::Release, self.inputs.without_pause(), "once it is resumed")
            }
            Outcome::Plain { policy: Policy::ToZero, .. } if self.sizing.desired == 0 => {
                (RequiredChange::Request, self.inputs.with_request(), "with the next request")
            }
            Outcome::Plain { policy: Policy::Off, .. } => {
                (RequiredChange::Mode, self.inputs.in_mode_on(), "in mode on")
            }
            Outcome::Scaled { .. } if self.inputs.declared.spec.scale.mode != ScaleMode::On => {
                (RequiredChange::Mode, self.inputs.in_mode_on(), "in mode on")
            }
            Outcome::Plain { .. } | Outcome::Scaled { .. } => return None,
        };
        let other = Self::of(inputs);
        let desired = other.sizing.desired;
        let note = format!("{change}: {} ({})", Replicas(desired), other.decision().summary);
        Some(Prospect { desired, requires, levels: Vec::new(), at: None, note: note.into() })
    }

    /// The nearest load that leads to `goal` at once.
    fn by_load(&self, goal: Goal) -> Option<Prospect> {
        let (varied, ppm) =
            self.variations().find_map(|varied| Some((varied, turning_load(&self.inputs, varied, goal)?)))?;
        let other = Self::of(self.inputs.at_load(varied, ppm));
        Some(self.with_load(&other, (varied, ppm), goal))
    }

    /// The nearest load that leads to `goal` once it has lasted long enough.
    fn by_load_and_time(&self, goal: Goal) -> Option<Prospect> {
        let next = self.next();
        let lasting = |varied, ppm| run(next.at_load(varied, ppm), |desired| goal.is_met(desired)).met();
        self.variations().find_map(|varied| {
            let extreme = lasting(varied, extreme_load(goal))?;
            // By then the outcome depends on the load alone. Each smaller change of load is then tried from the beginning.
            let by_then = extreme.inputs.now.time.since(next.now.time);
            let mut inputs = SizeInputs { observed: next.observed.clone(), ..extreme.inputs.clone() };
            inputs.observed.measured.iter_mut().for_each(|measured| measured.advance(by_then));
            inputs.observed.memory = extreme.inputs.observed.memory.clone();
            let near = turning_load(&inputs, varied, goal).and_then(|ppm| Some((lasting(varied, ppm)?, ppm)));
            // The memory of a policy at the most extreme load need not fit another one; then each load is simulated by itself.
            let near = near.or_else(|| turning_load_after(&next, (varied, by_then * 2), goal));
            let (other, ppm) = near.unwrap_or((extreme, extreme_load(goal)));
            Some(self.with_load(&other, (varied, ppm), goal))
        })
    }

    /// Each metric by itself, then all together.
    fn variations(&self) -> impl Iterator<Item = VariedLoad> + use<> {
        let metrics = if self.is_from_load() { self.inputs.observed.measured.len() } else { 0 };
        (0..metrics).map(VariedLoad::One).chain((metrics > 1).then_some(VariedLoad::All))
    }

    /// The inputs of the next decision, if nothing changes.
    fn next(&self) -> SizeInputs {
        let (sizing, memory) = self.inputs.decide();
        let mut inputs = self.inputs.clone();
        inputs.advance(inputs.period, sizing.desired, memory);
        inputs
    }

    /// The prospect of `other`, which was decided with that load.
    fn with_load(&self, other: &Self, (varied, ppm): (VariedLoad, u64), goal: Goal) -> Prospect {
        let (now, then) = (self.decision().metrics, other.decision());
        let named = |index: usize| {
            let metric = then.metrics.get(index)?;
            Some(MetricLevel { name: Arc::clone(&metric.name), level: Arc::clone(&metric.current) })
        };
        let levels: Vec<MetricLevel> = match varied {
            VariedLoad::One(index) => named(index).into_iter().collect(),
            VariedLoad::All => (0..then.metrics.len()).filter_map(named).collect(),
        };
        let each: Vec<String> =
            levels.iter().map(|MetricLevel { name, level }| format!("{name} at {level}")).collect();
        let load = match varied {
            VariedLoad::All => {
                let percent = ppm as f64 / (AS_MEASURED / 100) as f64;
                format!("all metrics at {percent:.0} % of what they are ({})", each.join(", "))
            }
            VariedLoad::One(index) => match now.get(index) {
                Some(metric) => format!("{} (now {})", each.join(", "), metric.current),
                None => each.join(", "),
            },
        };
        let at = (other.inputs.now != self.inputs.now).then_some(other.inputs.now.wall);
        let until = at.map(|at| format!(" until {}", at.show(self.inputs.now.wall))).unwrap_or_default();
        let desired = other.sizing.desired;
        let note = format!("with {load}{until}: {}", Replicas(desired));
        goal.with_note(Prospect { desired, requires: RequiredChange::Load, levels, at, note: note.into() })
    }

    /// The prospect of a goal that neither load nor time reaches; names the limit that prevents it at the most extreme load.
    fn unreachable(&self, goal: Goal) -> Prospect {
        // Only while decisions are one period apart: with longer gaps, a policy that evaluates windows would find them incomplete.
        let next = self.next();
        let lasting =
            run_for(next.period * STEPS, next.at_load(VariedLoad::All, extreme_load(goal)), |_| false);
        let (decision, inputs) = (lasting.end.decision(), &lasting.end.inputs);
        let (bounds, usual) = (inputs.effective_bounds.bounds, inputs.declared.usual_bounds());
        let usual_max = usual.max.min(inputs.replicas_max);
        let is_scheduled = if goal.is_out() { bounds.max < usual_max } else { bounds.min > usual.min };
        let is_obstacle = |limit: &&Limit| match limit.name {
            SCHEDULED => is_scheduled,
            FORECAST => limit.from != limit.to,
            _ => true, // tidy: open match: names of limits are texts
        };
        let last = decision.limits.iter().rfind(is_obstacle);
        let why = last.map_or(&decision.summary, |limit| &limit.note);
        let horizon = if inputs.declared.spec.scale.schedule.is_empty() { "hour" } else { "day" };
        let outcome = match goal.asked {
            AlternativeSize::Larger => "more replicas".to_owned(),
            AlternativeSize::Smaller => "fewer replicas".to_owned(),
            AlternativeSize::Exactly(wanted) => Replicas(wanted).to_string(),
        };
        // The forecast changes with each decision of the loop, but stays the same in hypothetical inputs.
        if last.is_some_and(|limit| limit.name == FORECAST) {
            return self
                .only_by_declaration(&format!("no load leads to {outcome} while this is forecast: {why}"));
        }
        self.only_by_declaration(&format!("no load within the next {horizon} leads to {outcome}: {why}"))
    }

    /// The prospect of a size that no measurement changes.
    fn independent_of_load(&self) -> Prospect {
        let changes = "only another spec.scale, a hold or a schedule changes the size";
        match &self.inputs.declared.spec.scale.to_zero {
            Some(rest) => self.only_by_declaration(&format!(
                "after {} without requests it scales to zero; otherwise {changes}",
                rest.after
            )),
            None => self.only_by_declaration(changes),
        }
    }

    fn only_by_declaration(&self, note: &str) -> Prospect {
        let desired = self.sizing.desired;
        Prospect {
            desired,
            requires: RequiredChange::Declaration,
            levels: Vec::new(),
            at: None,
            note: note.into(),
        }
    }
}

/// The most extreme load that is tried for `goal`, in millionths of the measured one.
fn extreme_load(goal: Goal) -> u64 {
    if goal.is_out() { LOAD_MAX } else { 0 }
}

/// The load nearest to the measured one that leads to `goal`, in millionths of it; `None` when none does.
fn turning_load(inputs: &SizeInputs, varied: VariedLoad, goal: Goal) -> Option<u64> {
    let is_met = |ppm: u64| goal.is_met(inputs.at_load(varied, ppm).decide().0.desired);
    // Where the measured load would already meet the goal, the other side of the bracket is a load of zero.
    let (unmet, met) = if goal.is_out() == is_met(AS_MEASURED) {
        match (goal.is_out(), is_met(0)) {
            (true, true) => return Some(0),
            (true, false) => (0, AS_MEASURED),
            (false, true) => (AS_MEASURED, 0),
            (false, false) => return None,
        }
    } else {
        let larger = std::iter::successors(Some(AS_MEASURED * 2), |ppm| (*ppm < LOAD_MAX).then_some(ppm * 2));
        let turned = larger.into_iter().find(|ppm| is_met(*ppm) == goal.is_out())?;
        if goal.is_out() { (turned / 2, turned) } else { (turned, turned / 2) }
    };
    Some(bisect(unmet, met, is_met))
}

/// The load nearest to the measured one that leads to `goal` if it lasts for `span`, to a thousandth of the measured one, with the decision
/// that it leads to.
///
/// Costs about forty times the decisions of that span.
fn turning_load_after(
    next: &SizeInputs,
    (varied, span): (VariedLoad, Duration),
    goal: Goal,
) -> Option<(ExplainableDecision, u64)> {
    let lasting = |ppm| run_for(span, next.at_load(varied, ppm), |desired| goal.is_met(desired)).met();
    let (mut unmet, mut met) = if goal.is_out() {
        let larger = std::iter::successors(Some(AS_MEASURED * 2), |ppm| (*ppm < LOAD_MAX).then_some(ppm * 2));
        let met = larger.into_iter().find(|ppm| lasting(*ppm).is_some())?;
        (met / 2, met)
    } else {
        (AS_MEASURED, 0)
    };
    while unmet.abs_diff(met) > AS_MEASURED / 1000 {
        let middle = unmet.midpoint(met);
        if lasting(middle).is_some() {
            met = middle;
        } else {
            unmet = middle;
        }
    }
    lasting(met).map(|explainable| (explainable, met))
}

/// The load between `unmet` and `met` that is met and next to one that is not; either of the two may be the larger.
fn bisect(mut unmet: u64, mut met: u64, is_met: impl Fn(u64) -> bool) -> u64 {
    while unmet.abs_diff(met) > 1 {
        let middle = unmet.midpoint(met);
        if is_met(middle) {
            met = middle;
        } else {
            unmet = middle;
        }
    }
    met
}

/// The last decision of a simulated run.
struct RunEnd {
    end: ExplainableDecision,
    is_met: bool,
}

impl RunEnd {
    fn met(self) -> Option<ExplainableDecision> {
        self.is_met.then_some(self.end)
    }
}

/// Decides from `inputs` on, with the same readings, until `is_met` or the horizon.
fn run(inputs: SizeInputs, is_met: impl Fn(u32) -> bool) -> RunEnd {
    let horizon = if inputs.declared.spec.scale.schedule.is_empty() { HORIZON } else { DAY };
    run_for(horizon, inputs, is_met)
}

fn run_for(horizon: Duration, mut inputs: SizeInputs, is_met: impl Fn(u32) -> bool) -> RunEnd {
    let begin = inputs.now.time;
    let (mut step, mut schedule_change) = (0, None);
    loop {
        let (sizing, memory) = inputs.decide();
        let elapsed = inputs.now.time.since(begin);
        let is_met = is_met(sizing.desired);
        if is_met || elapsed >= horizon {
            return RunEnd { end: ExplainableDecision { inputs, sizing, shadows: Vec::new() }, is_met };
        }
        let by = match step {
            0..STEPS => inputs.period,
            STEPS.. if elapsed < HORIZON => STRIDE.max(inputs.period),
            STEPS.. => SCHEDULE_STRIDE.max(inputs.period),
        };
        if schedule_change.is_none_or(|change| change <= inputs.now.wall) {
            let schedules = inputs.declared.spec.scale.schedule.iter();
            schedule_change = schedules.filter_map(|schedule| schedule.next_change(inputs.now.wall)).min();
        }
        let by = schedule_change.map_or(by, |change| by.min(change.since(inputs.now.wall)));
        inputs.advance(by, sizing.desired, memory);
        step += 1;
    }
}

#[cfg(test)]
mod tests;
