//! Disk space to start with on a full disk.
//!
//! A start writes before it serves: its epoch, a segment of the journal, notes in locks. On a full disk it could not, and the replicas that
//! outlived a crash would get no requests until somebody has freed some space. So a file in the data folder takes some space while there is
//! plenty, and a start on a full disk gives it up. Once started, a full disk suspends only decisions.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FallocateFlags, fallocate, statvfs};

/// The name of the file.
const NAME: &str = "reserve";

/// The space that is kept.
///
/// 8 MiB: the first records of a run, of a thousand services of some KiB each, and a minute of reports; others that fill the disk at 100 MB/s
/// leave enough of it for a start, which takes some ten milliseconds.
const BYTES: u64 = 8 << 20;

/// The unit of the space that a file takes (stat(2)).
const BLOCK_BYTES: u64 = 512;

/// Free space below which a start gives the reserve up.
const FREE_MIN: u64 = 4 << 20;

/// Free space from which it is taken: on a smaller disk others need it more.
const FREE_TO_TAKE: u64 = 8 * BYTES;

/// Interval between attempts to take it.
const TAKE_INTERVAL: Duration = Duration::from_secs(60);

/// Gives up the reserve in the folder `data` if its disk is full; returns whether there is more space now. For the process that owns the folder.
pub(super) fn release_if_full(data: &Path) -> bool {
    // A folder that does not exist yet has no reserve.
    let is_full = free(data).is_ok_and(|free| free < FREE_MIN);
    if !is_full {
        return false;
    }
    let removed = fs::remove_file(data.join(NAME));
    match &removed {
        Ok(()) => tracing::warn!(bytes = BYTES, hint = "free some space", "disk_full_reserve_released"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!(%error, "reserve_not_released"),
    }
    removed.is_ok()
}

/// Keeps the reserve in the folder `data`: takes it again when it was given up and the disk has the space.
pub(super) async fn keep(data: PathBuf) {
    loop {
        let folder = data.clone();
        // A disk may have no fallocate(2), and a folder may have been moved: then there is none.
        match tokio::task::spawn_blocking(move || take(&folder)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "reserve_not_taken"),
            Err(error) => tracing::debug!(%error, "reserve_not_taken"),
        }
        tokio::time::sleep(TAKE_INTERVAL).await;
    }
}

/// Takes the reserve, unless it is there already or the disk has too little space.
fn take(data: &Path) -> io::Result<()> {
    let path = data.join(NAME);
    // Not its length: a folder that was restored from a backup may have a sparse one, which takes no space.
    let is_whole = fs::metadata(&path).is_ok_and(|found| found.blocks() * BLOCK_BYTES >= BYTES);
    if is_whole || free(data)? < FREE_TO_TAKE {
        return Ok(());
    }
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
    fallocate(&file, FallocateFlags::empty(), 0, BYTES).inspect_err(|_| {
        // A part of it would be of no use.
        let _ = fs::remove_file(&path);
    })?;
    Ok(())
}

/// The bytes that this process may still write to the disk of `folder`.
fn free(folder: &Path) -> io::Result<u64> {
    let found = statvfs(folder)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn the_reserve_takes_space_and_stays_while_there_is_some() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        let space = || fs::metadata(&path).unwrap().blocks() * BLOCK_BYTES;
        // As a copy of one that was allocated and never written.
        File::create(&path).unwrap().set_len(BYTES).unwrap();
        assert_eq!(space(), 0);
        // A machine with less free space cannot build this program.
        take(folder.path()).unwrap();
        assert!(space() >= BYTES);
        take(folder.path()).unwrap();
        release_if_full(folder.path());
        assert!(path.exists());
        assert!(take(&folder.path().join("none")).is_err());
        release_if_full(&folder.path().join("none"));
    }
}
