//! Running replicas of another size than they should have: changed in place, or replaced where the platform cannot do that.
//!
//! When a difference justifies a change follows the updater of Kubernetes' Vertical Pod Autoscaler
//! (`pkg/updater/priority/update_priority_calculator.go`): at once outside the bounds of the recommendation, and after a while when the size is a
//! tenth off. Unlike there, a size is first changed in place, so that this while can be short.

use std::time::Duration;

use knowledge::{Place, Range, ResourceChange, ServiceState};
use model::decision::UnmetDemand;
use model::identity::Ordinal;
use model::input::Declared;
use model::plan::{Allotment, Change, Initiator};
use model::quantity::{Bytes, MilliCpu};
use model::reason::Reason;
use model::resource::{Resources, VerticalMode};
use model::time::Time;

use crate::context::PlanContext;
use crate::draft::Draft;
use crate::scale_in_blocker::Incident;
use crate::vertical::{Growth, cpu_of, memory_of, mode_of, recommendation};

/// How long after a change the size of a replica is not reduced.
///
/// 10 min: twice the five minutes for which an autoscaler holds a peak, so that the size is not reduced between two peaks.
const REDUCE_AFTER: Duration = Duration::from_mins(10);

/// How long after a change a replica waits for a tenth more; one that has too little does not wait.
const INCREASE_AFTER: Duration = Duration::from_mins(1);

/// How long a replica runs before it is replaced for its size alone: a recommendation changes most in its first minutes.
const REPLACED_AFTER: Duration = Duration::from_mins(10);

/// The same for a size that is off by a tenth but within the bounds: a restart costs more than that. The value of Kubernetes' updater.
const REPLACED_FOR_A_TENTH_AFTER: Duration = Duration::from_hours(12);

/// The least time between the starts of two replacements, in which the first shows that it works. The interval of Kubernetes' updater.
const REPLACEMENT_PAUSE: Duration = Duration::from_mins(1);

/// The margin of a running replica above its memory in use, in per cent; the same as in recommendations.
const MARGIN_PERCENT: u64 = 15;

/// The smallest margin, in per cent, that does not count as too little.
const MARGIN_PERCENT_MIN: u64 = 5;

/// The sizes that the replicas of a service should have.
struct SizeTargets {
    /// In thousandths of a core.
    cpu: Option<SizeTarget>,
    /// In bytes.
    memory: Option<SizeTarget>,
    /// The maximum for memory that is in use.
    memory_max: Option<Bytes>,
}

/// How much of a resource a replica should have; less than `lower` is too little, more than `upper` too much.
#[derive(Clone, Copy)]
struct SizeTarget {
    lower: u64,
    target: u64,
    upper: u64,
    source: TargetSource,
}

/// Where a target comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum TargetSource {
    Learned,
    Declared,
    UnmetDemand(UnmetDemand),
}

/// How the size of a replica differs from its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Misfit {
    TooLittle,
    CouldHaveMore,
    CouldHaveLess,
    TooMuch,
}

/// Adds the step that changes the size of a running replica, one replica at a time.
pub(crate) fn resize(context: PlanContext<'_>, unmet: Option<UnmetDemand>, draft: &mut Draft) {
    let (now, service) = (context.now.time, context.service);
    let Some(declared) = resized_declaration(now, service) else { return };
    if service.places.values().any(|place| matches!(place.resource_change, ResourceChange::InProgress { .. }))
    {
        return;
    }
    let Some(targets) = SizeTargets::of(now, service, declared, unmet) else { return };
    let is_calm = Incident::of(context).is_none();
    for (ordinal, place) in &service.places {
        let Some(given) = place.resources.filter(|_| place.health().is_some()) else { continue };
        if draft.removes(*ordinal) || service.is_outdated(place) {
            continue;
        }
        let since = match &place.resource_change {
            ResourceChange::Settled { since } => *since,
            ResourceChange::Failed(failed) if now < failed.retry => {
                draft.again_at(failed.retry);
                draft.wait(Some(*ordinal), Reason::ActionFailed(failed.message.clone()));
                continue;
            }
            ResourceChange::Failed(failed) => failed.retry,
            ResourceChange::Unsupported { .. } | ResourceChange::InProgress { .. } => continue,
        };
        if let Some((resources, note)) =
            targets.with_used_memory(place, given).change(given, is_calm, now.since(since))
        {
            let change = Change::Allot { ordinal: *ordinal, resources };
            draft.step(Initiator::Vertical, change, Reason::VerticallyScaled { note: note.into() });
            return;
        }
    }
}

/// The replica that is replaced next because its size cannot be changed, and why; `None` during an incident, and for replicas that a person
/// protects.
pub(crate) fn to_replace(
    context: PlanContext<'_>,
    desired: u32,
    draft: &mut Draft,
) -> Option<(Ordinal, Reason)> {
    let (now, service) = (context.now.time, context.service);
    let declared = resized_declaration(now, service)?;
    let fixed =
        |(_, place): &(Ordinal, &Place)| matches!(place.resource_change, ResourceChange::Unsupported { .. });
    if !service.counting().any(|counted| fixed(&counted)) || Incident::of(context).is_some() {
        return None;
    }
    let began = service.counting().map(|(_, place)| place.restart.began).max()?;
    if service.count() == desired && now < began + REPLACEMENT_PAUSE {
        return None;
    }
    // `unmet` is left out, so that no replica is restarted during a peak.
    let targets = SizeTargets::of(now, service, declared, None)?;
    for (ordinal, place) in service.counting().filter(fixed) {
        let (Some(given), Some(health)) = (place.resources, place.health()) else { continue };
        let Some(note) = targets.with_used_memory(place, given).replacement(given, now.since(health.since))
        else {
            continue;
        };
        match service.protected_until(now, ordinal) {
            Some(until) => draft.wait(Some(ordinal), Reason::Protected { until }),
            None => return Some((ordinal, Reason::VerticallyScaled { note: note.into() })),
        }
    }
    None
}

/// The declaration, where it lets running replicas be resized. A pause by a person applies to both kinds of scaling.
fn resized_declaration(now: Time, service: &ServiceState) -> Option<&Declared> {
    let is_on = mode_of(service) == VerticalMode::Auto && service.active_pause(now).is_none();
    service.declared.as_deref().filter(|_| is_on)
}

impl SizeTargets {
    fn of(
        now: Time,
        service: &ServiceState,
        declared: &Declared,
        unmet: Option<UnmetDemand>,
    ) -> Option<Self> {
        let found = recommendation(now, service, unmet)?;
        let learned = found.learned(service);
        let Resources { cpu, memory } = declared.spec.resources;
        let grown = |of: fn(Growth) -> Option<u64>| {
            let growth = found.growth?;
            Some(SizeTarget::grown(of(growth)?, growth.unmet))
        };
        let by_cpu =
            |range: Range<MilliCpu>| SizeTarget::learned(range.lower.0, range.target.0, range.upper.0);
        let by_memory =
            |range: Range<Bytes>| SizeTarget::learned(range.lower.0, range.target.0, range.upper.0);
        Some(Self {
            cpu: grown(|growth| Some(growth.cpu?.0))
                .or(learned.cpu.map(by_cpu))
                .or(cpu.map(|amount| SizeTarget::declared(cpu_of(amount).0))),
            memory: grown(|growth| Some(growth.memory?.0))
                .or(learned.memory.map(by_memory))
                .or(memory.map(|amount| SizeTarget::declared(memory_of(amount).0))),
            memory_max: declared.spec.scale.vertical.as_ref()?.memory.max.map(memory_of),
        })
    }

    /// The targets for the replica of `place`, which keeps the memory that it uses and a margin: a lower limit would kill it.
    fn with_used_memory(&self, place: &Place, given: Resources) -> Self {
        let uses = place.memory.map_or(0, |(_, Bytes(uses))| uses);
        let max_for = |source| match source {
            TargetSource::Learned => self.memory_max,
            TargetSource::Declared | TargetSource::UnmetDemand(_) => given.memory.map(memory_of),
        };
        let kept = |size: SizeTarget| {
            let most = max_for(size.source).map_or(u64::MAX, |Bytes(most)| most);
            let with = |percent: u64| uses.saturating_add(uses.saturating_mul(percent) / 100).min(most);
            let target = size.target.max(with(MARGIN_PERCENT));
            let lower = size.lower.max(with(MARGIN_PERCENT_MIN));
            SizeTarget { lower, target, upper: size.upper.max(target), source: size.source }
        };
        let memory = self.memory.map(kept).filter(|size| size.target >= uses);
        Self { cpu: self.cpu, memory, memory_max: self.memory_max }
    }

    /// The size instead of `given`, and why; `None` for the same. It is reduced only while there is no incident.
    fn change(
        &self,
        given: Resources,
        is_calm: bool,
        unchanged_for: Duration,
    ) -> Option<(Resources, String)> {
        self.corrected(given, |misfit| match misfit {
            Misfit::TooLittle => true,
            Misfit::CouldHaveMore => unchanged_for >= INCREASE_AFTER,
            Misfit::CouldHaveLess | Misfit::TooMuch => is_calm && unchanged_for >= REDUCE_AFTER,
        })
    }

    /// Why a replica with the size `given` is to be replaced; `None` when it is not.
    fn replacement(&self, given: Resources, runs_for: Duration) -> Option<String> {
        let found = self.corrected(given, |misfit| match misfit {
            Misfit::TooLittle | Misfit::TooMuch => runs_for >= REPLACED_AFTER,
            Misfit::CouldHaveMore | Misfit::CouldHaveLess => runs_for >= REPLACED_FOR_A_TENTH_AFTER,
        });
        found.map(|(_, note)| note)
    }

    /// The size instead of `given`, of the resources whose misfit `is_due`.
    fn corrected(&self, given: Resources, is_due: impl Fn(Misfit) -> bool) -> Option<(Resources, String)> {
        let due = |given: Option<u64>, target: Option<SizeTarget>| {
            target.filter(|target| target.misfit(given).is_some_and(&is_due))
        };
        let (cores, bytes) =
            (given.cpu.map(|amount| cpu_of(amount).0), given.memory.map(|amount| memory_of(amount).0));
        let (cpu, memory) = (due(cores, self.cpu), due(bytes, self.memory));
        let notes: Vec<String> = [
            cpu.map(|target| target.note("cpu", cores, &|milli| MilliCpu(milli).to_string())),
            memory.map(|target| target.note("memory", bytes, &|bytes| Bytes(bytes).to_string())),
        ]
        .into_iter()
        .flatten()
        .collect();
        let allotted = Allotment {
            cpu: cpu.map(|target| MilliCpu(target.target)),
            memory: memory.map(|target| Bytes(target.target)),
        };
        (!notes.is_empty()).then(|| (allotted.applied_to(given), notes.join("; ")))
    }
}

impl SizeTarget {
    fn learned(lower: u64, target: u64, upper: u64) -> Self {
        Self { lower, target, upper, source: TargetSource::Learned }
    }

    fn declared(amount: u64) -> Self {
        Self { lower: amount, target: amount, upper: amount, source: TargetSource::Declared }
    }

    /// A target that changes with each measurement, so that a size within a tenth of it is right.
    fn grown(amount: u64, unmet: UnmetDemand) -> Self {
        let tenth = amount / 10;
        let (lower, upper) = (amount - tenth, amount.saturating_add(tenth));
        Self { lower, target: amount, upper, source: TargetSource::UnmetDemand(unmet) }
    }

    /// How `given` differs from the target; having no limit is more than any amount. `None` where it does not differ enough.
    fn misfit(&self, given: Option<u64>) -> Option<Misfit> {
        let Some(given) = given else { return Some(Misfit::TooMuch) };
        let (size, target) = (u128::from(given), u128::from(self.target));
        if given < self.lower {
            Some(Misfit::TooLittle)
        } else if given > self.upper {
            Some(Misfit::TooMuch)
        } else if target * 10 >= size * 11 {
            Some(Misfit::CouldHaveMore)
        } else if target * 10 <= size * 9 {
            Some(Misfit::CouldHaveLess)
        } else {
            None
        }
    }

    fn note(&self, name: &str, given: Option<u64>, show: &dyn Fn(u64) -> String) -> String {
        let Self { lower, target, upper, source } = *self;
        let why = match source {
            TargetSource::Declared => "as declared".to_owned(),
            TargetSource::UnmetDemand(UnmetDemand { requested, allowed }) => {
                format!("the metrics ask for {requested} replicas, but only {allowed} may run")
            }
            TargetSource::Learned if upper == u64::MAX => format!("less than {} is too little", show(lower)),
            TargetSource::Learned => {
                format!("less than {} is too little, more than {} is too much", show(lower), show(upper))
            }
        };
        let given = given.map_or_else(|| "no limit".to_owned(), show);
        format!("{name} changes from {given} to {}: {why}", show(target))
    }
}
