//! The thread that writes access logs.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use super::file::Sink;
use super::line::line;
use super::{Log, Message, QUEUE_MAX};

/// The bytes collected for one write: some 200 lines, which fit in the processor's cache.
const BATCH_BYTES_MAX: usize = 64 * 1024;

/// How often files are checked: whether they still have their names, and whether anything still logs to them.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// A log with its file and the lines that are not written yet.
struct OpenLog {
    log: Arc<Log>,
    sink: Option<Sink>,
    lines: String,
    count: u64,
    /// Whether a warning that it cannot be written was logged already.
    has_warned: bool,
}

/// Writes entries until it gets the message to stop.
pub(crate) fn run(messages: &Receiver<Message>) {
    let mut logs: BTreeMap<String, OpenLog> = BTreeMap::new();
    let mut checked = os::since_boot();
    loop {
        match messages.recv_timeout(CHECK_INTERVAL) {
            Ok(message) => {
                let is_stopped = append(&mut logs, message)
                    || messages.try_iter().take(QUEUE_MAX).any(|more| append(&mut logs, more));
                logs.values_mut().for_each(OpenLog::flush);
                if is_stopped {
                    return;
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if os::since_boot() - checked >= CHECK_INTERVAL {
            checked = os::since_boot();
            // Drops logs that only this thread still has.
            logs.retain(|_, open| Arc::strong_count(&open.log) > 1);
            logs.values_mut().for_each(OpenLog::release_if_moved);
        }
    }
}

/// Adds a line to those of its log; `true` when the writer is to stop.
fn append(logs: &mut BTreeMap<String, OpenLog>, message: Message) -> bool {
    let (log, entry) = match message {
        Message::Line(log, entry) => (log, entry),
        Message::Stop => return true,
    };
    let line = line(&entry, log.declared.format);
    let open = logs.entry(log.declared.file.clone()).or_insert_with(|| OpenLog::new(&log));
    if !Arc::ptr_eq(&open.log, &log) {
        open.flush();
        *open = OpenLog::new(&log);
    }
    let is_full = open.lines.len() + line.len() > BATCH_BYTES_MAX;
    let fits = open.sink.as_ref().is_none_or(|sink| sink.fits(open.lines.len() + line.len()));
    if is_full || !fits {
        open.flush();
    }
    open.lines.push_str(&line);
    open.count += 1;
    false
}

impl OpenLog {
    fn new(log: &Arc<Log>) -> Self {
        Self { log: Arc::clone(log), sink: None, lines: String::new(), count: 0, has_warned: false }
    }

    /// Writes the lines, or counts them as dropped.
    fn flush(&mut self) {
        if self.lines.is_empty() {
            return;
        }
        match self.write() {
            Ok(()) => {
                self.log.add_written(self.count);
                self.has_warned = false;
            }
            Err(error) => {
                self.log.add_dropped(self.count);
                self.sink = None;
                if !self.has_warned {
                    let file = &self.log.declared.file;
                    tracing::warn!(%file, %error, "access_log_not_written");
                }
                self.has_warned = true;
            }
        }
        self.lines.clear();
        self.count = 0;
    }

    fn write(&mut self) -> io::Result<()> {
        let sink = match &mut self.sink {
            Some(sink) => sink,
            none => none.insert(Sink::open(&self.log.declared)?),
        };
        sink.write(self.lines.as_bytes())
    }

    /// Closes a file that was moved: the next line goes to a new file with the old name.
    fn release_if_moved(&mut self) {
        if self.sink.as_ref().is_some_and(|sink| !sink.is_current()) {
            self.sink = None;
        }
    }
}
