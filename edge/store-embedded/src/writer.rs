//! The writer thread: writes that wait at the same time share one sync.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use store::WriteError;

use crate::engine::{Batch, Engine};
use crate::ledger::{Write, Written};

/// The most writes that share one sync.
///
/// 256: four times the number of threads of Homeostat that may wait at once. A batch of the largest transactions (1.5 MB each)
/// is limited by [`BATCH_BYTES_MAX`].
const BATCH_WRITES_MAX: usize = 256;

/// The bytes of transactions at which a batch is full: what a disk of 100 MB/s syncs in 80 ms.
const BATCH_BYTES_MAX: usize = 8 << 20;

/// The most writes in the queue; further ones wait until there is space.
const QUEUE_WRITES_MAX: usize = 256;

/// The writer thread. Dropping it finishes what is queued.
#[derive(Debug)]
pub(crate) struct Writer {
    queue: Option<SyncSender<Request>>,
    thread: Option<JoinHandle<()>>,
    place: String,
}

#[derive(Debug)]
struct Request {
    write: Write,
    reply: SyncSender<Result<Written, WriteError>>,
}

impl Writer {
    /// Starts the thread.
    pub(crate) fn start(engine: Arc<Engine>) -> io::Result<Self> {
        let place = engine.place().to_owned();
        let (queue, requests) = sync_channel(QUEUE_WRITES_MAX);
        let thread =
            thread::Builder::new().name("store-writer".to_owned()).spawn(move || run(&engine, &requests))?;
        Ok(Self { queue: Some(queue), thread: Some(thread), place })
    }

    /// Writes; returns once the write is on the disk.
    pub(crate) fn write(&self, write: Write) -> Result<Written, WriteError> {
        let (reply, answer) = sync_channel(1);
        let queue = self.queue.as_ref().expect("the queue is taken only by drop");
        let sent = queue.send(Request { write, reply });
        // The thread ends before the queue only by a panic, which is a bug: queued writes were not begun, and those in
        // progress may or may not have reached the disk.
        let place = || self.place.clone();
        sent.map_err(|_| WriteError::Stopped { place: place() })?;
        answer.recv().map_err(|_| WriteError::Unknown { place: place(), source: Arc::new(WriterGone) })?
    }
}

/// The cause when the thread never replied.
#[derive(Debug, thiserror::Error)]
#[error("the thread that writes has panicked")]
struct WriterGone;

/// Stops the engine when the thread ends, however it ends.
struct StopsEngine<'a>(&'a Engine);

impl Drop for StopsEngine<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was printed where it happened.
            drop(thread.join());
        }
    }
}

fn run(engine: &Engine, requests: &Receiver<Request>) {
    let _stops = StopsEngine(engine);
    while let Ok(first) = requests.recv() {
        let (writes, replies): (Vec<_>, Vec<_>) =
            gather(first, requests).into_iter().map(|request| (request.write, request.reply)).unzip();
        match engine.write(&writes) {
            Ok(Batch { written, changes }) => {
                for change in &changes {
                    engine.hub.publish(change);
                }
                for (reply, written) in replies.into_iter().zip(written) {
                    answer(&reply, Ok(written));
                }
            }
            Err(cause) => {
                for reply in replies {
                    answer(&reply, Err(cause.clone()));
                }
            }
        }
    }
}

/// Takes the writes queued behind `first`, without waiting for more: a single writer has one sync and no delay.
fn gather(first: Request, requests: &Receiver<Request>) -> Vec<Request> {
    let mut bytes = first.write.bytes();
    let mut batch = vec![first];
    while batch.len() < BATCH_WRITES_MAX && bytes < BATCH_BYTES_MAX {
        let Ok(request) = requests.try_recv() else { break };
        bytes += request.write.bytes();
        batch.push(request);
    }
    batch
}

fn answer(reply: &SyncSender<Result<Written, WriteError>>, result: Result<Written, WriteError>) {
    // Sending fails only when the waiting thread is gone.
    drop(reply.send(result));
}
