//! What another declaration would decide, beside the current one and without effect.

use std::sync::Arc;

use knowledge::ServiceState;
use model::decision::Explanation;
use model::input::Declared;
use model::memory::ScalingMemory;

use crate::context::PlanContext;
use crate::effective_bounds::EffectiveBounds;
use crate::explainable::ExplainableDecision;
use crate::inputs::{SizeInputs, current_size};
use crate::to_zero::ToZeroState;

/// A declaration that is tried without effect. Each decision continues from its own earlier ones.
///
/// Where it would have another number of replicas than there are, the measured load is spread evenly over that number: the same total load,
/// as it is not known what load another size would have had.
#[derive(Clone, Debug)]
pub struct Trial {
    declared: Arc<Declared>,
    desired: Option<u32>,
    memory: Arc<ScalingMemory>,
}

impl Trial {
    /// A trial that begins with the size and the memory that `service` has.
    pub fn new(declared: Arc<Declared>, service: &ServiceState) -> Self {
        Self { declared, desired: service.desired, memory: Arc::clone(&service.scaling) }
    }

    /// Decides on the state of the service in `context`, and remembers the decision.
    pub fn decide(&mut self, context: PlanContext<'_>) -> Arc<dyn Explanation> {
        let PlanContext { now, service, settings, .. } = context;
        let effective_bounds = EffectiveBounds::of(now.wall, &self.declared, settings.guard.replicas_max);
        let to_zero = ToZeroState::of(now.time, service, &self.declared, settings)
            .filter(|_| !effective_bounds.is_fixed(&self.declared));
        let mut inputs = SizeInputs::of(context, (&self.declared, effective_bounds, to_zero));
        inputs.desired = self.desired;
        inputs.observed.memory = Arc::clone(&self.memory);
        inputs.current = current_size(self.desired, &self.memory, (&self.declared, &inputs.effective_bounds));
        inputs.observed.spread_over(inputs.current);
        let (sizing, memory) = inputs.decide();
        self.desired = Some(sizing.desired);
        if let Some(memory) = memory {
            self.memory = Arc::new(memory);
        }
        // A trial does not compare itself with shadows.
        inputs.shadows.clear();
        Arc::new(ExplainableDecision { inputs, sizing, shadows: Vec::new() })
    }
}
