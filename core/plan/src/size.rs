//! How many replicas a service shall have: held by hand, fixed, or found by its autoscaler.

use std::sync::Arc;

use model::decision::Account;
use model::memory::{ScalingMemory, ShadowMemory};
use model::plan::{Change, Step, Writer};

use crate::account::Situation;
use crate::moment::Moment;
use crate::rest::Rest;
use crate::ruling::Course;
use crate::scene::Scene;
use crate::term::Term;

/// What was decided on the size.
#[derive(Debug)]
pub(crate) struct Size {
    /// Replicas wanted from now on.
    pub(crate) desired: u32,
    /// The step that says so, when it changed.
    pub(crate) step: Option<Step>,
    /// The record of the decision, when one was due.
    pub(crate) decision: Option<Arc<dyn Account>>,
    /// What the autoscaler remembers from now on, when that is something else.
    pub(crate) scaling: Option<ScalingMemory>,
    /// What the shadows remember from now on, when they were asked.
    pub(crate) shadows: Option<Vec<ShadowMemory>>,
}

/// Decides on the size of a declared service; between two decisions the last one stands.
pub(crate) fn size(moment: Moment<'_>) -> Size {
    let Moment { now, service, settings, .. } = moment;
    let Some(declared) = &service.declared else { return kept(service.desired.unwrap_or(0)) };
    let rest = Rest::of(now.time, service, declared, settings);
    let stands = service.desired.filter(|_| now.time < service.next_sync);
    let is_over = |rest: &Option<Rest>| matches!(rest, Some(Rest::Over { .. }));
    if let Some(desired) = stands.filter(|_| !is_over(&rest)) {
        return kept(desired);
    }
    // Only now: to find the windows of a schedule takes longer than all else here.
    let term = Term::of(now.wall, declared, settings.guard.replicas_max);
    let rest = rest.filter(|_| !term.is_fixed(declared));
    if let Some(desired) = stands.filter(|_| !is_over(&rest)) {
        return kept(desired);
    }
    decided(Scene::of(moment, (declared, term, rest)))
}

fn kept(desired: u32) -> Size {
    Size { desired, step: None, decision: None, scaling: None, shadows: None }
}

fn decided(scene: Scene) -> Size {
    let (ruling, asked) = scene.decide();
    let scaling = asked.or_else(|| scene.unasked());
    let (shadows, remembered) = scene.shadow(&ruling);
    let (before, desired) = (scene.desired, ruling.desired);
    let writer = match ruling.course {
        Course::Plain { .. } => Writer::Human,
        Course::Scaled { .. } if desired < scene.current => Writer::ScaleIn,
        Course::Scaled { .. } => Writer::ScaleOut,
    };
    let is_asked = scene.rest.is_none();
    let situation = Situation { scene, ruling, shadows };
    let step = (before != Some(desired)).then(|| {
        let change = Change::Resize { from: before.unwrap_or(0), to: desired };
        Step { change, reason: situation.reason(), writer }
    });
    let shadows = is_asked.then_some(remembered);
    Size { desired, step, decision: Some(Arc::new(situation)), scaling, shadows }
}
