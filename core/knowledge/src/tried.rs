//! The autoscalers that are tried beside the acting one, as a declaration means them.

use std::borrow::Cow;
use std::sync::Arc;

use model::input::Declared;
use model::resource::{AutoscalerSpec, ObjectName};

/// An autoscaler that is tried: its name, and what it is while no schedule says other bounds.
pub type Shadowing = (ObjectName, Arc<AutoscalerSpec>);

/// The shadows of one declaration, kept: to complete and check one takes longer than to ask it, and each is asked in every period.
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

/// The shadows of `declared`, from what is `kept` if it is of that very declaration.
pub(crate) fn shadows<'a>(kept: Option<&'a Tried>, declared: &Arc<Declared>) -> Cow<'a, [Shadowing]> {
    match kept.filter(|kept| Arc::ptr_eq(&kept.of, declared)) {
        Some(kept) => Cow::Borrowed(&kept.shadows),
        None => Cow::Owned(complete(declared)),
    }
}

fn complete(declared: &Declared) -> Vec<Shadowing> {
    declared.usual_shadows().map(|(name, spec)| (name, Arc::new(spec))).collect()
}
