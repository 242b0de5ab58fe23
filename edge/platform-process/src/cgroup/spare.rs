//! Cells that are made before they are needed.
//!
//! Moving a process into a control group waits for a grace period of the kernel (RCU): 10 to 20 ms when nothing was moved
//! just before, which would be most of the time that it takes to replace a dead replica. A process that is forked in a group need not
//! be moved. Version 1 groups threads, so a thread of ours waits in each spare cell, and forks there. In version 2 all threads of a
//! process are in one group, so the new process has to enter its cell by itself, and to wait.

use std::io;
use std::sync::mpsc::{Sender, channel};
use std::thread::{Builder, JoinHandle};

use super::{Cell, Hierarchy};

/// Most spare cells: as many as replicas usually die together. Further starts at the same time share one grace period.
pub(super) const SPARES_MAX: usize = 4;

/// Several times the stack that it takes to start a program.
const STACK_BYTES: usize = 256 * 1024;

/// What the thread in a spare cell does, once.
type Job = Box<dyn FnOnce() + Send>;

/// A cell without limits, and a thread of ours in it.
#[derive(Debug)]
pub(crate) struct Spare {
    cell: Cell,
    birthplace: Birthplace,
}

/// A thread in a cell: the processes that it forks are in the cell from the beginning.
#[derive(Debug)]
pub(crate) struct Birthplace {
    jobs: Sender<Job>,
    thread: JoinHandle<()>,
}

impl Spare {
    /// Makes the cell and waits until the thread is in it.
    pub(super) fn make(hierarchies: &[Hierarchy], name: &str) -> io::Result<Self> {
        let cell = Cell::make(hierarchies, name)?;
        match Birthplace::within(&cell) {
            Ok(birthplace) => Ok(Self { cell, birthplace }),
            Err(error) => {
                // What is left is removed by the next driver that is opened here.
                let _ = cell.remove();
                Err(error)
            }
        }
    }

    /// Gives the cell to a life.
    pub(super) fn into_parts(self) -> (Cell, Birthplace) {
        (self.cell, self.birthplace)
    }

    /// Ends the thread and removes the cell, unless the kernel still sees the thread in it.
    pub(super) fn discard(self) {
        drop(self.birthplace.jobs);
        // The thread has nothing to do but to end.
        let _ = self.birthplace.thread.join();
        let _ = self.cell.remove();
    }
}

impl Birthplace {
    fn within(cell: &Cell) -> io::Result<Self> {
        let entrances = cell.thread_entrances()?;
        let (jobs, waiting) = channel::<Job>();
        let (entered, entering) = channel();
        let thread =
            Builder::new().name("spare-cell".to_owned()).stack_size(STACK_BYTES).spawn(move || {
                // "0" is the thread that writes.
                let result =
                    entrances.iter().try_for_each(|entrance| rustix::io::write(entrance, b"0").map(drop));
                drop(entrances);
                let is_inside = result.is_ok();
                // Nobody waits when the driver is being closed.
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

    /// Does `work` in the cell and waits for its result.
    pub(crate) fn run<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        let (done, result) = channel();
        let job = Box::new(move || {
            // The one who asked waits for it.
            let _ = done.send(work());
        });
        let gone = || io::Error::other("the thread of a spare cell has ended");
        self.jobs.send(job).map_err(|_| gone())?;
        result.recv().map_err(|_| gone())
    }
}
