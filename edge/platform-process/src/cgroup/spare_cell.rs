//! Cells that are created before they are needed.
//!
//! Moving a process into a control group waits for a grace period of the kernel (RCU): 10 to 20 ms when nothing was moved
//! just before, which would be most of the time that it takes to replace a dead replica. A process that is forked in a group need not
//! be moved. Version 1 groups threads, so each spare cell has a waiting thread of this process, which forks there. In version 2 all
//! threads of a process are in one group, so the new process must enter its cell by itself, and wait.

use std::io;
use std::sync::mpsc::{Sender, channel};
use std::thread::{Builder, JoinHandle};

use super::{Cell, Hierarchy};

/// The number of spare cells: as many as replicas usually die together. Further starts at the same time share one grace period.
pub(super) const SPARES_MAX: usize = 4;

/// Several times the stack that starting a program takes.
const STACK_BYTES: usize = 256 * 1024;

/// The one job of the thread in a spare cell.
type Job = Box<dyn FnOnce() + Send>;

/// A cell without limits, with a thread of this process in it.
#[derive(Debug)]
pub(crate) struct SpareCell {
    cell: Cell,
    fork_thread: ForkThread,
}

/// A thread in a cell: the processes that it forks are in the cell from the beginning.
#[derive(Debug)]
pub(crate) struct ForkThread {
    jobs: Sender<Job>,
    thread: JoinHandle<()>,
}

impl SpareCell {
    /// Creates the cell and waits until the thread is in it.
    pub(super) fn make(hierarchies: &[Hierarchy], name: &str) -> io::Result<Self> {
        let cell = Cell::make(hierarchies, name)?;
        match ForkThread::within(&cell) {
            Ok(fork_thread) => Ok(Self { cell, fork_thread }),
            Err(error) => {
                // What remains is removed by the next driver that is opened here.
                let _ = cell.remove();
                Err(error)
            }
        }
    }

    /// The cell for a replica, and its thread.
    pub(super) fn into_parts(self) -> (Cell, ForkThread) {
        (self.cell, self.fork_thread)
    }

    /// Ends the thread and removes the cell, unless the kernel still sees the thread in it.
    pub(super) fn discard(self) {
        drop(self.fork_thread.jobs);
        // The thread has no job, so it ends.
        let _ = self.fork_thread.thread.join();
        let _ = self.cell.remove();
    }
}

impl ForkThread {
    fn within(cell: &Cell) -> io::Result<Self> {
        let procs_files = cell.thread_procs_files()?;
        let (jobs, waiting) = channel::<Job>();
        let (entered, entering) = channel();
        let thread =
            Builder::new().name("spare-cell".to_owned()).stack_size(STACK_BYTES).spawn(move || {
                // "0" means the writing thread.
                let result = procs_files
                    .iter()
                    .try_for_each(|procs_file| rustix::io::write(procs_file, b"0").map(drop));
                drop(procs_files);
                let is_inside = result.is_ok();
                // Fails when the driver closes and does not wait.
                let _ = entered.send(result);
                if is_inside && let Ok(job) = waiting.recv() {
                    job();
                }
            })?;
        match entering.recv() {
            Ok(Ok(())) => Ok(Self { jobs, thread }),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(io::Error::other("the thread of a spare cell has ended")),
        }
    }

    /// Runs `work` in the cell and waits for its result.
    pub(crate) fn run<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        let (done, result) = channel();
        let job = Box::new(move || {
            // The caller waits for it.
            let _ = done.send(work());
        });
        let gone = || io::Error::other("the thread of a spare cell has ended");
        self.jobs.send(job).map_err(|_| gone())?;
        result.recv().map_err(|_| gone())
    }
}
