//! Atomic writes of files, and locks that end with their holder.

use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Which crashes a written file must survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// A crash of the machine: file and folder are on the disk before the call returns.
    Machine,
    /// A crash of this process only, which costs no disk access. After a crash of the machine the file is the old one,
    /// the new one, or empty.
    Process,
}

/// A file was not written; its previous content is unchanged.
#[derive(Debug, thiserror::Error)]
#[error("could not write {path}")]
pub struct WriteError {
    /// The file that was to be replaced.
    pub path: PathBuf,
    /// What failed.
    pub source: io::Error,
}

/// Who may read a written file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Readers {
    /// As the process's umask allows.
    Default,
    /// Only its owner.
    Owner,
}

/// Replaces `path` with `content` atomically: readers, and a crash, find the old content or the new one.
///
/// Writes `path` with `.new` appended first, so a path must not be written concurrently. The folder must exist.
pub fn write_atomically(path: &Path, content: &[u8], durability: Durability) -> Result<(), WriteError> {
    let written = replace(path, content, durability, Readers::Default);
    written.map_err(|source| WriteError { path: path.to_owned(), source })
}

/// Replaces `path` as [`write_atomically`] does, for a secret: only its owner may ever read it (mode 0600). Survives a crash of the machine.
pub fn write_secret(path: &Path, content: &[u8]) -> Result<(), WriteError> {
    let written = replace(path, content, Durability::Machine, Readers::Owner);
    written.map_err(|source| WriteError { path: path.to_owned(), source })
}

/// Creates a folder for secrets, and its parents: only its owner may access it (mode 0700). An existing folder gets this mode.
pub fn create_secret_folder(path: &Path) -> Result<(), WriteError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    let closed = made.and_then(|()| std::fs::set_permissions(path, Permissions::from_mode(0o700)));
    closed.map_err(|source| WriteError { path: path.to_owned(), source })
}

fn replace(path: &Path, content: &[u8], durability: Durability, readers: Readers) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    let written = create(&new, readers).and_then(|mut file| {
        file.write_all(content)?;
        match durability {
            Durability::Machine => file.sync_all(),
            Durability::Process => Ok(()),
        }
    });
    if let Err(error) = written.and_then(|()| std::fs::rename(&new, path)) {
        // A partial file would take space on a full disk. If it cannot be removed, the error stays the same.
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

/// Creates an empty file, in place of one that a crash may have left.
fn create(path: &Path, readers: Readers) -> io::Result<File> {
    match readers {
        Readers::Default => File::create(path),
        Readers::Owner => {
            // An existing file would keep its mode.
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
        }
    }
}

/// An exclusive lock; released when it is dropped, or when the process ends in any way.
#[derive(Debug)]
pub struct FileLock {
    file: File,
}

/// The longest note of a holder that is read, in bytes: a process id and a few words.
const HOLDER_LEN_MAX: u64 = 256;

/// How long the lock of a dead holder may last: a child that it was forking when it died shares the lock until it
/// ends or executes a program, which takes milliseconds, or more on a machine under load.
const ORPHAN_WAIT_MAX: Duration = Duration::from_secs(2);

/// The pause between two attempts in that time.
const ORPHAN_PAUSE: Duration = Duration::from_millis(5);

/// The lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process holds it.
    #[error("{path} is locked by {holder}")]
    Held {
        /// The lock file.
        path: PathBuf,
        /// The holder, as it has described itself.
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
    /// Takes the lock at `path`, which is created if need be. Waits only for the lock of a dead holder.
    pub fn take(path: &Path) -> Result<Self, LockError> {
        let unusable = |source| LockError::Unusable { path: path.to_owned(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(unusable)?;
        let mut waited = Duration::ZERO;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => {
                    let holder = Holder::of(&file);
                    if holder.is_alive() || waited >= ORPHAN_WAIT_MAX {
                        return Err(LockError::Held { path: path.to_owned(), holder: holder.to_string() });
                    }
                }
                Err(TryLockError::Error(source)) => return Err(unusable(source)),
            }
            std::thread::sleep(ORPHAN_PAUSE);
            waited += ORPHAN_PAUSE;
        }
        let note = format!("process {}\n", std::process::id());
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(note.as_bytes()))
            .map_err(unusable)?;
        Ok(Self { file })
    }
}

/// Unlocks explicitly: after a mere close it would stay locked as long as a child that was just forked shares the descriptor.
impl Drop for FileLock {
    fn drop(&mut self) {
        // If this fails, closing the file unlocks it.
        let _ = self.file.unlock();
    }
}

/// The holder of a lock according to the lock file; without a pid if the file does not name one.
struct Holder {
    pid: Option<u32>,
}

impl Holder {
    fn of(mut file: &File) -> Self {
        let mut note = String::new();
        // A file that cannot be read names no holder.
        let _ = file.rewind().and_then(|()| file.take(HOLDER_LEN_MAX).read_to_string(&mut note));
        Self { pid: note.trim_end().strip_prefix("process ").and_then(|pid| pid.parse().ok()) }
    }

    /// Whether it may be alive; an unknown holder may.
    fn is_alive(&self) -> bool {
        self.pid.is_none_or(|pid| Path::new("/proc").join(pid.to_string()).exists())
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "process {pid}"),
            None => f.write_str("another process"),
        }
    }
}
