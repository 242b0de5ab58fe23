//! Access logs: a line for each request, in files that are rotated.
//!
//! A request that is logged has a [`Record`], which is completed while the request is served. When its last owner drops it, its entry is put
//! into a bounded queue, from which a thread writes. A request whose head is refused has no record; its entry is queued at once. No request
//! waits for a disk: entries that do not fit in the queue are dropped and counted.

mod entry;
mod file;
mod line;
mod record;
mod writer;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use hyper::StatusCode;
use model::resource::AccessLog;

use self::entry::Entry;
pub(crate) use self::record::Record;
pub(crate) use self::writer::run;
use crate::client::Client;

/// The length of the queue of entries.
///
/// 8,192 are 200 ms of 40,000 requests a second, some 4 MB. Each entry is below 8 KiB, so the queue never takes more than 64 MiB.
const QUEUE_MAX: usize = 8192;

/// The state of an access log. Counts are since the proxy started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLogState {
    /// The file, as it was declared.
    pub file: Arc<str>,
    /// Lines that were written.
    pub written: u64,
    /// Lines that were dropped, because the queue was full or the file could not be written.
    pub dropped: u64,
}

/// All logs, and the queue to their writer.
#[derive(Debug)]
pub(crate) struct Logs {
    queue: SyncSender<Message>,
    by_file: Mutex<BTreeMap<String, Weak<Log>>>,
}

/// A message to the writer.
#[derive(Debug)]
pub(crate) enum Message {
    /// Write this entry.
    Line(Arc<Log>, Box<Entry>),
    /// Write all entries before this message, and end.
    Stop,
}

/// One log.
#[derive(Debug)]
pub(crate) struct Log {
    declared: AccessLog,
    queue: SyncSender<Message>,
    written: AtomicU64,
    dropped: AtomicU64,
}

impl Logs {
    /// No logs yet; the messages are for [`run`].
    pub(crate) fn new() -> (Self, Receiver<Message>) {
        let (queue, messages) = sync_channel(QUEUE_MAX);
        (Self { queue, by_file: Mutex::default() }, messages)
    }

    /// The log with this declaration, which equal declarations share. If the same file was declared differently before, this replaces it for
    /// later callers.
    pub(crate) fn log(&self, declared: &AccessLog) -> Arc<Log> {
        let mut by_file = self.by_file();
        let known = by_file.get(&declared.file).and_then(Weak::upgrade);
        if let Some(known) = known.filter(|log| log.declared == *declared) {
            return known;
        }
        by_file.retain(|_, log| log.strong_count() > 0);
        let log = Arc::new(Log {
            declared: declared.clone(),
            queue: self.queue.clone(),
            written: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        });
        by_file.insert(declared.file.clone(), Arc::downgrade(&log));
        log
    }

    pub(crate) fn states(&self) -> Vec<AccessLogState> {
        let by_file = self.by_file();
        let states = by_file.iter().filter_map(|(file, log)| {
            let log = log.upgrade()?;
            let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
            Some(AccessLogState {
                file: Arc::from(file.as_str()),
                written: count(&log.written),
                dropped: count(&log.dropped),
            })
        });
        states.collect()
    }

    /// Lets the writer finish and end; waits while the queue is full.
    pub(crate) fn stop(&self) {
        // Fails only when the writer has ended already.
        drop(self.queue.send(Message::Stop));
    }

    /// Consistent after every change, so a poisoned lock does no harm.
    fn by_file(&self) -> MutexGuard<'_, BTreeMap<String, Weak<Log>>> {
        self.by_file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log {
    /// Queues an entry for a request whose head was refused, so that only its client is known.
    pub(crate) fn log_malformed(self: &Arc<Self>, client: &Client, status: StatusCode) {
        let entry = Entry::malformed(os::wall(), client.address.as_bytes(), "HTTP/1.1", status.as_u16());
        self.put(Box::new(entry));
    }

    /// Queues an entry, or drops it when the queue is full. Does not wait.
    fn put(self: &Arc<Self>, entry: Box<Entry>) {
        match self.queue.try_send(Message::Line(Arc::clone(self), entry)) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => self.add_dropped(1),
        }
    }

    fn add_dropped(&self, lines: u64) {
        self.dropped.fetch_add(lines, Ordering::Relaxed);
    }

    fn add_written(&self, lines: u64) {
        self.written.fetch_add(lines, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(file: &str, keep: u32) -> AccessLog {
        serde_json::from_value(serde_json::json!({"file": file, "keep": keep})).unwrap()
    }

    #[test]
    fn a_full_queue_drops_lines_and_counts_them() {
        let (logs, messages) = Logs::new();
        let log = logs.log(&declared("a", 1));
        for _ in 0..QUEUE_MAX + 3 {
            log.put(Box::default());
        }
        assert_eq!(messages.try_iter().count(), QUEUE_MAX);
        assert_eq!(logs.states()[0].dropped, 3);
    }

    #[test]
    fn equal_declarations_share_a_log_and_an_unused_one_is_forgotten() {
        let (logs, _messages) = Logs::new();
        let first = logs.log(&declared("a", 1));
        assert!(Arc::ptr_eq(&first, &logs.log(&declared("a", 1))));
        let second = logs.log(&declared("a", 2));
        assert!(!Arc::ptr_eq(&first, &second));
        drop((first, second));
        assert_eq!(logs.states(), []);
    }
}
