//! Opening a store: one process for a folder, and no file that is not fully understood.

use std::fs::{self, File, Permissions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use store::{Cause, Retention};

use crate::disk::{Disk, FORMAT, FileDisk, Preamble};
use crate::engine::{self, Engine, Leases};

/// The file of the store within its folder.
const STORE_FILE: &str = "store.db";
/// Who may read and write it: its owner alone.
const STORE_MODE: u32 = 0o600;
/// A store that is being created; it is renamed when it is complete.
const NEW_FILE: &str = "store.db.new";
/// Locked while a process has the store open; contains its pid, for the error message of the next process.
const LOCK_FILE: &str = "store.lock";

/// How often, and how far apart, the lock is tried before the folder counts as in use: for half a second in all.
///
/// A process that is being started shares the locks of its parent from fork to exec. When the parent is killed in between,
/// its folder seems to be in use for those milliseconds, or for longer on a machine under load.
const LOCK_TRIES: u32 = 50;
const LOCK_RETRY: Duration = Duration::from_millis(10);

/// Why a store could not be opened. No row was changed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("another homeostat{} uses {}; stop it or choose another folder", pid_in_brackets(.pid), .dir.display())]
    InUse {
        /// The folder.
        dir: PathBuf,
        /// The pid of the process, if it is known.
        pid: Option<u32>,
    },
    /// A newer version wrote it. The file was not touched.
    #[error("{} was written by a newer homeostat (format {found}, this one reads up to {FORMAT}); start that version", .path.display())]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// It is not a store. The file was not touched.
    #[error("{} is not a homeostat store, or its beginning is damaged; move it away or restore it from a copy", .path.display())]
    NotAStore {
        /// The file.
        path: PathBuf,
    },
    /// Its content is damaged.
    #[error("{} is damaged; restore it from a copy, or move it away to begin with an empty store", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Cause,
    },
    /// The disk is full.
    #[error("could not open the store in {}: the disk is full; free some space and start again", .path.display())]
    NoSpace {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: Cause,
    },
    /// The system forbids it.
    #[error("could not open the store: no permission to write {}; check its owner and mode, and its mount", .path.display())]
    Denied {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: Cause,
    },
    /// The system failed otherwise.
    #[error("could not open the store at {}", .path.display())]
    Failed {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: Cause,
    },
}

/// An open store and what comes with it.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) engine: Engine,
    pub(crate) leases: Leases,
    pub(crate) lock: DirLock,
}

/// The lock of a folder, held until it is dropped.
#[derive(Debug)]
pub(crate) struct DirLock {
    _file: File,
}

/// Opens the store in `dir`; makes the folder, and an empty store, where there is none.
pub(crate) fn open(dir: &Path, retention: Retention) -> Result<Opened, OpenError> {
    fs::create_dir_all(dir).map_err(|cause| OpenError::io(dir, cause))?;
    let lock = DirLock::take(dir)?;
    let path = dir.join(STORE_FILE);
    if !path.try_exists().map_err(|cause| OpenError::io(&path, cause))? {
        create(dir, &path)?;
    }
    // What is declared is in it, and may hold secrets.
    let closed = fs::set_permissions(&path, Permissions::from_mode(STORE_MODE));
    closed.map_err(|cause| OpenError::io(&path, cause))?;
    let disk = FileDisk::at(&path).map_err(|cause| OpenError::io(&path, cause))?;
    let preamble = disk.open().and_then(|bytes| Preamble::read(&*bytes));
    match preamble.map_err(|cause| OpenError::io(&path, cause))? {
        Preamble::Format(FORMAT) => {}
        Preamble::Format(found) if found > FORMAT => return Err(OpenError::NewerFormat { path, found }),
        Preamble::Format(_) | Preamble::Foreign => return Err(OpenError::NotAStore { path }),
    }
    let (engine, leases) = Engine::open(Box::new(disk), path.display().to_string(), retention)
        .map_err(|cause| OpenError::engine(&path, cause))?;
    Ok(Opened { engine, leases, lock })
}

/// Creates an empty store under another name, and renames it once it is synced, so that no crash leaves a partial store.
fn create(dir: &Path, path: &Path) -> Result<(), OpenError> {
    let new = dir.join(NEW_FILE);
    let io_error = |cause| OpenError::io(&new, cause);
    File::options().write(true).create(true).truncate(true).mode(STORE_MODE).open(&new).map_err(io_error)?;
    let disk = FileDisk::at(&new).map_err(io_error)?;
    engine::create(&disk).map_err(|cause| OpenError::engine(&new, cause))?;
    File::open(&new).and_then(|file| file.sync_all()).map_err(io_error)?;
    fs::rename(&new, path).map_err(io_error)?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|cause| OpenError::io(dir, cause))
}

impl DirLock {
    fn take(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join(LOCK_FILE);
        let io_error = |cause| OpenError::io(&path, cause);
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(io_error)?;
        let mut tries = 1;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if tries < LOCK_TRIES => {
                    tries += 1;
                    thread::sleep(LOCK_RETRY);
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(OpenError::InUse { dir: dir.to_owned(), pid: pid_in(&mut file) });
                }
                Err(TryLockError::Error(cause)) => return Err(io_error(cause)),
            }
        }
        // The pid is only for the error message of the next process; the lock works without it.
        drop(file.set_len(0).and_then(|()| write!(file, "{}", std::process::id())));
        Ok(Self { _file: file })
    }
}

fn pid_in(file: &mut File) -> Option<u32> {
    const PID_DIGITS_MAX: u64 = 10;
    let mut text = String::new();
    file.take(PID_DIGITS_MAX).read_to_string(&mut text).ok()?;
    text.parse().ok()
}

fn pid_in_brackets(pid: &Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (pid {pid})"))
}

impl OpenError {
    pub(crate) fn io(path: &Path, cause: io::Error) -> Self {
        let path = path.to_owned();
        let kind = cause.kind();
        let source: Cause = Arc::new(cause);
        match kind {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace { path, source },
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::Denied { path, source }
            }
            _ => Self::Failed { path, source },
        }
    }

    fn engine(path: &Path, cause: redb::Error) -> Self {
        match cause {
            redb::Error::Io(cause) => Self::io(path, cause),
            redb::Error::Corrupted(_)
            | redb::Error::UpgradeRequired(_)
            | redb::Error::TableDoesNotExist(_) => {
                Self::Damaged { path: path.to_owned(), source: Arc::new(cause) }
            }
            cause => Self::Failed { path: path.to_owned(), source: Arc::new(cause) },
        }
    }
}
