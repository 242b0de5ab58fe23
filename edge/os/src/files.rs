//! Files that are whole or not there, and locks that end with their holder.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

/// What a written file must outlive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// A crash of the machine: file and folder are on the disk before the call returns.
    Machine,
    /// A crash of this process only, which costs no disk access. After a crash of the machine the file is the old one,
    /// the new one, or empty.
    Process,
}

/// A file was not written; what was there before is still there.
#[derive(Debug, thiserror::Error)]
#[error("could not write {path}")]
pub struct WriteError {
    /// The file that was to be replaced.
    pub path: PathBuf,
    /// What failed.
    pub source: io::Error,
}

/// Replaces `path` with `content` so that a reader, and a crash, meets the old content or the new and nothing between.
///
/// Writes `path` with `.new` added first; callers do not write one path twice at the same time. The folder must exist.
pub fn write_atomically(path: &Path, content: &[u8], durability: Durability) -> Result<(), WriteError> {
    replace(path, content, durability).map_err(|source| WriteError { path: path.to_owned(), source })
}

fn replace(path: &Path, content: &[u8], durability: Durability) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    let written = File::create(&new).and_then(|mut file| {
        file.write_all(content)?;
        match durability {
            Durability::Machine => file.sync_all(),
            Durability::Process => Ok(()),
        }
    });
    if let Err(error) = written.and_then(|()| std::fs::rename(&new, path)) {
        // Half a file helps nobody and, on a full disk, is in the way. That it could not be removed changes nothing.
        let _ = std::fs::remove_file(&new);
        return Err(error);
    }
    match (durability, path.parent()) {
        (Durability::Machine, Some(folder)) => {
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            File::open(folder)?.sync_all()
        }
        (Durability::Machine, None) | (Durability::Process, _) => Ok(()),
    }
}

/// The right to be the only one; ends when it is dropped, or with the process, however that ends.
#[derive(Debug)]
pub struct FileLock {
    file: File,
}

/// Longest note of a holder that is read back, in bytes: a process number and some words.
const HOLDER_LEN_MAX: u64 = 256;

/// The lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another one holds it.
    #[error("{path} is locked by {holder}")]
    Held {
        /// The lock file.
        path: PathBuf,
        /// Who holds it, as the holder wrote it.
        holder: String,
    },
    /// The lock file cannot be used.
    #[error("could not lock {path}")]
    Unusable {
        /// The lock file.
        path: PathBuf,
        /// What failed.
        source: io::Error,
    },
}

impl FileLock {
    /// Takes the lock at `path`, which is made when it is not there, without waiting.
    pub fn take(path: &Path) -> Result<Self, LockError> {
        let unusable = |source| LockError::Unusable { path: path.to_owned(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LockError::Held { path: path.to_owned(), holder: holder_of(&file) });
            }
            Err(TryLockError::Error(source)) => return Err(unusable(source)),
        }
        let note = format!("process {}\n", std::process::id());
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(note.as_bytes()))
            .map_err(unusable)?;
        Ok(Self { file })
    }
}

/// Unlocked by name: closing alone would leave it locked as long as a child that was just forked shares the descriptor.
impl Drop for FileLock {
    fn drop(&mut self) {
        // Where it fails, closing the file does it.
        let _ = self.file.unlock();
    }
}

fn holder_of(file: &File) -> String {
    let mut note = String::new();
    match file.take(HOLDER_LEN_MAX).read_to_string(&mut note) {
        Ok(1..) => note.trim_end().to_owned(),
        Ok(0) | Err(_) => "another process".to_owned(),
    }
}
