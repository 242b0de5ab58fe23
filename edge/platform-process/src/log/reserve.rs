//! Disk space that is allocated for a log in advance, so that a replica can continue to print when the disk is full.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use super::rotate::{forget, line_end_before};
use super::{CURRENT, chunks};

/// Bytes that are allocated beyond the end of a log.
///
/// Many programs end when printing fails on a full disk, such as those that use Python's `print` or Rust's `println!`. 64 KiB are some
/// hundred lines between two checks; for a thousand replicas they are 64 MiB.
const RESERVED: u64 = 64 * 1024;

/// Bytes of the latest lines that are freed last, and bytes that are never freed.
///
/// Freed space may be taken by another program before it is allocated again. Then half of the rest is freed, too.
const LATEST_KEPT: u64 = RESERVED / 2;
const LAST_KEPT: u64 = LATEST_KEPT / 8;

/// The unit of `st_blocks`.
const BLOCK: u64 = 512;

/// Allocates space for what is printed until the next check. When the disk is full, the log's own oldest lines are freed for it.
pub(super) fn reserve_space(folder: &Path) -> io::Result<()> {
    let path = folder.join(CURRENT);
    let found = match std::fs::metadata(&path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let end = found.len();
    let has_reserve_after = |begin: u64| found.blocks() * BLOCK >= end - begin + RESERVED / 2;
    // The first condition mostly holds, so that the folder need not be listed.
    if has_reserve_after(0) || has_reserve_after(chunks(folder)?.last().map_or(0, |chunk| chunk.end.min(end)))
    {
        return Ok(());
    }
    let file = OpenOptions::new().read(true).write(true).open(&path)?;
    allocate_or_free(folder, &file, end, || fallocate(&file, FallocateFlags::KEEP_SIZE, end, RESERVED))
}

fn allocate_or_free(
    folder: &Path,
    file: &File,
    end: u64,
    mut allocate: impl FnMut() -> rustix::io::Result<()>,
) -> io::Result<()> {
    let mut latest = LATEST_KEPT;
    loop {
        match allocate() {
            // Some file systems cannot allocate in advance.
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(()),
            Err(Errno::NOSPC | Errno::DQUOT) => {}
            Err(error) => return Err(error.into()),
        }
        while !free_oldest(folder, file, end, latest)? {
            if latest <= LAST_KEPT {
                // The remaining space must suffice.
                return Ok(());
            }
            latest /= 2;
        }
    }
}

/// Frees the oldest part of the log, except for the `latest` bytes; returns whether there was anything to free.
fn free_oldest(folder: &Path, file: &File, end: u64, latest: u64) -> io::Result<bool> {
    let kept = chunks(folder)?;
    let begin = kept.last().map_or(0, |chunk| chunk.end);
    let mut numbered = kept.iter().filter(|chunk| chunk.start < chunk.end);
    match (numbered.next(), numbered.next()) {
        (Some(oldest), Some(_)) => std::fs::remove_file(&oldest.path)?,
        // The last numbered file marks where the growing file begins.
        (Some(_), None) => forget(folder, file, begin, end)?,
        (None, _) => {
            let head = line_end_before(file, begin, end.saturating_sub(latest).max(begin))?;
            if head <= begin {
                return Ok(false);
            }
            forget(folder, file, head, end)?;
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::rotate::rotate;
    use crate::settings::LogLimits;

    fn with_log(lines: usize) -> (tempfile::TempDir, File) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(CURRENT);
        std::fs::write(&path, b"0123456789abcde\n".repeat(lines)).unwrap();
        let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        (folder, file)
    }

    #[test]
    fn space_is_reserved_beyond_the_end_of_a_log() {
        let (folder, file) = with_log(10);
        reserve_space(folder.path()).unwrap();
        let found = file.metadata().unwrap();
        assert_eq!(found.len(), 160);
        assert!(found.blocks() * BLOCK >= 160 + RESERVED, "{} blocks", found.blocks());
    }

    #[test]
    fn on_a_full_disk_the_oldest_lines_are_freed_and_the_latest_stay() {
        let (folder, file) = with_log(20_000);
        rotate(folder.path(), &LogLimits { current_bytes_max: 64 * 1024, chunks_max: 3 }).unwrap();
        let numbered =
            || chunks(folder.path()).unwrap().iter().filter(|chunk| chunk.start < chunk.end).count();
        let end = file.metadata().unwrap().len();
        let mut freed = Vec::new();
        allocate_or_free(folder.path(), &file, end, || {
            freed.push(numbered());
            Err(Errno::NOSPC)
        })
        .unwrap();
        assert_eq!(freed, [3, 2, 1, 0, 0, 0, 0, 0], "the oldest first, the growing file last, and by halves");
        let begin = chunks(folder.path()).unwrap().last().unwrap().end;
        assert!((LAST_KEPT..LAST_KEPT + 16).contains(&(end - begin)), "{begin} to {end}");
        assert!(file.metadata().unwrap().blocks() * BLOCK <= LAST_KEPT + 8192);
    }

    #[test]
    fn a_file_system_without_preallocation_is_accepted() {
        let (folder, file) = with_log(20_000);
        let end = file.metadata().unwrap().len();
        allocate_or_free(folder.path(), &file, end, || Err(Errno::OPNOTSUPP)).unwrap();
        assert!(chunks(folder.path()).unwrap().is_empty());
    }
}
