//! The state shared by all requests of the process.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use crate::catalogue::Catalogue;
use crate::counters::Counters;
use crate::work::{Page, Workers};

/// The shop.
#[derive(Debug)]
pub(crate) struct Shop {
    pub(crate) catalogue: Catalogue,
    pub(crate) counters: Counters,
    pub(crate) workers: Workers,
    phase: watch::Sender<Phase>,
    /// Memory that is only allocated to increase the usage.
    held: Mutex<Vec<Vec<u8>>>,
}

/// The phase of the lifecycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Not yet ready for requests.
    Opening,
    /// Ready.
    Open,
    /// Answers requests but fails its readiness probe, by POST /chaos/unready.
    Unready,
    /// Answers no requests or probes, by POST /chaos/hang.
    Hung,
    /// Finishes requests in flight.
    Closing,
}

impl Shop {
    /// Returns a shop in phase `Opening`, whose pages have the given cost.
    pub(crate) fn new(page: Page, queue: NonZeroUsize) -> Self {
        Self {
            catalogue: Catalogue::generate(),
            counters: Counters::default(),
            workers: Workers::new(page, queue),
            phase: watch::Sender::new(Phase::Opening),
            held: Mutex::default(),
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }

    /// Enters phase `Open` if the phase is still `Opening`.
    pub(crate) fn open(&self) {
        self.phase.send_if_modified(|phase| {
            let is_opening = *phase == Phase::Opening;
            if is_opening {
                *phase = Phase::Open;
            }
            is_opening
        });
    }

    /// Waits until the shop is in a phase.
    pub(crate) async fn reached(&self, expected: Phase) {
        let mut watcher = self.phase.subscribe();
        watcher.wait_for(|phase| *phase == expected).await.expect("`self` holds the sender");
    }

    /// Allocates memory, writes to each page of it, and never frees it.
    pub(crate) fn hold_memory(&self, mib: u16) {
        let block = vec![1; usize::from(mib) * 1024 * 1024];
        self.held.lock().unwrap_or_else(PoisonError::into_inner).push(block);
    }
}
