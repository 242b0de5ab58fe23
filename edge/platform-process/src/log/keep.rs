//! Keeping logs within their limits without losing a byte that is to be kept.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use super::{CURRENT, chunks, folder_of};
use crate::keeper::Keeper;
use crate::settings::LogLimits;

/// From one look at all logs to the next. A replica that prints 100 MB/s is this much over its limit in between.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How far back from a cut a line's end is looked for: the longest line that is given whole.
const LINE_SEARCH: usize = platform::LINE_LEN_MAX;

/// Looks after the logs of all running replicas, in a task that ends with the driver.
pub(crate) fn keep_within_limits(keeper: &Arc<Keeper>) {
    let keeper = keeper.clone();
    let tasks = keeper.tasks.clone();
    tasks.spawn(async move {
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = keeper.closed.cancelled() => return,
            }
            let looking = keeper.clone();
            // A look that panicked is a bug that the next look shows again.
            let _ = keeper.tasks.spawn_blocking(move || look(&looking)).await;
        }
    });
}

fn look(keeper: &Keeper) {
    for living in keeper.livings().iter().filter(|living| !living.has_ended()) {
        let replica = living.record.replica();
        let folder = folder_of(&keeper.settings.logs(), &replica);
        if let Err(error) = rotate(&folder, &keeper.settings.log) {
            tracing::warn!(%replica, %error, "log not kept within its limits");
        }
    }
}

/// Moves what is over the limit to a numbered file, and removes numbered files over their limit.
pub(super) fn rotate(folder: &Path, limits: &LogLimits) -> io::Result<()> {
    let path = folder.join(CURRENT);
    let end = match std::fs::metadata(&path) {
        Ok(found) => found.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    // Most looks end here: the file's length alone is within the limit, so its part that is still there is, too.
    if end <= limits.current_bytes_max {
        return Ok(());
    }
    let numbered = chunks(folder)?;
    let start = numbered.last().map_or(0, |chunk| chunk.end);
    if end.saturating_sub(start) <= limits.current_bytes_max {
        return Ok(());
    }
    let mut file = OpenOptions::new().read(true).write(true).open(&path)?;
    let cut = line_end_before(&file, start, end)?;
    let partial = folder.join("partial");
    let mut copy = File::create(&partial)?;
    file.seek(SeekFrom::Start(start))?;
    let copied = io::copy(&mut (&file).take(cut - start), &mut copy)?;
    drop(copy);
    std::fs::rename(&partial, folder.join(format!("{CURRENT}.{start:020}")))?;
    // From here on readers take these bytes from the numbered file. A crash before the next line costs disk space until
    // the next rotation, which punches from the beginning.
    punch(&file, start + copied, end)?;
    let over = (numbered.len() + 1).saturating_sub(limits.chunks_max.max(1));
    for chunk in numbered.iter().take(over) {
        std::fs::remove_file(&chunk.path)?;
    }
    Ok(())
}

/// The last end of a line before `end`; `end` itself when the line is longer than any that is given whole.
fn line_end_before(file: &File, start: u64, end: u64) -> io::Result<u64> {
    let from = end.saturating_sub(LINE_SEARCH as u64).max(start);
    let mut tail = vec![0; usize::try_from(end - from).unwrap_or(LINE_SEARCH)];
    file.read_exact_at(&mut tail, from)?;
    Ok(tail.iter().rposition(|byte| *byte == b'\n').map_or(end, |at| from + at as u64 + 1))
}

/// Frees the blocks of everything before `head`, and moves nothing.
///
/// Where the file system cannot punch holes, the file is cut to nothing and stretched to its old length, which leaves the
/// same hole but loses what was printed since `end` was looked at: some microseconds' worth, once in a file's length.
fn punch(file: &File, head: u64, end: u64) -> io::Result<()> {
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
    fn only_so_many_numbered_files_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(CURRENT);
        let mut writer = OpenOptions::new().append(true).create(true).open(&path).unwrap();
        for _ in 0..10 {
            writer.write_all(&b"0123456789abcde\n".repeat(5000)).unwrap();
            rotate(folder.path(), &LIMITS).unwrap();
        }
        let numbered = chunks(folder.path()).unwrap();
        assert_eq!(numbered.len(), LIMITS.chunks_max);
        assert_eq!(numbered.last().unwrap().end, 800_000);
    }
}
