//! Writes the history of decisions on a thread of its own, so that the loop waits neither for the disk nor for the formatting.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use journal::{DecisionHistory, History};
use model::decision::DecisionEntry;
use model::identity::Epoch;
use model::name::ServiceName;
use model::time::Wall;

/// How long decisions are kept by default: a month.
pub const HISTORY_RETENTION: Duration = Duration::from_hours(30 * 24);

/// Capacity of the queue, in batches of one step of the loop each. Further ones are dropped and counted, so that the loop does not wait
/// for the history.
const BATCHES_MAX: usize = 256;

/// Where and for how long decisions are kept.
#[derive(Clone, Debug)]
pub struct HistoryConfig {
    /// The folder; created with the first decision.
    pub folder: PathBuf,
    /// How long decisions are kept.
    pub retention: Duration,
}

/// A handle to the thread that writes the history; the thread ends with the last handle.
#[derive(Clone, Debug)]
pub(crate) struct HistoryWriter {
    folder: PathBuf,
    commands: SyncSender<Command>,
    lost: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Command {
    BeginRun(Epoch),
    Append(Vec<DecisionEntry>),
    /// Flush all earlier commands, and then reply.
    Flush(SyncSender<()>),
}

impl HistoryConfig {
    /// Keeps decisions in `folder`, for the default time.
    pub fn in_folder(folder: PathBuf) -> Self {
        Self { folder, retention: HISTORY_RETENTION }
    }
}

impl HistoryWriter {
    pub(crate) fn start(config: &HistoryConfig) -> io::Result<Self> {
        let (commands, inbox) = sync_channel(BATCHES_MAX);
        let history = History::new(config.folder.clone(), config.retention);
        thread::Builder::new().name("history".into()).spawn(move || run(&inbox, history))?;
        Ok(Self { folder: config.folder.clone(), commands, lost: Arc::default() })
    }

    /// Begins a new run: decisions from now on belong to it.
    pub(crate) fn begin_run(&self, epoch: Epoch) {
        // When the thread has ended, it has logged the reason.
        drop(self.commands.send(Command::BeginRun(epoch)));
    }

    /// Appends decisions, or drops them when the disk is too slow. Does not wait.
    pub(crate) fn append(&self, decided: Vec<DecisionEntry>) {
        if decided.is_empty() {
            return;
        }
        let count = decided.len() as u64;
        match self.commands.try_send(Command::Append(decided)) {
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

    /// Waits until every earlier decision is written to the file.
    pub(crate) fn flush(&self) {
        let (done, wait) = sync_channel(1);
        if self.commands.send(Command::Flush(done)).is_ok() {
            // A thread that ended without a reply has written what it could.
            let _ = wait.recv();
        }
    }

    /// The latest `limit` runs of decisions on `service` within this span of time.
    pub(crate) fn read(
        &self,
        service: &ServiceName,
        within: (Wall, Wall),
        limit: usize,
    ) -> io::Result<DecisionHistory> {
        self.flush();
        journal::read(&self.folder, service, within, limit)
    }
}

fn run(inbox: &Receiver<Command>, mut history: History) {
    let mut has_failed = false;
    for command in inbox {
        let result = match command {
            Command::BeginRun(epoch) => history.begin_run(epoch),
            Command::Append(all) => {
                // All are written, even if one fails.
                let mut result = Ok(());
                for decided in &all {
                    result = result.and(history.append(decided));
                }
                result
            }
            Command::Flush(done) => {
                let result = history.flush();
                // The caller may have ended.
                let _ = done.send(());
                result
            }
        };
        // A full disk is logged once, not with each decision.
        match &result {
            Err(error) if !has_failed => {
                let source = &error.source;
                tracing::warn!(error = %format_args!("{error}: {source}"), "history_not_kept");
            }
            Ok(()) | Err(_) => {}
        }
        has_failed = result.is_err();
    }
    if let Err(error) = history.flush() {
        tracing::warn!(%error, "history_not_kept");
    }
}
