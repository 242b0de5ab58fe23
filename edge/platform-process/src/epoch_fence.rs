//! Fencing: only actions of the latest epoch are applied.

use std::io;
use std::path::PathBuf;
use std::sync::Mutex;

use model::action::{Outcome, Refusal};
use model::identity::Epoch;
use os::{Durability, write_atomically};

use crate::failure::Cause;

/// The highest epoch of any action, which survives a crash of the machine.
#[derive(Debug)]
pub(crate) struct EpochFence {
    path: PathBuf,
    highest: Mutex<Epoch>,
}

impl EpochFence {
    /// Reads the epoch; 0 before the first action.
    pub(crate) fn open(path: PathBuf) -> io::Result<Self> {
        let highest = match std::fs::read_to_string(&path) {
            Ok(text) => text.trim().parse().map(Epoch).map_err(io::Error::other)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Epoch(0),
            Err(error) => return Err(error),
        };
        Ok(Self { path, highest: Mutex::new(highest) })
    }

    /// The highest epoch of which an action was admitted; 0 before the first one.
    pub(crate) fn highest(&self) -> Epoch {
        *self.highest.lock().expect("nothing panics while it holds the epoch")
    }

    /// Admits `epoch` unless a later one was admitted; otherwise returns the outcome of the action, whose purpose is `attempt`.
    ///
    /// Waits for the disk when the epoch is new. An epoch that cannot be recorded is refused: after a restart older ones would be admitted.
    pub(crate) fn admit(&self, epoch: Epoch, attempt: &str) -> Result<(), Outcome> {
        let mut highest = self.highest.lock().expect("nothing panics while it holds the epoch");
        if epoch < *highest {
            return Err(Outcome::Refused(Refusal::StaleEpoch));
        }
        if epoch > *highest {
            write_atomically(&self.path, epoch.to_string().as_bytes(), Durability::Machine)
                .map_err(|error| Outcome::Failed(Cause::from(error).failure(attempt)))?;
            *highest = epoch;
        }
        Ok(())
    }
}
