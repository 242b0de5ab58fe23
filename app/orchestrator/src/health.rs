//! Whether the loop steers, and why not.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Whether the loop steers the services, to be read from any thread.
#[derive(Debug, Default)]
pub(crate) struct Health(Mutex<Standing>);

#[derive(Debug, Default)]
pub(crate) enum Standing {
    /// It has not seen yet what runs.
    #[default]
    Beginning,
    /// It steers.
    Steering,
    /// It is suspended, for this reason.
    Troubled(Arc<str>),
}

impl Health {
    pub(crate) fn is_ready(&self) -> bool {
        matches!(*self.standing(), Standing::Steering)
    }

    pub(crate) fn trouble(&self) -> Option<Arc<str>> {
        match &*self.standing() {
            Standing::Beginning => Some("it has not seen yet what runs".into()),
            Standing::Steering => None,
            Standing::Troubled(why) => Some(Arc::clone(why)),
        }
    }

    pub(crate) fn set(&self, standing: Standing) {
        *self.standing() = standing;
    }

    /// A standing is replaced as a whole, so a panic while it was locked does no harm.
    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
