//! Whether the loop controls the services, and why not.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The state of the loop, to be read from any thread.
#[derive(Debug, Default)]
pub(crate) struct Health(Mutex<LoopState>);

#[derive(Debug, Default)]
pub(crate) enum LoopState {
    /// It has not got the first inventory yet.
    #[default]
    Starting,
    /// It controls the services.
    Running,
    /// It does not, for this reason.
    Suspended(Arc<str>),
}

impl Health {
    pub(crate) fn is_ready(&self) -> bool {
        matches!(*self.state(), LoopState::Running)
    }

    pub(crate) fn not_ready_reason(&self) -> Option<Arc<str>> {
        match &*self.state() {
            LoopState::Starting => Some("it has not got the list of running replicas yet".into()),
            LoopState::Running => None,
            LoopState::Suspended(why) => Some(Arc::clone(why)),
        }
    }

    pub(crate) fn set(&self, state: LoopState) {
        *self.state() = state;
    }

    /// A state is replaced as a whole, so a panic while it was locked does no harm.
    fn state(&self) -> MutexGuard<'_, LoopState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
