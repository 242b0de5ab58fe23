//! What would have to change for another outcome: found by deciding again, never by knowing how it is decided.
//!
//! A load that leads elsewhere is bracketed by doubling and found by bisection over the readings; a time, by letting the loop go on
//! with the readings as they are. Each answer was decided on changed inputs, so it holds whatever the policy. Where more load could
//! lead to fewer replicas, an answer is one of the places where the outcome turns, not always the nearest.

use std::sync::Arc;
use std::time::Duration;

use model::decision::{AlternativeSize, Explanation, Limit, MetricLevel, Policy, Prospect, RequiredChange};
use model::quantity::Replicas;
use model::resource::ScaleMode;
use model::time::Wall;

use crate::expected_load::FORECAST;
use crate::explainable::{ExplainableDecision, SCHEDULED};
use crate::hypothetical::VariedLoad;
use crate::inputs::SizeInputs;
use crate::measured_metric::AS_MEASURED;
use crate::sizing::Outcome;

/// Decisions of the loop that are made one after the other, each a period later; beyond them every [`STRIDE`].
///
/// 600: ten minutes at the loop's own period, exactly as it will decide them; most windows are shorter.
const STEPS: u32 = 600;

/// From one decision to the next beyond [`STEPS`]. An answer is that much too late at most.
const STRIDE: Duration = Duration::from_secs(15);

/// How far ahead is looked: the longest window of a HorizontalPodAutoscaler's behavior.
const HORIZON: Duration = Duration::from_hours(1);

/// How far ahead is looked for a schedule that begins or ends, and how closely.
const DAY: Duration = Duration::from_hours(24);
const SCHEDULE_STRIDE: Duration = Duration::from_mins(5);

/// The largest load that is tried: 2³⁰ times what was measured.
const MOST: u64 = AS_MEASURED << 30;

/// Another outcome that is looked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Goal {
    asked: AlternativeSize,
    /// Replicas that were decided.
    decided: u32,
}

impl Goal {
    pub(crate) fn new(asked: AlternativeSize, decided: u32) -> Self {
        Self { asked, decided }
    }

    /// Whether more replicas are looked for.
    pub(crate) fn is_out(self) -> bool {
        match self.asked {
            AlternativeSize::Larger => true,
            AlternativeSize::Smaller => false,
            AlternativeSize::Exactly(replicas) => replicas > self.decided,
        }
    }

    /// Whether `desired` replicas are at least as far away as was asked for.
    fn is_met(self, desired: u32) -> bool {
        let nearest = self.nearest();
        if self.is_out() { desired >= nearest } else { desired <= nearest && desired < self.decided }
    }

    /// The number that was asked for, or the next one that way.
    pub(crate) fn nearest(self) -> u32 {
        match self.asked {
            AlternativeSize::Larger => self.decided.saturating_add(1),
            AlternativeSize::Smaller => self.decided.saturating_sub(1),
            AlternativeSize::Exactly(replicas) => replicas,
        }
    }

    /// The prospect, with a note when it leads beyond the number that was asked for.
    fn with_note(self, mut prospect: Prospect) -> Prospect {
        if let AlternativeSize::Exactly(wanted) = self.asked
            && wanted != prospect.desired
        {
            prospect.note = format!("{}; it never becomes {wanted}", prospect.note).into();
        }
        prospect
    }

    /// Where loads are looked for that way.
    fn extreme(self) -> u64 {
        if self.is_out() { MOST } else { 0 }
    }
}

impl ExplainableDecision {
    /// What leads to another outcome: time alone, more load, less load, or an intervention: of a person or by a request.
    pub(crate) fn all_prospects(&self) -> Vec<Prospect> {
        let decided = self.sizing.desired;
        let mut found: Vec<Prospect> = self.by_time(|desired| desired != decided).into_iter().collect();
        found.extend(self.by_intervention());
        if self.is_from_load() {
            let ways = [AlternativeSize::Larger]
                .into_iter()
                .chain((decided > 0).then_some(AlternativeSize::Smaller));
            for prospect in ways.map(|asked| self.towards(Goal::new(asked, decided))) {
                if !found.contains(&prospect) {
                    found.push(prospect);
                }
            }
        }
        if found.is_empty() {
            found.push(self.unmoved());
        }
        found
    }

    /// What leads to `goal`: the least that has to change, or that nothing does.
    pub(crate) fn towards(&self, goal: Goal) -> Prospect {
        let intervention = self.by_intervention().filter(|prospect| goal.is_met(prospect.desired));
        self.by_load(goal)
            .or(intervention)
            .or_else(|| self.by_time(|desired| goal.is_met(desired)).map(|prospect| goal.with_note(prospect)))
            .or_else(|| self.by_load_and_time(goal))
            .unwrap_or_else(|| self.in_vain(goal))
    }

    fn is_from_load(&self) -> bool {
        matches!(self.sizing.outcome, Outcome::Scaled { .. })
    }

    /// What the loop will decide if nothing else changes, from the first time that `is_met` holds.
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
        let is_over =
            |limit: &&Limit| !lasting.iter().any(|it| it.name == limit.name && it.note == limit.note);
        let until: Vec<&str> = limits.iter().filter(is_over).map(|limit| &*limit.note).collect();
        let until =
            if until.is_empty() { String::new() } else { format!("; until then: {}", until.join(", ")) };
        let note = format!("at {} if the load stays as it is: {}{until}", clock(at), Replicas(desired));
        Some(Prospect {
            desired,
            requires: RequiredChange::Time,
            levels: Vec::new(),
            at: Some(at),
            note: note.into(),
        })
    }

    /// What a change by a person, or a request, leads to at once.
    fn by_intervention(&self) -> Option<Prospect> {
        let (requires, inputs, what) = match &self.sizing.outcome {
            Outcome::Plain { policy: Policy::Hold, .. } => {
                (RequiredChange::Release, self.inputs.released(), "once it is released")
            }
            Outcome::Plain { policy: Policy::Paused, .. } => {
                (RequiredChange::Release, self.inputs.resumed(), "once it is resumed")
            }
            Outcome::Plain { policy: Policy::ToZero, .. } if self.sizing.desired == 0 => {
                (RequiredChange::Request, self.inputs.asked(), "with the next request")
            }
            Outcome::Plain { policy: Policy::Off, .. } => {
                (RequiredChange::Mode, self.inputs.followed(), "in mode on")
            }
            Outcome::Scaled { .. } if self.inputs.declared.spec.scale.mode != ScaleMode::On => {
                (RequiredChange::Mode, self.inputs.followed(), "in mode on")
            }
            Outcome::Plain { .. } | Outcome::Scaled { .. } => return None,
        };
        let other = Self::of(inputs);
        let desired = other.sizing.desired;
        let note = format!("{what}: {} ({})", Replicas(desired), other.decision().summary);
        Some(Prospect { desired, requires, levels: Vec::new(), at: None, note: note.into() })
    }

    /// The nearest load that leads to `goal` at once.
    fn by_load(&self, goal: Goal) -> Option<Prospect> {
        let (varied, ppm) =
            self.variations().find_map(|varied| Some((varied, turn(&self.inputs, varied, goal)?)))?;
        let other = Self::of(self.inputs.at_load(varied, ppm));
        Some(self.with_load(&other, (varied, ppm), goal))
    }

    /// The nearest load that leads to `goal` once it has lasted long enough.
    fn by_load_and_time(&self, goal: Goal) -> Option<Prospect> {
        let next = self.next();
        let lasting = |varied, ppm| run(next.at_load(varied, ppm), |desired| goal.is_met(desired)).met();
        self.variations().find_map(|varied| {
            let extreme = lasting(varied, goal.extreme())?;
            // By then it depends on the load alone; whether one nearer by leads there as well is tried from the beginning.
            let by_then = extreme.inputs.now.time.since(next.now.time);
            let mut inputs = SizeInputs { observed: next.observed.clone(), ..extreme.inputs.clone() };
            inputs.observed.measured.iter_mut().for_each(|measured| measured.advance(by_then));
            inputs.observed.memory = extreme.inputs.observed.memory.clone();
            let near = turn(&inputs, varied, goal).and_then(|ppm| Some((lasting(varied, ppm)?, ppm)));
            // What a policy remembers of the largest load need not fit a smaller one; then each load is tried for itself.
            let near = near.or_else(|| least_lasting(&next, (varied, by_then * 2), goal));
            let (other, ppm) = near.unwrap_or((extreme, goal.extreme()));
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

    /// `other` is what is decided with that load.
    fn with_load(&self, other: &Self, (varied, ppm): (VariedLoad, u64), goal: Goal) -> Prospect {
        let (now, then) = (self.decision().metrics, other.decision());
        let named = |index: usize| {
            let said = then.metrics.get(index)?;
            Some(MetricLevel { name: Arc::clone(&said.name), level: Arc::clone(&said.current) })
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
                Some(said) => format!("{} (now {})", each.join(", "), said.current),
                None => each.join(", "),
            },
        };
        let at = (other.inputs.now != self.inputs.now).then_some(other.inputs.now.wall);
        let until = at.map(|at| format!(" until {}", clock(at))).unwrap_or_default();
        let desired = other.sizing.desired;
        let note = format!("with {load}{until}: {}", Replicas(desired));
        goal.with_note(Prospect { desired, requires: RequiredChange::Load, levels, at, note: note.into() })
    }

    /// Neither a load nor a time leads to `goal`; what stands in the way of the largest or the smallest load there could be.
    fn in_vain(&self, goal: Goal) -> Prospect {
        // As far as the loop decides it in its own period: a policy that evaluates what was measured meanwhile finds gaps beyond.
        let next = self.next();
        let lasting = run_for(next.period * STEPS, next.at_load(VariedLoad::All, goal.extreme()), |_| false);
        let (decision, inputs) = (lasting.end.decision(), &lasting.end.inputs);
        let (bounds, usual) = (inputs.effective_bounds.bounds, inputs.declared.usual_bounds());
        let usual_max = usual.max.min(inputs.replicas_max);
        let is_scheduled = if goal.is_out() { bounds.max < usual_max } else { bounds.min > usual.min };
        let in_the_way = |limit: &&Limit| match limit.name {
            SCHEDULED => is_scheduled,
            FORECAST => limit.from != limit.to,
            _ => true, // tidy: open match: names of limits are texts
        };
        let last = decision.limits.iter().rfind(in_the_way);
        let why = last.map_or(&decision.summary, |limit| &limit.note);
        let horizon = if inputs.declared.spec.scale.schedule.is_empty() { "hour" } else { "day" };
        let way = match goal.asked {
            AlternativeSize::Larger => "more replicas".to_owned(),
            AlternativeSize::Smaller => "fewer replicas".to_owned(),
            AlternativeSize::Exactly(wanted) => Replicas(wanted).to_string(),
        };
        // A forecast is made anew at each decision, and hypothetical inputs do not let it pass.
        if last.is_some_and(|limit| limit.name == FORECAST) {
            return self.nothing(&format!("no load leads to {way} while this is forecast: {why}"));
        }
        self.nothing(&format!("no load within the next {horizon} leads to {way}: {why}"))
    }

    /// That no measurement leads to another size, and what does.
    fn unmoved(&self) -> Prospect {
        let changes = "only another spec.scale, a hold or a schedule changes the size";
        match &self.inputs.declared.spec.scale.to_zero {
            Some(rest) => self.nothing(&format!(
                "after {} without requests it scales to zero; otherwise {changes}",
                rest.after
            )),
            None => self.nothing(changes),
        }
    }

    fn nothing(&self, note: &str) -> Prospect {
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

/// The load nearest to what was measured that leads to `goal`, in millionths of it; `None` when none does.
fn turn(inputs: &SizeInputs, varied: VariedLoad, goal: Goal) -> Option<u64> {
    let is_met = |ppm: u64| goal.is_met(inputs.at_load(varied, ppm).decide().0.desired);
    // A load that was not measured may lead there at zero; then the load that no longer does is looked for.
    let (not, met) = if goal.is_out() == is_met(AS_MEASURED) {
        match (goal.is_out(), is_met(0)) {
            (true, true) => return Some(0),
            (true, false) => (0, AS_MEASURED),
            (false, true) => (AS_MEASURED, 0),
            (false, false) => return None,
        }
    } else {
        let larger = std::iter::successors(Some(AS_MEASURED * 2), |ppm| (*ppm < MOST).then_some(ppm * 2));
        let turned = larger.into_iter().find(|ppm| is_met(*ppm) == goal.is_out())?;
        if goal.is_out() { (turned / 2, turned) } else { (turned, turned / 2) }
    };
    Some(bisect(not, met, is_met))
}

/// The least load that leads to `goal` if it lasts for `span`, to a thousandth of what was measured, and what is decided by then.
///
/// Costs some forty times the decisions of that span.
fn least_lasting(
    next: &SizeInputs,
    (varied, span): (VariedLoad, Duration),
    goal: Goal,
) -> Option<(ExplainableDecision, u64)> {
    let lasting = |ppm| run_for(span, next.at_load(varied, ppm), |desired| goal.is_met(desired)).met();
    let (mut not, mut met) = if goal.is_out() {
        let larger = std::iter::successors(Some(AS_MEASURED * 2), |ppm| (*ppm < MOST).then_some(ppm * 2));
        let met = larger.into_iter().find(|ppm| lasting(*ppm).is_some())?;
        (met / 2, met)
    } else {
        (AS_MEASURED, 0)
    };
    while not.abs_diff(met) > AS_MEASURED / 1000 {
        let middle = not.midpoint(met);
        *(if lasting(middle).is_some() { &mut met } else { &mut not }) = middle;
    }
    lasting(met).map(|explainable| (explainable, met))
}

/// The number next to one that is not met, between `not` and `met`, which lie either way round.
fn bisect(mut not: u64, mut met: u64, is_met: impl Fn(u64) -> bool) -> u64 {
    while not.abs_diff(met) > 1 {
        let middle = not.midpoint(met);
        *(if is_met(middle) { &mut met } else { &mut not }) = middle;
    }
    met
}

/// Where a simulated run ended.
struct RunEnd {
    end: ExplainableDecision,
    is_met: bool,
}

impl RunEnd {
    fn met(self) -> Option<ExplainableDecision> {
        self.is_met.then_some(self.end)
    }
}

/// The first decision from `inputs` on that `is_met`, if the readings stay; the last one within the horizon when there is none.
fn run(inputs: SizeInputs, is_met: impl Fn(u32) -> bool) -> RunEnd {
    let horizon = if inputs.declared.spec.scale.schedule.is_empty() { HORIZON } else { DAY };
    run_for(horizon, inputs, is_met)
}

fn run_for(horizon: Duration, mut inputs: SizeInputs, is_met: impl Fn(u32) -> bool) -> RunEnd {
    let begin = inputs.now.time;
    let mut step = 0;
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
        inputs.advance(by, sizing.desired, memory);
        step += 1;
    }
}

fn clock(at: Wall) -> String {
    format!("{at} UTC")
}

#[cfg(test)]
mod tests;
