//! Why the loop could not be started.

use std::io;
use std::path::PathBuf;

use journal::{AppendError, EventFileError, FolderError, OpenError};
use store::{CommitError, WriteError};

use crate::state_store::StateStoreError;

/// The loop could not be started; nothing was.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The state could not be read or written.
    #[error(transparent)]
    Store(#[from] StateStoreError),
    /// The journal could not be created.
    #[error(transparent)]
    Journal(#[from] OpenError),
    /// The data folder was moved or replaced.
    #[error(transparent)]
    DataFolder(#[from] FolderError),
    /// The folder of the journal could not be listed.
    #[error("could not list the journal folder {folder}; check its permissions")]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The events of earlier runs were written by a newer homeostat.
    #[error(transparent)]
    Events(#[from] EventFileError),
    /// The first records of the run could not be written to the journal.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// A thread could not be started.
    #[error("could not start a thread; is the limit on processes reached?")]
    Thread(#[source] io::Error),
}

/// What kind of obstacle kept the loop from starting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartObstacle {
    /// The disk is full.
    DiskFull,
    /// What is stored is damaged, or was written by a newer homeostat.
    Unreadable,
    /// The data folder cannot be read or written.
    Folder,
    /// The system has no threads left.
    Threads,
}

impl StartError {
    /// What kind of obstacle it is.
    pub fn obstacle(&self) -> StartObstacle {
        match self {
            Self::Store(StateStoreError::Write(CommitError::Write(WriteError::NoSpace { .. }))) => {
                StartObstacle::DiskFull
            }
            Self::Journal(OpenError::Folder { source, .. } | OpenError::Segment { source, .. })
            | Self::Append(AppendError::Write { source, .. })
            | Self::DataFolder(FolderError::Unwritable { source, .. })
            | Self::Folder { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StartObstacle::DiskFull,
                _ => StartObstacle::Folder,
            },
            Self::Store(
                StateStoreError::Read(_) | StateStoreError::Newer { .. } | StateStoreError::Form { .. },
            )
            | Self::Events(_) => StartObstacle::Unreadable,
            Self::Store(
                StateStoreError::Write(_) | StateStoreError::TooLong(_) | StateStoreError::Overtaken,
            )
            | Self::DataFolder(FolderError::Moved { .. })
            | Self::Append(AppendError::TooLong { .. }) => StartObstacle::Folder,
            Self::Thread(_) => StartObstacle::Threads,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_from_a_folder_that_cannot_be_used() {
        let of = |kind: io::ErrorKind| {
            StartError::from(OpenError::Segment { path: "journal/1".into(), source: kind.into() }).obstacle()
        };
        assert_eq!(of(io::ErrorKind::StorageFull), StartObstacle::DiskFull);
        assert_eq!(of(io::ErrorKind::PermissionDenied), StartObstacle::Folder);
    }
}
