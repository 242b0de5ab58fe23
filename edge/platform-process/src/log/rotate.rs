//! Rotation of logs: keeps them within their limits without losing a byte that is to be kept.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use super::{CURRENT, Chunk, chunks};
use crate::settings::LogLimits;

/// How far before a cut the end of a line is searched: the length of the longest line that readers get whole.
const LINE_SEARCH: usize = platform::LINE_LEN_MAX;

/// Moves bytes over the limit to numbered files, none longer than the limit, and removes the oldest of them beyond their maximum number.
///
/// On a full disk, older bytes are removed in favor of newer ones: a replica that prints must not block the disk for others.
pub(super) fn rotate(folder: &Path, limits: &LogLimits) -> io::Result<()> {
    let path = folder.join(CURRENT);
    let end = match std::fs::metadata(&path) {
        Ok(found) => found.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let (length_max, chunks_max) = (limits.current_bytes_max, limits.chunks_max.max(1));
    // Most checks end here: the length of the file is within the limit, so the part that is still in it is, too.
    if end <= length_max {
        return Ok(());
    }
    let mut start = chunks(folder)?.last().map_or(0, |chunk| chunk.end);
    if end.saturating_sub(start) <= length_max {
        return Ok(());
    }
    let file = OpenOptions::new().read(true).write(true).open(&path)?;
    let kept_max = length_max.saturating_mul(chunks_max as u64 + 1);
    if end - start > kept_max {
        start = line_end_before(&file, start, end - kept_max)?;
        forget(folder, &file, start, end)?;
    }
    while end - start > length_max {
        let cut = line_end_before(&file, start, start + length_max)?;
        start = move_out(folder, &file, start..cut, chunks_max, end)?;
    }
    Ok(())
}

/// Moves a part of the growing file to a numbered one; returns where the rest begins.
fn move_out(folder: &Path, file: &File, part: Range<u64>, chunks_max: usize, end: u64) -> io::Result<u64> {
    loop {
        let older = chunks(folder)?.into_iter().filter(|chunk| chunk.start < part.start);
        let older: Vec<Chunk> = older.collect();
        // Before anything is written, so that their space is available.
        let over = (older.len() + 1).saturating_sub(chunks_max);
        for chunk in older.iter().take(over) {
            std::fs::remove_file(&chunk.path)?;
        }
        match copy_out(folder, file, &part) {
            Ok(copied) => {
                // From here on readers take these bytes from the numbered file. A crash before the next line costs disk space
                // until the next rotation, which punches from the beginning.
                punch_hole(file, part.start + copied, end)?;
                return Ok(part.start + copied);
            }
            Err(error) if error.kind() == io::ErrorKind::StorageFull => match older.get(over) {
                Some(oldest) => std::fs::remove_file(&oldest.path)?,
                None => {
                    forget(folder, file, part.end, end)?;
                    return Ok(part.end);
                }
            },
            Err(error) => return Err(error),
        }
    }
}

/// Copies a part of the growing file to a numbered one, atomically.
fn copy_out(folder: &Path, mut file: &File, part: &Range<u64>) -> io::Result<u64> {
    let partial = folder.join("partial");
    let copied = File::create(&partial).and_then(|mut copy| {
        file.seek(SeekFrom::Start(part.start))?;
        io::copy(&mut file.take(part.end - part.start), &mut copy)
    });
    let kept = copied.and_then(|copied| {
        std::fs::rename(&partial, chunk_path(folder, part.start))?;
        Ok(copied)
    });
    if kept.is_err() {
        // A partial copy would take the space that is missing.
        let _ = std::fs::remove_file(&partial);
    }
    kept
}

/// Discards everything before `head`. An empty numbered file marks that for readers, which would otherwise read the hole as zeros.
pub(super) fn forget(folder: &Path, file: &File, head: u64, end: u64) -> io::Result<()> {
    let older: Vec<Chunk> = chunks(folder)?.into_iter().filter(|chunk| chunk.start < head).collect();
    let mark = chunk_path(folder, head);
    let marked = File::create(&mark);
    punch_hole(file, head, end)?;
    if marked.is_err() {
        // There was not even space for its name.
        File::create(&mark)?;
    }
    older.iter().try_for_each(|chunk| std::fs::remove_file(&chunk.path))
}

fn chunk_path(folder: &Path, start: u64) -> PathBuf {
    folder.join(format!("{CURRENT}.{start:020}"))
}

/// The last end of a line before `end`; `end` itself when the line is longer than readers return whole.
pub(super) fn line_end_before(file: &File, start: u64, end: u64) -> io::Result<u64> {
    let from = end.saturating_sub(LINE_SEARCH as u64).max(start);
    let mut tail = vec![0; usize::try_from(end - from).unwrap_or(LINE_SEARCH)];
    file.read_exact_at(&mut tail, from)?;
    Ok(tail.iter().rposition(|byte| *byte == b'\n').map_or(end, |at| from + at as u64 + 1))
}

/// Frees the blocks of everything before `head`, and moves nothing.
///
/// Where the file system cannot punch holes, the file is truncated and extended to its old length, which leaves the
/// same hole but loses what was printed since `end` was determined: some microseconds' worth, once in a file's length.
fn punch_hole(file: &File, head: u64, end: u64) -> io::Result<()> {
    match fallocate(file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 0, head) {
        Ok(()) => Ok(()),
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
            let mut rest = vec![0; usize::try_from(end - head).unwrap_or(0)];
            file.read_exact_at(&mut rest, head)?;
            file.set_len(0)?;
            file.set_len(end)?;
            file.write_all_at(&rest, head)
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    const LIMITS: LogLimits = LogLimits { current_bytes_max: 64 * 1024, chunks_max: 3 };

    #[test]
    fn rotation_while_a_replica_prints_loses_no_line_and_frees_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(CURRENT);
        let mut writer = OpenOptions::new().append(true).create(true).open(&path).unwrap();
        let printing = std::thread::spawn(move || {
            for number in 0..40_000 {
                writeln!(writer, "line {number:06}").unwrap();
            }
        });
        let generous = LogLimits { chunks_max: 1000, ..LIMITS };
        while !printing.is_finished() {
            rotate(folder.path(), &generous).unwrap();
        }
        printing.join().unwrap();
        rotate(folder.path(), &generous).unwrap();
        let numbered = chunks(folder.path()).unwrap();
        assert!(numbered.len() > 1, "it must have rotated");
        let mut all = Vec::new();
        for chunk in &numbered {
            assert_eq!(chunk.start, all.len() as u64);
            all.extend(std::fs::read(&chunk.path).unwrap());
        }
        let head = all.len();
        all.extend(&std::fs::read(&path).unwrap()[head..]);
        let expected: String = (0..40_000).map(|number| format!("line {number:06}\n")).collect();
        assert!(all == expected.as_bytes(), "lines were lost or doubled");
        let on_disk = std::fs::metadata(&path).unwrap().blocks() * 512;
        assert!(on_disk <= LIMITS.current_bytes_max + 8192, "{on_disk} bytes are still held");
    }

    #[test]
    fn a_large_output_at_once_stays_within_the_limits() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(CURRENT);
        let mut writer = OpenOptions::new().append(true).create(true).open(&path).unwrap();
        writer.write_all(b"first\n").unwrap();
        writer.write_all(&b"0123456789abcde\n".repeat(100_000)).unwrap();
        rotate(folder.path(), &LIMITS).unwrap();
        let numbered = chunks(folder.path()).unwrap();
        assert_eq!(numbered.len(), LIMITS.chunks_max);
        assert!(
            numbered.iter().all(|chunk| chunk.end - chunk.start <= LIMITS.current_bytes_max),
            "{numbered:?}"
        );
        assert!(numbered.windows(2).all(|pair| pair[0].end == pair[1].start), "{numbered:?}");
        let held = std::fs::metadata(&path).unwrap().blocks() * 512;
        assert!(held <= LIMITS.current_bytes_max + 8192, "{held} bytes are still held");
    }

    #[test]
    fn discarded_bytes_are_marked_for_readers() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(CURRENT);
        std::fs::write(&path, b"0123456789abcde\n".repeat(1000)).unwrap();
        let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        std::fs::write(chunk_path(folder.path(), 0), "older").unwrap();
        forget(folder.path(), &file, 8000, 16_000).unwrap();
        let numbered = chunks(folder.path()).unwrap();
        assert_eq!(numbered.iter().map(|chunk| (chunk.start, chunk.end)).collect::<Vec<_>>(), [(8000, 8000)]);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 16_000);
    }

    #[test]
    fn at_most_the_declared_number_of_numbered_files_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(CURRENT);
        let mut writer = OpenOptions::new().append(true).create(true).open(&path).unwrap();
        for _ in 0..10 {
            writer.write_all(&b"0123456789abcde\n".repeat(5000)).unwrap();
            rotate(folder.path(), &LIMITS).unwrap();
        }
        let numbered = chunks(folder.path()).unwrap();
        assert_eq!(numbered.len(), LIMITS.chunks_max);
        let end = numbered.last().unwrap().end;
        assert!(800_000 - end <= LIMITS.current_bytes_max, "{end}");
    }
}
