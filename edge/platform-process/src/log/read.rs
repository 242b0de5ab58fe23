//! Reading a log from its end, and following it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use model::identity::ReplicaId;
use platform::{LINE_LEN_MAX, LogError, LogLine, LogLines, TAIL_LINES_MAX};

use super::{CURRENT, chunks, folder_of};

/// The bytes of one read: some hundred lines, and few enough to read on any thread.
const BLOCK: usize = 64 * 1024;

/// How often followers check for new lines: people see no delay, and each check is one system call.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(100);

/// Opens the log of a place, `last_lines` lines before its end.
pub(crate) fn read(
    logs: &Path,
    replica: &ReplicaId,
    last_lines: usize,
) -> Result<Box<dyn LogLines>, LogError> {
    let mut log = PlaceLog { folder: folder_of(logs, replica), open: None };
    let (position, opened_at) = match log.tail(last_lines.min(TAIL_LINES_MAX)) {
        Ok(tail) => tail,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(LogError::NoLog { replica: replica.clone() });
        }
        Err(source) => return Err(LogError::Unreadable { replica: replica.clone(), source }),
    };
    let (replica, pending) = (replica.clone(), Vec::new());
    Ok(Box::new(Reader { log, replica, opened_at, position, pending, consumed: 0 }))
}

/// The bytes of a log, wherever they are kept.
#[derive(Debug)]
struct PlaceLog {
    folder: PathBuf,
    open: Option<Part>,
}

/// A file with a part of the log.
#[derive(Debug)]
struct Part {
    file: File,
    /// Where the file's first byte lies in the log.
    start: u64,
    /// Where the part ends; `None` for the file that still grows.
    end: Option<u64>,
}

impl PlaceLog {
    /// Where the kept bytes begin and end.
    fn bounds(&self) -> io::Result<(u64, u64)> {
        let end = std::fs::metadata(self.folder.join(CURRENT))?.len();
        let start = chunks(&self.folder)?.first().map_or(0, |chunk| chunk.start);
        Ok((start, end))
    }

    /// Fills `buffer` from `position` on, or from the first byte that is still kept after it; returns the position and the
    /// number of bytes: 0 at the end.
    fn read_at(&mut self, position: u64, buffer: &mut [u8]) -> io::Result<(u64, usize)> {
        if let Some(part) = &self.open
            && let Some(end) = part.end
            // `tail` reads backwards, so the next position may be before the part.
            && (part.start..end).contains(&position)
        {
            let length = usize::try_from(end - position).unwrap_or(usize::MAX).min(buffer.len());
            return Ok((position, part.file.read_at(&mut buffer[..length], position - part.start)?));
        }
        // Either in the growing file, which may by now have a hole at this position, or in a numbered file.
        let current = File::open(self.folder.join(CURRENT))?;
        let count = current.read_at(buffer, position)?;
        let numbered = chunks(&self.folder)?;
        let head = numbered.last().map_or(0, |chunk| chunk.end);
        if position >= head {
            self.open = Some(Part { file: current, start: 0, end: None });
            return Ok((position, count));
        }
        let Some(chunk) = numbered.into_iter().find(|chunk| position < chunk.end) else {
            return Ok((position, 0));
        };
        self.open = Some(Part { file: File::open(&chunk.path)?, start: chunk.start, end: Some(chunk.end) });
        self.read_at(position.max(chunk.start), buffer)
    }

    /// Fills `buffer` across files; returns the number of bytes.
    fn fill_from(&mut self, from: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read_at(from + filled as u64, &mut buffer[filled..])? {
                (_, 0) => break,
                (_, count) => filled += count,
            }
        }
        Ok(filled)
    }

    /// Where the last `lines` lines begin, and where the log ends.
    fn tail(&mut self, lines: usize) -> io::Result<(u64, u64)> {
        let (start, end) = self.bounds()?;
        if lines == 0 {
            return Ok((end, end));
        }
        let mut block = vec![0; BLOCK];
        let (mut position, mut wanted) = (end, lines);
        // A line break at the end of the log does not begin another line.
        let mut is_last_byte = true;
        while position > start {
            let from = position.saturating_sub(BLOCK as u64).max(start);
            let length = usize::try_from(position - from).unwrap_or(BLOCK);
            let filled = self.fill_from(from, &mut block[..length])?;
            for at in (0..filled).rev() {
                if block[at] == b'\n' && !is_last_byte {
                    wanted = wanted.saturating_sub(1);
                    if wanted == 0 {
                        return Ok((from + at as u64 + 1, end));
                    }
                }
                is_last_byte = false;
            }
            position = from;
        }
        Ok((start, end))
    }
}

/// Lines from a position on.
#[derive(Debug)]
struct Reader {
    log: PlaceLog,
    replica: ReplicaId,
    /// Where the log ended when it was opened.
    opened_at: u64,
    /// Where the next bytes are read.
    position: u64,
    /// Bytes read and not yet given, from `consumed` on.
    pending: Vec<u8>,
    consumed: usize,
}

impl Reader {
    /// The next whole line, or the longest part of one; `None` when its end has not been printed yet.
    fn whole_line(&mut self) -> io::Result<Option<LogLine>> {
        let mut searched = 0;
        loop {
            let rest = &self.pending[self.consumed..];
            if let Some(at) = rest[searched..].iter().position(|byte| *byte == b'\n') {
                let length = searched + at;
                if length <= LINE_LEN_MAX {
                    return Ok(Some(self.take(length, 1)));
                }
            }
            if rest.len() > LINE_LEN_MAX {
                return Ok(Some(self.take(LINE_LEN_MAX, 0)));
            }
            searched = rest.len();
            if !self.fill()? {
                return Ok(None);
            }
        }
    }

    /// Reads more; `false` when there is nothing more yet.
    fn fill(&mut self) -> io::Result<bool> {
        self.pending.drain(..self.consumed);
        self.consumed = 0;
        let before = self.pending.len();
        self.pending.resize(before + BLOCK, 0);
        let result = self.log.read_at(self.position, &mut self.pending[before..]);
        let (at, count) = match result {
            Ok(read) => read,
            Err(error) => {
                self.pending.truncate(before);
                return Err(error);
            }
        };
        self.pending.truncate(before + count);
        self.position = at + count as u64;
        Ok(count > 0)
    }

    /// Where the next line begins.
    fn line_start(&self) -> u64 {
        self.position - (self.pending.len() - self.consumed) as u64
    }

    fn take(&mut self, length: usize, line_end: usize) -> LogLine {
        let bytes = &self.pending[self.consumed..self.consumed + length];
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        let text = String::from_utf8_lossy(bytes).into_owned();
        self.consumed += length + line_end;
        LogLine { text }
    }

    fn unreadable(&self, source: io::Error) -> LogError {
        LogError::Unreadable { replica: self.replica.clone(), source }
    }
}

/// Reads on the calling thread: one block at a time, from files that are nearly always in the page cache.
impl LogLines for Reader {
    fn next_present(&mut self) -> BoxFuture<'_, Result<Option<LogLine>, LogError>> {
        if self.line_start() >= self.opened_at {
            return std::future::ready(Ok(None)).boxed();
        }
        let line = match self.whole_line() {
            Ok(Some(line)) => Ok(Some(line)),
            Ok(None) => {
                let rest = self.pending.len() - self.consumed;
                Ok((rest > 0).then(|| self.take(rest, 0)))
            }
            Err(error) => Err(self.unreadable(error)),
        };
        std::future::ready(line).boxed()
    }

    fn next(&mut self) -> BoxFuture<'_, Result<LogLine, LogError>> {
        async move {
            loop {
                match self.whole_line() {
                    Ok(Some(line)) => return Ok(line),
                    Ok(None) => tokio::time::sleep(FOLLOW_INTERVAL).await,
                    Err(error) => return Err(self.unreadable(error)),
                }
            }
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests;
