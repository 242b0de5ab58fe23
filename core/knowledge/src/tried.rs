//! The shadow autoscalers of a declaration: tried beside the acting one, without effect.

use std::borrow::Cow;
use std::sync::Arc;

use model::input::Declared;
use model::resource::{AutoscalerSpec, ObjectName};

/// A shadow autoscaler: its name, and its specification with the bounds that hold while no schedule changes them.
pub type Shadowing = (ObjectName, Arc<AutoscalerSpec>);

/// The shadows of one declaration, kept ready: they are asked in every period, and completing one takes longer than asking it.
#[derive(Clone, Debug)]
pub struct Tried {
    of: Arc<Declared>,
    shadows: Vec<Shadowing>,
}

impl Tried {
    /// Those of `declared`; `None` when it has none.
    pub fn of(declared: &Arc<Declared>) -> Option<Box<Self>> {
        let shadows = complete(declared);
        (!shadows.is_empty()).then(|| Box::new(Self { of: Arc::clone(declared), shadows }))
    }
}

/// The shadows of `declared`, taken from `kept` if they are of that very declaration.
pub(crate) fn shadows<'a>(kept: Option<&'a Tried>, declared: &Arc<Declared>) -> Cow<'a, [Shadowing]> {
    match kept.filter(|kept| Arc::ptr_eq(&kept.of, declared)) {
        Some(kept) => Cow::Borrowed(&kept.shadows),
        None => Cow::Owned(complete(declared)),
    }
}

fn complete(declared: &Declared) -> Vec<Shadowing> {
    declared.usual_shadows().map(|(name, spec)| (name, Arc::new(spec))).collect()
}
