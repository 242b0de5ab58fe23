//! The shadow autoscalers of a declaration, which decide without effect beside the acting one.

use std::borrow::Cow;
use std::sync::Arc;

use model::input::Declared;
use model::resource::{AutoscalerSpec, ObjectName};

/// A shadow autoscaler: its name, and its specification with the bounds outside of any schedule.
pub type ShadowSpec = (ObjectName, Arc<AutoscalerSpec>);

/// The completed shadows of one declaration, cached: completing one takes longer than a decision of it, and each decides in every period.
#[derive(Clone, Debug)]
pub struct ShadowSet {
    of: Arc<Declared>,
    shadows: Vec<ShadowSpec>,
}

impl ShadowSet {
    /// The shadows of `declared`; `None` when it has none.
    pub fn of(declared: &Arc<Declared>) -> Option<Box<Self>> {
        let shadows = complete(declared);
        (!shadows.is_empty()).then(|| Box::new(Self { of: Arc::clone(declared), shadows }))
    }
}

/// The shadows of `declared`, taken from `cached` if that is of this very declaration.
pub(crate) fn shadows<'a>(cached: Option<&'a ShadowSet>, declared: &Arc<Declared>) -> Cow<'a, [ShadowSpec]> {
    match cached.filter(|cached| Arc::ptr_eq(&cached.of, declared)) {
        Some(cached) => Cow::Borrowed(&cached.shadows),
        None => Cow::Owned(complete(declared)),
    }
}

fn complete(declared: &Declared) -> Vec<ShadowSpec> {
    declared.usual_shadows().map(|(name, spec)| (name, Arc::new(spec))).collect()
}
