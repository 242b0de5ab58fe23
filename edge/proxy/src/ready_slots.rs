//! Limits how many idle connections of HTTP/1.1 a worker keeps set up.

use std::cell::Cell;

/// The most idle connections that a worker keeps set up although their clients may not send another request soon: 640 KiB.
const READY_MAX: usize = 32;

/// Counts idle connections that are kept set up.
#[derive(Debug, Default)]
pub(crate) struct ReadySlots(Cell<usize>);

/// The slot of one such connection, free again when dropped.
#[derive(Debug)]
pub(crate) struct ReadySlot<'a>(&'a ReadySlots);

impl ReadySlots {
    /// Takes a slot; `None` when all are taken.
    pub(crate) fn take(&self) -> Option<ReadySlot<'_>> {
        let before = self.0.get();
        (before < READY_MAX).then(|| {
            self.0.set(before + 1);
            ReadySlot(self)
        })
    }
}

impl Drop for ReadySlot<'_> {
    fn drop(&mut self) {
        self.0.0.set(self.0.0.get() - 1);
    }
}
