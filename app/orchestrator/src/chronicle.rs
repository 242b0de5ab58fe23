//! Writes the history of decisions on a thread of its own, so that the loop waits neither for the disk nor for the words.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use journal::{History, Past};
use model::decision::Decided;
use model::identity::Epoch;
use model::name::ServiceName;
use model::time::Wall;

/// How long decisions are kept by default: enough to look back over a month.
pub const HISTORY_KEPT: Duration = Duration::from_hours(30 * 24);

/// Batches that may wait, each of one step of the loop. Further ones are dropped and counted: the loop does not wait for its history.
const BATCHES_MAX: usize = 256;

/// Where and for how long decisions are kept.
#[derive(Clone, Debug)]
pub struct HistoryKept {
    /// The folder; made with the first decision.
    pub folder: PathBuf,
    /// How long.
    pub keep: Duration,
}

/// Talks to the thread that writes the history; the thread ends with the last of these.
#[derive(Clone, Debug)]
pub(crate) struct Chronicle {
    folder: PathBuf,
    pages: SyncSender<Page>,
    lost: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Page {
    Run(Epoch),
    Decided(Vec<Decided>),
    /// Hand everything before it to the disk, and then answer.
    Flush(SyncSender<()>),
}

impl HistoryKept {
    /// In `folder`, as long as usual.
    pub fn in_folder(folder: PathBuf) -> Self {
        Self { folder, keep: HISTORY_KEPT }
    }
}

impl Chronicle {
    pub(crate) fn start(kept: &HistoryKept) -> io::Result<Self> {
        let (pages, inbox) = sync_channel(BATCHES_MAX);
        let history = History::new(kept.folder.clone(), kept.keep);
        thread::Builder::new().name("chronicle".into()).spawn(move || run(&inbox, history))?;
        Ok(Self { folder: kept.folder.clone(), pages, lost: Arc::default() })
    }

    /// Decisions from now on are those of another run.
    pub(crate) fn begin_run(&self, epoch: Epoch) {
        // That the thread has ended shows in what it could not write.
        drop(self.pages.send(Page::Run(epoch)));
    }

    /// Keeps what was decided, or drops it when the disk is too slow. Does not wait.
    pub(crate) fn keep(&self, decided: Vec<Decided>) {
        if decided.is_empty() {
            return;
        }
        let count = decided.len() as u64;
        match self.pages.try_send(Page::Decided(decided)) {
            Ok(()) => {
                let lost = self.lost.swap(0, Ordering::Relaxed);
                if lost > 0 {
                    tracing::warn!(decisions = lost, "history_has_a_gap");
                }
            }
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.lost.fetch_add(count, Ordering::Relaxed);
            }
        }
    }

    /// Waits until all that was decided so far is on its way to the disk.
    pub(crate) fn flush(&self) {
        let (done, wait) = sync_channel(1);
        if self.pages.send(Page::Flush(done)).is_ok() {
            // One that ended before it answered has written what it could.
            let _ = wait.recv();
        }
    }

    /// The latest `limit` of what was decided on `service` within this time.
    pub(crate) fn read(&self, service: &ServiceName, within: (Wall, Wall), limit: usize) -> io::Result<Past> {
        self.flush();
        journal::read(&self.folder, service, within, limit)
    }
}

fn run(inbox: &Receiver<Page>, mut history: History) {
    let mut is_troubled = false;
    for page in inbox {
        let result = match page {
            Page::Run(epoch) => history.begin_run(epoch),
            Page::Decided(all) => {
                // Each is tried, even if one before it failed.
                let mut result = Ok(());
                for decided in &all {
                    result = result.and(history.keep(decided));
                }
                result
            }
            Page::Flush(done) => {
                let result = history.flush();
                // Who asked may have gone.
                let _ = done.send(());
                result
            }
        };
        // A full disk is logged once, not with each decision.
        match &result {
            Err(error) if !is_troubled => {
                let source = &error.source;
                tracing::warn!(error = %format_args!("{error}: {source}"), "history_not_kept");
            }
            Ok(()) | Err(_) => {}
        }
        is_troubled = result.is_err();
    }
    if let Err(error) = history.flush() {
        tracing::warn!(%error, "history_not_kept");
    }
}
