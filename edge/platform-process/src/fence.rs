//! Obeying the latest epoch only.

use std::io;
use std::path::PathBuf;
use std::sync::Mutex;

use model::action::Refusal;
use model::identity::Epoch;
use os::{Durability, WriteError, write_atomically};

/// Remembers the highest epoch that spoke, also over a crash of the machine.
#[derive(Debug)]
pub(crate) struct Fence {
    path: PathBuf,
    highest: Mutex<Epoch>,
}

/// Why an action is not obeyed.
#[derive(Debug)]
pub(crate) enum Denied {
    Stale(Refusal),
    /// The new epoch could not be written down, so it is not obeyed: after a restart an older one would be, too.
    NotKept(WriteError),
}

impl Fence {
    /// Reads the epoch; 0 when none has spoken yet.
    pub(crate) fn open(path: PathBuf) -> io::Result<Self> {
        let highest = match std::fs::read_to_string(&path) {
            Ok(text) => text.trim().parse().map(Epoch).map_err(io::Error::other)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Epoch(0),
            Err(error) => return Err(error),
        };
        Ok(Self { path, highest: Mutex::new(highest) })
    }

    /// Lets `epoch` pass when none that is later has spoken. Waits for the disk when it is new.
    pub(crate) fn admit(&self, epoch: Epoch) -> Result<(), Denied> {
        let mut highest = self.highest.lock().expect("nobody panics while holding the epoch");
        if epoch < *highest {
            return Err(Denied::Stale(Refusal::StaleEpoch));
        }
        if epoch > *highest {
            write_atomically(&self.path, epoch.to_string().as_bytes(), Durability::Machine)
                .map_err(Denied::NotKept)?;
            *highest = epoch;
        }
        Ok(())
    }
}
