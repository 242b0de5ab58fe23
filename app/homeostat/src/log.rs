//! The log on standard error, written by a thread of its own: whoever reads it and stops reading must hold up nobody but that thread.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

/// Lines that may wait to be written; further ones are dropped and counted.
///
/// 4096: some 600 KiB, and what a start of a thousand services logs.
const LINES_MAX: usize = 4096;

/// How long the end of the process waits for the last lines.
const FLUSH_MAX: Duration = Duration::from_secs(1);

/// Hands lines to the thread that writes them; never waits.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    queue: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Message {
    Line(Vec<u8>),
    /// Everything before it is to be written; the answer says that it is.
    Flush(SyncSender<()>),
}

impl Log {
    /// Starts the thread, which lasts as long as the process.
    pub(crate) fn start(out: impl Write + Send + 'static) -> io::Result<Self> {
        let (queue, messages) = sync_channel(LINES_MAX);
        let dropped = Arc::new(AtomicU64::new(0));
        let lost = Arc::clone(&dropped);
        thread::Builder::new().name("log".into()).spawn(move || run(out, &messages, &lost))?;
        Ok(Self { queue, dropped })
    }

    /// Waits until what was logged so far is written, but not for ever.
    pub(crate) fn finish(&self) {
        let (done, is_done) = sync_channel(1);
        // With a full queue nobody reads.
        if self.queue.try_send(Message::Flush(done)).is_ok() {
            let _in_vain_or_not = is_done.recv_timeout(FLUSH_MAX);
        }
    }
}

/// Takes one whole line with each call, as the formatter gives them.
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
            // A log that nobody can read any more is no reason to die.
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

    /// Takes a line only when it is let.
    struct Slow {
        lets: Receiver<()>,
        written: Sender<Vec<u8>>,
    }

    impl Write for Slow {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            let _or_all_at_once = self.lets.recv();
            drop(self.written.send(line.to_vec()));
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_stops_reading_holds_up_nobody_and_misses_lines_in_the_end() {
        let (go, lets) = channel();
        let (written, lines) = channel();
        let mut log = Log::start(Slow { lets, written }).unwrap();
        let all = LINES_MAX + 100;
        for n in 0..all {
            log.write_all(format!("{n}\n").as_bytes()).unwrap();
        }
        assert!(log.dropped.load(Ordering::Relaxed) >= 99, "one may be at the reader already");
        drop(go);
        assert_eq!(lines.recv().unwrap(), b"0\n");
        assert_eq!(lines.iter().take(LINES_MAX - 1).count(), LINES_MAX - 1, "those that had room are there");
        log.finish();
    }
}
