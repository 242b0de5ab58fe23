//! What another declaration would decide, beside the one that holds and without effect.

use std::sync::Arc;

use knowledge::ServiceState;
use model::decision::Account;
use model::input::Declared;
use model::memory::ScalingMemory;

use crate::account::Situation;
use crate::moment::Moment;
use crate::rest::Rest;
use crate::scene::{Scene, begin};
use crate::term::Term;

/// A declaration that is tried: it remembers and goes on from what it would have decided itself.
///
/// Where that is another number than there are replicas, the load that was measured is taken to spread evenly over as many as there
/// would have been: the same load in all, for nobody knows what load another size would have drawn.
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

    /// Decides on what is known of the service at `moment`, and goes on from there.
    pub fn decide(&mut self, moment: Moment<'_>) -> Arc<dyn Account> {
        let Moment { now, service, settings, .. } = moment;
        let term = Term::of(now.wall, &self.declared, settings.guard.replicas_max);
        let rest =
            Rest::of(now.time, service, &self.declared, settings).filter(|_| !term.is_fixed(&self.declared));
        let mut scene = Scene::of(moment, (&self.declared, term, rest));
        scene.desired = self.desired;
        scene.sight.memory = Arc::clone(&self.memory);
        scene.current = begin(self.desired, &self.memory, (&self.declared, &scene.term));
        scene.sight.spread_over(scene.current);
        let (ruling, memory) = scene.decide();
        self.desired = Some(ruling.desired);
        if let Some(memory) = memory {
            self.memory = Arc::new(memory);
        }
        // Of a trial, what others would do beside it is of no interest.
        scene.shadows.clear();
        Arc::new(Situation { scene, ruling, shadows: Vec::new() })
    }
}
