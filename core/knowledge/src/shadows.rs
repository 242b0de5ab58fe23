//! The shadow autoscalers of a declaration, which decide beside the acting one without effect.

use std::borrow::Cow;
use std::sync::Arc;

use model::input::Declared;
use model::resource::{AutoscalerSpec, ObjectName};

/// A shadow autoscaler: its name, and its specification with the bounds that hold while no schedule changes them.
pub type ShadowSpec = (ObjectName, Arc<AutoscalerSpec>);

/// The shadows of one declaration, kept ready: they are asked in every period, and completing one takes longer than asking it.
#[derive(Clone, Debug)]
pub struct ShadowSet {
    of: Arc<Declared>,
    shadows: Vec<ShadowSpec>,
}

impl ShadowSet {
    /// Those of `declared`; `None` when it has none.
    pub fn of(declared: &Arc<Declared>) -> Option<Box<Self>> {
        let shadows = complete(declared);
        (!shadows.is_empty()).then(|| Box::new(Self { of: Arc::clone(declared), shadows }))
    }
}

/// The shadows of `declared`, taken from `kept` if they are of that very declaration.
pub(crate) fn shadows<'a>(kept: Option<&'a ShadowSet>, declared: &Arc<Declared>) -> Cow<'a, [ShadowSpec]> {
    match kept.filter(|kept| Arc::ptr_eq(&kept.of, declared)) {
        Some(kept) => Cow::Borrowed(&kept.shadows),
        None => Cow::Owned(complete(declared)),
    }
}

fn complete(declared: &Declared) -> Vec<ShadowSpec> {
    declared.usual_shadows().map(|(name, spec)| (name, Arc::new(spec))).collect()
}
