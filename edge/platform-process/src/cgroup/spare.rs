//! Cells that are made before they are needed.
//!
//! Moving a process into a control group waits for a grace period of the kernel (RCU): 10 to 20 ms when nothing was moved
//! just before, which is most of what a successor of a dead replica would wait for. A process that is born in a group
//! need not be moved. Version 1 groups threads, not processes, so a thread of ours waits in each spare cell, and forks
//! there. In version 2 a process is in one group with all its threads; there the new process enters by itself, and waits.

use std::io;
use std::sync::mpsc::{Sender, channel};
use std::thread::{Builder, JoinHandle};

use super::{Cell, Hierarchy};

/// Spare cells: as many replicas as usually die together. More than these at once share one grace period.
pub(super) const SPARES_MAX: usize = 4;

/// A stack that holds what starting a program needs, several times over.
const STACK_BYTES: usize = 256 * 1024;

/// What is done in a spare cell, once.
type Job = Box<dyn FnOnce() + Send>;

/// A cell without limits, and a thread of ours in it.
#[derive(Debug)]
pub(crate) struct Spare {
    cell: Cell,
    birthplace: Birthplace,
}

/// A thread in a cell: what it forks is born there.
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

    /// Ends the thread; the cell is empty then, or will be in a moment.
    pub(super) fn discard(self) {
        drop(self.birthplace.jobs);
        // It does nothing but end.
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
