//! The limit of connections of a listener: further ones wait in the system's backlog until one ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Counts the connections of a listener, and delays further ones. Unlike that of a semaphore, the limit can be changed.
#[derive(Debug)]
pub(crate) struct ConnectionLimit {
    open: AtomicUsize,
    max: AtomicUsize,
    closed: Notify,
}

/// The permit of one connection, which is released on drop.
#[derive(Debug)]
pub(crate) struct ConnectionPermit(Arc<ConnectionLimit>);

impl ConnectionLimit {
    /// Any number of connections.
    pub(crate) fn unlimited() -> Arc<Self> {
        Arc::new(Self { open: AtomicUsize::new(0), max: AtomicUsize::new(usize::MAX), closed: Notify::new() })
    }

    /// Changes the limit. Existing connections stay.
    pub(crate) fn set_max(&self, max: usize) {
        self.max.store(max, Ordering::SeqCst);
        self.closed.notify_waiters();
    }

    /// Waits for a permit. Cancel safe: none is taken before this returns.
    pub(crate) async fn acquire(self: &Arc<Self>) -> ConnectionPermit {
        loop {
            let closed = self.closed.notified();
            tokio::pin!(closed);
            // Registered before the count is read, so that no release in between is missed.
            closed.as_mut().enable();
            let may_open = |open: usize| (open < self.max.load(Ordering::SeqCst)).then_some(open + 1);
            if self.open.fetch_update(Ordering::SeqCst, Ordering::SeqCst, may_open).is_ok() {
                return ConnectionPermit(Arc::clone(self));
            }
            closed.await;
        }
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
        self.0.closed.notify_waiters();
    }
}
