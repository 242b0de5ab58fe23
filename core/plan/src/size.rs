//! How many replicas a service shall have: held by hand, fixed, or found by its autoscaler.

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

/// What was decided on the size.
#[derive(Debug)]
pub(crate) struct Size {
    /// Replicas wanted from now on.
    pub(crate) desired: u32,
    /// The step that says so, when it changed.
    pub(crate) step: Option<Step>,
    /// The record of the decision, when one was due.
    pub(crate) decision: Option<Arc<dyn Explanation>>,
    /// What the autoscaler remembers from now on, when that is something else.
    pub(crate) scaling: Option<ScalingMemory>,
    /// What the shadows remember from now on, when they were asked.
    pub(crate) shadows: Option<Vec<ShadowMemory>>,
}

/// Decides on the size of a declared service; between two decisions the last one stands.
pub(crate) fn size(context: PlanContext<'_>) -> Size {
    let PlanContext { now, service, settings, .. } = context;
    let Some(declared) = &service.declared else { return kept(service.desired.unwrap_or(0)) };
    let to_zero = ToZeroState::of(now.time, service, declared, settings);
    let stands = service.desired.filter(|_| now.time < service.next_sync);
    let is_over = |to_zero: &Option<ToZeroState>| matches!(to_zero, Some(ToZeroState::Requested { .. }));
    if let Some(desired) = stands.filter(|_| !is_over(&to_zero)) {
        return kept(desired);
    }
    // Only now: to find the windows of a schedule takes longer than all else here.
    let effective_bounds = EffectiveBounds::of(now.wall, declared, settings.guard.replicas_max);
    let to_zero = to_zero.filter(|_| !effective_bounds.is_fixed(declared));
    if let Some(desired) = stands.filter(|_| !is_over(&to_zero)) {
        return kept(desired);
    }
    decided(SizeInputs::of(context, (declared, effective_bounds, to_zero)))
}

fn kept(desired: u32) -> Size {
    Size { desired, step: None, decision: None, scaling: None, shadows: None }
}

fn decided(inputs: SizeInputs) -> Size {
    let (sizing, asked) = inputs.decide();
    let scaling = asked.or_else(|| inputs.unasked());
    let (shadows, remembered) = inputs.shadow(&sizing);
    let (before, desired) = (inputs.desired, sizing.desired);
    let initiator = match sizing.outcome {
        Outcome::Plain { .. } => Initiator::Operator,
        Outcome::Scaled { .. } if desired < inputs.current => Initiator::ScaleIn,
        Outcome::Scaled { .. } => Initiator::ScaleOut,
    };
    let is_asked = inputs.to_zero.is_none();
    let explainable = ExplainableDecision { inputs, sizing, shadows };
    let step = (before != Some(desired)).then(|| {
        let change = Change::Resize { from: before.unwrap_or(0), to: desired };
        Step { change, reason: explainable.reason(), initiator }
    });
    let shadows = is_asked.then_some(remembered);
    Size { desired, step, decision: Some(Arc::new(explainable)), scaling, shadows }
}
