//! The limit of connections of a listener: further ones wait in the system's queue until one ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Counts the connections of a listener, and holds others back.
#[derive(Debug)]
pub(crate) struct Turnstile {
    inside: AtomicUsize,
    max: AtomicUsize,
    left: Notify,
}

/// The place of one connection; dropping it lets the next one in.
#[derive(Debug)]
pub(crate) struct Inside(Arc<Turnstile>);

impl Turnstile {
    /// A turnstile without a limit.
    pub(crate) fn open() -> Arc<Self> {
        Arc::new(Self { inside: AtomicUsize::new(0), max: AtomicUsize::new(usize::MAX), left: Notify::new() })
    }

    /// Changes the limit. Connections that are there stay.
    pub(crate) fn set_max(&self, max: usize) {
        self.max.store(max, Ordering::SeqCst);
        self.left.notify_waiters();
    }

    /// Waits until there is room. Cancel safe: no place is taken before this returns.
    pub(crate) async fn enter(self: &Arc<Self>) -> Inside {
        loop {
            let left = self.left.notified();
            tokio::pin!(left);
            // Registered before the count is read, so that nobody leaves unseen in between.
            left.as_mut().enable();
            let may_enter = |inside: usize| (inside < self.max.load(Ordering::SeqCst)).then_some(inside + 1);
            if self.inside.fetch_update(Ordering::SeqCst, Ordering::SeqCst, may_enter).is_ok() {
                return Inside(Arc::clone(self));
            }
            left.await;
        }
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, Ordering::SeqCst);
        self.0.left.notify_waiters();
    }
}
