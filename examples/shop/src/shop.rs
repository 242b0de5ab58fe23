//! What the requests of one process share.

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
    /// Memory held for no purpose but to be held.
    held: Mutex<Vec<Vec<u8>>>,
}

/// Where the shop is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Not yet ready for requests.
    Opening,
    /// Ready.
    Open,
    /// Answers, and says that it would rather not: chaos asked for it.
    Unready,
    /// Answers nothing at all, not even probes: chaos asked for it.
    Hung,
    /// Finishes what has begun.
    Closing,
}

impl Shop {
    /// Returns a shop that is opening, whose pages cost so much each.
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

    /// Opens, unless chaos or the end has come before.
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
    pub(crate) async fn reached(&self, wanted: Phase) {
        let mut watcher = self.phase.subscribe();
        watcher.wait_for(|phase| *phase == wanted).await.expect("the shop itself holds the sender");
    }

    /// Takes memory, touches each page of it, and never gives it back.
    pub(crate) fn hold_memory(&self, mib: u16) {
        let block = vec![1; usize::from(mib) * 1024 * 1024];
        self.held.lock().unwrap_or_else(PoisonError::into_inner).push(block);
    }
}
