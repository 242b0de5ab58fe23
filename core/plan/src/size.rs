//! The number of replicas of a service: held by hand, fixed, or decided by its autoscaler.

use std::sync::Arc;

use model::decision::Explanation;
use model::memory::{ScalingMemory, ShadowMemory};
use model::plan::{Change, Initiator, Step};

use crate::context::PlanContext;
use crate::effective_bounds::EffectiveBounds;
use crate::explainable::ExplainableDecision;
use crate::inputs::SizeInputs;
use crate::sizing::Outcome;
use crate::to_zero::ToZeroState;

/// A decision on the size.
#[derive(Debug)]
pub(crate) struct Size {
    /// Replicas wanted from now on.
    pub(crate) desired: u32,
    /// The step that changes the number, when it changed.
    pub(crate) step: Option<Step>,
    /// The record of the decision, when one was due.
    pub(crate) decision: Option<Arc<dyn Explanation>>,
    /// The memory of the autoscaler from now on, when it changed.
    pub(crate) scaling: Option<ScalingMemory>,
    /// The memory of the shadows from now on, when they decided.
    pub(crate) shadows: Option<Vec<ShadowMemory>>,
}

/// Decides on the size of a declared service; between two decisions the last one holds.
pub(crate) fn size(context: PlanContext<'_>) -> Size {
    let PlanContext { now, service, settings, .. } = context;
    let Some(declared) = &service.declared else { return kept(service.desired.unwrap_or(0)) };
    let to_zero = ToZeroState::of(now.time, service, declared, settings);
    let last_decision = service.desired.filter(|_| now.time < service.next_sync);
    let is_woken = |to_zero: &Option<ToZeroState>| matches!(to_zero, Some(ToZeroState::Requested { .. }));
    if let Some(desired) = last_decision.filter(|_| !is_woken(&to_zero)) {
        return kept(desired);
    }
    // Only now, as finding the windows of a schedule is the most expensive part.
    let effective_bounds = EffectiveBounds::of(now.wall, declared, settings.guard.replicas_max);
    let to_zero = to_zero.filter(|_| !effective_bounds.is_fixed(declared));
    if let Some(desired) = last_decision.filter(|_| !is_woken(&to_zero)) {
        return kept(desired);
    }
    decided(SizeInputs::of(context, (declared, effective_bounds, to_zero)))
}

fn kept(desired: u32) -> Size {
    Size { desired, step: None, decision: None, scaling: None, shadows: None }
}

fn decided(inputs: SizeInputs) -> Size {
    let (sizing, memory) = inputs.decide();
    let scaling = memory.or_else(|| inputs.inactive_memory());
    let (shadows, remembered) = inputs.shadow(&sizing);
    let (before, desired) = (inputs.desired, sizing.desired);
    let initiator = match sizing.outcome {
        Outcome::Plain { .. } => Initiator::Operator,
        Outcome::Scaled { .. } if desired < inputs.current => Initiator::ScaleIn,
        Outcome::Scaled { .. } => Initiator::ScaleOut,
    };
    let is_in_use = inputs.to_zero.is_none();
    let explainable = ExplainableDecision { inputs, sizing, shadows };
    let step = (before != Some(desired)).then(|| {
        let change = Change::Resize { from: before.unwrap_or(0), to: desired };
        Step { change, reason: explainable.reason(), initiator }
    });
    let shadows = is_in_use.then_some(remembered);
    Size { desired, step, decision: Some(Arc::new(explainable)), scaling, shadows }
}
