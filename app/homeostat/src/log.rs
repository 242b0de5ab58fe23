//! The log on standard error, written by a thread of its own: a reader that stops reading blocks only that thread.
//!
//! Not `non_blocking` of tracing-appender, which does not log how many lines were dropped.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

/// Lines that may wait to be written; those beyond are dropped and counted.
///
/// 4096 lines are about 600 KiB, and as many as a start of a thousand services logs.
const LINES_MAX: usize = 4096;

/// How long the process waits for the last lines to be written before it exits.
const FLUSH_MAX: Duration = Duration::from_secs(1);

/// Queues lines for the thread that writes them; never waits.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    queue: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Message {
    Line(Vec<u8>),
    /// Answered when every line queued before it has been written.
    Flush(SyncSender<()>),
}

impl Log {
    /// Starts the thread, which runs as long as the process.
    pub(crate) fn start(out: impl Write + Send + 'static) -> io::Result<Self> {
        let (queue, messages) = sync_channel(LINES_MAX);
        let dropped = Arc::new(AtomicU64::new(0));
        let lost = Arc::clone(&dropped);
        thread::Builder::new().name("log".into()).spawn(move || run(out, &messages, &lost))?;
        Ok(Self { queue, dropped })
    }

    /// Waits until every line logged so far is written, at most [`FLUSH_MAX`].
    pub(crate) fn finish(&self) {
        let (done, is_done) = sync_channel(1);
        // A full queue means that standard error is blocked: waiting would not help.
        if self.queue.try_send(Message::Flush(done)).is_ok() {
            let _ = is_done.recv_timeout(FLUSH_MAX);
        }
    }
}

/// Each call writes one whole line, as tracing's formatter does.
impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self.queue.try_send(Message::Line(line.to_vec())) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn run(mut out: impl Write, messages: &Receiver<Message>, dropped: &AtomicU64) {
    while let Ok(message) = messages.recv() {
        match message {
            // The process goes on when its log can no longer be written.
            Message::Line(line) => drop(out.write_all(&line)),
            Message::Flush(done) => drop(done.send(())),
        }
        let lines = dropped.swap(0, Ordering::Relaxed);
        if lines > 0 {
            tracing::warn!(lines, "log_lines_dropped");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    /// Writes one line for each message of `allowed`, and every line once its sender is dropped.
    struct Slow {
        allowed: Receiver<()>,
        written: Sender<Vec<u8>>,
    }

    impl Write for Slow {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            let _ = self.allowed.recv();
            drop(self.written.send(line.to_vec()));
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_blocked_reader_blocks_no_caller_and_loses_lines() {
        let (go, allowed) = channel();
        let (written, lines) = channel();
        let mut log = Log::start(Slow { allowed, written }).unwrap();
        let all = LINES_MAX + 100;
        for n in 0..all {
            log.write_all(format!("{n}\n").as_bytes()).unwrap();
        }
        assert!(log.dropped.load(Ordering::Relaxed) >= 99, "one line may have left the queue already");
        drop(go);
        assert_eq!(lines.recv().unwrap(), b"0\n");
        assert_eq!(
            lines.iter().take(LINES_MAX - 1).count(),
            LINES_MAX - 1,
            "every line that fit into the queue is written"
        );
        log.finish();
    }
}
